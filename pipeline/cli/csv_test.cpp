#include "cli/csv.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <sstream>

namespace sonder::cli {
namespace {

using ::testing::ElementsAre;
using table = std::vector<std::vector<std::string>>;

table read_all(const std::string& text) {
  std::istringstream in(text);
  csv_reader reader(in);
  table rows;
  std::vector<std::string> cells;
  while (true) {
    const auto more = reader.next(cells);
    EXPECT_TRUE(more) << more.error().message;
    if (!more || !*more) return rows;
    rows.push_back(cells);
  }
}

std::string refusal(const std::string& text) {
  std::istringstream in(text);
  csv_reader reader(in);
  std::vector<std::string> cells;
  while (true) {
    const auto more = reader.next(cells);
    if (!more) return more.error().message;
    if (!*more) return "accepted";
  }
}

TEST(Csv, ReadsCellsOfLinesThatEndEitherWay) {
  EXPECT_THAT(read_all("a,b\r\n1,2\n3,4"),
              ElementsAre(ElementsAre("a", "b"), ElementsAre("1", "2"), ElementsAre("3", "4")));
}

TEST(Csv, KeepsCommasLineEndsAndQuotesInsideQuotes) {
  EXPECT_THAT(read_all("\"a,b\",\"c\"\"d\"\n\"e\r\nf\",\n"),
              ElementsAre(ElementsAre("a,b", "c\"d"), ElementsAre("e\r\nf", "")));
}

TEST(Csv, PassesOverAByteOrderMark) {
  EXPECT_THAT(read_all("\xEF\xBB\xBFtext\n"), ElementsAre(ElementsAre("text")));
}

TEST(Csv, HasNoRecordsInNothing) {
  EXPECT_TRUE(read_all("").empty());
}

TEST(Csv, SaysOnWhichLineItBreaks) {
  EXPECT_EQ(refusal("a,b\n1\n"), "line 2: 1 cell where the first line has 2");
  EXPECT_EQ(refusal("a\n\"x\"y\n"),
            "line 2: text after a closing quote; a quote inside a quoted cell is written twice");
  EXPECT_EQ(
      refusal("a\nx\"y\n"),
      "line 2: a quote inside a cell that does not begin with one; put the whole cell in quotes");
  EXPECT_EQ(refusal("a\n\"x\ny"),
            "line 2: the record that begins here has a quote that nothing closes");
  EXPECT_EQ(refusal("a\rb\n"), "line 1: a carriage return that no line feed follows");
}

TEST(Csv, ReadsBackWhatAWriterThatQuotesEverythingWrote) {
  const unsigned seed = 7;
  std::mt19937 random(seed);
  const std::string letters = "ab,\"\r\n \xC3\xA9";
  table rows(200, std::vector<std::string>(3));
  std::string text;
  for (auto& row : rows) {
    for (std::size_t c = 0; c < row.size(); ++c) {
      for (auto left = random() % 8; left > 0; --left)
        row[c].push_back(letters[random() % letters.size()]);
      text += c == 0 ? "\"" : ",\"";
      for (const char letter : row[c]) text += letter == '"' ? "\"\"" : std::string(1, letter);
      text += '"';
    }
    text += "\r\n";
  }
  EXPECT_EQ(read_all(text), rows) << "seed " << seed;
}

}  // namespace
}  // namespace sonder::cli
