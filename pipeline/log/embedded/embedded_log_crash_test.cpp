#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <map>
#include <random>
#include <set>
#include <thread>

#include "log/embedded/counting_epochs.h"
#include "log/embedded/log_fixture.h"
#include "log/small_disk.h"

namespace sonder {
namespace {

using testing::HasSubstr;

/// Workers that count (counting_epochs.h), and die.
class EmbeddedLogCrash : public log_test {
 protected:
  // The process id of a worker, which is in this program's folder.
  [[nodiscard]] pid_t start_worker(const std::string& die_at, int writes, unsigned seed) const {
    const std::string program =
        (std::filesystem::read_symlink("/proc/self/exe").parent_path() / "counting_worker")
            .string();
    const std::string folder = folder_.string(), count = std::to_string(writes),
                      number = std::to_string(seed);
    const char* const arguments[] = {program.c_str(), folder.c_str(), die_at.c_str(),
                                     count.c_str(),   number.c_str(), nullptr};
    pid_t child = 0;
    EXPECT_EQ(::posix_spawn(&child, program.c_str(), nullptr, nullptr,
                            const_cast<char* const*>(arguments), environ),
              0);
    return child;
  }

  // Opens what is left, and compares all of it with what `n` epochs make. Answers n.
  std::int64_t check(std::int64_t acknowledged_epochs) {
    open();
    const auto next = log_->committed("app", "in");
    if (!next) {  // died before the topics were there
      EXPECT_EQ(acknowledged_epochs, 0);
      log_.reset();  // or the next worker finds the folder taken
      return 0;
    }
    const std::int64_t n = std::max<std::int64_t>(0, (*next)[0]);
    EXPECT_GE(n, acknowledged_epochs) << "an acknowledged epoch is lost";
    EXPECT_LE(n, acknowledged_epochs + 1) << "more than the epoch under way appeared";
    EXPECT_EQ(state_of(*log_, "count", 0, "n").value_or("0"), std::to_string(n));
    for (int partition = 0; partition < 2; ++partition) {
      record_block block;
      std::int64_t expected = partition;
      for (std::int64_t at = 0;; at = block.next_offset) {
        must(log_->fetch("out", partition, at, {}, block));
        if (block.records.empty()) break;
        for (const auto& record : block.records) {
          EXPECT_EQ(as_text(record.key), std::to_string(expected));
          EXPECT_EQ(record.value.size(), static_cast<std::size_t>(expected % 3000));
          expected += 2;
        }
      }
      EXPECT_EQ(expected, n % 2 == partition ? n : n + 1) << "partition " << partition;
    }
    check_table(n);
    check_tail(n);
    must(log_->maintain());
    check_table(n);
    EXPECT_LT(check_tail(n), tail_bytes_kept + record_bytes_max);
    log_.reset();
    return n;
  }

  // What is left of a topic that keeps so many bytes is its newest records, each of them, and what
  // was removed stays so. Answers how many bytes of values there are.
  std::int64_t check_tail(std::int64_t n) {
    const auto range = log_->offsets("tail", 0);
    EXPECT_EQ(range->end, n);
    EXPECT_GE(range->first, tail_start_) << "removed records are there again";
    tail_start_ = range->first;
    std::int64_t expected = range->first;
    std::int64_t bytes = 0;
    record_block block;
    for (std::int64_t at = range->first;; at = block.next_offset) {
      must(log_->fetch("tail", 0, at, {}, block));
      if (block.records.empty()) break;
      for (const auto& record : block.records) {
        EXPECT_EQ(as_text(record.key), std::to_string(expected));
        EXPECT_EQ(record.value.size(), static_cast<std::size_t>(expected % 3000));
        bytes += static_cast<std::int64_t>(record.value.size());
        ++expected;
      }
    }
    EXPECT_EQ(expected, n);
    if (range->first > 0) {
      EXPECT_GE(bytes + batch_overhead_max * (n - range->first), tail_bytes_kept)
          << "more is removed than may be";
    }
    return bytes;
  }

  // The compacted topic, read to its end, says what the store says.
  void check_table(std::int64_t n) {
    std::map<std::string, std::string> table, expected;
    record_block block;
    for (std::int64_t at = 0;; at = block.next_offset) {
      must(log_->fetch("table", 0, at, {}, block));
      if (block.records.empty()) break;
      for (const auto& record : block.records) {
        if (record.has_value) {
          table[std::string(as_text(record.key))] = as_text(record.value);
        } else {
          table.erase(std::string(as_text(record.key)));
        }
      }
    }
    for (std::int64_t i = std::max<std::int64_t>(0, n - 50); i < n; ++i) {
      const std::string slot = std::to_string(i % 50);
      if (i % 7 != 0) expected[slot] = std::to_string(i);
      EXPECT_EQ(state_of(*log_, "slots", 0, slot),
                i % 7 != 0 ? std::optional(std::to_string(i)) : std::nullopt);
    }
    EXPECT_EQ(table, expected);
    EXPECT_EQ(log_->offsets("table", 0)->end, n);
  }

  static constexpr std::int64_t record_bytes_max = 3000;
  static constexpr std::int64_t batch_overhead_max = 200;  // of one record in a batch of its own
  std::int64_t tail_start_ = 0;
};

TEST_F(EmbeddedLogCrash, LeavesWholeEpochsWhereverItIsKilled) {
  const char* given = std::getenv("SONDER_CRASH_SEEDS");
  const unsigned seeds = given != nullptr ? static_cast<unsigned>(std::atoi(given)) : 200;
  const std::vector<std::string> steps = {"",        "begin",      "assigned", "written",
                                          "visible", "compaction", "retention"};
  std::set<std::string> died_at;
  for (unsigned seed = 1; seed <= seeds && !HasFailure(); ++seed) {
    std::mt19937 random(seed);
    const std::string& step = steps[seed % steps.size()];
    SCOPED_TRACE(std::string("seed ")
                     .append(std::to_string(seed))
                     .append(", killed at \"")
                     .append(step)
                     .append("\""));
    if (seed % 40 == 1) {  // from an empty folder now and then
      std::filesystem::remove_all(folder_);
      std::filesystem::create_directory(folder_);
      tail_start_ = 0;
    }
    acknowledged_epochs told(folder_ / "acknowledged");
    const int writes = static_cast<int>(random() % 40) + 1;
    const pid_t child = start_worker(step, writes, seed);
    ASSERT_GT(child, 0);
    if (step.empty()) {
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 60'000));
      ::kill(child, SIGKILL);
    }
    int ended = 0;
    ASSERT_EQ(::waitpid(child, &ended, 0), child);
    ASSERT_TRUE(WIFSIGNALED(ended) && WTERMSIG(ended) == SIGKILL)
        << "the worker ended by itself: " << WEXITSTATUS(ended);
    died_at.insert(step);
    told.set(check(told.get()));
  }
  if (seeds >= steps.size()) {
    EXPECT_EQ(died_at.size(), steps.size());
  }
}

// ---- a full disk ----

TEST_F(EmbeddedLogCrash, KeepsEpochsWholeOnAFullDiskAndGoesOnAfterwards) {
  open();
  must(create_counting_topics(*log_));
  std::int64_t n = 0;
  for (; n < 5; ++n) must(run_counting_epoch(*log_, n));
  {
    const small_disk disk(300'000);
    status done;
    while (done && n < 10'000) {
      done = run_counting_epoch(*log_, n);
      if (done) ++n;
    }
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, errc::unavailable);
    EXPECT_THAT(done.error().message, HasSubstr("the disk is full"));
    EXPECT_THAT(done.error().message, HasSubstr("free space, then work goes on by itself"));
    // It stays so, and what was committed can be read meanwhile.
    const auto again = run_counting_epoch(*log_, n);
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().code, errc::unavailable);
    EXPECT_THAT(again.error().message, HasSubstr("the disk is full"));
    EXPECT_EQ(static_cast<std::int64_t>(read_all(*log_, "out", 0).size()), (n + 1) / 2);
    EXPECT_EQ(state_of(*log_, "count", 0, "n"), std::to_string(n));
  }
  // A worker goes on from what is committed; the epoch that failed may have reached the disk whole.
  const auto done = log_->set_note("space", "is back");
  ASSERT_TRUE(done) << done.error().message;
  const std::int64_t next = (*log_->committed("app", "in"))[0];
  EXPECT_GE(next, n);
  EXPECT_LE(next, n + 1);
  for (std::int64_t i = next; i < next + 20; ++i) must(run_counting_epoch(*log_, i));
  log_.reset();
  EXPECT_EQ(check(next + 20), next + 20);
}

TEST_F(EmbeddedLogCrash, GoesOnAfterADiskThatTookNothingAtAll) {
  open();
  must(create_counting_topics(*log_));
  must(run_counting_epoch(*log_, 0));
  {
    const small_disk disk(0);
    for (int i = 0; i < 3; ++i) EXPECT_FALSE(run_counting_epoch(*log_, 1));
  }
  must(log_->set_note("space", "is back"));
  const std::int64_t next = (*log_->committed("app", "in"))[0];
  for (std::int64_t i = next; i < 5; ++i) must(run_counting_epoch(*log_, i));
  log_.reset();
  EXPECT_EQ(check(5), 5);
}

// There is no worker yet that could go on by itself, and nobody else who writes there: errc::unavailable would say so.
TEST_F(EmbeddedLogCrash, SaysToStartAgainWhereTheDiskIsFullWhenItIsOpened) {
  open();
  must(create_counting_topics(*log_));
  for (std::int64_t n = 0; n < 20; ++n) must(run_counting_epoch(*log_, n));
  log_.reset();
  const small_disk disk(300'000);
  embedded_options how;
  how.maintenance_interval = {};
  const auto refused = open_embedded_log(folder_, how);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, errc::io) << refused.error().message;
  EXPECT_THAT(refused.error().message, HasSubstr("the disk is full"));
  EXPECT_THAT(refused.error().message, HasSubstr("free space, then start again"));
}

}  // namespace
}  // namespace sonder
