#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "flow/graph.h"
#include "flow/worker.h"
#include "observe/tally.h"

namespace sonder {

/// Why the host itself, not a plugin, drops or dead-letters a row. Bounded, and a label of metrics.
enum class host_cause : std::uint8_t {
  not_framed,        ///< no Confluent frame where one is due
  unknown_schema,    ///< a schema id that the registry does not know
  unreadable_schema, ///< the writer's schema cannot be read as the topic's
  undecodable,       ///< the body breaks its schema
  no_value,          ///< a tombstone on a topic of events
  no_subject,        ///< empty subject id on a personal topic
  wrong_partition,   ///< keyed by another rule than the flow's
  future,            ///< event time further ahead than `future_ms_max`
  plugin_failed,     ///< the row alone makes the plugin fail
  retries_exhausted, ///< still to be retried after `attempts_max`
  bad_output,        ///< the plugin answered something outside its contract
  no_consent,        ///< dropped: its subject has not agreed to the sink's purpose
  missing_value,     ///< null where the sink's schema has no null
  bad_value,         ///< a value that the sink's schema has no place for
  too_large,         ///< larger than the topic takes
  flow_changed,      ///< parked under a flow that gave the stage's input other columns
  schema_unanswered, ///< a schema id for which the registry has not answered within `unknown_schema_wait`
};
inline constexpr std::size_t host_causes = 17;
[[nodiscard]] std::string_view name(host_cause cause) noexcept;

/// Counts of one input port, source or sink. Dropped and dead-lettered rows by cause: host causes first, then the plugin's
/// reasons in the manifest's order.
struct node_counts {
  std::uint64_t in = 0;
  std::uint64_t passed = 0;
  std::uint64_t withheld = 0;
  std::uint64_t emitted = 0;
  std::uint64_t parked = 0;       ///< put aside for a later attempt; in `in` and the rest only once they are settled
  std::uint64_t lost = 0;         ///< of a source: offsets that retention took before they were read; not in `in`
  std::uint64_t timers_given_up = 0;  ///< their call failed alone, too
  std::uint64_t retries = 0;
  std::uint64_t waited_ns = 0;    ///< between a call that asked to be tried later and the next one
  batch_records_tally batches;    ///< rows of each call, or of each batch decoded or encoded
  duration_tally durations;       ///< of the same
  std::vector<std::uint64_t> dropped;
  std::vector<std::uint64_t> dead;

  void drop(host_cause cause, std::uint64_t n = 1) { dropped[static_cast<std::size_t>(cause)] += n; }
  void bury(host_cause cause, std::uint64_t n = 1) { dead[static_cast<std::size_t>(cause)] += n; }
  void add(const node_counts& other);
  void clear() noexcept;
};

/// Where the counts of a graph's nodes stand in one flat vector: sources, then each stage's inputs, then sinks, then what is
/// forwarded to internal topics.
class counts_layout {
 public:
  explicit counts_layout(const graph& flow);

  [[nodiscard]] std::size_t source(std::size_t i) const noexcept { return i; }
  [[nodiscard]] std::size_t stage_input(std::size_t stage, std::size_t input) const noexcept {
    return first_input_[stage] + input;
  }
  [[nodiscard]] std::size_t sink(std::size_t i) const noexcept { return first_sink_ + i; }
  [[nodiscard]] std::size_t rekey(std::size_t i) const noexcept { return first_rekey_ + i; }
  [[nodiscard]] std::vector<node_counts> make() const;
  /// The counts with their names, for people and programs. Names those that do not balance in `unbalanced`.
  [[nodiscard]] std::vector<port_counts> named(const std::vector<node_counts>& counts,
                                               std::vector<std::string>& unbalanced) const;

 private:
  const graph* flow_;
  std::vector<std::size_t> first_input_;
  std::size_t first_sink_ = 0;
  std::size_t first_rekey_ = 0;
  std::size_t size_ = 0;
};

}  // namespace sonder
