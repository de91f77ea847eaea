#include "plugin/manifest.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <optional>
#include <set>

#include "plugin/config_schema.h"
#include "plugin/strict_json.h"
#include "sonder/plugin.h"

namespace sonder {
namespace {

constexpr std::size_t manifest_text_bytes_max = 4096;
constexpr std::uint64_t store_version_max = 1'000'000;

constexpr std::array<std::string_view, 8> services_offered = {
    "log/1",    "metrics/1", "state/1", "clock/1",
    "random/1", "secrets/1", "timer/1", "consent_authority/1"};

/// Thrown inside of `parse_manifest` only.
struct refused {
  errc code;
  std::string message;
};

using names = std::initializer_list<std::string_view>;

/// One value of the document and where it stands.
class place {
 public:
  place(const ordered_json& value, std::string at) : value_(&value), at_(std::move(at)) {}

  [[noreturn]] void refuse(const std::string& message, errc code = errc::invalid) const {
    throw refused{code, at_ + ": " + message};
  }

  /// Holds an object to its properties.
  void object(names required, names optional) const {
    if (!value_->is_object()) refuse("wants an object");
    std::vector<std::string> known(required.begin(), required.end());
    known.insert(known.end(), optional.begin(), optional.end());
    for (const auto& member : value_->items()) {
      if (std::find(known.begin(), known.end(), member.key()) == known.end()) {
        step(member.key()).refuse("no such property" + did_you_mean(member.key(), known));
      }
    }
    for (const auto& name : required) {
      if (!value_->contains(name)) refuse("lacks the property \"" + std::string(name) + "\"");
    }
  }
  [[nodiscard]] bool has(std::string_view member) const { return value_->contains(member); }
  [[nodiscard]] place operator[](std::string_view member) const { return step(member); }

  /// The entries of an array, at most `manifest_entries_max`; none if the property is absent.
  [[nodiscard]] std::vector<place> list(std::string_view member) const {
    if (!has(member)) return {};
    const auto array = step(member);
    if (!array.value_->is_array()) array.refuse("wants an array");
    if (array.value_->size() > manifest_entries_max) {
      array.refuse("has more than " + std::to_string(manifest_entries_max) + " entries",
                   errc::capacity);
    }
    std::vector<place> entries;
    for (std::size_t i = 0; i < array.value_->size(); ++i) {
      entries.emplace_back((*array.value_)[i], array.at_ + "/" + std::to_string(i));
    }
    return entries;
  }

  [[nodiscard]] std::string text(std::size_t bytes_max = manifest_text_bytes_max) const {
    if (!value_->is_string()) refuse("wants a string");
    const auto& s = value_->get_ref<const std::string&>();
    if (s.size() > bytes_max)
      refuse("has more than " + std::to_string(bytes_max) + " bytes", errc::capacity);
    // It is shown on terminals.
    if (std::any_of(s.begin(), s.end(), [](unsigned char c) { return c < 0x20 || c == 0x7F; })) {
      refuse("has a control character");
    }
    return s;
  }
  [[nodiscard]] std::string text_or(std::string_view member, std::string otherwise) const {
    return has(member) ? step(member).text() : std::move(otherwise);
  }
  /// A name that programs use: lower case, digits and `_`.
  [[nodiscard]] std::string name() const {
    auto s = text(manifest_name_bytes_max);
    const auto fits = [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
    };
    if (s.empty() || !(s[0] >= 'a' && s[0] <= 'z') || !std::all_of(s.begin(), s.end(), fits)) {
      refuse("wants a name of a-z, 0-9 and _ that starts with a letter");
    }
    return s;
  }
  /// A name as Avro allows it.
  [[nodiscard]] std::string field_name() const {
    auto s = text(manifest_name_bytes_max);
    const auto letter = [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    };
    if (s.empty() || !letter(s[0]) || !std::all_of(s.begin(), s.end(), [&](char c) {
          return letter(c) || (c >= '0' && c <= '9');
        })) {
      refuse("wants a field name of letters, digits and _");
    }
    return s;
  }
  [[nodiscard]] bool truth_or(std::string_view member, bool otherwise) const {
    if (!has(member)) return otherwise;
    const auto v = step(member);
    if (!v.value_->is_boolean()) v.refuse("wants true or false");
    return v.value_->get<bool>();
  }
  [[nodiscard]] std::uint64_t number(std::uint64_t least, std::uint64_t most) const {
    if (!value_->is_number_unsigned() || value_->get<std::uint64_t>() < least ||
        value_->get<std::uint64_t>() > most) {
      refuse("wants a whole number from " + std::to_string(least) + " to " + std::to_string(most));
    }
    return value_->get<std::uint64_t>();
  }
  /// Index of the text in `choices`.
  [[nodiscard]] std::size_t one_of(names choices) const {
    const auto s = text();
    const auto at = std::find(choices.begin(), choices.end(), s);
    if (at == choices.end()) {
      std::string all;
      for (const auto c : choices) all += (all.empty() ? "\"" : ", \"") + std::string(c) + "\"";
      refuse("wants one of " + all + did_you_mean(s, {choices.begin(), choices.end()}));
    }
    return static_cast<std::size_t>(at - choices.begin());
  }
  [[nodiscard]] const ordered_json& value() const { return *value_; }
  [[nodiscard]] const std::string& at() const { return at_; }

 private:
  [[nodiscard]] place step(std::string_view member) const {
    return {value_->at(std::string(member)), at_ + pointer_step(member)};
  }
  const ordered_json* value_;
  std::string at_;
};

/// Refuses the second of two equal names in one list.
class unique_names {
 public:
  void add(const place& at, const std::string& name) {
    if (!seen_.insert(name).second)
      at.refuse("\"" + name + "\" is there before; names must differ");
  }

 private:
  std::set<std::string> seen_;
};

std::vector<std::string> name_list(const place& of, std::string_view member) {
  std::vector<std::string> made;
  unique_names once;
  for (const auto& entry : of.list(member)) {
    made.push_back(entry.name());
    once.add(entry, made.back());
  }
  return made;
}

// ---- Fields ----

std::string record_json(const std::vector<manifest_field>& fields, std::size_t count) {
  auto record = ordered_json{
      {"type", "record"}, {"name", "sonder_manifest_fields"}, {"fields", ordered_json::array()}};
  for (std::size_t i = 0; i < count; ++i) {
    record["fields"].push_back(
        {{"name", fields[i].name}, {"type", ordered_json::parse(fields[i].type_json)}});
  }
  return record.dump();
}

/// Parses the types of fields that stand together, so that a named type may be used again by its
/// name.
schema_ptr resolve_types(const place& of, std::string_view member,
                         std::vector<manifest_field>& fields) {
  auto record = parse_schema(record_json(fields, fields.size()));
  if (!record) {
    // Which one it is: the first that the fields before it go without.
    const auto entries = of.list(member);
    for (std::size_t i = 0; i < fields.size(); ++i) {
      const auto part = parse_schema(record_json(fields, i + 1));
      if (!part) entries[i]["type"].refuse(part.error().message, part.error().code);
    }
    of.refuse(record.error().message, record.error().code);
  }
  auto columns = column_fields(**record);
  for (std::size_t i = 0; i < fields.size(); ++i) {
    fields[i].type = (*record)->fields[i].type;
    fields[i].column = std::move(columns[i]);
  }
  return *record;
}

enum class field_use { read, made };

std::vector<manifest_field> field_list(const place& of, std::string_view member, field_use use,
                                       schema_ptr* record) {
  std::vector<manifest_field> fields;
  unique_names once;
  for (const auto& entry : of.list(member)) {
    entry.object({"name", "type"}, use == field_use::read
                                       ? names{"doc", "optional", "optional_where"}
                                       : names{"doc", "adds"});
    manifest_field f;
    f.name = entry["name"].field_name();
    once.add(entry["name"], f.name);
    f.type_json = entry["type"].value().dump();
    f.doc = entry.text_or("doc", "");
    f.optional = entry.truth_or("optional", false);
    if (entry.has("optional_where")) f.optional_where = entry["optional_where"].name();
    if (f.optional && !f.optional_where.empty())
      entry["optional_where"].refuse("stands beside \"optional\"; use one of the two");
    f.adds = name_list(entry, "adds");
    fields.push_back(std::move(f));
  }
  auto resolved = resolve_types(of, member, fields);
  if (record != nullptr) *record = std::move(resolved);
  const auto entries = of.list(member);
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const bool somewhere = !fields[i].optional_where.empty();
    if ((fields[i].optional || somewhere) && !fields[i].column.nullable) {
      entries[i][somewhere ? "optional_where" : "optional"].refuse(
          "an optional read needs a type with null, such as [\"null\", \"string\"]");
    }
  }
  return fields;
}

// ---- Ports ----

reserved_columns reserved(const place& of) {
  reserved_columns made;
  bool* const flags[] = {&made.timestamp, &made.event_time, &made.tombstone, &made.key,
                         &made.headers};
  for (const auto& entry : of.list("reserved")) {
    auto& flag = *flags[entry.one_of({"timestamp", "event_time", "tombstone", "key", "headers"})];
    if (flag) entry.refuse("is there before");
    flag = true;
  }
  return made;
}

void outputs(const place& root, manifest& made) {
  unique_names once;
  for (const auto& entry : root.list("outputs")) {
    entry.object({"name"}, {"doc", "emits"});
    manifest_output port;
    port.name = entry["name"].name();
    once.add(entry["name"], port.name);
    port.doc = entry.text_or("doc", "");
    port.emitted = entry.has("emits");
    if (port.emitted) port.emits = field_list(entry, "emits", field_use::made, nullptr);
    if (port.emitted && port.emits.empty()) entry["emits"].refuse("wants at least one field");
    made.outputs.push_back(std::move(port));
  }
}

int passes_to(const place& entry, const manifest& made) {
  const auto to = entry["passes"];
  const auto name = to.name();
  const auto index = made.output(name);
  if (index < 0) {
    std::vector<std::string> known;
    for (const auto& o : made.outputs) known.push_back(o.name);
    to.refuse("no output is called \"" + name + "\"" + did_you_mean(name, known));
  }
  if (made.outputs[static_cast<std::size_t>(index)].emitted) {
    to.refuse("output \"" + name + "\" has \"emits\": rows are emitted there, not passed");
  }
  for (const auto& other : made.inputs) {
    if (other.passes == index)
      to.refuse("input \"" + other.name +
                "\" passes there already; each needs an output of its own");
  }
  return index;
}

void inputs(const place& root, manifest& made) {
  unique_names once;
  for (const auto& entry : root.list("inputs")) {
    entry.object({"name", "role", "reads"}, {"doc", "reserved", "writes", "passes"});
    manifest_input port;
    port.name = entry["name"].name();
    once.add(entry["name"], port.name);
    port.doc = entry.text_or("doc", "");
    port.role = static_cast<input_role>(entry["role"].one_of({"event", "table"}));
    port.reads = field_list(entry, "reads", field_use::read, &port.record);
    port.reserved = reserved(entry);
    port.writes = field_list(entry, "writes", field_use::made, nullptr);
    if (port.role == input_role::table) {
      if (entry.has("passes")) entry["passes"].refuse("the rows of a table end here; leave it out");
      if (!port.writes.empty())
        entry["writes"].refuse("the rows of a table end here; leave it out");
    } else {
      if (!entry.has("passes"))
        entry.refuse("lacks the property \"passes\": the output on which its rows leave");
      port.passes = passes_to(entry, made);
    }
    made.inputs.push_back(std::move(port));
  }
  if (made.inputs.empty()) root["inputs"].refuse("wants at least one port");
}

void check_outputs_are_fed(const place& root, const manifest& made) {
  const auto entries = root.list("outputs");
  for (std::size_t i = 0; i < made.outputs.size(); ++i) {
    const auto fed = std::any_of(made.inputs.begin(), made.inputs.end(),
                                 [&](const auto& in) { return in.passes == static_cast<int>(i); });
    if (!fed && !made.outputs[i].emitted) {
      entries[i].refuse(
          "no input passes to it and it has no \"emits\": nothing would ever leave there");
    }
  }
}

// ---- What else it asks for ----

std::string store_type(const place& of) {
  auto text = of.value().dump();
  if (text == "\"bytes\"") return "bytes";
  const auto parsed = parse_schema(text);
  if (!parsed) of.refuse(parsed.error().message, parsed.error().code);
  return text;
}

void stores(const place& root, manifest& made) {
  unique_names once;
  for (const auto& entry : root.list("stores")) {
    entry.object({"name", "key", "value", "personal"}, {"doc", "version", "filled_by"});
    manifest_store store;
    store.name = entry["name"].name();
    once.add(entry["name"], store.name);
    store.doc = entry.text_or("doc", "");
    store.key = store_type(entry["key"]);
    store.value = store_type(entry["value"]);
    if (entry.has("version"))
      store.version = static_cast<std::uint32_t>(entry["version"].number(1, store_version_max));
    store.personal = entry.truth_or("personal", true);
    if (entry.has("filled_by")) {
      store.filled_by = entry["filled_by"].name();
      const auto port = made.input(store.filled_by);
      if (port < 0 || made.inputs[static_cast<std::size_t>(port)].role != input_role::table)
        entry["filled_by"].refuse("names no input of role table");
    }
    made.stores.push_back(std::move(store));
  }
}

void metrics(const place& root, manifest& made) {
  unique_names once;
  for (const auto& entry : root.list("metrics")) {
    entry.object({"name", "type", "help"}, {"unit", "label"});
    manifest_metric metric;
    metric.name = entry["name"].name();
    once.add(entry["name"], metric.name);
    if (!metric.name.starts_with("sonder_"))
      entry["name"].refuse("wants a name that starts with sonder_");
    metric.type = static_cast<manifest_metric_type>(entry["type"].one_of({"counter", "gauge"}));
    if ((metric.type == manifest_metric_type::counter) != metric.name.ends_with("_total")) {
      entry["name"].refuse("a counter's name ends with _total, a gauge's does not");
    }
    metric.help = entry["help"].text();
    metric.unit = entry.text_or("unit", "1");
    if (entry.has("label")) {
      const auto label = entry["label"];
      label.object({"name", "values"}, {});
      metric.label = label["name"].name();
      unique_names values;
      for (const auto& value : label.list("values")) {
        metric.label_values.push_back(value.text(manifest_name_bytes_max));
        values.add(value, metric.label_values.back());
      }
      if (metric.label_values.empty()) label["values"].refuse("wants at least one value");
    }
    made.metrics.push_back(std::move(metric));
  }
}

void services(const place& root, manifest& made) {
  unique_names once;
  for (const auto& entry : root.list("services")) {
    auto id = entry.text(manifest_name_bytes_max);
    if (std::find(services_offered.begin(), services_offered.end(), id) == services_offered.end()) {
      entry.refuse("this host does not offer the service \"" + id + "\"" +
                       did_you_mean(id, {services_offered.begin(), services_offered.end()}),
                   errc::unsupported);
    }
    once.add(entry, id);
    made.services.push_back(std::move(id));
  }
}

bool is_made(const manifest& of, std::string_view field) {
  const auto has = [&](const std::vector<manifest_field>& fields) {
    return std::any_of(fields.begin(), fields.end(),
                       [&](const auto& f) { return f.name == field; });
  };
  return std::any_of(of.inputs.begin(), of.inputs.end(),
                     [&](const auto& in) { return has(in.writes); }) ||
         std::any_of(of.outputs.begin(), of.outputs.end(),
                     [&](const auto& out) { return has(out.emits); });
}

void declassifications(const place& root, manifest& made) {
  for (const auto& entry : root.list("declassifies")) {
    entry.object({"name", "field", "removes"}, {"unless"});
    manifest_declassification d;
    d.name = entry["name"].name();
    d.field = entry["field"].field_name();
    if (!is_made(made, d.field))
      entry["field"].refuse("no port writes or emits a field \"" + d.field + "\"");
    d.removes = name_list(entry, "removes");
    if (d.removes.empty()) entry["removes"].refuse("wants at least one category");
    d.unless = name_list(entry, "unless");
    made.declassifies.push_back(std::move(d));
  }
}

/// Declarations that only work together.
void check_services_fit(const place& root, const manifest& made) {
  const auto need = [&](bool used, std::string_view what, std::string_view service) {
    if (used && !made.asks_for(service)) {
      root[what].refuse("needs \"" + std::string(service) + "\" under \"services\"");
    }
  };
  need(!made.stores.empty(), "stores", "state/1");
  need(!made.timers.empty(), "timers", "timer/1");
  need(!made.metrics.empty(), "metrics", "metrics/1");
  need(!made.secrets.empty(), "secrets", "secrets/1");
  if (made.ordering == task_ordering::stateless &&
      (made.asks_for("state/1") || made.asks_for("timer/1"))) {
    root["ordering"].refuse("a stateless plugin has no stores and no timers; use \"per_task\"");
  }
  if (made.asks_for("consent_authority/1") && made.purpose != purpose_need::authority) {
    root["services"].refuse("\"consent_authority/1\" needs \"purpose\": \"authority\"");
  }
}

std::string config_of(const place& root) {
  const auto config = root["config"];
  if (!config.value().is_object() || config.value().value("type", ordered_json()) != "object") {
    config.refuse("wants a JSON Schema with \"type\": \"object\"");
  }
  auto text = config.value().dump();
  if (const auto parsed = config_schema::parse(text); !parsed) {
    throw refused{parsed.error().code, config.at() + parsed.error().message};
  }
  return text;
}

void check_conditions(const place& root) {
  std::vector<std::string> properties;
  if (root.has("config") && root["config"].has("properties")) {
    for (const auto& member : root["config"]["properties"].value().items())
      properties.push_back(member.key());
  }
  const auto check = [&](const place& condition) {
    const auto name = condition.name();
    if (std::find(properties.begin(), properties.end(), name) != properties.end()) return;
    condition.refuse("\"config\" has no property \"" + name + "\"" + did_you_mean(name, properties));
  };
  for (const auto& input : root.list("inputs")) {
    for (const auto& read : input.list("reads")) {
      if (read.has("optional_where")) check(read["optional_where"]);
    }
  }
  for (const auto& entry : root.list("declassifies")) {
    for (const auto& property : entry.list("unless")) check(property);
  }
}

void check_abi(const place& root, manifest& made) {
  if (!root.value().is_object()) root.refuse("wants an object");
  if (!root.has("abi")) root.refuse("lacks the property \"abi\"");
  const auto abi = root["abi"];
  abi.object({"major", "minor"}, {});
  made.abi_major = static_cast<std::uint16_t>(abi["major"].number(0, UINT16_MAX));
  made.abi_minor = static_cast<std::uint16_t>(abi["minor"].number(0, UINT16_MAX));
  if (made.abi_major == SONDER_ABI_MAJOR && made.abi_minor <= SONDER_ABI_MINOR) return;
  throw refused{errc::unsupported,
                "built for sonder ABI " + std::to_string(made.abi_major) + "." +
                    std::to_string(made.abi_minor) + ", this host offers " +
                    std::to_string(SONDER_ABI_MAJOR) + "." + std::to_string(SONDER_ABI_MINOR) +
                    "; rebuild against sonder " + std::to_string(SONDER_ABI_MAJOR) + ".x or use " +
                    (made.abi_major < SONDER_ABI_MAJOR ? "an older host" : "a newer host")};
}

std::string version_of(const place& at) {
  auto s = at.text(manifest_name_bytes_max);
  const auto fits = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
           c == '-' || c == '+';
  };
  if (s.empty() || !(s[0] >= '0' && s[0] <= '9') || !std::all_of(s.begin(), s.end(), fits)) {
    at.refuse("wants a version such as \"1.0.2\"");
  }
  return s;
}

manifest read(const place& root) {
  manifest made;
  check_abi(root, made);
  root.object({"id", "version", "abi", "inputs", "outputs", "ordering", "purpose"},
              {"summary", "licence", "reasons", "stores", "timers", "metrics", "services",
               "secrets", "deterministic", "declassifies", "config"});
  made.id = root["id"].name();
  made.version = version_of(root["version"]);
  made.summary = root.text_or("summary", "");
  made.licence = root.text_or("licence", "");
  made.ordering = static_cast<task_ordering>(root["ordering"].one_of({"per_task", "stateless"}));
  made.purpose =
      static_cast<purpose_need>(root["purpose"].one_of({"required", "none", "authority"}));
  made.deterministic = root.truth_or("deterministic", true);
  outputs(root, made);
  inputs(root, made);
  check_outputs_are_fed(root, made);
  made.reasons = name_list(root, "reasons");
  stores(root, made);
  made.timers = name_list(root, "timers");
  metrics(root, made);
  services(root, made);
  made.secrets = name_list(root, "secrets");
  declassifications(root, made);
  check_services_fit(root, made);
  if (root.has("config")) made.config_schema_json = config_of(root);
  check_conditions(root);
  return made;
}

template <class Ports>
int index_of(const Ports& ports, std::string_view name) noexcept {
  for (std::size_t i = 0; i < ports.size(); ++i) {
    if (ports[i].name == name) return static_cast<int>(i);
  }
  return -1;
}

}  // namespace

bool manifest::asks_for(std::string_view service) const noexcept {
  return std::find(services.begin(), services.end(), service) != services.end();
}
int manifest::input(std::string_view name) const noexcept {
  return index_of(inputs, name);
}
int manifest::output(std::string_view name) const noexcept {
  return index_of(outputs, name);
}

result<manifest> parse_manifest(std::string_view json) {
  const auto parsed = parse_strict_json(json, manifest_bytes_max, manifest_depth_max);
  if (!parsed) return tl::unexpected(parsed.error().at("manifest"));
  try {
    return read(place(*parsed, ""));
  } catch (const refused& e) {
    return fail(e.code, e.message.starts_with(": ") ? "manifest" + e.message : e.message);
  }
}

}  // namespace sonder
