#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "flow/config.h"
#include "record/result.h"

namespace sonder {

class logger;

/// What retention took of one partition before the flow had read it. The log tells by offsets: at most so many records.
///
/// Confined to the partition's reader, or guarded by it. `topic` and `lines` outlive it; `lines` may be null.
class lost_records {
 public:
  /// Between two lines about one partition; what is lost meanwhile is in the next one, and in the counter at once.
  static constexpr std::chrono::seconds line_interval{60};

  lost_records(const topic_options& topic, std::string_view option, bool skips, std::int32_t partition, logger* lines)
      : topic_(topic), option_(option), skips_(skips), partition_(partition), lines_(lines) {}

  /// Offsets from `from` on, `count` of them, are gone. errc::corrupt with the ways out, unless the flow goes on without them: then it
  /// is said in a line, and counted.
  [[nodiscard]] status add(std::int64_t from, std::int64_t count);
  /// Counts what has been said elsewhere.
  void count(std::int64_t gone) noexcept { untaken_ += static_cast<std::uint64_t>(gone); }
  /// How many were counted since the last call.
  [[nodiscard]] std::uint64_t take() noexcept { return std::exchange(untaken_, 0); }

 private:
  const topic_options& topic_;
  const std::string option_;  ///< of the topic, that decides: "lost"
  const bool skips_;
  const std::int32_t partition_;
  logger* const lines_;
  std::uint64_t untaken_ = 0;
  std::int64_t untold_ = 0;
  std::chrono::steady_clock::time_point tell_from_{};
};

}  // namespace sonder
