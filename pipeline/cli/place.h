#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "avro/registry.h"
#include "flow/config.h"
#include "log/log.h"
#include "record/result.h"

namespace CLI {
class App;
}

namespace sonder::cli {

/// Which log a command works on: that of a flow's configuration, or a data folder by itself.
struct place_options {
  std::string config;
  std::string data_dir;
  std::string profile;
  std::vector<std::string> set;
};

/// `--config`, `--data-dir`, `--set`, `--profile`.
void add_place_options(CLI::App& to, place_options& into);

/// `CONFIG`, `--data-dir`, `--set`, `--profile`: for commands about a flow.
void add_flow_place(CLI::App& to, place_options& into);

/// `a.b=c` split at its first `=`.
[[nodiscard]] result<config_overrides> overrides_of(const std::vector<std::string>& set,
                                                    const std::string& profile,
                                                    const std::string& data_dir);

/// A flow's configuration, read; its error has all diagnostics, one a line. Folders of plugins
/// beside this program are added.
[[nodiscard]] result<flow_options> read_flow(const std::string& path,
                                             const config_overrides& overrides);
/// Adds the `plugins` folder that is installed or built beside this program.
void add_plugin_folder(flow_options& to);

struct place {
  std::string data_dir;
  std::optional<flow_options> flow;

  /// What the configuration says of a topic, by its name in the flow or in the log; null if it says
  /// nothing.
  [[nodiscard]] const topic_options* topic(const std::string& name) const;
};
[[nodiscard]] result<place> find_place(const place_options& options);

/// A log with the registry of its schemas.
struct opened_log {
  std::unique_ptr<log> on;
  std::unique_ptr<schema_registry> schemas;
};

/// To read beside whoever writes.
[[nodiscard]] result<opened_log> open_to_read(const place& at);
/// To append; an embedded log is opened here, or through the socket of the worker that has it open.
[[nodiscard]] result<opened_log> open_to_append(const place& at);

/// To look at a group beside its workers, or, with `change`, to reset it when there are none.
[[nodiscard]] result<std::unique_ptr<log>> open_to_administer(const flow_options& flow, bool change);

/// The name under which a topic's value schemas are registered, as Confluent's TopicNameStrategy
/// has it.
[[nodiscard]] std::string value_subject(const std::string& topic);

}  // namespace sonder::cli
