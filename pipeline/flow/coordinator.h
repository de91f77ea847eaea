#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "flow/executor.h"
#include "flow/task.h"
#include "flow/worker.h"

namespace sonder {

class worker_metrics;

/// Runs the tasks of a worker and commits their epochs. One thread, the caller's, coordinates: it schedules tasks that have
/// records, closes an epoch each commit interval, and commits it while the tasks go on with the next one.
class coordinator {
 public:
  coordinator(task_context& context, executor& on, const worker_options& options, worker_metrics* observe);
  ~coordinator();
  coordinator(const coordinator&) = delete;
  coordinator& operator=(const coordinator&) = delete;

  [[nodiscard]] status start();
  [[nodiscard]] std::vector<call_watch*> calls();
  /// Until idle or asked to stop; the summary also tells of a run that ended with an error.
  [[nodiscard]] status run(run_summary& summary);

 private:
  void schedule(task& t);
  void run_task(task& t);
  void schedule_all();
  void fail_with(error e);
  [[nodiscard]] bool failed();
  /// Collects what tasks have finished and commits it. False if there was nothing.
  [[nodiscard]] result<bool> commit_epoch();
  void collect(std::vector<task*>& sealed);
  [[nodiscard]] status discard(const error& why);
  void count(const contribution& of);
  [[nodiscard]] result<bool> idle();
  [[nodiscard]] status drain();
  void report(bool force);
  [[nodiscard]] status loop(run_summary& summary);

  task_context& context_;
  executor& executor_;
  const worker_options& options_;
  worker_metrics* observe_;
  std::vector<std::unique_ptr<task>> tasks_;
  std::vector<node_counts> counts_;
  std::uint64_t records_in_ = 0;
  std::uint64_t records_out_ = 0;
  std::uint64_t epochs_committed_ = 0;
  std::uint64_t epochs_discarded_ = 0;
  std::int32_t discards_in_a_row_ = 0;
  std::chrono::steady_clock::time_point started_;
  std::chrono::steady_clock::time_point last_commit_;
  std::chrono::steady_clock::time_point last_report_;
  std::mutex failure_mutex_;
  std::unique_ptr<error> failure_;
};

}  // namespace sonder
