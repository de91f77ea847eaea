#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <thread>

namespace sonder::cli {

/// How often SIGINT or SIGTERM came. The handlers stand from the first call on. Async-signal-safe:
/// they only count.
[[nodiscard]] const std::atomic<int>& stop_requests();

/// Keeps the promise of `run` on leaving where a plugin's call, or a log that does not answer, does
/// not come back: threads inside of such a call cannot be ended one by one. After the second request, or when the first one's drain
/// has taken `drain_max`, the worker has `stop_grace` to leave in order; then `leave` is called with
/// the reason, on this object's thread. The log stays whole: an epoch is written as one batch.
class stop_watch {
 public:
  using leaver = std::function<void(const std::string& why)>;

  stop_watch(const std::atomic<int>& requests, std::chrono::milliseconds drain_max, leaver leave);
  /// Ends the watch; `leave` is not called any more.
  ~stop_watch();
  stop_watch(const stop_watch&) = delete;
  stop_watch& operator=(const stop_watch&) = delete;

 private:
  std::jthread thread_;
};

inline constexpr std::chrono::milliseconds stop_grace{1000};

}  // namespace sonder::cli
