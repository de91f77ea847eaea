#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>

#include "log/group.h"
#include "log/kafka/kafka_log.h"
#include "log/kafka/local_state.h"
#include "log/kafka/restore.h"
#include "log/log.h"

struct rd_kafka_consumer_group_metadata_s;  // librdkafka's, opaque

namespace sonder::kafka {

/// librdkafka's note of one membership: group, generation, member. `rd_kafka_send_offsets_to_transaction` takes it.
using group_metadata = std::shared_ptr<const rd_kafka_consumer_group_metadata_s>;

/// What a member has seen of its group since it joined.
struct group_counts {
  std::array<std::uint64_t, static_cast<std::size_t>(log_figures::rebalance_reason::count)> reasons{};  ///< of its assignments
  std::int64_t strangers = 0;  ///< members that are no workers, in the assignment that was last looked at
};

/// A place in a consumer group of Kafka, with the state of the tasks that it brings.
///
/// As `group_member`; `metadata`, `restored` and `seen` may be called from any thread. It fetches no records: the partitions of its
/// tasks are read by whoever reads them. Assignor `range`, rebalances eager: each one takes all tasks away and gives all anew.
class member : public group_member {
 public:
  /// Of the assignment that this process holds, captured when it came; null before it, after `release`, and from `lost` on.
  /// An epoch commits with the copy of its own assignment or not at all: librdkafka's answer after a loss is one that brokers
  /// accept from anybody.
  [[nodiscard]] virtual group_metadata metadata() const = 0;
  [[nodiscard]] virtual restore_counts restored() const = 0;
  [[nodiscard]] virtual group_counts seen() const = 0;
  /// Whether the place that this process has in the group is still its own, as the coordinator tells now: to be asked before anything
  /// that would push a process out which has it meanwhile. errc::fenced: another process of this instance is in the group beside this
  /// one; errc::unavailable: this one is not in it, or nobody answers. Waits for an answer, group_look::answer_max at most.
  [[nodiscard]] virtual status check_place() const = 0;
  /// Commits offsets outside any transaction, for at_least_once; from any thread. `note` is kept beside each. errc::unavailable: the assignment is no
  /// longer this process's.
  [[nodiscard]] virtual status commit_offsets(std::span<const consumed_offset> offsets, std::string_view note = {}) = 0;
};

/// Checks topics and group, then joins. Source topics and changelogs exist already; `changelogs` is what the brokers say of
/// each store's, in the order of `request.stores`. `options` and `state` outlive the member; `state` may be null where the
/// request names no stores. May take as long as the session timeout and some answers.
///
/// Where it is asked to stop meanwhile (`request.stop`): errc::cancelled. A group that another application has (members of another
/// protocol, with other topics, or that are no workers) is errc::exists; another number
/// of partitions is errc::invalid. Later errors come from `poll` and `ready`: errc::fenced where another process has taken
/// the instance id.
[[nodiscard]] result<std::unique_ptr<member>> join_group(const kafka_options& options, const group_request& request,
                                                         std::span<const topic_config> changelogs, local_state* state);

}  // namespace sonder::kafka
