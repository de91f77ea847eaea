#include "observe/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include "observe/metrics.h"

namespace sonder {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::SizeIs;

struct Log : ::testing::Test {
  std::filesystem::path file = std::filesystem::temp_directory_path() /
                               ("sonder_log_test_" + std::to_string(::getpid()) + ".log");

  void TearDown() override { std::filesystem::remove(file); }

  std::unique_ptr<logger> open(log_options options) {
    options.file = file.string();
    auto opened = logger::open(options);
    EXPECT_TRUE(opened) << opened.error().message;
    return std::move(*opened);
  }
  std::vector<std::string> lines() const {
    std::vector<std::string> out;
    std::ifstream from(file);
    for (std::string line; std::getline(from, line);) out.push_back(line);
    return out;
  }
};

TEST_F(Log, WritesOneJsonObjectALine) {
  open({.form = log_form::json})
      ->write(log_level::warning, "stage is retried",
              {{"stage", std::string_view("a \"b\"\n")}, {"attempt", std::int64_t{2}}});
  ASSERT_THAT(lines(), SizeIs(1));
  EXPECT_THAT(lines()[0],
              MatchesRegex(R"(\{"at":"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{3}Z",.*)"));
  EXPECT_THAT(
      lines()[0],
      EndsWith(
          R"("level":"warning","message":"stage is retried","stage":"a \"b\"\u000a","attempt":2})"));
}

TEST_F(Log, WritesTextThatAValueCannotForge) {
  open({.form = log_form::text})
      ->write(log_level::info, "opened",
              {{"topic", std::string_view("x\nerror forged")}, {"ok", true}});
  ASSERT_THAT(lines(), SizeIs(1));
  EXPECT_THAT(lines()[0], EndsWith(R"(info opened topic="x\u000aerror forged" ok=true)"));
}

TEST_F(Log, IsJsonInAFileUnlessTold) {
  open({})->write(log_level::info, "started");
  EXPECT_THAT(lines().at(0), EndsWith(R"("message":"started"})"));
}

TEST_F(Log, LeavesOutWhatIsBelowItsLevel) {
  const auto log = open({.at_least = log_level::warning});
  log->write(log_level::info, "no");
  log->write(log_level::error, "yes");
  ASSERT_THAT(lines(), SizeIs(1));
  EXPECT_THAT(lines()[0], HasSubstr("yes"));
}

TEST_F(Log, CountsWhatComesTooFastAndSaysSoLater) {
  metrics of;
  auto& suppressed = of.counter_of(metric::log_lines_suppressed);
  const auto log = open({.lines_per_second_max = 20, .burst_lines_max = 3});
  log->count_suppressed(suppressed);
  for (int i = 0; i < 10; ++i) log->write(log_level::error, "again");
  const auto written = lines().size();
  EXPECT_LE(written, 4U);
  EXPECT_EQ(suppressed.value(), static_cast<double>(10 - written));
  std::this_thread::sleep_for(std::chrono::milliseconds(120));
  log->write(log_level::error, "later");
  EXPECT_THAT(lines().back(), HasSubstr("\"lines_left_out\":" + std::to_string(10 - written)));
}

TEST_F(Log, CutsAnOverlongValueBetweenCharacters) {
  std::string text(logger::line_bytes_max - 1, 'x');
  text += "\xC3\xA9 and more";  // a two-byte letter across the bound
  open({.form = log_form::json})->write(log_level::info, text);
  EXPECT_THAT(lines().at(0), EndsWith("x\"}"));
}

TEST_F(Log, NamesTheFileThatItCannotOpen) {
  const auto opened = logger::open({.file = "/proc/no/such/place.log"});
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error().message, HasSubstr("/proc/no/such/place.log"));
}

TEST(LogLevel, IsReadByName) {
  EXPECT_EQ(parse_log_level("warning").value(), log_level::warning);
  EXPECT_EQ(parse_log_level("loud").error().message,
            "log level must be debug, info, warning or error, found \"loud\"");
}

}  // namespace
}  // namespace sonder
