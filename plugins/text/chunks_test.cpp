#include "text/chunks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace sonder::text {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

const word_filter knows_nothing;

std::vector<std::string> folded_chunks(std::string_view text,
                                       inner_punctuation inner = inner_punctuation::split) {
  chunk_list list;
  list.scan(text, knows_nothing, inner);
  std::vector<std::string> words;
  for (std::size_t i = 0; i < list.chunks().size(); ++i) words.emplace_back(list.folded(i));
  return words;
}

letter_case case_of_only(std::string_view text) {
  chunk_list list;
  list.scan(text, knows_nothing);
  EXPECT_EQ(list.chunks().size(), 1U) << text;
  return list.letters(0);
}

std::vector<std::string> notable_chunks(std::string_view text, const word_filter& known) {
  chunk_list list;
  list.scan(text, known);
  std::vector<std::string> words;
  for (const notable_chunk& c : list.notable()) words.emplace_back(list.folded(c.number));
  return words;
}

bool capitals_stand_out(std::string_view text) {
  chunk_list list;
  list.scan(text, knows_nothing);
  return list.capitals_stand_out();
}

TEST(Chunks, StandBetweenSpacesWithoutThePunctuationAround) {
  EXPECT_THAT(folded_chunks("\"Well,  I can't\tsay...\n(no)!"),
              ElementsAre("well", "i", "can't", "say", "(no)!"));
}

TEST(Chunks, KeepPunctuationWhereTwoCharactersOrFewerRemain) {
  EXPECT_THAT(folded_chunks(":) :D <3 ok! yes!"), ElementsAre(":)", ":d", "<3", "ok!", "yes"));
}

TEST(Chunks, SplitWordsThatPunctuationJoinsUnlessToldNotTo) {
  EXPECT_THAT(folded_chunks("good,bad love/hate end...Then well-being j/k"),
              ElementsAre("good", "bad", "love", "hate", "end", "then", "well-being", "j/k"));
  EXPECT_THAT(folded_chunks("good,bad", inner_punctuation::keep), ElementsAre("good,bad"));
}

TEST(Chunks, KnowTheCaseOfTheirLetters) {
  EXPECT_EQ(case_of_only("GREAT!"), letter_case::upper);
  EXPECT_EQ(case_of_only("great"), letter_case::lower);
  EXPECT_EQ(case_of_only("Grace"), letter_case::title);
  EXPECT_EQ(case_of_only("iPhone"), letter_case::mixed);
  EXPECT_EQ(case_of_only("123"), letter_case::none);
  EXPECT_EQ(case_of_only("ÉTÉ"), letter_case::upper);
  EXPECT_EQ(case_of_only("Élan"), letter_case::title);
}

TEST(Chunks, KnowWhereASentenceOpens) {
  chunk_list list;
  const auto openings = [&](std::string_view text) {
    list.scan(text, knows_nothing);
    std::vector<bool> opens;
    for (std::size_t i = 0; i < list.chunks().size(); ++i) opens.push_back(list.opens_sentence(i));
    return opens;
  };
  EXPECT_THAT(openings("Hope left. Joy stayed, Faith too"),
              ElementsAre(true, false, true, false, false, false));
  EXPECT_THAT(openings("\"left.\" (Joy:) She"), ElementsAre(true, false, false));
  EXPECT_THAT(openings("end...Then so. 😊 Joy [NAME]. Faith"),
              ElementsAre(true, true, false, true, true, false, false))
      << "a picture changes nothing, behind a placeholder no sentence opens";
  EXPECT_THAT(openings(std::string(70, 'x') + ". Joy café. Grace"),
              ElementsAre(true, true, false, true));
}

TEST(Chunks, AreNotableIfKnownOrOdd) {
  word_filter known;
  for (const std::string word : {"good", "wholeheartednesses"})
    known.add(std::string_view(word + std::string(hash_padding, '#')).substr(0, word.size()));
  EXPECT_THAT(notable_chunks("A \"GOOD,\" goods wholeheartednesses. goo", known),
              ElementsAre("good", "wholeheartednesses"));
  EXPECT_THAT(notable_chunks("so sooo it's isn't MIGHTN'T've [NAME] 😊 one,two", known),
              ElementsAre("sooo", "isn't", "mightn't've", "[name]", "😊", "one", "two"));
}

TEST(Chunks, KnowWhetherCapitalsStandOut) {
  EXPECT_TRUE(capitals_stand_out("so GOOD"));
  EXPECT_TRUE(capitals_stand_out("GOOD 12"));
  EXPECT_TRUE(capitals_stand_out("GOOD 😊"));
  EXPECT_TRUE(capitals_stand_out("bad,GOOD"));
  EXPECT_TRUE(capitals_stand_out("ÉTÉ chaud"));
  EXPECT_FALSE(capitals_stand_out("SO GOOD [NAME]"));
  EXPECT_FALSE(capitals_stand_out("So Good [NAME]"));
  EXPECT_FALSE(capitals_stand_out(""));
}

TEST(Chunks, APlaceholderIsOneChunkWithoutCase) {
  chunk_list list;
  for (const std::string_view text : {"[NAME]", "<PERSON_2>,", "{EMAIL}"}) {
    EXPECT_EQ(case_of_only(text), letter_case::none) << text;
    list.scan(text, knows_nothing);
    EXPECT_EQ(list.kind(0), chunk_kind::placeholder) << text;
  }
  list.scan("[not]", knows_nothing);
  EXPECT_EQ(list.kind(0), chunk_kind::word);
}

TEST(Chunks, APictureIsAChunkWithItsModifiers) {
  chunk_list list;
  list.scan("great👍🏽day ❤️", knows_nothing);
  ASSERT_EQ(list.chunks().size(), 4U);
  EXPECT_EQ(list.emoji(0), 0U);
  EXPECT_EQ(list.emoji(1), U'👍');
  EXPECT_EQ(list.chunks()[1].end - list.chunks()[1].begin, 8U) << "thumb and skin tone";
  EXPECT_EQ(list.emoji(3), U'❤');
}

TEST(Chunks, InvisibleCharactersCannotHideAWord) {
  EXPECT_THAT(folded_chunks("b\u200Ba\u00ADd"), ElementsAre("bad"));
  EXPECT_THAT(folded_chunks("\uFEFFgood"), ElementsAre("good"));
  EXPECT_THAT(folded_chunks("ｇｏｏｄ can’t “fine”"), ElementsAre("good", "can't", "fine"));
  EXPECT_THAT(folded_chunks("no\u00A0break"), ElementsAre("no", "break"));
}

TEST(Chunks, CountTheMarksOfEmphasisAcrossBlocks) {
  chunk_list list;
  list.scan(std::string(63, 'a') + "!!" + std::string(70, 'b') + "?!?", knows_nothing);
  EXPECT_EQ(list.exclamations(), 3U);
  EXPECT_EQ(list.questions(), 2U);
  EXPECT_EQ(list.first_mark(), 63U);
  EXPECT_EQ(list.last_mark(), 137U);
}

TEST(Chunks, AWordMayLieAcrossBlocksOrFillMany) {
  for (std::size_t lead = 50; lead < 80; ++lead) {
    EXPECT_THAT(folded_chunks(std::string(lead, ' ') + "(Wonderful),"), ElementsAre("wonderful"))
        << lead;
  }
  EXPECT_THAT(folded_chunks(std::string(63, ' ') + "\"" + std::string(200, 'Q') + "\""),
              ElementsAre(std::string(200, 'q')));
}

TEST(Chunks, NothingComesOfNothing) {
  EXPECT_THAT(folded_chunks(""), IsEmpty());
  EXPECT_THAT(folded_chunks(std::string(64, ' ')), IsEmpty());
  EXPECT_THAT(folded_chunks("\u200B\u3000"), IsEmpty());
}

TEST(Chunks, TakeEightMegabytesOfAnything) {
  chunk_list list;
  for (const std::string& piece : {std::string("a "), std::string("\xFF"), std::string("😀"),
                                   std::string("e\u0301"), std::string("!")}) {
    std::string text;
    while (text.size() < (8U << 20U)) text += piece;
    list.scan(text, knows_nothing);
    for (const chunk& c : list.chunks()) ASSERT_LE(c.end, text.size());
  }
  list.release_above(1U << 20U);
  EXPECT_TRUE(list.chunks().empty());
  list.scan("still works", knows_nothing);
  EXPECT_EQ(list.chunks().size(), 2U);
}

TEST(Chunks, SpansStayInsideAnyBytesAndInOrder) {
  std::mt19937 random(7);
  const std::string_view pieces[] = {"a",      "B", " ", "!", "'", "\xFF", "\xF0\x9F", "😀",
                                     "\u200D", "’", "[", "]", "é", "\xC3", "-"};
  chunk_list list;
  for (int round = 0; round < 5000; ++round) {
    std::string text;
    for (std::size_t i = random() % 30; i > 0; --i) text += pieces[random() % std::size(pieces)];
    list.scan(text, knows_nothing);
    std::uint32_t before = 0;
    for (std::size_t i = 0; i < list.chunks().size(); ++i) {
      const chunk& c = list.chunks()[i];
      ASSERT_LE(before, c.begin) << text;
      ASSERT_LT(c.begin, c.end) << text;
      ASSERT_LE(c.end, text.size()) << text;
      ASSERT_FALSE(list.folded(i).empty()) << text;
      before = c.end;
    }
  }
}

}  // namespace
}  // namespace sonder::text
