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

std::vector<std::string> folded_chunks(std::string_view text,
                                       inner_punctuation inner = inner_punctuation::split) {
  chunk_list list;
  list.scan(text, inner);
  std::vector<std::string> words;
  for (const chunk& c : list.chunks()) words.emplace_back(list.folded(c));
  return words;
}

chunk only_chunk(std::string_view text) {
  chunk_list list;
  list.scan(text);
  EXPECT_EQ(list.chunks().size(), 1U) << text;
  return list.chunks().at(0);
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
  EXPECT_EQ(only_chunk("GREAT!").letters, letter_case::upper);
  EXPECT_EQ(only_chunk("great").letters, letter_case::lower);
  EXPECT_EQ(only_chunk("Grace").letters, letter_case::title);
  EXPECT_EQ(only_chunk("iPhone").letters, letter_case::mixed);
  EXPECT_EQ(only_chunk("123").letters, letter_case::none);
  EXPECT_EQ(only_chunk("ÉTÉ").letters, letter_case::upper);
  EXPECT_EQ(only_chunk("Élan").letters, letter_case::title);
}

TEST(Chunks, KnowWhereASentenceOpens) {
  chunk_list list;
  list.scan("Hope left. Joy stayed, Faith too");
  std::vector<bool> opens;
  for (const chunk& c : list.chunks()) opens.push_back(c.opens_sentence);
  EXPECT_THAT(opens, ElementsAre(true, false, true, false, false, false));
}

TEST(Chunks, APlaceholderIsOneChunkWithoutCase) {
  for (const std::string_view text : {"[NAME]", "<PERSON_2>,", "{EMAIL}"}) {
    EXPECT_EQ(only_chunk(text).kind, chunk_kind::placeholder) << text;
    EXPECT_EQ(only_chunk(text).letters, letter_case::none) << text;
  }
  EXPECT_EQ(only_chunk("[not]").kind, chunk_kind::word);
}

TEST(Chunks, APictureIsAChunkWithItsModifiers) {
  chunk_list list;
  list.scan("great👍🏽day ❤️");
  ASSERT_EQ(list.chunks().size(), 4U);
  EXPECT_EQ(list.chunks()[1].emoji, U'👍');
  EXPECT_EQ(list.chunks()[1].end - list.chunks()[1].begin, 8U) << "thumb and skin tone";
  EXPECT_EQ(list.chunks()[3].emoji, U'❤');
}

TEST(Chunks, InvisibleCharactersCannotHideAWord) {
  EXPECT_THAT(folded_chunks("b\u200Ba\u00ADd"), ElementsAre("bad"));
  EXPECT_THAT(folded_chunks("\uFEFFgood"), ElementsAre("good"));
  EXPECT_THAT(folded_chunks("ｇｏｏｄ can’t “fine”"), ElementsAre("good", "can't", "fine"));
  EXPECT_THAT(folded_chunks("no\u00A0break"), ElementsAre("no", "break"));
}

TEST(Chunks, CountTheMarksOfEmphasisAcrossBlocks) {
  chunk_list list;
  list.scan(std::string(63, 'a') + "!!" + std::string(70, 'b') + "?!?");
  EXPECT_EQ(list.exclamations(), 3U);
  EXPECT_EQ(list.questions(), 2U);
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
    list.scan(text);
    for (const chunk& c : list.chunks()) ASSERT_LE(c.end, text.size());
  }
  list.release_above(1U << 20U);
  EXPECT_EQ(list.chunks().capacity(), 0U);
  list.scan("still works");
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
    list.scan(text);
    std::uint32_t before = 0;
    for (const chunk& c : list.chunks()) {
      ASSERT_LE(before, c.begin) << text;
      ASSERT_LT(c.begin, c.end) << text;
      ASSERT_LE(c.end, text.size()) << text;
      ASSERT_FALSE(list.folded(c).empty()) << text;
      before = c.end;
    }
  }
}

}  // namespace
}  // namespace sonder::text
