#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "avro/decode_plan.h"
#include "avro/encode_plan.h"
#include "avro/json.h"

namespace sonder::test {

using bytes = std::vector<std::uint8_t>;

/// The schema of a text that parses.
inline schema_ptr schema_of(std::string_view json) {
  auto parsed = parse_schema(json);
  EXPECT_TRUE(parsed) << (parsed ? "" : parsed.error().message);
  return parsed ? *parsed : nullptr;
}

/// A record `r` of one field `v` of this type.
inline std::string record_of(std::string_view type, std::string_view rest = "") {
  return R"({"type":"record","name":"r","fields":[{"name":"v","type":)" + std::string(type) +
         std::string(rest) + "}]}";
}

inline std::vector<const ArrowArray*> lend_all(columns& of) {
  std::vector<const ArrowArray*> arrays;
  for (std::size_t i = 0; i < of.size(); ++i) arrays.push_back(&of[i].lend());
  return arrays;
}

/// All rows as JSON lines, each array checked before.
inline std::string rows_of(columns& of) {
  const auto arrays = lend_all(of);
  for (std::size_t i = 0; i < of.size(); ++i) {
    const auto good = check_array(*arrays[i], of.fields()[i], of.length());
    EXPECT_TRUE(good) << good.error().message;
  }
  std::string text;
  for (std::int64_t row = 0; row < of.length(); ++row) {
    if (row != 0) text += '\n';
    append_json_row(of.fields(), arrays, row, text);
  }
  return text;
}

/// The body of a row given as JSON.
inline bytes body_of(const schema_ptr& writer, std::string_view row) {
  columns rows(column_fields(*writer));
  const auto read = json_row_reader(writer).append(row, rows);
  EXPECT_TRUE(read) << (read ? "" : read.error().message);
  if (!read) return {};
  auto plan = encode_plan::compile(*writer, rows.fields());
  EXPECT_TRUE(plan) << (plan ? "" : plan.error().message);
  if (!plan) return {};
  row_encoder encoder(*plan);
  encoder.bind(lend_all(rows));
  buffer out;
  const auto e = encoder.encode(0, out);
  EXPECT_FALSE(e) << plan->describe(e);
  return {out.data(), out.data() + out.size()};
}

/// What a reader makes of a body: the row as JSON, or why it is refused.
inline std::string decoded(const schema& writer, const schema& reader, const bytes& body,
                           std::vector<std::string> wanted = {}) {
  auto plan = decode_plan::compile(writer, reader, wanted);
  if (!plan) return "no plan: " + plan.error().message;
  columns rows(plan->fields());
  const auto e = plan->decode(body, rows);
  if (e) {
    EXPECT_EQ(rows.length(), 0) << "a refused record leaves no row";
    return "refused: " + plan->describe(e);
  }
  return rows_of(rows);
}

/// A row written with one schema and read with another.
inline std::string resolved(std::string_view writer_json, std::string_view reader_json,
                            std::string_view row, std::vector<std::string> wanted = {}) {
  const auto writer = schema_of(writer_json);
  const auto reader = schema_of(reader_json);
  if (!writer || !reader) return "no schema";
  return decoded(*writer, *reader, body_of(writer, row), std::move(wanted));
}

/// The same for records of one field `v`.
inline std::string resolved_value(std::string_view writer_type, std::string_view reader_type,
                                  std::string_view value) {
  return resolved(record_of(writer_type), record_of(reader_type),
                  R"({"v":)" + std::string(value) + "}");
}

}  // namespace sonder::test
