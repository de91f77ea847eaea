#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <optional>
#include <thread>

#include "avro/framing.h"
#include "flow/flow_rig.h"
#include "flow/forwarding_log_rig.h"
#include "flow/schema_notes.h"
#include "observe/metrics.h"

// What a flow does at its limits: records, tables and state that are too large or too many, stops in the midst of things, and
// input that is made to end it.
namespace sonder {
namespace {

using std::chrono::milliseconds;
using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::Ge;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

std::string schema_of(const std::string& name, const std::string& fields) {
  return R"({"type":"record","name":")" + name + R"(","fields":[)" + fields + "]}";
}
// Labelled as data about nobody: what labels allow is tested with the graph.
std::string field_of(const std::string& name, const std::string& type) {
  return R"({"name":")" + name + R"(","type":)" + type + R"(,"sonder.privacy":{"categories":[]}})";
}
const std::string millis = R"({"type":"long","logicalType":"timestamp-millis"})";
const std::string micros = R"({"type":"long","logicalType":"timestamp-micros"})";
const std::string text_type = R"("string")";
const std::string subject_and_text =
    field_of("event_id", text_type) + "," + field_of("subject_id", text_type) + "," + field_of("text", text_type);

std::string padded(int number, std::size_t size) {
  auto name = std::to_string(number);
  name.resize(size, 's');
  return name;
}

/// Takes epochs of so many bytes, state counted, and says so or not; and in `out` records of so many bytes, which it says.
class picky_log final : public forwarding_log {
 public:
  picky_log(log& behind, std::size_t bytes_max, bool says_so) : forwarding_log(behind), bytes_max_(bytes_max), says_so_(says_so) {}

  epoch_limits limits() const noexcept override { return says_so_ ? epoch_limits{.bytes_max = bytes_max_} : epoch_limits{}; }
  result<topic_config> describe(std::string_view topic) override {
    auto found = forwarding_log::describe(topic);
    if (found && topic == "out") found->record_bytes_max = record_bytes_max;
    return found;
  }
  status commit(const epoch_changes& epoch) override {
    std::size_t bytes = 0;
    for (const auto& batch : epoch.produced) {
      bytes += batch.records->bytes();
      const bool fits = batch.topic != "out" || batch.records->largest_record_bytes() <= static_cast<std::size_t>(record_bytes_max);
      if (!fits) return refuse("a record is larger than topic \"out\" takes");
    }
    for (const auto& change : epoch.state) bytes += change.key.size() + (change.value ? change.value->size() : 0);
    if (bytes > bytes_max_) return refuse("epoch: has " + std::to_string(bytes) + " bytes, at most " + std::to_string(bytes_max_));
    return forwarding_log::commit(epoch);
  }

  std::int32_t record_bytes_max = topic_config{}.record_bytes_max;
  std::uint64_t refused = 0;

 private:
  status refuse(std::string why) {
    ++refused;
    return fail(errc::capacity, std::move(why));
  }
  std::size_t bytes_max_;
  bool says_so_;
};

/// Takes longer over an epoch than epochs last, wants a moment after each, and has something new once it is done.
class unsettled_log final : public forwarding_log {
 public:
  unsettled_log(log& behind, std::function<void()> after) : forwarding_log(behind), after_(std::move(after)) {}

  epoch_limits limits() const noexcept override { return {.settles_in = milliseconds(30)}; }
  status commit(const epoch_changes& epoch) override {
    if (epoch.produced.empty()) return forwarding_log::commit(epoch);  // a store's version
    const auto began = std::chrono::steady_clock::now();
    if (ended_) rests.push_back(std::chrono::duration_cast<milliseconds>(began - *ended_));
    std::this_thread::sleep_until(began + milliseconds(100));
    auto done = forwarding_log::commit(epoch);
    if (rests.size() < 4) after_();
    ended_ = std::chrono::steady_clock::now();
    return done;
  }

  std::vector<milliseconds> rests;

 private:
  std::function<void()> after_;
  std::optional<std::chrono::steady_clock::time_point> ended_;
};

/// For each of so many partitions the name of a subject that belongs there.
std::vector<std::string> one_subject_each(std::int32_t partitions) {
  std::vector<std::string> names(static_cast<std::size_t>(partitions));
  for (int i = 0; i < 1'000; ++i) {
    const auto name = "s" + std::to_string(i);
    names[static_cast<std::size_t>(murmur2_partition(as_bytes(name), partitions))] = name;
  }
  return names;
}

class FlowSafety : public testing::Test {
 protected:
  FlowSafety() {
    schemas = shipped_schemas();
    rig.file("event.avsc", schema_of("event", subject_and_text + "," + field_of("at", millis)));
    rig.file("fine.avsc", schema_of("fine", subject_and_text + "," + field_of("at", micros)));
    rig.file("counted.avsc", schema_of("counted", field_of("event_id", text_type) + "," + field_of("count", R"("long")")));
    rig.file("lengths.avsc", schema_of("lengths", field_of("length", R"("long")")));
    rig.file("quarantine", "a key of the operator's");
  }

  /// One partition of `events`; `out` of schema `out_schema` from `from`.
  std::string yaml(const std::string& out_schema, const std::string& stages, const std::string& from,
                   const std::string& more = "") {
    return "flow: t\nlog: {kind: embedded, dir: data}\ntopics:\n"
           "  events: {schema: " + event_schema + ", subject: subject_id, event_time: at, partitions: 1}\n" + topics +
           "  out: {schema: " + out_schema + ", " + out_options + "carries: [behaviour, quasi_identifier]}\n"
           "  dead_letter: {schema: " + schemas + "/dead_letter.avsc, partitions: 1}\n"
           "stages:\n" + stages + "sinks:\n  out: " + from + "\n" + more;
  }

  /// Stage "hoard" over so many partitions, each with so many rows that put 1 MiB of state each.
  result<run_summary> hoard_on(picky_log& on, std::int32_t partitions, int rows_each) {
    auto text = yaml("event.avsc", "  hoard: {plugin: hoarder, in: {texts: events}}\n", "hoard.out",
                     "run: {commit_interval: 1m, batch_rows: 4}\n");
    const std::string one = "partitions: 1";
    text.replace(text.find(one), one.size(), "partitions: " + std::to_string(partitions));
    rig.flow(text);
    std::vector<std::string> rows;
    for (const auto& subject : one_subject_each(partitions)) {
      for (int i = 0; i < rows_each; ++i) rows.push_back(event(subject + "/" + std::to_string(i), subject, i + 1, "keep 1"));
    }
    rig.give("events", rows);
    return run_worker(std::make_shared<const graph>(rig.checked()), on, rig.options());
  }

  /// Asks the worker to stop after `wait`, if it still runs then.
  result<run_summary> run_and_stop(milliseconds wait) {
    std::atomic<int> stop{0};
    rig.options().stop = &stop;
    std::atomic<bool> over{false};
    std::thread stopper([&] {
      const auto until = std::chrono::steady_clock::now() + wait;
      while (!over && std::chrono::steady_clock::now() < until) std::this_thread::sleep_for(milliseconds(5));
      stop = 1;
    });
    auto ended = rig.try_run();
    over = true;
    stopper.join();
    rig.options().stop = nullptr;
    return ended;
  }

  /// Runs a worker for as long as `what` takes.
  void run_while(const std::function<void()>& what) {
    std::atomic<int> stop{0};
    rig.options().until_idle = false;
    rig.options().stop = &stop;
    std::thread worker([&] {
      const auto done = rig.try_run();
      EXPECT_TRUE(done) << done.error().message;
    });
    what();
    stop = 1;
    worker.join();
    rig.options().stop = nullptr;
    rig.options().until_idle = true;
  }

  /// Waits until partition 0 of `topic` has so many records, and says whether it has just those.
  bool comes_to(const std::string& topic, std::size_t count) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (rig.raw(topic, 0).size() < count && std::chrono::steady_clock::now() < until) std::this_thread::sleep_for(milliseconds(5));
    return rig.raw(topic, 0).size() == count;
  }

  flow_rig rig;
  std::string schemas;
  std::string event_schema = "event.avsc";
  std::string out_options = "key: event_id, partitions: 1, ";
  std::string topics;
};

TEST_F(FlowSafety, GivesTheLogTheMomentThatItWantsAfterAnEpochAlsoWhereTheNextOneIsDue) {
  rig.flow(yaml("counted.avsc", "  tally: {plugin: counter, in: {events: events}}\n", "tally.out", "run: {commit_interval: 80ms}\n"));
  rig.give("events", {event("e", "s", 1)});
  unsettled_log on(rig.on(), [&] { rig.give("events", {event("e", "s", 1)}); });
  ASSERT_TRUE(rig.try_run_on(on));
  EXPECT_THAT(on.rests, AllOf(SizeIs(Ge(4)), Each(Ge(milliseconds(30)))));
}

TEST_F(FlowSafety, TakesUpAgainABatchThatAStopInterrupted) {
  const auto flow = [&](const std::string& how) {
    out_options = "partitions: 1, ";
    return yaml("lengths.avsc",
                "  bad: {plugin: misbehaving, in: {texts: events}, attempts_max: 9, retry: 1m, retry_max: 1m, config: {how: " + how +
                    ", when: poison}}\n",
                "bad.out");
  };
  rig.flow(flow("retry"));
  rig.give("events", {event("e1", "ana", 1, "ok"), event("e2", "ana", 2, "poison"), event("e3", "ana", 3, "ok")});
  const auto ended = run_and_stop(milliseconds(300));
  ASSERT_TRUE(ended) << ended.error().message;
  EXPECT_EQ(ended->stopped_because, "signal");
  EXPECT_THAT(ended->unbalanced, IsEmpty());
  rig.flow(flow("not"));
  rig.run();
  EXPECT_THAT(rig.records("out"), SizeIs(3));
}

TEST_F(FlowSafety, ClosesAnEpochBeforeItsStateIsMoreThanAStoreHolds) {
  rig.flow(yaml("counted.avsc", "  tally: {plugin: counter, in: {events: events}}\n", "tally.out", "run: {commit_interval: 3s}\n"));
  std::vector<std::string> rows;
  for (int i = 0; i < 5'000; ++i) rows.push_back(event("e" + std::to_string(i), padded(i, 4'000), i));
  rig.give("events", rows);
  const auto summary = rig.run();
  EXPECT_EQ(summary.records_out, 5'000U);
  EXPECT_THAT(rig.dead_letters(), IsEmpty());
}

TEST_F(FlowSafety, MakesSeveralEpochsOfWhatIsMoreThanTheLogTakesAtOnce) {
  picky_log on(rig.on(), 5 << 19, true);
  const auto summary = hoard_on(on, 4, 1);
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_THAT(rig.records("out"), SizeIs(4));
  EXPECT_EQ(on.refused, 0U);
  EXPECT_GE(summary->epochs_committed, 2U);
}

TEST_F(FlowSafety, MakesSmallerEpochsWhereTheLogTakesLessThanItSays) {
  picky_log on(rig.on(), 3 << 19, false);
  const auto summary = hoard_on(on, 2, 3);
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_THAT(rig.records("out"), SizeIs(6));
  EXPECT_THAT(rig.dead_letters(), IsEmpty());
  EXPECT_GE(on.refused, 2U);
  EXPECT_EQ(summary->epochs_discarded, on.refused);
}

TEST_F(FlowSafety, EndsWhereTheLogTakesNotEvenOneRow) {
  picky_log on(rig.on(), 1 << 19, false);
  const auto summary = hoard_on(on, 1, 2);
  ASSERT_FALSE(summary);
  EXPECT_EQ(summary.error().code, errc::capacity);
  EXPECT_THAT(summary.error().message, testing::StartsWith("task 0 of flow \"t\": the log takes no epoch of one row's outputs and state alone: epoch: has 10"));
  EXPECT_LE(on.refused, 4U);
}

TEST_F(FlowSafety, BuriesARecordThatIsLargerThanItsTopicTakes) {
  picky_log on(rig.on(), SIZE_MAX, true);
  on.record_bytes_max = 2'000;
  rig.flow(yaml("event.avsc", "  a: {plugin: passthrough, in: {in: events}}\n", "a.out"));
  rig.give("events", {event("e1", "ana", 1), event("e2", "ana", 2, padded(0, 3'000)), event("e3", "ana", 3)});
  const auto summary = run_worker(std::make_shared<const graph>(rig.checked()), on, rig.options());
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_THAT(rig.records("out"), SizeIs(2));
  EXPECT_THAT(rig.dead_letters(), ElementsAre("out:too_large"));
  EXPECT_EQ(on.refused, 0U);
}

TEST_F(FlowSafety, LoadsATableThatIsLargerThanAnEpochMayBe) {
  topics = "  consent: {schema: " + schemas +
           "/consent.avsc, subject: subject_id, key: [subject_id, purpose], event_time: at, role: table, partitions: 1}\n";
  out_options += "purpose: ServicePersonalisation, ";
  rig.flow(yaml("event.avsc", "  consent: {plugin: consent_filter, in: {events: events, decisions: consent}}\n", "consent.allowed",
                "run: {commit_interval: 3s}\n"));
  std::vector<std::string> decisions;
  for (int i = 0; i < 6'000; ++i) {
    decisions.push_back(R"({"subject_id":")" + padded(i, 2'000) + R"(","purpose":"ServicePersonalisation","decision":"granted","at":1})");
  }
  rig.give("consent", decisions);
  rig.give("events", {event("first", padded(0, 2'000), 5), event("last", padded(5'999, 2'000), 5), event("nobody", "x", 5)});
  rig.run();
  EXPECT_THAT(rig.records("out"), SizeIs(2)) << rig.findings();
}

TEST_F(FlowSafety, MakesBatchesSmallerWhoseStateDoesNotFit) {
  rig.flow(yaml("event.avsc", "  hoard: {plugin: hoarder, in: {texts: events}}\n", "hoard.out", "run: {commit_interval: 3s}\n"));
  std::vector<std::string> rows;
  for (int i = 0; i < 40; ++i) rows.push_back(event("e" + std::to_string(i), "ana", i, i % 10 == 5 ? "keep 6" : "keep 1"));
  rig.give("events", rows);
  const auto summary = rig.run();
  EXPECT_EQ(summary.records_out, 40U);
  EXPECT_THAT(rig.dead_letters(), IsEmpty());
}

TEST_F(FlowSafety, BuriesTheOneRowWhoseStateNeverFits) {
  rig.flow(yaml("event.avsc", "  hoard: {plugin: hoarder, in: {texts: events}}\n", "hoard.out"));
  rig.give("events", {event("e1", "ana", 1, "keep 1"), event("e2", "ana", 2, "keep 9"), event("e3", "ana", 3, "keep 1")});
  const auto summary = rig.run();
  EXPECT_EQ(summary.records_out, 2U);
  EXPECT_THAT(rig.dead_letters(), ElementsAre("hoard:bad_output"));
}

TEST_F(FlowSafety, BuriesRowsThatAskForRetriesForEverAndKeepsTheOrderOfTheRest) {
  rig.flow(yaml("event.avsc", "  hoard: {plugin: hoarder, in: {texts: events}, attempts_max: 2, retry: 1ms}\n", "hoard.out"));
  std::vector<std::string> rows;
  for (int i = 0; i < 64; ++i) rows.push_back(event("e" + std::to_string(i), "ana", i, i % 8 == 0 ? "retry" : "ok"));
  rig.give("events", rows);
  rig.run();
  EXPECT_THAT(rig.dead_letters(), testing::AllOf(SizeIs(8), Each("hoard:retries_exhausted")));
  std::vector<std::int64_t> times;
  for (const auto& r : rig.raw("out", 0)) times.push_back(r.timestamp_ms);
  EXPECT_THAT(times, SizeIs(56));
  EXPECT_TRUE(std::is_sorted(times.begin(), times.end()));
}

TEST_F(FlowSafety, TakesACallThatGaveUpUnaskedForAFailure) {
  rig.flow(yaml("event.avsc", "  hoard: {plugin: hoarder, in: {texts: events}}\n", "hoard.out"));
  rig.give("events", {event("e1", "ana", 1, "ok"), event("e2", "ana", 2, "cancel"), event("e3", "ana", 3, "ok")});
  const auto summary = rig.run();
  EXPECT_EQ(summary.stopped_because, "idle");
  EXPECT_THAT(rig.records("out"), SizeIs(2));
  EXPECT_THAT(rig.dead_letters(), ElementsAre("hoard:bad_output"));
}

TEST_F(FlowSafety, CountsForAPluginHoweverOftenItDoes) {
  metrics observe;
  rig.options().observe = &observe;
  rig.flow(yaml("counted.avsc", "  tally: {plugin: counter, in: {events: events}}\n", "tally.out", "run: {commit_interval: 3s}\n"));
  std::vector<std::string> rows(66'000, event("e", "ana", 1));
  rig.give("events", rows);
  const auto summary = rig.run();
  EXPECT_EQ(summary.records_out, 66'000U);
  EXPECT_EQ(observe.value_of("sonder_counter_events_total", {"later"}), 65'999.0);
  EXPECT_EQ(observe.value_of("sonder_counter_greatest", {}), 66'000.0);
}

TEST_F(FlowSafety, BuriesARowWhoseSubjectIsTooLongForAStoresKey) {
  rig.flow(yaml("counted.avsc", "  tally: {plugin: counter, in: {events: events}}\n", "tally.out"));
  rig.give("events", {event("e1", "ana", 1), event("e2", std::string(5'000, 's'), 2), event("e3", "ana", 3)});
  rig.run();
  EXPECT_THAT(rig.records("out"), SizeIs(2));
  EXPECT_THAT(rig.dead_letters(), ElementsAre("tally:bad_output"));
}

TEST_F(FlowSafety, SealsNoRecordThatIsTooLargeForADeadLetter) {
  rig.flow(yaml("event.avsc", "  through: {plugin: passthrough, in: {in: events}}\n", "through.out",
                "secrets: {q: {file: quarantine}}\nquarantine_key: q\n"));
  rig.give_raw("events", 0, "k", std::string((16 << 20) - 1, 'x'));
  rig.give("events", {event("e1", "ana", 1)});
  const auto summary = rig.run();
  EXPECT_EQ(summary.records_out, 1U);
  EXPECT_THAT(rig.records("dead_letter"), ElementsAre(testing::AllOf(HasSubstr(R"("cause":"not_framed")"), HasSubstr(R"("sealed":null)"))));
}

TEST_F(FlowSafety, KeepsAnEmptyKeyOfACompactedTopic) {
  out_options = "key: event_id, partitions: 1, compact: true, ";
  rig.flow(yaml("counted.avsc", "  tally: {plugin: counter, in: {events: events}}\n", "tally.out"));
  rig.give("events", {event("", "ana", 1), event("e2", "ana", 2)});
  const auto summary = rig.run();
  EXPECT_EQ(summary.records_out, 2U);
  EXPECT_EQ(summary.epochs_discarded, 0U);
}

TEST_F(FlowSafety, EncodesAKeyThatIsNoText) {
  out_options = "key: count, partitions: 1, ";
  rig.flow(yaml("counted.avsc", "  tally: {plugin: counter, in: {events: events}}\n", "tally.out"));
  ASSERT_THAT(rig.findings(), testing::Not(HasSubstr("error"))) << rig.findings();
  rig.give("events", {event("e1", "ana", 1), event("e2", "ana", 2)});
  rig.run();
  std::vector<std::string> keys;
  for (const auto& r : rig.raw("out", 0)) keys.emplace_back(as_text(r.key));
  EXPECT_THAT(keys, ElementsAre("\x02", "\x04"));  // Avro longs
}

TEST_F(FlowSafety, StampsRecordsInMillisecondsWhateverTheUnitOfTheirTime) {
  event_schema = "fine.avsc";
  out_options = "key: event_id, event_time: at, partitions: 1, ";
  rig.flow(yaml("fine.avsc", "  through: {plugin: passthrough, in: {in: events}}\n", "through.out"));
  rig.give("events", {event("e1", "ana", 5'000'000)});
  rig.run();
  ASSERT_THAT(rig.raw("out", 0), SizeIs(1)) << rig.findings();
  EXPECT_EQ(rig.raw("out", 0)[0].timestamp_ms, 5'000);
}

TEST_F(FlowSafety, BuriesWhatATimerBehindEmittedRowsMade) {
  // first emits each event's subject; second counts those and says when one was idle; bad fails on what it says.
  out_options = "partitions: 1, ";
  rig.flow(yaml("lengths.avsc",
                "  first: {plugin: counter, in: {events: events}, config: {milestone: 1}}\n"
                "  second: {plugin: counter, in: {events: first.milestones}, config: {idle_ms: 10}}\n"
                "  bad: {plugin: misbehaving, in: {texts: {from: second.idle, fields: {text: subject_id}}}, config: {how: bad_records, when: ana}}\n",
                "bad.out"));
  ASSERT_THAT(rig.findings(), testing::Not(HasSubstr("error"))) << rig.findings();
  rig.give("events", {event("e1", "ana", 100), event("e2", "ben", 200), event("e3", "cleo", 300)});
  rig.run();
  EXPECT_THAT(rig.dead_letters(), ElementsAre("bad:plugin_failed"));
  EXPECT_THAT(rig.records("out"), ElementsAre(R"({"length":3})"));
}

TEST_F(FlowSafety, LearnsASchemaWhoseIdCameBeforeIt) {
  rig.flow(yaml("event.avsc", "  through: {plugin: passthrough, in: {in: events}}\n", "through.out", "run: {commit_interval: 5ms}\n"));
  rig.give("events", {event("e1", "ana", 1)});
  const auto value = std::string(as_text(rig.raw("events", 0).at(0).value));
  const auto body = value.substr(5);
  rig.run();
  auto registry = open_log_registry(rig.on());
  ASSERT_TRUE(registry);
  const auto known = parse_schema(schema_of("event", subject_and_text + "," + field_of("at", millis) + "," + field_of("more", text_type)));
  const auto next = parse_schema(schema_of("event", subject_and_text + "," + field_of("at", millis) + "," + field_of("most", text_type)));
  ASSERT_TRUE(known && next);
  const auto id = (*registry)->register_schema("other", **known);
  ASSERT_TRUE(id);
  const auto framed = [&](const std::string& rest) {
    buffer frame;
    append_frame(*id + 1, frame);
    return std::string(as_text({frame.data(), frame.size()})) + rest;
  };
  std::atomic<int> stop{0};
  rig.options().until_idle = false;
  rig.options().stop = &stop;
  std::thread worker([&] { EXPECT_TRUE(rig.try_run()); });
  const auto wait_for = [&](const std::string& topic, std::size_t count) {
    for (int i = 0; i < 500 && rig.raw(topic, 0).size() < count; ++i) std::this_thread::sleep_for(milliseconds(10));
    return rig.raw(topic, 0).size();
  };
  rig.give_raw("events", 0, "k", framed("before its schema"));
  EXPECT_EQ(wait_for("dead_letter", 1), 1U);
  EXPECT_EQ(*(*registry)->register_schema("another", **next), *id + 1);
  rig.give_raw("events", 0, "k", framed(body + std::string(1, '\0')));
  EXPECT_EQ(wait_for("out", 2), 2U);
  stop = 1;
  worker.join();
  EXPECT_THAT(rig.dead_letters(), ElementsAre("source:unknown_schema"));
}

TEST_F(FlowSafety, IsIdleWhileOnlyACycleGoesOn) {
  topics = "  loop: {schema: event.avsc, partitions: 1, feedback: true, labels: {key: none}, carries: [behaviour, quasi_identifier]}\n";
  rig.flow(yaml("event.avsc",
                "  through: {plugin: passthrough, in: {in: events}}\n"
                "  round: {plugin: passthrough, in: {in: loop}}\n",
                "through.out\n  loop: round.out", "run: {commit_interval: 5ms}\n"));
  ASSERT_THAT(rig.findings(), testing::Not(HasSubstr("error"))) << rig.findings();
  rig.give("loop", {event("again", "ana", 1)});
  rig.give("events", {event("e1", "ana", 1)});
  const auto ended = run_and_stop(milliseconds(10'000));
  ASSERT_TRUE(ended) << ended.error().message;
  EXPECT_EQ(ended->stopped_because, "idle");
  EXPECT_THAT(rig.records("out"), SizeIs(1));
}

TEST_F(FlowSafety, IsIdleWhileOnlyAClockGoesOn) {
  rig.flow(yaml("event.avsc", "  hoard: {plugin: hoarder, in: {texts: events}}\n", "hoard.out", "run: {commit_interval: 5ms}\n"));
  rig.give("events", {event("e1", "ana", 1, "tick")});
  const auto ended = run_and_stop(milliseconds(10'000));
  ASSERT_TRUE(ended) << ended.error().message;
  EXPECT_EQ(ended->stopped_because, "idle");
  EXPECT_THAT(rig.records("out"), SizeIs(1));
}

TEST_F(FlowSafety, FiresTimersOfProcessingTimeOnceAndNotBeforeTheyAreDue) {
  rig.file("echo.avsc", schema_of("echo", field_of("event_id", text_type) + "," + field_of("text", text_type)));
  rig.flow(yaml("echo.avsc", "  hoard: {plugin: hoarder, in: {texts: events}}\n", "hoard.echoes", "run: {commit_interval: 5ms}\n"));
  std::atomic<std::int64_t> now_ms{1'000'000};
  rig.options().clock = [&] { return now_ms.load(); };
  rig.give("events", {event("e1", "ana", 1, "alarm 1000500"), event("e2", "ben", 2, "alarm 1002000")});
  run_while([&] {
    // An alarm for just now shows that the clock was looked at, and that nothing else was due then.
    now_ms = 1'000'499;
    rig.give("events", {event("e3", "cleo", 3, "alarm 1000499")});
    EXPECT_TRUE(comes_to("out", 1));
    now_ms = 1'000'500;
    EXPECT_TRUE(comes_to("out", 2));
  });
  // It stays set while no worker runs.
  rig.reopen();
  now_ms = 1'002'007;
  run_while([&] { EXPECT_TRUE(comes_to("out", 3)); });
  rig.run();
  EXPECT_THAT(rig.records("out"), ElementsAre(R"({"event_id":"e1","text":"rang at 1000500"})",
                                              R"({"event_id":"e2","text":"rang at 1002007"})",
                                              R"({"event_id":"e3","text":"rang at 1000499"})"));
}

TEST_F(FlowSafety, FiresTimersOfProcessingTimeOnceAndNoLaterThanTheClockHasGoneBack) {
  rig.file("echo.avsc", schema_of("echo", field_of("event_id", text_type) + "," + field_of("text", text_type)));
  rig.flow(yaml("echo.avsc", "  hoard: {plugin: hoarder, in: {texts: events}}\n", "hoard.echoes", "run: {commit_interval: 5ms}\n"));
  std::atomic<std::int64_t> now_ms{1'000'600};
  rig.options().clock = [&] { return now_ms.load(); };
  // An alarm for just now shows that the clock was looked at, and what was due by then.
  const auto look_at = [&](std::int64_t time, const std::string& id, std::size_t alarms) {
    now_ms = time;
    rig.give("events", {event(id, id, 3, "alarm " + std::to_string(time))});
    EXPECT_TRUE(comes_to("out", alarms)) << id;
  };
  rig.give("events", {event("e1", "ana", 1, "alarm 1000500"), event("e2", "ben", 2, "alarm 1002000")});
  run_while([&] {
    EXPECT_TRUE(comes_to("out", 1));
    look_at(990'000, "e3", 2);
    look_at(1'000'600, "e4", 3);
    look_at(1'001'999, "e5", 4);
    now_ms = 1'002'000;
    EXPECT_TRUE(comes_to("out", 5));
    look_at(990'000, "e6", 6);
  });
  // Nor after a restart, at which nothing in memory says what has fired.
  rig.reopen();
  run_while([&] {
    look_at(980'000, "e7", 7);
    look_at(1'002'000, "e8", 8);
  });
  EXPECT_THAT(rig.records("out"),
              ElementsAre(R"({"event_id":"e1","text":"rang at 1000600"})", R"({"event_id":"e2","text":"rang at 1002000"})",
                          R"({"event_id":"e3","text":"rang at 990000"})", R"({"event_id":"e4","text":"rang at 1000600"})",
                          R"({"event_id":"e5","text":"rang at 1001999"})", R"({"event_id":"e6","text":"rang at 990000"})",
                          R"({"event_id":"e7","text":"rang at 980000"})", R"({"event_id":"e8","text":"rang at 1002000"})"));
}

TEST_F(FlowSafety, MakesBatchesSmallerWhoseOutputsALogCannotTakeAtOnce) {
  rig.file("echo.avsc", schema_of("echo", field_of("event_id", text_type) + "," + field_of("text", text_type)));
  rig.flow(yaml("echo.avsc", "  hoard: {plugin: hoarder, in: {texts: events}}\n", "hoard.echoes"));
  rig.give("events", {event("e1", "ana", 1, "shout 30"), event("e2", "ana", 2, "shout 30"), event("e3", "ana", 3, "shout 30")});
  const auto summary = rig.run();
  EXPECT_EQ(summary.records_out, 90U) << rig.findings();
  EXPECT_THAT(rig.dead_letters(), IsEmpty());
}

TEST_F(FlowSafety, BuriesOfOneRowsOutputsThoseThatALogCannotTakeAtOnce) {
  rig.file("echo.avsc", schema_of("echo", field_of("event_id", text_type) + "," + field_of("text", text_type)));
  rig.flow(yaml("echo.avsc", "  hoard: {plugin: hoarder, in: {texts: events}}\n", "hoard.echoes"));
  rig.give("events", {event("e1", "ana", 1, "shout 70"), event("e2", "ana", 2, "shout 1")});
  const auto summary = rig.run();
  EXPECT_EQ(summary.records_out, 48U) << rig.findings();
  EXPECT_THAT(rig.dead_letters(), testing::AllOf(SizeIs(23), Each("out:too_large")));
  EXPECT_EQ(summary.epochs_discarded, 0U);
}

TEST_F(FlowSafety, GoesOnWithTheEventTimeThatItHadBeforeARestart) {
  rig.file("idle.avsc", schema_of("idle", field_of("subject_id", text_type) + "," + field_of("since_ms", R"("long")")));
  out_options = "key: subject_id, partitions: 1, ";
  rig.flow(yaml("idle.avsc", "  tally: {plugin: counter, in: {events: events}, config: {idle_ms: 500}}\n", "tally.idle"));
  ASSERT_THAT(rig.findings(), testing::Not(HasSubstr("error"))) << rig.findings();
  rig.give("events", {event("e1", "ana", 1'000), event("e2", "ben", 2'000)});
  rig.run();
  EXPECT_THAT(rig.records("out"), ElementsAre(R"({"subject_id":"ana","since_ms":1000})"));
  rig.reopen();
  rig.give("events", {event("e3", "cleo", 1'100)});
  rig.run();
  EXPECT_THAT(rig.records("out"), testing::Contains(R"({"subject_id":"cleo","since_ms":1100})"));
}

TEST_F(FlowSafety, TellsOfTimersThatItGaveUp) {
  metrics observe;
  rig.options().observe = &observe;
  rig.flow(yaml("event.avsc", "  hoard: {plugin: hoarder, in: {texts: events}}\n", "hoard.out"));
  rig.give("events", {event("e1", "ana", 1, "tock"), event("e2", "ben", 2, "tock"), event("e3", "cleo", 3)});
  const auto summary = rig.run();
  EXPECT_THAT(to_json(summary), HasSubstr(R"("timers_given_up":2)"));
  EXPECT_EQ(observe.value_of("sonder_timers_total", {"hoard", "given_up"}), 2.0);
}

}  // namespace
}  // namespace sonder
