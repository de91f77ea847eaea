#include "flow/global_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "flow/flow_rig.h"

namespace sonder {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr auto item_schema = R"({"type":"record","name":"item","fields":[
  {"name":"id","type":"string","sonder.privacy":{"categories":[]}},
  {"name":"title","type":"string","sonder.privacy":{"categories":[]}}]})";

constexpr auto found_schema = R"({"type":"record","name":"found","fields":[
  {"name":"event_id","type":"string","sonder.privacy":{"categories":[]}},
  {"name":"title","type":"string","sonder.privacy":{"categories":[]}},
  {"name":"times","type":"long","sonder.privacy":{"categories":[]}}]})";

std::string event(const std::string& id, const std::string& subject, const std::string& text) {
  return R"({"event_id":")" + id + R"(","subject_id":")" + subject + R"(","at":1000,"text":")" + text + "\"}";
}

std::string item(const std::string& id, const std::string& title) { return R"({"id":")" + id + R"(","title":")" + title + "\"}"; }

/// Events on three tasks that look up items, which lie on two partitions.
class GlobalTableTest : public testing::Test {
 protected:
  GlobalTableTest() {
    rig.file("event.avsc", plain_event_schema);
    rig.file("item.avsc", item_schema);
    rig.file("found.avsc", found_schema);
  }
  void flow(const std::string& config = "{}", const std::string& items = "role: global, compact: true") {
    rig.flow("flow: t\nlog: {kind: embedded, dir: data}\ntopics:\n"
             "  events: {schema: event.avsc, subject: subject_id, event_time: at, partitions: 3}\n"
             "  items: {schema: item.avsc, key: id, partitions: 2, " + items + "}\n"
             "  out: {schema: found.avsc, key: event_id, partitions: 1, carries: [behaviour, quasi_identifier]}\n"
             "  dead_letter: {schema: " + shipped_schemas() + "/dead_letter.avsc, partitions: 1}\n"
             "stages:\n  look: {plugin: lookup, in: {events: events, items: items}, config: " + config + "}\n"
             "sinks:\n  out: look.out\nrun: {batch_rows: 8, commit_interval: 5ms}\n");
  }
  /// Events of enough subjects that each task has some.
  std::vector<std::string> events(const std::string& text, const std::string& prefix) {
    std::vector<std::string> all;
    for (int i = 0; i < 30; ++i) all.push_back(event(prefix + std::to_string(i), "subject-" + std::to_string(i), text));
    return all;
  }
  std::vector<std::string> titles() {
    std::vector<std::string> all;
    for (const auto& row : rig.records("out")) {
      const auto at = row.find("\"title\":\"") + 9;
      all.push_back(row.substr(at, row.find('"', at) - at));
    }
    return all;
  }

  flow_rig rig;
};

TEST_F(GlobalTableTest, GivesEachTaskAllPartitions) {
  flow();
  std::vector<std::string> items;
  for (int i = 0; i < 20; ++i) items.push_back(item("i" + std::to_string(i), "title-" + std::to_string(i)));
  rig.give("items", items);
  rig.give("events", events("i7", "e"));
  (void)rig.run();
  EXPECT_THAT(titles(), SizeIs(30)) << rig.findings();
  EXPECT_THAT(titles(), Each("title-7"));
}

TEST_F(GlobalTableTest, ReadsATableOfManyBatchesFirst) {
  flow();
  rig.give("items", {item("i", "0")});
  const auto of_it = murmur2_partition(as_bytes("i"), 2);
  const std::string frame(as_text(rig.raw("items", of_it)[0].value).substr(0, 5));
  // Two strings of Avro behind the frame of the one above.
  const auto text = [](const std::string& of) { return std::string(1, static_cast<char>(of.size() * 2)) + of; };
  record_batch_builder batch;
  for (int i = 0; i < 5'000; ++i) {
    const auto id = "n" + std::to_string(i);
    const auto value = frame + text(id) + text("t" + std::to_string(i));
    const auto key = as_bytes(id);
    const auto bytes = as_bytes(value);
    batch.append(1'000, &key, &bytes, {});
  }
  const produced_batch produced{"items", 1, &batch};
  ASSERT_TRUE(rig.on().append({&produced, 1}));
  rig.give("events", events("n4999", "e"));
  (void)rig.run();
  EXPECT_THAT(titles(), SizeIs(30));
  EXPECT_THAT(titles(), Each("t4999"));
}

TEST_F(GlobalTableTest, SaysInEachRecordHowFarTheTableWasRead) {
  flow();
  rig.give("items", {item("a", "one"), item("b", "two")});
  rig.give("events", events("a", "e"));
  (void)rig.run();
  const auto ends = "[" + std::to_string(rig.raw("items", 0).size()) + "," + std::to_string(rig.raw("items", 1).size()) + "]";
  for (const auto& record : rig.raw("out", 0)) {
    header_cursor headers(record.headers);
    header_view header;
    ASSERT_TRUE(headers.next(header));
    EXPECT_EQ(header.key, "sonder.tables");
    EXPECT_EQ(as_text(header.value), R"({"items":)" + ends + "}");
  }
}

TEST_F(GlobalTableTest, SaysThatItWasReadPastRemovalsOfWhatIsNotThere) {
  flow();
  rig.give("items", {item("a", "one")});
  const auto of_it = murmur2_partition(as_bytes("a"), 2);
  rig.give_tombstone("items", of_it, "never there");
  rig.give("events", events("a", "e"));
  (void)rig.run();
  const std::string ends = of_it == 0 ? "[2,0]" : "[0,2]";
  ASSERT_THAT(rig.raw("out", 0), SizeIs(30));
  for (const auto& record : rig.raw("out", 0)) {
    header_cursor headers(record.headers);
    header_view header;
    ASSERT_TRUE(headers.next(header));
    EXPECT_EQ(as_text(header.value), R"({"items":)" + ends + "}");
  }
  auto committed = rig.on().committed_of("t", "items", of_it);
  ASSERT_TRUE(committed);
  EXPECT_EQ(*committed, 2);
}

TEST_F(GlobalTableTest, IsReadAnewAtEachStartAndLeavesTheTasksStateAlone) {
  flow();
  rig.give("items", {item("a", "one")});
  rig.give("events", {event("e1", "ana", "a")});
  (void)rig.run();
  rig.reopen();
  rig.give("items", {item("a", "two")});
  rig.give("events", {event("e2", "ana", "a")});
  (void)rig.run();
  rig.reopen();
  rig.give_tombstone("items", murmur2_partition(as_bytes("a"), 2), "a");
  rig.give("events", {event("e3", "ana", "a")});
  (void)rig.run();
  EXPECT_THAT(rig.records("out"), ElementsAre(R"({"event_id":"e1","title":"one","times":1})", R"({"event_id":"e2","title":"two","times":2})",
                                              R"({"event_id":"e3","title":"none","times":3})"));
  for (const auto* store : {"look.titles", "look.~titles"}) {
    int entries = 0;
    for (std::int32_t p = 0; p < 3; ++p) {
      ASSERT_TRUE(rig.on().state_scan("t", store, p, {}, [](void* n, bytes_view, bytes_view) { return ++*static_cast<int*>(n) > 0; }, &entries));
    }
    EXPECT_EQ(entries, 0) << store;
  }
}

TEST_F(GlobalTableTest, AppliesWhatComesWhileTheWorkerRuns) {
  flow();
  rig.give("items", {item("a", "one")});
  rig.give("events", events("a", "e"));
  std::atomic<int> stop{0};
  rig.options().stop = &stop;
  result<run_summary> ended = fail(errc::internal, "not run");
  rig.options().until_idle = false;
  std::thread worker([&] { ended = run_worker(std::make_shared<const graph>(rig.checked()), rig.on(), rig.options()); });
  const auto wait_for = [&](std::size_t rows) {
    for (int i = 0; i < 1'000 && rig.raw("out", 0).size() < rows; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  };
  wait_for(30);
  rig.give("items", {item("a", "two")});
  // Until each task has it there is no telling by which an event is decided; after a while all have.
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  rig.give("events", events("a", "f"));
  wait_for(60);
  stop = 1;
  worker.join();
  ASSERT_TRUE(ended) << ended.error().message;
  const auto all = titles();
  EXPECT_EQ(std::count(all.begin(), all.end(), "one"), 30);
  EXPECT_EQ(std::count(all.begin(), all.end(), "two"), 30);
}

TEST_F(GlobalTableTest, BuriesARecordOnceThatIsNoRow) {
  flow();
  rig.give_raw("items", 1, "x", "no frame");
  rig.give("items", {item("a", "one")});
  rig.give("events", events("a", "e"));
  (void)rig.run();
  rig.reopen();
  rig.give("events", events("a", "f"));
  (void)rig.run();
  EXPECT_THAT(rig.dead_letters(), ElementsAre("source:not_framed"));
  EXPECT_THAT(rig.records("dead_letter"), ElementsAre(HasSubstr(R"("topic":"items","partition":1,"offset":0)")));
  EXPECT_THAT(titles(), SizeIs(60));
}

TEST_F(GlobalTableTest, LetsNoEventChangeWhatItFilled) {
  flow("{misuse: events_write_titles}");
  rig.give("items", {item("a", "one")});
  rig.give("events", events("a", "e"));
  (void)rig.run();
  EXPECT_THAT(rig.dead_letters(), SizeIs(30));
  EXPECT_THAT(rig.dead_letters(), Each("look:bad_output"));
}

TEST_F(GlobalTableTest, LetsNoneOfItsRowsChangeTheTasksState) {
  flow("{misuse: items_write_times}");
  rig.give("items", {item("a", "one")});
  rig.give("events", events("a", "e"));
  (void)rig.run();
  // Every task was given it and none took it; one says so.
  EXPECT_THAT(rig.dead_letters(), ElementsAre("look:bad_output"));
  EXPECT_THAT(titles(), Each("none"));
}

TEST_F(GlobalTableTest, SaysWhoCannotReadOne) {
  flow("{}", "role: global");
  EXPECT_THAT(rig.findings(), HasSubstr(R"(topic "items" is a global table, which every worker reads from its beginning when it starts)"));
  rig.flow("flow: t\nlog: {kind: embedded, dir: data}\ntopics:\n"
           "  events: {schema: event.avsc, subject: subject_id, event_time: at, partitions: 3}\n"
           "  consent: {schema: " + shipped_schemas() + "/consent.avsc, subject: subject_id, key: [subject_id, purpose], role: global, compact: true, partitions: 2}\n"
           "  out: {schema: event.avsc, key: event_id, partitions: 1}\n"
           "stages:\n  consent: {plugin: consent_filter, in: {events: events, decisions: consent}}\nsinks:\n  out: consent.allowed\n");
  EXPECT_THAT(rig.findings(), HasSubstr(R"(stage "consent" decides on consent by topic "consent", a global table, which is not read further before each event)"));
}

/// One partition of records with values that stand for themselves.
class GlobalTable : public testing::Test {
 protected:
  GlobalTable() {
    rig.file("item.avsc", item_schema);
    topic_config config;
    config.name = options.name = options.topic = "items";
    config.partitions = options.partitions = 1;
    EXPECT_TRUE(rig.on().create_topic(config));
  }
  void give(const std::string& key, const char* value) {
    record_batch_builder batch;
    const auto key_view = as_bytes(key);
    const auto value_view = as_bytes(value == nullptr ? "" : value);
    batch.append(1, &key_view, value == nullptr ? nullptr : &value_view, {});
    const produced_batch produced{"items", 0, &batch};
    ASSERT_TRUE(rig.on().append({&produced, 1}));
  }
  /// What a reader has not had: `key=value`, or `key` alone where it was removed.
  std::vector<std::string> rest(global_table::reader& of, std::int64_t& next) {
    record_block block;
    std::vector<std::string> all;
    of.fetch(next, {}, block, places);
    for (const auto& r : block.records) all.push_back(std::string(as_text(r.key)) + (r.has_value ? "=" + std::string(as_text(r.value)) : ""));
    next = block.next_offset;
    return all;
  }
  flow_rig rig;
  topic_options options;
  std::vector<global_table::place> places;
};

TEST_F(GlobalTable, KeepsTheNewestOfEachKeyAndItsRemovalUntilAllHaveIt) {
  global_table copy(rig.on(), options);
  global_table::reader first(copy), second(copy);
  std::int64_t first_at = 0, second_at = 0;
  give("a", "1");
  give("b", "1");
  give("a", "2");
  auto ends = copy.ends();
  ASSERT_TRUE(ends);
  EXPECT_FALSE(copy.reaches(*ends));
  ASSERT_TRUE(copy.advance());
  EXPECT_TRUE(copy.reaches(*ends));
  EXPECT_THAT(rest(first, first_at), ElementsAre("b=1", "a=2"));
  EXPECT_EQ(places[1].offset, 2);
  EXPECT_THAT(rest(second, second_at), ElementsAre("b=1", "a=2"));
  EXPECT_EQ(second_at, copy.end());

  give("b", nullptr);
  ASSERT_TRUE(copy.advance());
  EXPECT_THAT(rest(first, first_at), ElementsAre("b"));
  EXPECT_EQ(places[0].offset, 3);
  ASSERT_TRUE(copy.advance());
  EXPECT_THAT(rest(second, second_at), ElementsAre("b")) << "the other one had it alone";
  ASSERT_TRUE(copy.advance());
  global_table::reader third(copy);
  std::int64_t third_at = 0;
  EXPECT_THAT(rest(third, third_at), ElementsAre("a=2"));
  EXPECT_THAT(rest(first, first_at), IsEmpty());
}

TEST_F(GlobalTable, TellsHowFarTheTopicIsInWhateverOfItIsNotKept) {
  global_table copy(rig.on(), options);
  std::int64_t at = 0;
  std::vector<std::int64_t> reached;
  give("a", "1");
  give("b", "1");
  give("b", nullptr);
  ASSERT_TRUE(copy.advance());
  ASSERT_TRUE(copy.advance());  // nobody needs the removal
  give("never there", nullptr);
  EXPECT_EQ(copy.end(reached), 3);
  EXPECT_THAT(reached, ElementsAre(3));
  ASSERT_TRUE(copy.advance());
  global_table::reader late(copy);
  EXPECT_THAT(rest(late, at), ElementsAre("a=1"));
  EXPECT_EQ(at, copy.end(reached));
  EXPECT_THAT(reached, ElementsAre(4)) << "by a@0 alone it would be before the removal";
}

TEST_F(GlobalTable, TakesNoMemoryForWhatIsRemoved) {
  global_table copy(rig.on(), options);
  global_table::reader reader(copy);
  std::int64_t at = 0;
  for (int i = 0; i < 500; ++i) {
    give("k" + std::to_string(i), "value");
    give("k" + std::to_string(i), nullptr);
    give("unknown" + std::to_string(i), nullptr);
    ASSERT_TRUE(copy.advance());
    (void)rest(reader, at);
  }
  ASSERT_TRUE(copy.advance());
  EXPECT_EQ(copy.bytes(), 0U);
}

TEST_F(GlobalTable, SaysWhichBoundItNeedsMoreThan) {
  options.at = {"flow.yaml", 4, 3};
  options.memory_bytes_max = 1 << 20;
  global_table copy(rig.on(), options);
  const std::string half(600'000, 'x');
  give("a", half.c_str());
  ASSERT_TRUE(copy.advance());
  give("a", half.c_str());
  ASSERT_TRUE(copy.advance()) << "it takes the place of the first";
  give("b", half.c_str());
  const auto full = copy.advance();
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, errc::invalid);
  EXPECT_EQ(full.error().message,
            "flow.yaml:4:3: topic \"items\", a global table, needs more than its memory_max of 1 MiB in each worker; make memory_max larger, "
            "or the topic a table that is partitioned as the events are (role: table)");
}

}  // namespace
}  // namespace sonder
