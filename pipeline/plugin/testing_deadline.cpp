#include "plugin/testing_deadline.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace sonder::testing {

namespace {

constexpr std::int64_t look_again_ms_max = 50;

std::int64_t steady_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

testing_deadline::testing_deadline(const std::string& whose, std::int64_t limit_ms) : whose_(whose), limit_ms_(limit_ms) {
  if (limit_ms > 0) thread_ = std::thread([this] { watch(); });
}

testing_deadline::~testing_deadline() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  ended_.notify_all();
  thread_.join();
}

void testing_deadline::began() noexcept {
  if (limit_ms_ > 0) since_ns_.store(steady_ns(), std::memory_order_release);
}

void testing_deadline::watch() {
  std::unique_lock lock(mutex_);
  const std::chrono::milliseconds look_again(std::clamp<std::int64_t>(limit_ms_ / 4, 1, look_again_ms_max));
  while (!ended_.wait_for(lock, look_again, [this] { return ending_; })) {
    const auto since = since_ns_.load(std::memory_order_acquire);
    if (since == 0 || steady_ns() - since < limit_ms_ * 1'000'000) continue;
    std::fprintf(stderr, "sonder: a call of %s passed its deadline of %lld ms; the rows of the call are lost\n", whose_.c_str(),
                 static_cast<long long>(limit_ms_));
    _exit(exit_code);
  }
}

}  // namespace sonder::testing
