#include "characters.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <iterator>

namespace sonder::text {
namespace {

// The scripts of most letters that are asked about, so that they cost no call into the library.
constexpr char32_t cached_below = 0x2000;

struct category_cache {
  std::array<std::uint8_t, cached_below> of;
  category_cache() noexcept {
    for (char32_t value = 0; value < cached_below; ++value)
      of[value] = std::uint8_t(utf8proc_category(utf8proc_int32_t(value)));
  }
};

utf8proc_category_t category(char32_t value) noexcept {
  static const category_cache cache;
  if (value < cached_below) return utf8proc_category_t(cache.of[value]);
  return value > 0x10FFFF ? UTF8PROC_CATEGORY_CN : utf8proc_category(utf8proc_int32_t(value));
}

struct range {
  char32_t first, last;
};

// Unicode emoji-data 15: Emoji_Presentation, widened to whole picture blocks, and the symbols of
// blocks 2190-2BFF, 3030-3299 that have an emoji form. Sorted.
constexpr range emoji_ranges[] = {
    {0x203C, 0x203C},   {0x2049, 0x2049},   {0x2194, 0x2199},   {0x21A9, 0x21AA},
    {0x231A, 0x231B},   {0x2328, 0x2328},   {0x23CF, 0x23CF},   {0x23E9, 0x23F3},
    {0x23F8, 0x23FA},   {0x24C2, 0x24C2},   {0x25AA, 0x25AB},   {0x25B6, 0x25B6},
    {0x25C0, 0x25C0},   {0x25FB, 0x25FE},   {0x2600, 0x2604},   {0x260E, 0x260E},
    {0x2611, 0x2611},   {0x2614, 0x2615},   {0x2618, 0x2618},   {0x261D, 0x261D},
    {0x2620, 0x2620},   {0x2622, 0x2623},   {0x2626, 0x2626},   {0x262A, 0x262A},
    {0x262E, 0x262F},   {0x2638, 0x263A},   {0x2640, 0x2640},   {0x2642, 0x2642},
    {0x2648, 0x2653},   {0x265F, 0x2660},   {0x2663, 0x2663},   {0x2665, 0x2666},
    {0x2668, 0x2668},   {0x267B, 0x267B},   {0x267E, 0x267F},   {0x2692, 0x2697},
    {0x2699, 0x2699},   {0x269B, 0x269C},   {0x26A0, 0x26A1},   {0x26A7, 0x26A7},
    {0x26AA, 0x26AB},   {0x26B0, 0x26B1},   {0x26BD, 0x26BE},   {0x26C4, 0x26C5},
    {0x26C8, 0x26C8},   {0x26CE, 0x26CF},   {0x26D1, 0x26D1},   {0x26D3, 0x26D4},
    {0x26E9, 0x26EA},   {0x26F0, 0x26F5},   {0x26F7, 0x26FA},   {0x26FD, 0x26FD},
    {0x2702, 0x2702},   {0x2705, 0x2705},   {0x2708, 0x270D},   {0x270F, 0x270F},
    {0x2712, 0x2712},   {0x2714, 0x2714},   {0x2716, 0x2716},   {0x271D, 0x271D},
    {0x2721, 0x2721},   {0x2728, 0x2728},   {0x2733, 0x2734},   {0x2744, 0x2744},
    {0x2747, 0x2747},   {0x274C, 0x274C},   {0x274E, 0x274E},   {0x2753, 0x2755},
    {0x2757, 0x2757},   {0x2763, 0x2764},   {0x2795, 0x2797},   {0x27A1, 0x27A1},
    {0x27B0, 0x27B0},   {0x27BF, 0x27BF},   {0x2934, 0x2935},   {0x2B05, 0x2B07},
    {0x2B1B, 0x2B1C},   {0x2B50, 0x2B50},   {0x2B55, 0x2B55},   {0x3030, 0x3030},
    {0x303D, 0x303D},   {0x3297, 0x3297},   {0x3299, 0x3299},   {0x1F004, 0x1F004},
    {0x1F0CF, 0x1F0CF}, {0x1F170, 0x1F171}, {0x1F17E, 0x1F17F}, {0x1F18E, 0x1F18E},
    {0x1F191, 0x1F19A}, {0x1F1E6, 0x1F1FF}, {0x1F201, 0x1F202}, {0x1F21A, 0x1F21A},
    {0x1F22F, 0x1F22F}, {0x1F232, 0x1F23A}, {0x1F250, 0x1F251}, {0x1F300, 0x1F64F},
    {0x1F680, 0x1F6FF}, {0x1F7E0, 0x1F7EB}, {0x1F7F0, 0x1F7F0}, {0x1F90C, 0x1F9FF},
    {0x1FA70, 0x1FAFF},
};

}  // namespace

bool is_space(char32_t value) noexcept {
  if (value < 0x80) return (ascii::kind(char(value)) & ascii::space) != 0;
  if (value == 0x85 || value == 0xA0) return true;
  if (value < 0x1680) return false;
  return value == 0x1680 || (value >= 0x2000 && value <= 0x200A) || value == 0x2028 ||
         value == 0x2029 || value == 0x202F || value == 0x205F || value == 0x3000;
}

bool is_letter(char32_t value) noexcept {
  if (value < 0x80) return (ascii::kind(char(value)) & ascii::letter) != 0;
  const auto c = category(value);
  return c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO;
}

bool is_mark(char32_t value) noexcept {
  if (value < 0x300) return false;
  const auto c = category(value);
  return c >= UTF8PROC_CATEGORY_MN && c <= UTF8PROC_CATEGORY_ME;
}

bool is_digit(char32_t value) noexcept {
  if (value < 0x80) return (ascii::kind(char(value)) & ascii::digit) != 0;
  return category(value) == UTF8PROC_CATEGORY_ND;
}

int decimal_value(char32_t value) noexcept {
  if (value < 0x80) return is_digit(value) ? int(value - '0') : -1;
  if (!is_digit(value)) return -1;
  // Digits stand in runs of ten from zero on, by Unicode's stability policy; five such runs are the
  // most that touch (U+1D7CE).
  char32_t first = value;
  while (is_digit(first - 1)) --first;
  return int((value - first) % 10);
}

bool is_punctuation(char32_t value) noexcept {
  if (value < 0x80) return (ascii::kind(char(value)) & ascii::punctuation) != 0;
  const auto c = category(value);
  return c >= UTF8PROC_CATEGORY_PC && c <= UTF8PROC_CATEGORY_PO;
}

bool is_upper(char32_t value) noexcept {
  if (value < 0x80) return (ascii::kind(char(value)) & ascii::upper) != 0;
  return category(value) == UTF8PROC_CATEGORY_LU;
}

bool is_lower(char32_t value) noexcept {
  if (value < 0x80) return (ascii::kind(char(value)) & ascii::lower) != 0;
  return category(value) == UTF8PROC_CATEGORY_LL;
}

bool is_invisible(char32_t value) noexcept {
  if (value < 0x115F) return value == 0xAD || value == 0x34F || value == 0x61C;
  const auto within = [value](char32_t first, char32_t last) {
    return value >= first && value <= last;
  };
  if (value < 0x3164) {
    return value <= 0x1160 || within(0x17B4, 0x17B5) || within(0x180B, 0x180F) ||
           within(0x200B, 0x200F) || within(0x202A, 0x202E) || within(0x2060, 0x206F);
  }
  return value == 0x3164 || within(0xFE00, 0xFE0F) || value == 0xFEFF || value == 0xFFA0 ||
         within(0xFFF0, 0xFFFB) || within(0x1BCA0, 0x1BCA3) || within(0x1D173, 0x1D17A) ||
         within(0xE0000, 0xE0FFF);
}

bool is_emoji(char32_t value) noexcept {
  if (value < 0x203C) return false;
  const auto* after = std::upper_bound(std::begin(emoji_ranges), std::end(emoji_ranges), value,
                                       [](char32_t v, const range& r) { return v < r.first; });
  return after != std::begin(emoji_ranges) && value <= std::prev(after)->last;
}

bool is_emoji_modifier(char32_t value) noexcept {
  return value == 0x200D || value == 0x20E3 || (value >= 0xFE00 && value <= 0xFE0F) ||
         (value >= 0x1F3FB && value <= 0x1F3FF) || (value >= 0xE0020 && value <= 0xE007F);
}

bool is_regional_indicator(char32_t value) noexcept {
  return value >= 0x1F1E6 && value <= 0x1F1FF;
}

bool is_apostrophe(char32_t value) noexcept {
  return value == '\'' || value == 0x2018 || value == 0x2019 || value == 0x02BC || value == 0xFF07;
}

char32_t fold(char32_t value) noexcept {
  if (value < 0x80) return char32_t(ascii::to_lower(char(value)));
  if (is_apostrophe(value)) return '\'';
  if (value >= 0xFF01 && value <= 0xFF5E) return fold(value - 0xFEE0);
  if (value > 0x10FFFF) return value;
  return char32_t(utf8proc_tolower(utf8proc_int32_t(value)));
}

}  // namespace sonder::text
