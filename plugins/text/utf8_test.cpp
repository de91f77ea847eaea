#include "text/utf8.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "text/characters.h"

namespace sonder::text {
namespace {

using namespace std::string_literals;

TEST(Utf8, DecodesEachLengthOfSequence) {
  const std::string text = "aé€😊";
  EXPECT_EQ(decode(text, 0).value, U'a');
  EXPECT_EQ(decode(text, 1).value, U'é');
  EXPECT_EQ(decode(text, 3).value, U'€');
  EXPECT_EQ(decode(text, 6).value, U'😊');
  EXPECT_EQ(decode(text, 6).bytes, 4U);
}

TEST(Utf8, FindsTheFirstByteThatIsNotWellFormed) {
  EXPECT_EQ(first_malformed("plain text, longer than eight bytes"), std::string_view::npos);
  EXPECT_EQ(first_malformed("Zoë said “no” 😊"), std::string_view::npos);
  EXPECT_EQ(first_malformed("12345678\xFF"), 8U);
  EXPECT_EQ(first_malformed("a\xC0\x80"), 1U) << "overlong";
  EXPECT_EQ(first_malformed("\xED\xA0\x80"), 0U) << "surrogate";
  EXPECT_EQ(first_malformed("\xF4\x90\x80\x80"), 0U) << "beyond U+10FFFF";
  EXPECT_EQ(first_malformed("ab\xE2\x82"), 2U) << "cut short";
  EXPECT_EQ(first_malformed("\x80"), 0U) << "continuation without lead";
}

TEST(Utf8, AMalformedByteTakesOneStepSoThatEveryInputEnds) {
  std::mt19937 random(20261121);
  for (int round = 0; round < 2000; ++round) {
    std::string bytes(random() % 40, '\0');
    for (char& b : bytes) b = char(random());
    std::size_t at = 0, steps = 0;
    while (at < bytes.size()) {
      const code_point point = decode(bytes, at);
      ASSERT_GE(point.bytes, 1U);
      ASSERT_LE(at + point.bytes, bytes.size());
      at += point.bytes;
      ++steps;
    }
    ASSERT_LE(steps, bytes.size());
  }
}

TEST(Utf8, WhatIsEncodedIsDecodedAgain) {
  for (char32_t value = 1; value <= 0x10FFFF; value += 37) {
    std::string text;
    append_utf8(text, value);
    const bool surrogate = value >= 0xD800 && value <= 0xDFFF;
    EXPECT_EQ(decode(text, 0).value, surrogate ? replacement : value);
  }
}

TEST(Utf8, CountsCodePointsAsPythonDoes) {
  EXPECT_EQ(code_points("é€𝄞a"), 4U);
  EXPECT_EQ(code_points(""), 0U);
}

TEST(Characters, FoldsCaseAndTheManyApostrophes) {
  EXPECT_EQ(fold(U'A'), U'a');
  EXPECT_EQ(fold(U'É'), U'é');
  EXPECT_EQ(fold(U'Я'), U'я');
  EXPECT_EQ(fold(U'’'), U'\'');
  EXPECT_EQ(fold(U'Ｇ'), U'g') << "full width";
}

TEST(Characters, OfAsciiHaveKindsAndBothCases) {
  EXPECT_EQ(ascii::to_upper('z'), 'Z');
  EXPECT_EQ(ascii::to_upper('{'), '{');
  EXPECT_EQ(ascii::to_lower('Z'), 'z');
  EXPECT_EQ(ascii::to_lower('['), '[');
  EXPECT_TRUE(ascii::is('7', ascii::letter | ascii::digit));
  EXPECT_FALSE(ascii::is('\xE9', ascii::letter | ascii::digit));
}

TEST(Characters, TellsPicturesFromText) {
  EXPECT_TRUE(is_emoji(U'😊'));
  EXPECT_TRUE(is_emoji(U'❤'));
  EXPECT_TRUE(is_emoji(U'☺'));
  EXPECT_FALSE(is_emoji(U'a'));
  EXPECT_FALSE(is_emoji(U'©'));
  EXPECT_FALSE(is_emoji(U'中'));
  EXPECT_TRUE(is_emoji_modifier(0x1F3FD)) << "skin tone";
  EXPECT_TRUE(is_emoji_modifier(0xFE0F)) << "variation selector";
}

TEST(Characters, AnyNumberIsSomeCharacterOrNone) {
  for (const char32_t value : {char32_t{0x110000}, char32_t{0xFFFFFFFF}, char32_t{0xD800}}) {
    EXPECT_FALSE(is_letter(value));
    EXPECT_FALSE(is_space(value));
    EXPECT_FALSE(is_emoji(value));
    EXPECT_EQ(fold(value), value);
  }
}

}  // namespace
}  // namespace sonder::text
