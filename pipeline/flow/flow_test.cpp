#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <thread>

#include "avro/decode_plan.h"
#include "avro/framing.h"
#include "flow/dead_letter_seal.h"
#include "flow/flow_rig.h"
#include "flow/forwarding_log_rig.h"
#include "flow/schema_notes.h"

namespace sonder {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::SizeIs;
using testing::UnorderedElementsAre;

constexpr auto lengths_schema = R"({"type":"record","name":"lengths","fields":[
  {"name":"event_id","type":"string","sonder.privacy":{"categories":[]}},
  {"name":"length","type":"long","sonder.privacy":{"categories":[]}}]})";

/// A log whose first commits fail, as on a broken disk.
class failing_log final : public forwarding_log {
 public:
  failing_log(log& behind, int failures) : forwarding_log(behind), failures_(failures) {}

  status commit(const epoch_changes& epoch) override {
    if (!epoch.produced.empty() && failures_-- > 0) return fail(errc::io, "input/output error");
    return forwarding_log::commit(epoch);
  }

 private:
  int failures_;
};

/// Counts the questions for the end of a topic, and what is taken of it.
class asked_log final : public forwarding_log {
 public:
  asked_log(log& behind, std::string_view of) : forwarding_log(behind), of_(of) {}

  result<offset_range> offsets(std::string_view topic, std::int32_t partition) override {
    if (topic == of_) ++asked;
    return forwarding_log::offsets(topic, partition);
  }
  status fetch(std::string_view topic, std::int32_t partition, std::int64_t from, const fetch_limits& limits,
               record_block& into) override {
    auto done = forwarding_log::fetch(topic, partition, from, limits, into);
    if (topic == of_) taken += static_cast<int>(into.records.size());
    return done;
  }

  std::atomic<int> asked{0};
  std::atomic<int> taken{0};

 private:
  std::string_view of_;
};

/// A flow of one event topic, stages as given, and the sink `out`.
class FlowTest : public testing::Test {
 protected:
  FlowTest() {
    rig.file("event.avsc", plain_event_schema);
    rig.file("counted.avsc", counted_of_subject_schema);
    rig.file("lengths.avsc", lengths_schema);
  }

  std::string yaml(const std::string& out_schema, const std::string& stages, const std::string& from,
                   const std::string& more = "") {
    return "flow: t\nlog: {kind: embedded, dir: data}\ntopics:\n"
           "  events: {schema: event.avsc, subject: subject_id, event_time: at, partitions: 2}\n"
           "  consent: {schema: " + shipped_schemas() + "/consent.avsc, subject: subject_id, key: [subject_id, purpose], event_time: at, role: table, partitions: 2}\n"
           "  out: {schema: " + out_schema + ", key: event_id, partitions: 2, " + out_options +
           "carries: [behaviour, quasi_identifier]}\n"
           "  dead_letter: {schema: " + shipped_schemas() + "/dead_letter.avsc, partitions: 1}\n"
           "stages:\n" + stages + "sinks:\n  out: " + from + "\n" + more;
  }

  flow_rig rig;
  std::string out_options;
};

TEST_F(FlowTest, FollowsATableWithoutAskingForItsEndWhileNoEventIsToBeDecided) {
  rig.flow(yaml("event.avsc", "  consent: {plugin: consent_filter, in: {events: events, decisions: consent}}\n", "consent.allowed"));
  asked_log counts(rig.on(), "consent");
  std::atomic<int> stop{0};
  rig.options().until_idle = false;
  rig.options().stop = &stop;
  // Looks at an idle task come at each report at least, ten a second; the decision comes when the worker has been idle for a while.
  int reports = 0;
  rig.options().progress = [&](const worker_progress&) {
    ++reports;
    if (reports == 5) rig.give("consent", {decision("ana", "granted", 10)});
    if (counts.taken == 1 || reports == 100) stop = 1;
  };
  const auto summary = rig.try_run_on(counts);
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_EQ(counts.taken, 1);
  EXPECT_EQ(counts.asked, 4);  // by each task: when it was opened, having no offset yet, and when it began
}

TEST_F(FlowTest, ForwardsTheOriginalBytesOfARecordThatNoStageChanged) {
  rig.flow(yaml("event.avsc", "  through: {plugin: passthrough, in: {in: events}}\n", "through.out"));
  ASSERT_THAT(rig.findings(), testing::Not(HasSubstr("error"))) << rig.findings();
  rig.give("events", {event("e1", "ana", 1'000), event("e2", "ben", 2'000)});
  const auto summary = rig.run();
  EXPECT_EQ(summary.records_out, 2U);
  std::vector<std::string> in, out;
  for (int p = 0; p < 2; ++p) {
    for (const auto& r : rig.raw("events", p)) in.emplace_back(as_text(r.value));
    for (const auto& r : rig.raw("out", p)) out.emplace_back(as_text(r.value));
  }
  EXPECT_THAT(out, testing::UnorderedElementsAreArray(in));
}

TEST_F(FlowTest, CountsWhatAStageDropsByItsReason) {
  rig.flow(yaml("event.avsc", "  drop: {plugin: dropper, in: {in: events}, config: {every: 2}}\n", "drop.out"));
  rig.give("events", {event("e1", "ana", 1), event("e2", "ana", 2), event("e3", "ana", 3), event("e4", "ana", 4)});
  const auto summary = rig.run();
  EXPECT_EQ(port(summary, "drop", "in").in, 4U);
  EXPECT_THAT(port(summary, "drop", "in").dropped, ElementsAre(Pair("every_nth", 2)));
  EXPECT_THAT(rig.records("out"), SizeIs(2));
}

TEST_F(FlowTest, KeepsStateOverRunsAndNumbersEachSubjectsEvents) {
  rig.flow(yaml("counted.avsc", "  tally: {plugin: counter, in: {events: events}}\n", "tally.out"));
  rig.give("events", {event("e1", "ana", 1), event("e2", "ben", 2), event("e3", "ana", 3)});
  rig.run();
  rig.reopen();
  rig.give("events", {event("e4", "ana", 4)});
  rig.run();
  EXPECT_THAT(rig.records("out"),
              UnorderedElementsAre(R"({"event_id":"e1","subject_id":"ana","count":1})", R"({"event_id":"e2","subject_id":"ben","count":1})",
                                   R"({"event_id":"e3","subject_id":"ana","count":2})", R"({"event_id":"e4","subject_id":"ana","count":3})"));
}

TEST_F(FlowTest, DropsEventsOfThoseWhoDidNotAgreeBeforeThem) {
  out_options = "purpose: ServicePersonalisation, ";
  rig.flow(yaml("counted.avsc",
                "  consent: {plugin: consent_filter, in: {events: events, decisions: consent}}\n"
                "  tally: {plugin: counter, in: {events: consent.allowed}, purpose: ServicePersonalisation}\n",
                "tally.out"));
  rig.give("consent", {decision("ana", "granted", 10), decision("ben", "denied", 10), decision("cleo", "granted", 10),
                       decision("cleo", "withdrawn", 20)});
  rig.give("events", {event("e0", "ana", 5), event("e1", "ana", 50), event("e2", "ben", 50), event("e3", "cleo", 50), event("e4", "dan", 50)});
  const auto summary = rig.run();
  EXPECT_THAT(rig.records("out"), ElementsAre(R"({"event_id":"e1","subject_id":"ana","count":1})")) << rig.findings();
  EXPECT_THAT(port(summary, "consent", "events").dropped,
              UnorderedElementsAre(Pair("before_grant", 1), Pair("denied", 1), Pair("withdrawn", 1), Pair("unknown", 1)));
}

TEST_F(FlowTest, WithholdsRowsFromAStageWhosePurposeTheirSubjectsRefused) {
  // Ana agrees to both purposes, Ben to the second only: his row goes around the first stage and ends at the sink's purpose.
  out_options = "purpose: ServicePersonalisation, ";
  rig.flow(yaml("counted.avsc",
                "  consent: {plugin: consent_filter, in: {events: events, decisions: consent}}\n"
                "  tally: {plugin: counter, in: {events: consent.allowed}, purpose: ServicePersonalisation}\n"
                "  look: {plugin: peek, in: {in: tally.out}, purpose: AcademicResearch, config: {needles: [nothing-of-this]}}\n",
                "look.out"));
  rig.give("consent", {decision("ana", "granted", 1), decision("ana", "granted", 1, "AcademicResearch"),
                       decision("ben", "granted", 1, "AcademicResearch")});
  rig.give("events", {event("e1", "ana", 50), event("e2", "ben", 50)});
  const auto summary = rig.run();
  EXPECT_THAT(rig.records("out"), ElementsAre(R"({"event_id":"e1","subject_id":"ana","count":1})")) << rig.findings();
  EXPECT_EQ(port(summary, "tally", "events").withheld, 1U);
  EXPECT_THAT(port(summary, "out", "sink").dropped, ElementsAre(Pair("no_consent", 1)));
}

TEST_F(FlowTest, LendsNoByteOfAWithheldRowToAPlugin) {
  out_options = "purpose: ServicePersonalisation, ";
  rig.flow(yaml("event.avsc",
                "  consent: {plugin: consent_filter, in: {events: events, decisions: consent}}\n"
                "  look: {plugin: peek, in: {in: consent.allowed}, purpose: ServicePersonalisation, config: {needles: [ben, SECRET]}}\n",
                "look.out"));
  rig.give("consent", {decision("ana", "granted", 1), decision("ben", "granted", 1, "AcademicResearch"), decision("cleo", "denied", 1)});
  rig.give("events", {event("e1", "ana", 50, "fine"), event("e2", "ben", 51, "SECRET one"), event("e3", "cleo", 52, "SECRET two"),
                      event("e4", "ana", 53, "fine too")});
  auto summary = rig.run();
  EXPECT_EQ(port(summary, "look", "in").dropped.size(), 0U) << "a withheld byte was lent";
  EXPECT_EQ(port(summary, "look", "in").passed, port(summary, "look", "in").in);

  // The plugin does find what it may see: otherwise the above proves nothing.
  rig.give("events", {event("e5", "ana", 60, "SECRET of mine")});
  summary = rig.run();
  EXPECT_THAT(port(summary, "look", "in").dropped, ElementsAre(Pair("found", 1)));
}

TEST_F(FlowTest, DeadLettersTheOneRowThatMakesAPluginThrow) {
  rig.flow(yaml("lengths.avsc", "  bad: {plugin: misbehaving, in: {texts: events}, config: {how: throw, when: poison}}\n", "bad.out"));
  std::vector<std::string> rows;
  for (int i = 0; i < 100; ++i) rows.push_back(event("e" + std::to_string(i), "ana", i + 1, i == 63 ? "poison" : "ok"));
  rig.give("events", rows);
  const auto summary = rig.run();
  EXPECT_THAT(rig.records("out"), SizeIs(99)) << rig.findings();
  EXPECT_THAT(rig.records("out"), testing::Each(HasSubstr(R"("length":2)")));
  EXPECT_THAT(rig.dead_letters(), ElementsAre("bad:plugin_failed"));
  EXPECT_THAT(port(summary, "bad", "texts").dead_lettered, ElementsAre(Pair("plugin_failed", 1)));
}

class Misbehaviour : public FlowTest, public testing::WithParamInterface<std::pair<const char*, const char*>> {};

TEST_P(Misbehaviour, OfOneRowIsBuriedWithItsCauseAndTheOthersPass) {
  const auto [how, cause] = GetParam();
  rig.flow(yaml("lengths.avsc",
                std::string("  bad: {plugin: misbehaving, in: {texts: events}, attempts_max: 2, retry: 1ms, config: {how: ") + how + ", when: poison}}\n",
                "bad.out"));
  rig.give("events", {event("e1", "ana", 1, "ok"), event("e2", "ana", 2, "poison"), event("e3", "ana", 3, "ok")});
  rig.run();
  EXPECT_THAT(rig.records("out"), SizeIs(2)) << rig.findings();
  EXPECT_THAT(rig.dead_letters(), ElementsAre(std::string("bad:") + cause));
}

INSTANTIATE_TEST_SUITE_P(Each, Misbehaviour,
                         testing::Values(std::pair{"throw", "plugin_failed"}, std::pair{"throw_other", "plugin_failed"},
                                         std::pair{"bad_records", "plugin_failed"}, std::pair{"retry", "retries_exhausted"},
                                         std::pair{"nonsense_status", "bad_output"}, std::pair{"nonsense_verdict", "bad_output"},
                                         std::pair{"nonsense_reason", "bad_output"}, std::pair{"wrong_length", "bad_output"},
                                         std::pair{"bad_utf8", "bad_output"}, std::pair{"left_out", "bad_output"}),
                         [](const auto& each) { return std::string(each.param.first); });

TEST_F(FlowTest, SaysOnceInTheLogWhatWasWrongWithAPluginsAnswer) {
  rig.flow(yaml("lengths.avsc", "  bad: {plugin: misbehaving, in: {texts: events}, config: {how: wrong_length, when: poison}}\n", "bad.out"));
  rig.give("events", {event("e1", "ana", 1, "poison"), event("e2", "ana", 2, "poison"), event("e3", "ana", 3, "ok")});
  const auto said = rig.lines_of([&] { rig.run(); });
  EXPECT_THAT(said, HasSubstr("a plugin's row is dead-lettered"));
  EXPECT_THAT(said, HasSubstr(R"("stage":"bad","plugin":"misbehaving","cause":"bad_output","because":"column \"length\": has 2 rows, should have 1")"));
  EXPECT_EQ(said.find("is dead-lettered"), said.rfind("is dead-lettered"));
  EXPECT_THAT(said, testing::Not(HasSubstr("poison")));
}

TEST_F(FlowTest, MakesANewInstanceOnceAfterAFatalCall) {
  rig.flow(yaml("lengths.avsc", "  bad: {plugin: misbehaving, in: {texts: events}, config: {how: fatal_once}}\n", "bad.out"));
  rig.give("events", {event("e1", "ana", 1, "ok")});
  rig.run();
  EXPECT_THAT(rig.records("out"), SizeIs(1));
}

TEST_F(FlowTest, EndsTheWorkerRatherThanGoAroundAStageThatCannotRun) {
  rig.flow(yaml("lengths.avsc", "  bad: {plugin: misbehaving, in: {texts: events}, config: {how: fatal}}\n", "bad.out"));
  rig.give("events", {event("e1", "ana", 1, "ok")});
  const auto ended = rig.try_run();
  ASSERT_FALSE(ended);
  EXPECT_THAT(ended.error().message, HasSubstr("stage \"bad\": plugin misbehaving cannot go on"));
  EXPECT_THAT(rig.records("out"), IsEmpty());
  EXPECT_EQ(rig.on().committed("t", "events")->at(0), -1);
}

TEST_F(FlowTest, RefusesAPluginThatRefusesItsConfiguration) {
  rig.flow(yaml("lengths.avsc", "  bad: {plugin: misbehaving, in: {texts: events}, config: {how: bad_config}}\n", "bad.out"));
  const auto ended = rig.try_run();
  ASSERT_FALSE(ended);
  EXPECT_THAT(ended.error().message, HasSubstr("flow.yaml:9:3: stage \"bad\": plugin misbehaving does not start"));
}

TEST_F(FlowTest, EndsTheProcessWhenACallPassesItsDeadline) {
  rig.flow(yaml("lengths.avsc", "  bad: {plugin: misbehaving, in: {texts: events}, deadline: 100ms, config: {how: hang}}\n", "bad.out"));
  rig.give("events", {event("e1", "ana", 1, "ok")});
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_EXIT((void)rig.try_run(), testing::ExitedWithCode(exit_deadline_passed), "");
}

TEST_F(FlowTest, EndsTheProcessWhenAModuleOrAnInstanceIsNotMadeOrDestroyedInTime) {
  const std::map<std::string, std::string> calls = {{"hang_in_create", "module_create"},
                                                    {"hang_instance", "instance_create"},
                                                    {"hang_instance_destroy", "instance_destroy"},
                                                    {"hang_in_destroy", "module_destroy"}};
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  for (const auto& [how, call] : calls) {
    rig.flow(yaml("lengths.avsc", "  bad: {plugin: misbehaving, in: {texts: events}, deadline: 100ms, config: {how: " + how + "}}\n", "bad.out"));
    EXPECT_EXIT((void)rig.try_run(), testing::ExitedWithCode(exit_deadline_passed),
                "stage \"bad\", plugin misbehaving 1.0.0, " + call + ", deadline of 100 ms; mend or replace the plugin, or raise stages.bad.deadline");
  }
}

TEST_F(FlowTest, BuriesWhatCannotBecomeARowAndSaysWhy) {
  rig.flow(yaml("event.avsc", "  through: {plugin: passthrough, in: {in: events}}\n", "through.out"));
  rig.give("events", {event("e1", "ana", 1)});
  const auto good = std::string(as_text(rig.raw("events", murmur2_partition(as_bytes("ana"), 2)).at(0).value));
  const auto home = murmur2_partition(as_bytes("ana"), 2);
  rig.give_raw("events", 0, "k", "");
  rig.give_raw("events", 0, "k", "no frame");
  rig.give_raw("events", 0, "k", std::string("\0\0\0\x7f\x01", 5) + "body");
  rig.give_raw("events", home, "k", good.substr(0, good.size() - 1));
  rig.give_raw("events", home, "k", good + "x");
  rig.give_raw("events", 1 - home, "k", good);
  rig.give_tombstone("events", 0, "k");
  rig.give("events", {event("e2", "", 1), event("e3", "ana", 4'000'000'000'000)});
  const auto summary = rig.run();
  EXPECT_THAT(rig.dead_letters(),
              UnorderedElementsAre("source:not_framed", "source:not_framed", "source:unknown_schema", "source:undecodable",
                                   "source:undecodable", "source:wrong_partition", "source:no_value", "source:no_subject", "source:future"));
  EXPECT_EQ(summary.records_out, 1U);
}

TEST_F(FlowTest, NeverPutsTheBytesOfARecordIntoADeadLetterWithoutAKey) {
  rig.flow(yaml("event.avsc", "  through: {plugin: passthrough, in: {in: events}}\n", "through.out"));
  rig.give_raw("events", 0, "somebody", "my secret");
  rig.run();
  for (const auto& r : rig.raw("dead_letter", 0)) {
    EXPECT_THAT(std::string(as_text(r.value)), testing::Not(HasSubstr("secret")));
    EXPECT_TRUE(r.headers.empty());
    EXPECT_FALSE(r.has_key);
  }
  EXPECT_THAT(rig.raw("dead_letter", 0), SizeIs(1));
}

std::vector<std::uint8_t> sealed_of(flow_rig& rig, const log_record& letter) {
  auto schemas = open_log_registry(rig.on()).value();
  const auto frame = parse_frame(letter.value).value();
  const auto of = schemas->by_id(frame.schema_id).value();
  const auto plan = decode_plan::compile(*of, *of, std::vector<std::string>{"sealed"}).value();
  columns row(plan.fields());
  EXPECT_FALSE(plan.decode(frame.body, row));
  const auto bytes = bytes_at(row[0].lend(), 0);
  return {bytes.begin(), bytes.end()};
}

TEST_F(FlowTest, SealsADeadLettersBytesUnderTheQuarantineKey) {
  rig.file("quarantine", "a key of the operator's");
  rig.flow(yaml("event.avsc", "  through: {plugin: passthrough, in: {in: events}}\n", "through.out",
                "secrets: {q: {file: quarantine}}\nquarantine_key: q\n"));
  rig.give_raw("events", 0, "somebody", "my secret");
  rig.run();
  const auto letters = rig.records("dead_letter");
  ASSERT_THAT(letters, SizeIs(1)) << rig.findings();
  EXPECT_THAT(letters[0], testing::Not(HasSubstr("secret")));

  auto sealed = sealed_of(rig, rig.raw("dead_letter", 0).at(0));
  buffer plain;
  const auto opened = (*dead_letter_seal::make("a key of the operator's"))->open({sealed.data(), sealed.size()}, plain);
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_EQ(as_text(opened->key), "somebody");
  EXPECT_EQ(as_text(opened->value), "my secret");
  EXPECT_FALSE((*dead_letter_seal::make("another operator's key"))->open({sealed.data(), sealed.size()}, plain));
  sealed.back() ^= 1;
  EXPECT_FALSE((*dead_letter_seal::make("a key of the operator's"))->open({sealed.data(), sealed.size()}, plain));
}

TEST_F(FlowTest, RefusesAQuarantineKeyThatCanBeGuessed) {
  rig.file("quarantine", "fifteen letters");
  rig.flow(yaml("event.avsc", "  through: {plugin: passthrough, in: {in: events}}\n", "through.out",
                "secrets: {q: {file: quarantine}}\nquarantine_key: q\n"));
  rig.give("events", {event("e1", "ana", 1)});
  const auto ended = rig.try_run();
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().code, errc::invalid);
  EXPECT_THAT(ended.error().message, HasSubstr("the quarantine key has 15 bytes, and needs at least 16"));
}

TEST_F(FlowTest, RunsAnEpochAgainThatCouldNotBeCommitted) {
  // The first commit of rows finds the disk failing; everything since is thrown away and made again, once.
  rig.flow(yaml("counted.avsc", "  tally: {plugin: counter, in: {events: events}}\n", "tally.out", "run: {commit_interval: 5ms, batch_rows: 4}\n"));
  std::vector<std::string> rows;
  for (int i = 0; i < 200; ++i) rows.push_back(event("e" + std::to_string(1'000 + i), i % 3 == 0 ? "ana" : "ben", i + 1));
  rig.give("events", rows);
  failing_log broken(rig.on(), 2);
  const auto summary = run_worker(std::make_shared<const graph>(rig.checked()), broken, rig.options());
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_EQ(summary->epochs_discarded, 2U);
  EXPECT_THAT(rig.records("out"), SizeIs(200));
  EXPECT_THAT(rig.records("out"), testing::Contains(HasSubstr(R"("subject_id":"ana","count":67)")));
  EXPECT_THAT(rig.records("out"), testing::Contains(HasSubstr(R"("subject_id":"ben","count":133)")));
}

TEST_F(FlowTest, ParksRowsOnceHoweverOftenTheirEpochIsRunAgain) {
  rig.flow(yaml("event.avsc", "  hoard: {plugin: hoarder, in: {texts: events}, retry: 5ms}\n", "hoard.out", "run: {commit_interval: 5ms, batch_rows: 4}\n"));
  std::vector<std::string> rows;
  for (int i = 0; i < 60; ++i) rows.push_back(event("e" + std::to_string(1'000 + i), i % 3 == 0 ? "ana" : "ben", i + 1, i % 10 == 0 ? "retry 1" : "ok"));
  rig.give("events", rows);
  failing_log broken(rig.on(), 3);
  const auto summary = run_worker(std::make_shared<const graph>(rig.checked()), broken, rig.options());
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_THAT(summary->unbalanced, IsEmpty());
  EXPECT_EQ(port(*summary, "hoard", "texts").in, 60U);
  std::vector<std::string> all;
  for (int p = 0; p < 2; ++p) {
    for (const auto& r : rig.raw("out", p)) all.emplace_back(as_text(r.key));
  }
  std::sort(all.begin(), all.end());
  EXPECT_THAT(all, SizeIs(60));
  EXPECT_EQ(std::unique(all.begin(), all.end()), all.end()) << "a row was written twice";
}

}  // namespace
}  // namespace sonder
