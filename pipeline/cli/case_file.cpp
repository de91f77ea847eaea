#include "cli/case_file.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "plugin/config_schema.h"

namespace sonder::cli {
namespace {

using nlohmann::json;

constexpr std::string_view case_day = "2026-01-05T";
constexpr int depth_max = 32;

// Thrown inside this file only: a walk over YAML is a deep recursion, and the first mistake ends
// it.
struct mistake {
  YAML::Mark at;
  std::string message;
};

std::string place(const YAML::Mark& at) {
  return std::to_string(at.line + 1) + ":" + std::to_string(at.column + 1);
}
std::string place(const std::string& path, const YAML::Mark& at) {
  return path + ":" + place(at);
}

bool is_digits(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// `10:00` or `10:00:05`: a time of the case's day.
std::optional<std::string> time_of_day(const std::string& text) {
  if (text.size() != 5 && text.size() != 8) return std::nullopt;
  for (std::size_t i = 0; i < text.size(); ++i)
    if (i % 3 == 2 ? text[i] != ':' : !is_digits(text.substr(i, 1))) return std::nullopt;
  return std::string(case_day) + text + (text.size() == 5 ? ":00Z" : "Z");
}

json scalar(const YAML::Node& node) {
  const auto& text = node.Scalar();
  if (node.Tag() == "!") return text;  // quoted: text, whatever it looks like
  if (text == "null" || text == "~" || text.empty()) return nullptr;
  if (text == "true") return true;
  if (text == "false") return false;
  if (const auto time = time_of_day(text)) return *time;
  if ((text[0] == '-' || is_digits(text.substr(0, 1))) && json::accept(text))
    return json::parse(text);
  return text;
}

json to_json(const YAML::Node& node, int depth = 0) {
  if (depth > depth_max)
    throw mistake{node.Mark(), "nested deeper than " + std::to_string(depth_max) + " levels"};
  switch (node.Type()) {
    case YAML::NodeType::Map: {
      auto out = json::object();
      for (const auto& entry : node) out[entry.first.Scalar()] = to_json(entry.second, depth + 1);
      return out;
    }
    case YAML::NodeType::Sequence: {
      auto out = json::array();
      for (const auto& item : node) out.push_back(to_json(item, depth + 1));
      return out;
    }
    case YAML::NodeType::Scalar:
      return scalar(node);
    default:
      return nullptr;
  }
}

const YAML::Node& require(const YAML::Node& node, YAML::NodeType::value type,
                          const std::string& what) {
  if (node.Type() != type) throw mistake{node.Mark(), what};
  return node;
}

case_step read_step(const YAML::Node& node) {
  if (node.IsScalar() && node.Scalar() == "run") return {"", "", place(node.Mark())};
  require(node, YAML::NodeType::Map, "a step must be `topic: {field: value}` or `run`");
  if (node.size() != 1)
    throw mistake{node.Mark(), "a step has one topic, found " + std::to_string(node.size())};
  const auto entry = *node.begin();
  require(entry.second, YAML::NodeType::Map, "an event must be `{field: value}`");
  return {entry.first.Scalar(), to_json(entry.second).dump(), place(entry.first.Mark())};
}

std::map<std::string, std::map<std::string, std::uint64_t>> read_counts(const YAML::Node& node,
                                                                        std::map<std::string, std::string>& places) {
  require(node, YAML::NodeType::Map, "must be {stage: {reason: count}}");
  std::map<std::string, std::map<std::string, std::uint64_t>> out;
  for (const auto& stage : node) {
    require(stage.second, YAML::NodeType::Map, "must be {reason: count}");
    auto& counts = out[stage.first.Scalar()];
    places[stage.first.Scalar()] = place(stage.first.Mark());
    for (const auto& reason : stage.second) {
      if (!reason.second.IsScalar() || !is_digits(reason.second.Scalar()) ||
          reason.second.Scalar().size() > 18)
        throw mistake{reason.second.Mark(), "a count must be a whole number"};
      counts[reason.first.Scalar()] = std::stoull(reason.second.Scalar());
    }
  }
  return out;
}

case_expectation read_expectation(const YAML::Node& node) {
  require(node, YAML::NodeType::Map,
          "`expect` must be {topic: [records], dropped: {...}, dead_letters: {...}}");
  case_expectation out;
  for (const auto& entry : node) {
    const auto& name = entry.first.Scalar();
    if (name == "dropped") {
      out.dropped = read_counts(entry.second, out.places);
    } else if (name == "dead_letters") {
      out.dead_letters = read_counts(entry.second, out.places);
    } else {
      require(entry.second, YAML::NodeType::Sequence,
              "the records of topic \"" + name + "\" must be a list");
      auto& records = out.records[name];
      out.places[name] = place(entry.first.Mark());
      for (const auto& record : entry.second) {
        records.push_back(
            to_json(require(record, YAML::NodeType::Map, "a record must be {field: value}"))
                .dump());
        out.record_places[name].push_back(place(record.Mark()));
      }
    }
  }
  return out;
}

void read_entry(const std::string& key, const YAML::Node& value, const YAML::Mark& at,
                flow_case& into) {
  if (key == "case") {
    into.name = require(value, YAML::NodeType::Scalar, "`case` must be a sentence").Scalar();
  } else if (key == "flow") {
    const std::filesystem::path flow =
        require(value, YAML::NodeType::Scalar, "`flow` must be a path").Scalar();
    into.flow =
        flow.is_absolute()
            ? flow.string()
            : (std::filesystem::path(into.file).parent_path() / flow).lexically_normal().string();
  } else if (key == "profile") {
    into.profile = require(value, YAML::NodeType::Scalar, "`profile` must be a name").Scalar();
  } else if (key == "set") {
    require(value, YAML::NodeType::Map, "`set` must be {a.b: value}");
    for (const auto& one : value)
      into.set.emplace_back(
          one.first.Scalar(),
          require(one.second, YAML::NodeType::Scalar, "must be one value").Scalar());
  } else if (key == "given") {
    require(value, YAML::NodeType::Sequence, "`given` must be a list of events");
    for (const auto& step : value) into.given.push_back(read_step(step));
  } else if (key == "expect") {
    into.expect = read_expectation(value);
  } else {
    throw mistake{at, "unknown key \"" + key + "\"; a case has case, flow, profile, set, given, expect" +
                          did_you_mean(key, {"case", "flow", "profile", "set", "given", "expect"})};
  }
}

flow_case read_case(const YAML::Node& node, const std::string& path) {
  require(node, YAML::NodeType::Map, "a case must be `case: ...` with flow, given and expect");
  flow_case out;
  out.file = path;
  out.line = node.Mark().line + 1;
  for (const auto& entry : node)
    read_entry(entry.first.Scalar(), entry.second, entry.first.Mark(), out);
  for (const auto& [key, there] : {std::pair{"case", !out.name.empty()},
                                   {"flow", !out.flow.empty()},
                                   {"given", node["given"].IsDefined()},
                                   {"expect", node["expect"].IsDefined()}})
    if (!there) throw mistake{node.Mark(), "the case has no `" + std::string(key) + "`"};
  return out;
}

const std::vector<std::string> matchers = {"above",  "below",   "contains",
                                           "lacks", "one_of", "present"};

// What is wrong with `{matcher: operand}` where no record or map can stand; empty: nothing.
std::string fault_of_matcher(const json& expected) {
  std::string all;
  for (const auto& one : matchers) all += (all.empty() ? "" : ", ") + one;
  if (expected.size() != 1) return "one value is due, or one of the matchers " + all;
  const auto& rule = expected.begin().key();
  const auto& operand = expected.begin().value();
  if (std::find(matchers.begin(), matchers.end(), rule) == matchers.end()) {
    const auto nearest = did_you_mean(rule, matchers);
    return "there is no matcher \"" + rule + "\"" + (nearest.empty() ? "; there are " + all : nearest);
  }
  if ((rule == "above" || rule == "below") && !operand.is_number())
    return "matcher \"" + rule + "\" needs a number";
  if (rule == "one_of" && !operand.is_array()) return "matcher \"one_of\" needs a list";
  if (rule == "present" && !operand.is_boolean()) return "matcher \"present\" needs true or false";
  return "";
}

status check_value(const schema& declared, const json& expected, const std::string& where) {
  const auto* inner = nullable_of(declared);
  const auto& of = inner != nullptr ? *inner : declared;
  // Of several branches any may stand, and a map may have any member: what is meant cannot be told.
  if (of.type == avro_type::map || of.type == avro_type::union_of) return {};
  if (expected.is_array()) {
    for (const auto& item : expected)
      if (of.type == avro_type::array) SONDER_TRY(check_value(*of.items, item, where));
    return {};
  }
  if (!expected.is_object() || expected.empty()) return {};
  if (of.type == avro_type::record) {
    const bool present = expected.size() == 1 && expected.contains("present") && of.find_field("present") == nullptr;
    if (present || (expected.size() == 1 && expected.contains("one_of") && of.find_field("one_of") == nullptr)) {
      const auto fault = fault_of_matcher(expected);
      return fault.empty() ? status{} : fail(errc::invalid, where + ": " + fault);
    }
    std::vector<std::string> names;
    for (const auto& field : of.fields) names.push_back(field.name);
    for (const auto& [name, value] : expected.items()) {
      const auto* field = of.find_field(name);
      if (field == nullptr)
        return fail(errc::not_found, (where.empty() ? "" : where + ": ") + "the schema has no field \"" + name + "\"" +
                                         did_you_mean(name, names));
      SONDER_TRY(check_value(*field->type, value, "field \"" + name + "\""));
    }
    return {};
  }
  const auto fault = fault_of_matcher(expected);
  return fault.empty() ? status{} : fail(errc::invalid, where + ": " + fault);
}

// `{above: 0}` and the like; nothing if the object is one of fields.
std::optional<bool> matches_rule(const json& expected, const json& found) {
  if (!expected.is_object() || expected.size() != 1) return std::nullopt;
  const auto& rule = expected.begin().key();
  const auto& value = expected.begin().value();
  if (rule == "present" && value.is_boolean()) return !found.is_null() == value.get<bool>();
  if (rule == "one_of" && value.is_array())
    return std::any_of(value.begin(), value.end(),
                       [&](const json& one) { return matches(one, found); });
  if ((rule == "above" || rule == "below") && value.is_number()) {
    if (!found.is_number()) return false;
    return rule == "above" ? found.get<double>() > value.get<double>()
                           : found.get<double>() < value.get<double>();
  }
  if ((rule == "contains" || rule == "lacks") && !found.is_object()) {
    const bool in =
        found.is_string() && value.is_string()
            ? found.get_ref<const std::string&>().find(value.get_ref<const std::string&>()) !=
                  std::string::npos
            : found.is_array() && std::find(found.begin(), found.end(), value) != found.end();
    return in == (rule == "contains");
  }
  return std::nullopt;
}

// Milliseconds of `2026-01-05T10:00:00Z`, since records print times as numbers.
std::optional<std::int64_t> as_time_ms(const json& value) {
  if (!value.is_string()) return std::nullopt;
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0;
  char end = 0;
  const auto& text = value.get_ref<const std::string&>();
  if (std::sscanf(text.c_str(), "%4d-%2d-%2dT%2d:%2d:%2d%c", &year, &month, &day, &hour, &minute,
                  &second, &end) != 7 ||
      end != 'Z')
    return std::nullopt;
  std::tm parts{};
  parts.tm_year = year - 1900;
  parts.tm_mon = month - 1;
  parts.tm_mday = day;
  parts.tm_hour = hour;
  parts.tm_min = minute;
  parts.tm_sec = second;
  return static_cast<std::int64_t>(::timegm(&parts)) * 1000;
}

// Pairs expectations with records so that as many as possible have one (augmenting paths): with
// partial expectations the first fit may take a record that another expectation needs.
bool pair_up(std::size_t e, const std::vector<std::vector<bool>>& fits, std::vector<int>& taken_by,
             std::vector<bool>& tried) {
  for (std::size_t f = 0; f < taken_by.size(); ++f) {
    if (!fits[e][f] || tried[f]) continue;
    tried[f] = true;
    if (taken_by[f] < 0 || pair_up(static_cast<std::size_t>(taken_by[f]), fits, taken_by, tried)) {
      taken_by[f] = static_cast<int>(e);
      return true;
    }
  }
  return false;
}

}  // namespace

status check_expected(const schema& of, const std::string& expected) {
  return check_value(of, json::parse(expected), "");
}

bool matches(const json& expected, const json& found) {
  if (const auto by_rule = matches_rule(expected, found)) return *by_rule;
  if (expected.is_object()) {
    if (!found.is_object()) return false;
    for (const auto& [key, value] : expected.items()) {
      const auto at = found.find(key);
      if (!matches(value, at == found.end() ? json() : *at)) return false;
    }
    return true;
  }
  if (expected.is_array()) {
    return found.is_array() && expected.size() == found.size() &&
           std::equal(expected.begin(), expected.end(), found.begin(),
                      [](const json& e, const json& f) { return matches(e, f); });
  }
  if (expected.is_number() && found.is_number())
    return std::abs(expected.get<double>() - found.get<double>()) <= 1e-6;
  if (found.is_number_integer())
    if (const auto time = as_time_ms(expected)) return *time == found.get<std::int64_t>();
  return expected == found;
}

std::vector<std::string> compare_records(const std::string& topic,
                                         const std::vector<std::string>& expected,
                                         const std::vector<std::string>& found) {
  std::vector<json> wanted, there;
  for (const auto& text : expected) wanted.push_back(json::parse(text));
  for (const auto& text : found) there.push_back(json::parse(text));
  std::vector<std::vector<bool>> fits(wanted.size(), std::vector<bool>(there.size()));
  for (std::size_t e = 0; e < wanted.size(); ++e)
    for (std::size_t f = 0; f < there.size(); ++f) fits[e][f] = matches(wanted[e], there[f]);
  std::vector<int> taken_by(there.size(), -1);
  std::vector<std::string> out;
  for (std::size_t e = 0; e < wanted.size(); ++e) {
    std::vector<bool> tried(there.size());
    if (!pair_up(e, fits, taken_by, tried))
      out.push_back("topic \"" + topic + "\": no record is " + expected[e]);
  }
  for (std::size_t f = 0; f < there.size(); ++f)
    if (taken_by[f] < 0) out.push_back("topic \"" + topic + "\": nobody expects " + found[f]);
  return out;
}

std::vector<std::string> compare_counts(const std::string& what, const std::string& node,
                                        const std::map<std::string, std::uint64_t>& expected,
                                        const std::map<std::string, std::uint64_t>& found) {
  std::vector<std::string> out;
  auto all = expected;
  for (const auto& [reason, count] : found) all.try_emplace(reason, 0);
  for (const auto& [reason, count] : all) {
    const auto at = found.find(reason);
    const auto is = at == found.end() ? 0 : at->second;
    if (is != count)
      out.push_back(what + " by \"" + node + "\" for \"" + reason + "\": expected " +
                    std::to_string(count) + ", found " + std::to_string(is));
  }
  return out;
}

result<std::vector<flow_case>> parse_cases(const std::string& yaml, const std::string& path) {
  try {
    std::vector<flow_case> out;
    for (const auto& document : YAML::LoadAll(yaml))
      if (!document.IsNull()) out.push_back(read_case(document, path));
    if (out.empty()) return fail(errc::invalid, path + ": holds no case");
    return out;
  } catch (const mistake& m) {
    return fail(errc::invalid, place(path, m.at) + ": " + m.message);
  } catch (const YAML::Exception& e) {
    return fail(errc::invalid, place(path, e.mark) + ": " + e.msg);
  }
}

result<std::vector<flow_case>> read_cases(const std::string& path) {
  std::ifstream file(path);
  if (!file) return fail(errc::not_found, path + ": cannot be read; is the path right?");
  std::ostringstream text;
  text << file.rdbuf();
  return parse_cases(text.str(), path);
}

}  // namespace sonder::cli
