#pragma once

#include <rocksdb/db.h>
#include <rocksdb/write_batch.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <vector>

#include "log/folder.h"
#include "log/kafka/local_state.h"

namespace sonder::kafka {

/// A worker has it.
inline constexpr folder_kind state_folder{
    "state folder", "state.lock", "has it already; workers need a folder each: stop that one, or give this one another",
    "sonder-state ", state_format_version, "move the folder away, and state is rebuilt from its changelogs"};

/// RocksDB with its keys, behind `local_state`; what its locks guard is said at each.
///
/// | key | value |
/// |---|---|
/// | `n` group length (u16), group, store | u32: the store's number                |
/// | `c` number, partition                | the checkpoint                         |
/// | `s` number, partition, key           | the value                              |
///
/// Numbers and partitions are u32, big-endian. All in one column family: what is written without the write-ahead log reaches
/// the disk in order then, each record before the checkpoint that counts it.
class state_files {
 public:
  struct task_state {
    bool open = false;
    checkpoint at;
  };
  struct store_entry {
    std::uint32_t number = 0;
    std::vector<task_state> tasks;  ///< by partition
  };

  state_files(std::filesystem::path folder, local_state_options options, folder_lock lock);
  ~state_files();

  /// `mutex` is held exclusively, or nobody else knows of this yet.
  [[nodiscard]] status open_database();
  [[nodiscard]] status read_stores();
  /// The store's number, given at its first use. `mutex` is held exclusively.
  [[nodiscard]] result<store_entry*> number(std::string_view group, std::string_view store);
  /// Null: never used. `mutex` is held.
  [[nodiscard]] store_entry* find(std::string_view group, std::string_view store);
  /// Null: not open. `mutex` is held.
  [[nodiscard]] task_state* find_open(std::string_view group, std::string_view store, std::int32_t partition,
                                      std::uint32_t& number);
  /// `mutex` is held. A failure is remembered until `local_state::recover`.
  [[nodiscard]] status write(rocksdb::WriteBatch& batch, bool logged);
  /// `mutex` is held. As `write`.
  [[nodiscard]] status flush();
  [[nodiscard]] tl::unexpected<error> failed(std::string_view doing, const rocksdb::Status& why) const;
  [[nodiscard]] tl::unexpected<error> full() const;
  /// After a failure: errc::unavailable where the disk was full, else errc::io.
  [[nodiscard]] tl::unexpected<error> closed() const;
  [[nodiscard]] tl::unexpected<error> write_has_failed(const rocksdb::Status& why);

  const std::filesystem::path folder;
  const local_state_options options;
  std::shared_mutex mutex;  ///< exclusively: `db`, `stores` and their numbers change; shared: they are used
  std::unique_ptr<rocksdb::DB> db;
  std::map<std::string, std::map<std::string, store_entry, std::less<>>, std::less<>> stores;
  std::mutex change_mutex;  ///< held for changes of open tasks and their `task_state`; after `mutex`
  std::atomic<bool> write_failed{false};
  std::atomic<bool> disk_was_full{false};  ///< when that happened
  /// Whether some of what was written beside the write-ahead log is in memory only. `mutex` is held exclusively: no write is
  /// under way.
  [[nodiscard]] bool beside_log() const noexcept { return beside_begun_ != beside_flushed_; }
  std::uint64_t openings = 0;  ///< of the database; guarded by `mutex`

 private:
  folder_lock lock_;
  // Writes beside the write-ahead log since the opening: begun, done, and those that a flush has taken along.
  std::atomic<std::uint64_t> beside_begun_{0}, beside_done_{0}, beside_flushed_{0};
};

[[nodiscard]] inline rocksdb::Slice slice(bytes_view b) {
  return {reinterpret_cast<const char*>(b.data()), b.size()};
}
[[nodiscard]] inline bytes_view bytes(const rocksdb::Slice& s) {
  return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()};
}

inline constexpr std::size_t task_prefix_bytes = 9;
/// `kind` is `c` or `s`.
void put_task_prefix(std::string& to, char kind, std::uint32_t number, std::int32_t partition);
[[nodiscard]] std::string encode_checkpoint(const checkpoint& at);
[[nodiscard]] std::optional<checkpoint> decode_checkpoint(std::string_view from);

}  // namespace sonder::kafka
