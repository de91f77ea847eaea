#include "text/diacritics.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

#include "text/utf8.h"

namespace sonder::text {
namespace {

std::string folded(std::string_view word) {
  std::array<char, 64> buffer;
  return {buffer.data(), fold_diacritics(word, buffer.data(), buffer.size())};
}

TEST(Diacritics, TakesCaseAndMarksOffLatinGreekAndCyrillicLetters) {
  EXPECT_EQ(folded("Zoë"), "zoe");
  EXPECT_EQ(folded("NGUYỄN"), "nguyen");
  EXPECT_EQ(folded("Ἀθήνα"), "αθηνα");
  EXPECT_EQ(folded("Сергей"), "сергеи");
}

TEST(Diacritics, SpellsLettersThatHaveNoPlainForm) {
  EXPECT_EQ(folded("Straße"), "strasse");
  EXPECT_EQ(folded("ŁÓDŹ"), "lodz");
  EXPECT_EQ(folded("Ægir"), "aegir");
  EXPECT_EQ(folded("Ǿ"), "o") << "a letter of its own with a mark on top";
  EXPECT_EQ(folded("Γιώργος"), folded("ΓΙΏΡΓΟΣ"));
}

TEST(Diacritics, FoldsAWordAlikeHoweverItsMarksAreWritten) {
  EXPECT_EQ(folded("Jose\u0301"), folded("José"));
  EXPECT_EQ(folded("O’Brien"), "o'brien");
  EXPECT_EQ(folded("Jo\u200Bhn"), "john") << "zero-width space";
  EXPECT_EQ(folded("Ｊｏｈｎ"), "john") << "full width";
}

TEST(Diacritics, LeavesScriptsWhoseVowelsAreMarksAsTheyAre) {
  EXPECT_EQ(folded("सीता"), "सीता");
  EXPECT_EQ(folded("田中"), "田中");
}

TEST(Diacritics, FoldsAnyCharacterToWhatFoldsToItself) {
  for (char32_t value = 1; value <= 0x10FFFF; ++value) {
    std::string character;
    append_utf8(character, value);
    const std::string once = folded(character);
    ASSERT_EQ(folded(once), once) << "U+" << std::hex << std::uint32_t(value);
    ASSERT_EQ(first_malformed(once), std::string::npos) << "U+" << std::hex << std::uint32_t(value);
  }
}

TEST(Diacritics, AnswersNothingWhereTheWordDoesNotFit) {
  std::string room(6, '!');
  EXPECT_EQ(fold_diacritics("Straße", room.data(), 6), 0U);
  EXPECT_EQ(fold_diacritics("Sträße", room.data(), 6), 0U);
  EXPECT_EQ(fold_diacritics("Straßen", room.data(), 0), 0U);
  EXPECT_EQ(room.size(), 6U);
  std::string exact(7, '!');
  EXPECT_EQ(fold_diacritics("Straße", exact.data(), 7), 7U);
  EXPECT_EQ(exact, "strasse");
}

TEST(Diacritics, TakesBytesThatAreNoUtf8) {
  EXPECT_EQ(folded("a\xFF"
                   "b"),
            "a\uFFFDb");
}

}  // namespace
}  // namespace sonder::text
