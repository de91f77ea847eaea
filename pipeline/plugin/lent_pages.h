#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>

#include "record/column.h"
#include "record/type.h"
#include "sonder/arrow_c.h"

namespace sonder {

/// Memory that is lent to one call and taken away after it: whole pages, read-only while lent,
/// inaccessible once taken back, so that whoever still reads or ever writes it crashes there and
/// then. Pages that were taken back keep their addresses for a while
/// (`pages_kept_max` calls), lest new pages make an old pointer work again. One thread.
class lent_pages {
 public:
  static constexpr std::size_t pages_kept_max = 64;

  lent_pages() = default;
  lent_pages(const lent_pages&) = delete;
  lent_pages& operator=(const lent_pages&) = delete;
  ~lent_pages();

  /// Opens room for `bytes`; what was lent before has been taken back. Throws std::bad_alloc.
  void open(std::size_t bytes);
  /// A copy of `size` bytes in the open pages, 64-byte aligned.
  void* copy(const void* from, std::size_t size);
  template <class T>
  const T* copy(std::span<const T> from) {
    return static_cast<const T*>(copy(from.data(), from.size_bytes()));
  }
  /// A deep copy of an array of the declared type, structs included.
  const ArrowArray* copy(const ArrowArray& array, const field& declared);

  /// Read-only from here on.
  void lend();
  /// Inaccessible from here on.
  void take_back();

  /// Room that `copy` needs, padding included.
  [[nodiscard]] static std::size_t room(std::size_t size) { return (size + 63) / 64 * 64; }
  [[nodiscard]] static std::size_t room(const ArrowArray& array, const field& declared);

 private:
  struct mapping {
    std::uint8_t* begin = nullptr;
    std::size_t size = 0;
  };
  ArrowArray* copy_struct(const ArrowArray& array, const field& declared);

  mapping open_;
  std::size_t used_ = 0;
  std::deque<mapping> kept_;
};

}  // namespace sonder
