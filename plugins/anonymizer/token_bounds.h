#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "text/byte_masks.h"

namespace sonder::anonymizer {

/// One bit a byte of a text.
class byte_bits {
 public:
  static constexpr std::size_t window_bits = 57;

  void make_room(std::size_t blocks) {
    if (blocks_.size() < blocks) blocks_.resize(blocks);
  }
  [[nodiscard]] std::uint64_t& operator[](std::size_t block) noexcept { return blocks_[block]; }
  [[nodiscard]] std::uint64_t operator[](std::size_t block) const noexcept {
    return blocks_[block];
  }

  /// Bit i of it says of byte `at + i`, for `window_bits` of them from a byte of the text on.
  [[nodiscard]] std::uint64_t window(std::size_t at) const noexcept {
    static_assert(std::endian::native == std::endian::little);
    std::uint64_t eight = 0;
    std::memcpy(&eight, reinterpret_cast<const char*>(blocks_.data()) + at / 8, sizeof eight);
    return eight >> at % 8;
  }

 private:
  std::vector<std::uint64_t> blocks_;
};

/// Where the tokens of a text of ASCII begin and end, found for 64 bytes at a time.
///
/// Beyond ASCII it says where a run of such bytes begins and ends, no more: what touches one is for
/// a reader of characters. So is a word with a digit before an apostrophe, which ends earlier than
/// is said here. Confined to one thread; keeps its memory.
struct token_bounds {
  std::size_t blocks = 0;  ///< that the text is in; the bits have one more
  byte_bits starts;        ///< first bytes
  byte_bits ends;          ///< bytes behind last ones
  byte_bits uppers, lowers, digits;
  bool any_possessive = false;  ///< 's, a token of two bytes
  bool any_upper = false;       ///< words of capitals perhaps, not if false
  bool any_joined = false;      ///< text_traits::has_dot_inside, of ASCII

  void find(const text::byte_masks& bytes);

  [[nodiscard]] bool starts_at(std::size_t at) const noexcept {
    return (starts.window(at) & 1U) != 0;
  }
};

}  // namespace sonder::anonymizer
