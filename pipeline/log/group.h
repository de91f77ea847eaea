#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "record/result.h"

namespace sonder {

/// What a worker joins its group with.
struct group_request {
  std::string group;
  std::vector<std::string> topics;  ///< co-partitioned sources: a task is one partition of each
  std::vector<std::string> stores;  ///< keyed state that epochs of this group change
  std::int32_t partitions = 0;      ///< of every topic: the number of tasks
  /// Topics, each with the number of its partitions, that tasks read as well, but the group does not give out.
  std::vector<std::pair<std::string, std::int32_t>> beside = {};
  /// Above 0 once the caller has no more use for the place: joining then ends with errc::cancelled instead of waiting. May be null;
  /// outlives the call.
  const std::atomic<int>* stop = nullptr;
};

/// What became of a worker's place in its group.
struct group_event {
  enum class kind {
    none,      ///< nothing new
    assigned,  ///< `partitions` are this process's tasks, all of them; possibly none
    revoked,   ///< finish, commit once, then `release`: what was assigned goes to others
    lost,      ///< others may have it already: throw away what is uncommitted, then `release`
  };
  kind what = kind::none;
  std::vector<std::int32_t> partitions;  ///< ascending
  std::string why;                       ///< for the log: what made the group change
};

/// A process's place in a consumer group. Confined to the thread that joined.
///
/// Between an `assigned` and the `release` after the next `revoked` or `lost`, the tasks of the assignment are this process's
/// alone; an epoch that is committed later than that is refused with errc::fenced or errc::unavailable, never written.
/// Destroying it leaves the group.
class group_member {
 public:
  virtual ~group_member() = default;

  /// What happened since the last call. Does not block. To be called at least every few seconds, during long work too: a
  /// member that does not is thrown out of its group. Errors are those that end a worker.
  [[nodiscard]] virtual result<group_event> poll() = 0;
  /// Answers `revoked` or `lost`: nothing of those tasks runs any more.
  [[nodiscard]] virtual status release() = 0;
  /// Whether a task's state and committed offsets are at hand, so that it may be opened. Does not block: what is missing is
  /// fetched in the background, tasks in parallel.
  [[nodiscard]] virtual result<bool> ready(std::int32_t partition) = 0;
  /// After a commit that failed: everything uncommitted is gone, and the tasks become ready again from what is committed.
  /// Nothing of them runs meanwhile.
  [[nodiscard]] virtual status restart() = 0;
  /// What it waits for now, for a log line and /readyz ("the group's assignment", "state of task 3: 41 % of 120,000"); empty:
  /// nothing.
  [[nodiscard]] virtual std::string waits_for() const = 0;
};

/// The place of a process that is alone with its log: every task is its own, at once and until it leaves.
[[nodiscard]] std::unique_ptr<group_member> make_sole_member(std::int32_t partitions);

}  // namespace sonder
