#include "cli/stop_signal.h"

#include <csignal>

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

}  // namespace sonder::cli
