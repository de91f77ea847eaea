#include <thread>

#include "log/kafka/group_fixture.h"
#include "log/kafka/kafka_fixture.h"

namespace sonder {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST_F(kafka_log_test, ReadsBackWhatWasAppended) {
  const auto in = topic("in");
  append(*log_, in, 0,
         {{"ana", "1", 1'700'000'000'123, {{"cause", "poison"}, {"empty", ""}}},
          {"", ""},
          {std::nullopt, "no key"},
          {"gone", std::nullopt}});
  EXPECT_THAT(read_to_end(*log_, in), ElementsAre("0 ana=1", "1 =", "2 -=no key", "3 gone=-"));

  record_block block;
  std::uint64_t seen = 0;
  for (int i = 0; i < 100 && block.records.empty(); ++i) {
    must(log_->fetch(in, 0, 0, {.records_max = 1}, block));
    log_->wait_for_records(seen, std::chrono::milliseconds(50));
  }
  ASSERT_EQ(block.records.size(), 1u);
  EXPECT_EQ(block.records[0].timestamp_ms, 1'700'000'000'123);
  header_cursor headers(block.records[0].headers);
  header_view header;
  ASSERT_TRUE(headers.next(header));
  EXPECT_EQ(header.key, "cause");
  EXPECT_EQ(as_text(header.value), "poison");
  ASSERT_TRUE(headers.next(header));
  EXPECT_EQ(header.key, "empty");
  EXPECT_TRUE(header.value.empty());
  EXPECT_FALSE(headers.next(header));
}

TEST_F(kafka_log_test, GivesOutNoMoreThanTheLimitsSayAndGoesOnThere) {
  const auto in = topic("in");
  append(*log_, in, 0, {{"a", "1"}, {"b", std::string(5'000, 'x')}, {"c", "3"}, {"d", "4"}});
  std::int64_t at = 0;
  EXPECT_EQ(read_to_end(*log_, in, 0, 0, {.records_max = 1}, &at).size(), 4u);
  EXPECT_EQ(read_to_end(*log_, in, 0, 0, {.bytes_max = 10}, &at).size(), 4u);
  EXPECT_THAT(read_to_end(*log_, in, 0, 2), ElementsAre("2 c=3", "3 d=4"));
}

TEST_F(kafka_log_test, ReadsAgainFromAnOffsetThatItHasPassed) {
  const auto in = topic("in");
  append(*log_, in, 0, {{"a", "1"}, {"b", "2"}, {"c", "3"}});
  read_to_end(*log_, in);
  EXPECT_THAT(read_to_end(*log_, in, 0, 1), ElementsAre("1 b=2", "2 c=3"));
}

TEST_F(kafka_log_test, HidesWhatWasAbortedAndPassesItToTheEnd) {
  const auto out = topic("out");
  raw_transaction first(options().bootstrap, test::name_of_its_own("raw"));
  first.write(out, 0, "kept");
  first.commit();
  raw_transaction second(options().bootstrap, test::name_of_its_own("raw"));
  second.write(out, 0, "thrown away");
  second.abort();
  await_end(*log_, out, 4);
  std::int64_t at = 0;
  EXPECT_THAT(read_to_end(*log_, out, 0, 0, {}, &at), ElementsAre("0 -=kept"));
  EXPECT_EQ(at, 4);  // two records, two markers
  EXPECT_EQ(must(log_->offsets(out, 0)).end, 4);
}

TEST_F(kafka_log_test, EndsBeforeAnOpenTransaction) {
  const auto out = topic("out");
  append(*log_, out, 0, {{"a", "1"}});
  raw_transaction open(options().bootstrap, test::name_of_its_own("raw"));
  open.write(out, 0, "not yet");
  append(*log_, out, 0, {{"b", "2"}});
  EXPECT_EQ(must(log_->offsets(out, 0)).end, 1);
  EXPECT_THAT(read_to_end(*log_, out), ElementsAre("0 a=1"));
  open.commit();
  await_end(*log_, out, 4);
  std::int64_t at = 1;
  EXPECT_THAT(read_to_end(*log_, out, 0, 1, {}, &at), ElementsAre("1 -=not yet", "2 b=2"));
  EXPECT_EQ(at, 4);
}

TEST_F(kafka_log_test, GoesOnWithTheOldestRecordThatRetentionHasLeft) {
  const auto in = topic("in");
  append(*log_, in, 0, {{"a", "1"}, {"b", "2"}, {"c", "3"}});
  delete_records_before(in, 2);
  EXPECT_EQ(must(log_->offsets(in, 0)).first, 2);
  EXPECT_THAT(read_to_end(*log_, in, 0, 0), ElementsAre("2 c=3"));
}

TEST_F(kafka_log_test, TellsHowManyOffsetsRetentionTookBeforeTheyWereRead) {
  const auto in = topic("in");
  append(*log_, in, 0, {{"a", "1"}, {"b", "2"}, {"c", "3"}});
  record_block block;
  const auto read_on = [&](std::int64_t from) {
    std::uint64_t seen = 0;
    for (int i = 0; i < 600; ++i) {
      must(log_->fetch(in, 0, from, {}, block));
      if (!block.records.empty() || block.next_offset > from) return;
      EXPECT_EQ(block.removed, 0);
      log_->wait_for_records(seen, std::chrono::milliseconds(50));
    }
  };
  read_on(0);
  EXPECT_EQ(block.removed, 0);
  append(*log_, in, 0, {{"d", "4"}, {"e", "5"}, {"f", "6"}});
  delete_records_before(in, 5);
  // What was fetched ahead may be here still; from another place on it is not.
  read_on(1);
  EXPECT_EQ(block.removed, 4);
  ASSERT_FALSE(block.records.empty());
  EXPECT_EQ(block.records[0].offset, 5);
  read_on(5);
  EXPECT_EQ(block.removed, 0);
  delete_records_before(in, 6);
  read_on(2);
  EXPECT_TRUE(block.records.empty());
  EXPECT_EQ(std::pair(block.removed, block.next_offset), (std::pair<std::int64_t, std::int64_t>(4, 6)));
}

TEST_F(kafka_log_test, CountsThePartitionsThatATopicHasNow) {
  const auto in = topic("in");
  EXPECT_EQ(must(log_->partition_count(in)), 1);
  append(*log_, in, 0, {{"a", "1"}});
  add_partitions(in, 3);
  // Brokers are told of it one after the other.
  for (int i = 0; i < 600 && log_->partition_count(in).value_or(0) != 3; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(must(log_->partition_count(in)), 3);
  EXPECT_EQ(log_->partition_count(in + "-absent").error().code, errc::not_found);
}

TEST_F(kafka_log_test, SaysWhereAnOffsetLiesBeyondTheEnd) {
  const auto in = topic("in");
  append(*log_, in, 0, {{"a", "1"}});
  record_block block;
  std::uint64_t seen = 0;
  status read;
  for (int i = 0; i < 200 && read; ++i) {
    read = log_->fetch(in, 0, 100, {}, block);
    log_->wait_for_records(seen, std::chrono::milliseconds(50));
  }
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, errc::corrupt);
  EXPECT_THAT(read.error().message, HasSubstr("offset 100 is beyond its end"));
}

TEST_F(kafka_log_test, FindsAnOffsetByTime) {
  const auto in = topic("in");
  append(*log_, in, 0, {{"a", "1", 1'000}, {"b", "2", 2'000}, {"c", "3", 3'000}});
  EXPECT_EQ(must(log_->offset_at(in, 0, 1'500)), 1);
  EXPECT_EQ(must(log_->offset_at(in, 0, 3'000)), 2);
  EXPECT_EQ(must(log_->offset_at(in, 0, 3'001)), 3);
}

TEST_F(kafka_log_test, DescribesTheTopicsThatItMade) {
  topic_config config;
  config.name = test::name_of_its_own("made");
  config.partitions = 3;
  config.compacted = true;
  config.log_append_time = true;
  config.tombstone_ms = 1'000;
  must(log_->create_topic(config));
  must(log_->create_topic(config));
  EXPECT_EQ(must(log_->describe(config.name)), config);
  EXPECT_THAT(must(log_->topics()), testing::Contains(config));
}

TEST_F(kafka_log_test, SaysHowATopicDiffersFromWhatWasAsked) {
  topic_config config;
  config.name = topic("made", 2);
  config.partitions = 3;
  config.compacted = true;
  const auto made = log_->create_topic(config);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, errc::exists);
  EXPECT_THAT(made.error().message,
              AllOf(HasSubstr(config.name), HasSubstr("partitions 2 instead of 3"),
                    HasSubstr("compacted no instead of yes")));
}

// By the name of its policy it is compacted too; the newest record of a key would be gone a week
// after it was written.
TEST_F(kafka_log_test, RefusesACompactedTopicThatLosesRecordsByRetention) {
  topic_config asked;
  asked.name = test::name_of_its_own("made-by-others");
  asked.compacted = true;
  kafka::testing::cluster others;
  others.create_topic(asked.name, 1,
                      {{"cleanup.policy", "compact,delete"}, {"retention.ms", "604800000"}});
  const auto made = log_->create_topic(asked);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, errc::exists);
  EXPECT_THAT(
      made.error().message,
      AllOf(HasSubstr(asked.name), HasSubstr("cleanup.policy compact,delete instead of compact;")));

  asked.name = test::name_of_its_own("made-by-others");
  others.create_topic(asked.name, 1,
                      {{"cleanup.policy", "compact"}, {"retention.ms", "604800000"}});
  must(log_->create_topic(asked));
  EXPECT_EQ(must(log_->describe(asked.name)).retention_ms, -1) << "no policy makes it count";
}

TEST_F(kafka_log_test, MakesACompactedTopicWithARetentionWhereTheFlowAsksForBoth) {
  topic_config both;
  both.name = test::name_of_its_own("made");
  both.compacted = true;
  both.retention_ms = 604'800'000;
  must(log_->create_topic(both));
  must(log_->create_topic(both));
  EXPECT_EQ(must(log_->describe(both.name)), both);

  both.name = topic("made", 1, true);
  const auto without = log_->create_topic(both);
  ASSERT_FALSE(without);
  EXPECT_THAT(without.error().message, HasSubstr("retention.ms -1 instead of 604800000"));
}

TEST_F(kafka_log_test, MakesNoTopicWhereItMayNot) {
  auto with = options();
  with.create_topics = false;
  const auto on = open(with);
  const auto made = on->create_topic({.name = test::name_of_its_own("absent"), .partitions = 4});
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, errc::not_found);
  EXPECT_THAT(made.error().message, HasSubstr("make it with 4 partitions"));
}

TEST_F(kafka_log_test, SaysThatATopicOrAPartitionIsNotThere) {
  record_block block;
  const auto absent = test::name_of_its_own("absent");
  EXPECT_EQ(log_->fetch(absent, 0, 0, {}, block).error().code, errc::not_found);
  EXPECT_THAT(commit(*log_, absent, -1, absent, {{"a", "1"}}).error().message,
              HasSubstr("\"" + absent + "\""));
  const auto two = topic("two", 2);
  EXPECT_THAT(log_->offsets(two, 2).error().message, HasSubstr("has 2 partitions, no partition 2"));
}

TEST_F(kafka_log_test, CommitsRecordsAndOffsetsTogether) {
  const auto in = topic("in");
  const auto out = topic("out");
  append(*log_, in, 0, {{"a", "1"}, {"b", "2"}});
  EXPECT_THAT(must(log_->committed(group_, in)), ElementsAre(-1));
  must(commit(*log_, in, 2, out, {{"a", "x"}, {"b", "y"}}));
  EXPECT_THAT(must(log_->committed(group_, in)), ElementsAre(2));
  EXPECT_THAT(read_to_end(*log_, out), ElementsAre("0 a=x", "1 b=y"));
  must(commit(*log_, in, 3, out, {{"c", "z"}}));
  EXPECT_THAT(must(log_->committed(group_, in)), ElementsAre(3));
  EXPECT_THAT(read_to_end(*log_, out), ElementsAre("0 a=x", "1 b=y", "3 c=z"));
}

TEST_F(kafka_log_test, RefusesARecordThatItsTopicWouldRefuse) {
  const auto in = topic("in");
  topic_config small;
  small.name = test::name_of_its_own("small");
  small.record_bytes_max = 2'000;
  must(log_->create_topic(small));
  const auto done = commit(*log_, in, 1, small.name, {{"a", std::string(3'000, 'x')}});
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, errc::capacity);
  EXPECT_THAT(done.error().message, HasSubstr("max.message.bytes 2000"));
  EXPECT_THAT(must(log_->committed(group_, in)), ElementsAre(-1));
  must(commit(*log_, in, 1, small.name, {{"a", std::string(1'000, 'x')}}));
}

TEST_F(kafka_log_test, AbortsAnEpochThatTheBrokerRefusesAndGoesOn) {
  const auto in = topic("in");
  topic_config small;
  small.name = test::name_of_its_own("small");
  small.record_bytes_max = 2'000;
  must(log_->create_topic(small));
  // Each fits; the batch of both, which the client makes, does not.
  const std::string half(1'500, 'x');
  const auto done = commit(*log_, in, 1, small.name, {{"a", half}, {"b", half}});
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, errc::capacity);
  EXPECT_THAT(done.error().message, AllOf(HasSubstr(small.name), HasSubstr("batch.size")));
  EXPECT_THAT(must(log_->committed(group_, in)), ElementsAre(-1));
  must(commit(*log_, in, 1, small.name, {{"c", half}}));
  EXPECT_THAT(must(log_->committed(group_, in)), ElementsAre(1));
}

TEST_F(kafka_log_test, SaysWhyTheBrokerRefusedABatchWhileItsEpochWasStillHandedOver) {
  auto with = options("two");
  with.properties = {{"batch.size", "20000"}};
  const auto writes = open(with);
  const auto in = topic("in");
  topic_config small;
  small.name = test::name_of_its_own("small");
  small.record_bytes_max = 2'000;
  must(log_->create_topic(small));
  std::vector<plain_record> records;
  for (int i = 0; i < 200'000; ++i) records.push_back({"k" + std::to_string(i), std::string(200, 'x')});
  const auto done = commit(*writes, in, 1, small.name, records);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, errc::capacity) << done.error().message;
  EXPECT_THAT(done.error().message, AllOf(HasSubstr(small.name), HasSubstr("batch.size")));
}

TEST_F(kafka_log_test, TakesEventsAheadOfTheBrokersClock) {
  const auto in = topic("in");
  append(*log_, in, 0, {{"a", "1", 4'000'000'000'000}});
  EXPECT_THAT(read_to_end(*log_, in), ElementsAre("0 a=1"));
}

TEST_F(kafka_log_test, WritesEpochsOfManyBatchesAPartitionInOrder) {
  auto with = options("two");
  with.properties = {{"batch.size", "2000"}, {"message.max.bytes", "20000"}};
  const auto writes = open(with);
  const auto in = topic("in");
  const auto out = topic("out", 2);
  std::vector<plain_record> records;
  for (int i = 0; i < 300; ++i) {
    // One that is larger than a batch goes alone.
    records.push_back({"k" + std::to_string(i), std::string(i == 150 ? 5'000 : 100, 'x')});
  }
  auto first = batch_of(records);
  auto second = batch_of({records.begin(), records.begin() + 7});
  auto third = batch_of({records.begin() + 7, records.end()});
  epoch_changes epoch;
  epoch.group = group_;
  epoch.produced = {{out, 0, &first}, {out, 1, &second}, {out, 1, &third}};
  epoch.consumed = {{in, 0, 1}};
  must(writes->commit(epoch));
  for (const std::int32_t partition : {0, 1}) {
    const auto lines = read_some(*log_, out, 300, partition);
    ASSERT_EQ(lines.size(), 300u) << partition;
    for (int i = 0; i < 300; ++i) {
      EXPECT_TRUE(lines[static_cast<std::size_t>(i)].starts_with(std::to_string(i) + " k" +
                                                                 std::to_string(i) + "=x"))
          << lines[static_cast<std::size_t>(i)];
    }
  }
}

TEST_F(kafka_log_test, WritesEpochsLargerThanTheClientsQueue) {
  auto with = options();
  with.properties["queue.buffering.max.messages"] = "1000";
  const auto on = open(with);
  const auto out = topic("out");
  std::vector<plain_record> many(20'000, {"k", "v"});
  must(commit(*on, out, -1, out, many));
  EXPECT_EQ(read_to_end(*log_, out).size(), many.size());
}

TEST_F(kafka_log_test, TellsTheOneWhoWasTakenOverToEndAndHidesWhatHeWrites) {
  const auto in = topic("in");
  const auto out = topic("out");
  must(commit(*log_, in, 1, out, {{"a", "before"}}));
  const auto successor = open(options());
  must(commit(*successor, in, 2, out, {{"b", "successor"}}));
  const auto late = commit(*log_, in, 5, out, {{"c", "zombie"}});
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, errc::fenced);
  EXPECT_THAT(late.error().message,
              AllOf(HasSubstr("another process has taken over"), HasSubstr("log.instance")));
  EXPECT_EQ(commit(*log_, in, 5, out, {{"c", "zombie"}}).error().code, errc::fenced);
  must(commit(*successor, in, 3, out, {{"d", "still here"}}));
  EXPECT_THAT(read_to_end(*successor, out),
              ElementsAre("0 a=before", "2 b=successor", HasSubstr("d=still here")));
  EXPECT_THAT(must(successor->committed(group_, in)), ElementsAre(3));
}

TEST_F(kafka_log_test, GoesOnAfterAnEpochThatTookLongerThanItsTransactionMay) {
  auto with = options("slow");
  with.transaction_timeout = std::chrono::milliseconds(1'000);
  bool slow = true;
  with.on_step = [&](std::string_view step) {
    if (step == "offsets_sent" && std::exchange(slow, false))
      std::this_thread::sleep_for(std::chrono::milliseconds(4'000));
  };
  const auto on = open(with);
  const auto in = topic("in");
  const auto out = topic("out");
  const auto done = commit(*on, in, 1, out, {{"a", "too late"}});
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, errc::unavailable) << done.error().message;
  EXPECT_THAT(must(on->committed(group_, in)), ElementsAre(-1));
  must(commit(*on, in, 1, out, {{"a", "again"}}));
  EXPECT_THAT(read_to_end(*on, out), ElementsAre(HasSubstr("a=again")));
}

TEST_F(kafka_log_test, AbortsWhatADeadPredecessorLeftOpen) {
  const auto in = topic("in");
  const auto out = topic("out");
  raw_transaction dead(options().bootstrap, group_ + ".one");
  dead.write(out, 0, "left open");
  must(commit(*log_, in, 1, out, {{"a", "1"}}));
  EXPECT_THAT(read_to_end(*log_, out), ElementsAre("2 a=1"));
}

TEST_F(kafka_log_test, KeepsAppendsApartFromEpochs) {
  const auto out = topic("out");
  must(commit(*log_, out, -1, out, {{"a", "epoch"}}));
  append(*log_, out, 0, {{"b", "append"}});
  EXPECT_THAT(read_to_end(*log_, out), ElementsAre("0 a=epoch", "2 b=append"));
}

TEST_F(kafka_log_test, WritesWithoutTransactionsWhereAtLeastOnceIsEnough) {
  auto with = options();
  with.guarantee = kafka_options::guarantee_kind::at_least_once;
  const auto on = open(with);
  const auto in = topic("in");
  const auto out = topic("out");
  must(commit(*on, in, 7, out, {{"a", "1"}, {"b", "2"}}));
  EXPECT_THAT(must(on->committed(group_, in)), ElementsAre(7));
  EXPECT_THAT(read_to_end(*on, out), ElementsAre("0 a=1", "1 b=2"));
  EXPECT_EQ(must(on->offsets(out, 0)).end, 2);  // no marker
}

TEST_F(kafka_log_test, KeepsNotes) {
  EXPECT_EQ(must(log_->note("format")), std::nullopt);
  must(log_->set_note("format", "1"));
  must(log_->set_note("format", std::string("2\0x", 3)));
  EXPECT_EQ(must(open(options())->note("format")), std::string("2\0x", 3));
}

}  // namespace
}  // namespace sonder
