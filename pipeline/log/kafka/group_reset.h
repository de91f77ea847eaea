#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "log/kafka/changelog_reader.h"
#include "log/kafka/member.h"
#include "log/kafka/topics.h"
#include "log/kafka/writer.h"

namespace sonder::kafka {

/// What stands beside the offset of a task whose state a reset has begun to take away, until it has moved the offsets: when it
/// began, and what was asked for. Whoever reads it must not work on that task.
[[nodiscard]] std::string reset_mark(std::int64_t began_ms, std::string_view asked);
/// What such a mark says, with the next step; empty: `note` is none.
[[nodiscard]] std::string unfinished_reset(std::string_view note);

/// A reset by the only member of its group. Confined to one thread; used once.
///
/// State goes by a tombstone for each key that the changelog still holds, so that a worker's copy on disk, however old, rolls
/// forward to nothing. What fits one transaction goes together with the offsets. Of more, each transaction but the last marks the
/// tasks beside their offsets, and the last, which moves these, takes the marks away. So a kill leaves all as it was, or marks
/// that stop workers, or all done. Without transactions (at_least_once) marks come before the first tombstone.
///
/// Every transaction carries the group's metadata: brokers refuse it once the group has gone on. Keys in memory: those of one
/// transaction.
class group_resetter {
 public:
  static constexpr std::size_t keys_bytes_max = std::size_t{128} << 20;  ///< of one transaction

  /// All of them outlive it. `alone` holds every task of the group.
  group_resetter(const kafka_options& options, topics& known, writer& writes, changelog_reader& reads, member& alone,
                 const group_reset& to);

  /// errc::unavailable: the group has gone on, or stands elsewhere than it was thought to; errc::invalid: an unfinished reset takes
  /// away more than this one.
  [[nodiscard]] status run();

 private:
  class part_sink;
  struct place {
    std::int64_t next = -1;
    std::string note;
  };
  using places = std::map<std::pair<std::string, std::int32_t>, place>;
  struct part_keys {
    state_part of;
    std::unordered_set<std::string> keys;
  };

  [[nodiscard]] status look();
  [[nodiscard]] status check_stood() const;
  [[nodiscard]] status check_marks() const;
  [[nodiscard]] bool clears(std::int32_t task) const;
  [[nodiscard]] status take_away(const state_part& part);
  [[nodiscard]] bool full() const noexcept { return records_ >= options_.reset_records_max || keys_bytes_ >= keys_bytes_max; }
  [[nodiscard]] status check_alone();
  [[nodiscard]] status write_some();
  [[nodiscard]] status write_last();
  [[nodiscard]] status write(std::vector<consumed_offset> offsets, std::string_view note);

  const kafka_options& options_;
  topics& topics_;
  writer& writer_;
  changelog_reader& reads_;
  member& alone_;
  const group_reset& to_;
  const bool plain_;
  const std::string mark_;
  places now_;                    // where the group stands, and what is noted there
  std::vector<part_keys> gone_;   // of the transaction that is being put together
  std::size_t records_ = 0, keys_bytes_ = 0;  // of `gone_`
};

}  // namespace sonder::kafka
