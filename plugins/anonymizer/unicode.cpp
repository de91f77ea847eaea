#include "unicode.h"

#include <array>

namespace sonder::anonymizer {
namespace {

constexpr std::uint32_t folds_first = 0x00C0;
constexpr std::array<std::string_view, 0x0530 - folds_first> folds{
#include "fold_table.inc"
};

constexpr bool is_continuation(char c) {
  return (static_cast<unsigned char>(c) & 0xC0) == 0x80;
}

}  // namespace

code_point code_point_at(std::string_view text, std::size_t at) noexcept {
  const auto first = static_cast<unsigned char>(text[at]);
  if (first < 0x80) return {first, 1};
  const std::uint32_t size = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() - at < size) return {code_point::unreadable, 1};
  std::uint32_t number = first & (0x7FU >> size);
  for (std::uint32_t i = 1; i < size; ++i) {
    if (!is_continuation(text[at + i])) return {code_point::unreadable, 1};
    number = number << 6 | (static_cast<unsigned char>(text[at + i]) & 0x3FU);
  }
  return {number, size};
}

bool is_letter(std::uint32_t number) noexcept {
  if (number < 0x80) return (number | 0x20U) - 'a' < 26;
  if (number < 0xC0) return number == 0xAA || number == 0xB5 || number == 0xBA;
  if (number < 0x2000)
    return number != 0xD7 && number != 0xF7 && (number < 0x2B0 || number >= 0x300);
  // Ohm and increment stand for Greek letters in texts that were converted carelessly.
  if (number == 0x2126 || number == 0x2206) return true;
  return (number >= 0x3040 && number < 0xA000) || (number >= 0xAC00 && number < 0xD7A4);
}

bool is_upper_case(std::uint32_t number) noexcept {
  if (number < 0x80) return number - 'A' < 26;
  if (number < 0xC0) return false;
  if (number < 0xDF) return number != 0xD7;
  if (number < 0x100) return false;
  if (number < 0x180) {
    const bool odd_is_upper =
        (number >= 0x139 && number <= 0x148) || (number >= 0x179 && number <= 0x17E);
    return number == 0x178 || ((number & 1U) != 0) == odd_is_upper;
  }
  if (number >= 0x218 && number <= 0x21B) return (number & 1U) == 0;
  if (number >= 0x386 && number <= 0x3AB) return number != 0x390;
  if (number >= 0x400 && number < 0x430) return true;
  if (number == 0x2126 || number == 0x2206) return true;
  return number >= 0x460 && number < 0x530 && (number & 1U) == 0;
}

std::size_t code_points_before(std::string_view text, std::size_t from, std::size_t end) noexcept {
  std::size_t count = 0;
  for (std::size_t at = from; at < end; ++at) count += !is_continuation(text[at]);
  return count;
}

std::size_t fold(std::string_view text, char* to, std::size_t room) noexcept {
  std::size_t size = 0;
  for (std::size_t at = 0; at < text.size();) {
    const code_point point = code_point_at(text, at);
    if (point.number < 0x80) {
      if (size == room) return 0;
      to[size++] =
          static_cast<char>(is_upper_case(point.number) ? point.number | 0x20U : point.number);
    } else {
      std::string_view folded = text.substr(at, point.size);
      if (point.number - folds_first < folds.size()) folded = folds[point.number - folds_first];
      if (point.number == 0x2019) folded = "'";
      if (room - size < folded.size()) return 0;
      size += folded.copy(to + size, folded.size());
    }
    at += point.size;
  }
  return size;
}

}  // namespace sonder::anonymizer
