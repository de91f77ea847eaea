#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <map>
#include <random>
#include <thread>

#include "avro/json.h"
#include "flow/flow_rig.h"
#include "flow/row_bytes.h"
#include "record/columns.h"

// Rows that a stage asks to be offered again: they wait with what follows them in their line, and nobody else does.
namespace sonder {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::SizeIs;

std::int64_t system_ms() {
  return std::chrono::duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

class FlowParking : public testing::Test {
 protected:
  FlowParking() {
    schemas = shipped_schemas();
    rig.file("event.avsc", plain_event_schema);
    rig.file("counted.avsc", counted_schema);
  }

  std::string yaml(const std::string& out_schema, const std::string& stages, const std::string& from,
                   const std::string& run = "") const {
    return "flow: t\nlog: {kind: embedded, dir: data}\ntopics:\n"
           "  events: {schema: event.avsc, subject: subject_id, event_time: at, partitions: 1}\n"
           "  consent: {schema: " + schemas + "/consent.avsc, subject: subject_id, key: [subject_id, purpose], event_time: at, role: table, partitions: 1}\n"
           "  out: {schema: " + out_schema + ", key: event_id, partitions: 1, " + out_options + "carries: [behaviour, quasi_identifier]}\n"
           "  dead_letter: {schema: " + schemas + "/dead_letter.avsc, partitions: 1}\n"
           "stages:\n" + stages + "sinks:\n  out: " + from + "\nrun: {commit_interval: 5ms" + run + "}\n";
  }
  std::string hoard(const std::string& more, const std::string& run = "") const {
    return yaml("event.avsc", "  hoard: {plugin: hoarder, in: {texts: events}, " + more + "}\n", "hoard.out", run);
  }
  /// Through the consent authority, then the hoarder for the service's purpose, to a sink for research.
  std::string asked_hoard(const std::string& more) {
    out_options = "purpose: AcademicResearch, ";
    return yaml("event.avsc",
                "  consent: {plugin: consent_filter, in: {events: events, decisions: consent}}\n"
                "  hoard: {plugin: hoarder, in: {texts: consent.allowed}, purpose: ServicePersonalisation, " + more + "}\n",
                "hoard.out");
  }

  /// Keys of the records of `out` in their order.
  std::vector<std::string> ids() {
    std::vector<std::string> all;
    for (const auto& r : rig.raw("out", 0)) all.emplace_back(as_text(r.key));
    return all;
  }

  const port_counts& port(const run_summary& summary, const std::string& node) {
    for (const auto& p : summary.ports) {
      if (p.node == node && !p.table) return p;
    }
    throw std::runtime_error("no node " + node);
  }

  run_summary run_for(milliseconds time) {
    std::atomic<int> stop{0};
    rig.options().stop = &stop;
    std::thread stopper([&] {
      std::this_thread::sleep_for(time);
      stop = 1;
    });
    auto ended = rig.try_run();
    stopper.join();
    rig.options().stop = nullptr;
    if (!ended) throw std::runtime_error(ended.error().message);
    return *ended;
  }
  void later_by(std::int64_t ms) {
    rig.options().clock = [ms] { return system_ms() + ms; };
  }

  flow_rig rig;
  std::string schemas;
  std::string out_options;
};

TEST_F(FlowParking, RefusesAFlowWithoutTheStageThatRowsWaitFor) {
  rig.flow(hoard("retry: 1h, retry_max: 1h"));
  rig.give("events", {event("a1", "ana", 1, "retry 1"), event("b1", "ben", 2)});
  run_for(milliseconds(300));
  rig.flow(yaml("event.avsc", "  renamed: {plugin: hoarder, in: {texts: events}}\n", "renamed.out"));
  rig.give("events", {event("c1", "cleo", 3)});
  const auto refused = rig.try_run();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, errc::invalid);
  EXPECT_THAT(refused.error().message, HasSubstr("rows wait for stage \"hoard\", which the flow has no more (task 0: 1 of them)"));
  EXPECT_THAT(refused.error().message, HasSubstr("run: {bury_parked_of: [hoard]}"));
  EXPECT_THAT(ids(), ElementsAre("b1"));
  rig.flow(hoard("retry: 1h, retry_max: 1h"));
  later_by(7'200'000);
  rig.run();
  EXPECT_THAT(ids(), testing::UnorderedElementsAre("a1", "b1", "c1"));
}

TEST_F(FlowParking, GivesUpRowsOfAStageThatTheFlowHasNoMoreWhereItIsToldTo) {
  rig.flow(hoard("retry: 1h, retry_max: 1h"));
  rig.give("events", {event("a1", "ana", 1, "retry 1"), event("a2", "ana", 2), event("b1", "ben", 3)});
  run_for(milliseconds(300));
  const auto without = [&](const std::string& run) {
    rig.flow(yaml("event.avsc", "  renamed: {plugin: hoarder, in: {texts: events}}\n", "renamed.out", run));
    return rig.run();
  };
  without(", bury_parked_of: [hoard]");
  EXPECT_THAT(rig.dead_letters(), ElementsAre("hoard:flow_changed", "hoard:flow_changed"));
  EXPECT_THAT(ids(), ElementsAre("b1"));
  without("");
  EXPECT_THAT(rig.dead_letters(), SizeIs(2));
}

TEST_F(FlowParking, LetsOthersGoOnWhileARowAndWhatFollowsItWait) {
  rig.flow(hoard("retry: 20ms"));
  rig.give("events", {event("a1", "ana", 1, "retry 2"), event("b1", "ben", 2), event("a2", "ana", 3), event("b2", "ben", 4),
                      event("a3", "ana", 5, "retry 1")});
  const auto summary = rig.run();
  EXPECT_THAT(ids(), ElementsAre("b1", "b2", "a1", "a2", "a3")) << rig.findings();
  EXPECT_EQ(port(summary, "hoard").in, 5U);
  EXPECT_EQ(port(summary, "hoard").passed, 5U);
  EXPECT_EQ(port(summary, "hoard").parked, 3U);
  EXPECT_THAT(to_json(summary), HasSubstr(R"("parked":3)"));
}

TEST_F(FlowParking, MovesTheOffsetOnAndKeepsTheRowsOverACrash) {
  rig.flow(hoard("retry: 1m, retry_max: 1m"));
  rig.give("events", {event("a1", "ana", 1, "retry 1"), event("b1", "ben", 2), event("a2", "ana", 3)});
  const auto first = run_for(milliseconds(300));
  EXPECT_EQ(port(first, "hoard").in, 1U);
  EXPECT_EQ(port(first, "hoard").parked, 2U);
  EXPECT_EQ(rig.on().committed("t", "events")->at(0), 3);
  EXPECT_THAT(ids(), ElementsAre("b1"));
  rig.reopen();
  later_by(120'000);
  const auto second = rig.run();
  EXPECT_THAT(ids(), ElementsAre("b1", "a1", "a2"));
  EXPECT_EQ(port(second, "hoard").in, 2U);
  EXPECT_THAT(rig.run().records_out, 0U);
}

TEST_F(FlowParking, WaitsNoLongerThanABackOffWhereTheClockGoesBack) {
  rig.flow(hoard("retry: 1s, retry_max: 1s"));
  rig.give("events", {event("a1", "ana", 1, "retry 1"), event("b1", "ben", 2), event("a2", "ana", 3)});
  later_by(50 * 3'600'000);
  const auto first = run_for(milliseconds(300));
  EXPECT_EQ(port(first, "hoard").parked, 2U);
  later_by(0);
  run_for(milliseconds(3'000));
  EXPECT_THAT(ids(), ElementsAre("b1", "a1", "a2"));
}

TEST_F(FlowParking, WaitsLongerAfterEachAttemptAndThenBuriesTheRowAlone) {
  rig.flow(hoard("retry: 10ms, retry_max: 40ms, attempts_max: 4"));
  rig.give("events", {event("a1", "ana", 1, "retry"), event("a2", "ana", 2)});
  const auto began = std::chrono::steady_clock::now();
  const auto summary = rig.run();
  EXPECT_GE(std::chrono::steady_clock::now() - began, milliseconds(10 + 20 + 40));
  EXPECT_THAT(ids(), ElementsAre("a2"));
  EXPECT_THAT(port(summary, "hoard").dead_lettered, ElementsAre(Pair("retries_exhausted", 1)));
  EXPECT_THAT(rig.records("dead_letter"), ElementsAre(HasSubstr(R"("offset":0)")));
}

TEST_F(FlowParking, AsksForConsentAgainBeforeARowComesBack) {
  rig.flow(asked_hoard("retry: 1m, retry_max: 1m"));
  rig.give("consent", {decision("ana", "granted", 1), decision("ana", "granted", 1, "AcademicResearch"), decision("ben", "granted", 1),
                       decision("ben", "granted", 1, "AcademicResearch"), decision("cleo", "granted", 1),
                       decision("cleo", "granted", 1, "AcademicResearch")});
  rig.give("events", {event("a1", "ana", 50, "retry 1"), event("b1", "ben", 51, "retry 1"), event("c1", "cleo", 52, "retry 1")});
  EXPECT_EQ(port(run_for(milliseconds(300)), "hoard").parked, 3U) << rig.findings();
  // Ana withdraws everything, Ben the stage's purpose only: nobody may look at his row any more, yet it goes to its sink.
  rig.give("consent", {decision("ana", "withdrawn", 60), decision("ana", "withdrawn", 60, "AcademicResearch"), decision("ben", "withdrawn", 60)});
  later_by(120'000);
  const auto summary = rig.run();
  EXPECT_THAT(port(summary, "hoard").dropped, ElementsAre(Pair("no_consent", 1)));
  EXPECT_EQ(port(summary, "hoard").withheld, 1U);
  EXPECT_EQ(port(summary, "hoard").in, 3U);
  EXPECT_THAT(ids(), ElementsAre("b1", "c1"));
}

TEST_F(FlowParking, IsNotAllowedMoreByWhatWasAgreedToWhileARowWaited) {
  rig.flow(asked_hoard("retry: 1m, retry_max: 1m"));
  rig.give("consent", {decision("ana", "granted", 1), decision("ben", "granted", 1), decision("ben", "granted", 1, "AcademicResearch")});
  rig.give("events", {event("a1", "ana", 50, "retry 1"), event("b1", "ben", 50, "retry 1")});
  EXPECT_EQ(port(run_for(milliseconds(300)), "hoard").parked, 2U) << rig.findings();
  rig.give("consent", {decision("ana", "granted", 60, "AcademicResearch"), decision("ben", "withdrawn", 60), decision("ben", "granted", 61)});
  later_by(120'000);
  const auto summary = rig.run();
  EXPECT_THAT(port(summary, "out").dropped, ElementsAre(Pair("no_consent", 1)));
  EXPECT_EQ(port(summary, "hoard").withheld, 1U) << "a grant after a withdrawal does not reach back";
  EXPECT_THAT(ids(), ElementsAre("b1"));
}

TEST_F(FlowParking, LetsEachTimerDoWhatItsOwnSubjectAgreedTo) {
  rig.file("echo.avsc", R"({"type":"record","name":"echo","fields":[
    {"name":"event_id","type":"string","sonder.privacy":{"categories":[]}},{"name":"text","type":"string","sonder.privacy":{"categories":[]}}]})");
  out_options = "purpose: AcademicResearch, ";
  rig.flow(yaml("echo.avsc",
                "  consent: {plugin: consent_filter, in: {events: events, decisions: consent}}\n"
                "  hoard: {plugin: hoarder, in: {texts: consent.allowed}, purpose: ServicePersonalisation}\n",
                "hoard.echoes"));
  // Ana's is due first, and is of the kind that is called last.
  rig.give("consent", {decision("ana", "granted", 1), decision("ana", "granted", 1, "AcademicResearch"), decision("ben", "granted", 1)});
  rig.give("events", {event("a1", "ana", 5, "chime first"), event("b1", "ben", 6, "chime second"), event("a2", "ana", 100)});
  const auto summary = rig.run();
  EXPECT_THAT(ids(), ElementsAre("a1")) << rig.findings();
  EXPECT_THAT(port(summary, "out").dropped, ElementsAre(Pair("no_consent", 1)));
}

TEST_F(FlowParking, TakesNoMoreEventsWhereAsManyWaitAsMay) {
  rig.flow(hoard("retry: 1m, retry_max: 1m", ", parked_max: 2"));
  rig.give("events", {event("a1", "ana", 1, "retry 1"), event("b1", "ben", 2, "retry 1"), event("c1", "cleo", 3), event("d1", "dan", 4)});
  run_for(milliseconds(300));
  EXPECT_EQ(rig.on().committed("t", "events")->at(0), 2);
  EXPECT_THAT(ids(), IsEmpty());
  later_by(120'000);
  rig.run();
  EXPECT_THAT(ids(), ElementsAre("a1", "b1", "c1", "d1"));
}

TEST_F(FlowParking, TakesNoMoreEventsWhereAsManyBytesWaitAsMay) {
  rig.flow(hoard("retry: 1m, retry_max: 1m", ", batch_rows: 1, parked_size_max: 1MiB"));
  const auto large = "retry 1" + std::string(600'000, ' ');
  rig.give("events", {event("a1", "ana", 1, large), event("b1", "ben", 2)});
  run_for(milliseconds(500));
  EXPECT_EQ(rig.on().committed("t", "events")->at(0), 1) << "its record and its columns are more than 1 MiB";
  later_by(120'000);
  rig.run();
  EXPECT_THAT(ids(), ElementsAre("a1", "b1"));
}

TEST_F(FlowParking, BringsBackWhatEarlierStagesMadeAndRunsThemOnce) {
  rig.flow(yaml("counted.avsc",
                "  tally: {plugin: counter, in: {events: events}}\n"
                "  hoard: {plugin: hoarder, in: {texts: tally.out}, retry: 5ms}\n",
                "hoard.out"));
  rig.give("events", {event("a1", "ana", 1, "retry 1"), event("a2", "ana", 2), event("b1", "ben", 3)});
  const auto summary = rig.run();
  EXPECT_THAT(rig.records("out"), ElementsAre(R"({"event_id":"a1","count":1})", R"({"event_id":"a2","count":2})", R"({"event_id":"b1","count":1})"));
  EXPECT_EQ(port(summary, "tally").in, 3U);
}

TEST_F(FlowParking, BuriesARowThatTheChangedFlowHasNoPlaceFor) {
  rig.flow(hoard("retry: 1m, retry_max: 1m"));
  rig.give("events", {event("a1", "ana", 1, "retry 1"), event("a2", "ana", 2)});
  EXPECT_EQ(port(run_for(milliseconds(300)), "hoard").parked, 2U);
  rig.flow(yaml("event.avsc",
                "  tally: {plugin: counter, in: {events: events}}\n"
                "  hoard: {plugin: hoarder, in: {texts: tally.out}}\n",
                "hoard.out"));
  later_by(120'000);
  const auto summary = rig.run();
  EXPECT_THAT(port(summary, "hoard").dead_lettered, ElementsAre(Pair("flow_changed", 2)));
  EXPECT_THAT(rig.records("dead_letter"), ElementsAre(HasSubstr(R"("offset":0)"), HasSubstr(R"("offset":1)")));
}

TEST_F(FlowParking, KeepsEachSubjectsOrderAndEveryRowWhateverIsTriedAgain) {
  const auto* given = std::getenv("SONDER_SEED");
  const auto seed = given == nullptr ? std::random_device{}() : static_cast<unsigned>(std::stoul(given));
  SCOPED_TRACE("SONDER_SEED=" + std::to_string(seed));
  std::mt19937 random(seed);
  rig.flow(hoard("retry: 1ms, retry_max: 4ms, attempts_max: 4", ", batch_rows: 7, parked_max: 40"));
  std::vector<std::string> rows;
  std::map<std::string, std::vector<std::string>> expected;
  std::size_t buried = 0;
  for (int i = 0; i < 400; ++i) {
    const auto subject = "s" + std::to_string(random() % 12);
    const auto id = subject + "/" + std::to_string(i);
    const auto asks = random() % 4 == 0 ? random() % 5 : 0;
    rows.push_back(event(id, subject, i + 1, asks == 0 ? "ok" : "retry " + std::to_string(asks)));
    asks == 4 ? ++buried : (expected[subject].push_back(id), 0);
  }
  rig.give("events", rows);
  const auto summary = rig.run();
  std::map<std::string, std::vector<std::string>> got;
  for (const auto& id : ids()) got[id.substr(0, id.find('/'))].push_back(id);
  EXPECT_EQ(got, expected);
  EXPECT_EQ(port(summary, "hoard").in, 400U);
  EXPECT_THAT(rig.records("dead_letter"), SizeIs(buried));
}

TEST(RowBytes, HoldAValueOfEachTypeAndRefuseWhatIsCutShort) {
  const auto of = parse_schema(R"({"type":"record","name":"r","fields":[
    {"name":"b","type":"boolean"},{"name":"i","type":["null","int"]},{"name":"l","type":"long"},{"name":"f","type":"float"},
    {"name":"d","type":"double"},{"name":"s","type":"string"},{"name":"x","type":"bytes"},
    {"name":"e","type":{"type":"enum","name":"e","symbols":["p","q"]}},
    {"name":"fx","type":{"type":"fixed","name":"fx","size":3}},
    {"name":"li","type":{"type":"array","items":["null","string"]}},
    {"name":"m","type":{"type":"map","values":"int"}},
    {"name":"n","type":["null",{"type":"record","name":"n","fields":[{"name":"a","type":"string"},{"name":"z","type":["null","long"]}]}]},
    {"name":"u","type":["string","int"]}]})");
  ASSERT_TRUE(of) << of.error().message;
  const auto fields = column_fields(**of);
  columns rows{fields};
  json_row_reader reader(*of);
  for (const auto* row :
       {R"({"b":true,"i":null,"l":-5,"f":0.5,"d":2.25,"s":"text","x":"ab","e":"q","fx":"abc","li":["a",null,""],"m":{"k":1,"j":2},"n":{"a":"in","z":7},"u":{"int":3}})",
        R"({"b":false,"i":9,"l":5,"f":-0.5,"d":0,"s":"","x":"","e":"p","fx":"xyz","li":[],"m":{},"n":null,"u":{"string":"word"}})"}) {
    const auto read = reader.append(row, rows);
    ASSERT_TRUE(read) << read.error().message;
  }
  for (std::size_t c = 0; c < fields.size(); ++c) {
    auto nullable = fields[c];
    nullable.nullable = true;
    column back(nullable);
    for (std::int64_t r = 0; r < rows.length(); ++r) {
      std::string bytes;
      append_value(rows[c].lend(), r, fields[c].type, bytes);
      auto from = as_bytes(bytes);
      ASSERT_TRUE(take_value(from, fields[c].type, back)) << fields[c].name;
      EXPECT_TRUE(from.empty()) << fields[c].name;
      std::string before, after;
      append_json_row({&fields[c], 1}, std::vector{&rows[c].lend()}, r, before);
      append_json_row({&nullable, 1}, std::vector{&back.lend()}, r, after);
      EXPECT_EQ(before, after);
      column cut(nullable);
      auto shorter = as_bytes(bytes).first(bytes.size() - 1);
      EXPECT_FALSE(take_value(shorter, fields[c].type, cut)) << fields[c].name;
    }
  }
}

}  // namespace
}  // namespace sonder
