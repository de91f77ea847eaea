#pragma once

#include <algorithm>
#include <chrono>

namespace sonder {

/// Spares a server that does not answer, and those who would wait for it. Closed: everybody may
/// ask. After `failures_max` failures in a row it is open for `open_min`; then one may try, and a
/// failure opens it for twice as long as before, `open_max` at most.
///
/// Not thread-safe: its owner lets one ask at a time.
class circuit_breaker {
 public:
  using clock = std::chrono::steady_clock;

  struct limits {
    int failures_max = 3;
    std::chrono::milliseconds open_min{500};
    std::chrono::milliseconds open_max{30'000};
  };

  explicit circuit_breaker(const limits& of) : limits_(of) {}

  [[nodiscard]] bool may_ask(clock::time_point now) const noexcept { return now >= open_until_; }
  /// How long nobody may ask; zero while closed.
  [[nodiscard]] std::chrono::milliseconds remaining(clock::time_point now) const noexcept {
    return std::chrono::ceil<std::chrono::milliseconds>(
        std::max(open_until_ - now, clock::duration::zero()));
  }

  void succeeded() noexcept {
    failures_ = 0;
    open_for_ = {};
  }
  void failed(clock::time_point now) noexcept {
    if (++failures_ < limits_.failures_max) return;
    open_for_ = std::clamp(2 * open_for_, limits_.open_min, limits_.open_max);
    open_until_ = now + open_for_;
  }

 private:
  limits limits_;
  int failures_ = 0;
  std::chrono::milliseconds open_for_{0};
  clock::time_point open_until_{};
};

}  // namespace sonder
