#include "width.h"

namespace sonder::anonymizer {
namespace {

using namespace std::string_view_literals;

// U+F000 to U+FFFF, where both blocks lie, begin with it in UTF-8.
constexpr char lead = '\xEF';
constexpr std::size_t form_bytes = 3;

constexpr char32_t wide_first = 0xFF01, wide_last = 0xFF5E;  // "！" to "～", in the order of ASCII
constexpr char32_t small_first = 0xFE50;
// Small Form Variants from U+FE50 on, those that stand for ASCII (Unicode, chapter 6.2).
constexpr std::string_view small_forms = ",\0.\0;:?!\0(){}\0\0#&*+-<>=\0\\$%@"sv;
static_assert(small_forms.size() == 0xFE6B - small_first + 1);

// The ASCII that the character at `at` stands for, or 0.
char narrow_at(std::string_view text, std::size_t at) {
  if (text[at] != lead || at + form_bytes > text.size()) return 0;
  const auto second = static_cast<unsigned char>(text[at + 1]);
  const auto third = static_cast<unsigned char>(text[at + 2]);
  if ((second & 0xC0U) != 0x80U || (third & 0xC0U) != 0x80U) return 0;
  const char32_t value = 0xF000U | (second & 0x3FU) << 6U | (third & 0x3FU);
  if (value >= wide_first && value <= wide_last) return static_cast<char>(value - wide_first + '!');
  if (value >= small_first && value < small_first + small_forms.size())
    return small_forms[value - small_first];
  return 0;
}

}  // namespace

bool has_wide_forms(std::string_view text) noexcept {
  for (std::size_t at = text.find(lead); at != std::string_view::npos; at = text.find(lead, at + 1))
    if (narrow_at(text, at) != 0) return true;
  return false;
}

void narrow_forms(std::string_view text, std::string& narrow, std::vector<std::uint32_t>& origins) {
  narrow.clear();
  origins.clear();
  for (std::size_t at = 0; at < text.size();) {
    origins.push_back(static_cast<std::uint32_t>(at));
    const char form = narrow_at(text, at);
    narrow.push_back(form != 0 ? form : text[at]);
    at += form != 0 ? form_bytes : 1;
  }
  origins.push_back(static_cast<std::uint32_t>(text.size()));
}

}  // namespace sonder::anonymizer
