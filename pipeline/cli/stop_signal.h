#pragma once

#include <atomic>

namespace sonder::cli {

/// How often SIGINT or SIGTERM came. The handlers stand from the first call on. Async-signal-safe:
/// they only count.
[[nodiscard]] const std::atomic<int>& stop_requests();

}  // namespace sonder::cli
