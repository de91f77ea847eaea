#include "cli/place.h"

#include <CLI/CLI.hpp>
#include <filesystem>
#include <system_error>

#include "cli/kafka_place.h"
#include "flow/schema_notes.h"
#include "log/embedded/embedded_log.h"
#include "log/embedded/socket.h"

namespace sonder::cli {

namespace {

void add_log_options(CLI::App& to, place_options& into) {
  to.add_option("--data-dir", into.data_dir,
                "Folder of the embedded log (instead of the configuration's)")
      ->type_name("DIR");
  to.add_option("--set", into.set, "Change one value of the configuration: a.b=c")
      ->type_name("PATH=VALUE")
      ->allow_extra_args(false);
  to.add_option("--profile", into.profile, "Profile of the configuration")->type_name("NAME");
}

}  // namespace

void add_place_options(CLI::App& to, place_options& into) {
  to.add_option("--config", into.config, "Flow configuration that names the log and its topics")
      ->type_name("FILE");
  add_log_options(to, into);
}

void add_flow_place(CLI::App& to, place_options& into) {
  to.add_option("CONFIG", into.config, "Flow configuration")->required();
  add_log_options(to, into);
}

result<config_overrides> overrides_of(const std::vector<std::string>& set,
                                      const std::string& profile, const std::string& data_dir) {
  config_overrides out;
  for (const auto& one : set) {
    const auto at = one.find('=');
    if (at == 0 || at == std::string::npos)
      return fail(errc::invalid, "--set " + one + ": must be PATH=VALUE, such as run.http_port=9100");
    out.set.emplace_back(one.substr(0, at), one.substr(at + 1));
  }
  out.profile = profile;
  if (!data_dir.empty()) out.data_dir = data_dir;
  return out;
}

void add_plugin_folder(flow_options& to) {
  std::error_code ignored;  // without /proc there is no such folder to add
  const auto program = std::filesystem::read_symlink("/proc/self/exe", ignored);
  if (program.empty()) return;
  const auto root = program.parent_path().parent_path();
  for (const auto& folder : {root / "plugins", root / "lib" / "sonder" / "plugins"})
    if (std::filesystem::is_directory(folder, ignored)) to.plugin_dirs.push_back(folder.string());
}

result<flow_options> read_flow(const std::string& path, const config_overrides& overrides) {
  auto parsed = parse_flow(path, overrides);
  if (parsed.options) {
    add_plugin_folder(*parsed.options);
    return std::move(*parsed.options);
  }
  std::string all;
  for (const auto& d : parsed.diagnostics) all += (all.empty() ? "" : "\n") + to_string(d);
  return fail(errc::invalid, all);
}

const topic_options* place::topic(const std::string& name) const {
  if (!flow) return nullptr;
  for (const auto& topic : flow->topics)
    if (topic.name == name || topic.topic == name) return &topic;
  return nullptr;
}

result<place> find_place(const place_options& options) {
  place found;
  if (!options.config.empty()) {
    const auto overrides = overrides_of(options.set, options.profile, options.data_dir);
    if (!overrides) return tl::unexpected(overrides.error());
    auto flow = read_flow(options.config, *overrides);
    if (!flow) return tl::unexpected(flow.error());
    found.flow = std::move(*flow);
    found.data_dir = found.flow->log.dir;
  } else {
    found.data_dir = options.data_dir;
  }
  if (found.data_dir.empty() && !(found.flow && found.flow->log.kind == "kafka"))
    return fail(errc::invalid, "which log? give --config FILE or --data-dir DIR");
  return found;
}

namespace {

/// The embedded log keeps the ids of schemas in its own notes.
result<opened_log> with_own_registry(result<std::unique_ptr<log>> on) {
  if (!on) return tl::unexpected(on.error());
  opened_log out;
  out.on = std::move(*on);
  auto schemas = open_log_registry(*out.on);
  if (!schemas) return tl::unexpected(schemas.error());
  out.schemas = std::move(*schemas);
  return out;
}

bool is_on_kafka(const place& at) { return at.flow && at.flow->log.kind == "kafka"; }

}  // namespace

result<opened_log> open_to_read(const place& at) {
  if (is_on_kafka(at)) return open_on_kafka(*at.flow, kafka_use::command);
  embedded_options options;
  options.mode = embedded_options::access::reader;
  auto opened = open_embedded_log(at.data_dir, options);
  if (!opened) return tl::unexpected(opened.error());
  return with_own_registry(std::unique_ptr<log>(std::move(*opened)));
}

result<opened_log> open_to_append(const place& at) {
  if (is_on_kafka(at)) return open_on_kafka(*at.flow, kafka_use::command);
  return with_own_registry(open_for_append(at.data_dir));
}

result<std::unique_ptr<log>> open_to_administer(const flow_options& flow, bool change) {
  if (flow.log.kind == "kafka") {
    auto opened = open_on_kafka(flow, kafka_use::admin);
    if (!opened) return tl::unexpected(opened.error());
    return std::move(opened->on);
  }
  embedded_options options;
  options.mode = change ? embedded_options::access::writer : embedded_options::access::reader;
  auto opened = open_embedded_log(flow.log.dir, options);
  if (!opened) return tl::unexpected(opened.error());
  return std::unique_ptr<log>(std::move(*opened));
}

std::string value_subject(const std::string& topic) {
  return topic + "-value";
}

}  // namespace sonder::cli
