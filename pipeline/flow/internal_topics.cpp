#include <algorithm>

#include "flow/graph_parts.h"
#include "flow/store_names.h"
#include "log/internal_names.h"

// Topics that a flow has for itself: none of the configuration's may be one of them, and their names must be names of topics.
namespace sonder {
namespace {

constexpr std::string_view parked_suffix = ".~parked";

/// Reports what is wrong with the internal topic `name`, which is `what`.
void check_name(flow_parts& parts, const std::string& name, const std::string& what, const position& at) {
  for (const auto& other : parts.options->topics) {
    if (other.topic != name) continue;
    parts.report(place_of(other, "topic"), "topic \"" + other.name + "\" has the name of the " + what + ", \"" + name + "\"; give it another one");
  }
  if (name.size() <= topic_bytes_max) return;
  parts.report(at, "the " + what + " would be called \"" + name + "\", of " + std::to_string(name.size()) + " characters where " +
                       std::to_string(topic_bytes_max) + " is the most; give shorter names");
}

}  // namespace

std::string parked_store_of(std::string_view stage) { return std::string(stage).append(parked_suffix); }

std::vector<std::string> store_names(const stage_node& stage) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < stage.of.stores.size(); ++i) {
    if (!stage.is_rebuilt(i)) names.push_back(stage.options.name + "." + stage.of.stores[i].name);
  }
  if (!stage.of.timers.empty()) names.push_back(stage.options.name + ".~timers");
  names.push_back(parked_store_of(stage.options.name));
  return names;
}

void check_internal_topics(flow_parts& parts, const graph& flow) {
  for (const auto& rekey : flow.rekeys) {
    const auto& inner = flow.sources[static_cast<std::size_t>(rekey.source)].topic;
    check_name(parts, inner.topic, "internal topic of \"" + inner.name + "\"", inner.at);
  }
  if (flow.options.log.kind != "kafka") return;  // elsewhere state has no topics
  for (const auto& stage : flow.stages) {
    for (const auto& store : store_names(stage))
      check_name(parts, changelog_topic(flow.options.name, store), "changelog of store \"" + store + "\"", stage.options.at);
  }
}

}  // namespace sonder
