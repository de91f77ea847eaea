#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "avro/json.h"
#include "avro/json_time.h"

namespace sonder {

namespace {

using simdjson::dom::element;

__extension__ using int128 = __int128;

/// How many edits turn one name into the other, given up beyond `limit`.
std::size_t edits_between(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t change = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({change, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

std::string nearest_field(const schema& record, std::string_view name) {
  constexpr std::size_t compared_max = 64;
  std::string_view best;
  std::size_t best_edits = std::min<std::size_t>(3, name.size());
  for (const schema_field& f : record.fields) {
    if (name.size() > compared_max || f.name.size() > compared_max) continue;
    if (const auto edits = edits_between(name, f.name); edits < best_edits) {
      best = f.name;
      best_edits = edits;
    }
  }
  return best.empty() ? std::string() : "; did you mean \"" + std::string(best) + "\"?";
}

/// Digits with an optional sign and fraction, as an integer of `scale` decimals; at most
/// `precision` digits.
std::optional<int128> parse_decimal(std::string_view text, std::int32_t precision,
                                    std::int32_t scale) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  int128 value = 0;
  std::int32_t digits = 0;
  std::int32_t decimals = -1;
  bool any = false;
  for (const char c : text) {
    if (c == '.' && decimals < 0) {
      decimals = 0;
      continue;
    }
    if (c < '0' || c > '9') return std::nullopt;
    any = true;
    if (decimals >= scale && c == '0') continue;  // zeros beyond the scale say nothing
    if (decimals >= 0 && ++decimals > scale) return std::nullopt;
    if ((digits > 0 || c != '0') && ++digits > precision) return std::nullopt;
    value = value * 10 + (c - '0');
  }
  if (!any) return std::nullopt;
  for (decimals = std::max(decimals, 0); decimals < scale; ++decimals) {
    if (value != 0 && ++digits > precision) return std::nullopt;
    value *= 10;
  }
  return negative ? -value : value;
}

std::optional<std::int64_t> as_int(const element& value) {
  std::int64_t number;
  if (value.get_int64().get(number) != simdjson::SUCCESS) return std::nullopt;
  return number;
}

std::optional<double> as_double(const element& value) {
  double number;
  if (value.get_double().get(number) == simdjson::SUCCESS) return number;
  std::string_view text;
  if (value.get_string().get(text) != simdjson::SUCCESS) return std::nullopt;
  if (text == "NaN") return std::numeric_limits<double>::quiet_NaN();
  if (text == "Infinity") return std::numeric_limits<double>::infinity();
  if (text == "-Infinity") return -std::numeric_limits<double>::infinity();
  return std::nullopt;
}

std::optional<std::string_view> as_string(const element& value) {
  std::string_view text;
  if (value.get_string().get(text) != simdjson::SUCCESS) return std::nullopt;
  return text;
}

/// The number of bytes that code points up to U+00FF stand for, or -1.
std::int64_t count_bytes(std::string_view text) {
  std::int64_t count = 0;
  for (std::size_t i = 0; i < text.size(); ++i, ++count) {
    const auto byte = static_cast<std::uint8_t>(text[i]);
    if (byte < 0x80) continue;
    if (byte != 0xC2 && byte != 0xC3) return -1;
    ++i;
  }
  return count;
}

std::string to_code_point_bytes(std::string_view text) {
  std::string bytes;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<std::uint8_t>(text[i]);
    if (byte < 0x80) {
      bytes += text[i];
    } else {
      bytes +=
          static_cast<char>((byte & 0x03) << 6 | (static_cast<std::uint8_t>(text[++i]) & 0x3F));
    }
  }
  return bytes;
}

std::int64_t floor_div(std::int64_t a, std::int64_t b) {
  return a / b - (a % b != 0 && (a < 0) != (b < 0) ? 1 : 0);
}

std::string branch_name(const schema& of) {
  if (of.named()) return of.full_name();
  if (of.type == avro_type::array) return "array";
  if (of.type == avro_type::map) return "map";
  return to_string(of);
}

/// Appends JSON values to columns by their schema.
class json_appender {
 public:
  /// `as_default`: decimals are their bytes, as Avro writes defaults.
  explicit json_appender(bool as_default) : as_default_(as_default) {}

  bool ignore_unknown = false;

  status append(const schema& of, const element& value, column& into) {
    switch (of.type) {
      case avro_type::record:
        return append_record(of, value, into);
      case avro_type::array:
        return append_array(of, value, into);
      case avro_type::map:
        return append_map(of, value, into);
      case avro_type::union_of:
        return append_union(of, value, into);
      case avro_type::enumeration:
        return append_enum(of, value, into);
      default:
        return append_scalar(of, value, into);
    }
  }

  /// A record's members into columns by position: `column_at(i)` is the i-th field's.
  template <class ColumnAt>
  status append_members(const schema& of, const element& value, ColumnAt column_at) {
    simdjson::dom::object object;
    if (value.get_object().get(object) != simdjson::SUCCESS) return wrong(of);
    const std::size_t base = members_.size();
    members_.resize(base + of.fields.size());
    auto done = append_members_at(of, object, base, column_at);
    members_.resize(base);
    return done;
  }

 private:
  static tl::unexpected<error> wrong(const schema& of) {
    return fail(errc::invalid, "should be " + expectation(of));
  }

  static std::string expectation(const schema& of) {
    switch (of.logical) {
      case logical_type::date:
        return "a date such as \"2026-11-21\", or days since 1970 as an int";
      case logical_type::timestamp_millis:
        return "milliseconds since 1970 as an int64, or a time as RFC 3339";
      case logical_type::timestamp_micros:
        return "microseconds since 1970 as an int64, or a time as RFC 3339";
      case logical_type::decimal:
        return "a decimal of " + std::to_string(of.precision) + " digits, " +
               std::to_string(of.scale) + " of them decimals";
      default:
        break;
    }
    if (of.type == avro_type::fixed) {
      return "a string of " + std::to_string(of.size) + " code points up to U+00FF";
    }
    if (of.type == avro_type::bytes) return "a string of code points up to U+00FF";
    if (of.type == avro_type::record) return "an object";
    return to_string(of);
  }

  template <class ColumnAt>
  status append_members_at(const schema& of, const simdjson::dom::object& object, std::size_t base,
                           ColumnAt column_at) {
    std::size_t expected = 0;  // members mostly come in the schema's order
    for (const auto member : object) {
      std::size_t i = expected;
      if (i >= of.fields.size() || of.fields[i].name != member.key) {
        for (i = 0; i < of.fields.size() && of.fields[i].name != member.key; ++i) {
        }
      }
      if (i == of.fields.size()) {
        if (ignore_unknown) continue;
        return fail(errc::invalid, "has a member that \"" + of.full_name() + "\" has no field for" +
                                       nearest_field(of, member.key));
      }
      if (members_[base + i])
        return fail(errc::invalid, "field \"" + of.fields[i].name + "\": is there twice");
      members_[base + i] = member.value;
      expected = i + 1;
    }
    for (std::size_t i = 0; i < of.fields.size(); ++i) {
      const schema_field& f = of.fields[i];
      const auto value = members_[base + i];
      auto done = value ? append(*f.type, *value, column_at(i)) : append_missing(f, column_at(i));
      if (!done) return tl::unexpected(done.error().at("field \"" + f.name + "\""));
    }
    return {};
  }

  static status append_missing(const schema_field& f, column& into) {
    if (f.default_json) return append_json_value(*f.type, *f.default_json, into);
    if (f.type->type == avro_type::union_of) {
      const auto& branches = f.type->branches;
      const bool null = std::any_of(branches.begin(), branches.end(),
                                    [](const schema_ptr& b) { return b->type == avro_type::null; });
      if (null) {
        into.append_null();
        return {};
      }
    }
    if (f.type->type == avro_type::null) {
      into.append_null();
      return {};
    }
    return fail(errc::invalid, "is missing and has no default; should be " + expectation(*f.type));
  }

  status append_record(const schema& of, const element& value, column& into) {
    SONDER_TRY(append_members(of, value, [&](std::size_t i) -> column& { return into.child(i); }));
    into.close_record();
    return {};
  }

  status append_array(const schema& of, const element& value, column& into) {
    simdjson::dom::array array;
    if (value.get_array().get(array) != simdjson::SUCCESS) return wrong(of);
    std::size_t i = 0;
    for (const auto item : array) {
      if (auto done = append(*of.items, item, into.child(0)); !done) {
        return tl::unexpected(done.error().at("item " + std::to_string(i)));
      }
      ++i;
    }
    into.close_list();
    return {};
  }

  status append_map(const schema& of, const element& value, column& into) {
    simdjson::dom::object object;
    if (value.get_object().get(object) != simdjson::SUCCESS) return wrong(of);
    column& entries = into.child(0);
    for (const auto member : object) {
      if (!entries.child(0).append_text(member.key)) return too_large();
      if (auto done = append(*of.items, member.value, entries.child(1)); !done) {
        return tl::unexpected(done.error().at("a value"));
      }
      entries.close_record();
    }
    into.close_list();
    return {};
  }

  status append_union(const schema& of, const element& value, column& into) {
    const bool nullable = nullable_of(of) != nullptr;
    const auto take = [&](std::size_t i, const element& inner) -> status {
      if (nullable && of.branches[i]->type == avro_type::null) {
        into.append_null();
        return {};
      }
      if (nullable) return append(*of.branches[i], inner, into);
      SONDER_TRY(append(*of.branches[i], inner, into.child(i)));
      into.close_union(static_cast<std::int8_t>(i));
      return {};
    };
    for (std::size_t i = 0; i < of.branches.size(); ++i) {
      if (fits(*of.branches[i], value)) return take(i, value);
    }
    simdjson::dom::object object;
    if (value.get_object().get(object) == simdjson::SUCCESS && object.size() == 1) {
      const auto member = *object.begin();
      for (std::size_t i = 0; i < of.branches.size(); ++i) {
        if (branch_name(*of.branches[i]) == member.key && fits(*of.branches[i], member.value)) {
          return take(i, member.value);
        }
      }
    }
    // Of a nullable type the error inside is the one that helps.
    if (const schema* inner = nullable_of(of)) return append(*inner, value, into);
    return wrong(of);
  }

  /// Whether the value could be appended as this type. A record that lacks a field or has an
  /// unknown one does not fit.
  bool fits(const schema& of, const element& value) const {
    switch (of.type) {
      case avro_type::null:
        return value.is_null();
      case avro_type::boolean:
        return value.is_bool();
      case avro_type::enumeration: {
        const auto text = as_string(value);
        return text && std::find(of.symbols.begin(), of.symbols.end(), *text) != of.symbols.end();
      }
      case avro_type::array: {
        simdjson::dom::array array;
        if (value.get_array().get(array) != simdjson::SUCCESS) return false;
        return std::all_of(array.begin(), array.end(),
                           [&](const element& item) { return fits(*of.items, item); });
      }
      case avro_type::map: {
        simdjson::dom::object object;
        if (value.get_object().get(object) != simdjson::SUCCESS) return false;
        for (const auto member : object) {
          if (!fits(*of.items, member.value)) return false;
        }
        return true;
      }
      case avro_type::union_of:
        return std::any_of(of.branches.begin(), of.branches.end(),
                           [&](const schema_ptr& b) { return fits(*b, value); });
      case avro_type::record:
        return fits_record(of, value);
      default:
        return scalar(of, value).fits;
    }
  }

  bool fits_record(const schema& of, const element& value) const {
    simdjson::dom::object object;
    if (value.get_object().get(object) != simdjson::SUCCESS) return false;
    std::size_t known = 0;
    for (const schema_field& f : of.fields) {
      element member;
      if (object.at_key(f.name).get(member) == simdjson::SUCCESS) {
        ++known;
        if (!fits(*f.type, member)) return false;
      } else if (!f.default_json && nullable_of(*f.type) == nullptr &&
                 f.type->type != avro_type::null) {
        return false;
      }
    }
    return ignore_unknown || known == object.size();
  }

  /// A value of a type that is neither nested nor an enum, ready to append.
  struct scalar_value {
    bool fits = false;
    std::int64_t integer = 0;
    double real = 0;
    int128 decimal = 0;
    std::string_view text;
  };

  scalar_value scalar(const schema& of, const element& value) const {
    scalar_value to;
    if (of.logical == logical_type::decimal && !as_default_ && of.precision <= 38)
      return decimal(of, value);
    switch (of.type) {
      case avro_type::int32:
      case avro_type::int64:
        return integer(of, value);
      case avro_type::float32:
      case avro_type::float64:
        if (const auto number = as_double(value)) {
          to.fits = true;
          to.real = *number;
        }
        return to;
      case avro_type::string:
      case avro_type::bytes:
      case avro_type::fixed: {
        const auto text = as_string(value);
        to.fits = text && (of.type == avro_type::string || count_bytes(*text) >= 0) &&
                  (of.type != avro_type::fixed || count_bytes(*text) == of.size);
        if (text) to.text = *text;
        return to;
      }
      default:
        return to;
    }
  }

  static scalar_value decimal(const schema& of, const element& value) {
    scalar_value to;
    std::optional<int128> number;
    char digits[512];
    if (const auto text = as_string(value)) {
      number = parse_decimal(*text, of.precision, of.scale);
    } else if (value.is_int64() || value.is_uint64()) {
      const auto end =
          value.is_int64()
              ? std::to_chars(digits, std::end(digits), value.get_int64().value_unsafe()).ptr
              : std::to_chars(digits, std::end(digits), value.get_uint64().value_unsafe()).ptr;
      number =
          parse_decimal({digits, static_cast<std::size_t>(end - digits)}, of.precision, of.scale);
    } else if (value.is_double()) {
      const auto end = std::to_chars(digits, std::end(digits), value.get_double().value_unsafe(),
                                     std::chars_format::fixed)
                           .ptr;
      number =
          parse_decimal({digits, static_cast<std::size_t>(end - digits)}, of.precision, of.scale);
    }
    to.fits = number.has_value();
    to.decimal = number.value_or(0);
    return to;
  }

  static scalar_value integer(const schema& of, const element& value) {
    scalar_value to;
    std::optional<std::int64_t> number = as_int(value);
    if (const auto text = as_string(value)) number = time_from_text(of.logical, *text);
    if (!number) return to;
    to.integer = *number;
    to.fits = of.type == avro_type::int64 || *number == static_cast<std::int32_t>(*number);
    return to;
  }

  static std::optional<std::int64_t> time_from_text(logical_type logical, std::string_view text) {
    switch (logical) {
      case logical_type::date:
        return parse_date(text);
      case logical_type::timestamp_micros:
      case logical_type::local_timestamp_micros:
        return parse_rfc3339_us(text, logical == logical_type::local_timestamp_micros);
      case logical_type::timestamp_millis:
      case logical_type::local_timestamp_millis: {
        const auto us = parse_rfc3339_us(text, logical == logical_type::local_timestamp_millis);
        if (!us) return std::nullopt;
        return floor_div(*us, 1000);
      }
      default:
        return std::nullopt;
    }
  }

  static tl::unexpected<error> too_large() {
    return fail(errc::capacity, "the batch would pass 2^31-1 bytes of text");
  }

  status append_scalar(const schema& of, const element& value, column& into) {
    if (of.type == avro_type::null) {
      if (!value.is_null()) return wrong(of);
      into.append_null();
      return {};
    }
    if (of.type == avro_type::boolean) {
      bool truth;
      if (value.get_bool().get(truth) != simdjson::SUCCESS) return wrong(of);
      into.append_bool(truth);
      return {};
    }
    const scalar_value v = scalar(of, value);
    if (!v.fits) return wrong(of);
    switch (of.type) {
      case avro_type::int32:
        into.append_int32(static_cast<std::int32_t>(v.integer));
        return {};
      case avro_type::int64:
        into.append_int64(v.integer);
        return {};
      case avro_type::float32:
        into.append_float32(static_cast<float>(v.real));
        return {};
      case avro_type::float64:
        into.append_float64(v.real);
        return {};
      case avro_type::string:
        return into.append_text(v.text) ? status() : too_large();
      default:
        return append_binary(of, v, into);
    }
  }

  status append_binary(const schema& of, const scalar_value& v, column& into) {
    if (into.type().id != type_id::decimal128) {
      return into.append_text(to_code_point_bytes(v.text)) ? status() : too_large();
    }
    int128 number = v.decimal;
    if (as_default_) {
      const std::string bytes = to_code_point_bytes(v.text);
      if (bytes.empty() || bytes.size() > sizeof number) return wrong(of);
      number = static_cast<std::int8_t>(bytes[0]);
      for (std::size_t i = 1; i < bytes.size(); ++i)
        number = number * 256 + static_cast<std::uint8_t>(bytes[i]);
    }
    return into.append_bytes({reinterpret_cast<const std::uint8_t*>(&number), sizeof number})
               ? status()
               : too_large();
  }

  status append_enum(const schema& of, const element& value, column& into) {
    const auto text = as_string(value);
    const auto found =
        text ? std::find(of.symbols.begin(), of.symbols.end(), *text) : of.symbols.end();
    if (found == of.symbols.end()) {
      constexpr std::size_t named_max = 12;
      std::string list;
      for (std::size_t i = 0; i < of.symbols.size() && i < named_max; ++i)
        list += (i == 0 ? "" : ", ") + of.symbols[i];
      return fail(errc::invalid,
                  "should be one of " + list + (of.symbols.size() > named_max ? ", ..." : ""));
    }
    into.append_int32(static_cast<std::int32_t>(found - of.symbols.begin()));
    return {};
  }

  const bool as_default_;
  std::vector<std::optional<element>> members_;  ///< of the records being read, innermost last
};

}  // namespace

struct json_row_reader::state {
  schema_ptr record;
  simdjson::dom::parser parser{row_bytes_max};
  json_appender appender{false};
};

json_row_reader::json_row_reader(schema_ptr record) : state_(std::make_unique<state>()) {
  state_->record = std::move(record);
}
json_row_reader::json_row_reader(json_row_reader&&) noexcept = default;
json_row_reader& json_row_reader::operator=(json_row_reader&&) noexcept = default;
json_row_reader::~json_row_reader() = default;

void json_row_reader::ignore_unknown(bool yes) noexcept {
  state_->appender.ignore_unknown = yes;
}

status json_row_reader::append(std::string_view object, columns& into) {
  if (object.size() > row_bytes_max) {
    return fail(errc::capacity, "row: longer than " + std::to_string(row_bytes_max) + " bytes");
  }
  element value;
  if (const auto problem = state_->parser.parse(object.data(), object.size()).get(value);
      problem != simdjson::SUCCESS) {
    return fail(errc::invalid,
                std::string("row: no valid JSON: ") + simdjson::error_message(problem));
  }
  const auto before = into.length();
  auto done = state_->appender.append_members(*state_->record, value,
                                              [&](std::size_t i) -> column& { return into[i]; });
  if (done) return {};
  into.truncate(before);
  return tl::unexpected(done.error().at("row"));
}

status append_json_value(const schema& of, std::string_view text, column& into) {
  simdjson::dom::parser parser;
  element value;
  if (const auto problem = parser.parse(text.data(), text.size()).get(value);
      problem != simdjson::SUCCESS) {
    return fail(errc::invalid, std::string("no valid JSON: ") + simdjson::error_message(problem));
  }
  const auto before = into.length();
  auto done = json_appender(true).append(of, value, into);
  if (!done) into.truncate(before);
  return done;
}

}  // namespace sonder
