#include "cli/command.h"

#include <gtest/gtest.h>

namespace sonder::cli {
namespace {

TEST(Table, LinesUpWordsToTheLeftAndNumbersToTheRight) {
  text_table table({"topic", "records", "note"});
  table.add({"journal", "1,234", ""});
  table.add({"caf\xC3\xA9", "7", "new"});
  EXPECT_EQ(table.text(),
            "topic    records  note\n"
            "journal    1,234\n"
            "caf\xC3\xA9           7  new\n");
}

TEST(Grouped, PutsACommaBeforeEachThreeDigits) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(1000), "1,000");
  EXPECT_EQ(grouped(1234567), "1,234,567");
}

}  // namespace
}  // namespace sonder::cli
