#include "avro/schema_default.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

namespace sonder {

namespace {

using json = nlohmann::json;

template <class Int>
bool in_range(const json& value) {
  if (!value.is_number_integer()) return false;
  if (value.is_number_unsigned()) {
    return value.get<std::uint64_t>() <=
           static_cast<std::uint64_t>(std::numeric_limits<Int>::max());
  }
  return value.get<std::int64_t>() >= std::numeric_limits<Int>::min();
}

/// The number of bytes that a string of code points up to U+00FF stands for, or -1.
std::int64_t bytes_in(const std::string& text) {
  std::int64_t count = 0;
  for (std::size_t i = 0; i < text.size(); ++i, ++count) {
    const auto byte = static_cast<std::uint8_t>(text[i]);
    if (byte < 0x80) continue;
    if (byte != 0xC2 && byte != 0xC3) return -1;
    ++i;
  }
  return count;
}

bool is_float(const json& value) {
  if (value.is_number()) return true;
  return value.is_string() && (value == "NaN" || value == "Infinity" || value == "-Infinity");
}

bool fits(const schema& of, const json& value) {
  switch (of.type) {
    case avro_type::null:
      return value.is_null();
    case avro_type::boolean:
      return value.is_boolean();
    case avro_type::int32:
      return in_range<std::int32_t>(value);
    case avro_type::int64:
      return in_range<std::int64_t>(value);
    case avro_type::float32:
    case avro_type::float64:
      return is_float(value);
    case avro_type::string:
      return value.is_string();
    case avro_type::bytes:
      return value.is_string() && bytes_in(value.get_ref<const std::string&>()) >= 0;
    case avro_type::fixed:
      return value.is_string() && bytes_in(value.get_ref<const std::string&>()) == of.size;
    case avro_type::enumeration:
      return value.is_string() &&
             std::find(of.symbols.begin(), of.symbols.end(), value) != of.symbols.end();
    case avro_type::array:
    case avro_type::map:
      if (of.type == avro_type::array ? !value.is_array() : !value.is_object()) return false;
      return std::all_of(value.begin(), value.end(),
                         [&](const json& item) { return fits(*of.items, item); });
    case avro_type::union_of:
      return std::any_of(of.branches.begin(), of.branches.end(),
                         [&](const schema_ptr& branch) { return fits(*branch, value); });
    case avro_type::record:
      return value.is_object() &&
             std::all_of(of.fields.begin(), of.fields.end(), [&](const schema_field& f) {
               const auto found = value.find(f.name);
               return found == value.end() ? f.default_json.has_value() : fits(*f.type, *found);
             });
  }
  return false;
}

}  // namespace

status check_default(const schema& of, std::string_view text) {
  const json value = json::parse(text, nullptr, false);
  if (value.is_discarded() || !fits(of, value))
    return fail(errc::invalid, "is no value of type " + to_string(of));
  return {};
}

}  // namespace sonder
