#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

namespace sonder {

/// Lets one thread through at a time, and that one again as often as it likes; the others wait, but
/// not for ever. A recursive timed mutex, in parts that the thread sanitizer of GCC 12 understands.
class waiting_line {
 public:
  /// Holds the place of its thread until it is destroyed, on the same thread.
  class place {
   public:
    explicit place(waiting_line* of) : line_(of) {}
    place(place&& other) noexcept : line_(std::exchange(other.line_, nullptr)) {}
    place& operator=(place&&) = delete;
    ~place() {
      if (line_ != nullptr) line_->leave();
    }

   private:
    waiting_line* line_;
  };

  /// False if the others were not done by then.
  [[nodiscard]] bool enter(std::chrono::steady_clock::time_point until) {
    std::unique_lock lock(mutex_);
    const auto mine = [this] { return depth_ == 0 || owner_ == std::this_thread::get_id(); };
    if (!left_.wait_until(lock, until, mine)) return false;
    owner_ = std::this_thread::get_id();
    ++depth_;
    return true;
  }

 private:
  void leave() {
    {
      const std::lock_guard lock(mutex_);
      if (--depth_ > 0) return;
    }
    left_.notify_one();
  }

  std::mutex mutex_;
  std::condition_variable left_;
  std::thread::id owner_;
  int depth_ = 0;
};

}  // namespace sonder
