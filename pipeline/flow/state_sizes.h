#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "flow/graph.h"
#include "log/log.h"
#include "observe/metrics.h"

namespace sonder {

/// Shows what each store takes on disk and in its changelogs, over the tasks of this worker. Asks the log on a thread of its own, when
/// tasks come or go and every `look_again`: no path of a record waits for it. What the log does not tell stands as it was.
///
/// `follow` is safe from any thread. The log and the metrics outlive it; to destroy it waits for the question under way, a second at most.
class state_sizes {
 public:
  static constexpr std::chrono::seconds look_again{10};

  state_sizes(const graph& flow, log& of, metrics& to);
  ~state_sizes();
  state_sizes(const state_sizes&) = delete;
  state_sizes& operator=(const state_sizes&) = delete;

  /// These are the worker's tasks now.
  void follow(const std::vector<std::int32_t>& partitions);

 private:
  struct shown_store {
    std::string store;
    gauge* disk;
    gauge* changelog;
  };
  void run();
  void look(const std::vector<std::int32_t>& partitions);
  [[nodiscard]] bool ending();

  const std::string group_;
  log& log_;
  std::vector<shown_store> stores_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::int32_t> partitions_;  ///< guarded by mutex_
  bool news_ = false;                     ///< guarded by mutex_
  bool ending_ = false;                   ///< guarded by mutex_
  std::thread thread_;                    ///< last: what it uses is there
};

}  // namespace sonder
