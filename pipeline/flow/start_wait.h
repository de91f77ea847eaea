#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "flow/worker.h"
#include "record/result.h"

namespace sonder {

/// A worker that starts while brokers, registry or group do not answer: tries again with growing pauses, and says in the log and to
/// `options.readiness` what it waits for. Confined to one thread.
class start_wait {
 public:
  static constexpr std::chrono::milliseconds pause_first{250};
  static constexpr std::chrono::milliseconds pause_max{5'000};
  static constexpr std::chrono::seconds told_interval{10};  ///< between two lines that say the same

  /// `patience_ms`: as `flow_options::start_patience_ms`, of each of what is waited for. `options` outlives it.
  start_wait(const worker_options& options, std::int64_t patience_ms);

  /// Does `attempt` until it says something else than errc::unavailable, or patience has ended: then what it said. errc::cancelled:
  /// the worker was asked to stop.
  [[nodiscard]] status until_there(const std::string& what, const std::function<status()>& attempt);

 private:
  using clock = std::chrono::steady_clock;

  [[nodiscard]] bool asked_to_stop() const noexcept;
  void tell(const std::string& what, const error& why);
  [[nodiscard]] bool pause(std::chrono::milliseconds of) const;

  const worker_options& options_;
  const std::int64_t patience_ms_;
  std::string told_;
  clock::time_point told_at_;
};

}  // namespace sonder
