#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "avro/schema.h"
#include "record/columns.h"

namespace sonder {

/// Reads JSON objects, one a row, into the columns of a record schema. For `produce`, `try` and
/// tests: quick, but off the path.
///
/// One thread. A value is written as its type asks: `bytes` and `fixed` as a string of code points
/// up to U+00FF, one a byte (Avro's own JSON encoding); a decimal as a number or a string of
/// digits; timestamps as int64 in their unit or as an RFC 3339 string, a date also as `2026-11-21`;
/// a union's value as it is, first branch that fits (Avro's `{"string": "x"}` also does); an enum
/// by its symbol. A missing field takes its default, else null where it is nullable. Errors name
/// the field and what it should be, never the value.
class json_row_reader {
 public:
  static constexpr std::size_t row_bytes_max = std::size_t{64} << 20;

  /// `record` must be a record; it may be thrown away afterwards.
  explicit json_row_reader(schema_ptr record);
  json_row_reader(json_row_reader&&) noexcept;
  json_row_reader& operator=(json_row_reader&&) noexcept;
  ~json_row_reader();

  /// Whether a member that the schema has no field for is passed over (default: refused, with the
  /// nearest name).
  void ignore_unknown(bool yes) noexcept;

  /// Appends the object as one row of `into`, made from `column_fields(record)`, or leaves it as it
  /// was.
  [[nodiscard]] status append(std::string_view object, columns& into);

 private:
  struct state;
  std::unique_ptr<state> state_;
};

/// Appends one JSON value of the schema to a column of `column_field(of)`: a default or a constant,
/// written as Avro writes defaults (a decimal is then its bytes, as code points). On an error the
/// column is as it was.
[[nodiscard]] status append_json_value(const schema& of, std::string_view json, column& into);

/// Appends row `row` of an array as JSON text, with the conventions above: unions unwrapped,
/// timestamps as int64, bytes as code points (`\u00ff`), NaN and infinities as strings (JSON has no
/// such numbers; the reader takes them back).
void append_json(const field& of, const ArrowArray& from, std::int64_t row, std::string& out);
/// A whole row as one object; arrays and fields go together by position.
void append_json_row(std::span<const field> fields, std::span<const ArrowArray* const> arrays,
                     std::int64_t row, std::string& out);

/// Appends a JSON string with quotes, escaped.
void append_json_string(std::string_view text, std::string& out);

}  // namespace sonder
