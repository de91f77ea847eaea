#include "text/tokens.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace sonder::text {
namespace {

using testing::ElementsAre;

std::vector<std::string> folded_tokens(std::string_view text) {
  token_list list;
  list.scan(text);
  std::vector<std::string> words;
  for (const token& t : list.tokens()) words.emplace_back(list.folded(t));
  return words;
}

std::vector<token_kind> kinds(std::string_view text) {
  token_list list;
  list.scan(text);
  std::vector<token_kind> found;
  for (const token& t : list.tokens()) found.push_back(t.kind);
  return found;
}

TEST(Tokens, KeepContractionsAndCutPunctuationOff) {
  EXPECT_THAT(folded_tokens("Don't stop, it’s fine!"),
              ElementsAre("don't", "stop", ",", "it's", "fine", "!"));
  EXPECT_THAT(folded_tokens("'quoted' rock'n'roll dogs'"),
              ElementsAre("'", "quoted", "'", "rock'n'roll", "dogs", "'"));
}

TEST(Tokens, ApostrophesOfEveryKindEndBeforeAndAfterAWord) {
  // U+02BC counts as a letter in Unicode: a scanner that took it for the start of a word would
  // never end.
  EXPECT_THAT(folded_tokens("\u02BCtis don\u02BCt \u02BC \uFF07 ’"),
              ElementsAre("'", "tis", "don't", "'", "'", "'"));
}

TEST(Tokens, RunsOfAMarkAreOneToken) {
  EXPECT_THAT(folded_tokens("What?!?! no....... !!!!!"),
              ElementsAre("what", "?", "!", "?", "!", "no", "...", "!!!"));
}

TEST(Tokens, StretchedLettersShrinkToTwo) {
  EXPECT_THAT(folded_tokens("sooooo GOOOD 1000"), ElementsAre("soo", "good", "1000"));
}

TEST(Tokens, FacesAreWhole) {
  for (const std::string_view face : {":)", ":-(", ";D", ":'(", "<3", "</3", "^_^", "-_-", "xD",
                                      "o_O", ":/", "=)", "(:", ":))"}) {
    EXPECT_THAT(kinds(face), ElementsAre(token_kind::emoticon)) << face;
  }
  EXPECT_THAT(kinds("10:30"), ElementsAre(token_kind::number));
  EXPECT_THAT(kinds("note:pad"),
              ElementsAre(token_kind::word, token_kind::punctuation, token_kind::word));
}

TEST(Tokens, AddressesMentionsAndTopics) {
  EXPECT_THAT(folded_tokens("see https://a.b/c?d=e, @Ana_1 #GoodDay www.x.org."),
              ElementsAre("see", "<url>", ",", "<user>", "goodday", "<url>", "."));
}

TEST(Tokens, PlaceholdersForgetWhichPersonItWas) {
  EXPECT_THAT(folded_tokens("[NAME] and <PERSON_2>"), ElementsAre("[name]", "and", "[person]"));
  EXPECT_THAT(kinds("[NAME]"), ElementsAre(token_kind::placeholder));
}

TEST(Tokens, ASequenceOfPicturesThatIsDrawnAsOneIsOne) {
  EXPECT_THAT(folded_tokens("👩‍❤️‍👨🇩🇪👍🏽"), ElementsAre("👩", "🇩🇪", "👍"));
}

TEST(Tokens, MarksStayWithTheirLettersAndInvisiblesVanish) {
  EXPECT_THAT(folded_tokens("cafe\u0301 b\u200Bad naïve"),
              ElementsAre("cafe\u0301", "bad", "naïve"));
}

TEST(Tokens, StopAtTheNumberAskedFor) {
  token_list list;
  list.scan("one two three four", 2);
  EXPECT_EQ(list.tokens().size(), 2U);
}

TEST(Tokens, TakeEightMegabytesOfAnything) {
  token_list list;
  for (const std::string& piece :
       {std::string("a"), std::string("[A"), std::string("http://"), std::string("\xFF"),
        std::string("👩\u200D"), std::string("e\u0301'")}) {
    std::string text;
    while (text.size() < (8U << 20U)) text += piece;
    list.scan(text);
    for (const token& t : list.tokens()) {
      ASSERT_LE(t.end, text.size());
      ASSERT_LE(t.folded_size, token_list::folded_bytes_max);
    }
  }
}

}  // namespace
}  // namespace sonder::text
