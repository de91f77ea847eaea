#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "flow/contribution.h"
#include "flow/log_metrics.h"
#include "flow/state_sizes.h"
#include "flow/task.h"
#include "observe/metrics.h"

namespace sonder {

/// Publishes what epochs committed, and about ten times a second where tasks stand. Fed by the coordinating thread alone: the path
/// of a record touches no metric.
class worker_metrics {
 public:
  worker_metrics(const task_context& context, metrics& to);

  /// A sealed contribution that was committed at `now_ms`.
  void count(const contribution& of, std::int32_t partition, std::int64_t now_ms);
  void epoch_committed(double seconds);
  void epoch_discarded();
  void rebalanced(group_event::kind what);
  /// From taking tasks back, or the start, until those that were given next processed.
  void rebalance_took(double seconds);
  void show_tasks(std::size_t processing, std::size_t waiting);
  /// Takes down the figures of a task that is owned by the caller.
  void sample(task& t);
  /// Shows the figures last taken down of the tasks of `partitions`, added up; forgets those of others.
  void publish(std::int64_t outbox_bytes, const std::vector<std::int32_t>& partitions);

 private:
  struct node {
    counter* in;
    counter* passed;
    counter* withheld;
    counter* emitted;
    counter* parked;
    counter* retries;
    histogram* batch;
    histogram* seconds;
    counter* waited;
    counter* lost;  ///< null: a node that reads no topic
    std::vector<counter*> dropped;
    std::vector<counter*> dead;
    std::string name;
    std::string port;
  };
  /// What is shown of one task, as last taken down.
  struct task_figures {
    std::vector<source_backlog> sources;
    std::vector<store_figures> stores;   ///< all stages' one after the other
    std::vector<std::uint64_t> timers;   ///< per stage
    std::size_t parked = 0;
    block_reason blocked_by = block_reason::none;
  };
  struct source_gauges {
    gauge* waiting;
    gauge* lag_records;
    gauge* lag_seconds;
  };
  struct store_gauges {
    gauge* cache;
    gauge* changes;
  };
  struct timer_cells {
    gauge* waiting = nullptr;  ///< null: the stage has no timers
    counter* fired = nullptr;
    counter* given_up = nullptr;
    counter* withheld = nullptr;
  };
  void make_nodes();
  void make_gauges();
  void count_plugin_metrics(task& t);
  void publish_backlogs(std::int64_t now_ms);
  void publish_stages();
  [[nodiscard]] node make_node(const std::string& name, const std::string& port, const std::vector<std::string>& reasons);
  void show_causes_of_nodes();

  const task_context& context_;
  metrics& to_;
  std::vector<node> nodes_;
  std::vector<counter*> dead_letters_;  ///< by host cause, null for one that only drops; the last: plugins' reasons
  std::vector<source_gauges> sources_;
  std::vector<store_gauges> stores_;       ///< all stages' one after the other
  std::vector<timer_cells> timers_;        ///< per stage
  std::vector<histogram*> latencies_;      ///< per sink
  std::map<std::int32_t, task_figures> tasks_;
  std::vector<std::vector<std::vector<counter*>>> plugin_counters_;  ///< stage, metric, label value
  std::vector<std::vector<std::vector<gauge*>>> plugin_gauges_;
  std::vector<counter*> violations_;
  std::vector<std::uint64_t> module_violations_seen_;                 ///< stage
  std::vector<std::vector<std::uint64_t>> violations_seen_;          ///< stage, partition
  histogram& epoch_;
  histogram& rebalance_;
  counter& committed_;
  counter& discarded_;
  gauge& outbox_;
  gauge& processing_;
  gauge& waiting_;
  log_metrics clients_;
  state_sizes sizes_;
};

/// Ends the process with `exit_deadline_passed` when a plugin's call takes longer than its stage's deadline, and says so in the log,
/// or where there is none on standard error: nothing of its epoch is committed then. A thread of its own, since the call holds the one that it runs on.
class deadline_watch {
 public:
  explicit deadline_watch(const worker_options& options);
  ~deadline_watch();
  deadline_watch(const deadline_watch&) = delete;
  deadline_watch& operator=(const deadline_watch&) = delete;

  /// Watches a thread's calls for as long as anyone else holds `calls`. [any thread]
  void add(std::shared_ptr<const call_watch> calls);

 private:
  void run();
  [[noreturn]] void end(const stage_node& stage, const char* function) const;
  std::vector<std::shared_ptr<const call_watch>> calls_;
  const worker_options& options_;
  std::mutex mutex_;
  std::condition_variable ended_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace sonder
