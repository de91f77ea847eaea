#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace sonder {

/// Runs short pieces of work on a pool of threads, in no promised order. Thread-safe. Destroyed, it waits for what runs and
/// drops what has not begun.
class executor {
 public:
  virtual ~executor() = default;
  virtual void submit(std::function<void()> work) = 0;
  /// Returns once nothing that was submitted runs or waits.
  virtual void wait() = 0;
};

/// oneTBB's scheduler, in an arena of `threads` threads.
[[nodiscard]] std::unique_ptr<executor> make_tbb_executor(std::int32_t threads);

/// A queue under a mutex and plain threads: what ThreadSanitizer understands, where oneTBB's own synchronisation is opaque to it.
[[nodiscard]] std::unique_ptr<executor> make_plain_executor(std::int32_t threads);

}  // namespace sonder
