#include "flow/rekey.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <map>
#include <thread>

#include "flow/flow_rig.h"

namespace sonder {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;
using testing::SizeIs;

/// A flow whose events are keyed by their own id, on three partitions, beside a table on two.
class RekeyTest : public testing::Test {
 protected:
  RekeyTest() {
    rig.file("event.avsc", plain_event_schema);
    rig.file("counted.avsc", counted_of_subject_schema);
  }

  std::string yaml(const std::string& out_schema, const std::string& stages, const std::string& from,
                   const std::string& events = "key: event_id, partitions: 3, rekey: true") {
    return "flow: t\nlog: {kind: embedded, dir: data}\ntopics:\n"
           "  events: {schema: event.avsc, subject: subject_id, event_time: at, " + events + "}\n"
           "  consent: {schema: " + shipped_schemas() + "/consent.avsc, subject: subject_id, key: [subject_id, purpose], event_time: at, role: table, partitions: 2}\n"
           "  out: {schema: " + out_schema + ", key: event_id, partitions: 2, " + out_options + "carries: [behaviour, quasi_identifier]}\n"
           "  dead_letter: {schema: " + shipped_schemas() + "/dead_letter.avsc, partitions: 1}\n"
           "stages:\n" + stages + "sinks:\n  out: " + from + "\n";
  }
  static std::string tally() { return "  tally: {plugin: counter, in: {events: events}}\n"; }

  flow_rig rig;
  std::string out_options;
};

TEST_F(RekeyTest, GivesEachSubjectsEventsToOneTaskWhereverTheyLie) {
  out_options = "purpose: ServicePersonalisation, ";
  rig.flow(yaml("counted.avsc", "  consent: {plugin: consent_filter, in: {events: events, decisions: consent}}\n"
                                "  tally: {plugin: counter, in: {events: consent.allowed}, purpose: ServicePersonalisation}\n", "tally.out"));
  std::vector<std::string> events, expected;
  for (int i = 0; i < 60; ++i) {
    events.push_back(event("e" + std::to_string(i), i % 2 == 0 ? "ana" : "ben", 1'000 + i));
    if (i % 2 == 0) expected.push_back(std::to_string(i / 2 + 1));
  }
  rig.give("events", events);
  rig.give("consent", {R"({"subject_id":"ana","purpose":"ServicePersonalisation","decision":"granted","at":1})"});
  const auto summary = rig.run();
  std::vector<std::string> counts;
  for (const auto& row : rig.records("out")) {
    EXPECT_THAT(row, HasSubstr(R"("subject_id":"ana")"));
    counts.push_back(row.substr(row.find("\"count\":") + 8));
    counts.back().pop_back();
  }
  // One store numbers all of hers: her consent was found beside each, and no two tasks had some.
  EXPECT_THAT(counts, testing::UnorderedElementsAreArray(expected)) << rig.findings();
  EXPECT_EQ(summary.records_in, 60U);
  EXPECT_EQ(port(summary, "events", "rekey").in, 60U);
  EXPECT_EQ(port(summary, "events", "rekey").passed, 60U);
  EXPECT_EQ(port(summary, "events", "source").in, 60U);
  EXPECT_THAT(port(summary, "consent", "events").dropped, ElementsAre(Pair("unknown", 30)));
}

TEST_F(RekeyTest, HandsOnRecordsAsTheyWere) {
  // The sink has no key of its own here: what leaves is what came in.
  auto text = yaml("event.avsc", "  through: {plugin: passthrough, in: {in: events}}\n", "through.out",
                   "partitions: 3, rekey: true, labels: {key: none, headers: none}");
  text.replace(text.find("key: event_id, partitions: 2"), 14, "");
  rig.flow(text);
  ASSERT_THAT(rig.findings(), testing::Not(HasSubstr("error"))) << rig.findings();
  rig.give("events", {event("e1", "ana", 1'000)});
  std::vector<log_record> given;
  for (int p = 0; p < 3; ++p) {
    for (const auto& record : rig.raw("events", p)) given.push_back(record);
  }
  ASSERT_THAT(given, SizeIs(1));
  const auto& original = given.front();
  const header_view header{"trace", as_bytes("abc")};
  buffer headers;
  encode_headers({&header, 1}, headers);
  const auto key = as_bytes("their own");
  record_batch_builder batch;
  batch.append(77, &key, &original.value, {headers.data(), headers.size()});
  const produced_batch produced{"events", 1, &batch};
  ASSERT_TRUE(rig.on().append({&produced, 1}));
  (void)rig.run();

  std::vector<log_record> out;
  for (int p = 0; p < 2; ++p) {
    for (const auto& record : rig.raw("out", p)) out.push_back(record);
  }
  ASSERT_THAT(out, SizeIs(2));
  const auto& with_key = out[0].has_key ? out[0] : out[1];
  const auto& without = out[0].has_key ? out[1] : out[0];
  EXPECT_EQ(as_text(with_key.key), "their own");
  EXPECT_EQ(as_text(with_key.value), as_text(original.value));
  EXPECT_EQ(as_text(with_key.headers), as_text({headers.data(), headers.size()}));
  EXPECT_FALSE(without.has_key);
  EXPECT_THAT(without.headers, SizeIs(0));
}

TEST_F(RekeyTest, BuriesWhatHasNoSubjectWithThePlaceWhereItStands) {
  rig.flow(yaml("counted.avsc", tally(), "tally.out"));
  rig.give("events", {event("e1", "ana", 1'000), event("e2", "", 2'000)});
  rig.give_raw("events", 2, "k", "no frame");
  rig.give_tombstone("events", 1, "k");
  const auto summary = rig.run();
  EXPECT_THAT(rig.records("out"), SizeIs(1));
  EXPECT_THAT(port(summary, "events", "rekey").dead_lettered,
              ElementsAre(Pair("no_subject", 1), Pair("no_value", 1), Pair("not_framed", 1)));
  EXPECT_EQ(port(summary, "events", "source").in, 1U);
  std::string letters;
  for (const auto& letter : rig.records("dead_letter")) letters += letter + "\n";
  const auto at_end = std::to_string(rig.raw("events", 2).size() - 1);
  EXPECT_THAT(letters, HasSubstr(R"("cause":"not_framed","stage":"rekey","topic":"events","partition":2,"offset":)" + at_end));
}

TEST_F(RekeyTest, NamesTheFirstPlaceOfARecordThatAStageCouldNotUse) {
  rig.flow(yaml("event.avsc", "  bad: {plugin: misbehaving, in: {texts: events}, config: {how: bad_records, when: poison}, attempts_max: 1, retry: 1ms}\n",
                "bad.out"));
  rig.give("events", {event("e1", "ana", 1'000), event("e2", "ana", 2'000, "poison")});
  std::int32_t partition = -1;
  std::int64_t offset = -1;
  for (std::int32_t p = 0; p < 3; ++p) {
    for (const auto& record : rig.raw("events", p)) {
      if (as_text(record.key) == "e2") partition = p, offset = record.offset;
    }
  }
  (void)rig.run();
  EXPECT_THAT(rig.records("dead_letter"), ElementsAre(HasSubstr(R"("topic":"events","partition":)" + std::to_string(partition) +
                                                                R"(,"offset":)" + std::to_string(offset))));
}

TEST_F(RekeyTest, ForwardsOnceOverRuns) {
  rig.flow(yaml("counted.avsc", tally(), "tally.out"));
  rig.give("events", {event("e1", "ana", 1'000), event("e2", "ben", 2'000)});
  (void)rig.run();
  rig.reopen();
  rig.give("events", {event("e3", "ana", 3'000)});
  const auto summary = rig.run();
  EXPECT_EQ(summary.records_in, 1U);
  EXPECT_THAT(rig.records("out"), ElementsAre(R"({"event_id":"e1","subject_id":"ana","count":1})",
                                              R"({"event_id":"e2","subject_id":"ben","count":1})",
                                              R"({"event_id":"e3","subject_id":"ana","count":2})"));
}

// On Kafka they would expire: no member of the group subscribes to a topic that is forwarded.
TEST_F(RekeyTest, CommitsOffsetsOfWhatItForwardsAtEachStartThoughNothingIsThere) {
  rig.flow(yaml("counted.avsc", tally(), "tally.out"));
  rig.give("events", {});
  std::atomic<int> stop{0};
  rig.options().stop = &stop;
  rig.options().until_idle = false;
  result<run_summary> ended = fail(errc::internal, "not run");
  std::thread worker([&] { ended = run_worker(std::make_shared<const graph>(rig.checked()), rig.on(), rig.options()); });
  const auto committed = [&](std::int32_t partition) { return rig.on().committed_of("t", "events", partition).value_or(-2); };
  for (int i = 0; i < 1'000 && (committed(0) < 0 || committed(1) < 0 || committed(2) < 0); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  stop = 1;
  worker.join();
  ASSERT_TRUE(ended) << ended.error().message;
  EXPECT_EQ(ended->epochs_committed, 1U) << "and not again while nothing comes";
  for (std::int32_t partition = 0; partition < 3; ++partition) EXPECT_EQ(committed(partition), 0) << partition;
}

TEST_F(RekeyTest, KeepsTheOrderOfASubjectInAPartition) {
  rig.flow(yaml("event.avsc", "  through: {plugin: passthrough, in: {in: events}}\n", "through.out",
                "key: text, partitions: 3, rekey: true") + "run: {batch_rows: 7, commit_interval: 1ms}\n");
  // One key, so one partition, for all: of nobody's choosing.
  std::vector<std::string> events;
  for (int i = 0; i < 500; ++i) events.push_back(event("e" + std::to_string(i), "s" + std::to_string(i % 9), 5'000 - i));
  rig.give("events", events);
  (void)rig.run();
  auto inner = rig.on().describe("t.events-rekey");
  ASSERT_TRUE(inner) << inner.error().message;
  EXPECT_EQ(inner->partitions, 3);
  EXPECT_EQ(inner->retention_ms, 7 * 86'400'000LL);
  std::size_t found = 0;
  for (std::int32_t p = 0; p < 3; ++p) {
    std::map<std::string, std::int64_t> last;
    record_block block;
    for (std::int64_t from = 0;; from = block.next_offset) {
      ASSERT_TRUE(rig.on().fetch("t.events-rekey", p, from, {}, block));
      if (block.records.empty()) break;
      for (const auto& record : block.records) {
        header_view first;
        forwarded_record was;
        buffer rest;
        ASSERT_TRUE(take_first_header(record.headers, first, rest));
        ASSERT_TRUE(read_forwarded(first, was));
        EXPECT_EQ(murmur2_partition(record.key, 3), p);
        auto [at, fresh] = last.try_emplace(std::string(as_text(record.key)), was.offset);
        EXPECT_TRUE(fresh || at->second < was.offset) << record.offset;
        at->second = was.offset;
        ++found;
      }
    }
  }
  EXPECT_EQ(found, 500U);
}

TEST_F(RekeyTest, SaysWhatATopicNeeds) {
  auto text = yaml("counted.avsc", tally(), "tally.out");
  text.replace(text.find("subject: subject_id, event_time"), 20, "");
  rig.flow(text);
  EXPECT_THAT(rig.findings(), HasSubstr(R"(topic "events" has "rekey: true", but no "subject" to key its records by; name the field)"));
  text = yaml("counted.avsc", tally(), "tally.out");
  text.replace(text.find("role: table"), 11, "role: table, rekey: true");
  rig.flow(text);
  EXPECT_THAT(rig.findings(), HasSubstr(R"(topic "consent" has "rekey: true", but is a table)"));
  text = yaml("counted.avsc", tally(), "tally.out");
  text.insert(text.find("  out: {"), "  other: {schema: event.avsc, topic: t.events-rekey}\n");
  rig.flow(text);
  EXPECT_THAT(rig.findings(), HasSubstr(R"(topic "other" has the name of the internal topic of "events", "t.events-rekey"; give it another one)"));
}

/// Copies that no task has taken up when retention comes for them.
class LostCopies : public RekeyTest {
 protected:
  void lose(const std::string& more) {
    embedded_options how;
    how.now_ms = [this] { return now_ms; };
    how.maintenance_interval = std::chrono::milliseconds(0);
    rig.flow(yaml("counted.avsc", tally(), "tally.out", "key: event_id, partitions: 3, rekey: true, rekey_retention: 1h" + more));
    rig.reopen(how);
    rig.give("events", {event("e1", "ana", 1'000)});
    (void)rig.run();
    const auto of_her = murmur2_partition(as_bytes("ana"), 3);
    record_batch_builder copies;
    const auto key = as_bytes("ana");
    for (int i = 0; i < 2; ++i) copies.append(1'000, &key, &key, {});
    const produced_batch waiting{"t.events-rekey", of_her, &copies};
    ASSERT_TRUE(rig.on().append({&waiting, 1}));
    now_ms += 2 * 3'600'000;
    ASSERT_TRUE(rig.on().maintain());
    ASSERT_EQ(rig.on().offsets("t.events-rekey", of_her)->first, 3);
  }
  std::int64_t now_ms = 1'700'000'000'000;
};

TEST_F(LostCopies, AreNotPassedOverInSilence) {
  lose("");
  const auto refused = rig.try_run();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, errc::corrupt);
  EXPECT_THAT(refused.error().message,
              HasSubstr(R"(topic "t.events-rekey", the internal one of "events", partition )" +
                        std::to_string(murmur2_partition(as_bytes("ana"), 3)) +
                        R"(: retention has removed offsets 1 to 2, which flow "t" had not taken up)"));
}

TEST_F(LostCopies, ArePassedOverWhereTheFlowSaysSo) {
  lose(", rekey_lost: skip");
  rig.give("events", {event("e2", "ana", 2'000)});
  (void)rig.run();
  EXPECT_THAT(rig.records("out"), ElementsAre(HasSubstr("e1"), HasSubstr(R"("event_id":"e2","subject_id":"ana","count":2)")));
}

TEST_F(LostCopies, AreNoneWhereRetentionTakesWhatWasTakenUp) {
  lose(", rekey_lost: skip");
  (void)rig.run();  // goes on behind them
  now_ms += 2 * 3'600'000;
  ASSERT_TRUE(rig.on().maintain());
  rig.flow(yaml("counted.avsc", tally(), "tally.out", "key: event_id, partitions: 3, rekey: true, rekey_retention: 1h"));
  rig.give("events", {event("e2", "ana", 2'000)});
  (void)rig.run();
  EXPECT_THAT(rig.records("out"), SizeIs(2));
}

/// Two strings as Avro writes them, one after the other.
std::string avro_key(const std::string& subject, const std::string& purpose) {
  const auto text = [](const std::string& of) { return std::string(1, static_cast<char>(of.size() * 2)) + of; };
  return text(subject) + text(purpose);
}

TEST_F(RekeyTest, BuriesARemovalFromATableThatLiesInAnotherPartitionThanItsSubject) {
  out_options = "purpose: ServicePersonalisation, ";
  rig.flow(yaml("counted.avsc", "  consent: {plugin: consent_filter, in: {events: events, decisions: consent}}\n"
                                "  tally: {plugin: counter, in: {events: consent.allowed}, purpose: ServicePersonalisation}\n", "tally.out"));
  const auto right = murmur2_partition(as_bytes("ana"), 2);
  rig.give("consent", {R"({"subject_id":"ana","purpose":"ServicePersonalisation","decision":"granted","at":1})"});
  rig.give_tombstone("consent", 1 - right, avro_key("ana", "ServicePersonalisation"));
  rig.give("events", {event("e1", "ana", 1'000)});
  auto summary = rig.run();
  EXPECT_EQ(port(summary, "consent", "source").dead_lettered, (std::map<std::string, std::uint64_t>{{"wrong_partition", 1}}));
  EXPECT_THAT(rig.records("out"), SizeIs(1));

  rig.give_tombstone("consent", right, avro_key("ana", "ServicePersonalisation"));
  rig.give("events", {event("e2", "ana", 2'000)});
  summary = rig.run();
  EXPECT_THAT(port(summary, "consent", "source").dead_lettered, SizeIs(0));
  EXPECT_THAT(rig.records("out"), SizeIs(1));
}

TEST_F(RekeyTest, LeavesRemovalsWhoseKeysHaveAnotherFormToTheStage) {
  out_options = "purpose: ServicePersonalisation, ";
  rig.flow(yaml("counted.avsc", "  consent: {plugin: consent_filter, in: {events: events, decisions: consent}, config: {key: {form: text, "
                                "separator: \"|\", order: [subject_id, purpose]}}}\n"
                                "  tally: {plugin: counter, in: {events: consent.allowed}, purpose: ServicePersonalisation}\n", "tally.out"));
  const auto right = murmur2_partition(as_bytes("ana"), 2);
  rig.give("consent", {R"({"subject_id":"ana","purpose":"ServicePersonalisation","decision":"granted","at":1})"});
  rig.give_tombstone("consent", right, "ana|ServicePersonalisation");
  rig.give("events", {event("e1", "ana", 1'000)});
  const auto summary = rig.run();
  EXPECT_THAT(port(summary, "consent", "source").dead_lettered, SizeIs(0));
  EXPECT_THAT(rig.records("out"), SizeIs(0));
}

}  // namespace
}  // namespace sonder
