#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "log/group.h"
#include "log/kafka/kafka_log.h"
#include "log/kafka/local_state.h"

namespace sonder::kafka {

class client;

/// Bounds of restoring.
struct restore_limits {
  static constexpr int threads = 4;                                  ///< stores of tasks read at once
  static constexpr std::chrono::seconds missing_topic_max{30};       ///< for which a changelog is missing until that is an error
  static constexpr std::chrono::seconds renew_interval{300};         ///< of checkpoints of tasks that stand still
  static constexpr std::size_t batch_bytes_max = 8 << 20;            ///< of one write; each thread holds two
  static constexpr std::int64_t small_records_max = 20'000;          ///< up to which a restore goes through the write-ahead log
  static constexpr std::chrono::minutes clock_step_max{5};           ///< by which a checkpoint may be ahead of the clock
  static constexpr std::chrono::milliseconds standby_pause{500};     ///< between two looks at the changelogs of a standby copy
  static constexpr std::chrono::milliseconds standby_pause_max{60'000};  ///< ... of copies after which the disk was full, again and again
  static constexpr std::uint64_t standby_free_bytes_min = 256 << 20;  ///< left to the worker's own tasks: with less, copies stand still
};

/// What has been restored since the start of the process; for metrics.
struct restore_counts {
  std::int64_t records = 0;        ///< changelog records applied, tombstones included
  std::int64_t bytes = 0;          ///< their keys and values
  std::int64_t tasks_ready = 0;    ///< tasks made ready, again and again
  std::int64_t tasks_waiting = 0;  ///< now
  std::int64_t rebuilt = 0;        ///< stores of tasks whose state was thrown away and built anew
  std::int64_t remaining = 0;      ///< offsets between where the stores under way stand and where their changelogs ended
  double records_per_second = 0;   ///< of the restore that is running, or of the last one

  std::int64_t standby_tasks = 0;           ///< tasks of others whose state is kept near, now
  std::int64_t standby_tasks_level = 0;     ///< of them, those that stood at their changelogs' ends when last looked at
  std::int64_t standby_records = 0;         ///< changelog records applied to standby copies; not in `records`
  std::int64_t standby_records_behind = 0;  ///< offsets that they lacked when last looked at; markers count
};

/// Brings the tasks of a group to their committed state, in the background and in parallel.
///
/// For each task in this order, which the design prescribes (KAFKA-10167): committed offsets that no open transaction can
/// change any more; then, store by store, the changelog's high watermark with uncommitted records; then committed records
/// until the reader stands at or past that mark. A checkpoint of another cluster or incarnation, out of the log's range, or
/// older than half of the topic's delete.retention.ms is thrown away with its state.
///
/// Of tasks that it is told to `follow` it keeps standby copies: their committed changes come in on a thread of low priority,
/// one store at a time, and never while a task of this process waits. Such a copy is a checkpoint like any other: it is tested
/// alike at every look, is never open, and a task that comes here goes on from it. Nobody works on the state of one task twice
/// at once.
///
/// Thread-safe. What fails for a while is tried again, and `waits_for` says what; what cannot succeed is an error of `ready`.
class restorer {
 public:
  /// `member` is the group's consumer, isolation read_committed. `changelogs` are those of `request.stores`, in that order. All
  /// that is lent outlives the restorer; `state` may be null where the request names no stores.
  [[nodiscard]] static result<std::unique_ptr<restorer>> over(const kafka_options& options, const group_request& request,
                                                              std::span<const topic_config> changelogs, client& member,
                                                              local_state* state);
  virtual ~restorer() = default;

  /// These are the tasks now, none of them ready yet. Does not block.
  virtual void begin(std::span<const std::int32_t> partitions) = 0;
  /// No tasks now. Does not block either; a thread that works for one ends soon, and what it still writes is true.
  virtual void drop() = 0;
  /// Keeps standby copies of these tasks, and of no others; those that `begin` names become the process's own. Does not block.
  virtual void follow(std::span<const std::int32_t> partitions) = 0;
  [[nodiscard]] virtual result<bool> ready(std::int32_t partition) = 0;
  [[nodiscard]] virtual std::string waits_for() const = 0;
  [[nodiscard]] virtual restore_counts counts() const = 0;
};

}  // namespace sonder::kafka
