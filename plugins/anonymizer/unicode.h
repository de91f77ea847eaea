#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sonder::anonymizer {

/// One code point of a text: its number and its length in bytes. Bytes that are no UTF-8 count as
/// one code point each, `unreadable`, so that every text can be walked to its end.
struct code_point {
  static constexpr std::uint32_t unreadable = 0xFFFFFFFF;
  std::uint32_t number = 0;
  std::uint32_t size = 1;
};

/// The code point at byte `at` < text.size().
[[nodiscard]] code_point code_point_at(std::string_view text, std::size_t at) noexcept;

[[nodiscard]] bool is_letter(std::uint32_t number) noexcept;
[[nodiscard]] bool is_upper_case(std::uint32_t number) noexcept;

/// How many code points the bytes before `end` are.
[[nodiscard]] std::size_t code_points_before(std::string_view text, std::size_t from,
                                             std::size_t end) noexcept;

/// Folds UTF-8 text for look-up: lower case, no diacritics; ASCII apostrophe for U+2019. Writes at
/// most `room` bytes and answers how many, or 0 if they do not suffice. Never allocates.
[[nodiscard]] std::size_t fold(std::string_view text, char* to, std::size_t room) noexcept;

}  // namespace sonder::anonymizer
