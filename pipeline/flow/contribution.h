#pragma once

#include <cstdint>
#include <vector>

#include "flow/counts.h"
#include "log/log.h"

namespace sonder {

/// What one task gives to one epoch: outputs, the offsets that they used up, changes of state, and counts. Built on the
/// task's strand; sealed, it is read-only until the epoch is committed or discarded. Keeps its memory over `clear()`.
struct contribution {
  explicit contribution(const graph& flow, const counts_layout& layout);

  /// Output of a sink (or of the dead-letter topic, after the sinks) for one partition.
  [[nodiscard]] record_batch_builder& output(std::size_t sink, std::int32_t partition) {
    return outputs[first_output[sink] + static_cast<std::size_t>(partition)];
  }
  [[nodiscard]] bool empty() const noexcept { return steps == 0; }
  void clear() noexcept;
  /// Adds everything to an epoch. Views in it last as long as this is not changed.
  void add_to(epoch_changes& epoch, const graph& flow, std::int32_t partition);

  std::vector<record_batch_builder> outputs;
  std::vector<std::size_t> first_output;      ///< per sink, then of the dead-letter topic
  std::vector<std::int64_t> next_offsets;     ///< per source: the first offset not consumed
  std::vector<node_counts> counts;
  std::vector<state_change> state;
  std::uint64_t records_in = 0;
  std::uint64_t records_out = 0;
  std::uint64_t dead_letters = 0;
  std::uint64_t steps = 0;
  std::uint64_t awaited_steps = 0;            ///< of these, all but batches of feedback topics
  std::size_t bytes = 0;                      ///< of the outputs
  double timestamps_ms_sum = 0;               ///< per event row, the timestamp of its batch's first record: for the mean latency
  std::uint64_t timestamps = 0;
  std::uint64_t blocked_ns = 0;               ///< how long the task stood still because the outbox was full
};

}  // namespace sonder
