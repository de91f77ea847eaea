#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/place.h"

namespace sonder::cli {
namespace {

struct topics_options {
  place_options where;
  bool json = false;
};

struct topic_state {
  topic_config config;
  std::vector<offset_range> partitions;

  [[nodiscard]] std::uint64_t offsets() const {
    std::uint64_t sum = 0;
    for (const auto& p : partitions) sum += static_cast<std::uint64_t>(p.end - p.first);
    return sum;
  }
};

result<std::vector<topic_state>> look(log& from) {
  auto configs = from.topics();
  if (!configs) return tl::unexpected(configs.error());
  std::vector<topic_state> out;
  for (auto& config : *configs) {
    topic_state state{std::move(config), {}};
    for (std::int32_t p = 0; p < state.config.partitions; ++p) {
      auto range = from.offsets(state.config.name, p);
      if (!range) return tl::unexpected(range.error());
      state.partitions.push_back(*range);
    }
    out.push_back(std::move(state));
  }
  return out;
}

std::string retention(const topic_config& of) {
  std::string out;
  if (of.retention_ms >= 0) out += std::to_string(of.retention_ms / 1000) + "s";
  if (of.retention_bytes >= 0)
    out += (out.empty() ? "" : " ") + std::to_string(of.retention_bytes) + "B";
  return out.empty() ? "for ever" : out;
}

void print_text(const std::vector<topic_state>& topics) {
  text_table table({"topic", "partitions", "offsets", "kind", "retention"});
  for (const auto& t : topics)
    table.add({t.config.name, std::to_string(t.config.partitions), grouped(t.offsets()),
               t.config.compacted ? "compacted" : "log", retention(t.config)});
  std::cout << table.text();
}

void print_json(const std::vector<topic_state>& topics) {
  for (const auto& t : topics) {
    nlohmann::ordered_json out{{"topic", t.config.name},
                               {"compacted", t.config.compacted},
                               {"log_append_time", t.config.log_append_time},
                               {"retention_ms", t.config.retention_ms},
                               {"retention_bytes", t.config.retention_bytes},
                               {"partitions", nlohmann::json::array()}};
    for (std::size_t p = 0; p < t.partitions.size(); ++p)
      out["partitions"].push_back(
          {{"partition", p}, {"first", t.partitions[p].first}, {"end", t.partitions[p].end}});
    std::cout << out.dump() << '\n';
  }
}

int list_topics(const topics_options& options) {
  const auto where = find_place(options.where);
  if (!where) return refuse(exit_cannot_start, where.error());
  const auto from = open_to_read(*where);
  if (!from) return refuse(exit_cannot_start, from.error());
  const auto topics = look(*from->on);
  if (!topics) return refuse(exit_failed, topics.error());
  options.json ? print_json(*topics) : print_text(*topics);
  return exit_ok;
}

}  // namespace

void add_topics(CLI::App& app, chosen_command& chosen) {
  auto* command =
      app.add_subcommand("topics", "List the topics of a log, also while a worker runs");
  const auto options = std::make_shared<topics_options>();
  add_place_options(*command, options->where);
  command->add_flag("--json", options->json,
                    "One JSON object a topic and line, with the offsets of each partition");
  command->footer(
      "`offsets` counts offsets in use; compaction leaves gaps.\n\nExample:\n  sonder topics "
      "--config config/quickstart.yaml");
  command->callback([&chosen, options] { chosen = [options] { return list_topics(*options); }; });
}

}  // namespace sonder::cli
