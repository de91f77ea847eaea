#include "flow/start_wait.h"

#include <algorithm>
#include <thread>

#include "observe/log.h"

namespace sonder {
namespace {

constexpr std::chrono::milliseconds look_again(20);

// A run that ends by itself is waited for by somebody, who wants to know.
std::int64_t patience_of(const worker_options& options, std::int64_t given_ms) {
  return given_ms < 0 && options.until_idle ? 0 : given_ms;
}

}  // namespace

start_wait::start_wait(const worker_options& options, std::int64_t patience_ms)
    : options_(options), patience_ms_(patience_of(options, patience_ms)) {}

bool start_wait::asked_to_stop() const noexcept {
  return options_.stop != nullptr && options_.stop->load(std::memory_order_relaxed) > 0;
}

status start_wait::until_there(const std::string& what, const std::function<status()>& attempt) {
  if (options_.readiness) options_.readiness(false, "starts: waits for " + what);
  if (options_.lines != nullptr) options_.lines->write(log_level::debug, "worker starts", {{"waits_for", what}});
  const auto began = clock::now();
  for (auto of = pause_first;; of = std::min(2 * of, pause_max)) {
    auto outcome = attempt();
    if (outcome || outcome.error().code != errc::unavailable) return outcome;
    if (patience_ms_ >= 0 && clock::now() - began >= std::chrono::milliseconds(patience_ms_)) return outcome;
    tell(what, outcome.error());
    if (!pause(of)) return fail(errc::cancelled, "asked to stop while it waited for " + what);
  }
}

void start_wait::tell(const std::string& what, const error& why) {
  if (options_.readiness) options_.readiness(false, "starts: waits for " + what + ": " + why.message);
  const auto now = clock::now();
  if (what == told_ && now - told_at_ < told_interval) return;
  told_ = what;
  told_at_ = now;
  if (options_.lines != nullptr) options_.lines->write(log_level::warning, "worker waits", {{"for", what}, {"because", why.message}});
}

bool start_wait::pause(std::chrono::milliseconds of) const {
  const auto until = clock::now() + of;
  while (clock::now() < until) {
    if (asked_to_stop()) return false;
    std::this_thread::sleep_for(look_again);
  }
  return !asked_to_stop();
}

}  // namespace sonder
