#include "cli/stop_signal.h"

#include <condition_variable>
#include <csignal>
#include <mutex>
#include <optional>
#include <utility>

namespace sonder::cli {
namespace {

std::atomic<int> requests = 0;
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler may not take a lock");

void count_request(int) {
  requests.fetch_add(1);
}

}  // namespace

const std::atomic<int>& stop_requests() {
  static const bool installed = [] {
    struct sigaction action {};
    action.sa_handler = count_request;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
    return true;
  }();
  static_cast<void>(installed);
  return requests;
}

namespace {

using clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds look_again{20};

void watch(const std::stop_token& ended, const std::atomic<int>& asked,
           std::chrono::milliseconds drain_max, const stop_watch::leaver& leave) {
  std::mutex mutex;
  std::condition_variable_any sleep;
  std::optional<clock::time_point> first;
  std::optional<clock::time_point> second;
  std::unique_lock lock(mutex);
  while (!ended.stop_requested()) {
    const auto now = clock::now();
    if (asked >= 1 && !first) first = now;
    if (asked >= 2 && !second) second = now;
    if (second && now - *second >= stop_grace)
      return leave("was asked twice to stop");
    if (first && now - *first >= drain_max + stop_grace)
      return leave("had not come to its end after run.drain_max");
    sleep.wait_for(lock, ended, look_again, [] { return false; });
  }
}

}  // namespace

stop_watch::stop_watch(const std::atomic<int>& requests, std::chrono::milliseconds drain_max,
                       leaver leave)
    : thread_([&requests, drain_max, leave = std::move(leave)](const std::stop_token& ended) {
        watch(ended, requests, drain_max, leave);
      }) {}

stop_watch::~stop_watch() {
  thread_.request_stop();
}

}  // namespace sonder::cli
