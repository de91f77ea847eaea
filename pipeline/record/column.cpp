#include "record/column.h"

#include <algorithm>
#include <cassert>
#include <limits>
#include <new>

namespace sonder {

namespace {

constexpr std::size_t buffer_alignment = 64;
constexpr std::size_t buffer_bytes_min = 64;
constexpr std::size_t offset_max = std::numeric_limits<std::int32_t>::max();

/// What an empty buffer points at: importers dislike null where there should be a buffer.
alignas(buffer_alignment) constexpr std::uint8_t nothing[buffer_alignment] = {};

const void* start_of(const buffer& b) {
  return b.data() != nullptr ? b.data() : nothing;
}

/// Bytes of one value of a fixed-width type; 0 for the others and for booleans, which are bits.
std::size_t width_of(const data_type& type) {
  switch (type.id) {
    case type_id::int32:
    case type_id::float32:
    case type_id::enumeration:
    case type_id::date32:
    case type_id::time_ms:
      return 4;
    case type_id::int64:
    case type_id::float64:
    case type_id::time_us:
    case type_id::timestamp_ms:
    case type_id::timestamp_us:
    case type_id::local_timestamp_ms:
    case type_id::local_timestamp_us:
      return 8;
    case type_id::decimal128:
      return 16;
    case type_id::fixed_binary:
      return static_cast<std::size_t>(type.size);
    default:
      return 0;
  }
}

bool has_offsets(type_id id) {
  return id == type_id::utf8 || id == type_id::binary || id == type_id::list || id == type_id::map;
}

void do_not_free(ArrowArray* array) {
  array->release = nullptr;
}

std::int64_t count_nulls(const buffer& validity, std::int64_t length) {
  std::int64_t set = 0;
  for (std::size_t i = 0; i < validity.size(); ++i) set += __builtin_popcount(validity.data()[i]);
  return length - set;
}

}  // namespace

buffer::buffer(buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      capacity_(std::exchange(other.capacity_, 0)) {}

buffer& buffer::operator=(buffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(capacity_, other.capacity_);
  return *this;
}

buffer::~buffer() {
  ::operator delete(data_, std::align_val_t(buffer_alignment));
}

void buffer::grow(std::size_t more) {
  // What is filled bit by bit doubles. An empty one is told at once what it shall hold, of which
  // the next time may need a bit more.
  const std::size_t wanted = std::max(
      size_ == 0 ? more + more / 8 : std::max(size_ + more, capacity_ * 2), buffer_bytes_min);
  const std::size_t rounded = (wanted + buffer_alignment - 1) / buffer_alignment * buffer_alignment;
  auto* fresh =
      static_cast<std::uint8_t*>(::operator new(rounded, std::align_val_t(buffer_alignment)));
  if (size_ != 0) std::memcpy(fresh, data_, size_);
  ::operator delete(data_, std::align_val_t(buffer_alignment));
  data_ = fresh;
  capacity_ = rounded;
}

struct column::parts {
  data_type type;
  std::size_t width = 0;
  std::vector<column> children;
  std::vector<std::int32_t> union_rows;  ///< closed rows of each branch
  int null_branch = -1;

  ArrowArray lent{};
  const void* lent_buffers[3] = {};
  std::vector<ArrowArray*> lent_children;

  // The dictionary of an enumeration: never changes.
  ArrowArray dictionary{};
  const void* dictionary_buffers[3] = {};
  std::vector<std::int32_t> symbol_offsets;
  std::string symbol_bytes;

  void make_dictionary();
};

void column::parts::make_dictionary() {
  symbol_offsets.push_back(0);
  for (const std::string& symbol : type.symbols) {
    symbol_bytes += symbol;
    symbol_offsets.push_back(static_cast<std::int32_t>(symbol_bytes.size()));
  }
  dictionary_buffers[1] = symbol_offsets.data();
  dictionary_buffers[2] = symbol_bytes.data();
}

column::column(const field& of) : nullable_(of.nullable), parts_(std::make_unique<parts>()) {
  parts_->type = of.type;
  parts_->width = width_of(of.type);
  parts_->children.reserve(of.type.fields.size());
  for (const field& child : of.type.fields) parts_->children.emplace_back(child);
  if (of.type.id == type_id::dense_union || of.type.id == type_id::null) nullable_ = false;
  if (of.type.id == type_id::dense_union) {
    parts_->union_rows.resize(of.type.fields.size());
    for (std::size_t i = 0; i < of.type.fields.size() && parts_->null_branch < 0; ++i) {
      if (of.type.fields[i].type.id == type_id::null) parts_->null_branch = static_cast<int>(i);
    }
  }
  if (of.type.id == type_id::enumeration) parts_->make_dictionary();
  if (has_offsets(of.type.id)) offsets.append_value<std::int32_t>(0);
}

column::column(column&&) noexcept = default;
column& column::operator=(column&&) noexcept = default;
column::~column() = default;

const data_type& column::type() const noexcept {
  return parts_->type;
}
column& column::child(std::size_t i) noexcept {
  return parts_->children[i];
}
std::size_t column::children() const noexcept {
  return parts_->children.size();
}

void column::clear() noexcept {
  truncate(0);
}

void column::truncate(std::int64_t length) noexcept {
  parts& p = *parts_;
  const auto rows = static_cast<std::size_t>(length);
  const auto bytes_of_bits = (rows + 7) / 8;
  const auto cut_bits = [&](buffer& bits) {
    if (bits.size() < bytes_of_bits) return;
    bits.set_size(bytes_of_bits);
    if ((rows & 7) != 0)
      bits.data()[rows >> 3] &= static_cast<std::uint8_t>((1u << (rows & 7)) - 1);
  };
  if (nullable_) cut_bits(validity);
  switch (p.type.id) {
    case type_id::null:
      break;
    case type_id::boolean:
      cut_bits(values);
      break;
    case type_id::utf8:
    case type_id::binary:
      offsets.set_size((rows + 1) * sizeof(std::int32_t));
      values.set_size(static_cast<std::size_t>(offsets.as<std::int32_t>()[rows]));
      break;
    case type_id::list:
    case type_id::map:
      offsets.set_size((rows + 1) * sizeof(std::int32_t));
      p.children[0].truncate(offsets.as<std::int32_t>()[rows]);
      break;
    case type_id::record:
      for (column& child : p.children) child.truncate(length);
      break;
    case type_id::dense_union: {
      for (std::int64_t row = length_; row-- > length;) {
        const auto branch = values.as<std::int8_t>()[row];
        p.union_rows[static_cast<std::size_t>(branch)] = offsets.as<std::int32_t>()[row];
      }
      for (std::size_t i = 0; i < p.children.size(); ++i) p.children[i].truncate(p.union_rows[i]);
      values.set_size(rows);
      offsets.set_size(rows * sizeof(std::int32_t));
      break;
    }
    default:
      values.set_size(rows * p.width);
  }
  length_ = length;
}

void column::append_zero_values() {
  parts& p = *parts_;
  switch (p.type.id) {
    case type_id::null:
      break;
    case type_id::boolean:
      if ((length_ & 7) == 0) values.append_value<std::uint8_t>(0);
      break;
    case type_id::utf8:
    case type_id::binary:
      offsets.append_value(static_cast<std::int32_t>(values.size()));
      break;
    case type_id::list:
    case type_id::map:
      offsets.append_value(static_cast<std::int32_t>(p.children[0].length()));
      break;
    case type_id::record:
      for (column& child : p.children) child.append_null();
      break;
    case type_id::dense_union: {
      const auto branch = static_cast<std::size_t>(std::max(p.null_branch, 0));
      values.append_value(static_cast<std::int8_t>(branch));
      offsets.append_value(p.union_rows[branch]++);
      p.children[branch].append_null();
      break;
    }
    default:
      values.reserve_more(p.width);
      if (p.width != 0) std::memset(values.data() + values.size(), 0, p.width);
      values.set_size(values.size() + p.width);
  }
}

void column::append_null() {
  if (nullable_) mark(false);
  append_zero_values();
  ++length_;
}

void column::append_zero() {
  mark_valid();
  if (parts_->type.id == type_id::record) {
    for (column& child : parts_->children) child.append_zero();
  } else {
    append_zero_values();
  }
  ++length_;
}

void column::append_bool(bool value) {
  mark_valid();
  if ((length_ & 7) == 0) {
    values.append_value(static_cast<std::uint8_t>(value));
  } else {
    values.data()[length_ >> 3] |= static_cast<std::uint8_t>(value) << (length_ & 7);
  }
  ++length_;
}

void column::append_int32(std::int32_t value) {
  mark_valid();
  values.append_value(value);
  ++length_;
}

void column::append_int64(std::int64_t value) {
  mark_valid();
  values.append_value(value);
  ++length_;
}

void column::append_float32(float value) {
  mark_valid();
  values.append_value(value);
  ++length_;
}

void column::append_float64(double value) {
  mark_valid();
  values.append_value(value);
  ++length_;
}

bool column::append_bytes(bytes_view value) {
  if (value.size() > offset_max - values.size()) return false;
  mark_valid();
  values.append(value.data(), value.size());
  if (parts_->width == 0) {
    offsets.append_value(static_cast<std::int32_t>(values.size()));
  } else {
    assert(value.size() == parts_->width);
  }
  ++length_;
  return true;
}

void column::close_list() {
  mark_valid();
  offsets.append_value(static_cast<std::int32_t>(parts_->children[0].length()));
  ++length_;
}

void column::close_record() {
  mark_valid();
  ++length_;
}

void column::close_union(std::int8_t branch) {
  values.append_value(branch);
  offsets.append_value(parts_->union_rows[static_cast<std::size_t>(branch)]++);
  ++length_;
}

bool column::append_one(const ArrowArray& from, std::int64_t row) {
  parts& p = *parts_;
  if (p.type.id != type_id::dense_union && is_null(from, row)) {
    append_null();
    return true;
  }
  const auto at = row + from.offset;
  switch (p.type.id) {
    case type_id::null:
      ++length_;
      return true;
    case type_id::boolean: {
      const auto* bits = static_cast<const std::uint8_t*>(from.buffers[1]);
      append_bool(((bits[at >> 3] >> (at & 7)) & 1) != 0);
      return true;
    }
    case type_id::utf8:
    case type_id::binary:
      return append_bytes(bytes_at(from, row));
    case type_id::list:
    case type_id::map: {
      const auto* ends = static_cast<const std::int32_t*>(from.buffers[1]) + at;
      const auto items = static_cast<std::size_t>(ends[1] - ends[0]);
      if (items > offset_max - static_cast<std::size_t>(p.children[0].length())) return false;
      for (auto i = ends[0]; i < ends[1]; ++i) {
        if (!p.children[0].append_one(*from.children[0], i)) return false;
      }
      close_list();
      return true;
    }
    case type_id::record:
      for (std::size_t i = 0; i < p.children.size(); ++i) {
        if (!p.children[i].append_one(*from.children[i], at)) return false;
      }
      close_record();
      return true;
    case type_id::dense_union: {
      const auto branch = static_cast<const std::int8_t*>(from.buffers[0])[at];
      const auto child_row = static_cast<const std::int32_t*>(from.buffers[1])[at];
      const auto i = static_cast<std::size_t>(static_cast<std::uint8_t>(branch));
      if (!p.children[i].append_one(*from.children[i], child_row)) return false;
      close_union(branch);
      return true;
    }
    default: {
      const auto* base = static_cast<const std::uint8_t*>(from.buffers[1]);
      return append_bytes({base + static_cast<std::size_t>(at) * p.width, p.width});
    }
  }
}

bool column::append_from(const ArrowArray& from, std::int64_t row) {
  const auto before = length_;
  if (append_one(from, row)) return true;
  truncate(before);
  return false;
}

bool column::append_rows(const ArrowArray& from, std::span<const std::int32_t> rows) {
  const auto before = length_;
  const std::size_t width = parts_->width;
  const bool plain = !nullable_ && (width == 4 || width == 8);
  if (plain && (rows.empty() || *std::min_element(rows.begin(), rows.end()) >= 0)) {
    values.reserve_more(rows.size() * width);
    std::uint8_t* to = values.data() + values.size();
    const auto* base = static_cast<const std::uint8_t*>(from.buffers[1]) +
                       static_cast<std::size_t>(from.offset) * width;
    if (width == 4) {
      for (const auto row : rows)
        std::memcpy(std::exchange(to, to + 4), base + std::size_t(row) * 4, 4);
    } else {
      for (const auto row : rows)
        std::memcpy(std::exchange(to, to + 8), base + std::size_t(row) * 8, 8);
    }
    values.set_size(values.size() + rows.size() * width);
    length_ += static_cast<std::int64_t>(rows.size());
    return true;
  }
  for (const auto row : rows) {
    if (row < 0) {
      append_null();
    } else if (!append_one(from, row)) {
      truncate(before);
      return false;
    }
  }
  return true;
}

const ArrowArray& column::lend() {
  parts& p = *parts_;
  ArrowArray& a = p.lent;
  a = ArrowArray{};
  a.length = length_;
  a.buffers = p.lent_buffers;
  a.release = do_not_free;
  const void* bits = nullable_ ? start_of(validity) : nullptr;
  a.null_count = nullable_ ? count_nulls(validity, length_) : 0;
  p.lent_buffers[0] = bits;
  a.n_buffers = 2;
  switch (p.type.id) {
    case type_id::null:
      a.n_buffers = 0;
      a.null_count = length_;
      break;
    case type_id::utf8:
    case type_id::binary:
      a.n_buffers = 3;
      p.lent_buffers[1] = start_of(offsets);
      p.lent_buffers[2] = start_of(values);
      break;
    case type_id::list:
    case type_id::map:
      p.lent_buffers[1] = start_of(offsets);
      break;
    case type_id::record:
      a.n_buffers = 1;
      break;
    case type_id::dense_union:
      p.lent_buffers[0] = start_of(values);
      p.lent_buffers[1] = start_of(offsets);
      break;
    default:
      p.lent_buffers[1] = start_of(values);
  }
  if (!p.children.empty()) {
    p.lent_children.resize(p.children.size());
    for (std::size_t i = 0; i < p.children.size(); ++i) {
      p.lent_children[i] = const_cast<ArrowArray*>(&p.children[i].lend());
    }
    a.n_children = static_cast<std::int64_t>(p.children.size());
    a.children = p.lent_children.data();
  }
  if (p.type.id == type_id::enumeration) {
    p.dictionary = ArrowArray{};
    p.dictionary.length = static_cast<std::int64_t>(p.type.symbols.size());
    p.dictionary.n_buffers = 3;
    p.dictionary.buffers = p.dictionary_buffers;
    p.dictionary.release = do_not_free;
    a.dictionary = &p.dictionary;
  }
  return a;
}

std::size_t column::bytes_held() const noexcept {
  std::size_t bytes = validity.capacity() + offsets.capacity() + values.capacity();
  for (const column& child : parts_->children) bytes += child.bytes_held();
  return bytes;
}

}  // namespace sonder
