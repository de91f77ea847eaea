#include "observe/metrics.h"
#include "observe/tally.h"

namespace sonder {
namespace {

constexpr std::size_t nodes_max = 256;  // stages, sources and sinks of one flow, times their ports
constexpr std::size_t partitions_max = 256;  // shown apart

template <class Bounds>
std::vector<double> listed(const Bounds& bounds) {
  return {bounds.begin(), bounds.end()};
}

metric_spec counted(std::string_view name, std::string unit, std::string help,
                    std::vector<metric_spec::label> labels, std::size_t series_max) {
  return {std::string(name), metric_type::counter, std::move(unit),
          std::move(help),   std::move(labels),    series_max};
}
metric_spec level(std::string_view name, std::string unit, std::string help,
                  std::vector<metric_spec::label> labels, std::size_t series_max) {
  return {std::string(name), metric_type::gauge, std::move(unit),
          std::move(help),   std::move(labels),  series_max};
}
metric_spec spread(std::string_view name, std::string unit, std::string help,
                   std::vector<metric_spec::label> labels, std::size_t series_max,
                   std::vector<double> buckets) {
  return {std::string(name), metric_type::histogram, std::move(unit),
          std::move(help),   std::move(labels),      series_max,
          std::move(buckets)};
}

std::vector<metric_spec> written() {
  using namespace metric;
  return {
      level(build, "1", "Always 1; the labels say which program runs.", {{"version"}, {"abi"}}, 1),
      level(ready, "1", "1 while the worker may be sent work, else 0; /readyz says why.", {}, 1),
      counted(records_in, "records",
              "Records that entered a port: passed + dropped + dead-lettered.",
              {{"node"}, {"port"}}, nodes_max),
      counted(records_passed, "records", "Records that left a port on its output.",
              {{"node"}, {"port"}}, nodes_max),
      counted(records_dropped, "records", "Records that a node dropped on purpose.",
              {{"node"}, {"port"}, {"reason"}}, 4 * nodes_max),
      counted(records_dead_lettered, "records", "Records that a node could not use.",
              {{"node"}, {"port"}, {"cause"}}, 4 * nodes_max),
      counted(records_withheld, "records",
              "Of those passed: records that went around the node for want of consent.",
              {{"node"}, {"port"}}, nodes_max),
      counted(records_emitted, "records", "Records that a node made itself.", {{"node"}, {"port"}},
              nodes_max),
      counted(records_parked, "records",
              "Records that a stage asked to be offered again, and those behind them; they count as in "
              "once they are settled.",
              {{"node"}, {"port"}}, nodes_max),
      counted(records_lost, "records",
              "Offsets that retention took from a topic before they were taken up, at most so many "
              "records; in no other count.",
              {{"node"}, {"port"}}, nodes_max),
      level(parked, "records", "Records that wait to be offered to a stage again.", {}, 1),
      counted(dead_letters, "records", "Dead letters by cause, over all nodes.", {{"cause"}}, 64),
      counted(retries, "calls", "Calls of a stage that were repeated after an error.", {{"node"}},
              nodes_max),
      spread(batch_records, "records",
             "Rows in one call of a stage, in one batch taken up from a source or written to a sink.",
             {{"node"}, {"port"}}, nodes_max, listed(batch_records_bounds)),
      spread(stage_seconds, "seconds",
             "How long one call of a stage took, or one batch to decode from a source or encode for a sink.",
             {{"node"}, {"port"}}, nodes_max, listed(duration_seconds_bounds)),
      counted(stage_waiting_seconds, "seconds",
              "How long tasks waited before they called a stage again that had asked to be tried later.",
              {{"node"}}, nodes_max),
      counted(blocked_seconds, "seconds",
              "How long the tasks of a partition stood still: the outbox was full, or a store held as many "
              "changes as an epoch takes (1 MiB).",
              {{"partition"}, {"reason", {"outbox", "changes"}}}, 2 * partitions_max),
      level(blocked_tasks, "tasks", "Tasks that stand still now.", {{"reason", {"outbox", "changes"}}}, 2),
      spread(epoch_seconds, "seconds", "From the closing of an epoch to its commit.", {}, 1,
             listed(duration_seconds_bounds)),
      counted(epochs, "epochs", "Epochs that ended.", {{"outcome", {"committed", "discarded"}}}, 2),
      spread(latency_seconds, "seconds",
             "From the timestamp of an event's record to the commit of the record that a sink made of it.",
             {{"sink"}}, nodes_max, listed(latency_seconds_bounds)),
      level(outbox_bytes, "bytes", "Encoded results that wait for a commit.", {}, 1),
      level(store_bytes, "bytes", "Memory of a stage's store over all tasks: hot keys, and changes that no epoch has committed.",
            {{"stage"}, {"store"}, {"part", {"cache", "changes"}}}, 2 * nodes_max),
      level(store_disk_bytes, "bytes",
            "What a stage's store takes on this worker's disk, over its tasks: RocksDB's estimate, compressed, at most ten seconds old.",
            {{"stage"}, {"store"}}, nodes_max),
      level(changelog_records, "records",
            "Offsets that the changelogs of a stage's store span, over this worker's tasks: at most so many records, fewer where compaction "
            "has been; 0 without changelogs.",
            {{"stage"}, {"store"}}, nodes_max),
      level(source_waiting, "records", "Records that were fetched and not taken up yet.", {{"topic"}},
            nodes_max),
      level(source_lag, "records", "Committed records of a topic that are not taken up yet.",
            {{"topic"}, {"role", {"event", "table", "global"}}}, nodes_max),
      level(source_lag_seconds, "seconds",
            "Age of the oldest record that is not taken up yet; of the last one taken up where none is fetched; 0 without lag.",
            {{"topic"}, {"role", {"event", "table", "global"}}}, nodes_max),
      level(timers_waiting, "timers", "Timers that are set and have not fired.", {{"stage"}}, nodes_max),
      counted(timers, "timers",
              "Timers that became due: fired, given up since their call failed, or withheld for want of consent.",
              {{"stage"}, {"outcome", {"fired", "given_up", "withheld"}}}, 3 * nodes_max),
      level(tasks, "tasks",
              "Tasks that the group has given to this worker: those that process, and those that wait for state, tables or the log.",
              {{"state", {"processing", "waiting"}}}, 2),
      counted(rebalances, "rebalances",
              "How often the group gave this worker its tasks, took them back in order, or went on without it.",
              {{"event", {"assigned", "revoked", "lost"}}}, 3),
      counted(rebalance_reasons, "rebalances",
              "Assignments to this worker by what made the group change, as its members before and after tell; known a moment after the assignment.",
              {{"reason", {"started", "rejoined", "stranger", "left", "joined", "restarted", "same_members", "unknown"}}}, 8),
      level(group_strangers, "members",
            "Members of this worker's group that are no workers: nobody processes the tasks that they have been given.",
            {}, 1),
      spread(rebalance_seconds, "seconds",
              "From the moment at which tasks were taken back, or the worker joined, until all that were given next were processing.",
              {}, 1, listed(duration_seconds_bounds)),
      level(transaction_state, "1",
              "1 for what the transaction of the epoch does that is being committed, else 0.",
              {{"state", {"idle", "producing", "offsets", "flushing", "committing", "recovering"}}}, 6),
      level(transaction_seconds, "seconds",
              "Since the transaction that is open began; 0 without one.",
              {}, 1),
      counted(transactions, "transactions",
              "Transactions by what became of them.",
              {{"outcome", {"committed", "group_changed", "refused", "expired", "unavailable", "fenced", "failed"}}}, 7),
      level(restoring_tasks, "tasks",
              "Tasks whose state is not at hand yet.",
              {}, 1),
      counted(restored_tasks, "tasks",
              "Tasks whose state has come to hand.",
              {}, 1),
      counted(restored_records, "records",
              "Records of changelogs that were applied to restore state; its rate is that of restoring.",
              {}, 1),
      counted(restored_bytes, "bytes",
              "Keys and values of those records.",
              {}, 1),
      level(restore_remaining, "records",
              "Offsets between where restores stand and where their changelogs ended when they began.",
              {}, 1),
      counted(restore_rebuilt, "stores",
              "Stores of tasks whose state on disk was too old or of another changelog, and was built anew.",
              {}, 1),
      level(standby_tasks, "tasks",
              "Tasks of other workers whose state is kept ahead here.",
              {}, 1),
      level(standby_behind, "records",
              "Changelog records that those copies have not got yet.",
              {}, 1),
      counted(broker_connections_failed, "connections",
              "Connections to brokers that could not be made, or were lost.",
              {{"client", {"reader", "query", "watermark", "member", "transaction", "producer"}}}, 6),
      counted(broker_errors, "errors",
              "Other warnings and errors of the Kafka client.",
              {{"client", {"reader", "query", "watermark", "member", "transaction", "producer"}}}, 6),
      counted(registry_requests, "requests",
              "Requests to the schema registry.",
              {}, 1),
      counted(registry_failures, "requests",
              "Requests to the schema registry without a usable answer.",
              {}, 1),
      level(registry_open, "1",
              "1 while the schema registry is not asked, since it has failed too often; else 0.",
              {}, 1),
      counted(contract_violations, "violations",
              "Breaches of the plugin contract that were refused.", {{"plugin"}, {"rule"}}, 1024),
      counted(log_lines_suppressed, "lines", "Log lines left out because too many came at once.",
              {}, 1),
  };
}

}  // namespace

const std::vector<metric_spec>& metric_specification() {
  static const std::vector<metric_spec> specs = written();
  return specs;
}

}  // namespace sonder
