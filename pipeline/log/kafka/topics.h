#pragma once

#include <chrono>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "log/kafka/client.h"
#include "log/log.h"

struct rd_kafka_ConfigEntry_s;

namespace sonder::kafka {

/// Topics of the cluster: made, described, compared. Thread-safe; every call may take as long as
/// `request_timeout`.
class topics {
 public:
  /// Both outlive it; `asks` is polled by nobody else.
  topics(const kafka_options& options, client& asks) : options_(options), asks_(asks) {}

  /// As in the port; a compacted topic with a retention is made with both policies, and one without
  /// must not lose records by retention. Also errc::not_found where the topic is missing and the
  /// configuration does not let us make it, and errc::exists where it has fewer replicas than asked
  /// for.
  [[nodiscard]] status create(const topic_config& topic);
  /// errc::not_found; of a topic that `create` has answered for, only once `request_timeout` is over.
  [[nodiscard]] result<topic_config> describe(std::string_view topic);
  /// Without Kafka's own (`__consumer_offsets`, `__transaction_state`).
  [[nodiscard]] result<std::vector<topic_config>> all();
  /// The same by name alone.
  [[nodiscard]] result<std::vector<std::string>> names();
  /// Asked of the broker once a topic: partition numbers that change under a running worker are an
  /// error wherever they matter.
  [[nodiscard]] result<std::int32_t> partitions_of(std::string_view topic);
  /// The same as it is now, in `count_wait_max` at most.
  [[nodiscard]] result<std::int32_t> count_partitions(std::string_view topic);
  static constexpr std::chrono::milliseconds count_wait_max{1'000};
  /// errc::not_found or errc::invalid where there is no such partition.
  [[nodiscard]] status check_partition(std::string_view topic, std::int32_t partition);

 private:
  struct found_topic {
    topic_config config;
    std::int32_t replicas = 0;  ///< of the partition that has fewest
    bool led = true;            ///< every partition has a leader
    bool removes_old =
        false;  ///< cleanup.policy has `delete`: retention counts, of a compacted topic too
  };
  /// `create` has made or found it: where a broker does not know it, that broker is late.
  void remember(const std::string& topic);
  [[nodiscard]] result<topic_config> describe_once(std::string_view topic);
  [[nodiscard]] result<std::vector<found_topic>> look_up(const std::string* only) { return look_up(only, timeout_ms()); }
  [[nodiscard]] result<std::vector<found_topic>> look_up(const std::string* only, int at_most_ms);
  static void take_entry(const rd_kafka_ConfigEntry_s* entry, found_topic& into);
  [[nodiscard]] status add_configs(std::vector<found_topic>& to);
  [[nodiscard]] status make(const topic_config& topic);
  [[nodiscard]] status make(const topic_config& topic, bool from_any_time);
  [[nodiscard]] status wait_until_led(const topic_config& topic);
  [[nodiscard]] status compare(const topic_config& asked, const found_topic& found) const;
  [[nodiscard]] std::string place(std::string_view topic) const;
  [[nodiscard]] int timeout_ms() const {
    return static_cast<int>(options_.request_timeout.count());
  }

  const kafka_options& options_;
  client& asks_;
  std::mutex known_mutex_;
  std::map<std::string, std::int32_t, std::less<>> known_;  ///< guarded by known_mutex_
  std::set<std::string, std::less<>> there_;                ///< guarded by known_mutex_
};

}  // namespace sonder::kafka
