#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "record/result.h"

namespace sonder {

enum class metric_type : std::uint8_t { counter, gauge, histogram };

/// One row of the written specification (pipeline/observe/metrics.md), or one metric that a
/// plugin's manifest declares.
struct metric_spec {
  struct label {
    std::string name;
    std::vector<std::string> values =
        {};  ///< all that it may have; empty: whatever is given, up to `series_max`
  };
  std::string name;  ///< Prometheus' rules: base unit as suffix, counters end with `_total`
  metric_type type = metric_type::counter;
  std::string unit;  ///< seconds, bytes, records, ... or 1
  std::string help;
  std::vector<label> labels = {};
  std::size_t series_max = 1;        ///< label sets; what goes beyond is counted under `other`
  std::vector<double> buckets = {};  ///< histogram: upper bounds, rising, without infinity
};

/// A number that only rises. Each caller has its own, on its own cache line; a scrape adds up those
/// of one label set.
///
/// Thread-safe, relaxed: no other memory is ordered by it. Exact up to 2^53.
class alignas(64) counter {
 public:
  void add(double amount = 1) noexcept { value_.fetch_add(amount, std::memory_order_relaxed); }
  [[nodiscard]] double value() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_ = 0;
};

/// A number that goes up and down. As `counter`; a scrape adds up the slots, so a gauge of the
/// whole process uses one slot.
class alignas(64) gauge {
 public:
  void set(double value) noexcept { value_.store(value, std::memory_order_relaxed); }
  void add(double amount) noexcept { value_.fetch_add(amount, std::memory_order_relaxed); }
  [[nodiscard]] double value() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_ = 0;
};

/// How often values fell into fixed buckets. As `counter`: relaxed, one a caller; a scrape may see
/// an observation's bucket before its sum, never a count that disagrees with the buckets.
class alignas(64) histogram {
 public:
  explicit histogram(std::span<const double> upper_bounds);

  /// Counts `value` `times` times: one call for a batch whose rows share a latency.
  void observe(double value, std::uint64_t times = 1) noexcept;
  /// Adds what was counted elsewhere in the same buckets (observe/tally.h). `counts` has `buckets()` entries.
  void merge(std::span<const std::uint64_t> counts, double sum) noexcept;

  [[nodiscard]] double sum() const noexcept { return sum_.load(std::memory_order_relaxed); }
  /// Of bucket `i`, not of those below; `buckets() - 1` is the one without upper bound.
  [[nodiscard]] std::uint64_t count(std::size_t i) const noexcept {
    return counts_[i].load(std::memory_order_relaxed);
  }
  [[nodiscard]] std::size_t buckets() const noexcept { return upper_bounds_.size() + 1; }

 private:
  std::span<const double> upper_bounds_;
  std::unique_ptr<std::atomic<std::uint64_t>[]> counts_;
  std::atomic<double> sum_ = 0;
};

// The names of the specification, so that the compiler finds a misspelt one.
namespace metric {
inline constexpr std::string_view build = "sonder_build_info";
inline constexpr std::string_view ready = "sonder_ready";
inline constexpr std::string_view records_in = "sonder_records_in_total";
inline constexpr std::string_view records_passed = "sonder_records_passed_total";
inline constexpr std::string_view records_dropped = "sonder_records_dropped_total";
inline constexpr std::string_view records_dead_lettered = "sonder_records_dead_lettered_total";
inline constexpr std::string_view records_withheld = "sonder_records_withheld_total";
inline constexpr std::string_view records_emitted = "sonder_records_emitted_total";
inline constexpr std::string_view records_parked = "sonder_records_parked_total";
inline constexpr std::string_view records_lost = "sonder_records_lost_total";
inline constexpr std::string_view parked = "sonder_parked_records";
inline constexpr std::string_view dead_letters = "sonder_dead_letters_total";
inline constexpr std::string_view retries = "sonder_stage_retries_total";
inline constexpr std::string_view batch_records = "sonder_batch_records";
inline constexpr std::string_view stage_seconds = "sonder_stage_duration_seconds";
inline constexpr std::string_view stage_waiting_seconds = "sonder_stage_waiting_seconds_total";
inline constexpr std::string_view blocked_seconds = "sonder_blocked_seconds_total";
inline constexpr std::string_view blocked_tasks = "sonder_blocked_tasks";
inline constexpr std::string_view epoch_seconds = "sonder_epoch_duration_seconds";
inline constexpr std::string_view epochs = "sonder_epochs_total";
inline constexpr std::string_view latency_seconds = "sonder_end_to_end_latency_seconds";
inline constexpr std::string_view outbox_bytes = "sonder_outbox_bytes";
inline constexpr std::string_view store_bytes = "sonder_store_bytes";
inline constexpr std::string_view store_disk_bytes = "sonder_store_disk_bytes";
inline constexpr std::string_view changelog_records = "sonder_changelog_records";
inline constexpr std::string_view source_waiting = "sonder_source_waiting_records";
inline constexpr std::string_view source_lag = "sonder_source_lag_records";
inline constexpr std::string_view source_lag_seconds = "sonder_source_lag_seconds";
inline constexpr std::string_view timers_waiting = "sonder_timers_waiting";
inline constexpr std::string_view timers = "sonder_timers_total";
inline constexpr std::string_view tasks = "sonder_tasks";
inline constexpr std::string_view rebalances = "sonder_rebalances_total";
inline constexpr std::string_view rebalance_reasons = "sonder_rebalance_reasons_total";
inline constexpr std::string_view group_strangers = "sonder_group_strangers";
inline constexpr std::string_view rebalance_seconds = "sonder_rebalance_duration_seconds";
inline constexpr std::string_view transaction_state = "sonder_transaction_state";
inline constexpr std::string_view transaction_seconds = "sonder_transaction_age_seconds";
inline constexpr std::string_view transactions = "sonder_transactions_total";
inline constexpr std::string_view restoring_tasks = "sonder_restoring_tasks";
inline constexpr std::string_view restored_tasks = "sonder_restored_tasks_total";
inline constexpr std::string_view restored_records = "sonder_restored_records_total";
inline constexpr std::string_view restored_bytes = "sonder_restored_bytes_total";
inline constexpr std::string_view restore_remaining = "sonder_restore_remaining_records";
inline constexpr std::string_view restore_rebuilt = "sonder_restore_rebuilt_stores_total";
inline constexpr std::string_view standby_tasks = "sonder_standby_tasks";
inline constexpr std::string_view standby_behind = "sonder_standby_behind_records";
inline constexpr std::string_view broker_connections_failed = "sonder_broker_connections_failed_total";
inline constexpr std::string_view broker_errors = "sonder_broker_errors_total";
inline constexpr std::string_view registry_requests = "sonder_registry_requests_total";
inline constexpr std::string_view registry_failures = "sonder_registry_failures_total";
inline constexpr std::string_view registry_open = "sonder_registry_circuit_open";
inline constexpr std::string_view contract_violations = "sonder_contract_violations_total";
inline constexpr std::string_view log_lines_suppressed = "sonder_log_lines_suppressed_total";
}  // namespace metric

/// Every metric of this process: those of the specification, and those that loaded plugins declare.
///
/// Thread-safe. `counter_of` and its like take a lock and allocate: call them at start and keep the
/// reference, which lives as long as this object. What they return is shared by nobody else who
/// asks with another `slot` (a task, a thread), so that the path of a record touches no shared
/// cache line; asking again with the same name, labels and slot gives the same one.
///
/// Bounded: a metric holds at most `series_max` label sets; the next ones are counted together
/// under the label value `other`, so that sums stay right. Label values never hold anything of a
/// record. A name or a label count that the specification does not have, or another type, is a
/// programmer's error and ends the process.
class metrics {
 public:
  metrics();
  ~metrics();
  metrics(const metrics&) = delete;
  metrics& operator=(const metrics&) = delete;

  /// Adds a plugin's metric. errc::exists if that name stands for something else, errc::invalid if
  /// it breaks Prometheus' rules or a bound; the same declaration again is fine.
  [[nodiscard]] status declare(const metric_spec& spec);

  using label_values = std::initializer_list<std::string_view>;
  /// `values` are those of the specification's labels, in its order.
  [[nodiscard]] counter& counter_of(std::string_view name, label_values values = {}, int slot = 0);
  [[nodiscard]] gauge& gauge_of(std::string_view name, label_values values = {}, int slot = 0);
  [[nodiscard]] histogram& histogram_of(std::string_view name, label_values values = {},
                                        int slot = 0);

  /// The sum over all slots of one label set (a histogram: how many observations), for tests and
  /// summaries; 0 if there is none.
  [[nodiscard]] double value_of(std::string_view name, label_values values = {}) const;

  /// Calls `refresh` before each exposition, on the thread that asked for it, until what this returns has gone: for figures that
  /// somebody else keeps. `refresh` waits for nothing and does not expose; destroying the handle, which comes before this object's end,
  /// waits for one that runs.
  [[nodiscard]] std::shared_ptr<void> before_exposing(std::function<void()> refresh);

  /// All of it in Prometheus' text format 0.0.4.
  [[nodiscard]] std::string expose() const;

  /// What stands declared: the specification first, then plugins' metrics in the order in which
  /// they came.
  [[nodiscard]] std::vector<metric_spec> specs() const;

  static constexpr std::size_t metrics_max = 512;
  static constexpr std::size_t series_per_plugin_metric_max = 256;
  static constexpr std::size_t label_bytes_max = 128;

 private:
  struct parts;
  std::unique_ptr<parts> parts_;
};

/// The specification as the program has it; a test holds it against pipeline/observe/metrics.md.
[[nodiscard]] const std::vector<metric_spec>& metric_specification();

}  // namespace sonder
