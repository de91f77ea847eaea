#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "log/log.h"

namespace sonder {

namespace kafka {
class client_counts;
}

/// Bounds of the log on Kafka.
struct kafka_limits {
  static constexpr std::size_t epoch_bytes_max = 512 << 20;    ///< all records of one commit
  static constexpr std::size_t epoch_records_max = 4'000'000;  ///< of one commit
  /// For a transaction's markers, which brokers write after they have answered. Until then they refuse what the next one asks, and
  /// librdkafka asks again 50 ms later: an epoch that is late by that has no time before the next one, which is refused, too.
  static constexpr std::chrono::milliseconds markers_take{10};
};

struct kafka_options {
  enum class guarantee_kind : std::uint8_t {
    exactly_once,   ///< epochs are transactions; readers see committed records only
    at_least_once,  ///< outputs are durable before state is, and that before offsets are; after a failure some come twice
  };

  std::string bootstrap;  ///< `host:port`, several by commas
  guarantee_kind guarantee = guarantee_kind::exactly_once;
  /// Names this worker within its group, for as long as its state directory lives: no two that run
  /// may share it. Empty: a name of this process's own, which costs a restarted worker the wait for
  /// what its predecessor left open.
  std::string instance;
  /// Whether the group remembers the instance over a restart (KIP-345). Needs `instance`.
  bool static_membership = false;

  /// Any librdkafka property; the ones that would break a guarantee are refused (properties.h).
  std::map<std::string, std::string> properties;
  /// Properties whose values are secrets, read by the caller: never in a line or a message.
  std::map<std::string, std::string> secrets;

  std::filesystem::path state_dir;  ///< stores and notes; one per instance

  bool create_topics = true;  ///< else a topic that is missing is an error
  std::int32_t replication_factor =
      0;  ///< of topics made here, and least of those found; 0: as the broker has it
  std::int32_t standby_replicas = 0;  ///< copies of state kept ahead on other workers

  std::chrono::milliseconds session_timeout{10'000};
  std::chrono::milliseconds max_poll_interval{300'000};
  /// After which the broker aborts what a dead worker left open. Commits that take longer fail.
  std::chrono::milliseconds transaction_timeout{10'000};
  std::chrono::milliseconds request_timeout{10'000};  ///< of look-ups and administration
  std::size_t prefetch_bytes_max = 2 << 20;           ///< fetched and unread, of one partition
  std::size_t reset_records_max = 1'000'000;          ///< entries that one transaction of a reset takes away

  /// Lines for the log: syslog's level (3 error, 4 warning, 6 info, 7 debug) and text. Called from
  /// any thread; nothing personal, no secrets.
  std::function<void(int level, std::string_view text)> on_line;
  /// Where its clients count what they complain of (client.h); made where it is null.
  std::shared_ptr<kafka::client_counts> counts;
  /// Called with the name of each step of a commit (README.md), from the committing thread: for
  /// tests that end the process there.
  std::function<void(std::string_view)> on_step;
};

/// The log on Apache Kafka: records in topics, offsets in the transaction of their epoch, state in
/// a local RocksDB with a changelog topic for each store.
///
/// Thread-safe, `fetch` with one caller at a time per partition. errc::invalid: an option is wrong,
/// or credentials are refused; errc::unavailable: no broker answers within `request_timeout`.
[[nodiscard]] result<std::unique_ptr<log>> open_kafka_log(kafka_options options);

}  // namespace sonder
