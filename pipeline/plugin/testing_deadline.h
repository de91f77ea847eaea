#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

namespace sonder::testing {

/// Ends the process with the exit code of a worker's passed deadline when a call of a plugin takes longer than it may: the thread
/// inside of the call cannot be ended in another way. A thread of its own; none where there is no limit.
class testing_deadline {
 public:
  static constexpr int exit_code = 70;

  /// `whose` is told before the process ends, and outlives this. `limit_ms` 0: no limit.
  testing_deadline(const std::string& whose, std::int64_t limit_ms);
  ~testing_deadline();
  testing_deadline(const testing_deadline&) = delete;
  testing_deadline& operator=(const testing_deadline&) = delete;

  /// Stands while a call runs.
  class running {
   public:
    explicit running(testing_deadline& of) : of_(of) { of_.began(); }
    ~running() { of_.since_ns_.store(0, std::memory_order_release); }
    running(const running&) = delete;
    running& operator=(const running&) = delete;

   private:
    testing_deadline& of_;
  };

 private:
  void began() noexcept;
  void watch();

  const std::string& whose_;
  std::int64_t limit_ms_;
  std::atomic<std::int64_t> since_ns_{0};  ///< of the steady clock; 0: in no call
  std::mutex mutex_;
  std::condition_variable ended_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace sonder::testing
