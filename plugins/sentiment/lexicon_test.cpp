#include "sentiment/lexicon.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>

namespace sonder::sentiment {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

const entry& shipped(std::string_view word) {
  std::string padded(word);
  padded.append(16, '#');  // what follows a word must not matter
  return lexicon::shipped()[lexicon::shipped().find({padded.data(), word.size()})];
}

TEST(Lexicon, KnowsVadersRatings) {
  EXPECT_FLOAT_EQ(shipped("good").rating, 1.9F);
  EXPECT_FLOAT_EQ(shipped("horrible").rating, -2.5F);
  EXPECT_FLOAT_EQ(shipped(":)").rating, 2.0F);
  EXPECT_EQ(shipped("table").roles, 0U);
  EXPECT_GT(lexicon::shipped().size(), 7'400U);
}

TEST(Lexicon, FindsWordsOfEveryLength) {
  EXPECT_NE(shipped("overenthusiastically").roles + shipped("unsophisticatedly").roles +
                shipped("dissatisfactions").roles,
            ~0U);
  for (const std::string_view word :
       {"x", "no", "sad", "love", "happy", "abused", "abandon", "admirable", "absolutely",
        "disadvantageously", "authoritatively"}) {
    std::string padded = std::string(word) + std::string(16, 'z');
    const auto found = lexicon::shipped().find({padded.data(), word.size()});
    padded = std::string(word) + std::string(16, '\0');
    EXPECT_EQ(found, lexicon::shipped().find({padded.data(), word.size()})) << word;
  }
  EXPECT_NE(shipped("disadvantageously").roles & rated, 0U);
}

TEST(Lexicon, KnowsWhatWordsDo) {
  EXPECT_TRUE(shipped("very").roles & booster);
  EXPECT_FLOAT_EQ(shipped("very").boost, 0.293F);
  EXPECT_FLOAT_EQ(shipped("hardly").boost, -0.293F);
  EXPECT_TRUE(shipped("isn't").roles & negation);
  EXPECT_TRUE(shipped("but").roles & contrast);
  EXPECT_TRUE(shipped("tia").roles & valence_dropped);
  EXPECT_TRUE(shipped("grace").roles & name_if_title);
}

TEST(Lexicon, ItsFilterHasTheWordsThatRulesBeginAt) {
  const auto may_have = [](std::string_view word) {
    const std::string padded = std::string(word) + std::string(16, '#');
    return lexicon::shipped().filter().may_have(padded.data(), word.size());
  };
  for (const std::string_view word : {"good", "disadvantageously", ":)", "very", "isn't", "but",
                                      "no", "least", "bomb", "kind", "just", "without"})
    EXPECT_TRUE(may_have(word)) << word;
  for (const std::string_view word : {"the", "a", "of", "this"}) {
    EXPECT_FALSE(may_have(word)) << word;
    EXPECT_TRUE(shipped(word).roles & looked_up_late) << word;
  }
}

TEST(Lexicon, ReadsAnEmojiByItsName) {
  EXPECT_EQ(lexicon::shipped().name_of(U'😊').size(), 5U) << "smiling face with smiling eyes";
  EXPECT_TRUE(lexicon::shipped().name_of(U'x').empty());
}

TEST(Lexicon, RefusesADamagedTableByItsLine) {
  const auto parse = [](std::string_view table) {
    return [table] { (void)lexicon::parse(table); };
  };
  EXPECT_THAT(
      parse("w\tgood\t1.9\nw\tbad\tmuch\n"),
      ThrowsMessage<std::invalid_argument>(HasSubstr("lexicon.tsv:2: the rating is a number")));
  EXPECT_THAT(parse("w\tgood\t99\n"),
              ThrowsMessage<std::invalid_argument>(HasSubstr("lexicon.tsv:1: the rating")));
  EXPECT_THAT(parse("good 1.9\n"),
              ThrowsMessage<std::invalid_argument>(HasSubstr("lexicon.tsv:1: a row starts with")));
  EXPECT_THAT(parse("# head\nw\tgood\t1.9\tz\n"),
              ThrowsMessage<std::invalid_argument>(HasSubstr("lexicon.tsv:2: flags")));
  EXPECT_THAT(parse("w\tgood1.9\n"),
              ThrowsMessage<std::invalid_argument>(HasSubstr("at least three columns")));
}

}  // namespace
}  // namespace sonder::sentiment
