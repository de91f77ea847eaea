#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "flow/age_tally.h"
#include "flow/counts.h"
#include "log/log.h"

namespace sonder {

/// Why a task stands still.
enum class block_reason : std::uint8_t {
  none,
  outbox,   ///< uncommitted outputs of all tasks pass `outbox_bytes_max`
  changes,  ///< a store, or the task's own outputs, hold as much as one epoch takes
};
inline constexpr std::size_t block_reasons = 3;
[[nodiscard]] std::string_view name(block_reason reason) noexcept;

/// What became of timers that were due.
struct timer_counts {
  std::uint64_t fired = 0;
  std::uint64_t given_up = 0;  ///< their call failed alone, too
  std::uint64_t withheld = 0;  ///< their subjects do not agree to the stage's purpose
};

/// Whether something that is filled and emptied again and again keeps memory that it needs no more: what a burst took, as that of a
/// start, stays for ever otherwise.
class recent_use {
 public:
  /// It is emptied, and held `used`. True where it once held more than twice of what it did lately, and more than `spared` beyond that:
  /// then its memory is to be given back. What it held lately falls by an eighth with each time that it holds less, so that what is large
  /// now and then stays.
  [[nodiscard]] bool outgrew(std::size_t used, std::size_t spared) noexcept {
    most_ = std::max(most_, used);
    lately_ = std::max(used, lately_ - lately_ / 8);
    if (most_ <= 2 * lately_ + spared) return false;
    most_ = 0;
    return true;
  }

 private:
  std::size_t most_ = 0;  ///< since its memory was given back
  std::size_t lately_ = 0;
};

/// What one task gives to one epoch: outputs, the offsets that they used up, changes of state, and counts. Built on the
/// task's strand; sealed, it is read-only until the epoch is committed or discarded. Keeps its memory over `clear()`, that of state changes
/// up to twice of what was lately needed.
struct contribution {
  explicit contribution(const graph& flow, const counts_layout& layout);

  /// Output of a sink (or of the dead-letter topic, after the sinks, or of an internal topic, after that) for one partition.
  [[nodiscard]] record_batch_builder& output(std::size_t sink, std::int32_t partition) {
    return outputs[first_output[sink] + static_cast<std::size_t>(partition)];
  }
  [[nodiscard]] bool empty() const noexcept { return steps == 0; }
  /// Whether a record of `size` bytes goes into an output: a log takes only so much at once.
  [[nodiscard]] bool fits(const record_batch_builder& output_of, std::size_t size) const noexcept {
    return size <= room_in(output_of);
  }
  /// How many bytes still go into an output.
  [[nodiscard]] std::size_t room_in(const record_batch_builder& output_of) const noexcept {
    return std::min(output_bytes_max - std::min(output_of.bytes(), output_bytes_max), bytes_max - std::min(bytes, bytes_max));
  }
  static constexpr std::size_t output_bytes_max = 48 << 20;  ///< of one partition of one topic
  static constexpr std::size_t bytes_max = 96 << 20;         ///< of all outputs
  /// What it adds to an epoch, in the log's bytes and records: state changes too.
  [[nodiscard]] std::size_t epoch_bytes() const noexcept;
  [[nodiscard]] std::size_t epoch_records() const noexcept;
  void clear() noexcept;
  /// Adds everything to an epoch. Views in it last as long as this is not changed.
  void add_to(epoch_changes& epoch, const graph& flow, std::int32_t partition);

  std::vector<record_batch_builder> outputs;
  std::vector<std::size_t> first_output;      ///< per sink, then of the dead-letter topic, then per internal topic
  std::vector<std::int64_t> next_offsets;     ///< per source: the first offset not consumed; -1: nothing, and of a global table
  /// Of a topic that is rekeyed: the first offset not forwarded of a partition, which need not be the task's.
  struct forwarded_to {
    std::size_t rekey = 0;
    std::int32_t partition = 0;
    std::int64_t next = 0;
  };
  std::vector<forwarded_to> forwarded;
  /// Of a global table: how far this task, which answers for the partition, has applied it.
  struct applied_to {
    std::size_t source = 0;
    std::int32_t partition = 0;
    std::int64_t next = 0;
  };
  std::vector<applied_to> applied;
  std::vector<node_counts> counts;
  std::vector<state_change> state;
  std::uint64_t records_in = 0;
  std::uint64_t records_out = 0;
  std::uint64_t dead_letters = 0;
  std::uint64_t steps = 0;
  std::uint64_t awaited_steps = 0;            ///< of these, all but batches of feedback topics
  std::size_t bytes = 0;                      ///< of the outputs
  std::int32_t rows_max = 0;                  ///< that any batch of it could have
  bool takes_all = true;                      ///< what does not fit is buried; else the step ends with errc::capacity, to be made smaller
  std::vector<age_tally> ages;                ///< per sink, of the records that its outputs came from
  std::vector<timer_counts> timers;           ///< per stage
  std::array<std::uint64_t, block_reasons> blocked_ns{};  ///< how long the task stood still, per reason

 private:
  recent_use state_use_;  ///< of changes
};

}  // namespace sonder
