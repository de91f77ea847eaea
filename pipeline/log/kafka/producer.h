#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
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
/// Puts at most one batch of the protocol for each partition before it waits for their fate: an
/// idempotent librdkafka sends no second one while the first is under way, and until then its
/// thread would ask over and over again (2.0.2).
///
/// Confined to one thread at a time. Lends keys, values and headers of records to librdkafka until
/// `flush` has returned without an error, or the producer has gone.
class producer {
 public:
  /// `transactional_id` empty: outside transactions.
  [[nodiscard]] static result<std::unique_ptr<producer>> make(const kafka_options& options,
                                                              const std::string& transactional_id);
  ~producer();
  producer(const producer&) = delete;
  producer& operator=(const producer&) = delete;

  using deadline = std::chrono::steady_clock::time_point;

  /// Hands records over; waits for room, in librdkafka's queue or behind what is under way, until
  /// `until`.
  [[nodiscard]] status put(std::span<const produced_batch> batches, deadline until);
  /// The changes as records of their changelogs, stamped `now_ms`.
  [[nodiscard]] status put(std::string_view group, std::span<const state_change> changes,
                           std::int64_t now_ms, deadline until);
  /// Waits for the fate of all records. An error is that of the first one refused.
  [[nodiscard]] status flush(deadline until);
  /// How long `forget` waits for librdkafka's word on what it has dropped.
  static constexpr std::chrono::milliseconds forget_max{5'000};
  /// Drops what is queued or in flight, outside transactions. What librdkafka says nothing of in
  /// time stays lent until the producer has gone.
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
  /// What one partition has been given since it was last waited for.
  struct lane {
    std::size_t records = 0;
    std::size_t bytes = 0;
  };
  struct one_record;
  struct batch_run;
  struct change_run;

  producer();
  [[nodiscard]] lane* lane_of(rd_kafka_topic_s* topic, std::int32_t partition) {
    return &lanes_[{topic, partition}];
  }
  template <class Run>
  [[nodiscard]] status put_in_turns(std::vector<Run>& runs, deadline until);
  [[nodiscard]] bool takes(lane& in, std::size_t record_bytes) const noexcept;
  [[nodiscard]] result<bool> put_some(batch_run& from, deadline until);
  [[nodiscard]] result<bool> put_some(change_run& from, deadline until);
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
  std::size_t batch_records_ = 0;  ///< of one batch of the protocol, at most
  std::size_t batch_bytes_ = 0;    ///< of its records, as they count in `lane`
  std::map<std::pair<rd_kafka_topic_s*, std::int32_t>, lane>
      lanes_;  ///< of every partition that was written to
  std::vector<batch_run> batch_runs_;
  std::vector<change_run> change_runs_;
};

}  // namespace sonder::kafka
