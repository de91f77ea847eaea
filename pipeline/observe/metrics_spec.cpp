#include "observe/metrics.h"

namespace sonder {
namespace {

constexpr std::size_t nodes_max = 256;  // stages, sources and sinks of one flow, times their ports

std::vector<double> durations_s() {
  return {0.00001, 0.00003, 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30};
}
std::vector<double> latencies_s() {
  return {0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000};
}
std::vector<double> batch_sizes() {
  return {1, 4, 16, 64, 128, 256, 512, 1024, 4096};
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
      counted(dead_letters, "records", "Dead letters by cause, over all nodes.", {{"cause"}}, 64),
      counted(retries, "calls", "Calls of a stage that were repeated after an error.", {{"node"}},
              nodes_max),
      spread(batch_records, "records", "Rows in one call of a node: the mean over a task's calls in an epoch.", {{"node"}}, nodes_max,
             batch_sizes()),
      spread(stage_seconds, "seconds", "How long one call of a node took: the mean over a task's calls in an epoch.", {{"node"}}, nodes_max,
             durations_s()),
      counted(blocked_seconds, "seconds",
              "How long a flow's tasks stood still because the outbox was full.", {{"flow"}}, nodes_max),
      spread(epoch_seconds, "seconds", "From the closing of an epoch to its commit.", {}, 1,
             durations_s()),
      counted(epochs, "epochs", "Epochs that ended.", {{"outcome", {"committed", "discarded"}}}, 2),
      spread(latency_seconds, "seconds",
             "From a batch's first record's timestamp to its commit: the mean over a task's epoch.",
             {{"flow"}}, nodes_max, latencies_s()),
      level(outbox_bytes, "bytes", "Encoded results that wait for a commit.", {}, 1),
      level(store_bytes, "bytes", "Memory of a flow's stores, caches and uncommitted changes.",
            {{"flow"}}, nodes_max),
      level(source_lag, "records", "Committed records of a flow's event topics that are not consumed yet.",
            {{"flow"}}, nodes_max),
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
