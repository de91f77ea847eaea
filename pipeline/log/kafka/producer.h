#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "log/kafka/client.h"
#include "log/kafka/local_state.h"
#include "log/log.h"

struct rd_kafka_s;
struct rd_kafka_topic_s;
struct rd_kafka_message_s;

namespace sonder::kafka {

/// One producing client of librdkafka, and what became of the records that it was given.
///
/// Confined to one thread at a time. Lends keys, values and headers of records to librdkafka until
/// `flush` or `forget` has returned, or the producer has gone.
class producer {
 public:
  /// `transactional_id` empty: outside transactions.
  [[nodiscard]] static result<std::unique_ptr<producer>> make(const kafka_options& options,
                                                              const std::string& transactional_id);
  ~producer();
  producer(const producer&) = delete;
  producer& operator=(const producer&) = delete;

  using deadline = std::chrono::steady_clock::time_point;

  /// Hands records over; waits for room in librdkafka's queue until `until`.
  [[nodiscard]] status put(std::span<const produced_batch> batches, deadline until);
  /// The changes as records of their changelogs, stamped `now_ms`.
  [[nodiscard]] status put(std::string_view group, std::span<const state_change> changes,
                           std::int64_t now_ms, deadline until);
  /// Waits for the fate of all records. An error is that of the first one refused.
  [[nodiscard]] status flush(deadline until);
  /// Drops what is queued or in flight, outside transactions.
  void forget();
  /// Forgets what became of earlier records.
  void begin();

  /// Where the changes put since `begin` ended; what `flush` has seen delivered.
  [[nodiscard]] std::vector<changelog_position> reached(
      std::span<const state_change> changes) const;

  [[nodiscard]] rd_kafka_s* get() const noexcept { return client_->get(); }
  [[nodiscard]] client& on() noexcept { return *client_; }

 private:
  struct changelog {
    std::int32_t partition = 0;
    std::string store;
    std::int64_t last = -1;  ///< offset
  };
  struct one_record;

  producer() = default;
  static void delivered(rd_kafka_s* instance, const rd_kafka_message_s* message, void* opaque);
  [[nodiscard]] result<rd_kafka_topic_s*> topic(std::string_view name);
  [[nodiscard]] status put_one(const one_record& record, deadline until);
  [[nodiscard]] result<std::size_t> changelog_of(std::string_view store, std::int32_t partition);

  std::unique_ptr<client> client_;
  std::map<std::string, rd_kafka_topic_s*, std::less<>> topics_;
  std::vector<changelog> changelogs_;
  std::uint64_t round_ = 0;  ///< counts `begin`
  std::int64_t stamped_ms_ = 0;
  bool transactional_ = false;
  bool purged_ = false;
  std::optional<error> refused_;
  record_block read_;  ///< of the batch being handed over
};

}  // namespace sonder::kafka
