#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace sonder {

struct stage_node;

/// The call into a plugin that one thread is in, for the thread that watches deadlines.
struct call_watch {
  std::atomic<std::int64_t> started_ns{0};  ///< of the steady clock; 0: in no call
  std::atomic<const stage_node*> stage{nullptr};
  std::atomic<const char*> into{nullptr};   ///< which function of the plugin's table

  /// Around each call, by the thread that makes it. `of` outlives the watch; `function` is a literal.
  void begin(const stage_node& of, const char* function, std::int64_t now_ns) noexcept {
    stage.store(&of, std::memory_order_relaxed);
    into.store(function, std::memory_order_relaxed);
    started_ns.store(now_ns, std::memory_order_release);
  }
  void end() noexcept { started_ns.store(0, std::memory_order_release); }
};

/// Stands while a call runs that is not one of a batch's: a module or an instance is made, destroyed, or turns an entry. Does not nest.
class watched_call {
 public:
  watched_call(call_watch& calls, const stage_node& of, const char* function) noexcept : calls_(calls) {
    calls_.begin(of, function,
                 std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count());
  }
  ~watched_call() { calls_.end(); }
  watched_call(const watched_call&) = delete;
  watched_call& operator=(const watched_call&) = delete;

 private:
  call_watch& calls_;
};

}  // namespace sonder
