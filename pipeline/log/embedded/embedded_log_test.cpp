#include "log/embedded/embedded_log.h"

#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <random>
#include <thread>

#include "log/embedded/log_fixture.h"

namespace sonder {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class EmbeddedLog : public log_test {};

TEST_F(EmbeddedLog, ReadsBackWhatWasAppendedInOrder) {
  open();
  topic({.name = "journal", .partitions = 2});
  must(append_to(*log_, "journal", 1, {{"ana", "1"}, {"ben", std::nullopt}}));
  must(append_to(*log_, "journal", 1, {{std::nullopt, "3"}}));
  EXPECT_THAT(read_all(*log_, "journal", 1), ElementsAre("0 ana=1", "1 ben=-", "2 -=3"));
  EXPECT_THAT(read_all(*log_, "journal", 0), IsEmpty());
  EXPECT_THAT(read_all(*log_, "journal", 1, 2), ElementsAre("2 -=3"));
  EXPECT_EQ(log_->offsets("journal", 1)->end, 3);
}

TEST_F(EmbeddedLog, KeepsEverythingOverAReopen) {
  open();
  topic({.name = "journal", .partitions = 2, .retention_bytes = 1 << 20});
  must(append_to(*log_, "journal", 0, {{"ana", "1"}}));
  must(log_->set_note("schemas", "two"));
  auto batch = batch_of({{"p", "out"}});
  epoch_changes epoch{"app",
                      {{"journal", 1, &batch}},
                      {{"journal", 0, 1}},
                      {{"mood", 0, as_bytes("ana"), as_bytes("calm")}}};
  must(log_->commit(epoch));
  open();
  must(append_to(*log_, "journal", 0, {{"ben", "2"}}));
  EXPECT_THAT(read_all(*log_, "journal", 0), ElementsAre("0 ana=1", "1 ben=2"));
  EXPECT_THAT(read_all(*log_, "journal", 1), ElementsAre("0 p=out"));
  EXPECT_THAT(*log_->committed("app", "journal"), ElementsAre(1, -1));
  EXPECT_THAT(*log_->committed("other", "journal"), ElementsAre(-1, -1));
  EXPECT_EQ(state_of(*log_, "mood", 0, "ana"), "calm");
  EXPECT_EQ(state_of(*log_, "mood", 1, "ana"), std::nullopt);
  EXPECT_EQ(*log_->note("schemas"), "two");
  EXPECT_EQ(*log_->note("nothing"), std::nullopt);
  EXPECT_THAT(*log_->topics(), SizeIs(1));
}

TEST_F(EmbeddedLog, FetchesWithinLimitsFromAnyOffset) {
  open();
  topic({.name = "t"});
  std::vector<std::string> expected;
  for (int batch = 0, offset = 0; batch < 20; ++batch) {
    std::vector<test_record> records;
    for (int i = 0; i <= batch % 7; ++i, ++offset) {
      records.push_back({"k", std::string(static_cast<std::size_t>(offset % 50), 'v')});
      expected.push_back(std::to_string(offset).append(" k=").append(*records.back().value));
    }
    must(append_to(*log_, "t", 0, records));
  }
  for (std::size_t from = 0; from < expected.size(); from += 3) {
    for (const int records_max : {1, 5, 1000}) {
      EXPECT_EQ(
          read_all(*log_, "t", 0, static_cast<std::int64_t>(from), {.records_max = records_max}),
          std::vector<std::string>(expected.begin() + static_cast<std::ptrdiff_t>(from),
                                   expected.end()));
    }
  }
  record_block block;
  must(log_->fetch("t", 0, 4, {.records_max = 9}, block));
  EXPECT_THAT(block.records, SizeIs(9));
  must(log_->fetch("t", 0, 4, {.bytes_max = 1}, block));
  EXPECT_THAT(block.records, SizeIs(1));
  must(log_->fetch("t", 0, 1'000'000, {}, block));
  EXPECT_THAT(block.records, IsEmpty());
  EXPECT_EQ(block.next_offset, 1'000'000);
}

TEST_F(EmbeddedLog, GivesSeveralBatchesOfOneEpochConsecutiveOffsets) {
  open();
  topic({.name = "t"});
  auto first = batch_of({{"a", "1"}, {"b", "2"}}), second = batch_of({{"c", "3"}}),
       none = batch_of({});
  const produced_batch produced[] = {{"t", 0, &first}, {"t", 0, &none}, {"t", 0, &second}};
  must(log_->append(produced));
  EXPECT_THAT(read_all(*log_, "t"), ElementsAre("0 a=1", "1 b=2", "2 c=3"));
}

TEST_F(EmbeddedLog, SetsTheAppendTimeOnceForAnAppend) {
  std::int64_t now = 1000;
  auto options = plain();
  options.now_ms = [&] { return now++; };
  open(options);
  topic({.name = "t", .partitions = 2, .log_append_time = true});
  auto first = batch_of({{"a", "1", 77}, {"b", "2", 78}}), second = batch_of({{"c", "3", 79}});
  const produced_batch produced[] = {{"t", 0, &first}, {"t", 1, &second}};
  must(log_->append(produced));
  record_block block;
  must(log_->fetch("t", 0, 0, {}, block));
  EXPECT_EQ(block.records[0].timestamp_ms, 1000);
  EXPECT_EQ(block.records[1].timestamp_ms, 1000);
  must(log_->fetch("t", 1, 0, {}, block));
  EXPECT_EQ(block.records[0].timestamp_ms, 1000);
}

TEST_F(EmbeddedLog, FindsTheFirstOffsetOfATime) {
  open();
  topic({.name = "t"});
  must(append_to(*log_, "t", 0, {{"a", "", 100}, {"b", "", 300}}));
  must(append_to(*log_, "t", 0, {{"c", "", 200}, {"d", "", 400}}));
  EXPECT_EQ(*log_->offset_at("t", 0, 0), 0);
  EXPECT_EQ(*log_->offset_at("t", 0, 101), 1);
  EXPECT_EQ(*log_->offset_at("t", 0, 301), 3);
  EXPECT_EQ(*log_->offset_at("t", 0, 401), 4);
}

TEST_F(EmbeddedLog, ScansStateByPrefixWithinItsStoreAndPartition) {
  open();
  epoch_changes epoch;
  epoch.group = "app";
  for (const auto* key : {"b/2", "a/1", "b/1", "c"})
    epoch.state.push_back({"s", 1, as_bytes(key), as_bytes("v")});
  epoch.state.push_back({"s", 2, as_bytes("b/3"), as_bytes("v")});
  epoch.state.push_back({"s2", 1, as_bytes("b/4"), as_bytes("v")});
  epoch.state.push_back({"s", 1, as_bytes("b/1"), std::nullopt});
  must(log_->commit(epoch));
  std::vector<std::string> keys;
  const auto collect = [](void* ctx, bytes_view key, bytes_view) {
    static_cast<std::vector<std::string>*>(ctx)->emplace_back(as_text(key));
    return true;
  };
  must(log_->state_scan("app", "s", 1, as_bytes("b/"), collect, &keys));
  EXPECT_THAT(keys, ElementsAre("b/2"));
  keys.clear();
  must(log_->state_scan("app", "s", 1, {}, collect, &keys));
  EXPECT_THAT(keys, ElementsAre("a/1", "b/2", "c"));
}

TEST_F(EmbeddedLog, ResetsOffsetsAndTheStateThatIsNamedAndNoOther) {
  open();
  topic({.name = "t", .partitions = 2});
  must(append_to(*log_, "t", 0, {{"k", "v"}, {"k", "v"}}));
  epoch_changes epoch;
  epoch.group = "app";
  epoch.consumed = {{"t", 0, 2}, {"t", 1, 0}};
  for (const std::int32_t partition : {0, 1})
    epoch.state.push_back({"s", partition, as_bytes("key"), as_bytes("value")});
  epoch.state.push_back({"s2", 0, as_bytes("key"), as_bytes("value")});
  must(log_->commit(epoch));
  must(log_->reset({"app", {"t"}, 2, {{"t", 0, 1}}, {{"s", 0}}}));
  EXPECT_THAT(*log_->committed("app", "t"), ElementsAre(1, 0));
  EXPECT_EQ(log_->size_of_state("app", "s", 0)->entries, 0);
  EXPECT_EQ(log_->size_of_state("app", "s", 1)->entries, 1);
  EXPECT_EQ(log_->size_of_state("app", "s2", 0)->bytes, 8);
  must(log_->reset({"app", {"t"}, 2, {{"t", 0, 1}}, {{"s", 0}}}));
  EXPECT_THAT(*log_->committed("app", "t"), ElementsAre(1, 0));
}

TEST_F(EmbeddedLog, TellsAReaderWhoWritesAndNobodyWhereNobodyDoes) {
  open();
  const auto beside = reader();
  const auto seen = beside->describe_group("app");
  ASSERT_TRUE(seen) << seen.error().message;
  ASSERT_EQ(seen->members.size(), 1U);
  EXPECT_EQ(seen->members[0].client, "process " + std::to_string(::getpid()));
  log_.reset();
  EXPECT_TRUE(beside->describe_group("app")->members.empty());
}

TEST_F(EmbeddedLog, WakesWhoWaitsForRecords) {
  open();
  topic({.name = "t"});
  std::uint64_t seen = 0;
  log_->wait_for_records(seen, std::chrono::milliseconds(0));
  std::thread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    must(append_to(*log_, "t", 0, {{"a", "1"}}));
  });
  const auto start = std::chrono::steady_clock::now();
  log_->wait_for_records(seen, std::chrono::seconds(20));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
  EXPECT_THAT(read_all(*log_, "t"), SizeIs(1));
  later.join();
}

// ---- refusals, with their messages ----

TEST_F(EmbeddedLog, TellsWhatDiffersInATopicThatExists) {
  open();
  topic({.name = "t", .partitions = 8});
  topic({.name = "t", .partitions = 8});
  const auto done = log_->create_topic({.name = "t", .partitions = 4});
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, errc::exists);
  EXPECT_EQ(done.error().message,
            "topic \"t\": exists with partitions 8, not 4; use those, or another name");
}

TEST_F(EmbeddedLog, RefusesWhatItCannotStoreAndStoresNothingOfTheEpoch) {
  open();
  topic({.name = "t", .record_bytes_max = 100});
  topic({.name = "c", .compacted = true});
  auto good = batch_of({{"a", "1"}}), large = batch_of({{"a", std::string(200, 'v')}}),
       keyless = batch_of({{std::nullopt, "v"}});
  const auto code = [&](std::vector<produced_batch> produced) {
    const auto done = log_->append(produced);
    return done ? errc::internal : done.error().code;
  };
  EXPECT_EQ(code({{"t", 0, &good}, {"t", 0, &large}}), errc::capacity);
  EXPECT_EQ(code({{"t", 0, &good}, {"c", 0, &keyless}}), errc::invalid);
  EXPECT_EQ(code({{"t", 0, &good}, {"t", 1, &good}}), errc::invalid);
  EXPECT_EQ(code({{"t", 0, &good}, {"nope", 0, &good}}), errc::not_found);
  EXPECT_THAT(read_all(*log_, "t"), IsEmpty());
  EXPECT_EQ(log_->create_topic({.name = "../x"}).error().code, errc::invalid);
  EXPECT_EQ(log_->create_topic({.name = "x", .partitions = 100'000}).error().code, errc::invalid);
}

TEST_F(EmbeddedLog, NamesTheProcessThatWritesAlready) {
  open();
  const auto refused = refusal();
  EXPECT_EQ(refused.code, errc::unavailable);
  EXPECT_EQ(refused.message, std::string("data folder ")
                                 .append(folder_.string())
                                 .append(": process ")
                                 .append(std::to_string(::getpid()))
                                 .append(" writes there already; stop it, or use another folder"));
}

TEST_F(EmbeddedLog, RefusesTheFormatOfANewerProgram) {
  open();
  log_.reset();
  std::ofstream(folder_ / "format") << "sonder-log 2\n";
  const auto refused = refusal();
  EXPECT_EQ(refused.code, errc::unsupported);
  EXPECT_EQ(refused.message, std::string("data folder ")
                                 .append(folder_.string())
                                 .append(": has disk format 2, this program knows up to 1; use a "
                                         "newer sonder, or another folder"));
  EXPECT_EQ(refusal(reading()).code, errc::unsupported);
}

TEST_F(EmbeddedLog, RefusesAFolderThatIsDamaged) {
  open();
  topic({.name = "t"});
  log_.reset();
  std::ofstream(folder_ / "format") << "something else";
  EXPECT_EQ(refusal().code, errc::corrupt);
  std::filesystem::remove(folder_ / "format");
  EXPECT_EQ(refusal().code, errc::corrupt);
  EXPECT_THAT(refusal().message, HasSubstr("move it away to start empty"));
  std::ofstream(folder_ / "format") << "sonder-log 1\n";
  for (const auto& file : std::filesystem::directory_iterator(folder_ / "db")) {
    if (file.path().filename().string().starts_with("MANIFEST"))
      std::ofstream(file.path()) << "not a manifest at all";
  }
  EXPECT_EQ(refusal().code, errc::corrupt);
}

TEST_F(EmbeddedLog, RefusesToReadWhatIsNotThere) {
  const auto refused = refusal(reading());
  EXPECT_EQ(refused.code, errc::not_found);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "format"));
}

TEST_F(EmbeddedLog, RefusesAWriteAheadLogThatIsDamagedInTheMiddleRatherThanLoseWhatFollows) {
  open();
  topic({.name = "t"});
  for (int i = 0; i < 50; ++i) must(append_to(*log_, "t", 0, {{"k", std::string(5000, 'v')}}));
  log_.reset();
  int damaged = 0;
  for (const auto& file : std::filesystem::directory_iterator(folder_ / "db")) {
    if (file.path().extension() != ".log" || file.file_size() < 200'000) continue;
    std::fstream written(file.path(), std::ios::in | std::ios::out | std::ios::binary);
    written.seekp(100'000);
    written << std::string(300, 'x');
    ++damaged;
  }
  ASSERT_EQ(damaged, 1);
  EXPECT_EQ(refusal().code, errc::corrupt);
}

TEST_F(EmbeddedLog, DropsOnlyTheWriteThatACrashCutShortAtTheEnd) {
  open();
  topic({.name = "t"});
  for (int i = 0; i < 10; ++i) must(append_to(*log_, "t", 0, {{"k", std::string(5000, 'v')}}));
  log_.reset();
  for (const auto& file : std::filesystem::directory_iterator(folder_ / "db")) {
    if (file.path().extension() != ".log" || file.file_size() < 50'000) continue;
    std::filesystem::resize_file(file.path(), file.file_size() - 1'000);
  }
  open();
  EXPECT_EQ(log_->offsets("t", 0)->end, 9);
}

TEST_F(EmbeddedLog, TellsOfDamagedRecords) {
  auto options = plain();
  open(options);
  topic({.name = "t"});
  must(append_to(*log_, "t", 0, {{"k", std::string(5000, 'v')}}));
  log_.reset();
  open();  // moves the write-ahead log into a table file
  log_.reset();
  int damaged = 0;
  for (const auto& file : std::filesystem::directory_iterator(folder_ / "db")) {
    if (file.path().extension() != ".sst" || file.file_size() < 5000) continue;
    std::fstream table(file.path(), std::ios::in | std::ios::out | std::ios::binary);
    table.seekp(2000);
    table << "damage";
    ++damaged;
  }
  ASSERT_EQ(damaged, 1);
  open();
  record_block block;
  const auto done = log_->fetch("t", 0, 0, {}, block);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, errc::corrupt);
  EXPECT_THAT(block.records, IsEmpty());
}

TEST_F(EmbeddedLog, IsReadableByItsOwnerOnly) {
  std::filesystem::remove_all(folder_);
  open();
  struct stat found;
  ASSERT_EQ(::stat(folder_.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 0777, 0700u);
}

// ---- retention and compaction ----

class EmbeddedLogMaintenance : public log_test {
 protected:
  embedded_options clocked() {
    auto options = plain();
    options.now_ms = [this] { return now_ms_.load(); };
    options.compaction_dirty_ratio_min = 0;
    return options;
  }
  std::atomic<std::int64_t> now_ms_ = 1'000'000;
};

TEST_F(EmbeddedLogMaintenance, RemovesBatchesOlderThanTheirRetentionAndKeepsOffsets) {
  open(clocked());
  topic({.name = "t", .retention_ms = 1000});
  must(append_to(*log_, "t", 0, {{"a", "old", now_ms_ - 2000}, {"b", "old", now_ms_ - 1500}}));
  must(append_to(*log_, "t", 0, {{"c", "young", now_ms_ - 500}}));
  must(log_->maintain());
  EXPECT_THAT(read_all(*log_, "t"), ElementsAre("2 c=young"));
  EXPECT_EQ(log_->offsets("t", 0)->first, 2);
  now_ms_ += 10'000;
  must(log_->maintain());
  EXPECT_THAT(read_all(*log_, "t"), IsEmpty());
  open(clocked());
  EXPECT_EQ(log_->offsets("t", 0)->first, 3);
  EXPECT_EQ(log_->offsets("t", 0)->end, 3);
  must(append_to(*log_, "t", 0, {{"d", "new", now_ms_}}));
  EXPECT_THAT(read_all(*log_, "t"), ElementsAre("3 d=new"));
  EXPECT_THAT(read_all(*log_, "t", 0, 3), ElementsAre("3 d=new"));
  must(log_->maintain());
  EXPECT_THAT(read_all(*reader(), "t"), ElementsAre("3 d=new"));
}

TEST_F(EmbeddedLogMaintenance, KeepsAtLeastTheBytesOfItsRetention) {
  open(clocked());
  topic({.name = "t", .retention_bytes = 5000});
  for (int i = 0; i < 20; ++i) must(append_to(*log_, "t", 0, {{"k", std::string(1000, 'v')}}));
  must(log_->maintain());
  const auto range = *log_->offsets("t", 0);
  EXPECT_EQ(range.end, 20);
  EXPECT_GE(range.end - range.first, 4);
  EXPECT_LE(range.end - range.first, 6);
  open(clocked());
  must(log_->maintain());
  EXPECT_EQ(log_->offsets("t", 0)->first, range.first);
}

TEST_F(EmbeddedLogMaintenance, CompactsToTheNewestRecordOfEachKeyAtItsOffset) {
  open(clocked());
  topic({.name = "t", .compacted = true});
  must(append_to(*log_, "t", 0, {{"a", "1"}, {"b", "1"}, {"a", "2"}}));
  must(append_to(*log_, "t", 0, {{"c", "1"}, {"b", "2"}}));
  must(log_->maintain());
  const std::vector<std::string> compacted = {"2 a=2", "3 c=1", "4 b=2"};
  EXPECT_EQ(read_all(*log_, "t"), compacted);
  for (std::int64_t from = 0; from <= 2; ++from)
    EXPECT_EQ(read_all(*log_, "t", 0, from, {.records_max = 1}), compacted);
  EXPECT_THAT(read_all(*log_, "t", 0, 4), ElementsAre("4 b=2"));
  must(append_to(*log_, "t", 0, {{"c", "2"}}));
  must(log_->maintain());
  open(clocked());
  EXPECT_THAT(read_all(*log_, "t"), ElementsAre("2 a=2", "4 b=2", "5 c=2"));
  EXPECT_EQ(read_all(*reader(), "t").size(), 3u);
}

TEST_F(EmbeddedLogMaintenance, KeepsTombstonesForTheirTimeSinceCompactionMetThem) {
  open(clocked());
  topic({.name = "t", .compacted = true, .tombstone_ms = 1000});
  must(append_to(*log_, "t", 0, {{"a", "1"}, {"b", "1"}, {"a", std::nullopt}}));
  must(log_->maintain());
  EXPECT_THAT(read_all(*log_, "t"), ElementsAre("1 b=1", "2 a=-"));
  now_ms_ += 999;
  must(log_->maintain());
  EXPECT_THAT(read_all(*log_, "t"), ElementsAre("1 b=1", "2 a=-"));
  now_ms_ += 1;
  must(log_->maintain());
  EXPECT_THAT(read_all(*log_, "t"), ElementsAre("1 b=1"));
  EXPECT_EQ(log_->offsets("t", 0)->end, 3);
  must(append_to(*log_, "t", 0, {{"a", "again"}}));
  EXPECT_THAT(read_all(*log_, "t", 0, 2), ElementsAre("3 a=again"));
}

TEST_F(EmbeddedLogMaintenance, JoinsSmallBatchesAndLeavesLargeOnesAlone) {
  open(clocked());
  topic({.name = "t", .compacted = true});
  for (int i = 0; i < 500; ++i) must(append_to(*log_, "t", 0, {{std::to_string(i), "v"}}));
  must(log_->maintain());
  must(log_->maintain());
  EXPECT_THAT(read_all(*log_, "t"), SizeIs(500));
  record_block block;
  must(log_->fetch("t", 0, 499, {}, block));
  EXPECT_GT(block.memory.size(), 500u) << "one batch holds them all";
}

// Random writes, maintenance, reopening and time against a map: no key ever shows another value
// than its newest, and none that was deleted comes back.
TEST_F(EmbeddedLogMaintenance, NeverResurrectsNorLosesAKey) {
  for (unsigned seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE(seed);
    auto options = clocked();
    options.compaction_keys_bytes_max =
        seed % 2 == 0 ? 1 << 20 : 500;  // the latter takes several rounds
    open(options);
    const std::string name = std::string("t").append(std::to_string(seed));
    topic({.name = name, .compacted = true, .tombstone_ms = 100});
    std::map<std::string, std::string> expected;
    std::mt19937 random(seed);
    for (int step = 0; step < 300; ++step) {
      const auto what = random() % 20;
      if (what < 14) {
        std::vector<test_record> records;
        for (auto left = random() % 5 + 1; left > 0; --left) {
          test_record r{std::to_string(random() % 30), std::to_string(random()), now_ms_};
          if (random() % 3 == 0) r.value.reset();
          if (r.value) {
            expected[*r.key] = *r.value;
          } else {
            expected.erase(*r.key);
          }
          records.push_back(r);
        }
        must(append_to(*log_, name, 0, records));
      } else if (what < 18) {
        now_ms_ += random() % 80;
        must(log_->maintain());
      } else if (what == 18) {
        open(options);
      } else {
        std::map<std::string, std::string> found;
        record_block block;
        for (std::int64_t at = 0;; at = block.next_offset) {
          must(log_->fetch(name, 0, at, {.records_max = 7}, block));
          if (block.records.empty()) break;
          for (const auto& r : block.records) {
            const std::string key(as_text(r.key));
            if (r.has_value) {
              found[key] = as_text(r.value);
            } else {
              found.erase(key);
            }
          }
        }
        ASSERT_EQ(found, expected) << "step " << step;
      }
    }
    // With nothing new, what remains is one record a key: tombstones have gone.
    for (int round = 0; round < 60; ++round) {
      now_ms_ += 200;
      must(log_->maintain());
    }
    EXPECT_THAT(read_all(*log_, name), SizeIs(expected.size()));
  }
}

TEST_F(EmbeddedLogMaintenance, LosesNothingToCommitsBesideIt) {
  auto options = clocked();
  options.maintenance_interval = std::chrono::milliseconds(1);
  open(options);
  topic({.name = "c", .compacted = true});
  topic({.name = "r", .retention_bytes = 10'000});
  constexpr int epochs = 3000;
  for (int i = 0; i < epochs; ++i) {
    auto kept = batch_of({{std::to_string(i % 10), std::to_string(i)}}),
         plain_record = batch_of({{"k", std::to_string(i)}});
    const produced_batch produced[] = {{"c", 0, &kept}, {"r", 0, &plain_record}};
    must(log_->append(produced));
  }
  must(log_->maintain());
  std::vector<std::string> newest;
  for (int i = epochs - 10; i < epochs; ++i) {
    newest.push_back(std::to_string(i)
                         .append(" ")
                         .append(std::to_string(i % 10))
                         .append("=")
                         .append(std::to_string(i)));
  }
  EXPECT_EQ(read_all(*log_, "c"), newest);
  const auto range = *log_->offsets("r", 0);
  EXPECT_EQ(range.end, epochs);
  EXPECT_THAT(read_all(*log_, "r"), SizeIs(static_cast<std::size_t>(range.end - range.first)));
}

// ---- other processes (here: other instances) read ----

TEST_F(EmbeddedLog, ShowsAReaderWhatTheWriterCommits) {
  open();
  topic({.name = "t"});
  must(append_to(*log_, "t", 0, {{"a", "1"}}));
  auto other = reader();
  EXPECT_THAT(read_all(*other, "t"), ElementsAre("0 a=1"));
  topic({.name = "later"});
  must(append_to(*log_, "t", 0, {{"b", "2"}}));
  must(append_to(*log_, "later", 0, {{"c", "3"}}));
  EXPECT_THAT(read_all(*other, "t"), ElementsAre("0 a=1", "1 b=2"));
  EXPECT_THAT(read_all(*other, "later"), ElementsAre("0 c=3"));
  EXPECT_THAT(*other->topics(), SizeIs(2));
  EXPECT_EQ(other->offsets("t", 0)->end, 2);
  std::uint64_t seen = 0;
  other->wait_for_records(seen, std::chrono::milliseconds(0));
  std::thread later([&] { must(append_to(*log_, "t", 0, {{"d", "4"}})); });
  other->wait_for_records(seen, std::chrono::seconds(20));
  later.join();
  EXPECT_THAT(read_all(*other, "t"), SizeIs(3));
  const auto refused = append_to(*other, "t", 0, {{"x", "y"}});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, errc::unavailable);
}

TEST_F(EmbeddedLog, ShowsAReaderOnlyWholeEpochsWhileTheWriterFlushes) {
  auto options = plain();
  options.memtable_bytes_max = 256 << 10;  // flushes all the time
  open(options);
  topic({.name = "t", .partitions = 2});
  auto other = reader();
  std::atomic<bool> done = false;
  constexpr int epochs = 400;
  std::thread writer([&] {
    for (int i = 0; i < epochs; ++i) {
      const std::string count = std::to_string(i + 1);
      auto left = batch_of({{"l", std::string(3000, 'v')}}),
           right = batch_of({{"r", std::string(10, 'v')}});
      epoch_changes epoch{"app",
                          {{"t", 0, &left}, {"t", 1, &right}},
                          {{"t", 0, i + 1}},
                          {{"s", 0, as_bytes("n"), as_bytes(count)}}};
      const auto committed = log_->commit(epoch);
      ASSERT_TRUE(committed) << committed.error().message;
    }
    done = true;
  });
  // Each look is newer than the one before: what a later one shows must be at least as far.
  std::int64_t state = 0;
  while (!done && !HasFailure()) {
    const auto left = other->offsets("t", 0);
    const auto right = other->offsets("t", 1);
    const auto consumed = other->committed("app", "t");
    ASSERT_TRUE(left && right && consumed);
    state = std::stol(state_of(*other, "s", 0, "n").value_or("0"));
    EXPECT_GE(right->end, left->end);
    EXPECT_GE((*consumed)[0], right->end == 0 ? -1 : right->end);
    EXPECT_GE(state, std::max<std::int64_t>(0, (*consumed)[0]));
    EXPECT_GE(static_cast<std::int64_t>(read_all(*other, "t", 0).size()), left->end);
  }
  writer.join();
  EXPECT_THAT(read_all(*other, "t", 0), SizeIs(epochs));
  EXPECT_THAT(read_all(*other, "t", 1), SizeIs(epochs));
}

}  // namespace
}  // namespace sonder
