#include "variants.h"

#include <algorithm>
#include <array>
#include <cstddef>

#include "text/characters.h"
#include "text/utf8.h"

namespace sonder::anonymizer {
namespace {

using namespace std::string_view_literals;
namespace ascii = text::ascii;

// What is read for a character: one of ASCII, nothing, or itself.
using reading = int;
constexpr reading nothing = 0;
constexpr reading itself = -1;

constexpr char32_t wide_first = 0xFF01, wide_last = 0xFF5E;  // "！" to "～", in the order of ASCII
constexpr char32_t small_first = 0xFE50;
// Small Form Variants from U+FE50 on, those that stand for ASCII wherever they stand (Unicode,
// chapter 6.2).
constexpr std::string_view small_forms = ",\0.\0;:?!\0(){}\0\0#&*+-<>=\0\\$%@"sv;
static_assert(small_forms.size() == 0xFE6B - small_first + 1);

// The first bytes of characters that may be variants: with any other no character is looked at.
constexpr std::array<bool, 256> variant_leads = [] {
  std::array<bool, 256> made{};
  for (const int lead :
       {0xC2, 0xCD, 0xD6, 0xD8, 0xD9, 0xDB, 0xDF, 0xE0, 0xE1, 0xE2, 0xE3, 0xEA, 0xEF, 0xF0, 0xF3})
    made[static_cast<std::size_t>(lead)] = true;
  return made;
}();

bool may_vary(char lead) {
  return variant_leads[static_cast<unsigned char>(lead)];
}
bool is_digit(char c) {
  return ascii::is(c, ascii::digit);
}

// What a character beyond ASCII is read as wherever it stands.
reading reading_alone(char32_t value) {
  if (value >= wide_first && value <= wide_last)
    return static_cast<reading>(value - wide_first + '!');
  if (value >= small_first && value < small_first + small_forms.size()) {
    const char form = small_forms[value - small_first];
    return form != 0 ? form : itself;
  }
  if (text::is_invisible(value)) return nothing;
  const bool breaks_line = value == 0x85 || value == 0x2028 || value == 0x2029;
  constexpr char32_t braille_blank = 0x2800;  // a symbol to Unicode, a space to readers
  if ((text::is_space(value) && !breaks_line) || value == braille_blank) return ' ';
  if (value == 0x2010 || value == 0x2011) return '-';
  const int digit = text::decimal_value(value);
  return digit >= 0 ? '0' + digit : itself;
}

// What a character joins numbers as, 0 of others. Elsewhere these are marks of sentences and lists.
char joiner_of(char32_t value) {
  switch (value) {
    case 0x05BE:  // Hebrew maqaf
    case 0x2012:
    case 0x2013:
    case 0x2014:
    case 0x2015:
    case 0x2212:
    case 0x30FC:  // the long vowel of Katakana, typed in Japanese telephone numbers
    case 0xFE58:
      return '-';
    case 0x00B7:
    case 0x2022:
    case 0x2024:
    case 0x2027:
    case 0x2219:
    case 0x22C5:
    case 0x30FB:
      return '.';
    case 0x060D:  // Arabic date separator
    case 0x2044:
    case 0x2215:
      return '/';
    default:
      return 0;
  }
}

// Frames a character before it: keycap, circle.
bool is_frame(char32_t value) {
  return value >= 0x20DD && value <= 0x20E4;
}

// The ASCII that is read at `at`, 0 for other characters and the end.
char plain_at(std::string_view text, std::size_t at) {
  while (at < text.size()) {
    if (text::is_ascii(text[at])) return text[at];
    const text::code_point point = text::decode(text, at);
    const reading as = reading_alone(point.value);
    if (as != nothing) return as == itself ? '\0' : static_cast<char>(as);
    at += point.bytes;
  }
  return 0;
}

// What `point` at `at` is read as, behind what was read as `before`.
reading reading_at(std::string_view text, std::size_t at, text::code_point point, char before) {
  const reading alone = reading_alone(point.value);
  if (alone != itself) return alone;
  if (is_frame(point.value)) return is_digit(before) ? nothing : itself;
  const char joiner = joiner_of(point.value);
  if (joiner == 0) return itself;
  const char after = plain_at(text, at + point.bytes);
  if (is_digit(before) && is_digit(after)) return joiner;
  // "12345678–Z", "GB82–WEST"; not "I'm 31—and".
  const bool code = joiner == '-' && ((is_digit(before) && ascii::is(after, ascii::upper)) ||
                                      (ascii::is(before, ascii::upper) && is_digit(after)));
  return code ? joiner : itself;
}

}  // namespace

bool has_variants(std::string_view text) noexcept {
  for (std::size_t at = text::ascii_prefix(text); at < text.size();) {
    if (!may_vary(text[at])) {
      ++at;
      continue;
    }
    const text::code_point point = text::decode(text, at);
    // A neighbour that is itself a variant answers the question, so that it need not be read here.
    if (reading_at(text, at, point, at > 0 ? text[at - 1] : '\0') != itself) return true;
    at += point.bytes;
  }
  return false;
}

void without_variants(std::string_view text, std::string& plain,
                      std::vector<std::uint32_t>& origins) {
  plain.resize(text.size());
  origins.resize(text.size() + 1);
  std::size_t size = 0;
  const auto put = [&](char byte, std::size_t origin) {
    plain[size] = byte;
    origins[size++] = static_cast<std::uint32_t>(origin);
  };
  for (std::size_t at = 0; at < text.size();) {
    if (!may_vary(text[at])) {
      put(text[at], at);
      ++at;
      continue;
    }
    const text::code_point point = text::decode(text, at);
    const reading as = reading_at(text, at, point, size > 0 ? plain[size - 1] : '\0');
    if (as == itself) {
      for (std::size_t i = at; i < at + point.bytes; ++i) put(text[i], i);
    } else if (as != nothing) {
      put(static_cast<char>(as), at);
    }
    at += point.bytes;
  }
  origins[size] = static_cast<std::uint32_t>(text.size());
  plain.resize(size);
  origins.resize(size + 1);
}

std::uint32_t end_in(std::string_view text, const std::vector<std::uint32_t>& origins,
                     std::uint32_t end) noexcept {
  const std::uint32_t limit = origins[end];  // where what was kept goes on
  std::uint32_t at = origins[end - 1];
  at = std::min(at + text::decode(text, at).bytes, limit);
  while (at < limit) {
    const text::code_point point = text::decode(text, at);
    if (!text::is_mark(point.value)) break;
    at += point.bytes;
  }
  return at;
}

}  // namespace sonder::anonymizer
