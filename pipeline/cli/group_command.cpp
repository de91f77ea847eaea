#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli/command.h"
#include "cli/place.h"
#include "flow/graph.h"
#include "flow/reset_plan.h"
#include "flow/store_names.h"
#include "log/internal_names.h"

namespace sonder::cli {
namespace {

constexpr std::chrono::seconds ages_wait_max(3);  // for the records that groups stand at
constexpr std::chrono::milliseconds ages_look_again(50);

struct group_options {
  place_options where;
  bool state = false;
  bool json = false;
};

/// One partition of one topic, as the group has it.
struct partition_lag {
  flow_input input;
  std::int32_t partition = 0;
  std::int64_t committed = -1;  ///< -1: none yet
  offset_range range;
  std::optional<std::int64_t> waits_ms;  ///< how old the oldest record is that has not been taken up

  [[nodiscard]] std::int64_t from() const { return std::max(committed, range.first); }
  [[nodiscard]] std::int64_t lag() const { return std::max<std::int64_t>(0, range.end - from()); }
};

struct store_line {
  std::string store;
  std::int32_t task = 0;
  state_size size;
};

struct topic_line {
  std::string topic;
  std::int32_t partitions = 0;
  std::int64_t records = 0;
};

struct group_view {
  group_state who;
  std::vector<partition_lag> partitions;
  std::vector<topic_line> changelogs;
  std::vector<store_line> stores;
};

std::int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// Who is behind is told by the record that it stands at. Where that cannot be had in time, lag in records has to do.
void look_at_ages(log& on, std::vector<partition_lag>& of) {
  const auto until = std::chrono::steady_clock::now() + ages_wait_max;
  std::uint64_t seen = 0;
  record_block block;
  for (bool some = true; some && std::chrono::steady_clock::now() < until;) {
    some = false;
    for (auto& p : of) {
      if (p.lag() == 0 || p.waits_ms) continue;
      if (!on.fetch(p.input.topic, p.partition, p.from(), {.records_max = 1}, block)) continue;
      if (!block.records.empty()) p.waits_ms = std::max<std::int64_t>(0, now_ms() - block.records.front().timestamp_ms);
      some = some || !p.waits_ms;
    }
    if (some) on.wait_for_records(seen, ages_look_again);
  }
}

result<std::vector<partition_lag>> look_at_offsets(const graph& flow, log& on) {
  std::vector<partition_lag> all;
  for (const auto& input : inputs_of(flow)) {
    const auto committed = on.committed(flow.options.name, input.topic);
    if (!committed) return tl::unexpected(committed.error());
    for (std::size_t p = 0; p < committed->size(); ++p) {
      partition_lag one{input, static_cast<std::int32_t>(p), (*committed)[p], {}, {}};
      auto range = on.offsets(input.topic, one.partition);
      if (!range) return tl::unexpected(range.error());
      one.range = *range;
      all.push_back(std::move(one));
    }
  }
  look_at_ages(on, all);
  return all;
}

/// On Kafka state has topics of its own.
result<std::vector<topic_line>> look_at_changelogs(const graph& flow, log& on) {
  std::vector<topic_line> all;
  if (flow.options.log.kind != "kafka") return all;
  const auto topics = on.topics();
  if (!topics) return tl::unexpected(topics.error());
  for (const auto& topic : *topics) {
    if (store_of_changelog(flow.options.name, topic.name).empty()) continue;
    topic_line line{topic.name, topic.partitions, 0};
    for (std::int32_t p = 0; p < topic.partitions; ++p) {
      const auto range = on.offsets(topic.name, p);
      if (!range) return tl::unexpected(range.error());
      line.records += range->end - range->first;
    }
    all.push_back(std::move(line));
  }
  return all;
}

result<std::vector<store_line>> look_at_state(const graph& flow, log& on) {
  std::vector<store_line> all;
  for (const auto& stage : flow.stages) {
    for (const auto& store : store_names(stage)) {
      for (std::int32_t task = 0; task < flow.partitions; ++task) {
        const auto size = on.size_of_state(flow.options.name, store, task);
        if (!size) return tl::unexpected(size.error());
        all.push_back({store, task, *size});
      }
    }
  }
  return all;
}

result<group_view> look(const graph& flow, log& on, bool state) {
  group_view view;
  auto who = on.describe_group(flow.options.name);
  if (!who) return tl::unexpected(who.error());
  view.who = std::move(*who);
  if (flow.options.log.kind != "kafka") {
    // The embedded log has one worker at most, with every task.
    for (auto& one : view.who.members) {
      for (std::int32_t task = 0; task < flow.partitions; ++task) one.tasks.push_back(task);
    }
  }
  auto partitions = look_at_offsets(flow, on);
  if (!partitions) return tl::unexpected(partitions.error());
  view.partitions = std::move(*partitions);
  auto changelogs = look_at_changelogs(flow, on);
  if (!changelogs) return tl::unexpected(changelogs.error());
  view.changelogs = std::move(*changelogs);
  if (!state) return view;
  auto stores = look_at_state(flow, on);
  if (!stores) return tl::unexpected(stores.error());
  view.stores = std::move(*stores);
  return view;
}

/// "0-2, 5"
std::string ranges_of(const std::vector<std::int32_t>& tasks) {
  std::string text;
  for (std::size_t i = 0; i < tasks.size();) {
    std::size_t last = i;
    while (last + 1 < tasks.size() && tasks[last + 1] == tasks[last] + 1) ++last;
    text += (text.empty() ? "" : ", ") + std::to_string(tasks[i]) + (last > i ? "-" + std::to_string(tasks[last]) : "");
    i = last + 1;
  }
  return text.empty() ? "none" : text;
}

const group_place* worker_of(const group_view& view, const partition_lag& p) {
  if (!p.input.of_tasks) return nullptr;
  for (const auto& one : view.who.members) {
    if (std::find(one.tasks.begin(), one.tasks.end(), p.partition) != one.tasks.end()) return &one;
  }
  return nullptr;
}

/// In the unit that reads best: `1.5 s`, `12.0 min`, `3.2 h`, `322.1 d`.
std::string age_text(std::int64_t ms) {
  const auto seconds = static_cast<double>(ms) / 1'000;
  const auto [unit, of] = seconds < 120     ? std::pair("s", 1.0)
                          : seconds < 7'200 ? std::pair("min", 60.0)
                          : seconds < 172'800 ? std::pair("h", 3'600.0)
                                              : std::pair("d", 86'400.0);
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f %s", seconds / of, unit);
  return text.data();
}

void print_text(const graph& flow, const group_view& view) {
  std::cout << "group " << flow.options.name << ": " << view.who.state << ", " << view.who.members.size()
            << (view.who.members.size() == 1 ? " worker" : " workers") << "\n\n";
  if (!view.who.members.empty()) {
    text_table workers({"worker", "host", "member", "tasks"});
    for (const auto& one : view.who.members) workers.add({one.client, one.host, one.member, ranges_of(one.tasks)});
    std::cout << workers.text() << '\n';
  }
  text_table lags({"topic", "kind", "partition", "committed", "end", "lag", "waits", "worker"});
  std::uint64_t lag = 0;
  for (const auto& p : view.partitions) {
    const auto* worker = worker_of(view, p);
    lag += static_cast<std::uint64_t>(p.lag());
    lags.add({p.input.topic, std::string(name(p.input.is)), std::to_string(p.partition),
              p.committed < 0 ? "none" : grouped(static_cast<std::uint64_t>(p.committed)), grouped(static_cast<std::uint64_t>(p.range.end)),
              grouped(static_cast<std::uint64_t>(p.lag())), p.waits_ms ? age_text(*p.waits_ms) : "-",
              worker == nullptr ? "-" : worker->client});
  }
  std::cout << lags.text() << "lag in all: " << counted(lag, "record") << '\n';
  if (!view.changelogs.empty()) {
    text_table changelogs({"changelog", "partitions", "records"});
    for (const auto& one : view.changelogs)
      changelogs.add({one.topic, std::to_string(one.partitions), grouped(static_cast<std::uint64_t>(one.records))});
    std::cout << '\n' << changelogs.text();
  }
  if (!view.stores.empty()) {
    text_table stores({"store", "task", "entries", "bytes"});
    for (const auto& one : view.stores) {
      stores.add({one.store, std::to_string(one.task), grouped(static_cast<std::uint64_t>(one.size.entries)),
                  grouped(static_cast<std::uint64_t>(one.size.bytes))});
    }
    std::cout << '\n' << stores.text();
  }
}

void print_json(const graph& flow, const group_view& view) {
  nlohmann::ordered_json out{{"group", flow.options.name}, {"state", view.who.state}, {"workers", nlohmann::json::array()}};
  for (const auto& one : view.who.members)
    out["workers"].push_back({{"worker", one.client}, {"host", one.host}, {"member", one.member}, {"tasks", one.tasks}});
  auto& partitions = out["partitions"] = nlohmann::json::array();
  for (const auto& p : view.partitions) {
    nlohmann::ordered_json line{{"topic", p.input.topic}, {"kind", name(p.input.is)}, {"partition", p.partition}};
    line["committed"] = p.committed < 0 ? nlohmann::json() : nlohmann::json(p.committed);
    line["first"] = p.range.first;
    line["end"] = p.range.end;
    line["lag_records"] = p.lag();
    line["lag_seconds"] = p.waits_ms ? nlohmann::json(static_cast<double>(*p.waits_ms) / 1'000) : p.lag() == 0 ? nlohmann::json(0) : nlohmann::json();
    const auto* worker = worker_of(view, p);
    line["worker"] = worker == nullptr ? nlohmann::json() : nlohmann::json(worker->member);
    partitions.push_back(std::move(line));
  }
  auto& changelogs = out["changelogs"] = nlohmann::json::array();
  for (const auto& one : view.changelogs)
    changelogs.push_back({{"topic", one.topic}, {"partitions", one.partitions}, {"records", one.records}});
  auto& stores = out["stores"] = nlohmann::json::array();
  for (const auto& one : view.stores)
    stores.push_back({{"store", one.store}, {"task", one.task}, {"entries", one.size.entries}, {"bytes", one.size.bytes}});
  std::cout << out.dump() << '\n';
}

int show_group(const group_options& options) {
  const auto where = find_place(options.where);
  if (!where) return refuse(exit_cannot_start, where.error());
  const auto checked = check_flow(*where->flow, false);
  for (const auto& d : checked.diagnostics) {
    if (d.level == diagnostic::severity::error) std::cerr << to_string(d) << '\n';
  }
  if (checked.flow == nullptr) return exit_cannot_start;
  const auto on = open_to_administer(*where->flow, false);
  if (!on) return refuse(exit_cannot_start, on.error());
  const auto view = look(*checked.flow, **on, options.state);
  if (!view) return refuse(exit_failed, view.error());
  options.json ? print_json(*checked.flow, *view) : print_text(*checked.flow, *view);
  return exit_ok;
}

}  // namespace

void add_group(CLI::App& app, chosen_command& chosen) {
  auto* command = app.add_subcommand("group", "Who works on a flow, and how far behind: workers, tasks, offsets, lag, state");
  const auto options = std::make_shared<group_options>();
  add_flow_place(*command, options->where);
  command->add_flag("--state", options->state, "Count the entries of every store: on Kafka that reads all changelogs");
  command->add_flag("--json", options->json, "One JSON object");
  command->footer(
      "Also while no worker runs. `waits` is the age of the oldest record that is not taken up; `records` of a changelog counts those that "
      "compaction has not removed yet, too.\n\nExample:\n  sonder group config/quickstart.yaml");
  command->callback([&chosen, options] { chosen = [options] { return show_group(*options); }; });
}

}  // namespace sonder::cli
