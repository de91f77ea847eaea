#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "log/group.h"
#include "log/operations.h"
#include "log/record_batch.h"
#include "record/result.h"

namespace sonder {

struct topic_config {
  std::string name;
  std::int32_t partitions = 1;
  bool compacted = false;  ///< the newest record per key stays; tombstones go after `tombstone_ms`
  bool log_append_time = false;       ///< the log sets record timestamps; else the producer does
  std::int64_t retention_ms = -1;     ///< -1: for ever
  std::int64_t retention_bytes = -1;  ///< per partition
  std::int64_t tombstone_ms = 86'400'000;
  std::int32_t record_bytes_max = 16 << 20;

  bool operator==(const topic_config&) const = default;
};

struct offset_range {
  std::int64_t first = 0;  ///< oldest record kept
  std::int64_t end = 0;    ///< one past the newest committed record: the stable end
};

struct fetch_limits {
  std::int32_t records_max = 1024;
  std::size_t bytes_max = 1 << 20;  ///< at least one record is returned, however large
};

/// Records for one partition of one topic.
struct produced_batch {
  std::string_view topic;
  std::int32_t partition = 0;
  record_batch_builder* records = nullptr;
};

struct consumed_offset {
  std::string_view topic;
  std::int32_t partition = 0;
  std::int64_t next = 0;  ///< the first offset not consumed
};

/// One change to keyed state: `store` names it within the group, `partition` is the task's.
struct state_change {
  std::string_view store;
  std::int32_t partition = 0;
  bytes_view key;
  std::optional<bytes_view> value;  ///< nothing: deleted
};

/// What one epoch commits: together or not at all. Views must stay until `commit` returns.
struct epoch_changes {
  std::string_view group;
  std::vector<produced_batch> produced;
  std::vector<consumed_offset> consumed;
  std::vector<state_change> state;
};

/// How much one commit takes, and how soon.
struct epoch_limits {
  std::size_t bytes_max = SIZE_MAX;         ///< records and state changes together
  std::size_t records_max = SIZE_MAX;       ///< the same
  std::chrono::milliseconds settles_in{0};  ///< after a commit; one that comes sooner may take much longer than that
};

/// The port to a durable, partitioned, append-only log and the keyed state that is committed with
/// it.
///
/// Thread-safe. Offsets rise by one per record within a partition; what was committed is never
/// taken back; a reader never sees a part of an epoch.
class log {
 public:
  virtual ~log() = default;

  /// Makes a topic. One that exists with equal configuration is fine; with another one,
  /// errc::exists names what differs.
  [[nodiscard]] virtual status create_topic(const topic_config& topic) = 0;
  [[nodiscard]] virtual result<topic_config> describe(std::string_view topic) = 0;
  [[nodiscard]] virtual result<std::vector<topic_config>> topics() = 0;
  /// Of a topic as it is now; may wait for a broker, a second at most.
  [[nodiscard]] virtual result<std::int32_t> partition_count(std::string_view topic) {
    const auto found = describe(topic);
    if (!found) return tl::unexpected(found.error());
    return found->partitions;
  }
  [[nodiscard]] virtual result<offset_range> offsets(std::string_view topic,
                                                     std::int32_t partition) = 0;
  /// One past the newest record or marker, whether or not its epoch is committed and shown: what was committed before the call
  /// lies before it, even where `offsets().end` follows a moment later.
  [[nodiscard]] virtual result<std::int64_t> newest(std::string_view topic, std::int32_t partition) {
    auto range = offsets(topic, partition);
    if (!range) return tl::unexpected(range.error());
    return range->end;
  }
  /// The first offset whose record has a timestamp of at least `timestamp_ms`, or the end.
  [[nodiscard]] virtual result<std::int64_t> offset_at(std::string_view topic,
                                                       std::int32_t partition,
                                                       std::int64_t timestamp_ms) = 0;

  /// Replaces `into` by records from `from` on; none at the end, or where they are not here yet. An offset that retention has
  /// removed goes on with the oldest kept, which `into.removed` tells, and `into.next_offset` moves to the end past whatever holds
  /// no record any more: who reads on always reaches `offsets().end`. Does not block.
  [[nodiscard]] virtual status fetch(std::string_view topic, std::int32_t partition,
                                     std::int64_t from, const fetch_limits& limits,
                                     record_block& into) = 0;

  /// Appends outside any epoch, at once and durable on return: what `sonder produce` does.
  [[nodiscard]] virtual status append(std::span<const produced_batch> batches) = 0;

  /// The next offset of the group per partition; -1 where it has committed none.
  [[nodiscard]] virtual result<std::vector<std::int64_t>> committed(std::string_view group,
                                                                    std::string_view topic) = 0;

  /// Joins the group as a worker, if the log has groups of several. `this` outlives the member.
  [[nodiscard]] virtual result<std::unique_ptr<group_member>> join(const group_request& request) {
    return make_sole_member(request.partitions);
  }

  /// As `committed`, of one partition: what others have open elsewhere does not hold it back.
  [[nodiscard]] virtual result<std::int64_t> committed_of(std::string_view group, std::string_view topic, std::int32_t partition) {
    auto all = committed(group, topic);
    if (!all) return tl::unexpected(all.error());
    const auto p = static_cast<std::size_t>(partition);
    return p < all->size() ? (*all)[p] : -1;
  }

  /// All or nothing, durable on return. errc::fenced: another process writes for this group now, and this one must end.
  /// errc::unavailable and errc::io: it may have come about or not; the caller throws its uncommitted work away, asks its
  /// `group_member` to restart, and goes on from `committed`.
  [[nodiscard]] virtual status commit(const epoch_changes& epoch) = 0;

  /// What is beyond them, `commit` refuses with errc::capacity.
  [[nodiscard]] virtual epoch_limits limits() const noexcept { return {}; }

  /// Stores of the group that hold committed state or held some, as far as the log can tell: those that nobody uses any more too.
  [[nodiscard]] virtual result<std::vector<std::string>> stores(std::string_view /*group*/) {
    return std::vector<std::string>{};
  }

  /// Reads committed state. True and `value` replaced, or false.
  [[nodiscard]] virtual result<bool> state_get(std::string_view group, std::string_view store,
                                               std::int32_t partition, bytes_view key,
                                               buffer& value) = 0;
  /// Visits committed entries whose key starts with `prefix`, by ascending key, until `visit`
  /// answers false.
  /// `visit` must not call this log.
  using state_visitor = bool (*)(void* ctx, bytes_view key, bytes_view value);
  [[nodiscard]] virtual status state_scan(std::string_view group, std::string_view store,
                                          std::int32_t partition, bytes_view prefix,
                                          state_visitor visit, void* ctx) = 0;

  /// Who works in the group now. errc::unsupported: this log does not know of groups.
  [[nodiscard]] virtual result<group_state> describe_group(std::string_view /*group*/) {
    return fail(errc::unsupported, "this log cannot tell who works on it");
  }
  /// How much committed state a store of a task has, whoever has it open. Reads all of it.
  [[nodiscard]] virtual result<state_size> size_of_state(std::string_view /*group*/, std::string_view /*store*/,
                                                         std::int32_t /*partition*/) {
    return fail(errc::unsupported, "this log cannot tell how much state it has");
  }
  /// What a store takes in these tasks, which are this process's. Reads no state; may wait for a broker, a second at most.
  [[nodiscard]] virtual result<state_footprint> footprint_of_state(std::string_view /*group*/, std::string_view /*store*/,
                                                                   std::span<const std::int32_t> /*partitions*/) {
    return fail(errc::unsupported, "this log cannot tell what its state takes");
  }
  /// For a group that nobody works in: state away and offsets elsewhere. Together, or, where that is more than one commit takes, so
  /// that no worker takes a task up of which some is gone, until the same reset again has finished what ended half-way.
  /// errc::unavailable: a worker is there, came meanwhile, or has moved the group since `stood`; errc::invalid: a reset that ended
  /// half-way takes away what this one does not.
  [[nodiscard]] virtual status reset(const group_reset& /*to*/) {
    return fail(errc::unsupported, "this log cannot be reset");
  }
  /// What it does and has done; cheap, never waits for a broker.
  [[nodiscard]] virtual log_figures figures() const { return {}; }

  /// Returns when something was appended since the caller's last look (`seen`, updated), or after
  /// `at_most`.
  virtual void wait_for_records(std::uint64_t& seen, std::chrono::milliseconds at_most) = 0;

  /// Small named values of the program's own (schema index, format versions): durable, atomic each.
  [[nodiscard]] virtual result<std::optional<std::string>> note(std::string_view name) = 0;
  [[nodiscard]] virtual status set_note(std::string_view name, std::string_view value) = 0;
};

/// Java's `org.apache.kafka.common.utils.Utils.murmur2`.
[[nodiscard]] std::int32_t murmur2_hash(bytes_view key) noexcept;

/// Kafka's default partition of a record with this key: murmur2 (seed 0x9747b28c), positive, modulo
/// partitions (org.apache.kafka.clients.producer.internals.BuiltInPartitioner).
[[nodiscard]] std::int32_t murmur2_partition(bytes_view key, std::int32_t partitions) noexcept;

}  // namespace sonder
