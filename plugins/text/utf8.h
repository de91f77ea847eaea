#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace sonder::text {

/// One step through UTF-8: the code point and how many bytes it took.
struct code_point {
  char32_t value;
  std::uint32_t bytes;
};

inline constexpr std::size_t utf8_bytes_max = 4;  // of one code point

/// What stands for a byte that begins no well-formed sequence (Unicode 15, table 3-7).
inline constexpr char32_t replacement = 0xFFFD;

/// Decodes the code point at `at` (`at < text.size()`). Never reads past the end; a malformed byte
/// yields `replacement` and takes one byte, so that a loop over any input ends. Thread-safe,
/// allocates nothing.
[[nodiscard]] code_point decode(std::string_view text, std::size_t at) noexcept;

/// Appends the UTF-8 form of `value`; what is no scalar value is appended as `replacement`.
void append_utf8(std::string& out, char32_t value);

/// Offset of the first byte that is not part of well-formed UTF-8, or `npos`.
[[nodiscard]] std::size_t first_malformed(std::string_view text) noexcept;

/// How many code points well-formed UTF-8 holds.
[[nodiscard]] std::size_t code_points(std::string_view text) noexcept;

/// Offset of the first byte above 0x7F, or the size of `text`. Reads sixteen bytes a step,
/// or eight.
[[nodiscard]] std::size_t ascii_prefix(std::string_view text) noexcept;

[[nodiscard]] constexpr bool is_ascii(char byte) noexcept {
  return (static_cast<unsigned char>(byte) & 0x80U) == 0;
}
[[nodiscard]] inline bool is_ascii(std::string_view text) noexcept {
  return ascii_prefix(text) == text.size();
}

}  // namespace sonder::text
