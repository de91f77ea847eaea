#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "flow/graph_parts.h"

namespace sonder {
namespace {

const topic_options* topic_of(const flow_parts& parts, const std::string& name) {
  const auto at = std::find_if(parts.topics.begin(), parts.topics.end(),
                               [&](const auto& t) { return t.options->name == name; });
  return at == parts.topics.end() ? nullptr : at->options;
}

void add_roots(const flow_parts& parts, const std::string& from, std::set<std::string>& stages_seen,
               std::set<std::string>& topics) {
  const auto [name, output] = split_endpoint(from);
  if (output.empty()) {
    topics.insert(name);
    return;
  }
  const auto stage = std::find_if(parts.stages.begin(), parts.stages.end(),
                                  [&, &of = name](const auto& s) { return s.options->name == of; });
  if (stage == parts.stages.end() || !stages_seen.insert(name).second) return;
  for (const auto& input : stage->options->in) add_roots(parts, input.from, stages_seen, topics);
}

}  // namespace

std::set<std::string> roots_of(const flow_parts& parts, const std::string& from) {
  std::set<std::string> stages_seen, topics;
  add_roots(parts, from, stages_seen, topics);
  return topics;
}

void check_topic_cycles(flow_parts& parts) {
  std::map<std::string, std::set<std::string>> feeds;  // sink topic -> topics that it is made of
  for (const auto& sink : parts.options->sinks) feeds[sink.topic].merge(roots_of(parts, sink.from));
  for (const auto& sink : parts.options->sinks) {
    const auto* topic = topic_of(parts, sink.topic);
    if (topic == nullptr || topic->feedback) continue;
    std::set<std::string> reached;
    std::vector<std::string> open(feeds[sink.topic].begin(), feeds[sink.topic].end());
    while (!open.empty()) {
      const auto name = open.back();
      open.pop_back();
      const auto* of = topic_of(parts, name);
      if (!reached.insert(name).second || (of != nullptr && of->feedback)) continue;
      if (const auto more = feeds.find(name); more != feeds.end())
        open.insert(open.end(), more->second.begin(), more->second.end());
    }
    if (!reached.contains(sink.topic)) continue;
    parts.report(place_of(sink, "topic"),
                 "topic \"" + sink.topic +
                     "\" feeds itself; if that is meant, give it \"feedback: true\"");
  }
}

}  // namespace sonder
