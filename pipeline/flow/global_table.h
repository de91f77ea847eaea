#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "flow/config.h"
#include "log/log.h"

namespace sonder {

inline constexpr std::size_t global_table_bytes_max = std::size_t{256} << 20;  ///< keys, values and headers of one

/// A whole topic in this process: of each key the newest record, removals too, in the order in which they came. Tasks are given all
/// of it when they start and what comes later as it comes, each at its own pace, by sequence numbers that begin at 0 in each process.
///
/// Thread-safe. Holds at most `global_table_bytes_max`; a topic that needs more is errc::invalid.
class global_table {
 public:
  /// Where a record stands in the topic.
  struct place {
    std::int32_t partition = -1;
    std::int64_t offset = 0;
  };

  global_table(log& from, const topic_options& topic);

  /// The stable end of each partition, as it is now.
  [[nodiscard]] result<std::vector<std::int64_t>> ends();
  /// Takes what the log has further, as far as it is here; does not wait. Nothing, where another thread is at it.
  [[nodiscard]] status advance();
  /// Whether everything before these ends is in.
  [[nodiscard]] bool reaches(const std::vector<std::int64_t>& ends) const;
  /// One past the newest sequence number.
  [[nodiscard]] std::int64_t end() const;
  /// Replaces `into` by records from the sequence number on, which is their offset there, and `places` by where they stand in the
  /// topic. Their bytes are copied.
  void fetch(std::int64_t from, const fetch_limits& limits, record_block& into, std::vector<place>& places) const;
  [[nodiscard]] std::int32_t partitions() const noexcept { return partitions_; }

 private:
  struct kept {
    std::int32_t partition;
    log_record record;                      ///< its offset is that of the topic
    std::unique_ptr<std::uint8_t[]> bytes;  ///< what it views
    std::size_t size;
  };
  [[nodiscard]] status keep(std::int32_t partition, const log_record& record);

  log& from_;
  const std::string topic_;
  const std::int32_t partitions_;
  std::mutex reading_;             ///< held by who advances
  record_block block_;             ///< guarded by reading_
  mutable std::shared_mutex mutex_;
  std::vector<std::int64_t> next_;  ///< per partition, what is read next; guarded by mutex_, written under both
  std::map<std::int64_t, kept> records_;                  ///< by sequence number; guarded by mutex_
  std::unordered_map<std::string, std::int64_t> newest_;  ///< partition and key -> sequence number; guarded by mutex_
  std::int64_t sequence_ = 0;                             ///< guarded by mutex_
  std::size_t bytes_ = 0;                                 ///< guarded by mutex_
};

}  // namespace sonder
