#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <map>
#include <thread>

#include "flow/age_tally.h"
#include "flow/endless_log_rig.h"
#include "flow/flow_rig.h"
#include "observe/metrics.h"

// What a run leaves in the metrics: figures of single records, calls and tasks, not means over them.
namespace sonder {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

// Labelled as data about nobody: what labels allow is tested with the graph.
std::string field_of(const std::string& name, const std::string& type) {
  return R"({"name":")" + name + R"(","type":)" + type + R"(,"sonder.privacy":{"categories":[]}})";
}
std::string record_of(const std::string& name, const std::string& fields) {
  return R"({"type":"record","name":")" + name + R"(","fields":[)" + fields + "]}";
}
const std::string event_fields = field_of("event_id", R"("string")") + "," + field_of("subject_id", R"("string")") + "," +
                                 field_of("text", R"("string")") + "," +
                                 field_of("at", R"({"type":"long","logicalType":"timestamp-millis"})");

class WorkerMetrics : public testing::Test {
 protected:
  WorkerMetrics() {
    schemas = shipped_schemas();
    rig.file("event.avsc", record_of("event", event_fields));
    rig.file("lengths.avsc", record_of("lengths", field_of("length", R"("long")")));
    rig.file("counted.avsc", record_of("counted", field_of("event_id", R"("string")") + "," + field_of("count", R"("long")")));
    rig.options().observe = &shown;
  }

  void flow(const std::string& out_schema, const std::string& stages, const std::string& from, const std::string& more = "") {
    rig.flow("flow: t\nlog: {kind: embedded, dir: data}\ntopics:\n"
             "  events: {schema: event.avsc, subject: subject_id, event_time: at, partitions: 1}\n"
             "  out: {schema: " + out_schema + ", partitions: 1, carries: [behaviour, quasi_identifier]}\n"
             "  dead_letter: {schema: " + schemas + "/dead_letter.avsc, partitions: 1}\n"
             "stages:\n" + stages + "sinks:\n  out: " + from + "\n" + more);
  }
  void give(int rows) {
    std::vector<std::string> all;
    for (int i = 0; i < rows; ++i) all.push_back(event("e" + std::to_string(i), "ana", 1'000 + i));
    rig.give("events", all);
  }
  [[nodiscard]] double value(std::string_view name, metrics::label_values labels) const { return shown.value_of(name, labels); }

  metrics shown;
  flow_rig rig;
  std::string schemas;
};

TEST_F(WorkerMetrics, CountTheRowsOfEachCallAndNotTheirMean) {
  flow("counted.avsc", "  tally: {plugin: counter, in: {events: events}}\n", "tally.out", "run: {batch_rows: 64}\n");
  give(130);
  rig.run();
  const auto text = shown.expose();
  EXPECT_THAT(text, HasSubstr(R"(sonder_batch_records_bucket{node="tally",port="events",le="1"} 0)"));
  EXPECT_THAT(text, HasSubstr(R"(sonder_batch_records_bucket{node="tally",port="events",le="4"} 1)"));
  EXPECT_THAT(text, HasSubstr(R"(sonder_batch_records_bucket{node="tally",port="events",le="16"} 1)"));
  EXPECT_THAT(text, HasSubstr(R"(sonder_batch_records_bucket{node="tally",port="events",le="64"} 3)"));
  EXPECT_THAT(text, HasSubstr(R"(sonder_batch_records_sum{node="tally",port="events"} 130)"));
  EXPECT_EQ(value(metric::batch_records, {"events", "source"}), 3);
  EXPECT_EQ(value(metric::batch_records, {"out", "sink"}), 3);
  EXPECT_EQ(value(metric::stage_seconds, {"tally", "events"}), 3);
  EXPECT_EQ(value(metric::stage_seconds, {"events", "source"}), 3);
  EXPECT_EQ(value(metric::stage_seconds, {"out", "sink"}), 3);
}

TEST_F(WorkerMetrics, ShowHowOldEachRecordOfASinkWasAtItsCommit) {
  rig.options().clock = [] { return std::int64_t{1'000'000}; };
  flow("event.avsc", "", "events");
  rig.give("events", {event("e1", "ana", 1'000'000 - 2), event("e2", "ana", 1'000'000 - 500), event("e3", "ana", 0),
                      event("e4", "ana", 1'000'000 + 5)});
  rig.run();
  const auto text = shown.expose();
  EXPECT_THAT(text, HasSubstr(R"(sonder_end_to_end_latency_seconds_bucket{sink="out",le="0.001"} 1)"));
  EXPECT_THAT(text, HasSubstr(R"(sonder_end_to_end_latency_seconds_bucket{sink="out",le="0.003"} 2)"));
  EXPECT_THAT(text, HasSubstr(R"(sonder_end_to_end_latency_seconds_bucket{sink="out",le="0.3"} 2)"));
  EXPECT_THAT(text, HasSubstr(R"(sonder_end_to_end_latency_seconds_bucket{sink="out",le="1"} 3)"));
  EXPECT_THAT(text, HasSubstr(R"(sonder_end_to_end_latency_seconds_bucket{sink="out",le="300"} 3)"));
  EXPECT_THAT(text, HasSubstr(R"(sonder_end_to_end_latency_seconds_count{sink="out"} 4)"));
}

TEST_F(WorkerMetrics, ShowStoresOneByOneAndNoLagAtTheEnd) {
  flow("counted.avsc", "  tally: {plugin: counter, in: {events: events}}\n", "tally.out");
  give(100);
  rig.run();
  EXPECT_GT(value(metric::store_bytes, {"tally", "counts", "cache"}) + value(metric::store_bytes, {"tally", "counts", "changes"}), 0);
  EXPECT_THAT(shown.expose(), AllOf(HasSubstr(R"(sonder_store_bytes{stage="tally",store="counts",part="cache"})"),
                                    HasSubstr(R"(sonder_source_lag_records{topic="events",role="event"} 0)"),
                                    HasSubstr(R"(sonder_source_lag_seconds{topic="events",role="event"} 0)"),
                                    HasSubstr(R"(sonder_source_waiting_records{topic="events"} 0)")));
}

TEST_F(WorkerMetrics, ShowWhatAStoreTakesOnDisk) {
  flow("counted.avsc", "  tally: {plugin: counter, in: {events: events}}\n", "tally.out");
  std::vector<std::string> all;
  for (int i = 0; i < 3'000; ++i) all.push_back(event("e" + std::to_string(i), "subject-" + std::to_string(i), 1'000 + i));
  rig.give("events", all);
  rig.run();
  rig.reopen();
  give(1);
  std::atomic<int> stop{0};
  rig.options().stop = &stop;
  rig.options().until_idle = false;
  result<run_summary> ended;
  std::thread worker([&] { ended = rig.try_run(); });
  for (int i = 0; i < 2'000 && value(metric::store_disk_bytes, {"tally", "counts"}) == 0; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  stop = 1;
  worker.join();
  rig.options().stop = nullptr;
  ASSERT_TRUE(ended) << ended.error().message;
  // An estimate: of at least a byte a subject, and not of the whole log.
  EXPECT_GT(value(metric::store_disk_bytes, {"tally", "counts"}), 3'000);
  EXPECT_LT(value(metric::store_disk_bytes, {"tally", "counts"}), 3'000'000);
  EXPECT_EQ(value(metric::changelog_records, {"tally", "counts"}), 0) << "the embedded log has none";
}

TEST_F(WorkerMetrics, TellTimersThatWaitFromThoseThatFired) {
  flow("counted.avsc", "  tally: {plugin: counter, in: {events: events}, config: {idle_ms: 1000}}\n", "tally.out");
  rig.give("events", {event("e1", "ana", 1'000), event("e2", "ben", 1'000), event("e3", "cleo", 5'000)});
  rig.run();
  EXPECT_EQ(value(metric::timers, {"tally", "fired"}), 2);
  EXPECT_EQ(value(metric::timers, {"tally", "given_up"}), 0);
  EXPECT_EQ(value(metric::timers_waiting, {"tally"}), 1);
}

TEST_F(WorkerMetrics, CountTheTimeThatAStageWaitsToBeCalledAgain) {
  flow("event.avsc", "  later: {plugin: misbehaving, in: {texts: events}, attempts_max: 3, retry: 30ms, config: {how: retry}}\n", "later.out");
  rig.give("events", {event("e1", "ana", 1)});
  rig.run();
  EXPECT_GE(value(metric::stage_waiting_seconds, {"later"}), 0.03 + 0.06);
  EXPECT_LT(value(metric::stage_waiting_seconds, {"later"}), 30);
}

TEST_F(WorkerMetrics, ShowTheCausesOfDeadLettersThatMayComeFromTheStartOn) {
  flow("lengths.avsc", "  bad: {plugin: misbehaving, in: {texts: events}}\n", "bad.out");
  give(1);
  rig.run();
  const auto text = shown.expose();
  for (const auto* cause : {"not_framed", "undecodable", "future", "plugin_failed", "too_large", "plugin"})
    EXPECT_THAT(text, HasSubstr("sonder_dead_letters_total{cause=\"" + std::string(cause) + "\"} 0\n"));
  EXPECT_THAT(text, Not(HasSubstr("cause=\"no_consent\""))) << "only ever a reason to drop";
  for (const auto* node : {R"(node="events",port="source",cause="undecodable")", R"(node="bad",port="texts",cause="plugin_failed")",
                           R"(node="bad",port="texts",cause="unwanted")", R"(node="out",port="sink",cause="bad_value")"})
    EXPECT_THAT(text, HasSubstr("sonder_records_dead_lettered_total{" + std::string(node) + "} 0\n"));
  EXPECT_THAT(text, HasSubstr("sonder_rebalances_total{event=\"lost\"} 0\n"));
  rig.give_raw("events", 0, "k", "no frame");
  rig.run();
  EXPECT_EQ(value(metric::dead_letters, {"not_framed"}), 1);
  EXPECT_EQ(value(metric::records_dead_lettered, {"events", "source", "not_framed"}), 1);
}

TEST_F(WorkerMetrics, KeepTheRowsOfAPluginThatCountsWhatIsNoMetric) {
  flow("lengths.avsc", "  bad: {plugin: misbehaving, in: {texts: events}, config: {how: nonsense_metric}}\n", "bad.out");
  give(3);
  rig.run();
  EXPECT_THAT(rig.records("out"), testing::SizeIs(3));
  EXPECT_THAT(rig.dead_letters(), testing::IsEmpty());
  EXPECT_EQ(value("sonder_misbehaving_calls_total", {}), 1);
  EXPECT_EQ(value(metric::contract_violations, {"misbehaving", "service"}), 5);
}

TEST_F(WorkerMetrics, RefuseRowsThatAreEmittedOnAnotherThread) {
  flow("lengths.avsc", "  bad: {plugin: misbehaving, in: {texts: events}, config: {how: emit_elsewhere, when: t}}\n", "bad.extra");
  give(1);
  rig.run();
  EXPECT_THAT(rig.records("out"), testing::IsEmpty());
  EXPECT_THAT(rig.dead_letters(), testing::ElementsAre("bad:bad_output"));
  EXPECT_EQ(value(metric::contract_violations, {"misbehaving", "service"}), 1);
}

TEST_F(WorkerMetrics, TellWhyAndHowLongATaskStoodStill) {
  flow("event.avsc", "  hoard: {plugin: hoarder, in: {texts: events}}\n", "hoard.out", "run: {batch_rows: 1}\n");
  rig.give("events", {event("e1", "ana", 1, "keep 5"), event("e2", "ana", 2, "keep 5"), event("e3", "ana", 3, "keep 1")});
  rig.run();
  EXPECT_GT(value(metric::blocked_seconds, {"0", "changes"}), 0);
  EXPECT_EQ(value(metric::blocked_seconds, {"0", "outbox"}), 0);
  EXPECT_EQ(value(metric::blocked_tasks, {"changes"}), 0);
}

TEST_F(WorkerMetrics, CountTheTimeThatATaskWaitsForCommittedOutputs) {
  rig.file("text.avsc", record_of("text", field_of("id", R"("string")") + "," + field_of("text", R"("string")")));
  rig.flow("flow: t\nlog: {kind: embedded, dir: data}\ndead_letter: none\ntopics:\n"
           "  events: {schema: text.avsc, framing: bare, partitions: 1}\n  out: {schema: text.avsc, framing: bare, key: id, partitions: 1}\n"
           "stages:\n  a: {plugin: passthrough, in: {in: events}}\nsinks:\n  out: a.out\n"
           "run: {outbox_max: 1MiB, commit_interval: 1m}\n");
  const std::vector<std::string> values(1'024, std::string("\x04id\x80\x02", 5) + std::string(128, 'x'));
  endless_log slow(values, 40'000, std::chrono::milliseconds(30));
  const auto summary = run_worker(std::make_shared<const graph>(rig.checked()), slow, rig.options());
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_EQ(slow.committed_records(), 40'000);
  EXPECT_GT(value(metric::blocked_seconds, {"0", "outbox"}), 0);
  EXPECT_EQ(value(metric::blocked_seconds, {"0", "changes"}), 0);
  EXPECT_EQ(value(metric::blocked_tasks, {"outbox"}), 0);
}

std::map<std::int64_t, std::uint64_t> latencies(const age_tally& of, std::int64_t now_ms) {
  std::map<std::int64_t, std::uint64_t> found;
  of.latencies(now_ms, [&](std::int64_t latency_ms, std::uint64_t records) { found[latency_ms] += records; });
  return found;
}

TEST(AgeTally, IsExactForRecordsOfOneMoment) {
  age_tally ages;
  for (const auto at : {1'000, 1'003, 996, 1'000}) ages.add(at);
  EXPECT_EQ(latencies(ages, 1'010), (std::map<std::int64_t, std::uint64_t>{{7, 1}, {10, 2}, {14, 1}}));
}

TEST(AgeTally, RoundsToASixteenthOfTheDistanceFromTheFirst) {
  for (const std::int64_t far : {16LL, 100LL, 12'345LL, 86'400'000LL, 1'700'000'000'000LL}) {
    for (const auto at : {-far, far}) {
      age_tally ages;
      ages.add(0);
      ages.add(at);
      const auto found = latencies(ages, 0);
      ASSERT_EQ(found.size(), 2U) << at;
      const auto other = found.begin()->first == 0 ? found.rbegin()->first : found.begin()->first;
      EXPECT_NEAR(static_cast<double>(other), static_cast<double>(-at), static_cast<double>(far) / 16) << at;
    }
  }
}

TEST(AgeTally, ForgetsWhenItIsCleared) {
  age_tally ages;
  ages.add(5);
  ages.clear();
  EXPECT_TRUE(latencies(ages, 10).empty());
  ages.add(7);
  EXPECT_EQ(latencies(ages, 10), (std::map<std::int64_t, std::uint64_t>{{3, 1}}));
}

TEST(AgeTally, TakesTimestampsThatAreFurtherApartThanALife) {
  age_tally ages;
  ages.add(0);
  ages.add(INT64_MIN);
  ages.add(INT64_MAX);
  std::uint64_t records = 0;
  for (const auto& [latency, count] : latencies(ages, 0)) records += count;
  EXPECT_EQ(records, 3U);
}

}  // namespace
}  // namespace sonder
