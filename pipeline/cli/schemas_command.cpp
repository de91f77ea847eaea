#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "avro/compatibility.h"
#include "avro/registry.h"
#include "cli/command.h"
#include "cli/place.h"
#include "cli/registered_schemas.h"
#include "plugin/config_schema.h"

namespace sonder::cli {
namespace {

struct schemas_options {
  place_options where;
  std::string dir;
  std::string name;
  std::vector<std::string> against;
  std::string mode = "BACKWARD";
  bool json = false;
};

result<opened_log> open_registry(const schemas_options& options) {
  opened_log out;
  if (!options.dir.empty()) {
    auto folder = indexed_registry::open(make_memory_index());
    if (!folder) return tl::unexpected(folder.error());
    const auto count = (*folder)->register_folder(options.dir);
    if (!count) return tl::unexpected(count.error());
    out.schemas = std::move(*folder);
    return out;
  }
  const auto where = find_place(options.where);
  if (!where)
    return fail(errc::invalid, "which schemas? give --dir FOLDER, --config FILE or --data-dir DIR");
  return open_to_read(*where);
}

int list_all(const schemas_options& options) {
  const auto registry = open_registry(options);
  if (!registry) return refuse(exit_cannot_start, registry.error());
  const auto unreadable = list_schemas(*registry->schemas, options.json, std::cout, std::cerr);
  if (!unreadable) return refuse(exit_failed, unreadable.error());
  return *unreadable == 0 ? exit_ok : exit_findings;
}

result<schema_ptr> find_schema(const schemas_options& options) {
  if (std::filesystem::is_regular_file(options.name)) return load_schema_file(options.name);
  const auto registry = open_registry(options);
  if (!registry) return tl::unexpected(registry.error());
  if (!options.name.empty() &&
      std::all_of(options.name.begin(), options.name.end(),
                  [](unsigned char c) { return c >= '0' && c <= '9'; }) &&
      options.name.size() < 10)
    return registry->schemas->by_id(std::stoi(options.name));
  const auto newest = newest_schema(*registry->schemas, options.name, std::cerr);
  if (!newest) return tl::unexpected(newest.error());
  if (*newest != nullptr) return *newest;
  const auto subjects = registry->schemas->subjects();
  return fail(errc::not_found,
              "there is no schema \"" + options.name + "\"; `sonder schemas list` names them" +
                  did_you_mean(options.name, subjects ? *subjects : std::vector<std::string>{}));
}

int show_schema(const schemas_options& options) {
  const auto found = find_schema(options);
  if (!found) return refuse(exit_cannot_start, found.error());
  std::cout << (options.json ? to_json(**found) : to_pretty_json(**found)) << '\n';
  return exit_ok;
}

int check_schema(const schemas_options& options) {
  const auto mode = parse_compatibility(options.mode);
  if (!mode) return refuse(exit_usage, mode.error());
  const auto next = load_schema_file(options.name);
  if (!next) return refuse(exit_cannot_start, next.error());
  std::vector<schema_ptr> versions;
  for (const auto& file : options.against) {
    auto earlier = load_schema_file(file);
    if (!earlier) return refuse(exit_cannot_start, earlier.error());
    versions.push_back(std::move(*earlier));
  }
  const auto conflicts = check_compatibility(**next, versions, *mode);
  if (options.json) {
    std::cout << nlohmann::ordered_json{{"schema", options.name},
                                        {"mode", name(*mode)},
                                        {"compatible", conflicts.empty()},
                                        {"conflicts", conflicts}}
                     .dump()
              << '\n';
  } else {
    for (const auto& conflict : conflicts) std::cout << options.name << ": " << conflict << '\n';
    if (conflicts.empty())
      std::cout << options.name << ": compatible (" << name(*mode) << ", " << versions.size()
                << " earlier)\n";
  }
  return conflicts.empty() ? exit_ok : exit_findings;
}

void add_where(CLI::App& to, schemas_options& into) {
  to.add_option("--dir", into.dir, "A folder of .avsc files instead of a log")->type_name("DIR");
  add_place_options(to, into.where);
  to.add_flag("--json", into.json, "For programs");
}

}  // namespace

void add_schemas(CLI::App& app, chosen_command& chosen) {
  auto* command = app.add_subcommand("schemas", "List, show and compare schemas");
  command->require_subcommand(1);
  command->footer("Example:\n  sonder schemas list --dir schemas");
  const auto options = std::make_shared<schemas_options>();

  auto* list =
      command->add_subcommand("list", "The schemas of a log or folder, with ids and versions");
  add_where(*list, *options);
  list->footer(
      "Exit code 1 if some cannot be read; each is named with the reason.\n\nExample:\n  sonder schemas list --dir schemas");
  list->callback([&chosen, options] { chosen = [options] { return list_all(*options); }; });

  auto* show = command->add_subcommand(
      "show", "One schema: a file, an id, or the newest version of a subject that can be read");
  show->add_option("NAME|ID|FILE", options->name, "Which")->required();
  add_where(*show, *options);
  show->footer("Example:\n  sonder schemas show consent --dir schemas");
  show->callback([&chosen, options] { chosen = [options] { return show_schema(*options); }; });

  auto* check =
      command->add_subcommand("check", "Whether a new version goes with the earlier ones");
  check->add_option("NEW.avsc", options->name, "The new version")->required();
  check->add_option("--against", options->against, "Earlier versions, oldest first")
      ->required()
      ->type_name("FILE...");
  check->add_option("--mode", options->mode,
                    "BACKWARD, FORWARD, FULL, each also _TRANSITIVE, or NONE");
  check->add_flag("--json", options->json, "For programs");
  check->footer(
      "Exit code 1 if it does not.\n\nExample:\n  sonder schemas check schemas/consent.avsc "
      "--against schemas/consent.avsc --mode FULL");
  check->callback([&chosen, options] { chosen = [options] { return check_schema(*options); }; });
}

}  // namespace sonder::cli
