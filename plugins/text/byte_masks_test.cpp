#include "text/byte_masks.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "text/characters.h"

namespace sonder::text {
namespace {

using block = byte_masks::block;

// What a mask says of byte `at + i`, against what the character tables say.
void expect_as_tables_say(const byte_masks& masks, const std::string& text, std::size_t at) {
  for (std::size_t i = 0; i < 64; ++i) {
    const bool inside = at + i < text.size();
    const char byte = inside ? text[at + i] : '\0';
    const auto says = [&](std::uint64_t window) { return (window >> i & 1U) != 0; };
    SCOPED_TRACE(testing::Message() << "byte " << int(byte) << " at " << at + i << " of "
                                    << text.size() << ", read from " << at);
    EXPECT_EQ(says(masks.window<&block::alphanumeric>(at)),
              ascii::is(byte, ascii::letter | ascii::digit));
    EXPECT_EQ(says(masks.window<&block::digits>(at)), ascii::is(byte, ascii::digit));
    EXPECT_EQ(says(masks.window<&block::uppers>(at)), ascii::is(byte, ascii::upper));
  }
}

TEST(ByteMasks, SayOfEachByteWhatTheCharacterTablesSay) {
  std::string text;
  for (int byte = 0; byte < 256; ++byte) text.push_back(char(byte));
  byte_masks masks;
  masks.scan(text);
  for (std::size_t at = 0; at <= text.size(); ++at) expect_as_tables_say(masks, text, at);
}

TEST(ByteMasks, HoldForTextsOfAnyLengthAndNothingOfALongerOneBefore) {
  std::mt19937 random(20261121);
  byte_masks masks;
  for (const std::size_t size : {200U, 0U, 1U, 63U, 64U, 65U, 127U, 128U, 129U, 5U}) {
    std::string text(size, '\0');
    for (char& byte : text) byte = char(random() % 128);
    masks.scan(text);
    for (std::size_t at = 0; at <= text.size(); ++at) expect_as_tables_say(masks, text, at);
    std::string lowered = text;
    for (char& byte : lowered) byte = ascii::to_lower(byte);
    EXPECT_EQ(std::string_view(masks.lowered(), size), lowered);
    EXPECT_EQ(masks.any_digit(), text.find_first_of("0123456789") != std::string::npos);
  }
}

}  // namespace
}  // namespace sonder::text
