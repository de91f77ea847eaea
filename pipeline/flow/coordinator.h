#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "flow/executor.h"
#include "flow/task.h"
#include "flow/worker.h"
#include "log/group.h"

namespace sonder {

class deadline_watch;
class worker_metrics;

/// Runs the tasks that its group gives to this worker and commits their epochs. One thread, the caller's, coordinates: it
/// follows the group, schedules tasks that have records, closes an epoch each commit interval, and commits it while the tasks
/// go on with the next one.
class coordinator {
 public:
  coordinator(task_context& context, executor& on, const worker_options& options, worker_metrics* observe,
              deadline_watch& deadlines);
  ~coordinator();
  coordinator(const coordinator&) = delete;
  coordinator& operator=(const coordinator&) = delete;

  /// Until idle or asked to stop; the summary also tells of a run that ended with an error.
  [[nodiscard]] status run(run_summary& summary);

 private:
  enum class rest { busy, uncommitted, idle };

  [[nodiscard]] status join();
  [[nodiscard]] status follow_group();
  [[nodiscard]] status open_ready_tasks();
  [[nodiscard]] status let_go(const group_event& event);
  void tell_readiness();
  [[nodiscard]] std::string running_steps();
  void schedule(const std::shared_ptr<task>& t);
  void run_task(const std::shared_ptr<task>& t);
  void schedule_all();
  void fail_with(error e);
  [[nodiscard]] bool failed();
  [[nodiscard]] std::chrono::steady_clock::time_point log_settled() const;
  [[nodiscard]] std::chrono::steady_clock::time_point epoch_due() const;
  /// What keeps a task from going on, or all of them (`every_task`); empty: nothing any more.
  void delayed_by(std::int32_t partition, const std::string& why);
  static constexpr std::int32_t every_task = -1;
  [[nodiscard]] std::string delay();
  [[nodiscard]] std::string tables_awaited() const;
  void tell_rebalance();
  [[nodiscard]] int asked_to_stop() const noexcept;
  /// Collects what tasks have finished and commits it. False if there was nothing.
  [[nodiscard]] result<bool> commit_epoch();
  /// As one epoch, or several; none is begun past `until`, but the first.
  [[nodiscard]] result<bool> commit_collected(std::chrono::steady_clock::time_point until = std::chrono::steady_clock::time_point::max());
  [[nodiscard]] status commit_epoch_of(std::span<task* const> sealed, std::chrono::steady_clock::time_point began);
  [[nodiscard]] std::size_t tasks_that_fit(std::span<task* const> sealed) const;
  [[nodiscard]] status make_smaller(const error& why);
  void collect(std::vector<task*>& sealed);
  [[nodiscard]] status discard(const error& why);
  void retire_tasks();
  [[nodiscard]] bool wait_for_running(std::chrono::milliseconds at_most);
  void count(const contribution& of);
  [[nodiscard]] result<rest> at_rest();
  [[nodiscard]] status drain();
  void look_at_ends(bool all);
  void report(bool force);
  [[nodiscard]] status loop(run_summary& summary);

  task_context& context_;
  executor& executor_;
  const worker_options& options_;
  worker_metrics* observe_;
  deadline_watch& deadlines_;
  std::unique_ptr<group_member> member_;
  bool assigned_ = false;                      ///< the group has given an assignment that stands
  std::vector<std::int32_t> waiting_;          ///< assigned, with state or offsets not at hand yet
  bool one_by_one_ = false;                    ///< an epoch of several tasks was too large for the log: each has its own now
  std::optional<error> not_migrated_;                              ///< why an epoch of a store's migration was not committed
  std::vector<std::pair<std::int32_t, std::int32_t>> too_large_;  ///< tasks of the epoch that was refused: partition, rows of a batch
  std::map<std::int32_t, std::int32_t> smaller_;                  ///< rows that a task's batches begin with when it is opened next
  std::vector<std::shared_ptr<task>> tasks_;   ///< open; each is also held by the work of it that runs
  std::string waits_for_;                      ///< as last told
  std::chrono::steady_clock::time_point waits_told_;
  std::vector<node_counts> counts_;
  std::uint64_t records_in_ = 0;
  std::uint64_t records_out_ = 0;
  std::map<std::int32_t, std::uint64_t> lags_;  ///< by partition, records left when the log was last asked
  std::size_t next_end_ = 0;                    ///< the task whose end is asked for next
  std::uint64_t epochs_committed_ = 0;
  std::uint64_t epochs_discarded_ = 0;
  std::int32_t discards_in_a_row_ = 0;
  std::chrono::steady_clock::time_point discarded_at_;
  std::atomic<std::uint64_t> batches_{0};  ///< that tasks took up
  std::uint64_t batches_seen_ = 0;
  std::chrono::steady_clock::time_point started_;
  std::chrono::steady_clock::time_point last_commit_;   ///< when the last epoch closed
  std::chrono::steady_clock::time_point committed_at_;  ///< when the log had it
  std::chrono::steady_clock::time_point last_report_;
  std::chrono::steady_clock::time_point ask_ends_from_;
  std::mutex failure_mutex_;
  std::unique_ptr<error> failure_;
  std::atomic<bool> delayed_{false};           ///< `delays_` is not empty
  std::map<std::int32_t, std::string> delays_; ///< by partition, why it could not go on just now; under `failure_mutex_`
  std::string unanswered_;                     ///< why the log's ends could not be had at the last look
  std::optional<std::chrono::steady_clock::time_point> rebalance_began_;  ///< until all tasks given after it process
};

}  // namespace sonder
