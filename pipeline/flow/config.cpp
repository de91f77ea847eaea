#include "flow/config.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <set>
#include <tuple>

#include "flow/config_log.h"
#include "flow/config_reader.h"
#include "flow/config_yaml.h"
#include "plugin/config_schema.h"
#include "privacy/label.h"
#include "privacy/purposes.h"

namespace sonder {
namespace {

constexpr std::int64_t minute_ms = 60'000;
constexpr std::int64_t hour_ms = 60 * minute_ms;
constexpr std::int64_t day_ms = 24 * hour_ms;
constexpr std::int64_t partitions_max = 1'024;
constexpr std::size_t entries_max = 256;  ///< topics, stages, sinks or secrets of one flow
constexpr std::size_t profiles_max = 16;
constexpr std::size_t name_bytes_max = 100;

bool is_made_of(std::string_view name, std::size_t bytes_max, std::string_view extra) {
  return !name.empty() && name.size() <= bytes_max &&
         std::all_of(name.begin(), name.end(), [&](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  extra.find(c) != std::string_view::npos;
         });
}

/// Who writes a secret where its file's name belongs shall not find it in a log.
void conceal(yaml_value& of) {
  of.secret = true;
  for (auto& item : of.items) conceal(item);
  for (auto& m : of.members) conceal(m.value);
}

template <class Options>
std::vector<std::string> names_of(const std::vector<Options>& all) {
  std::vector<std::string> names;
  for (const auto& each : all) names.push_back(each.name);
  return names;
}

/// Turns the tree of one flow file into options. One use.
class flow_reader {
 public:
  flow_reader(yaml_document& document, const std::string& path)
      : document_(document), folder_(std::filesystem::path(path).parent_path()) {
    flow_.file = path;
  }

  flow_options read() {
    if (auto* secrets = document_.root.find("secrets")) conceal(*secrets);
    map_reader top(document_, document_.root, document_.root, "");
    top.require("flow", "its name");
    top.text("flow", flow_.name);
    check_name(document_.root.find("flow"), "flow", flow_.name);
    std::string schemas;
    top.text("schemas", schemas);
    schema_folder_ = resolve(schemas);
    read_log(top);
    read_run(top);
    for_each_entry(top, "secrets", "secret", [this](const auto& m) { read_secret(m); });
    if (const auto* log = document_.root.find("log")) {
      check_log_secrets(document_, *log, flow_);
      check_log_times(document_, *log, flow_);
    }
    for_each_entry(top, "topics", "topic", [this](const auto& m) { read_topic(m); });
    check_topics_are_named_once();
    for_each_entry(top, "stages", "stage", [this](const auto& m) { read_stage(m); });
    check_bury_parked_of();
    for_each_entry(top, "sinks", "sink", [this](const auto& m) { read_sink(m); });
    top.require("topics", "the topics that it reads and writes");
    top.texts("plugins", flow_.plugin_dirs);
    for (auto& dir : flow_.plugin_dirs) dir = resolve(dir);
    read_dead_letter(top);
    top.finish();
    return std::move(flow_);
  }

 private:
  [[nodiscard]] std::string resolve(const std::string& path) const {
    if (path.empty()) return folder_.string();
    const std::filesystem::path p(path);
    return (p.is_absolute() ? p : folder_ / p).lexically_normal().string();
  }

  void check_name(const yaml_value* at, const std::string& what, const std::string& name) {
    if (at == nullptr || at->is != yaml_value::kind::scalar || at->unresolved) return;
    if (is_made_of(name, name_bytes_max, "_-")) return;
    document_.report(*at, "name of a " + what +
                              " must be made of letters, digits, \"_\" and \"-\", at most " +
                              std::to_string(name_bytes_max) + ", not " + found(*at));
  }

  template <class Read>
  void for_each_entry(map_reader& top, const std::string& section, const std::string& what,
                      const Read& read) {
    const auto* entries = top.take(section);
    if (entries == nullptr) return;
    if (entries->is != yaml_value::kind::map) {
      document_.report(*entries,
                       "\"" + section + "\" must be a map of names, not " + found(*entries));
      return;
    }
    if (entries->members.size() > entries_max) {
      document_.report(*entries, "\"" + section + "\" has more than " +
                                     std::to_string(entries_max) + " entries");
      return;
    }
    for (const auto& m : entries->members) {
      check_name(&m.key_at, what, m.key);
      read(m);
    }
  }

  void read_log(map_reader& top) {
    const auto* section = top.take("log");
    if (section == nullptr) return;
    flow_.log = read_log_section(document_, *section, [this](const std::string& path) { return resolve(path); });
  }

  void read_run(map_reader& top) {
    const auto* value = top.take("run");
    if (value == nullptr) return;
    map_reader run(document_, *value, *value, "run");
    run.whole("threads", 0, 256, flow_.threads);
    run.whole("batch_rows", 1, 65'536, flow_.batch_rows);
    run.duration("commit_interval", 1, minute_ms, flow_.commit_interval_ms);
    run.size("outbox_max", 1 << 20, 256 << 20, flow_.outbox_bytes_max);
    run.whole("parked_max", 1, 65'536, flow_.parked_rows_max);
    run.size("parked_size_max", 1 << 20, 1 << 30, flow_.parked_bytes_max);
    run.texts("bury_parked_of", flow_.bury_parked_of);
    run.duration("future_max", 0, 3'660 * day_ms, flow_.future_ms_max);
    run.duration("drain_max", 0, hour_ms, flow_.drain_ms_max);
    run.duration("start_patience", 0, 365 * day_ms, flow_.start_patience_ms);
    run.whole("http_port", -1, 65'535, flow_.http_port);
    run.text("http_address", flow_.http_address);
    check_address(value->find("http_address"));
    run.finish();
  }

  void check_address(const yaml_value* at) {
    if (at == nullptr || at->is != yaml_value::kind::scalar || at->unresolved) return;
    std::array<unsigned char, sizeof(in6_addr)> parsed{};
    const auto* text = flow_.http_address.c_str();
    if (::inet_pton(AF_INET, text, parsed.data()) == 1 || ::inet_pton(AF_INET6, text, parsed.data()) == 1) return;
    document_.report(*at, "\"http_address\" of run must be an IPv4 or IPv6 address such as 127.0.0.1, 0.0.0.0 or ::1, not " + found(*at));
  }

  void check_bury_parked_of() {
    for (const auto& name : flow_.bury_parked_of) {
      const bool there = std::any_of(flow_.stages.begin(), flow_.stages.end(), [&](const auto& stage) { return stage.name == name; });
      if (!there) continue;
      document_.report(*document_.root.find("run")->find("bury_parked_of"),
                       "\"bury_parked_of\" of run names stage \"" + name + "\", which the flow has: its parked rows come back to it");
    }
  }

  void read_secret(const yaml_value::member& m) {
    secret_options secret;
    secret.at = document_.place(m.key_at);
    if (m.value.is == yaml_value::kind::scalar && !m.value.unresolved) {
      document_.report(m.value, "secret \"" + m.key + "\" must be a map that says where it is, {file: ...} or {environment: ...}, not " +
                                    found(m.value) + "; take it out of the file");
      return;
    }
    map_reader reader(document_, m.value, m.key_at, "secret \"" + m.key + "\"");
    reader.text("file", secret.file);
    reader.text("environment", secret.environment);
    reader.finish();
    const bool has_file = m.value.find("file") != nullptr;
    if (has_file == (m.value.find("environment") != nullptr)) {
      document_.report(m.key_at,
                       "secret \"" + m.key + "\" needs either \"file\" or \"environment\"");
    }
    if (has_file) secret.file = resolve(secret.file);
    flow_.secrets.emplace(m.key, std::move(secret));
  }

  void read_topic(const yaml_value::member& m) {
    topic_options topic;
    topic.at = document_.place(m.key_at);
    topic.name = m.key;
    topic.topic = m.key;
    map_reader reader(document_, m.value, m.key_at, "topic \"" + m.key + "\"");
    reader.note_places(topic.where);
    reader.require("schema", "the .avsc file of its records");
    reader.text("topic", topic.topic);
    reader.text("schema", topic.schema);
    reader.text("subject", topic.subject);
    reader.texts("key", topic.key);
    reader.text("event_time", topic.event_time);
    reader.whole("partitions", 1, partitions_max, topic.partitions);
    std::string role = "event";
    reader.one_of("role", {"event", "table", "global"}, role);
    topic.role = role == "table" ? topic_role::table : role == "global" ? topic_role::global : topic_role::event;
    reader.boolean("compact", topic.compact);
    reader.boolean("feedback", topic.feedback);
    reader.boolean("rekey", topic.rekey);
    reader.duration("rekey_retention", minute_ms, 366 * day_ms, topic.rekey_retention_ms);
    reader.size("memory_max", 1 << 20, std::int64_t{64} << 30, topic.memory_bytes_max);
    std::string lost = "stop";
    reader.one_of("rekey_lost", {"stop", "skip"}, lost);
    topic.rekey_skips_lost = lost == "skip";
    // An event that is gone is gone, whether or not the worker ends, and more go while it stands still. A row of a table may have been a
    // withdrawal: what is decided without it is wrong for ever.
    lost = topic.role == topic_role::event ? "skip" : "stop";
    reader.one_of("lost", {"stop", "skip"}, lost);
    topic.skips_lost = lost == "skip";
    reader.boolean("log_append_time", topic.log_append_time);
    std::string framing = "confluent";
    reader.one_of("framing", {"confluent", "bare"}, framing);
    topic.bare = framing == "bare";
    reader.duration("retention", 1'000, 36'600 * day_ms, topic.retention_ms);
    reader.size("retention_size", 1 << 10, std::int64_t{1} << 50, topic.retention_bytes);
    reader.texts("carries", topic.carries);
    reader.text("purpose", topic.purpose);
    reader.text("recipient", topic.recipient);
    if (const auto* labels = reader.take("labels")) read_labels(*labels, topic);
    if (const auto* fields = reader.take("withhold")) read_withheld(*fields, topic);
    reader.finish();
    if (const auto* at = m.value.find("topic");
        at != nullptr && !is_made_of(topic.topic, topic_bytes_max, "._-")) {
      document_.report(*at,
                       "name of a topic in the log must be made of letters, digits, \".\", \"_\" "
                       "and \"-\", at most " +
                           std::to_string(topic_bytes_max) + ", not " + found(*at));
    }
    if (!topic.schema.empty()) {
      topic.schema =
          (std::filesystem::path(schema_folder_) / topic.schema).lexically_normal().string();
    }
    if (topic.key.empty() && !topic.subject.empty() && !topic.rekey) topic.key = {topic.subject};
    check_purpose_at(m.value.find("purpose"), topic.purpose);
    if (auto known = category_set::parse(topic.carries); !known) {
      document_.report(*m.value.find("carries"),
                       "\"carries\" of topic \"" + m.key + "\": " + known.error().message);
    }
    flow_.topics.push_back(std::move(topic));
  }

  /// A second entry for a topic of the log would have labels, purposes and what is withheld of its own: what the first one says of
  /// the same records would be evaded.
  void check_topics_are_named_once() {
    std::map<std::string, const topic_options*> first;
    for (const auto& topic : flow_.topics) {
      const auto [known, fresh] = first.try_emplace(topic.topic, &topic);
      if (fresh || topic.topic.empty()) continue;
      const auto said = topic.where.find("topic");
      const auto& at = said == topic.where.end() ? topic.at : said->second;
      document_.diagnostics.push_back({diagnostic::severity::error, at,
                                       "topic \"" + topic.name + "\" is \"" + topic.topic + "\" in the log, which topic \"" + known->second->name +
                                           "\" is already: what its records hold is said once; use \"" + known->second->name + "\" in both places"});
    }
  }

  /// `{headers: none, key: [pseudonym]}`: labels of what no schema tells of.
  void read_labels(const yaml_value& labels, topic_options& topic) {
    const auto what = "\"labels\" of topic \"" + topic.name + "\"";
    map_reader reader(document_, labels, labels, what);
    const auto label_of = [&](const std::string& part, std::string& to) {
      const auto* given = reader.take(part);
      if (given == nullptr) return;
      std::map<std::string, position> ignored;
      to = yaml_to_json(document_, *given, ignored);
      topic.where["labels." + part] = document_.place(*given);
      if (auto known = parse_label(to); !known) document_.report(*given, what + ": \"" + part + "\": " + known.error().message);
    };
    label_of("key", topic.key_label);
    label_of("headers", topic.headers_label);
    reader.finish();
    if (!topic.key_label.empty() && (!topic.key.empty() || (!topic.subject.empty() && !topic.rekey))) {
      document_.report(*labels.find("key"), what + ": its key is made of fields, whose labels in the schema hold; take \"key\" away here");
    }
  }

  /// `{place: acme:Maps}`.
  void read_withheld(const yaml_value& fields, topic_options& topic) {
    const auto what = "\"withhold\" of topic \"" + topic.name + "\"";
    if (fields.is != yaml_value::kind::map) {
      document_.report(fields, what + " must be a map from field to purpose, not " + found(fields));
      return;
    }
    for (const auto& field : fields.members) {
      if (field.value.is != yaml_value::kind::scalar || field.value.text.empty()) {
        document_.report(field.value, what + ": field \"" + field.key + "\" needs a purpose, not " + found(field.value));
        continue;
      }
      check_purpose_at(&field.value, field.value.text);
      topic.where["withhold." + field.key] = document_.place(field.key_at);
      topic.withhold[field.key] = field.value.text;
    }
  }

  void check_purpose_at(const yaml_value* at, const std::string& purpose) {
    if (at == nullptr || at->is != yaml_value::kind::scalar || at->unresolved) return;
    if (auto known = check_purpose(purpose); !known) document_.report(*at, known.error().message);
  }

  void read_stage(const yaml_value::member& m) {
    stage_options stage;
    stage.at = document_.place(m.key_at);
    stage.name = m.key;
    const auto what = "stage \"" + m.key + "\"";
    map_reader reader(document_, m.value, m.key_at, what);
    reader.note_places(stage.where);
    reader.require("plugin", "a name, or the path of a .so");
    reader.require("in", "what each of the plugin's inputs reads, as in {events: journal}");
    reader.text("plugin", stage.plugin);
    if (stage.plugin.find('/') != std::string::npos) stage.plugin = resolve(stage.plugin);
    read_inputs(reader, what, stage);
    reader.text("purpose", stage.purpose);
    check_purpose_at(m.value.find("purpose"), stage.purpose);
    reader.texts("trust", stage.trust);
    reader.whole("attempts_max", 1, 100, stage.attempts_max);
    reader.duration("retry", 1, hour_ms, stage.retry_ms);
    reader.duration("retry_max", 1, hour_ms, stage.retry_ms_max);
    reader.duration("deadline", 10, hour_ms, stage.deadline_ms);
    if (const auto* config = reader.take("config")) {
      if (config->is != yaml_value::kind::map && !config->unresolved) {
        document_.report(*config,
                         "\"config\" of " + what + " must be a map, not " + found(*config));
      }
      stage.config_json = yaml_to_json(document_, *config, stage.config_at);
    }
    reader.finish();
    flow_.stages.push_back(std::move(stage));
  }

  void read_inputs(map_reader& reader, const std::string& what, stage_options& stage) {
    const auto* in = reader.take("in");
    if (in == nullptr) return;
    if (in->is != yaml_value::kind::map) {
      document_.report(
          *in, "\"in\" of " + what + " must be a map from the plugin's inputs, not " + found(*in));
      return;
    }
    for (const auto& port : in->members) {
      input_options input;
      input.at = document_.place(port.key_at);
      input.port = port.key;
      read_from(port.value, port.key_at, "input \"" + port.key + "\" of " + what, false, input);
      stage.in.push_back(std::move(input));
    }
  }

  void read_sink(const yaml_value::member& m) {
    sink_options sink;
    sink.at = document_.place(m.key_at);
    sink.topic = m.key;
    sink.where["topic"] = sink.at;
    read_from(m.value, m.key_at, "sink \"" + m.key + "\"", true, sink);
    flow_.sinks.push_back(std::move(sink));
  }

  /// `anonymize.out`, or `{from: anonymize.out, fields: {...}}`.
  template <class Options>
  void read_from(const yaml_value& value, const yaml_value& at, const std::string& what, bool sink,
                 Options& options) {
    options.where["from"] = document_.place(value);
    if (value.is == yaml_value::kind::scalar) {
      options.from = value.text;
      return;
    }
    map_reader reader(document_, value, at, what);
    reader.note_places(options.where);
    reader.require("from", "a topic, or stage.output");
    reader.text("from", options.from);
    if constexpr (std::is_same_v<Options, sink_options>) {
      if (sink) reader.text("topic", options.topic);
    }
    if (const auto* fields = reader.take("fields")) read_fields(*fields, what, options);
    reader.finish();
  }

  template <class Options>
  void read_fields(const yaml_value& fields, const std::string& what, Options& options) {
    if (fields.is != yaml_value::kind::map) {
      document_.report(fields, "\"fields\" of " + what + " must be a map from name to name, not " +
                                   found(fields));
      return;
    }
    for (const auto& field : fields.members) {
      if (field.value.is != yaml_value::kind::scalar) {
        document_.report(field.value, "field \"" + field.key + "\" of " + what +
                                          " must be the name of a field, not " +
                                          found(field.value));
        continue;
      }
      options.where[field.key] = document_.place(field.key_at);
      options.fields[field.key] = field.value.text;
    }
  }

  void read_dead_letter(map_reader& top) {
    const auto topics = names_of(flow_.topics);
    const auto known = [&](const std::string& name) {
      return std::find(topics.begin(), topics.end(), name) != topics.end();
    };
    const auto* given = top.take("dead_letter");
    if (given == nullptr) {
      if (!known(flow_.dead_letter)) flow_.dead_letter.clear();
    } else {
      top.text("dead_letter", flow_.dead_letter);
      if (flow_.dead_letter == "none") {
        flow_.dead_letter.clear();
      } else if (!given->unresolved && given->is == yaml_value::kind::scalar &&
                 !known(flow_.dead_letter)) {
        document_.report(*given, "\"dead_letter\" must be a topic of the flow or none, not " +
                                     found(*given) + did_you_mean(flow_.dead_letter, topics));
      }
    }
    top.text("quarantine_key", flow_.quarantine_key);
    if (flow_.quarantine_key.empty() || flow_.secrets.contains(flow_.quarantine_key)) return;
    std::vector<std::string> secrets;
    for (const auto& [name, secret] : flow_.secrets) secrets.push_back(name);
    const auto& at = *document_.root.find("quarantine_key");
    // What is near to no name may be the key itself.
    const auto hint = did_you_mean(flow_.quarantine_key, secrets);
    document_.report(at, "\"quarantine_key\" must be one of \"secrets\", not " + (hint.empty() ? "another text" : found(at)) + hint);
  }

  yaml_document& document_;
  std::filesystem::path folder_;
  std::string schema_folder_;
  flow_options flow_;
};

/// Takes `profiles` out of the document, or an empty map.
yaml_value take_profiles(yaml_document& document) {
  yaml_value profiles;
  auto& members = document.root.members;
  const auto found_at = std::find_if(members.begin(), members.end(),
                                     [](const auto& m) { return m.key == "profiles"; });
  if (found_at == members.end()) return profiles;
  profiles = std::move(found_at->value);
  members.erase(found_at);
  const bool is_map = profiles.is == yaml_value::kind::map;
  if (!is_map && profiles.is != yaml_value::kind::null) {
    document.report(profiles, "\"profiles\" must be a map of names, not " + found(profiles));
  }
  if (profiles.members.size() > profiles_max) {
    document.report(profiles,
                    "\"profiles\" has more than " + std::to_string(profiles_max) + " entries");
    profiles.members.clear();
  }
  for (auto& m : profiles.members) {
    if (m.value.is == yaml_value::kind::map || m.value.is == yaml_value::kind::null) continue;
    document.report(m.value, "profile \"" + m.key + "\" must be a map, not " + found(m.value));
    m.value = {};
  }
  return profiles;
}

void choose_profile(yaml_document& document, const yaml_value& profiles, const std::string& name) {
  if (name.empty()) return;
  if (const auto* chosen = profiles.find(name)) {
    if (chosen->is == yaml_value::kind::map) merge_yaml(document.root, *chosen);
    return;
  }
  std::vector<std::string> names;
  for (const auto& m : profiles.members) names.push_back(m.key);
  auto hint = did_you_mean(name, names);
  if (hint.empty()) {
    hint = names.empty() ? "; it has none" : "; it has";
    for (const auto& each : names) hint += " " + each;
  }
  const yaml_value whole_file;
  document.report(whole_file, "there is no profile \"" + name + "\"" + hint);
}

/// A profile that is not chosen today is checked all the same; the environment that it needs may be
/// absent.
void check_other_profile(const yaml_document& base, const yaml_value& profile,
                         const std::string& path, std::vector<diagnostic>& to) {
  if (profile.is != yaml_value::kind::map) return;
  yaml_document document = base;
  document.diagnostics.clear();
  merge_yaml(document.root, profile);
  substitute_environment(document, document.root, false);
  (void)flow_reader(document, path).read();
  to.insert(to.end(), document.diagnostics.begin(), document.diagnostics.end());
}

}  // namespace

void tidy_diagnostics(std::vector<diagnostic>& all) {
  const auto place = [](const diagnostic& d) { return std::tie(d.at.line, d.at.column); };
  std::stable_sort(all.begin(), all.end(),
                   [&](const auto& a, const auto& b) { return place(a) < place(b); });
  std::set<std::string> seen;
  std::erase_if(all, [&](const auto& d) { return !seen.insert(to_string(d)).second; });
  if (all.size() <= diagnostics_max) return;
  all.resize(diagnostics_max);
  all.back().level = diagnostic::severity::error;
  all.back().message = "there is more to say from here on; mend what is above first";
}

std::string to_string(const position& at) {
  if (at.line == 0) return at.file;
  return at.file + ":" + std::to_string(at.line) + ":" + std::to_string(at.column);
}

std::string to_string(const diagnostic& d) {
  return to_string(d.at) + ": " + (d.level == diagnostic::severity::warning ? "warning: " : "") +
         d.message;
}

parsed_flow parse_flow_text(std::string_view yaml, const std::string& path,
                            const config_overrides& overrides) {
  parsed_flow parsed;
  auto document = read_yaml(yaml, path);
  if (document.diagnostics.empty() && document.root.is != yaml_value::kind::map) {
    document.report(document.root, "a flow must be a map, not " + found(document.root));
  }
  if (!document.diagnostics.empty()) {
    parsed.diagnostics = std::move(document.diagnostics);
    tidy_diagnostics(parsed.diagnostics);
    return parsed;
  }
  const auto profiles = take_profiles(document);
  for (const auto& m : profiles.members) {
    if (m.key != overrides.profile)
      check_other_profile(document, m.value, path, parsed.diagnostics);
  }
  choose_profile(document, profiles, overrides.profile);
  for (const auto& [to, value] : overrides.set) set_yaml(document, to, value);
  substitute_environment(document, document.root, true);
  auto options = flow_reader(document, path).read();
  if (overrides.data_dir) options.log.dir = *overrides.data_dir;
  parsed.diagnostics.insert(parsed.diagnostics.end(), document.diagnostics.begin(),
                            document.diagnostics.end());
  tidy_diagnostics(parsed.diagnostics);
  if (parsed.diagnostics.empty()) parsed.options = std::move(options);
  return parsed;
}

parsed_flow parse_flow(const std::string& path, const config_overrides& overrides) {
  const auto refuse = [&](std::string message) {
    diagnostic refusal;
    refusal.at.file = path;
    refusal.message = std::move(message);
    parsed_flow parsed;
    parsed.diagnostics.push_back(std::move(refusal));
    return parsed;
  };
  std::error_code problem;
  if (!std::filesystem::is_regular_file(path, problem)) {
    // A pipe or a device could wait or go on for ever.
    return refuse(std::filesystem::exists(path, problem) ? "is not a file"
                                                         : "there is no such file");
  }
  std::ifstream in(path, std::ios::binary);
  if (!in) return refuse("cannot be opened");
  // One byte more than allowed shows that there is too much.
  std::string text(flow_file_bytes_max + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (in.bad()) return refuse("cannot be read");
  text.resize(static_cast<std::size_t>(in.gcount()));
  return parse_flow_text(text, path, overrides);
}

}  // namespace sonder
