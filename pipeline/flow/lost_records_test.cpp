#include "flow/lost_records.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>

#include "flow/flow_rig.h"
#include "flow/forwarding_log_rig.h"
#include "observe/log.h"
#include "observe/metrics.h"

// Records that retention takes before a flow has read them.
namespace sonder {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

class LostRecords : public testing::Test {
 protected:
  LostRecords() {
    rig.file("event.avsc", plain_event_schema);
    embedded_options how;
    how.now_ms = [this] { return now_ms; };
    rig.reopen(how);
    rig.options().observe = &shown;
  }
  void flow(const std::string& events) {
    rig.flow("flow: t\nlog: {kind: embedded, dir: data}\ntopics:\n"
             "  events: {schema: event.avsc, subject: subject_id, event_time: at, partitions: 1, retention: 1h" + events + "}\n"
             "  consent: {schema: " + shipped_schemas() + "/consent.avsc, subject: subject_id, key: [subject_id, purpose], event_time: at, "
             "role: table, partitions: 1, retention: 1h}\n"
             "  out: {schema: event.avsc, partitions: 1, purpose: ServicePersonalisation, carries: [behaviour, quasi_identifier]}\n"
             "  dead_letter: {schema: " + shipped_schemas() + "/dead_letter.avsc, partitions: 1}\n"
             "stages:\n  consent: {plugin: consent_filter, in: {events: events, decisions: consent}}\n"
             "sinks:\n  out: consent.allowed\n");
  }
  void give(const std::string& id) {
    rig.give("events", {event(id, "ana", now_ms)});
  }
  /// Before the events of now.
  void decide(const std::string& what) {
    rig.give("consent", {decision("ana", what, now_ms - 1'000)});
  }
  /// All that the topics hold is too old now.
  void pass_retention() {
    now_ms += 2 * 3'600'000;
    ASSERT_TRUE(rig.on().maintain());
  }
  [[nodiscard]] std::string refusal() {
    const auto ended = rig.try_run();
    return ended ? "" : ended.error().message;
  }
  [[nodiscard]] double lost(std::string_view topic) const { return shown.value_of(metric::records_lost, {topic, "source"}); }

  std::int64_t now_ms = 1'700'000'000'000;
  metrics shown;
  flow_rig rig;
};

TEST_F(LostRecords, AreCountedAndSaidOnceWhereEventsArePassedOver) {
  flow("");
  decide("granted");
  give("e1");
  rig.run();
  give("e2");
  give("e3");
  pass_retention();
  give("e4");
  run_summary summary;
  const auto said = rig.lines_of([&] { summary = rig.run(); });

  EXPECT_THAT(rig.records("out"), ElementsAre(HasSubstr("e1"), HasSubstr("e4")));
  EXPECT_EQ(port(summary, "events", "source").lost, 2U);
  EXPECT_EQ(port(summary, "events", "source").in, 1U);
  EXPECT_EQ(lost("events"), 2);
  EXPECT_THAT(said, HasSubstr(R"("topic":"events","partition":0,"offset":1,"offsets_gone":2)"));
}

TEST_F(LostRecords, AreLeftBehindThoughNoneFollows) {
  flow("");
  decide("granted");
  give("e1");
  rig.run();
  give("e2");
  pass_retention();
  EXPECT_EQ(port(rig.run(), "events", "source").lost, 1U);
  EXPECT_EQ(port(rig.run(), "events", "source").lost, 0U) << "the place behind it is committed";
}

TEST_F(LostRecords, EndAWorkerThatIsToldToStop) {
  flow(", lost: stop");
  decide("granted");
  give("e1");
  rig.run();
  give("e2");
  pass_retention();
  give("e3");
  EXPECT_THAT(refusal(), AllOf(HasSubstr("flow.yaml:4:"),
                               HasSubstr(R"(topic "events", partition 0: retention has removed offsets 1 to 1 before the flow had taken them up)"),
                               HasSubstr("`lost: skip` goes on without them")));
  flow(", lost: skip");
  rig.run();
  EXPECT_THAT(rig.records("out"), ElementsAre(HasSubstr("e1"), HasSubstr("e3")));
}

// The withdrawal: nobody may decide by a table that lacks it.
TEST_F(LostRecords, OfATableEndAWorkerThatIsToldNothing) {
  flow("");
  decide("granted");
  give("e1");
  rig.run();
  decide("withdrawn");
  pass_retention();
  give("e2");
  EXPECT_THAT(refusal(), HasSubstr(R"(topic "consent", partition 0: retention has removed offsets 1 to 1)"));
  EXPECT_THAT(rig.records("out"), SizeIs(1));
}

TEST_F(LostRecords, AreNoneForAGroupThatBegins) {
  flow(", lost: stop");
  decide("granted");
  give("e1");
  pass_retention();
  EXPECT_EQ(port(rig.run(), "events", "source").lost, 0U);
  EXPECT_EQ(rig.on().committed_of("t", "events", 0).value_or(-2), -1);
  decide("granted");
  give("e2");
  EXPECT_EQ(port(rig.run(), "events", "source").lost, 0U);
  EXPECT_THAT(rig.records("out"), ElementsAre(HasSubstr("e2")));
  EXPECT_EQ(lost("events") + lost("consent"), 0);
}

/// Retention takes what lies before offset 3 once the flow has read up to 1.
class overtaking_log final : public forwarding_log {
 public:
  using forwarding_log::forwarding_log;
  status fetch(std::string_view topic, std::int32_t partition, std::int64_t from, const fetch_limits& limits, record_block& into) override {
    const bool before = from == 0;
    const bool taken = topic == "events" && from >= 1 && from < 3;
    SONDER_TRY(forwarding_log::fetch(topic, partition, taken ? 3 : from, topic == "events" && before ? fetch_limits{1, 1} : limits, into));
    if (taken) into.removed = 3 - from;
    return {};
  }
};

TEST_F(LostRecords, AreSeenWhileTheWorkerRuns) {
  flow("");
  decide("granted");
  for (const auto* id : {"e1", "e2", "e3", "e4"}) give(id);
  overtaking_log on(rig.on());
  rig.options().until_idle = true;
  const auto summary = rig.try_run_on(on);
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_EQ(port(*summary, "events", "source").lost, 2U);
  EXPECT_THAT(rig.records("out"), ElementsAre(HasSubstr("e1"), HasSubstr("e4")));
}

TEST(LostRecordsOfAPartition, AreToldInFewLinesHoweverOftenTheyOccur) {
  const auto file = std::filesystem::temp_directory_path() / ("sonder_lost_" + std::to_string(::testing::UnitTest::GetInstance()->random_seed()) +
                                                              std::to_string(std::chrono::steady_clock::now().time_since_epoch().count()));
  log_options form{.form = log_form::json};
  form.file = file.string();
  auto lines = logger::open(form);
  ASSERT_TRUE(lines);
  topic_options topic;
  topic.topic = "events";
  lost_records losses(topic, "lost", true, 3, lines->get());
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(losses.add(i * 10, 5));
  EXPECT_EQ(losses.take(), 500U);
  EXPECT_EQ(losses.take(), 0U);
  lines->reset();
  std::ifstream in(file);
  std::string line;
  int count = 0;
  while (std::getline(in, line)) ++count;
  EXPECT_EQ(count, 1);
  std::filesystem::remove(file);
}

}  // namespace
}  // namespace sonder
