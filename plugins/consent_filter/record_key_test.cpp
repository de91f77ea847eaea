#include "record_key.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace sonder::consent {
namespace {

std::span<const std::uint8_t> bytes(const std::string& of) {
  return {reinterpret_cast<const std::uint8_t*>(of.data()), of.size()};
}

key_form text_form(std::string separator, bool purpose_first = false) {
  return {key_form::encoding::text, std::move(separator), purpose_first};
}

TEST(RecordKey, ReadsTwoAvroStringsBareAndFramed) {
  const std::vector<std::uint8_t> bare{6, 'a', 'n', 'a', 4, 'P', 'x'};
  std::vector<std::uint8_t> framed{0, 0, 0, 0, 7};
  framed.insert(framed.end(), bare.begin(), bare.end());
  for (const auto& key : {bare, framed}) {
    const auto parsed = parse_record_key(key, {});
    ASSERT_TRUE(parsed.has_value());
    EXPECT_EQ(parsed->subject, "ana");
    EXPECT_EQ(parsed->purpose, "Px");
  }
}

TEST(RecordKey, RefusesOtherShapesOfAvro) {
  for (const std::vector<std::uint8_t>& key :
       std::vector<std::vector<std::uint8_t>>{{},
                                              {6, 'a'},
                                              {6, 'a', 'n', 'a'},
                                              {6, 'a', 'n', 'a', 2, 'P', 'x'},
                                              {0, 0},
                                              {5, 'a'},
                                              {0, 2, 'P'},
                                              {2, 'a', 0},
                                              {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1}}) {
    EXPECT_FALSE(parse_record_key(key, {}).has_value());
  }
}

TEST(RecordKey, ReadsTextWithASeparator) {
  const std::string key = "ana|acme:Coaching";
  const auto parsed = parse_record_key(bytes(key), text_form("|"));
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(parsed->subject, "ana");
  EXPECT_EQ(parsed->purpose, "acme:Coaching");
}

TEST(RecordKey, ReadsThePurposeFirstWhereToldTo) {
  const std::string text = "marketing::ana";
  const std::vector<std::uint8_t> avro{4, 'P', 'x', 6, 'a', 'n', 'a'};
  for (const auto& parsed : {parse_record_key(bytes(text), text_form("::", true)),
                             parse_record_key(avro, {key_form::encoding::avro, "", true})}) {
    ASSERT_TRUE(parsed.has_value());
    EXPECT_EQ(parsed->subject, "ana");
  }
}

TEST(RecordKey, RefusesATextThatCouldBeDividedInTwoWays) {
  for (const std::string key : {"ana|b|Px", "ana||Px", "|ana|Px"})
    EXPECT_FALSE(parse_record_key(bytes(key), text_form("|")).has_value()) << key;
  EXPECT_FALSE(parse_record_key(bytes("ana:::Px"), text_form("::")).has_value());
}

TEST(RecordKey, RefusesATextWithoutBothParts) {
  for (const std::string key : {"", "|", "ana", "ana|", "|Px", "ana/Px"})
    EXPECT_FALSE(parse_record_key(bytes(key), text_form("|")).has_value()) << key;
}

TEST(RecordKey, RefusesAPartThatIsNoUtf8) {
  EXPECT_FALSE(parse_record_key(bytes("an\xFF|Px"), text_form("|")).has_value());
  EXPECT_FALSE(parse_record_key(bytes("\x02\xFF\x02P"), {}).has_value());
}

}  // namespace
}  // namespace sonder::consent
