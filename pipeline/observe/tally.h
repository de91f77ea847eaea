#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace sonder {

// The buckets of the specification's histograms: upper bounds, rising, without infinity.
inline constexpr std::array batch_records_bounds = {1.0,   4.0,   16.0,   64.0,  128.0,
                                                    256.0, 512.0, 1024.0, 4096.0};
inline constexpr std::array duration_seconds_bounds = {0.00001, 0.00003, 0.0001, 0.0003, 0.001,
                                                       0.003,   0.01,    0.03,   0.1,    0.3,
                                                       1.0,     3.0,     10.0,   30.0};
inline constexpr std::array latency_seconds_bounds = {0.001, 0.003, 0.01, 0.03,  0.1,   0.3,   1.0,
                                                      3.0,   10.0,  30.0, 100.0, 300.0, 1000.0};

/// What one thread observed, in the buckets of a histogram of the specification, until it is added
/// to that histogram: no lock, no atomic, no allocation. Confined to its owner.
template <const auto& upper_bounds>
class tally {
 public:
  void observe(double value, std::uint64_t times = 1) noexcept {
    const auto at = std::lower_bound(upper_bounds.begin(), upper_bounds.end(), value);
    counts_[static_cast<std::size_t>(at - upper_bounds.begin())] += times;
    sum_ += value * static_cast<double>(times);
  }
  void add(const tally& other) noexcept {
    for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
    sum_ += other.sum_;
  }
  void clear() noexcept { *this = tally(); }

  /// Per bucket, not of those below; the last is the one without upper bound.
  [[nodiscard]] std::span<const std::uint64_t> counts() const noexcept { return counts_; }
  [[nodiscard]] double sum() const noexcept { return sum_; }

 private:
  std::array<std::uint64_t, upper_bounds.size() + 1> counts_{};
  double sum_ = 0;
};

using batch_records_tally = tally<batch_records_bounds>;
using duration_tally = tally<duration_seconds_bounds>;

}  // namespace sonder
