#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "flow/graph.h"
#include "flow/parked_rows.h"
#include "flow/rows.h"
#include "flow/timers.h"
#include "sonder/plugin.h"
#include "state/store.h"

namespace sonder {

class logger;

/// Secrets of a flow by name, read at start from files and the environment; wiped when destroyed. Immutable.
class secret_box {
 public:
  [[nodiscard]] static result<std::shared_ptr<const secret_box>> read(const flow_options& flow);
  ~secret_box();
  [[nodiscard]] const std::string* find(std::string_view name) const;

 private:
  std::map<std::string, std::string, std::less<>> secrets_;
};

/// What became of one series that a plugin counts: the sum of a counter, the newest value of a gauge.
struct metric_change {
  std::uint32_t metric = 0;
  std::uint32_t label_value = 0;
  bool gauge = false;
  bool changed = false;
  double amount = 0;
};

/// What a plugin counted, one entry for each series that its manifest declares: bounded, however often it counts.
class metric_changes {
 public:
  explicit metric_changes(const manifest& of);
  /// False, and nothing is counted, if the manifest has no such series, or where a counter would go back or be no number any more.
  [[nodiscard]] bool add(std::uint32_t metric, std::uint32_t label_value, double amount) noexcept;
  /// Adds what `later` has, of the same manifest, and clears it.
  void take(metric_changes& later) noexcept;
  void clear() noexcept;
  [[nodiscard]] const std::vector<metric_change>& series() const noexcept { return series_; }

 private:
  static void apply(metric_change& to, double amount) noexcept;
  std::vector<metric_change> series_;
  std::vector<std::uint32_t> first_;  ///< per metric: of its series
};

/// The services that one module and its instances may use inside of any call into them: log/1 and secrets/1, as the manifest asks.
/// Elsewhere they are refused, and counted. Thread-safe.
class module_services {
 public:
  /// `lines` may be null: what a plugin logs is dropped then. `whose`: what calls into the plugin are made with (`plugin_call`).
  module_services(const stage_node& stage, std::shared_ptr<const secret_box> secrets, logger* lines, const char* whose);
  module_services(const module_services&) = delete;
  module_services& operator=(const module_services&) = delete;
  [[nodiscard]] const sonder_host& host() const noexcept { return host_; }
  [[nodiscard]] logger* lines() const noexcept { return lines_; }
  [[nodiscard]] std::uint64_t violations() const noexcept { return violations_.load(std::memory_order_relaxed); }
  /// Whether this thread is inside of a call into the plugin; counts the violation if it is not.
  [[nodiscard]] bool allowed() const noexcept;

 private:
  static const void* find(const sonder_host* host, const char* id);
  static void write(void* ctx, std::int32_t level, sonder_string message) noexcept;
  static std::int32_t get_secret(void* ctx, sonder_string name, sonder_bytes* secret) noexcept;
  const stage_node& stage_;
  std::shared_ptr<const secret_box> secrets_;
  logger* lines_;
  const char* whose_;
  mutable std::atomic<std::uint64_t> violations_{0};
  sonder_host host_{};
  sonder_log_service log_{};
  sonder_secrets_service secret_service_{};
};

struct store_figures {
  std::size_t cache_bytes = 0;
  std::size_t change_bytes = 0;  ///< no epoch has committed
};

/// The services of one plugin instance of one task, with the effects of the call that runs. Confined to the task's strand; a call
/// of a service from another thread, or outside a call, is refused and counted as a violation. Nothing is thrown into a plugin:
/// where memory runs out or a library throws under a service, it answers FATAL and `failure` says so.
class instance_services {
 public:
  instance_services(const graph& flow, const stage_node& stage, const module_services& module, log& on,
                    std::int32_t partition);
  instance_services(const instance_services&) = delete;
  instance_services& operator=(const instance_services&) = delete;

  [[nodiscard]] const sonder_host& host() const noexcept { return host_; }

  /// Opens a call on rows `base[first, first + count)` of `space`: a savepoint of every store.
  /// `input`, an index in the manifest; -1: timers. A store that an input fills is changed by its calls alone.
  void begin_call(int input, const row_space& space, const std::int32_t* rows, std::int64_t count, std::int64_t event_time_ms,
                  std::int64_t processing_time_ms);
  /// Keeps the effects of the call, or undoes them.
  void end_call(bool keep);
  /// A limit or the disk failed while the call ran; its status does not count then.
  [[nodiscard]] const status& failure() const noexcept { return failure_; }
  /// Whether this thread is in the call that runs; counts the violation if it is not. From any thread.
  [[nodiscard]] bool allowed() noexcept;
  /// Something was thrown under a service of the call that runs: it does not count. `what` is at most 15 bytes, so that it needs no memory.
  void broke(const char* what) noexcept { failure_ = fail(errc::internal, what); }

  /// The stage's timers; null if its manifest declares none.
  [[nodiscard]] timer_table* timers() noexcept { return timers_.get(); }

  /// The stage's rows that wait for a later attempt. Read what is committed with `load()` before anything else.
  [[nodiscard]] parked_rows& parked() noexcept { return *parked_; }

  /// The task's event time, kept with the parked rows; INT64_MIN if none is.
  [[nodiscard]] status keep_event_time_ms(std::int64_t at_ms);
  [[nodiscard]] result<std::int64_t> kept_event_time_ms();

  void seal(std::vector<state_change>& to);
  void committed();
  /// A store is so full of uncommitted changes that the epoch should close before more are made.
  [[nodiscard]] bool full() const noexcept;
  [[nodiscard]] metric_changes& metrics() noexcept { return metrics_; }
  /// Those for which a call does not count.
  [[nodiscard]] std::uint64_t violations() const noexcept { return violations_.load(std::memory_order_relaxed); }
  /// Metrics that are none, or were given what they cannot be: these have no other effect.
  [[nodiscard]] std::uint64_t metric_violations() const noexcept { return metric_violations_; }
  /// Of the store that is `i`th in `store_names`.
  [[nodiscard]] store_figures store(std::size_t i) const noexcept;

 private:
  friend struct service_calls;
  [[nodiscard]] bool may_change(std::uint32_t store) const noexcept;

  const graph& flow_;
  const stage_node& stage_;
  const module_services& module_;
  std::vector<std::unique_ptr<keyed_store>> stores_;  ///< as `store_names`: the manifest's, then the timers', then the parked rows'
  std::vector<std::unique_ptr<keyed_store>> rebuilt_;  ///< those that a global table fills: in no epoch
  std::vector<keyed_store*> by_index_;                 ///< as in the manifest, of both kinds
  int input_ = -1;                                     ///< of the call that runs
  std::unique_ptr<timer_table> timers_;
  std::unique_ptr<parked_rows> parked_;
  metric_changes metrics_;
  metric_changes call_metrics_;  ///< of the call that runs
  std::vector<std::uint64_t> draws_;  ///< per row of the call: how many random numbers it had
  const row_space* space_ = nullptr;
  const std::int32_t* rows_ = nullptr;
  std::int64_t row_count_ = 0;
  std::int64_t event_time_ms_ = 0;
  std::int64_t processing_time_ms_ = 0;
  std::atomic<std::thread::id> call_thread_{};  ///< that of the call that runs; none: no call does
  std::atomic<std::uint64_t> violations_{0};
  std::uint64_t metric_violations_ = 0;
  std::uint64_t version_hash_ = 0;
  status failure_;

  sonder_host host_{};
  sonder_metrics_service metrics_service_{};
  sonder_state_service state_service_{};
  sonder_clock_service clock_service_{};
  sonder_random_service random_service_{};
  sonder_timer_service timer_service_{};
  sonder_consent_authority_service authority_service_{};
};

}  // namespace sonder
