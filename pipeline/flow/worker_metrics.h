#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "flow/contribution.h"
#include "flow/task.h"
#include "observe/metrics.h"

namespace sonder {

/// Publishes what epochs committed. Fed by the coordinating thread alone, once an epoch: the path of a record touches no metric.
class worker_metrics {
 public:
  worker_metrics(const task_context& context, metrics& to);

  /// A sealed contribution that was committed at `now_ms`.
  void count(const contribution& of, std::int64_t now_ms);
  void epoch_committed(double seconds);
  void epoch_discarded();
  /// Figures of a task that is owned by the caller.
  void sample(task& t);
  void sample(std::int64_t outbox_bytes, std::uint64_t records_left, std::size_t state_bytes);

 private:
  struct node {
    counter* in;
    counter* passed;
    counter* withheld;
    counter* emitted;
    counter* retries;
    histogram* batch;
    histogram* seconds;
    std::vector<counter*> dropped;
    std::vector<counter*> dead;
    std::string name;
    std::string port;
  };
  [[nodiscard]] node make_node(const std::string& name, const std::string& port, const std::vector<std::string>& reasons);

  const task_context& context_;
  metrics& to_;
  std::vector<node> nodes_;
  std::vector<std::vector<std::vector<counter*>>> plugin_counters_;  ///< stage, metric, label value
  std::vector<std::vector<std::vector<gauge*>>> plugin_gauges_;
  std::vector<counter*> violations_;
  std::vector<std::vector<std::uint64_t>> violations_seen_;          ///< stage, partition
  histogram& epoch_;
  counter& committed_;
  counter& discarded_;
  counter& blocked_;
  gauge& outbox_;
};

/// Ends the process with `exit_deadline_passed` when a plugin's call takes longer than its stage's deadline: nothing of its epoch is
/// committed then. A thread of its own, since the call holds the one that it runs on.
class deadline_watch {
 public:
  deadline_watch(std::vector<call_watch*> calls, const worker_options& options);
  ~deadline_watch();
  deadline_watch(const deadline_watch&) = delete;
  deadline_watch& operator=(const deadline_watch&) = delete;

 private:
  void run();
  std::vector<call_watch*> calls_;
  const worker_options& options_;
  std::mutex mutex_;
  std::condition_variable ended_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace sonder
