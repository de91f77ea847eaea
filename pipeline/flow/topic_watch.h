#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string_view>
#include <thread>
#include <vector>

#include "flow/graph.h"
#include "log/log.h"
#include "record/result.h"

namespace sonder {

/// Looks, on a thread of its own, whether topics still have as many partitions as at the start: those that no group gives out, whose
/// changes nobody else would notice. They are topics that are forwarded, global tables, sinks, and the dead letters.
///
/// `changed` is safe from any thread. Flow and log outlive it; to destroy it waits for the question under way, a second at most.
class topic_watch {
 public:
  topic_watch(const graph& flow, log& of, std::chrono::milliseconds every);
  ~topic_watch();
  topic_watch(const topic_watch&) = delete;
  topic_watch& operator=(const topic_watch&) = delete;

  /// What a start would refuse now; nothing as long as all is as it was.
  [[nodiscard]] std::optional<error> changed() const;

 private:
  struct watched {
    const topic_options* topic;
    std::string_view what_for;  ///< what a new partition means
  };
  void run();
  void look();
  [[nodiscard]] bool ending() const;

  log& log_;
  const std::chrono::milliseconds every_;
  std::vector<watched> topics_;
  mutable std::mutex mutex_;
  std::condition_variable ends_;
  std::optional<error> changed_;  ///< guarded by mutex_
  bool ending_ = false;           ///< guarded by mutex_
  std::thread thread_;            ///< last: what it uses is there
};

}  // namespace sonder
