#include "plugin/inspect.h"

#include <algorithm>
#include <array>

#include "plugin/strict_json.h"

namespace sonder {
namespace {

constexpr std::array<std::string_view, 2> role_names = {"event", "table"};
constexpr std::array<std::string_view, 2> ordering_names = {"per_task", "stateless"};
constexpr std::array<std::string_view, 3> purpose_names = {"required", "none", "authority"};
constexpr std::array<std::string_view, 2> metric_type_names = {"counter", "gauge"};

template <class Names, class Enum>
std::string name_of(const Names& names, Enum value) {
  return std::string(names[static_cast<std::size_t>(value)]);
}

std::vector<std::string> reserved_names(const reserved_columns& r) {
  std::vector<std::string> made;
  if (r.timestamp) made.emplace_back("timestamp");
  if (r.event_time) made.emplace_back("event_time");
  if (r.tombstone) made.emplace_back("tombstone");
  if (r.key) made.emplace_back("key");
  if (r.headers) made.emplace_back("headers");
  return made;
}

// ---- Text ----

std::string joined(const std::vector<std::string>& words, std::string_view none = "none") {
  if (words.empty()) return std::string(none);
  std::string all;
  for (const auto& w : words) all += (all.empty() ? "" : ", ") + w;
  return all;
}

/// Lines of cells; all but the last cell of a line are padded to their column's width.
class table {
 public:
  void add(std::vector<std::string> cells) { lines_.push_back(std::move(cells)); }
  void print(std::string& to, std::string_view indent) const {
    std::vector<std::size_t> widths;
    for (const auto& line : lines_) {
      widths.resize(std::max(widths.size(), line.size()));
      for (std::size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], line[i].size());
    }
    for (const auto& line : lines_) {
      std::string text(indent);
      for (std::size_t i = 0; i < line.size(); ++i) {
        text += line[i];
        if (i + 1 < line.size()) text.append(widths[i] - line[i].size() + 2, ' ');
      }
      text.erase(text.find_last_not_of(' ') + 1);
      to += text + "\n";
    }
  }

 private:
  std::vector<std::vector<std::string>> lines_;
};

void print_fields(const std::vector<manifest_field>& fields, std::string_view heading,
                  std::string& to) {
  if (fields.empty()) return;
  to += "    " + std::string(heading) + "\n";
  table t;
  for (const auto& f : fields) {
    auto notes = f.doc;
    if (f.optional) notes = notes.empty() ? "optional" : "optional; " + notes;
    if (!f.optional_where.empty())
      notes =
          "optional with config \"" + f.optional_where + "\"" + (notes.empty() ? "" : "; ") + notes;
    if (!f.adds.empty()) notes += (notes.empty() ? "adds " : "; adds ") + joined(f.adds);
    t.add({f.name, to_string(f.column.type) + (f.column.nullable ? "?" : ""), notes});
  }
  t.print(to, "      ");
}

void print_ports(const manifest& of, std::string& to) {
  to += "inputs\n";
  for (const auto& in : of.inputs) {
    const auto out = in.passes < 0 ? std::string()
                                   : " -> " + of.outputs[static_cast<std::size_t>(in.passes)].name;
    to += "  " + in.name + " (" + name_of(role_names, in.role) + ")" + out +
          (in.doc.empty() ? "" : ": " + in.doc) + "\n";
    print_fields(in.reads, "reads", to);
    if (const auto names = reserved_names(in.reserved); !names.empty())
      to += "    reserved\n      " + joined(names) + "\n";
    print_fields(in.writes, "writes", to);
  }
  if (of.outputs.empty()) return;
  to += "outputs\n";
  for (const auto& out : of.outputs) {
    to += "  " + out.name + (out.emitted ? " (emitted rows)" : "") +
          (out.doc.empty() ? "" : ": " + out.doc) + "\n";
    print_fields(out.emits, "emits", to);
  }
}

void print_heads(const manifest& of, const std::string& path, std::string& to) {
  table t;
  t.add({"plugin", of.id + " " + of.version});
  t.add({"file", path});
  t.add({"abi", std::to_string(of.abi_major) + "." + std::to_string(of.abi_minor)});
  if (!of.summary.empty()) t.add({"summary", of.summary});
  if (!of.licence.empty()) t.add({"licence", of.licence});
  t.add({"ordering", name_of(ordering_names, of.ordering)});
  t.add({"deterministic", of.deterministic ? "yes" : "no"});
  t.add({"purpose", name_of(purpose_names, of.purpose)});
  t.add({"services", joined(of.services)});
  t.add({"secrets", joined(of.secrets)});
  t.add({"reasons", joined(of.reasons)});
  t.add({"timers", joined(of.timers)});
  t.print(to, "");
}

void print_rest(const manifest& of, std::string& to) {
  table stores;
  for (const auto& s : of.stores) {
    stores.add({s.name, s.key + " -> " + s.value, "version " + std::to_string(s.version),
                s.personal ? "personal" : "not personal", s.filled_by.empty() ? "" : "filled by " + s.filled_by, s.doc});
  }
  if (!of.stores.empty()) to += "stores\n";
  stores.print(to, "  ");

  table metrics;
  for (const auto& m : of.metrics) {
    metrics.add({m.name, name_of(metric_type_names, m.type), m.unit, m.help,
                 m.label.empty() ? "" : m.label + ": " + joined(m.label_values)});
  }
  if (!of.metrics.empty()) to += "metrics\n";
  metrics.print(to, "  ");

  table trusted;
  for (const auto& d : of.declassifies) {
    const auto unless = d.unless.empty() ? std::string() : "; not with config " + joined(d.unless);
    trusted.add({d.name, "field " + d.field, "removes " + joined(d.removes) + unless});
  }
  if (!of.declassifies.empty()) to += "declassifies (where the flow trusts it)\n";
  trusted.print(to, "  ");
}

void print_config(const ordered_json& schema, const std::string& prefix, table& to) {
  if (!schema.contains("properties")) return;
  for (const auto& member : schema["properties"].items()) {
    const auto& of = member.value();
    const auto name = prefix + member.key();
    std::string type = of.contains("type") ? (of["type"].is_string() ? of["type"].get<std::string>()
                                                                     : of["type"].dump())
                                           : "any";
    if (of.contains("enum")) {
      type.clear();
      for (const auto& choice : of["enum"]) type += (type.empty() ? "" : " | ") + choice.dump();
    }
    to.add({name, type, of.contains("default") ? "default " + of["default"].dump() : "",
            of.contains("description") ? of["description"].get<std::string>() : ""});
    print_config(of, name + ".", to);
  }
}

// ---- JSON ----

ordered_json fields_json(const std::vector<manifest_field>& fields, bool read) {
  auto made = ordered_json::array();
  for (const auto& f : fields) {
    ordered_json one = {
        {"name", f.name}, {"type", ordered_json::parse(f.type_json)}, {"doc", f.doc}};
    if (read) {
      one["optional"] = f.optional;
      if (!f.optional_where.empty()) one["optional_where"] = f.optional_where;
    } else {
      one["adds"] = f.adds;
    }
    made.push_back(std::move(one));
  }
  return made;
}

ordered_json ports_json(const manifest& of) {
  auto inputs = ordered_json::array();
  for (const auto& in : of.inputs) {
    inputs.push_back({{"name", in.name},
                      {"doc", in.doc},
                      {"role", name_of(role_names, in.role)},
                      {"reads", fields_json(in.reads, true)},
                      {"reserved", reserved_names(in.reserved)},
                      {"writes", fields_json(in.writes, false)}});
    if (in.passes >= 0)
      inputs.back()["passes"] = of.outputs[static_cast<std::size_t>(in.passes)].name;
  }
  auto outputs = ordered_json::array();
  for (const auto& out : of.outputs) {
    outputs.push_back({{"name", out.name}, {"doc", out.doc}});
    if (out.emitted) outputs.back()["emits"] = fields_json(out.emits, false);
  }
  return {{"inputs", std::move(inputs)}, {"outputs", std::move(outputs)}};
}

ordered_json type_json(const std::string& of) {
  return of == "bytes" ? ordered_json("bytes") : ordered_json::parse(of);
}

ordered_json stores_json(const manifest& of) {
  auto made = ordered_json::array();
  for (const auto& s : of.stores) {
    made.push_back({{"name", s.name},
                    {"doc", s.doc},
                    {"key", type_json(s.key)},
                    {"value", type_json(s.value)},
                    {"version", s.version},
                    {"personal", s.personal}});
    if (!s.filled_by.empty()) made.back()["filled_by"] = s.filled_by;
  }
  return made;
}

ordered_json metrics_json(const manifest& of) {
  auto made = ordered_json::array();
  for (const auto& m : of.metrics) {
    made.push_back({{"name", m.name},
                    {"type", name_of(metric_type_names, m.type)},
                    {"unit", m.unit},
                    {"help", m.help}});
    if (!m.label.empty()) made.back()["label"] = {{"name", m.label}, {"values", m.label_values}};
  }
  return made;
}

ordered_json declassifies_json(const manifest& of) {
  auto made = ordered_json::array();
  for (const auto& d : of.declassifies) {
    made.push_back({{"name", d.name}, {"field", d.field}, {"removes", d.removes}});
    if (!d.unless.empty()) made.back()["unless"] = d.unless;
  }
  return made;
}

}  // namespace

std::string inspect_text(const manifest& of, const std::string& path) {
  std::string text;
  print_heads(of, path, text);
  print_ports(of, text);
  print_rest(of, text);
  table config;
  print_config(ordered_json::parse(of.config_schema_json), "", config);
  text += "config\n";
  std::string properties;
  config.print(properties, "  ");
  return text + (properties.empty() ? "  none\n" : properties);
}

std::string inspect_json(const manifest& of, const std::string& path) {
  ordered_json made = {{"path", path},
                       {"id", of.id},
                       {"version", of.version},
                       {"abi", {{"major", of.abi_major}, {"minor", of.abi_minor}}},
                       {"summary", of.summary},
                       {"licence", of.licence},
                       {"ordering", name_of(ordering_names, of.ordering)},
                       {"deterministic", of.deterministic},
                       {"purpose", name_of(purpose_names, of.purpose)}};
  made.update(ports_json(of));
  made["reasons"] = of.reasons;
  made["stores"] = stores_json(of);
  made["timers"] = of.timers;
  made["metrics"] = metrics_json(of);
  made["services"] = of.services;
  made["secrets"] = of.secrets;
  made["declassifies"] = declassifies_json(of);
  made["config"] = ordered_json::parse(of.config_schema_json);
  return made.dump();
}

}  // namespace sonder
