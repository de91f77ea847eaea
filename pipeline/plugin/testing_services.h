#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "plugin/manifest.h"
#include "record/column.h"
#include "sonder/plugin.h"
#include "sonder/testing/host.h"

namespace sonder {

/// The host's services for one plugin under test: kept in memory, each call a savepoint, violations
/// written down. One thread.
class testing_services {
 public:
  static constexpr std::size_t key_bytes_max = 4096;
  static constexpr std::size_t value_bytes_max = std::size_t{1} << 20;
  static constexpr std::size_t log_lines_max = 10'000;
  static constexpr std::size_t violations_max = 1'000;

  /// Both outlive this object.
  testing_services(const manifest& of, const testing::host_options& options);
  testing_services(const testing_services&) = delete;
  testing_services& operator=(const testing_services&) = delete;

  [[nodiscard]] const sonder_host* module_host() const noexcept { return &module_host_; }
  [[nodiscard]] const sonder_host* instance_host() const noexcept { return &instance_host_; }

  /// Whose a row of a call is, and what makes its random numbers its own.
  struct row_origin {
    std::string subject;
    std::uint64_t position = 0;
  };
  /// Between these the plugin may use the services; `rows` lives until `end_call`. `input`, an index in the manifest: the rows' own;
  /// -1: timers, or none.
  void begin_call(const std::vector<row_origin>* rows, int input);
  void end_call(bool keep);
  /// True inside of a call, on its thread; writes a violation down otherwise.
  [[nodiscard]] bool may_serve(const char* service);
  /// Counts a service call that can fail; false for the one that shall.
  [[nodiscard]] bool works();
  void fail_after(std::uint64_t calls) { calls_until_failure_ = calls; }
  void violation(std::string what);

  struct timer_key {
    std::string subject;
    std::uint32_t timer;
    std::uint64_t tag;
    auto operator<=>(const timer_key&) const = default;
  };
  struct timer_value {
    std::int32_t kind = 0;
    std::int64_t at_ms = 0;
    std::string payload;
  };

  // What a test looks at and moves.
  std::vector<std::map<std::string, std::string, std::less<>>> stores;
  std::map<timer_key, timer_value> timers;
  std::map<std::pair<std::uint32_t, std::uint32_t>, double> metrics;  ///< by metric and label value
  std::vector<std::string> log_lines;
  std::vector<std::string> violations;
  std::int64_t event_time_ms = INT64_MIN;
  std::int64_t processing_time_ms = 0;

 private:
  friend struct testing_service_calls;
  struct state_change {
    std::uint32_t store;
    std::string key;
    std::optional<std::string> before;
  };
  struct metric_change {
    std::uint32_t metric;
    std::uint32_t label_value;
    double amount;
  };
  static const void* find_for_module(const sonder_host* host, const char* id);
  static const void* find_for_instance(const sonder_host* host, const char* id);
  void change(std::uint32_t store, std::string key, std::optional<std::string> value);

  const manifest& of_;
  const testing::host_options& options_;
  int input_ = -1;
  std::thread::id call_thread_;
  bool in_call_ = false;
  const std::vector<row_origin>* rows_ = nullptr;
  std::vector<std::uint64_t> draws_;
  std::vector<state_change> state_changes_;
  std::vector<metric_change> metric_changes_;
  std::optional<std::map<timer_key, timer_value>> timers_before_;
  std::string value_lent_;
  std::uint64_t calls_until_failure_ = 0;

  sonder_host module_host_{};
  sonder_host instance_host_{};
  sonder_log_service log_{};
  sonder_metrics_service metrics_service_{};
  sonder_state_service state_{};
  sonder_clock_service clock_{};
  sonder_random_service random_{};
  sonder_secrets_service secrets_{};
  sonder_timer_service timer_{};
  sonder_consent_authority_service authority_{};
};

}  // namespace sonder
