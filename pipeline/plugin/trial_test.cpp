#include "plugin/trial.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

namespace sonder {
namespace {

using ::testing::HasSubstr;

std::string plugin(const std::string& name) {
  return std::string(SONDER_TESTING_PLUGINS) + "/" + name + ".so";
}

struct tried {
  result<trial_summary> summary;
  std::string out;
};

tried run(const std::string& name, const std::string& rows, trial_options options = {}) {
  std::istringstream in(rows);
  std::ostringstream out;
  auto summary = run_trial(plugin(name), options, in, out);
  return {std::move(summary), out.str()};
}

trial_options config(std::string json) {
  trial_options made;
  made.config_json = std::move(json);
  return made;
}

TEST(Trial, WritesALineARowInTheirOrder) {
  const auto t = run("misbehaving",
                     "{\"text\":\"a\",\"event_id\":\"x\"}\n"
                     "\n"
                     "{\"txt\":\"no text\"}\r\n"
                     "not json\n"
                     "{\"text\":\"four\"}");
  ASSERT_TRUE(t.summary.has_value()) << t.summary.error().message;
  std::istringstream lines(t.out);
  std::string line;
  std::getline(lines, line);
  EXPECT_EQ(line, R"({"row":0,"verdict":"pass","columns":{"length":1,"echo":null}})");
  std::getline(lines, line);
  EXPECT_THAT(line,
              HasSubstr(R"({"row":1,"verdict":"dead_letter","reason":"unreadable","message":")"));
  std::getline(lines, line);
  EXPECT_THAT(line, HasSubstr(R"({"row":2,"verdict":"dead_letter","reason":"unreadable")"));
  std::getline(lines, line);
  EXPECT_EQ(line, R"({"row":3,"verdict":"pass","columns":{"length":4,"echo":null}})");
  EXPECT_FALSE(std::getline(lines, line));
  EXPECT_EQ(t.summary->rows, 4U);
  EXPECT_EQ(t.summary->passed, 2U);
  EXPECT_EQ(t.summary->unreadable, 2U);
}

TEST(Trial, ShowsDropsDeadLettersAndEmittedRows) {
  auto t = run("dropper", "{}\n{}\n", config(R"({"every":2})"));
  EXPECT_THAT(t.out, HasSubstr("{\"row\":1,\"verdict\":\"drop\",\"reason\":\"every_nth\"}\n"));
  t = run("misbehaving", "{\"text\":\"a\"}\n{\"text\":\"p\"}\n",
          config(R"({"how":"throw","when":"p"})"));
  EXPECT_THAT(
      t.out,
      HasSubstr(
          R"({"row":1,"verdict":"dead_letter","reason":"bad_records","message":"thrown on purpose"})"));
  t = run("counter", "{\"subject_id\":\"ana\"}\n", config(R"({"milestone":1})"));
  EXPECT_EQ(
      t.out,
      "{\"row\":0,\"verdict\":\"pass\",\"columns\":{\"count\":1},"
      "\"emitted\":[{\"port\":\"milestones\",\"row\":{\"subject_id\":\"ana\",\"count\":1}}]}\n");
}

TEST(Trial, KeepsTheOrderOverManyBatches) {
  constexpr int rows = 3000;
  std::string in;
  for (int i = 0; i < rows; ++i) in += "{\"subject_id\":\"ana\"}\n";
  const auto t = run("counter", in, config(R"({"milestone":1000000})"));
  std::istringstream lines(t.out);
  std::string line;
  for (int i = 0; i < rows; ++i) {
    std::getline(lines, line);
    ASSERT_EQ(line, "{\"row\":" + std::to_string(i) +
                        ",\"verdict\":\"pass\",\"columns\":{\"count\":" + std::to_string(i + 1) +
                        "}}");
  }
}

TEST(Trial, EndsWithAnErrorWhereThePluginCannotGoOn) {
  EXPECT_THAT(run("counter", "", config("{\"nope\":1}")).summary.error().message,
              HasSubstr("config/nope: no such property"));
  EXPECT_THAT(run("misbehaving", "{\"text\":\"a\"}\n", config(R"({"how":"fatal"})"))
                  .summary.error()
                  .message,
              HasSubstr("cannot go on"));
  EXPECT_THAT(run("no_such_plugin", "").summary.error().message, HasSubstr("no_such_plugin.so: "));
  trial_options other_port;
  other_port.port = "evnts";
  EXPECT_THAT(run("counter", "{}\n", other_port).summary.error().message,
              HasSubstr("did you mean \"events\"?"));
  EXPECT_EQ(run("counter", "{}\n", other_port).summary.error().code, errc::not_found);
  EXPECT_THAT(run("counter", "", config("{\"x\":1}")).summary.error().message, HasSubstr("no such property; there are "));
  EXPECT_THAT(run("counter", "null\n").out, HasSubstr("row: should be an object"));
}

TEST(Trial, PutsUpWithHugeLinesAndNoRowsAtAll) {
  EXPECT_EQ(run("passthrough", "").out, "");
  const auto t = run("misbehaving", "{\"text\":\"" + std::string(9'000'000, 'a') + "\"}\n");
  EXPECT_THAT(t.out, HasSubstr("\"length\":9000000"));
}

}  // namespace
}  // namespace sonder
