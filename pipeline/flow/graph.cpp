#include "flow/graph.h"

#include <algorithm>
#include <filesystem>

#include "flow/config_yaml.h"
#include "flow/graph_parts.h"
#include "plugin/config_schema.h"

namespace sonder {
namespace {

/// The file of a plugin: what the stage names, if that is a path, else `NAME.so` in the first
/// plugin folder that has it.
result<std::string> find_plugin_file(const stage_options& stage,
                                     const std::vector<std::string>& folders) {
  namespace fs = std::filesystem;
  if (stage.plugin.find('/') != std::string::npos) return stage.plugin;
  std::error_code ignored;  // a folder that cannot be read has no plugins
  std::vector<std::string> known;
  for (const auto& folder : folders) {
    const auto file = fs::path(folder) / (stage.plugin + ".so");
    if (fs::is_regular_file(file, ignored)) return file.string();
    for (fs::directory_iterator at(folder, ignored), end; !ignored && at != end;
         at.increment(ignored)) {
      if (at->path().extension() == ".so") known.push_back(at->path().stem().string());
    }
  }
  std::string searched;
  for (const auto& folder : folders) searched += (searched.empty() ? " in " : ", ") + folder;
  std::sort(known.begin(), known.end());
  return fail(errc::not_found, "there is no plugin \"" + stage.plugin + "\"" +
                                   (searched.empty() ? "; no plugin folder is given" : searched) +
                                   did_you_mean(stage.plugin, known));
}

}  // namespace

checked_graph check_flow(const flow_options& options, const plugin_provider& plugins) {
  auto parts = find_parts(options, plugins);
  wanted_fields wanted;
  // Once with every field, so that all mistakes show, then with those that somebody reads.
  const auto whole = wire_parts(parts, nullptr, wanted);
  check_internal_topics(parts, whole);
  if (!parts.failed()) check_labels(parts, whole);
  checked_graph checked;
  if (!parts.failed()) {
    auto again = parts;
    wanted_fields ignored;
    checked.flow = std::make_shared<const graph>(wire_parts(again, &wanted, ignored));
  }
  checked.diagnostics = std::move(parts.diagnostics);
  tidy_diagnostics(checked.diagnostics);
  return checked;
}

checked_graph check_flow(const flow_options& options, bool load) {
  return check_flow(options, [&](const stage_options& stage) -> result<provided_plugin> {
    auto file = find_plugin_file(stage, options.plugin_dirs);
    if (!file) return tl::unexpected(file.error());
    if (!load) {
      auto declared = read_manifest(*file);
      if (!declared) return tl::unexpected(declared.error());
      return provided_plugin{*std::move(declared), nullptr};
    }
    auto library = plugin_library::load(*file);
    if (!library) return tl::unexpected(library.error());
    return provided_plugin{(*library)->declared(), *library};
  });
}

}  // namespace sonder
