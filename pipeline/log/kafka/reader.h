#pragma once

#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "log/kafka/client.h"
#include "log/kafka/topics.h"
#include "log/log.h"

namespace sonder::kafka {

/// Reads committed records of any partition, prefetched in the background up to
/// `prefetch_bytes_max` each. No group: what to read, and from where, the caller says.
///
/// Thread-safe; one caller at a time per partition.
class reader {
 public:
  /// All of them outlive it.
  [[nodiscard]] static result<std::unique_ptr<reader>> open(const kafka_options& options,
                                                            topics& known, client& asks);
  ~reader();
  reader(const reader&) = delete;
  reader& operator=(const reader&) = delete;

  /// As in the port. The first call for a partition starts it, and so does one that does not go on
  /// where the last one ended: its records come with a later call. `into.next_offset` also passes
  /// markers of transactions and records of aborted ones, up to the stable end.
  [[nodiscard]] status fetch(std::string_view topic, std::int32_t partition, std::int64_t from,
                             const fetch_limits& limits, record_block& into);
  /// Stops the prefetch of a partition and frees what it holds.
  void stop(std::string_view topic, std::int32_t partition);
  [[nodiscard]] result<offset_range> offsets(std::string_view topic, std::int32_t partition);
  [[nodiscard]] result<std::int64_t> offset_at(std::string_view topic, std::int32_t partition,
                                               std::int64_t timestamp_ms);
  /// The high watermark.
  [[nodiscard]] result<std::int64_t> newest(std::string_view topic, std::int32_t partition);
  void wait_for_records(std::uint64_t& seen, std::chrono::milliseconds at_most);

 private:
  class cursor;
  class topic_cursors;
  reader(const kafka_options& options, topics& known, client& asks);
  [[nodiscard]] result<std::int64_t> ask(const client& asks, std::string_view topic,
                                         std::int32_t partition, std::int64_t time);
  [[nodiscard]] result<cursor*> cursor_of(std::string_view topic, std::int32_t partition);
  void wake();

  const kafka_options& options_;
  topics& topics_;
  client&
      asks_;  ///< of its own connection: on the reader's, an answer would wait behind a long fetch
  std::unique_ptr<client> fetches_;
  std::mutex marks_mutex_;
  std::unique_ptr<client> marks_;  ///< read_uncommitted, made when first asked; guarded by marks_mutex_

  std::mutex cursors_mutex_;
  std::map<std::string, std::unique_ptr<topic_cursors>, std::less<>>
      cursors_;  ///< guarded by cursors_mutex_

  std::mutex arrived_mutex_;
  std::condition_variable arrived_changed_;
  std::uint64_t arrived_ = 0;  ///< guarded by arrived_mutex_
};

}  // namespace sonder::kafka
