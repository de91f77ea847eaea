#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/place.h"
#include "flow/graph.h"
#include "plugin/inspect.h"
#include "plugin/library.h"

namespace sonder::cli {
namespace {

struct inspect_options {
  std::string path;
  std::vector<std::string> set;
  std::string profile;
  bool json = false;
};

// A plugin is known by what it is, not by its name.
bool is_elf(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  char magic[4] = {};
  return file.read(magic, sizeof magic) && std::string_view(magic, sizeof magic) ==
                                               "\x7f"
                                               "ELF";
}

int inspect_plugin(const inspect_options& options) {
  const auto found = read_manifest(options.path);
  if (!found) return refuse(exit_cannot_start, found.error());
  if (options.json)
    std::cout << inspect_json(*found, options.path) << '\n';
  else
    std::cout << inspect_text(*found, options.path);
  return exit_ok;
}

std::string row_of(const graph& flow, int edge) {
  std::string out;
  if (edge < 0) return out;
  for (const auto& column : flow.edges[static_cast<std::size_t>(edge)].columns)
    out += (out.empty() ? "" : ", ") + column.of.name;
  return out;
}

nlohmann::json columns_of(const graph& flow, int edge) {
  auto out = nlohmann::json::array();
  if (edge < 0) return out;
  for (const auto& column : flow.edges[static_cast<std::size_t>(edge)].columns)
    out.push_back({{"name", column.of.name},
                   {"type", to_string(column.of.type)},
                   {"nullable", column.of.nullable}});
  return out;
}

/// Where the rows of one of a stage's ports come from: a topic, or `stage.port`.
std::string from_of(const stage_node& stage, const std::string& port) {
  const auto& in = stage.options.in;
  const auto at = std::find_if(in.begin(), in.end(), [&](const input_options& one) { return one.port == port; });
  return at == in.end() ? "" : at->from;
}

/// The column that fills a field of a sink's schema; null: its records hold the schema's default there.
const edge_column* filled_by(const graph& flow, const sink_node& sink, std::size_t field) {
  const auto slot = sink.slots[field];
  return slot < 0 ? nullptr : &flow.edges[static_cast<std::size_t>(sink.edge_in)].columns[static_cast<std::size_t>(slot)];
}

std::string fields_written(const graph& flow, const sink_node& sink) {
  std::string out;
  for (std::size_t f = 0; f < sink.slots.size(); ++f) {
    const bool filled = filled_by(flow, sink, f) != nullptr;
    out += (out.empty() ? "" : ", ") + sink.schema_of->fields[f].name + (filled ? "" : " (default)");
  }
  return out;
}

/// What leaves the flow: the fields of the sink's schema, with the column of the row that each is.
nlohmann::json written_columns(const graph& flow, const sink_node& sink) {
  auto out = nlohmann::json::array();
  const auto fields = column_fields(*sink.schema_of);
  for (std::size_t f = 0; f < sink.slots.size(); ++f) {
    const auto* column = filled_by(flow, sink, f);
    out.push_back({{"name", fields[f].name},
                   {"type", to_string(fields[f].type)},
                   {"nullable", fields[f].nullable},
                   {"of", column != nullptr ? nlohmann::json(column->of.name) : nlohmann::json()}});
  }
  return out;
}

void print_text(const graph& flow) {
  std::cout << "flow " << flow.options.name << ", " << flow.partitions << " tasks per sub-flow\n\n";
  text_table sources({"source", "role", "schema", "subject", "fields read"});
  for (const auto& s : flow.sources)
    sources.add({s.topic.name, std::string(name(s.topic.role)),
                 s.topic.schema, s.topic.subject, row_of(flow, s.edge_out)});
  std::cout << sources.text() << '\n';
  text_table internal({"internal topic", "of", "its partitions", "partitions", "kept for"});
  for (const auto& r : flow.rekeys) {
    const auto& inner = flow.sources[static_cast<std::size_t>(r.source)].topic;
    internal.add({inner.topic, r.raw.topic.topic, std::to_string(r.raw.topic.partitions), std::to_string(inner.partitions),
                  std::to_string(inner.retention_ms / 1'000) + " s"});
  }
  if (!flow.rekeys.empty()) std::cout << internal.text() << '\n';
  text_table stages({"stage", "plugin", "version", "purpose", "input", "from", "rows leave with"});
  for (const auto& s : flow.stages)
    for (std::size_t i = 0; i < s.inputs.size(); ++i) {
      const auto& port = s.of.inputs[static_cast<std::size_t>(s.inputs[i].port)].name;
      stages.add({i == 0 ? s.options.name : "", i == 0 ? s.of.id : "", i == 0 ? s.of.version : "",
                  i == 0 ? s.options.purpose : "", port, from_of(s, port), row_of(flow, s.inputs[i].edge_out)});
    }
  std::cout << stages.text() << '\n';
  text_table sinks({"sink", "from", "schema", "purpose", "fields of its records"});
  for (std::size_t i = 0; i < flow.sinks.size(); ++i) {
    const auto& s = flow.sinks[i];
    sinks.add({s.topic.name, flow.options.sinks[i].from, s.topic.schema, s.topic.purpose, fields_written(flow, s)});
  }
  std::cout << sinks.text();
  std::cout << "\nPlugins run inside the worker and are trusted with what they are lent: sonder "
               "inspect PLUGIN.so shows each.\n";
}

void print_json(const graph& flow) {
  nlohmann::ordered_json out{
      {"flow", flow.options.name}, {"tasks", flow.partitions}, {"purposes", flow.purposes}};
  for (const auto& s : flow.sources)
    out["sources"].push_back({{"topic", s.topic.name},
                              {"role", std::string(name(s.topic.role))},
                              {"schema", s.topic.schema},
                              {"subject", s.topic.subject},
                              {"columns", columns_of(flow, s.edge_out)}});
  for (const auto& r : flow.rekeys) {
    const auto& inner = flow.sources[static_cast<std::size_t>(r.source)].topic;
    out["internal_topics"].push_back({{"topic", inner.topic},
                                      {"of", r.raw.topic.topic},
                                      {"partitions_of_it", r.raw.topic.partitions},
                                      {"partitions", inner.partitions},
                                      {"retention_ms", inner.retention_ms}});
  }
  for (const auto& s : flow.stages) {
    nlohmann::ordered_json stage{
        {"stage", s.options.name},
        {"plugin", s.of.id},
        {"version", s.of.version},
        {"purpose", s.options.purpose},
        {"trust", s.options.trust},
        {"config", nlohmann::ordered_json::parse(s.config_json, nullptr, false)}};
    for (const auto& in : s.inputs) {
      const auto& port = s.of.inputs[static_cast<std::size_t>(in.port)].name;
      stage["inputs"].push_back({{"port", port}, {"from", from_of(s, port)}, {"columns_out", columns_of(flow, in.edge_out)}});
    }
    out["stages"].push_back(std::move(stage));
  }
  for (std::size_t i = 0; i < flow.sinks.size(); ++i) {
    const auto& s = flow.sinks[i];
    out["sinks"].push_back({{"topic", s.topic.name},
                            {"from", flow.options.sinks[i].from},
                            {"schema", s.topic.schema},
                            {"purpose", s.topic.purpose},
                            {"columns", written_columns(flow, s)}});
  }
  std::cout << out.dump(2) << '\n';
}

int inspect_flow(const inspect_options& options) {
  const auto overrides = overrides_of(options.set, options.profile, "");
  if (!overrides) return refuse(exit_usage, overrides.error());
  const auto flow = read_flow(options.path, *overrides);
  if (!flow) return refuse(exit_cannot_start, flow.error());
  const auto checked = check_flow(*flow, false);
  for (const auto& d : checked.diagnostics) std::cerr << to_string(d) << '\n';
  if (checked.flow == nullptr) return exit_cannot_start;
  options.json ? print_json(*checked.flow) : print_text(*checked.flow);
  return exit_ok;
}

}  // namespace

void add_inspect(CLI::App& app, chosen_command& chosen) {
  auto* command = app.add_subcommand(
      "inspect", "Show what a plugin or a flow is, without running any of its code");
  const auto options = std::make_shared<inspect_options>();
  command
      ->add_option("PLUGIN.so|CONFIG", options->path,
                   "A plugin's library, or a flow's configuration")
      ->required();
  command->add_option("--set", options->set, "Change one value of the configuration: a.b=c")
      ->allow_extra_args(false);
  command->add_option("--profile", options->profile, "Profile of the configuration");
  command->add_flag("--json", options->json, "As one JSON object");
  command->footer("Example:\n  sonder inspect build/release/plugins/sentiment.so");
  command->callback([&chosen, options] {
    chosen = [options] {
      return is_elf(options->path) ? inspect_plugin(*options) : inspect_flow(*options);
    };
  });
}

}  // namespace sonder::cli
