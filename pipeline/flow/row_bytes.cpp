#include "flow/row_bytes.h"

#include <cstring>

namespace sonder {

namespace {

std::size_t width_of(const data_type& of) {
  switch (of.id) {
    case type_id::int32:
    case type_id::float32:
    case type_id::enumeration:
    case type_id::date32:
    case type_id::time_ms:
      return 4;
    case type_id::fixed_binary:
      return static_cast<std::size_t>(of.size);
    case type_id::decimal128:
      return 16;
    default:
      return 8;
  }
}

void append_size(std::size_t size, std::string& to) {
  const auto n = static_cast<std::uint32_t>(size);
  to.append(reinterpret_cast<const char*>(&n), sizeof n);
}

bool take_bytes(bytes_view& from, std::size_t size, bytes_view& taken) {
  if (from.size() < size) return false;
  taken = from.first(size);
  from = from.subspan(size);
  return true;
}

bool take_size(bytes_view& from, std::uint32_t& size) {
  bytes_view taken;
  if (!take_bytes(from, sizeof size, taken)) return false;
  std::memcpy(&size, taken.data(), sizeof size);
  return true;
}

bool take_one(bytes_view& from, const data_type& of, column& into);

/// A value that is not null.
bool take_present(bytes_view& from, const data_type& of, column& into) {
  bytes_view taken;
  std::uint32_t size = 0;
  switch (of.id) {
    case type_id::null:
      into.append_null();
      return true;
    case type_id::boolean:
      if (!take_bytes(from, 1, taken)) return false;
      into.append_bool(taken[0] != 0);
      return true;
    case type_id::utf8:
    case type_id::binary:
      return take_size(from, size) && take_bytes(from, size, taken) && into.append_bytes(taken);
    case type_id::list:
    case type_id::map:
      if (!take_size(from, size)) return false;
      for (std::uint32_t i = 0; i < size; ++i) {
        if (!take_one(from, of.fields[0].type, into.child(0))) return false;
      }
      into.close_list();
      return true;
    case type_id::record:
      for (std::size_t i = 0; i < of.fields.size(); ++i) {
        if (!take_one(from, of.fields[i].type, into.child(i))) return false;
      }
      into.close_record();
      return true;
    case type_id::dense_union:
      if (!take_bytes(from, 1, taken) || taken[0] >= of.fields.size()) return false;
      if (!take_one(from, of.fields[taken[0]].type, into.child(taken[0]))) return false;
      into.close_union(static_cast<std::int8_t>(taken[0]));
      return true;
    default:
      return take_bytes(from, width_of(of), taken) && into.append_bytes(taken);
  }
}

bool take_one(bytes_view& from, const data_type& of, column& into) {
  bytes_view present;
  if (!take_bytes(from, 1, present)) return false;
  if (present[0] != 0) return take_present(from, of, into);
  into.append_null();
  return true;
}

}  // namespace

void append_value(const ArrowArray& from, std::int64_t row, const data_type& of, std::string& to) {
  // A union says by its branch what is null; its first buffer is no validity.
  const bool present = of.id == type_id::dense_union || !is_null(from, row);
  to.push_back(present ? 1 : 0);
  if (!present) return;
  const auto at = row + from.offset;
  switch (of.id) {
    case type_id::null:
      return;
    case type_id::boolean: {
      const auto* bits = static_cast<const std::uint8_t*>(from.buffers[1]);
      to.push_back(static_cast<char>(bits[at >> 3] >> (at & 7) & 1));
      return;
    }
    case type_id::utf8:
    case type_id::binary: {
      const auto bytes = as_text(bytes_at(from, row));
      append_size(bytes.size(), to);
      to.append(bytes);
      return;
    }
    case type_id::list:
    case type_id::map: {
      const auto* ends = static_cast<const std::int32_t*>(from.buffers[1]) + at;
      append_size(static_cast<std::size_t>(ends[1] - ends[0]), to);
      for (auto i = ends[0]; i < ends[1]; ++i) append_value(*from.children[0], i, of.fields[0].type, to);
      return;
    }
    case type_id::record:
      for (std::size_t i = 0; i < of.fields.size(); ++i) append_value(*from.children[i], at, of.fields[i].type, to);
      return;
    case type_id::dense_union: {
      const auto branch = static_cast<const std::int8_t*>(from.buffers[0])[at];
      const auto child_row = static_cast<const std::int32_t*>(from.buffers[1])[at];
      to.push_back(static_cast<char>(branch));
      const auto i = static_cast<std::size_t>(branch);
      append_value(*from.children[i], child_row, of.fields[i].type, to);
      return;
    }
    default: {
      const auto width = width_of(of);
      to.append(static_cast<const char*>(from.buffers[1]) + static_cast<std::size_t>(at) * width, width);
    }
  }
}

status take_value(bytes_view& from, const data_type& of, column& into) {
  if (take_one(from, of, into)) return {};
  return fail(errc::corrupt, "a kept row does not hold a value of type " + to_string(of));
}

}  // namespace sonder
