#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "flow/graph.h"
#include "log/log.h"
#include "record/result.h"

namespace sonder {

class logger;
class schema_registry;
class metrics;

/// The topic in the log that a flow's topic asks for.
[[nodiscard]] topic_config as_topic_config(const topic_options& of);

/// What became of the rows that entered one input port of one stage, or one sink, or one source topic.
/// For each: in = passed + dropped + dead_lettered.
struct port_counts {
  std::string node;   ///< stage, or topic for sources and sinks
  std::string port;   ///< input port; "source" or "sink"; "rekey" of a topic that is read to be forwarded
  bool table = false; ///< rows of a table, counted apart from events
  std::uint64_t in = 0;
  std::uint64_t passed = 0;
  std::uint64_t withheld = 0;       ///< of `passed`: rows that went around the stage because their subject has not agreed
  std::map<std::string, std::uint64_t> dropped;        ///< by reason
  std::map<std::string, std::uint64_t> dead_lettered;  ///< by cause
  std::uint64_t emitted = 0;        ///< rows made by `emit`, beside the above
  std::uint64_t lost = 0;           ///< of a source: offsets that retention took before they were read, beside the above
  std::uint64_t timers_given_up = 0;  ///< timers of the stage whose call failed alone, too; with its first input
  std::uint64_t parked = 0;         ///< rows put aside in this run for a later attempt; each is in the above once it is settled
};

struct run_summary {
  std::string flow;
  std::vector<port_counts> ports;   ///< topics that are rekeyed, sources, stages in order, sinks
  std::uint64_t records_in = 0;     ///< event records consumed, counted where they come in
  std::uint64_t records_out = 0;    ///< records appended to sinks
  std::uint64_t epochs_committed = 0;
  std::uint64_t epochs_discarded = 0;
  double seconds = 0;               ///< from the first step to the last commit
  std::string stopped_because;      ///< "idle", "signal", or the error
  /// Nodes for which the equation above does not hold; must be empty. Checked at the end of every run.
  std::vector<std::string> unbalanced;
};

struct worker_progress {
  std::uint64_t records_in = 0;
  std::uint64_t records_out = 0;
  std::uint64_t records_left = 0;   ///< between the positions and the ends of the event sources
  double seconds = 0;
};

struct worker_options {
  bool until_idle = false;          ///< leave when all event sources are drained and committed
  metrics* observe = nullptr;       ///< may be null
  logger* lines = nullptr;          ///< may be null
  schema_registry* schemas = nullptr;  ///< where schemas have their ids; null: in the log's own notes
  /// Called about ten times a second from the coordinating thread; may be empty.
  std::function<void(const worker_progress&)> progress;
  /// 1 or more: drain and leave; 2 or more: leave at once, nothing more is committed. Set by signal handlers.
  const std::atomic<int>* stop = nullptr;
  /// True while the worker may be sent work; false with a reason while it starts, drains or has a call past its deadline.
  std::function<void(bool ready, const std::string& why)> readiness;
  /// How often topics that no group gives out are asked for their partition numbers.
  std::chrono::milliseconds topics_looked_at = std::chrono::seconds(10);
  /// Plain threads instead of oneTBB: for ThreadSanitizer, to which oneTBB's own synchronisation is opaque.
  bool plain_threads = false;
  /// Time in milliseconds of the Unix epoch; empty: the system's. Tests set it.
  std::function<std::int64_t()> clock;
};

/// Exit code of a worker whose plugin call passed its deadline: nothing of its epoch is committed.
inline constexpr int exit_deadline_passed = 70;

/// Runs a checked flow on an open log until asked to stop, or idle. Topics are made where they do not exist. Blocks.
///
/// Errors are those that end a worker: the log failed beyond its retries, a plugin is not usable, configuration that only
/// shows at start. What was committed stays.
[[nodiscard]] result<run_summary> run_worker(std::shared_ptr<const graph> flow, log& on, const worker_options& options);

/// The summary as one JSON object, with every figure of the table, and as that table.
[[nodiscard]] std::string to_json(const run_summary& summary);
[[nodiscard]] std::string to_table(const run_summary& summary);

}  // namespace sonder
