#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <numeric>

#include "flow/worker.h"

namespace sonder {

namespace {

std::uint64_t sum(const std::map<std::string, std::uint64_t>& counts) {
  return std::accumulate(counts.begin(), counts.end(), std::uint64_t{0}, [](auto n, const auto& entry) { return n + entry.second; });
}

std::string reasons(const std::map<std::string, std::uint64_t>& counts) {
  std::string text;
  for (const auto& [name, count] : counts) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, count);
  return text;
}

}  // namespace

std::string to_json(const run_summary& summary) {
  nlohmann::ordered_json ports = nlohmann::ordered_json::array();
  for (const auto& p : summary.ports) {
    ports.push_back({{"node", p.node},
                     {"port", p.port},
                     {"table", p.table},
                     {"in", p.in},
                     {"passed", p.passed},
                     {"withheld", p.withheld},
                     {"dropped", p.dropped},
                     {"dead_lettered", p.dead_lettered},
                     {"emitted", p.emitted},
                     {"parked", p.parked},
                     {"lost", p.lost},
                     {"timers_given_up", p.timers_given_up}});
  }
  const auto rate = summary.seconds > 0 ? static_cast<double>(summary.records_in) / summary.seconds : 0.0;
  const nlohmann::ordered_json all = {{"flow", summary.flow},
                                      {"stopped_because", summary.stopped_because},
                                      {"seconds", summary.seconds},
                                      {"records_in", summary.records_in},
                                      {"records_out", summary.records_out},
                                      {"records_per_second", rate},
                                      {"epochs_committed", summary.epochs_committed},
                                      {"epochs_discarded", summary.epochs_discarded},
                                      {"ports", ports},
                                      {"unbalanced", summary.unbalanced}};
  return all.dump();
}

std::string to_table(const run_summary& summary) {
  std::size_t width = 4;
  for (const auto& p : summary.ports) width = std::max(width, p.node.size() + p.port.size() + 1);
  auto text = fmt::format("{:<{}}  {:>10} {:>10} {:>10} {:>10}  {}\n", "node", width, "in", "passed", "dropped", "dead", "reasons");
  for (const auto& p : summary.ports) {
    auto why = reasons(p.dropped);
    const auto causes = reasons(p.dead_lettered);
    if (!causes.empty()) why += (why.empty() ? "" : "; ") + std::string("dead letters: ") + causes;
    if (p.withheld > 0) why += fmt::format("{}withheld {}", why.empty() ? "" : "; ", p.withheld);
    if (p.timers_given_up > 0) why += fmt::format("{}timers given up {}", why.empty() ? "" : "; ", p.timers_given_up);
    if (p.lost > 0) why += fmt::format("{}lost {}", why.empty() ? "" : "; ", p.lost);
    if (p.parked > 0) why += fmt::format("{}parked {}", why.empty() ? "" : "; ", p.parked);
    text += fmt::format("{:<{}}  {:>10} {:>10} {:>10} {:>10}  {}\n", p.node + "." + p.port, width, p.in, p.passed, sum(p.dropped),
                        sum(p.dead_lettered), why);
  }
  const auto rate = summary.seconds > 0 ? static_cast<double>(summary.records_in) / summary.seconds : 0.0;
  const auto s = [](auto number) { return number == 1 ? "" : "s"; };
  text += fmt::format("\n{} event{} in, {} record{} out in {:.1f} s: {:.0f} records/s; {} epoch{} committed, {} discarded\n", summary.records_in,
                      s(summary.records_in), summary.records_out, s(summary.records_out), summary.seconds, rate, summary.epochs_committed,
                      s(summary.epochs_committed), summary.epochs_discarded);
  for (const auto& node : summary.unbalanced) text += fmt::format("error: {}: in is not passed + dropped + dead-lettered\n", node);
  return text;
}

}  // namespace sonder
