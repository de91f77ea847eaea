#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "flow/graph.h"
#include "plugin/config_schema.h"

namespace sonder {

/// Plugins from manifests and schemas from text, so that no library and no shipped file is needed.
class flow_test {
 public:
  flow_test() {
    folder_ = std::filesystem::temp_directory_path() /
              ("sonder_graph_" + std::to_string(std::random_device{}()));
    std::filesystem::create_directories(folder_);
    schema("journal", R"([
      {"name": "event_id", "type": "string", "sonder.privacy": ["pseudonym"]},
      {"name": "subject_id", "type": "string", "sonder.privacy": ["direct_identifier"]},
      {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}, "sonder.privacy": ["quasi_identifier"]},
      {"name": "text", "type": "string", "sonder.privacy": {"categories": ["free_text", "direct_identifier"],
        "purposes": ["ServicePersonalisation", "AcademicResearch"]}},
      {"name": "mood", "type": ["null", "int"], "default": null, "sonder.privacy": ["special_category"]},
      {"name": "age", "type": ["null", "int"], "default": null, "sonder.privacy": ["quasi_identifier"]}])");
    schema("consent", R"([
      {"name": "subject_id", "type": "string", "sonder.privacy": ["direct_identifier"]},
      {"name": "purpose", "type": "string", "sonder.privacy": "none"},
      {"name": "granted", "type": "boolean", "sonder.privacy": ["behaviour"]}])");
    schema("insight", R"([
      {"name": "pseudonym", "type": "string", "sonder.privacy": {"categories": ["pseudonym"],
        "purposes": ["ServicePersonalisation", "AcademicResearch"]}},
      {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}, "sonder.privacy": ["quasi_identifier"]},
      {"name": "valence", "type": "double", "sonder.privacy": {"categories": ["special_category", "pseudonym"],
        "purposes": ["ServicePersonalisation", "AcademicResearch"]}},
      {"name": "mood", "type": ["null", "int"], "default": null, "sonder.privacy": ["special_category"]},
      {"name": "note", "type": "string", "default": "", "sonder.privacy": "none"}])");
    schema(
        "item",
        R"([{"name": "id", "type": "string", "sonder.privacy": "none"}, {"name": "minutes", "type": "int", "sonder.privacy": "none"}])");
    plugin("filter", R"("purpose": "authority", "reasons": ["denied"],
      "inputs": [
        {"name": "events", "role": "event", "reads": [{"name": "subject_id", "type": "string"}], "passes": "allowed"},
        {"name": "decisions", "role": "table", "reads": [{"name": "subject_id", "type": "string"}, {"name": "purpose", "type": "string"},
          {"name": "granted", "type": "boolean"}]}],
      "outputs": [{"name": "allowed"}], "services": ["consent_authority/1"])");
    plugin(
        "anonymise",
        R"("purpose": "required", "services": ["secrets/1"], "secrets": ["pseudonym_key"], "reasons": ["too_long"],
      "inputs": [{"name": "texts", "role": "event", "reads": [{"name": "subject_id", "type": "string"}, {"name": "text", "type": "string"}],
        "writes": [{"name": "text", "type": "string"}, {"name": "pseudonym", "type": "string", "adds": ["pseudonym"]}], "passes": "out"}],
      "outputs": [{"name": "out"}],
      "declassifies": [{"name": "deidentify", "field": "text", "removes": ["direct_identifier", "free_text"]},
        {"name": "pseudonymise", "field": "pseudonym", "removes": ["direct_identifier", "free_text"]}])");
    plugin("score", R"("purpose": "required",
      "inputs": [{"name": "texts", "role": "event", "reads": [{"name": "text", "type": "string"}],
        "writes": [{"name": "valence", "type": "double", "adds": ["special_category"]}], "passes": "out"}],
      "outputs": [{"name": "out"}],
      "config": {"type": "object", "properties": {"profile": {"type": "string", "enum": ["fast", "full"], "default": "full"},
        "limit": {"type": "integer", "minimum": 1}}, "additionalProperties": false})");
    plugin("count", R"("purpose": "none",
      "inputs": [{"name": "items", "role": "event", "reads": [{"name": "minutes", "type": "int"}],
        "writes": [{"name": "hours", "type": "double"}], "passes": "out"}],
      "outputs": [{"name": "out"}, {"name": "alerts", "emits": [{"name": "id", "type": "string"}, {"name": "minutes", "type": "int"}]}])");
  }
  ~flow_test() { std::filesystem::remove_all(folder_); }

  void schema(const std::string& name, const std::string& fields) {
    schema_text(name, R"({"type": "record", "name": ")" + name + R"(", "fields": )" + fields + "}");
  }
  /// A whole schema, of any type.
  void schema_text(const std::string& name, const std::string& json) { std::ofstream(folder_ / (name + ".avsc")) << json; }
  void plugin(const std::string& id, const std::string& rest) {
    auto m = parse_manifest(
        R"({"id": ")" + id +
        R"(", "version": "1.0.0", "abi": {"major": 1, "minor": 0}, "summary": "For a test.", "licence": "Apache-2.0",
      "ordering": "per_task", "deterministic": true, )" +
        rest + "}");
    ASSERT_TRUE(m) << id << ": " << m.error().message;
    plugins_[id] = *std::move(m);
  }

  checked_graph check(const std::string& yaml) {
    const auto parsed = parse_flow_text(yaml, (folder_ / "flow.yaml").string(), {});
    if (!parsed.options) return {nullptr, parsed.diagnostics};
    return check_flow(
        *parsed.options, [this](const stage_options& stage) -> result<provided_plugin> {
          std::vector<std::string> names;
          for (const auto& [id, m] : plugins_) names.push_back(id);
          const auto found = plugins_.find(stage.plugin);
          if (found == plugins_.end())
            return fail(errc::not_found, "there is no plugin \"" + stage.plugin + "\"" +
                                             did_you_mean(stage.plugin, names));
          return provided_plugin{found->second, nullptr};
        });
  }
  /// The diagnostics, one a line, with the file's name taken out.
  std::string complaints(const std::string& yaml) {
    std::string lines;
    for (const auto& d : check(yaml).diagnostics)
      lines += (lines.empty() ? "" : "\n") + without_file(to_string(d));
    return lines;
  }

 private:
  [[nodiscard]] std::string without_file(std::string text) const {
    for (const auto& prefix : {folder_.string() + "/flow.yaml:", folder_.string() + "/"}) {
      for (auto at = text.find(prefix); at != std::string::npos; at = text.find(prefix))
        text.erase(at, prefix.size());
    }
    return text;
  }
  std::filesystem::path folder_;
  std::map<std::string, manifest> plugins_;
};

/// The quickstart in small. Options in the places of `{...}` make the mistakes.
struct quick {
  std::string journal = "subject: subject_id, event_time: at, partitions: 4";
  std::string consent = "partitions: 4, log_append_time: true";
  std::string insight =
      "carries: [pseudonym, special_category, quasi_identifier], purpose: ServicePersonalisation";
  std::string filter = "plugin: filter, in: {events: journal, decisions: consent}";
  std::string anonymise =
      "plugin: anonymise, in: {texts: filter.allowed}, purpose: ServicePersonalisation, trust: "
      "[deidentify, pseudonymise]";
  std::string score = "plugin: score, in: {texts: anonymise.out}, purpose: ServicePersonalisation";
  std::string sink = "from: score.out";
  std::string more = "secrets: {pseudonym_key: {environment: KEY}}";

  [[nodiscard]] std::string yaml() const {
    return "flow: quick\ntopics:\n  journal: {schema: journal.avsc, " + journal +
           "}\n  consent: {schema: consent.avsc, subject: subject_id, key: [subject_id, purpose], "
           "role: table, " +
           consent + "}\n  insight: {schema: insight.avsc, key: pseudonym, " + insight +
           "}\nstages:\n  filter: {" + filter + "}\n  anonymise: {" + anonymise + "}\n  score: {" +
           score + "}\nsinks:\n  insight: {" + sink + "}\n" + more + "\n";
  }
};

}  // namespace sonder
