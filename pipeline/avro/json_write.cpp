#include <charconv>
#include <cmath>

#include "avro/json.h"

namespace sonder {

namespace {

__extension__ using int128 = __int128;

constexpr char hex_digits[] = "0123456789abcdef";

template <class Number>
void append_integer(Number value, std::string& out) {
  char digits[24];
  out.append(digits, std::to_chars(digits, std::end(digits), value).ptr);
}

template <class Float>
void append_real(Float value, std::string& out) {
  if (std::isnan(value)) {
    out += "\"NaN\"";
  } else if (std::isinf(value)) {
    out += value > 0 ? "\"Infinity\"" : "\"-Infinity\"";
  } else {
    char digits[40];
    const std::string_view text(
        digits,
        static_cast<std::size_t>(std::to_chars(digits, std::end(digits), value).ptr - digits));
    out += text;
    // A reader must see that this is no integer.
    if (text.find_first_of(".e") == text.npos) out += ".0";
  }
}

void append_escaped(unsigned char c, std::string& out) {
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      out.append({'\\', 'u', '0', '0', hex_digits[c >> 4], hex_digits[c & 15]});
  }
}

void append_code_points(bytes_view bytes, std::string& out) {
  out += '"';
  for (const std::uint8_t byte : bytes) {
    if (byte < 0x20 || byte > 0x7e || byte == '"' || byte == '\\') {
      append_escaped(byte, out);
    } else {
      out += static_cast<char>(byte);
    }
  }
  out += '"';
}

void append_decimal(const ArrowArray& from, std::int64_t row, std::int32_t scale,
                    std::string& out) {
  int128 value = fixed_values<int128>(from)[row];
  const bool negative = value < 0;
  auto rest =
      negative ? -static_cast<unsigned __int128>(value) : static_cast<unsigned __int128>(value);
  char digits[64];  // 39 digits, their point and sign, two quotes
  char* const last = std::end(digits);
  char* first = last;
  *--first = '"';
  for (std::int32_t written = 0; rest != 0 || written <= scale; ++written) {
    if (written == scale && scale > 0) *--first = '.';
    *--first = static_cast<char>('0' + static_cast<int>(rest % 10));
    rest /= 10;
  }
  if (negative) *--first = '-';
  *--first = '"';
  out.append(first, last);
}

bool bit_at(const ArrowArray& from, std::int64_t row) {
  const auto i = row + from.offset;
  return ((static_cast<const std::uint8_t*>(from.buffers[1])[i >> 3] >> (i & 7)) & 1) != 0;
}

void append_items(const field& of, const ArrowArray& from, std::int64_t row, std::string& out) {
  const auto* ends = static_cast<const std::int32_t*>(from.buffers[1]) + from.offset + row;
  const bool keyed = of.type.id == type_id::map;
  out += keyed ? '{' : '[';
  const ArrowArray& child = *from.children[0];
  for (auto i = ends[0]; i < ends[1]; ++i) {
    if (i != ends[0]) out += ',';
    if (keyed) {
      const auto& entry = of.type.fields[0].type.fields;
      append_json_string(text_at(*child.children[0], i + child.offset), out);
      out += ':';
      append_json(entry[1], *child.children[1], i + child.offset, out);
    } else {
      append_json(of.type.fields[0], child, i, out);
    }
  }
  out += keyed ? '}' : ']';
}

void append_members(const field& of, const ArrowArray& from, std::int64_t row, std::string& out) {
  out += '{';
  for (std::size_t i = 0; i < of.type.fields.size(); ++i) {
    if (i != 0) out += ',';
    append_json_string(of.type.fields[i].name, out);
    out += ':';
    append_json(of.type.fields[i], *from.children[i], row + from.offset, out);
  }
  out += '}';
}

}  // namespace

void append_json_string(std::string_view text, std::string& out) {
  out += '"';
  std::size_t plain = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f) continue;
    out.append(text, plain, i - plain);
    append_escaped(c, out);
    plain = i + 1;
  }
  out.append(text, plain, text.size() - plain);
  out += '"';
}

void append_json(const field& of, const ArrowArray& from, std::int64_t row, std::string& out) {
  if (of.type.id == type_id::null || (of.type.id != type_id::dense_union && is_null(from, row))) {
    out += "null";
    return;
  }
  switch (of.type.id) {
    case type_id::null:
      return;
    case type_id::boolean:
      out += bit_at(from, row) ? "true" : "false";
      return;
    case type_id::int32:
    case type_id::date32:
    case type_id::time_ms:
      return append_integer(fixed_values<std::int32_t>(from)[row], out);
    case type_id::int64:
    case type_id::time_us:
    case type_id::timestamp_ms:
    case type_id::timestamp_us:
    case type_id::local_timestamp_ms:
    case type_id::local_timestamp_us:
      return append_integer(fixed_values<std::int64_t>(from)[row], out);
    case type_id::float32:
      return append_real(fixed_values<float>(from)[row], out);
    case type_id::float64:
      return append_real(fixed_values<double>(from)[row], out);
    case type_id::utf8:
      return append_json_string(text_at(from, row), out);
    case type_id::binary:
      return append_code_points(bytes_at(from, row), out);
    case type_id::fixed_binary: {
      const auto size = static_cast<std::size_t>(of.type.size);
      const auto* base = static_cast<const std::uint8_t*>(from.buffers[1]);
      return append_code_points({base + static_cast<std::size_t>(row + from.offset) * size, size},
                                out);
    }
    case type_id::enumeration: {
      const auto index = static_cast<std::size_t>(fixed_values<std::int32_t>(from)[row]);
      return append_json_string(of.type.symbols[index], out);
    }
    case type_id::decimal128:
      return append_decimal(from, row, of.type.scale, out);
    case type_id::list:
    case type_id::map:
      return append_items(of, from, row, out);
    case type_id::record:
      return append_members(of, from, row, out);
    case type_id::dense_union: {
      const auto at = row + from.offset;
      const auto branch = static_cast<const std::int8_t*>(from.buffers[0])[at];
      const auto child_row = static_cast<const std::int32_t*>(from.buffers[1])[at];
      return append_json(of.type.fields[static_cast<std::size_t>(branch)], *from.children[branch],
                         child_row, out);
    }
  }
}

void append_json_row(std::span<const field> fields, std::span<const ArrowArray* const> arrays,
                     std::int64_t row, std::string& out) {
  out += '{';
  for (std::size_t i = 0; i < fields.size(); ++i) {
    if (i != 0) out += ',';
    append_json_string(fields[i].name, out);
    out += ':';
    append_json(fields[i], *arrays[i], row, out);
  }
  out += '}';
}

}  // namespace sonder
