#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string_view>

#include "log/log.h"

namespace sonder {

/// Bounds of the embedded log.
struct embedded_limits {
  static constexpr std::size_t topics_max = 10'000;
  static constexpr std::int32_t partitions_max = 1'024;
  static constexpr std::size_t name_bytes_max = 249;  ///< topics, groups and stores, as in Kafka
  static constexpr std::size_t batch_bytes_max = 64 << 20;  ///< one produced batch
  static constexpr std::size_t epoch_bytes_max =
      512 << 20;  ///< all batches and state changes of one commit
  static constexpr std::size_t state_key_bytes_max = 64 << 10;
  static constexpr std::size_t note_bytes_max = 16 << 20;
};

struct embedded_options {
  enum class access : std::uint8_t {
    writer,  ///< the one process that writes; makes the folder if it is missing
    reader,  ///< beside a writer, as a RocksDB secondary: sees each epoch whole, soon after its
             ///< commit
  };
  access mode = access::writer;
  /// Whether `append`, `commit`, `create_topic` and `set_note` wait for the disk. Without, a power
  /// cut may take the newest ones away (whole, newest first); the end of this process alone takes
  /// nothing.
  bool fsync = true;

  std::size_t memtable_bytes_max = 128 << 20;  ///< all unflushed writes together
  std::size_t block_cache_bytes_max =
      64 << 20;  ///< blocks read from disk, indexes and filters among them

  /// How often the writer's own thread calls `maintain`; zero: never.
  std::chrono::milliseconds maintenance_interval{30'000};
  std::size_t compaction_keys_bytes_max = 64
                                          << 20;  ///< keys that one round of compaction remembers
  double compaction_dirty_ratio_min =
      0.5;  ///< new records to kept ones, from which compaction pays
  std::int64_t compaction_lag_ms_max =
      3'600'000;  ///< after which any new record is enough: erased data shall go

  /// The clock of retention, tombstones and LOG_APPEND_TIME; the system's if empty.
  std::function<std::int64_t()> now_ms;
  /// Called with the name of each step of a write (`begin`, `assigned`, `written`, `visible`),
  /// under the writer's lock: for tests that end the process there.
  std::function<void(std::string_view)> on_step;
};

/// The log on RocksDB, for one machine: topics, group offsets and state in one database, an epoch
/// as one WriteBatch.
///
/// Thread-safe. Fetches and state reads run in parallel; writes follow one another. After a failed
/// write (disk full) every write tries to recover first, so that work goes on once the cause is
/// gone; the failed one is there either whole or not at all.
class embedded_log : public log {
 public:
  /// Retention and compaction, once over all topics; runs beside commits. What the writer's own
  /// thread calls now and then.
  [[nodiscard]] virtual status maintain() = 0;
  [[nodiscard]] virtual const std::filesystem::path& folder() const noexcept = 0;
};

/// Opens the log in `folder`. errc::unavailable: another process writes there, the message names
/// it; errc::unsupported: a newer program made it; errc::corrupt: what it holds is not what was
/// written; errc::not_found: nothing to read yet.
[[nodiscard]] result<std::unique_ptr<embedded_log>> open_embedded_log(
    const std::filesystem::path& folder, embedded_options options = {});

}  // namespace sonder
