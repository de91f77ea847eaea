#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sonder::text {

/// What each byte of a text is, one bit a byte, so that a reader steps over whole words.
///
/// Owned and reused by the caller, so that a steady state allocates nothing; confined to one
/// thread. Takes any bytes; those above 0x7F have no bit set. Memory: 1.4 bytes a byte of the
/// longest text.
class byte_masks {
 public:
  /// How far past its end `lowered()` may be read: a word in it is hashed by whole machine words.
  static constexpr std::size_t padding = 16;

  struct block {  // of 64 bytes; past the end of the text nothing is set
    std::uint64_t alphanumeric, digits, uppers;
  };

  void scan(std::string_view text);

  /// Bit i says of byte `at + i`, for 64 of them from `at <= text.size()` on.
  template <std::uint64_t block::*mask>
  [[nodiscard]] std::uint64_t window(std::size_t at) const noexcept {
    const std::size_t first = at / 64, shift = at % 64;
    // Two shifts: one by 64 would be undefined where the window starts at a block.
    return blocks_[first].*mask >> shift | (blocks_[first + 1].*mask << 1U) << (63 - shift);
  }

  [[nodiscard]] bool any_digit() const noexcept { return any_digit_; }

  /// The text with A to Z as a to z.
  [[nodiscard]] const char* lowered() const noexcept { return lowered_.data(); }

 private:
  std::vector<block> blocks_;
  std::string lowered_;
  bool any_digit_ = false;
};

}  // namespace sonder::text
