#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace sonder {

/// How many records of an epoch are how old, before anybody knows when the epoch will have been committed: ages are counted against
/// the first record's timestamp, in buckets of an eighth of a power of two, and become latencies once the commit has its time.
/// A latency is wrong by at most a sixteenth of how far its record's timestamp lies from the first one's; below 8 ms it is exact.
///
/// Confined to its task's strand. One addition a record; no clock, no allocation.
class age_tally {
 public:
  void add(std::int64_t timestamp_ms) noexcept {
    timestamp_ms = std::clamp(timestamp_ms, -timestamp_ms_max, timestamp_ms_max);
    if (records_ == 0) first_ms_ = timestamp_ms;
    ++records_;
    ++counts_[index_of(first_ms_ - timestamp_ms)];
  }

  /// Calls `each(latency_ms, records)` for what is there, if it was committed at `now_ms`.
  template <class Each>
  void latencies(std::int64_t now_ms, Each each) const {
    if (records_ == 0) return;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      if (counts_[i] > 0) each(now_ms - first_ms_ + older_ms(i), counts_[i]);
    }
  }

  void clear() noexcept {
    if (records_ > 0) counts_.fill(0);
    records_ = 0;
  }

 private:
  static constexpr std::int64_t timestamp_ms_max = std::int64_t{1} << 60;  // a record may claim anything
  static constexpr std::size_t exact = 8;      // ages below, in milliseconds, have a bucket each
  static constexpr std::size_t octaves = 38;   // of eight buckets: up to 2^41 ms, seventy years
  static constexpr std::size_t half = exact + octaves * 8;

  static std::size_t index_of(std::int64_t older_ms) noexcept {
    const bool younger = older_ms < 0;
    auto far = younger ? -static_cast<std::uint64_t>(older_ms) : static_cast<std::uint64_t>(older_ms);
    if (far >= std::uint64_t{1} << 41) far = (std::uint64_t{1} << 41) - 1;
    std::size_t at = static_cast<std::size_t>(far);
    if (far >= exact) {
      const auto octave = static_cast<std::size_t>(std::bit_width(far)) - 4;
      at = exact + octave * 8 + static_cast<std::size_t>(far >> octave & 7);
    }
    return younger ? half + at : at;
  }

  /// The middle of a bucket.
  static std::int64_t older_ms(std::size_t index) noexcept {
    const auto at = index % half;
    auto far = static_cast<std::int64_t>(at);
    if (at >= exact) {
      const auto octave = (at - exact) / 8;
      far = static_cast<std::int64_t>((8 + (at - exact) % 8) << octave) + (octave > 0 ? std::int64_t{1} << (octave - 1) : 0);
    }
    return index >= half ? -far : far;
  }

  std::array<std::uint32_t, 2 * half> counts_{};
  std::uint64_t records_ = 0;
  std::int64_t first_ms_ = 0;
};

}  // namespace sonder
