#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "record/type.h"

namespace sonder {

using bytes_view = std::span<const std::uint8_t>;

[[nodiscard]] inline bytes_view as_bytes(std::string_view s) {
  return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()};
}
[[nodiscard]] inline std::string_view as_text(bytes_view b) {
  return {reinterpret_cast<const char*>(b.data()), b.size()};
}

/// Raw bytes that grow and keep their memory. 64-byte aligned, as Arrow recommends. Not
/// thread-safe.
class buffer {
 public:
  buffer() = default;
  buffer(buffer&&) noexcept;
  buffer& operator=(buffer&&) noexcept;
  ~buffer();

  [[nodiscard]] std::uint8_t* data() noexcept { return data_; }
  [[nodiscard]] const std::uint8_t* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }

  void clear() noexcept { size_ = 0; }
  /// Room for `more` bytes beyond `size()`. The only place that allocates.
  void reserve_more(std::size_t more) {
    if (capacity_ - size_ < more) grow(more);
  }
  /// The new size; bytes beyond the old one are what was there. `size` <= `capacity()`.
  void set_size(std::size_t size) noexcept { size_ = size; }
  void append(const void* from, std::size_t size) {
    reserve_more(size);
    if (size != 0) std::memcpy(data_ + size_, from, size);
    size_ += size;
  }
  template <class T>
  void append_value(T value) {
    reserve_more(sizeof value);
    std::memcpy(data_ + size_, &value, sizeof value);
    size_ += sizeof value;
  }
  template <class T>
  [[nodiscard]] T* as() noexcept {
    return reinterpret_cast<T*>(data_);
  }
  template <class T>
  [[nodiscard]] const T* as() const noexcept {
    return reinterpret_cast<const T*>(data_);
  }

 private:
  void grow(std::size_t more);
  std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

/// One column under construction, in the Arrow layout: what a builder is elsewhere, and what is
/// lent when it is done.
///
/// Confined to one thread. `clear()` keeps all memory, so that a steady state allocates nothing.
/// Values are appended in row order; a nested column appends to `child(i)` and then closes the row
/// (`close_list`, `close_record`, `close_union`). At most 2^31-1 bytes of values and rows (int32
/// offsets): `append_*` of variable size answer false beyond that.
class column {
 public:
  explicit column(const field& of);
  column(column&&) noexcept;
  column& operator=(column&&) noexcept;
  ~column();

  [[nodiscard]] const data_type& type() const noexcept;
  [[nodiscard]] bool nullable() const noexcept { return nullable_; }
  [[nodiscard]] std::int64_t length() const noexcept { return length_; }

  void clear() noexcept;
  /// Forgets the rows from `length` on, children included: a record that failed half-way is undone
  /// so.
  void truncate(std::int64_t length) noexcept;

  /// A null over a zero; children of a record get a null or zero each. On a column that is not
  /// nullable, what `append_zero` does. A dense union takes its first branch of type null, else a
  /// zero of its first branch.
  void append_null();
  /// A value of zero of the type (empty, 0, first symbol): what a withheld field holds under its
  /// null.
  void append_zero();
  void append_bool(bool value);
  void append_int32(std::int32_t value);  ///< int32, date32, time_ms, enumeration (index)
  void append_int64(std::int64_t value);  ///< int64, time_us, timestamps
  void append_float32(float value);
  void append_float64(double value);
  [[nodiscard]] bool append_bytes(
      bytes_view value);  ///< utf8 (checked by the caller), binary, fixed_binary, decimal128
  [[nodiscard]] bool append_text(std::string_view value) { return append_bytes(as_bytes(value)); }
  [[nodiscard]] column& child(std::size_t i) noexcept;
  [[nodiscard]] std::size_t children() const noexcept;
  void close_list();                     ///< list and map: the row ends where the child ends now
  void close_record();                   ///< record: all children have one row more
  void close_union(std::int8_t branch);  ///< dense_union: child(branch) has one row more

  /// Appends row `row` of `from`, which has this column's type. False where an int32 offset would
  /// overflow; nothing is appended then.
  [[nodiscard]] bool append_from(const ArrowArray& from, std::int64_t row);
  /// Appends the chosen rows of `from`, in the order of `rows`: a gather. A row of -1 appends a
  /// null, so that the inverse of a selection scatters.
  [[nodiscard]] bool append_rows(const ArrowArray& from, std::span<const std::int32_t> rows);

  /// The column as Arrow, lent: valid until the next change of this column; `release` does nothing
  /// to the memory.
  [[nodiscard]] const ArrowArray& lend() SONDER_LIFETIME_BOUND;

  [[nodiscard]] std::size_t bytes_held() const noexcept;  ///< capacity, children included

  // The parts, for compiled plans that append without a call per value.
  buffer validity;  ///< bitmap, least significant bit first; only if nullable
  buffer offsets;   ///< int32: utf8, binary, list, map (length + 1 entries); dense_union: int32
                    ///< child rows
  buffer values;    ///< fixed width values (booleans as bits), or the bytes of utf8 and binary;
                    ///< union: int8 type ids
  void set_length(std::int64_t length) noexcept { length_ = length; }
  /// Sets the validity bit of the row under construction. Only if nullable; once a row, before its
  /// length counts.
  void mark(bool valid) {
    if ((length_ & 7) == 0) {
      validity.append_value(static_cast<std::uint8_t>(valid));
    } else {
      validity.data()[length_ >> 3] |= static_cast<std::uint8_t>(valid) << (length_ & 7);
    }
  }

 private:
  struct parts;
  void mark_valid() {
    if (nullable_) mark(true);
  }
  void append_zero_values();
  [[nodiscard]] bool append_one(const ArrowArray& from, std::int64_t row);

  std::int64_t length_ = 0;
  bool nullable_ = false;
  std::unique_ptr<parts> parts_;
};

// ---- Reading columns: free functions over ArrowArray. `row` counts from the array's own offset.
// ----

[[nodiscard]] inline bool is_null(const ArrowArray& a, std::int64_t row) noexcept {
  const auto* bits = static_cast<const std::uint8_t*>(a.n_buffers > 0 ? a.buffers[0] : nullptr);
  const auto i = row + a.offset;
  return bits != nullptr && a.null_count != 0 && ((bits[i >> 3] >> (i & 7)) & 1) == 0;
}
template <class T>
[[nodiscard]] const T* fixed_values(const ArrowArray& a) noexcept {
  return static_cast<const T*>(a.buffers[1]) + a.offset;
}
/// The bytes of a utf8 or binary row; empty for a null.
[[nodiscard]] inline bytes_view bytes_at(const ArrowArray& a, std::int64_t row) noexcept {
  const auto* offsets = static_cast<const std::int32_t*>(a.buffers[1]) + a.offset;
  const auto* base = static_cast<const std::uint8_t*>(a.buffers[2]);
  return {base + offsets[row], static_cast<std::size_t>(offsets[row + 1] - offsets[row])};
}
[[nodiscard]] inline std::string_view text_at(const ArrowArray& a, std::int64_t row) noexcept {
  return as_text(bytes_at(a, row));
}

/// Checks an array that came from outside (a plugin) against its declared type: lengths, buffers
/// there, offsets rising and in range, dictionary indices, union ids, UTF-8 of utf8 columns. After
/// this, readers may trust it. O(values).
[[nodiscard]] status check_array(const ArrowArray& array, const field& declared, std::int64_t rows);

/// True if the bytes are well-formed UTF-8 (Unicode 15, table 3-7). Fast on ASCII.
[[nodiscard]] bool is_utf8(const std::uint8_t* data, std::size_t size) noexcept;

}  // namespace sonder
