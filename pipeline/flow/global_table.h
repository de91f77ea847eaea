#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <shared_mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "flow/config.h"
#include "flow/lost_records.h"
#include "log/log.h"

namespace sonder {

/// A whole topic in this process: of each key the newest record, in the order in which they came. Tasks are given all of it when they
/// start and what comes later as it comes, each at its own pace, by sequence numbers that begin at 0 in each process. A removal stays
/// until all readers have it, and is nothing to those that start later.
///
/// Thread-safe. Holds at most the topic's `memory_max`; a topic that needs more is errc::invalid.
class global_table {
 public:
  /// Where a record stands in the topic.
  struct place {
    std::int32_t partition = -1;
    std::int64_t offset = 0;
  };

  /// What one task has had of the table. Confined to its strand; the table outlives it.
  class reader {
   public:
    explicit reader(global_table& of);
    ~reader();
    reader(const reader&) = delete;
    reader& operator=(const reader&) = delete;

    /// One past the newest sequence number.
    [[nodiscard]] std::int64_t end() const { return of_.end(); }
    [[nodiscard]] std::int32_t partitions() const noexcept { return of_.partitions_; }
    /// Offsets that retention took before this process had them; told to one reader.
    [[nodiscard]] std::uint64_t take_lost() noexcept { return of_.lost_.exchange(0, std::memory_order_relaxed); }
    /// Replaces `into` by records from the sequence number on, which is their offset there, and `places` by where they stand in the
    /// topic. Their bytes are copied. What lies before `into.next_offset` is not asked for again: who starts anew makes a new reader.
    void fetch(std::int64_t from, const fetch_limits& limits, record_block& into, std::vector<global_table::place>& places);

   private:
    friend class global_table;
    global_table& of_;
    std::atomic<std::int64_t> next_{0};
  };

  /// `topic` and `lines`, which may be null, outlive it.
  global_table(log& from, const topic_options& topic, logger* lines = nullptr);

  /// The stable end of each partition, as it is now.
  [[nodiscard]] result<std::vector<std::int64_t>> ends();
  /// Takes what the log has further, as far as it is here; does not wait. Nothing, where another thread is at it. errc::corrupt: retention
  /// was faster than this process, and the topic's `lost` does not let it go on.
  [[nodiscard]] status advance();
  /// Whether everything before these ends is in.
  [[nodiscard]] bool reaches(const std::vector<std::int64_t>& ends) const;
  /// One past the newest sequence number.
  [[nodiscard]] std::int64_t end() const;
  /// The same; `reached` becomes what who has had everything before it has had of the topic: per partition, one past the last offset.
  /// Removals that are not kept, since there was nothing to remove, are among it.
  [[nodiscard]] std::int64_t end(std::vector<std::int64_t>& reached) const;
  /// Memory that it takes, of `memory_max`.
  [[nodiscard]] std::size_t bytes() const;

 private:
  struct kept {
    std::int32_t partition;
    log_record record;                      ///< its offset is that of the topic
    std::unique_ptr<std::uint8_t[]> bytes;  ///< what it views
    std::size_t size;
  };
  void fetch(std::int64_t from, const fetch_limits& limits, record_block& into, std::vector<place>& places) const;
  [[nodiscard]] status keep(std::int32_t partition, const log_record& record);
  void forget(std::int64_t sequence);
  void forget_removals();

  log& from_;
  const topic_options& options_;
  const std::string topic_;
  const std::int32_t partitions_;
  std::mutex reading_;             ///< held by who advances
  record_block block_;             ///< guarded by reading_
  std::vector<lost_records> losses_;  ///< per partition; guarded by reading_
  std::atomic<std::uint64_t> lost_{0};
  mutable std::shared_mutex mutex_;
  std::vector<std::int64_t> next_;  ///< per partition, what is read next; guarded by mutex_, written under both
  std::map<std::int64_t, kept> records_;                  ///< by sequence number; guarded by mutex_
  std::unordered_map<std::string, std::int64_t> newest_;  ///< partition and key -> sequence number; guarded by mutex_
  std::set<std::int64_t> removals_;                       ///< those of `records_` that are one; guarded by mutex_
  std::set<const reader*> readers_;                       ///< guarded by mutex_
  std::int64_t sequence_ = 0;                             ///< guarded by mutex_
  std::size_t bytes_ = 0;                                 ///< guarded by mutex_
};

}  // namespace sonder
