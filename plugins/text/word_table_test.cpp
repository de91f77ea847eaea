#include "text/word_table.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <stdexcept>
#include <string>

namespace sonder::text {
namespace {

std::uint16_t number_of(const word_table& table, const std::string& word) {
  const std::string padded = word + std::string(hash_padding, '#');  // must not matter
  return table.find({padded.data(), word.size()});
}

TEST(WordTable, FindsWordsOfEveryLengthAndNoOthers) {
  word_table table(200);
  std::map<std::string, std::uint16_t> words;
  for (std::uint16_t size = 0; size < 100; ++size) {
    const std::string word(size, 'a');
    words[word] = std::uint16_t(size + 1);
    if (size > 0) words[std::string(size - 1U, 'a') + "b"] = std::uint16_t(1000 + size);
  }
  for (const auto& [word, number] : words) table.set(word, number);
  for (const auto& [word, number] : words) {
    EXPECT_EQ(number_of(table, word), number) << word;
    EXPECT_EQ(number_of(table, word + "c"), word_table::unknown) << word;
    EXPECT_EQ(number_of(table, word + '\0'), word_table::unknown) << word;
  }
  EXPECT_EQ(number_of(table, std::string(word_table::word_bytes_max + 1, 'a')),
            word_table::unknown);
}

TEST(WordTable, AgreesWithAMapOverRandomWordsAndKeepsTheLastNumber) {
  std::mt19937 random(20261121);
  constexpr std::size_t words_max = 3000;
  word_table table(words_max);
  std::map<std::string, std::uint16_t> words;
  const auto word = [&] {
    std::string made(random() % 20, '\0');
    for (char& c : made) c = char('a' + random() % 3);
    return made;
  };
  while (words.size() < words_max) {
    const std::string next = word();
    const auto number = std::uint16_t(1 + random() % 65535);
    words[next] = number;
    table.set(next, number);
  }
  for (const auto& [known, number] : words) EXPECT_EQ(number_of(table, known), number) << known;
  for (int i = 0; i < 5000; ++i) {
    const std::string any = word();
    const auto known = words.find(any);
    EXPECT_EQ(number_of(table, any), known == words.end() ? word_table::unknown : known->second)
        << any;
  }
}

TEST(WordTable, RefusesWhatItHasNoRoomFor) {
  word_table table(2);
  table.set("a", 1);
  table.set("b", 2);
  table.set("a", 3);
  EXPECT_THROW(table.set("c", 4), std::length_error);
  EXPECT_THROW(table.set(std::string(word_table::word_bytes_max + 1, 'a'), 1), std::length_error);
}

TEST(WordFilter, NeverDeniesAWordThatItHasAndDeniesMostOthers) {
  word_filter filter;
  const auto padded = [](const std::string& word) { return word + std::string(hash_padding, '#'); };
  const auto may_have = [&](const std::string& word) {
    return filter.may_have(padded(word).data(), word.size());
  };
  std::mt19937 random(11);
  const auto word = [&] {
    std::string made(3 + random() % 18, 'a');
    for (char& c : made) c = char('a' + random() % 26);
    return made;
  };
  std::vector<std::string> known(8000);
  for (std::string& each : known) {
    each = word();
    filter.add(std::string_view(padded(each)).substr(0, each.size()));
  }
  int admitted = 0;
  for (const std::string& each : known) {
    ASSERT_TRUE(may_have(each)) << each;
    admitted += may_have(word());
  }
  EXPECT_LT(admitted, 8000 / 6);
}

}  // namespace
}  // namespace sonder::text
