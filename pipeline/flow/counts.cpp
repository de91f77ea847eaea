#include "flow/counts.h"

#include <numeric>

namespace sonder {

std::string_view name(host_cause cause) noexcept {
  static constexpr std::array<std::string_view, host_causes> names = {
      "not_framed",        "unknown_schema", "unreadable_schema", "undecodable", "no_value",
      "no_subject",        "wrong_partition", "future",           "plugin_failed", "retries_exhausted",
      "bad_output",        "no_consent",     "missing_value",     "bad_value",   "too_large",
      "flow_changed",       "schema_unanswered"};
  return names[static_cast<std::size_t>(cause)];
}

void node_counts::add(const node_counts& other) {
  in += other.in;
  passed += other.passed;
  withheld += other.withheld;
  emitted += other.emitted;
  parked += other.parked;
  lost += other.lost;
  timers_given_up += other.timers_given_up;
  retries += other.retries;
  waited_ns += other.waited_ns;
  batches.add(other.batches);
  durations.add(other.durations);
  for (std::size_t i = 0; i < dropped.size(); ++i) dropped[i] += other.dropped[i];
  for (std::size_t i = 0; i < dead.size(); ++i) dead[i] += other.dead[i];
}

void node_counts::clear() noexcept {
  in = passed = withheld = emitted = parked = lost = timers_given_up = retries = waited_ns = 0;
  batches.clear();
  durations.clear();
  for (auto& n : dropped) n = 0;
  for (auto& n : dead) n = 0;
}

counts_layout::counts_layout(const graph& flow) : flow_(&flow) {
  size_ = flow.sources.size();
  for (const auto& stage : flow.stages) {
    first_input_.push_back(size_);
    size_ += stage.inputs.size();
  }
  first_sink_ = size_;
  size_ += flow.sinks.size();
  first_rekey_ = size_;
  size_ += flow.rekeys.size();
}

std::vector<node_counts> counts_layout::make() const {
  std::vector<node_counts> all(size_);
  for (auto& counts : all) {
    counts.dropped.resize(host_causes);
    counts.dead.resize(host_causes);
  }
  for (std::size_t s = 0; s < flow_->stages.size(); ++s) {
    const auto reasons = flow_->stages[s].of.reasons.size();
    for (std::size_t i = 0; i < flow_->stages[s].inputs.size(); ++i) {
      all[stage_input(s, i)].dropped.resize(host_causes + reasons);
      all[stage_input(s, i)].dead.resize(host_causes + reasons);
    }
  }
  return all;
}

namespace {

std::map<std::string, std::uint64_t> by_cause(const std::vector<std::uint64_t>& counts,
                                              const std::vector<std::string>& reasons) {
  std::map<std::string, std::uint64_t> named;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] == 0) continue;
    named[i < host_causes ? std::string(name(static_cast<host_cause>(i))) : reasons[i - host_causes]] += counts[i];
  }
  return named;
}

port_counts with_names(const node_counts& from, const std::vector<std::string>& reasons) {
  port_counts to;
  to.in = from.in;
  to.passed = from.passed;
  to.withheld = from.withheld;
  to.emitted = from.emitted;
  to.parked = from.parked;
  to.lost = from.lost;
  to.timers_given_up = from.timers_given_up;
  to.dropped = by_cause(from.dropped, reasons);
  to.dead_lettered = by_cause(from.dead, reasons);
  return to;
}

bool balanced(const node_counts& c) {
  return c.in == std::accumulate(c.dropped.begin(), c.dropped.end(), c.passed) +
                     std::accumulate(c.dead.begin(), c.dead.end(), std::uint64_t{0});
}

}  // namespace

std::vector<port_counts> counts_layout::named(const std::vector<node_counts>& counts,
                                              std::vector<std::string>& unbalanced) const {
  std::vector<port_counts> all;
  const auto take = [&](const node_counts& from, const std::vector<std::string>& reasons, std::string node,
                        std::string port, bool table) {
    all.push_back(with_names(from, reasons));
    if (!balanced(from)) unbalanced.push_back(node + "." + port);
    all.back().node = std::move(node);
    all.back().port = std::move(port);
    all.back().table = table;
  };
  for (std::size_t i = 0; i < flow_->rekeys.size(); ++i) {
    take(counts[rekey(i)], {}, flow_->rekeys[i].raw.topic.name, "rekey", false);
  }
  for (std::size_t i = 0; i < flow_->sources.size(); ++i) {
    const auto& topic = flow_->sources[i].topic;
    take(counts[source(i)], {}, topic.name, "source", topic.role != topic_role::event);
  }
  for (std::size_t s = 0; s < flow_->stages.size(); ++s) {
    const auto& stage = flow_->stages[s];
    for (std::size_t i = 0; i < stage.inputs.size(); ++i) {
      const auto& port = stage.of.inputs[static_cast<std::size_t>(stage.inputs[i].port)];
      take(counts[stage_input(s, i)], stage.of.reasons, stage.options.name, port.name, stage.inputs[i].edge_out < 0);
    }
  }
  for (std::size_t i = 0; i < flow_->sinks.size(); ++i) {
    take(counts[sink(i)], {}, flow_->sinks[i].topic.name, "sink", false);
  }
  return all;
}

}  // namespace sonder
