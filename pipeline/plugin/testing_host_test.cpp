#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "sonder/plugin.h"
#include "sonder/testing/host.h"

namespace sonder::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::StartsWith;

std::string plugin(const std::string& name) {
  return std::string(SONDER_TESTING_PLUGINS) + "/" + name + ".so";
}

input_row event(const std::string& subject, std::int64_t at_ms) {
  input_row row(R"({"subject_id":")" + subject + "\"}", subject);
  row.event_time_ms = at_ms;
  return row;
}

host_options config(std::string json) {
  host_options made;
  made.config_json = std::move(json);
  return made;
}
host_options misbehave(const std::string& how, const std::string& when = "") {
  return config(R"({"how":")" + how + R"(","when":")" + when + "\"}");
}

std::string refusal(const std::string& path, host_options options = {}) {
  try {
    host h(path, std::move(options));
  } catch (const refused& e) {
    return e.what();
  }
  return "not refused";
}

TEST(TestingHost, GivesColumnsEmittedRowsStateAndMetricsOfACall) {
  host h(plugin("counter"), config(R"({"milestone":2})"));
  const auto done = h.process("events", {event("ana", 1), event("ben", 2), event("ana", 3)});
  ASSERT_TRUE(done.ok()) << done.message;
  ASSERT_EQ(done.rows.size(), 3U);
  EXPECT_EQ(done.rows[0].columns, R"({"count":1})");
  EXPECT_EQ(done.rows[2].columns, R"({"count":2})");
  ASSERT_EQ(done.emitted.size(), 1U);
  EXPECT_EQ(done.emitted[0].port, "milestones");
  EXPECT_EQ(done.emitted[0].source_row, 2);
  EXPECT_EQ(done.emitted[0].json, R"({"subject_id":"ana","count":2})");
  EXPECT_THAT(h.state("counts"), ElementsAre(Pair("ana", "2"), Pair("ben", "1")));
  EXPECT_EQ(h.metric("sonder_counter_events_total", "first"), 2);
  EXPECT_EQ(h.metric("sonder_counter_events_total", "later"), 1);
  EXPECT_EQ(h.metric("sonder_counter_greatest"), 2);
  EXPECT_THAT(h.log_lines(), ElementsAre("counter is ready"));
  EXPECT_THAT(h.violations(), IsEmpty());
  EXPECT_EQ(h.arrays_not_released(), 0U);
}

TEST(TestingHost, UndoesAllEffectsOfACallThatFails) {
  host h(plugin("counter"), config(R"({"idle_ms":10})"));
  ASSERT_TRUE(h.process("events", {event("ana", 1)}).ok());
  h.fail_service_call(5);  // get, put, set of the first row; get, then put of the second
  const auto done = h.process("events", {event("ana", 2), event("ben", 3)});
  EXPECT_EQ(done.status, SONDER_FATAL);
  EXPECT_EQ(done.message, "state/1 refused put");
  EXPECT_THAT(done.rows, IsEmpty());
  EXPECT_THAT(h.state("counts"), ElementsAre(Pair("ana", "1")));
  EXPECT_EQ(h.metric("sonder_counter_events_total", "later"), 0);
  EXPECT_EQ(h.timers_waiting(), 1U);
  EXPECT_EQ(h.event_time_ms(), 1);
  EXPECT_EQ(h.process("events", {event("ana", 2)}).rows[0].columns, R"({"count":2})");
}

TEST(TestingHost, FiresTimersInTheirOrderWhenTimeReachesThem) {
  host h(plugin("counter"), config(R"({"idle_ms":100})"));
  ASSERT_TRUE(h.process("events", {event("ben", 20), event("ana", 10), event("cleo", 500)}).ok());
  EXPECT_EQ(h.timers_waiting(), 3U);
  const auto early = h.advance_event_time_ms(550);
  ASSERT_TRUE(early.ok()) << early.message;
  ASSERT_EQ(early.emitted.size(), 2U);
  EXPECT_EQ(early.emitted[0].json, R"({"subject_id":"ana","since_ms":10})");
  EXPECT_EQ(early.emitted[1].json, R"({"subject_id":"ben","since_ms":20})");
  EXPECT_EQ(h.timers_waiting(), 1U);
  EXPECT_EQ(h.advance_event_time_ms(600).emitted.size(), 1U);
}

TEST(TestingHost, FiresTimersOfProcessingTimeWhenTheClockReachesThemAndNotBefore) {
  host h(plugin("counter"), config(R"({"idle_ms":100,"idle_by":"processing_time"})"));
  h.set_processing_time_ms(1'000);
  ASSERT_TRUE(h.process("events", {event("ben", 5)}).ok());
  h.set_processing_time_ms(1'050);
  ASSERT_TRUE(h.process("events", {event("ana", 5)}).ok());
  EXPECT_THAT(h.advance_event_time_ms(1'000'000).emitted, IsEmpty())
      << "event time is another clock";
  EXPECT_THAT(h.advance_processing_time_ms(1'099).emitted, IsEmpty());
  EXPECT_EQ(h.timers_waiting(), 2U);
  const auto first = h.advance_processing_time_ms(1'100);
  ASSERT_TRUE(first.ok()) << first.message;
  ASSERT_EQ(first.emitted.size(), 1U);
  EXPECT_EQ(first.emitted[0].port, "idle");
  EXPECT_EQ(first.emitted[0].json, R"({"subject_id":"ben","since_ms":1000})");
  EXPECT_THAT(h.advance_processing_time_ms(1'000).emitted, IsEmpty())
      << "the clock never goes back";
  EXPECT_EQ(h.processing_time_ms(), 1'100);
  const auto second = h.advance_processing_time_ms(2'000);
  ASSERT_EQ(second.emitted.size(), 1U);
  EXPECT_EQ(second.emitted[0].json, R"({"subject_id":"ana","since_ms":1050})");
  EXPECT_EQ(h.timers_waiting(), 0U);
}

TEST(TestingHost, KeepsStoresAndForgetsTheInstanceWhenThereIsANewOne) {
  host h(plugin("counter"));
  ASSERT_TRUE(h.process("events", {event("ana", 1)}).ok());
  h.new_instance();
  EXPECT_EQ(h.process("events", {event("ana", 2)}).rows[0].columns, R"({"count":2})");
}

TEST(TestingHost, MigratesAStoreOfAnOlderVersion) {
  host h(plugin("counter"));
  h.put_state("counts", "ana", "#41");
  h.migrate("counts", 1);
  EXPECT_EQ(h.process("events", {event("ana", 1)}).rows[0].columns, R"({"count":42})");
  EXPECT_THROW(h.migrate("counts", 7), refused);
}

TEST(TestingHost, MakesTheSameOfRowsHoweverTheyAreSplit) {
  std::vector<input_row> rows;
  for (int i = 0; i < 500; ++i) rows.push_back(event("subject-" + std::to_string(i % 7), i));
  std::vector<std::string> expected;
  for (const std::int32_t batch_rows : {500, 1, 7, 256}) {
    host h(plugin("counter"));
    const auto done = h.run("events", rows, batch_rows);
    ASSERT_TRUE(done.ok()) << done.message;
    std::vector<std::string> got;
    for (const auto& r : done.rows) got.push_back(r.columns);
    for (const auto& e : done.emitted) got.push_back(std::to_string(e.source_row) + e.json);
    if (expected.empty()) expected = got;
    EXPECT_EQ(got, expected) << "batches of " << batch_rows;
  }
  EXPECT_GT(expected.size(), 500U);
}

TEST(TestingHost, RefusesAConfigurationAsTheRealHostDoes) {
  EXPECT_THAT(
      refusal(plugin("counter"), config(R"({"milestoen":2})")),
      HasSubstr("counter.so: config/milestoen: no such property; did you mean \"milestone\"?"));
  EXPECT_THAT(refusal(plugin("counter"), config(R"({"milestone":0})")),
              HasSubstr("config/milestone: wants at least 1"));
  EXPECT_THAT(refusal(plugin("misbehaving"), misbehave("bad_config")),
              HasSubstr("misbehaving.so: property \"how\" asks for trouble; choose another"));
  EXPECT_THAT(refusal(plugin("misbehaving"), misbehave("throw_in_create")),
              HasSubstr("thrown in create"));
  EXPECT_THAT(refusal(plugin("misbehaving"), misbehave("fatal_instance")),
              HasSubstr("no instance today"));
}

TEST(TestingHost, RefusesRowsThatThePortDoesNotRead) {
  host h(plugin("counter"));
  EXPECT_THROW(h.process("evnts", {event("ana", 1)}), refused);
  EXPECT_THROW(h.process("events", {R"({"subject_id":7})"}), refused);
  EXPECT_THROW(h.process("events", {R"({})"}), refused);
  EXPECT_TRUE(h.process("events", {R"({"subject_id":"ana","more":[1,{"x":2}]})"}).ok());
}

struct misdeed {
  const char* how;
  int status;
  const char* message;
};
class Misdeeds : public ::testing::TestWithParam<misdeed> {};

TEST_P(Misdeeds, EndAsAStatusWithoutEffect) {
  host h(plugin("misbehaving"), misbehave(GetParam().how));
  const auto done = h.process("texts", {R"({"text":"a"})", R"({"text":"bb"})"});
  EXPECT_EQ(done.status, GetParam().status);
  EXPECT_THAT(done.message, HasSubstr(GetParam().message));
  EXPECT_THAT(done.rows, IsEmpty());
  EXPECT_THAT(h.state("notes"), IsEmpty());
  EXPECT_THAT(h.metrics(), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(
    All, Misdeeds,
    ::testing::Values(
        misdeed{"throw", SONDER_BAD_RECORDS, "thrown on purpose"},
        misdeed{"throw_other", SONDER_BAD_RECORDS, "not a std::exception"},
        misdeed{"throw_bad_alloc", SONDER_RETRY, "out of memory"},
        misdeed{"bad_records", SONDER_BAD_RECORDS, "one of them is bad"},
        misdeed{"retry", SONDER_RETRY, "later"}, misdeed{"fatal", SONDER_FATAL, "cannot go on"},
        misdeed{"nonsense_status", SONDER_FATAL, "answered the unknown status 77"},
        misdeed{"nonsense_verdict", SONDER_FATAL, "row 0 has the unknown verdict 99"},
        misdeed{"nonsense_reason", SONDER_FATAL, "row 0 has reason 7, the manifest declares 1"},
        misdeed{"wrong_length", SONDER_FATAL, "column \"length\": has 3 rows, should have 2"},
        misdeed{"wrong_type", SONDER_FATAL, "length"}, misdeed{"bad_utf8", SONDER_FATAL, "echo"},
        misdeed{"left_out", SONDER_FATAL, "write \"length\" was left out"},
        misdeed{"nonsense_emit", SONDER_FATAL, "the host refused emitted rows"},
        misdeed{"ask_wrong_type", SONDER_FATAL,
                "column \"text\" has Arrow format \"u\", asked for as int64"}),
    [](const auto& tested) { return std::string(tested.param.how); });

TEST(TestingHost, CountsArraysThatSayTheyWereNotReleased) {
#ifdef __SANITIZE_ADDRESS__
  const __lsan::ScopedDisabler the_plugin_leaks_on_purpose;
#endif
  host h(plugin("misbehaving"), misbehave("not_released"));
  EXPECT_TRUE(h.process("texts", {R"({"text":"a"})"}).ok());
  EXPECT_EQ(h.arrays_not_released(), 1U);
}

TEST(TestingHost, WritesDownWhereAServiceIsMisused) {
  host h(plugin("misbehaving"), misbehave("other_thread"));
  EXPECT_TRUE(h.process("texts", {R"({"text":"a"})"}).ok());
  EXPECT_THAT(h.violations(), ElementsAre("metrics/1 was used on another thread than the call's",
                                          "metrics/1: no metric 9"));
  EXPECT_EQ(h.metric("sonder_misbehaving_calls_total"), 1);
}

TEST(TestingHost, NarrowsBadRecordsToTheOneThatAlwaysFails) {
  for (const char* how : {"throw", "bad_records", "retry"}) {
    host h(plugin("misbehaving"), misbehave(how, "poison"));
    const std::vector<input_row> rows = {R"({"text":"a"})", R"({"text":"bb"})",
                                         R"({"text":"poison"})", R"({"text":7})",
                                         R"({"text":"ccc"})"};
    const auto done = h.run("texts", rows);
    ASSERT_TRUE(done.ok()) << done.message;
    ASSERT_EQ(done.rows.size(), 5U);
    EXPECT_EQ(done.rows[1].columns, R"({"length":2,"echo":null})");
    EXPECT_EQ(done.rows[2].what, verdict::dead_letter);
    EXPECT_EQ(done.rows[2].reason, "bad_records");
    EXPECT_EQ(done.rows[3].reason, "unreadable");
    EXPECT_EQ(done.rows[4].columns, R"({"length":3,"echo":null})");
  }
}

TEST(TestingHost, MakesANewInstanceOnceAfterAFatalCall) {
  const std::vector<input_row> rows = {R"({"text":"a"})"};
  host once(plugin("misbehaving"), misbehave("fatal_once"));
  EXPECT_TRUE(once.run("texts", rows).ok());
  host always(plugin("misbehaving"), misbehave("fatal"));
  EXPECT_EQ(always.run("texts", rows).status, SONDER_FATAL);
}

TEST(TestingHost, ShowsThePluginEveryByteThatItIsOffered) {
  host h(plugin("peek_headers"), config(R"({"needles":["secret"]})"));
  EXPECT_EQ(h.process("in", {R"({"text":"all quiet"})"}).rows[0].what, verdict::pass);
  EXPECT_EQ(h.process("in", {R"({"text":"a secret here"})"}).rows[0].reason, "found");
  input_row with_key(R"({})");
  with_key.key = "the secret";
  EXPECT_EQ(h.process("in", {with_key}).rows[0].reason, "found");
  input_row with_header(R"({})");
  with_header.headers = {{"plain", std::nullopt}, {"h", "secret"}};
  EXPECT_EQ(h.process("in", {with_header}).rows[0].reason, "found");
  input_row unread(R"({"other":"secret"})");
  EXPECT_EQ(h.process("in", {unread}).rows[0].what, verdict::pass);
}

TEST(TestingHost, RunsPluginsThatReadNothing) {
  host quiet(plugin("passthrough"));
  EXPECT_EQ(quiet.process("in", {R"({"a":1})"}).rows[0].columns, "{}");
  host dropping(plugin("dropper"), config(R"({"every":2})"));
  const auto done = dropping.process("in", {"{}", "{}", "{}"});
  EXPECT_EQ(done.rows[1].reason, "every_nth");
  EXPECT_EQ(done.rows[2].what, verdict::pass);
}

using TestingHostDeathTest = ::testing::Test;

TEST(TestingHostDeathTest, APluginThatWritesWhatItWasLentCrashesInTheCall) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  host h(plugin("misbehaving"), misbehave("write_lent"));
  EXPECT_DEATH(h.process("texts", {R"({"text":"a"})"}), "");
}

TEST(TestingHostDeathTest, APluginThatKeepsAViewCrashesInTheNextCall) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  host h(plugin("misbehaving"), misbehave("keep_view"));
  ASSERT_TRUE(h.process("texts", {R"({"text":"a"})"}).ok());
  EXPECT_DEATH(h.process("texts", {R"({"text":"a"})"}), "");
}

}  // namespace
}  // namespace sonder::testing
