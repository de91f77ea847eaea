#pragma once

#include <cstdint>

namespace sonder::text {

/// What a code point is, as far as reading text for words and feelings needs it.
/// All functions: thread-safe, allocation-free, defined for every `char32_t` (also beyond Unicode).

[[nodiscard]] bool is_space(char32_t value) noexcept;   // White_Space, as Python's str.split has it
[[nodiscard]] bool is_letter(char32_t value) noexcept;  // L*
[[nodiscard]] bool is_mark(char32_t value) noexcept;    // M*: combining
[[nodiscard]] bool is_digit(char32_t value) noexcept;   // Nd
/// What a digit counts in any script ("٣" 3, "३" 3), -1 of what is no digit.
[[nodiscard]] int decimal_value(char32_t value) noexcept;
[[nodiscard]] bool is_punctuation(
    char32_t value) noexcept;  // P*; for ASCII also the symbols, as C's ispunct
[[nodiscard]] bool is_upper(char32_t value) noexcept;  // Lu
[[nodiscard]] bool is_lower(char32_t value) noexcept;  // Ll

/// Draws nothing and separates nothing: zero-width space and joiners, BOM, soft hyphen, direction
/// marks, variation selectors, fillers (Default_Ignorable_Code_Point, and the interlinear marks). A
/// word is read as if they were not there, so that they cannot hide it.
[[nodiscard]] bool is_invisible(char32_t value) noexcept;

/// Presented as a picture on its own (Emoji_Presentation and the older symbols people use as such).
[[nodiscard]] bool is_emoji(char32_t value) noexcept;

/// Changes the emoji before it and draws nothing itself: variation selectors, skin tones, joiner,
/// keycap, tags.
[[nodiscard]] bool is_emoji_modifier(char32_t value) noexcept;

[[nodiscard]] bool is_regional_indicator(char32_t value) noexcept;  // two make a flag

/// ', its curly forms and what else is typed for it; also U+02BC, a letter to Unicode and an
/// apostrophe to readers.
[[nodiscard]] bool is_apostrophe(char32_t value) noexcept;

/// Simple case folding to one code point; curly apostrophes become ', full-width ASCII becomes
/// ASCII.
[[nodiscard]] char32_t fold(char32_t value) noexcept;

namespace ascii {

enum : std::uint8_t {
  space = 1,
  upper = 2,
  lower = 4,
  digit = 8,
  punctuation = 16,
  letter = upper | lower
};

namespace detail {
struct table {
  std::uint8_t kind[256] = {};
  constexpr table() {
    for (int c = 0; c < 128; ++c) {
      if (c == ' ' || (c >= 9 && c <= 13) || (c >= 28 && c <= 31))
        kind[c] = space;
      else if (c >= 'A' && c <= 'Z')
        kind[c] = upper;
      else if (c >= 'a' && c <= 'z')
        kind[c] = lower;
      else if (c >= '0' && c <= '9')
        kind[c] = digit;
      else if (c > 32 && c < 127)
        kind[c] = punctuation;
    }
  }
};
inline constexpr table kinds;
}  // namespace detail

/// The kind bits of an ASCII byte; 0 for controls and for bytes above 0x7F.
[[nodiscard]] constexpr std::uint8_t kind(char byte) noexcept {
  return detail::kinds.kind[static_cast<unsigned char>(byte)];
}
/// Whether the byte is of one of `kinds`, bits together.
[[nodiscard]] constexpr bool is(char byte, int kinds) noexcept {
  return (kind(byte) & kinds) != 0;
}
[[nodiscard]] constexpr char to_lower(char byte) noexcept {
  return is(byte, upper) ? char(byte | 0x20) : byte;
}
[[nodiscard]] constexpr char to_upper(char byte) noexcept {
  return is(byte, lower) ? char(byte & ~0x20) : byte;
}

}  // namespace ascii

}  // namespace sonder::text
