#include "text/byte_masks.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "text/characters.h"
#include "text/utf8.h"

namespace sonder::text {
namespace {

using block = byte_masks::block;

// What the masks say of each byte, against what the character tables say.
void expect_as_tables_say(const byte_masks& masks, const std::string& text) {
  ASSERT_EQ(masks.blocks().size(), text.size() / byte_masks::block_bytes + 2);
  for (std::size_t at = 0; at < masks.blocks().size() * byte_masks::block_bytes; ++at) {
    const bool inside = at < text.size();
    const char byte = inside ? text[at] : ' ';
    const block& of = masks.blocks()[at / byte_masks::block_bytes];
    const auto says = [&](std::uint64_t mask) {
      return (mask >> at % byte_masks::block_bytes & 1U) != 0;
    };
    SCOPED_TRACE(testing::Message()
                 << "byte " << int(byte) << " at " << at << " of " << text.size());
    EXPECT_EQ(says(of.letters), ascii::is(byte, ascii::letter));
    EXPECT_EQ(says(of.digits), ascii::is(byte, ascii::digit));
    EXPECT_EQ(says(of.uppers), ascii::is(byte, ascii::upper));
    EXPECT_EQ(says(of.spaces), ascii::is(byte, ascii::space));
    EXPECT_EQ(says(of.line_breaks), byte == '\n' || byte == '\r');
    EXPECT_EQ(says(of.apostrophes), byte == '\'');
    EXPECT_EQ(says(of.dots), byte == '.');
    EXPECT_EQ(says(of.colons), byte == ':');
    EXPECT_EQ(says(of.highs), static_cast<unsigned char>(byte) > 0x7F);
  }
}

TEST(ByteMasks, SayOfEachByteWhatTheCharacterTablesSay) {
  std::string text;
  for (int byte = 0; byte < 256; ++byte) text.push_back(char(byte));
  byte_masks masks;
  masks.scan(text);
  expect_as_tables_say(masks, text);
}

TEST(ByteMasks, HoldForTextsOfAnyLengthAndNothingOfALongerOneBefore) {
  std::mt19937 random(20261121);
  byte_masks masks;
  for (const std::size_t size : {200U, 0U, 1U, 63U, 64U, 65U, 127U, 128U, 129U, 5U}) {
    std::string text(size, '\0');
    for (char& byte : text) byte = char(random() % (size % 2 == 0 ? 128 : 256));
    masks.scan(text);
    expect_as_tables_say(masks, text);
    std::string lowered = text;
    for (char& byte : lowered) byte = ascii::to_lower(byte);
    EXPECT_EQ(std::string_view(masks.lowered(), size), lowered);
    EXPECT_EQ(std::string_view(masks.lowered() + size, byte_masks::padding),
              std::string(byte_masks::padding, ' '));
    EXPECT_EQ(masks.any_digit(), text.find_first_of("0123456789") != std::string::npos);
    EXPECT_EQ(masks.any_line_break(), text.find_first_of("\r\n") != std::string::npos);
    EXPECT_EQ(masks.any_high(), !is_ascii(text));
  }
}

}  // namespace
}  // namespace sonder::text
