#include "cli/command.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>

#include "cli/stop_signal.h"

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

// What the watch says when nobody ends it.
std::string left_with(int requests, std::chrono::milliseconds drain_max) {
  const std::atomic<int> asked = requests;
  std::atomic<bool> left = false;
  std::string said;
  const stop_watch watch(asked, drain_max, [&](const std::string& why) {
    said = why;
    left = true;
    left.notify_one();
  });
  left.wait(false);
  return said;
}

TEST(StopWatch, LeavesAfterTheSecondRequestAlthoughTheDrainMayTakeLonger) {
  EXPECT_NE(left_with(2, std::chrono::hours(1)).find("asked twice"), std::string::npos);
}

TEST(StopWatch, LeavesWhenTheDrainTakesTooLong) {
  EXPECT_NE(left_with(1, std::chrono::milliseconds(0)).find("run.drain_max"), std::string::npos);
}

TEST(StopWatch, LeavesNobodyWhoEndsInTime) {
  const std::atomic<int> asked = 2;
  bool left = false;
  { const stop_watch watch(asked, std::chrono::hours(1), [&](const std::string&) { left = true; }); }
  EXPECT_FALSE(left);
}

}  // namespace
}  // namespace sonder::cli
