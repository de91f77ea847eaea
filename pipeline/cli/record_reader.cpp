#include "cli/record_reader.h"

#include <algorithm>

#include "avro/framing.h"
#include "avro/json.h"
#include "log/record_batch.h"

namespace sonder::cli {

struct value_reader::reader {
  schema_ptr of;
  decode_plan plan;
  columns values;

  reader(schema_ptr s, decode_plan p)
      : of(std::move(s)), plan(std::move(p)), values(plan.fields()) {}
};

value_reader::value_reader(schema_registry& schemas, schema_ptr bare)
    : schemas_(schemas), bare_(std::move(bare)) {}
value_reader::~value_reader() = default;

result<value_reader::reader*> value_reader::reader_of(std::int32_t id) {
  if (const auto at = readers_.find(id); at != readers_.end()) return at->second.get();
  schema_ptr of = bare_;
  if (of == nullptr) {
    auto found = schemas_.by_id(id);
    if (!found) return tl::unexpected(found.error());
    of = std::move(*found);
  }
  if (of->type != avro_type::record)
    return fail(errc::unsupported, "values of schema " + std::to_string(id) + " are " +
                                       to_string(*of) + ", not records");
  auto plan = decode_plan::compile(*of, *of);
  if (!plan) return tl::unexpected(plan.error());
  auto made = std::make_unique<reader>(of, std::move(*plan));
  return readers_.emplace(id, std::move(made)).first->second.get();
}

result<value_reader::row> value_reader::read(bytes_view value) {
  std::int32_t id = -1;
  if (bare_ == nullptr) {
    const auto frame = parse_frame(value);
    if (!frame) return fail(errc::invalid, "the value has no Confluent frame");
    id = frame->schema_id;
    value = frame->body;
  }
  const auto found = reader_of(id);
  if (!found) return tl::unexpected(found.error());
  auto& by = **found;
  by.values.clear();
  if (const auto refused = by.plan.decode(value, by.values); refused)
    return fail(errc::invalid, by.plan.describe(refused));
  return row{by.of, &by.plan.fields(), &by.values};
}

namespace {

void append_row(const std::vector<field>& fields, columns& values, std::string& out) {
  std::vector<const ArrowArray*> arrays;
  for (std::size_t i = 0; i < values.size(); ++i) arrays.push_back(&values[i].lend());
  append_json_row(fields, arrays, 0, out);
}

void append_base64(bytes_view bytes, std::string& out) {
  constexpr std::string_view letters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t left = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t three = 0;
    for (std::size_t k = 0; k < 3; ++k) three = three << 8 | (k < left ? bytes[i + k] : 0U);
    for (std::size_t k = 0; k < 4; ++k)
      out.push_back(k <= left ? letters[three >> (18 - 6 * k) & 63] : '=');
  }
}

bool printable(bytes_view bytes) {
  return is_utf8(bytes.data(), bytes.size()) &&
         std::none_of(bytes.begin(), bytes.end(),
                      [](std::uint8_t b) { return b < 0x20 || b == 0x7F; });
}

void append_bytes(bytes_view bytes, std::string& out) {
  if (printable(bytes)) {
    append_json_string(as_text(bytes), out);
    return;
  }
  out += R"({"base64":")";
  append_base64(bytes, out);
  out += "\"}";
}

}  // namespace

struct record_printer::key_reader {
  decode_plan plan;
  columns values;
  explicit key_reader(decode_plan p) : plan(std::move(p)), values(plan.fields()) {}
};

record_printer::record_printer(std::string topic, value_reader& values, schema_ptr key_of)
    : topic_(std::move(topic)), values_(values) {
  if (key_of == nullptr) return;
  // A key schema is made of fields of a checked schema, so that it compiles; if not, keys are shown
  // as bytes.
  if (auto plan = decode_plan::compile(*key_of, *key_of); plan)
    key_ = std::make_unique<key_reader>(std::move(*plan));
}
record_printer::~record_printer() = default;

void record_printer::print_key(const log_record& record, std::string& out) {
  if (!record.has_key) {
    out += "null";
    return;
  }
  if (key_ != nullptr) {
    key_->values.clear();
    if (!key_->plan.decode(record.key, key_->values)) {
      append_row(key_->plan.fields(), key_->values, out);
      return;
    }
  }
  append_bytes(record.key, out);
}

void record_printer::print(std::int32_t partition, const log_record& record, std::string& out) {
  out += R"({"topic":)";
  append_json_string(topic_, out);
  out += R"(,"partition":)" + std::to_string(partition) + R"(,"offset":)" +
         std::to_string(record.offset) + R"(,"timestamp_ms":)" +
         std::to_string(record.timestamp_ms) + R"(,"key":)";
  print_key(record, out);
  out += R"(,"headers":{)";
  header_cursor headers(record.headers);
  header_view header;
  for (bool first = true; headers.next(header); first = false) {
    if (!first) out += ',';
    append_json_string(header.key, out);
    out += ':';
    append_bytes(header.value, out);
  }
  out += R"(},"value":)";
  if (!record.has_value) {
    out += "null}\n";
    return;
  }
  if (const auto row = values_.read(record.value); row) {
    append_row(*row->fields, *row->values, out);
    out += "}\n";
  } else {
    ++unreadable_;
    out += R"(null,"error":)";
    append_json_string(row.error().message, out);
    out += "}\n";
  }
}

schema_ptr key_schema(const schema& value, const std::vector<std::string>& key) {
  if (key.empty()) return nullptr;
  auto of = std::make_shared<schema>();
  of->type = avro_type::record;
  of->name = "key";
  for (const auto& name : key) {
    const auto* field = value.find_field(name);
    if (field == nullptr) return nullptr;
    of->fields.push_back({field->name, field->type, "", {}, sort_order::ascending, {}, {}});
  }
  const bool text = key.size() == 1 && (of->fields[0].type->type == avro_type::string ||
                                        of->fields[0].type->type == avro_type::bytes ||
                                        of->fields[0].type->type == avro_type::enumeration);
  return text ? nullptr : of;
}

}  // namespace sonder::cli
