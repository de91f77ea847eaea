#include "flow/config_log.h"

#include <vector>

#include "flow/config_reader.h"
#include "plugin/config_schema.h"

namespace sonder {
namespace {

constexpr std::size_t properties_max = 256;
constexpr std::int64_t standby_replicas_max = 8;
/// Of `max_poll_interval`, past what a revocation may take by the other limits.
constexpr std::int64_t handing_over_margin_ms = 5'000;
/// In which an epoch that failed is aborted and its transactional id taken again: two requests of the log on Kafka.
constexpr std::int64_t settling_ms_max = 20'000;

/// A map of texts: `{session.timeout.ms: 10000}`.
void read_texts_by_name(yaml_document& document, map_reader& from, const std::string& key,
                        std::map<std::string, std::string>& to) {
  const auto* section = from.take(key);
  if (section == nullptr) return;
  if (section->is != yaml_value::kind::map) {
    document.report(*section, "\"" + key + "\" of log must be a map of names and values, not " + found(*section));
    return;
  }
  if (section->members.size() > properties_max) {
    document.report(*section, "\"" + key + "\" of log has more than " + std::to_string(properties_max) + " entries");
    return;
  }
  for (const auto& entry : section->members) {
    if (entry.value.is != yaml_value::kind::scalar) {
      document.report(entry.value, "\"" + entry.key + "\" in \"" + key + "\" of log must be a value, not " + found(entry.value));
      continue;
    }
    to[entry.key] = entry.value.text;
  }
}

registry_options read_registry(yaml_document& document, const yaml_value& section,
                               const std::function<std::string(const std::string&)>& resolve) {
  registry_options registry;
  registry.at = document.place(section);
  map_reader reader(document, section, section, "registry");
  reader.require("url", "the address of a schema registry that speaks Confluent's protocol, such as http://127.0.0.1:8081");
  reader.text("url", registry.url);
  reader.text("user", registry.user);
  reader.text("secret", registry.secret);
  reader.text("ca", registry.ca_file);
  reader.boolean("register", registry.register_schemas);
  reader.duration("timeout", 10, 600'000, registry.timeout_ms);
  reader.duration("unknown_schema_wait", 0, 86'400'000, registry.unknown_schema_wait_ms);
  std::string then = "stop";
  reader.one_of("then", {"stop", "dead_letter"}, then);
  registry.unknown_schema_stops = then == "stop";
  reader.finish();
  if (!registry.ca_file.empty()) registry.ca_file = resolve(registry.ca_file);
  return registry;
}

void read_kafka(yaml_document& document, map_reader& log, flow_log_options& options,
                const std::function<std::string(const std::string&)>& resolve) {
  auto& kafka = options.kafka;
  log.require("bootstrap", "brokers to begin with, host:port, with commas between");
  log.require("registry", "the schema registry, as in {url: \"http://127.0.0.1:8081\"}");
  // A profile says where the brokers are, and the flow's own `log` need not be about Kafka at all.
  if (const auto* said = log.of().find("bootstrap")) options.at = document.place(*said);
  log.text("bootstrap", kafka.bootstrap);
  std::string guarantee = "exactly_once";
  log.one_of("guarantee", {"exactly_once", "at_least_once"}, guarantee);
  kafka.exactly_once = guarantee == "exactly_once";
  log.text("instance", kafka.instance);
  log.duration("session_timeout", 1'000, 600'000, kafka.session_timeout_ms);
  log.duration("max_poll_interval", 10'000, 3'600'000, kafka.max_poll_interval_ms);
  log.duration("transaction_timeout", 1'000, 600'000, kafka.transaction_timeout_ms);
  log.boolean("create_topics", kafka.create_topics);
  log.whole("replication", 1, 100, kafka.replication);
  log.whole("standby_replicas", 0, standby_replicas_max, kafka.standby_replicas);
  read_texts_by_name(document, log, "properties", kafka.properties);
  read_texts_by_name(document, log, "secrets", kafka.secrets);
  if (const auto* section = log.take("registry")) kafka.registry = read_registry(document, *section, resolve);
}

void check_secret(yaml_document& document, const yaml_value& at, const std::string& name, const flow_options& flow) {
  if (name.empty() || flow.secrets.contains(name)) return;
  std::vector<std::string> known;
  for (const auto& [secret, options] : flow.secrets) known.push_back(secret);
  // What is near to no name may be the secret itself.
  const auto hint = did_you_mean(name, known);
  document.report(at, "must be one of \"secrets\" of the flow, not " + (hint.empty() ? "another text" : found(at)) + hint);
}

}  // namespace

flow_log_options read_log_section(yaml_document& document, const yaml_value& section,
                                  const std::function<std::string(const std::string&)>& resolve) {
  flow_log_options options;
  options.at = document.place(section);
  // What a kind needs is missed where the kind is said, which may be a profile or --set.
  const auto* kind = section.find("kind");
  map_reader log(document, section, kind == nullptr ? section : *kind, "log");
  log.one_of("kind", {"embedded", "kafka"}, options.kind);
  log.text("dir", options.dir);
  if (options.kind == "kafka") {
    read_kafka(document, log, options, resolve);
  } else {
    log.boolean("fsync", options.fsync);
  }
  log.finish();
  if (!options.dir.empty()) options.dir = resolve(options.dir);
  return options;
}

void check_log_times(yaml_document& document, const yaml_value& section, const flow_options& flow) {
  const auto& kafka = flow.log.kafka;
  if (flow.log.kind != "kafka") return;
  const auto* said = section.find("max_poll_interval");
  const auto& at = said == nullptr ? section : *said;
  const auto ms = [](std::int64_t of) { return std::to_string(of) + "ms"; };
  if (kafka.max_poll_interval_ms < kafka.session_timeout_ms) {
    document.report(at, "\"max_poll_interval\" of log is " + ms(kafka.max_poll_interval_ms) + ", below \"session_timeout\", which is " +
                            ms(kafka.session_timeout_ms) + ": make it longer");
    return;
  }
  // The group waits that long for a worker that hands its tasks over: it finishes batches, begins epochs for as long as one may take
  // (coordinator::let_go), and the last of them may take as long, fail and be settled.
  const auto needed = flow.drain_ms_max + 2 * kafka.transaction_timeout_ms + settling_ms_max + handing_over_margin_ms;
  if (kafka.max_poll_interval_ms < needed) {
    document.report(at, "\"max_poll_interval\" of log is " + ms(kafka.max_poll_interval_ms) + ", and a worker may take " + ms(needed) +
                            " to hand over its tasks: \"drain_max\" of run, then twice \"transaction_timeout\" of log, " +
                            ms(settling_ms_max) + " to settle an epoch that fails, and " + ms(handing_over_margin_ms) +
                            " of margin; make it longer, or one of those shorter");
  }
}

void check_log_secrets(yaml_document& document, const yaml_value& section, const flow_options& flow) {
  if (const auto* secrets = section.find("secrets"); secrets != nullptr && secrets->is == yaml_value::kind::map) {
    for (const auto& entry : secrets->members) check_secret(document, entry.value, entry.value.text, flow);
  }
  const auto* registry = section.find("registry");
  const auto* secret = registry == nullptr ? nullptr : registry->find("secret");
  if (secret != nullptr) check_secret(document, *secret, flow.log.kafka.registry.secret, flow);
}

}  // namespace sonder
