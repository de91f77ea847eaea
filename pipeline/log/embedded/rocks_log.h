#pragma once

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <thread>
#include <vector>

#include "log/embedded/data_folder.h"
#include "log/embedded/database.h"
#include "log/embedded/embedded_log.h"
#include "log/embedded/keys.h"

namespace sonder::embedded {

struct partition_state {
  std::atomic<std::int64_t> first{0};
  std::atomic<std::int64_t> end{0};
  // Guarded by rocks_log::write_mutex_.
  std::int64_t pending_end = 0;  ///< end with what the write in progress adds
  std::int64_t bytes = 0;        ///< of batches kept; only of topics with `retention_bytes`
  std::int64_t pending_bytes = 0;
};

struct topic_state {
  std::uint32_t id = 0;
  topic_config config;
  std::vector<partition_state> partitions;  ///< never resized: elements are shared with readers

  topic_state(std::uint32_t topic_id, topic_config of)
      : id(topic_id),
        config(std::move(of)),
        partitions(static_cast<std::size_t>(config.partitions)) {}
};
using topic_ptr = std::shared_ptr<topic_state>;

[[nodiscard]] std::string encode_topic(std::uint32_t id, const topic_config& topic);
[[nodiscard]] result<topic_ptr> decode_topic(std::string_view name, std::string_view value);
/// A topic's name: as Kafka has them.
[[nodiscard]] status check_name(std::string_view kind, std::string_view name);
/// A group's or a store's name: any bytes, in number within bounds.
[[nodiscard]] status check_label(std::string_view kind, std::string_view name);

/// The implementation behind open_embedded_log. Locks, in the order in which they may be taken:
///
/// - `maintenance_mutex_`: one maintenance at a time.
/// - `write_mutex_`: one write at a time, from giving out offsets to their being visible.
/// - `db_mutex_`: shared by everything that uses the database; alone for opening it again and for a
/// reader's catching up.
/// - `topics_mutex_`: the map of topics.
class rocks_log final : public embedded_log {
 public:
  [[nodiscard]] static result<std::unique_ptr<rocks_log>> open(const std::filesystem::path& folder,
                                                               embedded_options options);
  ~rocks_log() override;

  status create_topic(const topic_config& topic) override;
  result<topic_config> describe(std::string_view topic) override;
  result<std::vector<topic_config>> topics() override;
  result<offset_range> offsets(std::string_view topic, std::int32_t partition) override;
  result<std::int64_t> offset_at(std::string_view topic, std::int32_t partition,
                                 std::int64_t timestamp_ms) override;
  status fetch(std::string_view topic, std::int32_t partition, std::int64_t from,
               const fetch_limits& limits, record_block& into) override;
  status append(std::span<const produced_batch> batches) override;
  result<std::vector<std::int64_t>> committed(std::string_view group,
                                              std::string_view topic) override;
  status commit(const epoch_changes& epoch) override;
  epoch_limits limits() const noexcept override { return {.bytes_max = embedded_limits::epoch_bytes_max}; }
  result<std::vector<std::string>> stores(std::string_view group) override;
  result<bool> state_get(std::string_view group, std::string_view store, std::int32_t partition,
                         bytes_view key, buffer& value) override;
  status state_scan(std::string_view group, std::string_view store, std::int32_t partition,
                    bytes_view prefix, state_visitor visit, void* ctx) override;
  result<group_state> describe_group(std::string_view group) override;
  result<state_size> size_of_state(std::string_view group, std::string_view store,
                                   std::int32_t partition) override;
  result<state_footprint> footprint_of_state(std::string_view group, std::string_view store,
                                             std::span<const std::int32_t> partitions) override;
  status reset(const group_reset& to) override;
  void wait_for_records(std::uint64_t& seen, std::chrono::milliseconds at_most) override;
  result<std::optional<std::string>> note(std::string_view name) override;
  status set_note(std::string_view name, std::string_view value) override;
  status maintain() override;
  const std::filesystem::path& folder() const noexcept override { return folder_; }

 private:
  rocks_log(std::filesystem::path folder, embedded_options options)
      : folder_(std::move(folder)), options_(std::move(options)) {}

  [[nodiscard]] bool reads_only() const noexcept {
    return options_.mode == embedded_options::access::reader;
  }
  [[nodiscard]] std::int64_t now_ms() const;
  void step(std::string_view name) const {
    if (options_.on_step) options_.on_step(name);
  }

  // rocks_log.cpp: opening and looking up
  /// With db_mutex_ held: whether there is a database, which a failed recovery leaves closed.
  [[nodiscard]] status check_open() const;
  [[nodiscard]] status load_topics();
  [[nodiscard]] status load_partitions(topic_state& topic);
  [[nodiscard]] status catch_up();
  [[nodiscard]] result<topic_ptr> find_topic(std::string_view name);
  [[nodiscard]] result<topic_ptr> find_partition(std::string_view name, std::int32_t partition);
  [[nodiscard]] result<offset_range> read_range(std::uint32_t topic, std::int32_t partition);
  [[nodiscard]] status fetch_batches(const topic_state& topic, std::int32_t partition,
                                     std::int64_t from, const fetch_limits& limits,
                                     record_block& into);

  // rocks_log_write.cpp
  [[nodiscard]] status check_batch(const produced_batch& produced, topic_ptr& topic);
  [[nodiscard]] status check_epoch(const epoch_changes& epoch);
  [[nodiscard]] status write_epoch(const epoch_changes& epoch);
  [[nodiscard]] status write(rocksdb::WriteBatch& batch, std::string_view doing, bool sync);
  [[nodiscard]] status recover();

  // maintenance.cpp
  [[nodiscard]] status retain(topic_state& topic, std::int32_t partition);
  [[nodiscard]] status compact(topic_state& topic, std::int32_t partition);
  friend class compaction;
  [[nodiscard]] bool stop_requested();
  void run_maintenance();

  std::filesystem::path folder_;
  embedded_options options_;
  std::optional<folder_lock> lock_;

  std::mutex maintenance_mutex_;
  std::mutex write_mutex_;
  bool write_failed_ = false;  ///< guarded by write_mutex_
  std::shared_mutex db_mutex_;
  std::unique_ptr<database> db_;
  std::shared_mutex topics_mutex_;
  std::map<std::string, topic_ptr, std::less<>> topics_;

  std::mutex appended_mutex_;
  std::condition_variable appended_changed_;
  std::uint64_t appended_ = 0;  ///< guarded by appended_mutex_

  std::mutex stop_mutex_;
  std::condition_variable stop_changed_;
  bool stopping_ = false;  ///< guarded by stop_mutex_
  std::thread maintenance_;
};

}  // namespace sonder::embedded
