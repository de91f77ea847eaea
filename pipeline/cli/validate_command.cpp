#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/place.h"
#include "cli/secret_files.h"
#include "flow/graph.h"

namespace sonder::cli {
namespace {

struct validate_options {
  std::vector<std::string> configs;
  std::vector<std::string> set;
  std::string profile;
  bool json = false;
};

struct findings {
  std::vector<diagnostic> diagnostics;
  std::vector<std::string> trusted;  ///< plugins that run inside the worker
  std::shared_ptr<const graph> flow; ///< if it is good
  bool only_form = false;            ///< it could not be read as a flow, so that plugins and labels were not looked at

  [[nodiscard]] bool good() const {
    return std::none_of(diagnostics.begin(), diagnostics.end(),
                        [](const diagnostic& d) { return d.level == diagnostic::severity::error; });
  }
};

/// What `run` needs and this machine, which need not be the one that runs the flow, does not have.
std::vector<diagnostic> missing_here(const flow_options& flow) {
  std::vector<diagnostic> found;
  for (const auto& [name, secret] : flow.secrets) {
    std::error_code unknown;
    const bool there = secret.environment.empty() ? std::filesystem::exists(secret.file, unknown) : std::getenv(secret.environment.c_str()) != nullptr;
    if (there) continue;
    found.push_back({diagnostic::severity::warning, secret.at,
                     "secret \"" + name + "\": " +
                         (secret.environment.empty() ? secret.file + " is not here" : "the environment has no " + secret.environment) +
                         ", without which \"run\" does not start"});
  }
  for (const auto& folder : flow.plugin_dirs) {
    std::error_code unknown;
    if (std::filesystem::is_directory(folder, unknown)) continue;
    auto& said = found.emplace_back();
    said.level = diagnostic::severity::warning;
    said.at.file = flow.file;
    said.message = "\"plugins\" names " + folder + ", which is no folder here";
  }
  return found;
}

findings check(const std::string& config, const config_overrides& overrides) {
  findings found;
  auto parsed = parse_flow(config, overrides);
  found.diagnostics = std::move(parsed.diagnostics);
  std::error_code unknown;
  found.only_form = !parsed.options && std::filesystem::is_regular_file(config, unknown);
  if (!parsed.options) return found;
  for (auto& d : open_secrets(*parsed.options)) found.diagnostics.push_back(std::move(d));
  for (auto& d : missing_here(*parsed.options)) found.diagnostics.push_back(std::move(d));
  for (auto& d : short_secrets(*parsed.options)) found.diagnostics.push_back(std::move(d));
  add_plugin_folder(*parsed.options);
  const auto checked = check_flow(*parsed.options, false);
  found.diagnostics.insert(found.diagnostics.end(), checked.diagnostics.begin(),
                           checked.diagnostics.end());
  if (checked.flow == nullptr) return found;
  found.flow = checked.flow;
  for (const auto& stage : checked.flow->stages)
    found.trusted.push_back(stage.options.name + " (" + stage.of.id + " " + stage.of.version + ")");
  return found;
}

void print_text(const std::string& config, const findings& found) {
  for (const auto& d : found.diagnostics) std::cout << to_string(d) << '\n';
  if (found.only_form) std::cout << config << ": plugins, fields and labels are checked once this is mended\n";
  if (!found.good()) return;
  std::cout << config << ": good";
  if (!found.trusted.empty()) {
    std::cout << "; trusted in process:";
    for (std::size_t i = 0; i < found.trusted.size(); ++i)
      std::cout << (i == 0 ? " " : ", ") << found.trusted[i];
  }
  std::cout << '\n';
  // Personal data goes there before anybody is asked whether its person agrees: who signs for the flow should know.
  for (const auto& rekey : found.flow->rekeys) {
    const auto& inner = found.flow->sources[static_cast<std::size_t>(rekey.source)].topic;
    std::cout << config << ": all records of topic \"" << rekey.raw.topic.topic << "\" are copied, under their subject, to the internal topic \""
              << inner.topic << "\", before consent is asked, and kept there for " << inner.retention_ms / 1'000 << " s\n";
  }
}

nlohmann::ordered_json as_json(const std::string& config, const findings& found) {
  nlohmann::ordered_json out{{"config", config},
                             {"good", found.good()},
                             {"diagnostics", nlohmann::json::array()},
                             {"trusted_in_process", found.trusted},
                             {"internal_topics", nlohmann::json::array()}};
  if (found.flow != nullptr) {
    for (const auto& rekey : found.flow->rekeys) {
      const auto& inner = found.flow->sources[static_cast<std::size_t>(rekey.source)].topic;
      out["internal_topics"].push_back({{"topic", inner.topic}, {"from", rekey.raw.topic.topic}, {"retention_ms", inner.retention_ms}});
    }
  }
  for (const auto& d : found.diagnostics)
    out["diagnostics"].push_back(
        {{"level", d.level == diagnostic::severity::error ? "error" : "warning"},
         {"file", d.at.file},
         {"line", d.at.line},
         {"column", d.at.column},
         {"message", d.message}});
  return out;
}

int validate(const validate_options& options) {
  const auto overrides = overrides_of(options.set, options.profile, "");
  if (!overrides) return refuse(exit_usage, overrides.error());
  int code = exit_ok;
  for (const auto& config : options.configs) {
    const auto found = check(config, *overrides);
    if (!found.good()) code = std::max(code, std::ifstream(config) ? exit_findings : exit_cannot_start);
    if (options.json)
      std::cout << as_json(config, found).dump() << '\n';
    else
      print_text(config, found);
  }
  return code;
}

}  // namespace

void add_validate(CLI::App& app, chosen_command& chosen) {
  auto* command = app.add_subcommand(
      "validate", "Check flows: fields, types, plugins' settings, and where personal data may go");
  const auto options = std::make_shared<validate_options>();
  command->add_option("CONFIG", options->configs, "Flow configurations")->required();
  command->add_option("--set", options->set, "Change one value of the configuration: a.b=c")
      ->allow_extra_args(false);
  command->add_option("--profile", options->profile, "Profile of the configuration");
  command->add_flag("--json", options->json, "One JSON object a configuration and line");
  command->footer(
      "Runs no code of any plugin. Exit code 1 if an error was found, 3 if a file cannot be read.\n\nExample:\n  sonder "
      "validate config/quickstart.yaml");
  command->callback([&chosen, options] { chosen = [options] { return validate(*options); }; });
}

}  // namespace sonder::cli
