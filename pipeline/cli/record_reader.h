#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "avro/decode_plan.h"
#include "avro/registry.h"
#include "log/log.h"
#include "record/columns.h"
#include "record/result.h"

namespace sonder::cli {

/// Reads record values with the schemas that wrote them.
///
/// One thread; keeps one plan for each schema id that it met.
class value_reader {
 public:
  /// `bare`: values have no framing and are of that schema; null: they are framed. `schemas`
  /// outlives this.
  value_reader(schema_registry& schemas, schema_ptr bare);
  ~value_reader();

  /// The rows that `read` fills: cleared and replaced by the next call.
  struct row {
    schema_ptr of;
    const std::vector<field>* fields = nullptr;
    columns* values = nullptr;  ///< one row
  };
  /// An error says what is wrong with the value (its place is the caller's to add), never what is
  /// in it.
  [[nodiscard]] result<row> read(bytes_view value);

 private:
  struct reader;
  [[nodiscard]] result<reader*> reader_of(std::int32_t id);

  schema_registry& schemas_;
  schema_ptr bare_;
  std::map<std::int32_t, std::unique_ptr<reader>> readers_;
};

/// Appends one record as a JSON object on a line: `topic partition offset timestamp_ms key headers
/// value`, unions unwrapped. Keys and header values that are not printable UTF-8 are shown as
/// `{"base64": ...}`; a key of several fields as an object where `key_of` is given. A value that
/// cannot be read is null beside an `error`.
class record_printer {
 public:
  record_printer(std::string topic, value_reader& values, schema_ptr key_of);
  ~record_printer();
  void print(std::int32_t partition, const log_record& record, std::string& out);
  [[nodiscard]] std::uint64_t unreadable() const noexcept { return unreadable_; }

 private:
  void print_key(const log_record& record, std::string& out);

  std::string topic_;
  value_reader& values_;
  struct key_reader;
  std::unique_ptr<key_reader> key_;
  std::uint64_t unreadable_ = 0;
};

/// A record schema of the key fields of a topic, in their order; null where the key is text.
[[nodiscard]] schema_ptr key_schema(const schema& value, const std::vector<std::string>& key);

}  // namespace sonder::cli
