#include "variants.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/characters.h"
#include "text/utf8.h"

namespace sonder::anonymizer {
namespace {

constexpr char32_t code_points_end = 0x110000;

std::string plain(std::string_view text) {
  std::string made;
  std::vector<std::uint32_t> origins;
  without_variants(text, made, origins);
  EXPECT_EQ(origins.size(), made.size() + 1);
  EXPECT_EQ(has_variants(text), made != text) << text;
  return made;
}

// Where the span of `part` in the plain text of `text` stands in `text`.
std::string_view origin(std::string_view text, std::string_view part) {
  std::string made;
  std::vector<std::uint32_t> origins;
  without_variants(text, made, origins);
  const auto at = static_cast<std::uint32_t>(made.find(part));
  const std::uint32_t start = origins[at];
  return text.substr(start,
                     end_in(text, origins, at + static_cast<std::uint32_t>(part.size())) - start);
}

TEST(Variants, AreNotInAsciiOrOrdinaryText) {
  for (const char* text : {"", "plain\ttext,  4111 - 1111\n", "schön, Łódź, добрый день",
                           "“I slept – badly —", "m² ½ ①", "你好。", "नमस्ते", "مرحبا", "😊"})
    EXPECT_FALSE(has_variants(text)) << text;
}

TEST(Variants, AreFoundOfEveryDigitSpaceAndInvisibleCharacter) {
  for (char32_t value = 0x80; value < code_points_end; ++value) {
    if (value >= 0xD800 && value <= 0xDFFF) continue;
    std::string character;
    text::append_utf8(character, value);
    const bool breaks_line = value == 0x85 || value == 0x2028 || value == 0x2029;
    std::string expected = "a" + character + "b";
    if (text::is_digit(value)) {
      expected = "a" + std::to_string(text::decimal_value(value)) + "b";
    } else if (text::is_invisible(value)) {
      expected = "ab";
    } else if (text::is_space(value) && !breaks_line) {
      expected = "a b";
    } else if (has_variants(character)) {
      continue;  // width and small forms, hyphens
    }
    ASSERT_EQ(plain("a" + character + "b"), expected) << std::uint32_t{value};
  }
}

TEST(Variants, KeepTheLinesOfATextApart) {
  EXPECT_EQ(plain("4111\u20281111\u20291111\u00851111\u00A02"),
            "4111\u20281111\u20291111\u00851111 2");
}

TEST(Variants, OfDashesAreThoseBesideDigits) {
  EXPECT_EQ(plain("a–b 5–6 5—b 5–B A−6 –5 5– ٥–٦ 5–\u200B６"), "a–b 5-6 5—b 5-B A-6 –5 5– 5-6 5-6");
  EXPECT_EQ(plain("a·b 5·6 5·B 1⁄2 a⁄b"), "a·b 5.6 5·B 1/2 a⁄b");
  EXPECT_EQ(plain("Jean\u2010Luc"), "Jean-Luc");
}

TEST(Variants, HaveTheirOriginsInTheText) {
  EXPECT_EQ(origin("x\u200B４１\u200B1\u200B y", "411"), "４１\u200B1");
  EXPECT_EQ(origin("x 4\uFE0F\u20E31\uFE0F\u20E3\u200B y", "41"), "4\uFE0F\u20E31\uFE0F\u20E3");
  EXPECT_EQ(origin("\u202Aé\u202C", "é"), "é");
  EXPECT_EQ(origin("٣e\u0301\u0302", "e"), "e");
  EXPECT_EQ(origin("１\xC3", "\xC3"), "\xC3");
}

TEST(Variants, OfBrokenUtf8AreNone) {
  for (const std::string_view text :
       {"\xE2\x80", "\xE2", "\xF3\xA0\x80", "\xC2", "a\xA0z", "\xED\xA0\x80", "\xF4\x90\x80\x80"})
    EXPECT_EQ(plain(text), text);
}

TEST(Variants, TakeTimeInProportionToTheText) {
  std::string text;
  for (int i = 0; i < 100'000; ++i) text += "1–\u200B";
  text += "2";
  EXPECT_EQ(plain(text).size(), 200'001U);
}

}  // namespace
}  // namespace sonder::anonymizer
