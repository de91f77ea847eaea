#include "flow/graph_parts.h"

#include <algorithm>
#include <filesystem>

#include "avro/registry.h"
#include "plugin/config_schema.h"
#include "privacy/label.h"

namespace sonder {
namespace {

std::vector<std::string> field_names(const schema& record) {
  std::vector<std::string> names;
  for (const auto& f : record.fields) names.push_back(f.name);
  return names;
}

/// Reads the parts one by one. One use.
class part_finder {
 public:
  part_finder(const flow_options& options, const plugin_provider& plugins) : plugins_(plugins) {
    parts_.options = &options;
  }

  flow_parts find() {
    for (const auto& topic : parts_.options->topics)
      parts_.topics.push_back({&topic, read_schema(topic)});
    for (const auto& part : parts_.topics) {
      if (part.schema_of != nullptr) check_fields(part);
    }
    for (const auto& stage : parts_.options->stages) parts_.stages.push_back(find_stage(stage));
    check_authorities();
    check_secrets();
    return std::move(parts_);
  }

 private:
  /// The file in the same folder that was meant, where this one is not there.
  static std::string nearest_file(const std::string& schema) {
    const std::filesystem::path path(schema);
    std::error_code unreadable;  // a folder that cannot be listed has no better name to offer
    if (std::filesystem::exists(path, unreadable)) return "";
    std::vector<std::string> there;
    const auto folder = path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
    for (std::filesystem::directory_iterator at(folder, unreadable), end; !unreadable && at != end; at.increment(unreadable)) {
      if (at->path().extension() == ".avsc" && there.size() < listed_files_max) there.push_back(at->path().filename().string());
    }
    return did_you_mean(path.filename().string(), there);
  }
  static constexpr std::size_t listed_files_max = 1'000;

  schema_ptr read_schema(const topic_options& topic) {
    const auto& at = place_of(topic, "schema");
    auto read = load_schema_file(topic.schema);
    if (!read) {
      parts_.report(at, "schema of topic \"" + topic.name + "\": " + read.error().message + nearest_file(topic.schema));
      return nullptr;
    }
    if ((*read)->type == avro_type::record) return *read;
    parts_.report(
        at, "schema of topic \"" + topic.name + "\" must be a record, not " + to_string(**read));
    return nullptr;
  }

  /// The field of that name, reported under `option` if there is none.
  const schema_field* field_of(const topic_part& topic, const std::string& option,
                               const std::string& name) {
    const auto* found = topic.schema_of->find_field(name);
    if (found == nullptr) {
      parts_.report(place_of(*topic.options, option),
                    "\"" + option + "\" of topic \"" + topic.options->name + "\" names field \"" +
                        name + "\", which its schema has not" +
                        did_you_mean(name, field_names(*topic.schema_of)));
    }
    return found;
  }

  void check_fields(const topic_part& part) {
    const auto& topic = *part.options;
    if (!topic.subject.empty()) {
      const auto* subject = field_of(part, "subject", topic.subject);
      if (subject != nullptr)
        check_type(part, "subject", *subject, subject->type->type == avro_type::string,
                   "a string without null");
    }
    if (!topic.event_time.empty()) {
      if (const auto* time = field_of(part, "event_time", topic.event_time)) {
        const auto id = column_field(*time->type).type.id;
        check_type(part, "event_time", *time,
                   id == type_id::timestamp_ms || id == type_id::timestamp_us,
                   "timestamp-millis or timestamp-micros");
      }
    }
    check_withheld(part);
    if (topic.role == topic_role::global && !topic.compact) {
      parts_.warn(topic.at, "topic \"" + topic.name + "\" is a global table, which every worker reads from its beginning when it starts; "
                                "keep it short with \"compact: true\"");
    }
    for (const auto& key : topic.key) {
      // A key that stands for the subject was looked up under that name.
      if (topic.key.size() > 1 || key != topic.subject) (void)field_of(part, "key", key);
    }
    if (topic.rekey) return check_rekey(topic);
    if (!topic.subject.empty() &&
        std::find(topic.key.begin(), topic.key.end(), topic.subject) == topic.key.end()) {
      parts_.report(place_of(topic, "key"),
                    "\"key\" of topic \"" + topic.name + "\" must hold its subject, field \"" +
                        topic.subject + "\": personal topics are partitioned by it");
    }
  }

  void check_rekey(const topic_options& topic) {
    const auto named = "topic \"" + topic.name + "\" has \"rekey: true\"";
    if (topic.subject.empty()) {
      parts_.report(place_of(topic, "rekey"), named + ", but no \"subject\" to key its records by; name the field");
    }
    if (topic.role != topic_role::event) {
      parts_.report(place_of(topic, "rekey"), named + ", but is a table: what stands in it would no longer be applied before the events "
                                                      "that follow it; key its records by their subject where they are made");
    }
  }

  /// What is withheld must have a null to be withheld by, and must not be what the host itself goes by.
  void check_withheld(const topic_part& part) {
    const auto& topic = *part.options;
    for (const auto& [name, purpose] : topic.withhold) {
      const auto option = "withhold." + name;
      const auto* f = part.schema_of->find_field(name);
      const auto named = "topic \"" + topic.name + "\" withholds field \"" + name + "\"";
      if (f == nullptr) {
        parts_.report(place_of(topic, option), named + ", which its schema has not" + did_you_mean(name, field_names(*part.schema_of)));
      } else if (!column_field(*f->type).nullable) {
        parts_.report(place_of(topic, option), named + ", whose type " + to_string(*f->type) +
                                                   " has no null; make it a union with null, or withhold its rows by a stage's purpose");
      }
      const bool is_key = std::find(topic.key.begin(), topic.key.end(), name) != topic.key.end();
      if (is_key || name == topic.subject || name == topic.event_time) {
        parts_.report(place_of(topic, option), named + ", which is its " +
                                                   (name == topic.subject ? "subject" : is_key ? "key" : "event time"));
      }
      if (topic.role != topic_role::event) {
        parts_.report(place_of(topic, option), named + "; the host checks consent for events only, and the topic is a table");
      }
    }
  }

  void check_type(const topic_part& part, const std::string& option, const schema_field& f,
                  bool right, const std::string& expected) {
    if (right) return;
    parts_.report(place_of(*part.options, option),
                  "\"" + option + "\" of topic \"" + part.options->name + "\" must be " + expected +
                      "; field \"" + f.name + "\" is " + to_string(*f.type));
  }

  stage_part find_stage(const stage_options& stage) {
    stage_part part;
    part.options = &stage;
    auto plugin = plugins_(stage);
    if (!plugin) {
      parts_.report(place_of(stage, "plugin"),
                    "stage \"" + stage.name + "\": " + plugin.error().message);
      return part;
    }
    part.plugin = *std::move(plugin);
    part.found = true;
    part.config_json = check_config(stage, part.plugin.declared);
    check_trust(stage, part.plugin.declared);
    check_categories(stage, part.plugin.declared);
    check_purpose_need(stage, part.plugin.declared);
    return part;
  }

  /// Where the value of a JSON pointer stands, or the nearest value around it.
  static position config_place(const stage_options& stage, std::string pointer) {
    for (;;) {
      if (const auto at = stage.config_at.find(pointer); at != stage.config_at.end())
        return at->second;
      if (pointer.empty()) return place_of(stage, "config");
      pointer.resize(pointer.rfind('/'));
    }
  }

  std::string check_config(const stage_options& stage, const manifest& m) {
    const auto rules = config_schema::parse(m.config_schema_json);
    if (!rules) {
      parts_.report(place_of(stage, "plugin"), "stage \"" + stage.name + "\": plugin \"" + m.id +
                                                   "\": config: " + rules.error().message);
      return {};
    }
    auto checked = rules->check(stage.config_json);
    for (const auto& problem : checked.problems) {
      const auto what =
          problem.pointer.empty() ? std::string("config") : "config " + problem.pointer;
      parts_.report(config_place(stage, problem.pointer),
                    what + " of stage \"" + stage.name + "\": " + problem.message);
    }
    return std::move(checked.json);
  }

  void check_trust(const stage_options& stage, const manifest& m) {
    std::vector<std::string> declared;
    for (const auto& d : m.declassifies) declared.push_back(d.name);
    for (const auto& name : stage.trust) {
      if (std::find(declared.begin(), declared.end(), name) != declared.end()) continue;
      parts_.report(place_of(stage, "trust"),
                    "stage \"" + stage.name + "\" trusts \"" + name + "\", which plugin \"" + m.id +
                        "\" does not declare" + did_you_mean(name, declared));
    }
  }

  void check_categories(const stage_options& stage, const manifest& m) {
    const auto check = [&](const std::vector<std::string>& names) {
      if (const auto known = category_set::parse(names); !known) {
        parts_.report(place_of(stage, "plugin"), "stage \"" + stage.name + "\": plugin \"" + m.id +
                                                     "\": " + known.error().message);
      }
    };
    for (const auto& input : m.inputs) {
      for (const auto& write : input.writes) check(write.adds);
    }
    for (const auto& output : m.outputs) {
      for (const auto& emit : output.emits) check(emit.adds);
    }
    for (const auto& d : m.declassifies) check(d.removes);
  }

  void check_purpose_need(const stage_options& stage, const manifest& m) {
    const auto named = "stage \"" + stage.name + "\"";
    if (is_authority(m)) {
      if (stage.purpose.empty()) return;
      parts_.report(
          place_of(stage, "purpose"),
          named + " decides on consent, which has a basis of its own; take its \"purpose\" away");
    } else if (m.purpose == purpose_need::required && stage.purpose.empty()) {
      parts_.report(stage.at,
                    named + " needs \"purpose\": plugin \"" + m.id + "\" handles personal data");
    }
  }

  void check_authorities() {
    const stage_part* first = nullptr;
    for (const auto& part : parts_.stages) {
      if (!part.found || !is_authority(part.plugin.declared)) continue;
      if (first == nullptr) {
        first = &part;
        continue;
      }
      parts_.report(part.options->at, "stage \"" + part.options->name +
                                          "\" is a second consent authority; stage \"" +
                                          first->options->name + "\" is one already");
    }
  }

  void check_secrets() {
    const auto& secrets = parts_.options->secrets;
    std::vector<std::string> names;
    for (const auto& [name, secret] : secrets) names.push_back(name);
    std::set<std::string> used = {parts_.options->quarantine_key};
    bool all_found = true;
    for (const auto& part : parts_.stages) {
      all_found = all_found && part.found;
      for (const auto& secret : part.plugin.declared.secrets) {
        used.insert(secret);
        if (secrets.contains(secret)) continue;
        parts_.report(part.options->at, "stage \"" + part.options->name + "\" needs secret \"" +
                                            secret + "\", which is not under \"secrets\"" +
                                            did_you_mean(secret, names));
      }
    }
    for (const auto& [name, secret] : secrets) {
      if (all_found && !used.contains(name))
        parts_.warn(secret.at, "secret \"" + name + "\" is not used");
    }
  }

  const plugin_provider& plugins_;
  flow_parts parts_;
};

}  // namespace

bool flow_parts::failed() const {
  return std::any_of(diagnostics.begin(), diagnostics.end(),
                     [](const diagnostic& d) { return d.level == diagnostic::severity::error; });
}

bool is_authority(const manifest& m) {
  return m.purpose == purpose_need::authority || m.asks_for("consent_authority/1");
}

std::pair<std::string, std::string> split_endpoint(const std::string& from) {
  const auto dot = from.find('.');
  if (dot == std::string::npos) return {from, {}};
  return {from.substr(0, dot), from.substr(dot + 1)};
}

flow_parts find_parts(const flow_options& options, const plugin_provider& plugins) {
  return part_finder(options, plugins).find();
}

}  // namespace sonder
