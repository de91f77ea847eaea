#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "flow/graph.h"

// The steps of check_flow: find the parts, wire them, follow the labels. Each reports all that it
// finds.
namespace sonder {

/// A topic of the flow with its schema, or without where that could not be read.
struct topic_part {
  const topic_options* options = nullptr;
  schema_ptr schema_of;
};

/// A stage of the flow with its plugin, or without where that could not be had.
struct stage_part {
  const stage_options* options = nullptr;
  bool found = false;
  provided_plugin plugin;
  std::string config_json;
};

struct flow_parts {
  const flow_options* options = nullptr;
  std::vector<topic_part> topics;  ///< as in the options
  std::vector<stage_part> stages;  ///< as in the options
  std::vector<diagnostic> diagnostics;

  void report(const position& at, std::string message) {
    diagnostics.push_back({diagnostic::severity::error, at, std::move(message)});
  }
  void warn(const position& at, std::string message) {
    diagnostics.push_back({diagnostic::severity::warning, at, std::move(message)});
  }
  [[nodiscard]] bool failed() const;
};

/// Where an option stands, or where its owner does.
template <class Options>
[[nodiscard]] const position& place_of(const Options& options, const std::string& key) {
  const auto at = options.where.find(key);
  return at == options.where.end() ? options.at : at->second;
}

/// Reads schemas and manifests, checks each by itself: fields of topics, configuration against the
/// manifest, secrets, trust.
[[nodiscard]] flow_parts find_parts(const flow_options& options, const plugin_provider& plugins);

/// Per topic (index in the options), the schema's fields that somebody reads.
using wanted_fields = std::map<std::size_t, std::set<int>>;

/// The graph of the parts. Sources give the `wanted` fields only, or all where that is null. What
/// is read goes to `used`. The graph is whole only if nothing was reported.
[[nodiscard]] graph wire_parts(flow_parts& parts, const wanted_fields* wanted, wanted_fields& used);

/// Refuses a topic of the configuration that has the name of one that the flow has for itself, and names that no topic can have.
void check_internal_topics(flow_parts& parts, const graph& flow);
/// Topics that rows of `from` came from, through any number of stages.
[[nodiscard]] std::set<std::string> roots_of(const flow_parts& parts, const std::string& from);
/// Refuses a topic that feeds itself and is not declared as `feedback`.
void check_topic_cycles(flow_parts& parts);

/// Refuses a label that reaches what may not have it, naming its path.
void check_labels(flow_parts& parts, const graph& flow);

[[nodiscard]] bool is_authority(const manifest& m);
/// `"journal"`, or `"consent.allowed"` apart: the stage and its output; the output is empty for a
/// topic.
[[nodiscard]] std::pair<std::string, std::string> split_endpoint(const std::string& from);

}  // namespace sonder
