#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "log/kafka/client.h"
#include "log/kafka/placement.h"
#include "record/result.h"

namespace sonder::kafka {

/// A group as its coordinator tells of it.
struct group_view {
  bool stable = false;  ///< all members have what the newest assignment gives them; else none is told
  std::vector<member_view> members;
};

/// Asks who is in a group now; the tasks are partitions of `topic`. Waits for `at_most`. errc::unavailable: nobody answers, or nobody
/// knows of it.
[[nodiscard]] result<group_view> look_at_group(const client& asked, const std::string& group, std::string_view topic,
                                               std::chrono::milliseconds at_most);

/// A question to a group's coordinator: who is in it, and who has which tasks. Confined to one thread, which it never blocks; a
/// thread of its own waits for the answer.
///
/// By rd_kafka_list_groups. librdkafka's DescribeConsumerGroups, which would wait by itself, ends the process where the coordinator
/// comes back after the question was given up (2.0.2: rd_kafka_admin_coord_request lets go of what its failure then uses).
class group_look {
 public:
  /// Of a question; then the coordinator is said not to answer. The destructor may wait as long.
  static constexpr std::chrono::milliseconds answer_max{2'000};

  /// `asked` outlives it. A task is a partition of `topic`.
  group_look(const client& asked, std::string group, std::string topic);
  ~group_look();
  group_look(const group_look&) = delete;
  group_look& operator=(const group_look&) = delete;

  /// Asks. An answer to an earlier question is not told any more.
  void ask();
  [[nodiscard]] bool asking() const noexcept { return asking_; }
  /// Ends the question without an answer.
  void forget();
  /// The members, by no order; nothing: not here yet. errc::unavailable: it does not answer, or the group is being assigned.
  [[nodiscard]] std::optional<result<std::vector<member_view>>> answer();

 private:
  using answer_type = result<std::vector<member_view>>;
  void work();
  [[nodiscard]] answer_type look() const;

  const client& asked_;
  const std::string group_, topic_;
  bool asking_ = false;  // of the owner's thread
  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t question_ = 0;  // guarded by mutex_, as what follows
  bool wanted_ = false;
  bool ends_ = false;
  std::optional<answer_type> told_;
  std::thread thread_;
};

/// The partitions of `topic` in what a coordinator keeps as a member's assignment, ascending (KIP-35's guide to the protocol,
/// "Consumer embedded protocol": version, then topics with their partitions); nothing where the bytes are something else.
[[nodiscard]] std::optional<std::vector<std::int32_t>> tasks_in_assignment(bytes_view assignment, std::string_view topic);

}  // namespace sonder::kafka
