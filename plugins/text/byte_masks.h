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
/// thread. Takes any bytes. Memory: 2.2 bytes a byte of the longest text.
class byte_masks {
 public:
  /// How far past its end `lowered()` may be read: a word in it is hashed by whole machine words.
  static constexpr std::size_t padding = 16;
  static constexpr std::size_t block_bytes = 64;

  /// Of 64 bytes; behind the end of the text they are spaces.
  struct block {
    std::uint64_t letters, digits, uppers;  ///< of ASCII, as is the rest
    std::uint64_t spaces;                   ///< white space of all kinds
    std::uint64_t line_breaks;
    std::uint64_t apostrophes;   ///< '
    std::uint64_t dots, colons;  ///< . and :
    std::uint64_t highs;         ///< bytes above 0x7F
  };

  void scan(std::string_view text);

  /// One more than the text fills, so that of each byte it can be asked what stands behind it.
  [[nodiscard]] const std::vector<block>& blocks() const noexcept { return blocks_; }

  [[nodiscard]] bool any_digit() const noexcept { return any_.digits != 0; }
  [[nodiscard]] bool any_line_break() const noexcept { return any_.line_breaks != 0; }
  [[nodiscard]] bool any_high() const noexcept { return any_.highs != 0; }

  /// The text with A to Z as a to z; behind its end spaces.
  [[nodiscard]] const char* lowered() const noexcept { return lowered_.data(); }

 private:
  std::vector<block> blocks_;
  std::string lowered_;
  block any_{};
};

}  // namespace sonder::text
