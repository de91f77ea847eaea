#include "characters.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace sonder::text {
namespace {

TEST(Characters, DigitsOfEveryScriptHaveTheirValue) {
  EXPECT_EQ(decimal_value('0'), 0);
  EXPECT_EQ(decimal_value('9'), 9);
  EXPECT_EQ(decimal_value(U'٣'), 3);
  EXPECT_EQ(decimal_value(U'۹'), 9);
  EXPECT_EQ(decimal_value(U'०'), 0);
  EXPECT_EQ(decimal_value(U'๙'), 9);
  EXPECT_EQ(decimal_value(U'７'), 7);
  EXPECT_EQ(decimal_value(U'𝟎'), 0);
  EXPECT_EQ(decimal_value(U'𝟡'), 9);  // the third of five alphabets in a row
  EXPECT_EQ(decimal_value(U'𝟿'), 9);
  for (const char32_t value : {U'a', U'/', U':', U'²', U'½', U'Ⅷ', U'①', U'三', char32_t{0x110000}})
    EXPECT_EQ(decimal_value(value), -1) << std::uint32_t{value};
}

TEST(Characters, DigitsStandInRunsFromZeroToNine) {
  for (char32_t value = 1; value < 0x110000; ++value) {
    if (!is_digit(value)) continue;
    const int mine = decimal_value(value);
    ASSERT_EQ(mine == 0 || decimal_value(value - 1) == mine - 1, true) << std::uint32_t{value};
    ASSERT_EQ(mine == 9 || is_digit(value + 1), true) << std::uint32_t{value};
  }
}

TEST(Characters, WhatDrawsNothingIsInvisible) {
  for (const char32_t value :
       {0xADU, 0x34FU, 0x61CU, 0x1160U, 0x180EU, 0x200BU, 0x200DU, 0x202EU, 0x2060U, 0x206FU,
        0x3164U, 0xFE0FU, 0xFEFFU, 0xFFA0U, 0xE0020U, 0xE0100U})
    EXPECT_TRUE(is_invisible(value)) << std::uint32_t{value};
  for (const char32_t value :
       {U' ', U'a', U'\u00A0', U'\u2028', U'\u2010', U'\u3000', U'é', U'ᄀ', U'\uFFFD', U'😊'})
    EXPECT_FALSE(is_invisible(value)) << std::uint32_t{value};
}

}  // namespace
}  // namespace sonder::text
