#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sonder {

/// One worker's place in a group, as the log tells of it.
struct group_place {
  std::string client;  ///< what the worker calls itself
  std::string host;    ///< from where it came
  std::string member;  ///< what the group calls it
  std::vector<std::int32_t> tasks;  ///< ascending
};

struct group_state {
  std::string state;  ///< "Stable", "PreparingRebalance", "Empty" ...; "Dead": nobody knows of it
  std::vector<group_place> members;
};

/// What keyed state holds.
struct state_size {
  std::int64_t entries = 0;
  std::int64_t bytes = 0;    ///< of their keys and values
  std::int64_t records = 0;  ///< of the changelog, those not compacted away yet among them; 0 where there is no changelog
};

/// What keyed state takes, by estimates that are at hand.
struct state_footprint {
  std::int64_t disk_bytes = 0;  ///< on this machine
  std::int64_t changelog_offsets = 0;  ///< from the first kept to the last written; 0 where there is no changelog
};

struct state_part {
  std::string_view store;
  std::int32_t partition = 0;
};

struct reset_offset {
  std::string_view topic;
  std::int32_t partition = 0;
  std::int64_t next = 0;
};

/// A group's offsets elsewhere, and keyed state taken away. Views stay until `reset` returns.
struct group_reset {
  std::string_view group;
  std::vector<std::string> topics;  ///< all that the group reads
  std::int32_t partitions = 0;      ///< of each
  std::vector<reset_offset> offsets;
  std::vector<state_part> cleared;
  /// Where the group stood when all this was worked out, -1 where nowhere yet: one that stands elsewhere by now is left alone.
  std::vector<reset_offset> stood = {};
  /// What was asked for, in the words of who asked; for those who find it unfinished.
  std::string asked = {};
};

/// What this process's side of a log does now, and what it has done since it was opened. All zero where there are no brokers.
struct log_figures {
  enum class transaction_state : std::uint8_t {
    idle,        ///< none is open
    producing,   ///< records are handed to the client
    offsets,     ///< the group is asked whether it still takes them
    flushing,    ///< records are on their way
    committing,  ///< the outcome is being decided
    recovering,  ///< one has failed: a new producer settles what became of it
    count
  };
  enum class transaction_end : std::uint8_t {
    committed,
    group_changed,  ///< the group had gone on without this worker
    refused,        ///< the broker, or the client, took a record for one that would never do
    expired,        ///< longer than the transaction timeout: the broker gave it up
    unavailable,    ///< no answer in time, or brokers away; the outcome was settled after that
    fenced,         ///< another process has the transactional id or the instance
    failed,         ///< another error
    count
  };
  /// What made the group be assigned as it is.
  enum class rebalance_reason : std::uint8_t {
    started,       ///< this worker joined for the first time
    rejoined,      ///< the group had gone on without this worker, and it came back
    stranger,      ///< a consumer that is no worker came or went
    left,          ///< another worker left
    joined,        ///< another worker joined
    restarted,     ///< another worker left and came again
    same_members,  ///< nobody came or went: topics changed, or a member asked for it
    unknown,       ///< the coordinator did not tell in time
    count
  };
  enum class connection : std::uint8_t { reader, query, watermark, member, transaction, producer, count };

  transaction_state transaction = transaction_state::idle;
  double transaction_seconds = 0;  ///< since the one that is open began; 0: none is
  std::array<std::uint64_t, static_cast<std::size_t>(transaction_end::count)> transactions{};

  std::array<std::uint64_t, static_cast<std::size_t>(rebalance_reason::count)> rebalance_reasons{};  ///< of assignments, once they are known
  std::int64_t group_strangers = 0;  ///< members of the group now that are no workers: nobody processes what they have been given

  std::int64_t tasks_restoring = 0;  ///< now
  std::int64_t restored_tasks = 0;
  std::int64_t restored_records = 0;
  std::int64_t restored_bytes = 0;
  std::int64_t restore_rebuilt = 0;         ///< stores of tasks thrown away and built anew
  std::int64_t restore_remaining = 0;       ///< offsets between where restores stand and where they end
  double restore_records_per_second = 0;    ///< of the restore that runs, or of the last one
  std::int64_t standby_tasks = 0;           ///< of other workers, whose state is kept ahead here
  std::int64_t standby_records_behind = 0;  ///< changelog records that those copies have not got yet

  std::array<std::uint64_t, static_cast<std::size_t>(connection::count)> connections_failed{};  ///< or lost
  std::array<std::uint64_t, static_cast<std::size_t>(connection::count)> client_errors{};       ///< other complaints
};

[[nodiscard]] std::string_view name(log_figures::transaction_state of) noexcept;
[[nodiscard]] std::string_view name(log_figures::transaction_end of) noexcept;
[[nodiscard]] std::string_view name(log_figures::rebalance_reason of) noexcept;
[[nodiscard]] std::string_view name(log_figures::connection of) noexcept;

}  // namespace sonder
