#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "flow/contribution.h"
#include "flow/left_behind.h"
#include "flow/rekey.h"
#include "flow/sink_writer.h"
#include "flow/source_reader.h"
#include "flow/stage_runner.h"

namespace sonder {

class patient_registry;

class logger;

/// What all tasks of a worker share. Outlives them; immutable while they run but for the atomics.
struct task_context {
  std::shared_ptr<const graph> flow;
  log* on = nullptr;
  schema_registry* schemas = nullptr;
  std::shared_ptr<const secret_box> secrets;
  std::unique_ptr<const counts_layout> layout;
  /// Calls of plugins on the control thread: modules, and entries that they turn.
  std::shared_ptr<call_watch> calls = std::make_shared<call_watch>();
  std::vector<std::unique_ptr<stage_module>> modules;           ///< per stage
  std::vector<std::string> stages_left_behind;                  ///< that the flow had: rows may be parked for them still
  std::size_t dead_letter_bytes_max = 0;                        ///< of one record
  std::vector<std::shared_ptr<const sink_plan>> sinks;          ///< per sink
  std::vector<std::vector<std::pair<int, int>>> stage_inputs;   ///< per edge: (stage, input) that it feeds
  std::vector<std::unique_ptr<global_table>> globals;           ///< per source: this process's copy of a global table; else null
  std::vector<std::vector<int>> sinks_of;                       ///< per edge: sinks that it feeds
  bool consent_can_be_asked = true;                             ///< about a subject and a time, with no event at hand
  logger* lines = nullptr;                                      ///< may be null
  const patient_registry* patience = nullptr;                   ///< where records wait for schemas; may be null
  std::function<std::int64_t()> now_ms;
  stop_signs stop;
  std::atomic<std::int64_t> uncommitted_bytes{0};               ///< of all tasks' outputs
  std::atomic<bool> epoch_full{false};                          ///< a task has room for no more: the epoch closes early
};

/// Fills a context for the tasks of `flow`: secrets, one module per stage, one plan per sink. What a worker does at start.
[[nodiscard]] status start_tasks(task_context& context, std::shared_ptr<const graph> flow, log& on, schema_registry& schemas,
                                 const worker_options& options);

enum class step_outcome { idle, progressed, blocked };

/// The unit of order, state and parallelism: one partition of every source, with the stages' instances for it.
///
/// A strand: whoever owns it (`try_own`) is the only one to call the rest, but for what is marked otherwise. Steps build an open
/// contribution; `seal` closes it for an epoch, and a new one opens over it, so that work goes on while the epoch commits.
class task {
 public:
  /// With `alone_rows` above 0, batches begin with that many rows, each alone in its epoch until a commit has come about: after one
  /// that the log found too large. Calls of plugins, from the first instance on, are in `calls`.
  [[nodiscard]] static result<std::unique_ptr<task>> create(task_context& context, std::int32_t partition, std::int32_t alone_rows = 0,
                                                            std::shared_ptr<call_watch> calls = std::make_shared<call_watch>());
  ~task();
  task(const task&) = delete;
  task& operator=(const task&) = delete;

  [[nodiscard]] bool try_own() noexcept { return !owned_.exchange(true, std::memory_order_acquire); }
  void disown() noexcept { owned_.store(false, std::memory_order_release); }

  /// Takes up one batch: polls events, brings tables up to the end that held after that, and runs the batch through the graph.
  [[nodiscard]] result<step_outcome> step();

  /// Moves the open contribution to `sealed()`, if it holds anything and nothing is sealed yet.
  void seal();
  /// What `seal` closed and no epoch has committed yet; null if there is none. [any thread]
  [[nodiscard]] contribution* sealed() noexcept {
    return committed_.load(std::memory_order_acquire) ? nullptr : sealed_.load(std::memory_order_acquire);
  }
  /// The sealed contribution is in the log. [any thread] It is taken in at the next step or seal.
  void committed() noexcept { committed_.store(true, std::memory_order_release); }
  /// Throws away everything that is not committed: contributions, stores, instances. Goes on from the committed offsets.
  [[nodiscard]] status reset();

  [[nodiscard]] std::int32_t partition() const noexcept { return partition_; }
  /// A step ended half-way: parts of the task may be gone until its next step has reset it.
  [[nodiscard]] bool half_way() const noexcept { return failed_; }
  /// Nothing is uncommitted or parked that `--until-idle` waits for: all but what feedback topics and the clock keep going.
  [[nodiscard]] bool settled() noexcept {
    const auto* closed = sealed();
    return !failed_ && open_->awaited_steps == 0 && (closed == nullptr || closed->awaited_steps == 0) && parked() == 0 && !passed_markers(false);
  }
  /// Whether its tables have been applied once to the ends that they had: events are taken up then. [any thread]
  [[nodiscard]] bool tables_applied() const noexcept { return tables_applied_.load(std::memory_order_relaxed); }
  /// Rows that wait for a later attempt, over all stages.
  [[nodiscard]] std::size_t parked() const noexcept;
  /// Event records between the position and the end, but for those of feedback topics; tables too if `tables`, as where it is asked
  /// whether all is done. Else the ends of feedback topics are looked at for `backlog`.
  [[nodiscard]] result<std::int64_t> lag(bool tables);
  [[nodiscard]] const std::shared_ptr<call_watch>& watch() const noexcept { return watch_; }
  /// What stands before the task, as far as it has looked; asks the log for nothing.
  [[nodiscard]] source_backlog backlog(std::size_t source) const noexcept { return sources_[source]->backlog(); }
  [[nodiscard]] source_backlog rekey_backlog(std::size_t rekey) const noexcept { return rekeyer_->backlog(rekey); }
  /// Why the last step took nothing up.
  [[nodiscard]] block_reason blocked_by() const noexcept { return blocked_by_; }
  [[nodiscard]] instance_services& services(std::size_t stage) noexcept { return stages_[stage]->services(); }
  [[nodiscard]] std::uint64_t violations(std::size_t stage) const noexcept;
  [[nodiscard]] metric_changes& plugin_metrics(std::size_t stage) noexcept { return published_[stage]; }

  std::atomic<bool> seal_asked{false};  ///< the epoch closes: seal at the end of the running step
  /// The task was given up while a step of it ran: it takes no further one, and nothing of it is committed.
  std::atomic<bool> retired{false};

 private:
  task(task_context& context, std::int32_t partition, std::shared_ptr<call_watch> calls);
  [[nodiscard]] status open();
  [[nodiscard]] status open_left_behind();
  [[nodiscard]] status bury_left_behind();
  void take_in_commit();
  void keep_event_time();
  [[nodiscard]] bool passed_markers(bool of_feedback_too) const noexcept;
  void count_lost();
  [[nodiscard]] result<step_outcome> advance();
  [[nodiscard]] bool full() const noexcept;
  void note_block(block_reason why);
  enum class tables_are { applied, behind, awaited };
  [[nodiscard]] result<tables_are> apply_tables();
  [[nodiscard]] result<tables_are> follow_tables();
  [[nodiscard]] status open_global(std::size_t source);
  [[nodiscard]] result<tables_are> apply_globals();
  void note_globals();
  void seal_globals(bool again);
  [[nodiscard]] bool offsets_beside_are_due();
  [[nodiscard]] status run_batch(std::size_t source, std::int32_t rows_max, std::int64_t until_ms);
  [[nodiscard]] status run_edge(int edge, row_space& space, edge_rows& rows, const batch_times& times);
  [[nodiscard]] status run_stage(std::size_t stage, std::size_t input, row_space& space, edge_rows& rows, const batch_times& times,
                                 const parking& park);
  [[nodiscard]] status return_parked();
  [[nodiscard]] status return_rows(std::size_t stage, std::vector<parked_rows::place>& due);
  [[nodiscard]] status bury_strangers(std::size_t stage, const parked_rows::place& at, const kept_row& row);
  [[nodiscard]] status drop_disagreed(std::size_t stage, int input, row_space& space, std::vector<parked_rows::place>& places,
                                      row_base& base);
  [[nodiscard]] std::int64_t parking_room() const noexcept;
  [[nodiscard]] status fire_timers();
  [[nodiscard]] status fire_stage(std::size_t stage, std::vector<due_timer>& due);
  [[nodiscard]] status ask_authority(row_space& space, const row_base& base, std::vector<std::int32_t>& allowed,
                                     std::vector<std::int32_t>& unanswered);
  [[nodiscard]] status keep_agreed(std::size_t stage, std::vector<due_timer>& due);
  [[nodiscard]] status run_emitted(const emitted_rows& rows, const row_space& from, const batch_times& times);
  [[nodiscard]] status bury(int source, const log_record& record, std::string_view stage, std::string_view cause);
  [[nodiscard]] status bury(const record_place& at, const log_record& record, std::string_view stage, std::string_view cause);

  task_context& context_;
  const graph& flow_;
  std::int32_t partition_;
  std::shared_ptr<call_watch> watch_;  ///< outlives the stages below
  std::atomic<bool> owned_{false};
  std::vector<std::unique_ptr<source_reader>> sources_;
  std::unique_ptr<rekeyer> rekeyer_;  ///< null where nothing is forwarded
  std::vector<std::unique_ptr<stage_runner>> stages_;
  std::vector<std::unique_ptr<left_parking>> left_behind_;  ///< that are given up now
  std::vector<std::unique_ptr<sink_writer>> sinks_;
  std::unique_ptr<dead_letter_writer> dead_letters_;
  /// A global table in this task.
  struct global_source {
    std::size_t source = 0;
    std::vector<std::int64_t> ends;       ///< to be reached before the first event
    std::vector<std::int64_t> committed;  ///< per partition: applied in an epoch, by the task that answers for it
    std::vector<std::int64_t> there;      ///< how far the copy was in when the task was last held against it
  };
  std::vector<global_source> globals_;
  std::optional<std::chrono::steady_clock::time_point> offsets_beside_at_;  ///< committed or about to be; none: not since it was opened
  bool globals_there_ = false;    ///< all of them are as far as was asked for at the start
  bool globals_behind_ = false;   ///< the step before did not get to their ends
  std::vector<buffer> globals_headers_;  ///< per sink
  std::unique_ptr<contribution> open_;
  std::unique_ptr<contribution> other_;  ///< sealed, or ready to be the next open one
  std::atomic<contribution*> sealed_{nullptr};
  std::atomic<bool> committed_{false};
  std::vector<metric_changes> published_;  ///< per stage: what its sealed calls counted and nobody has read yet

  bool failed_ = false;                   ///< a step ended half-way: what is open is thrown away, and never sealed
  std::int32_t rows_max_;                 ///< of a batch; fewer for a while after one whose changes did not fit
  bool alone_ = false;                    ///< each batch has an epoch of its own
  std::vector<std::int64_t> table_ends_;  ///< per source, up to where tables are being applied; empty: they are where they should be
  std::atomic<bool> tables_applied_{false};
  bool keeps_timers_ = false;             ///< of a stage: consent to what they do is asked for when they fire
  std::vector<std::int64_t> sealed_next_;  ///< per source: the next offset as last sealed or, of an internal topic, as committed

  row_space space_;
  batch_memory memory_;
  block_reason blocked_by_ = block_reason::none;
  std::int64_t blocked_since_ns_ = 0;  ///< of the steady clock
  std::vector<edge_rows> work_;  ///< per edge
  std::vector<std::uint64_t> timer_purposes_;  ///< of the timers that fire now
  std::int64_t event_time_ms_ = INT64_MIN;
  std::int64_t event_time_kept_ms_ = INT64_MIN;
  std::int64_t now_ms_ = 0;
};

}  // namespace sonder
