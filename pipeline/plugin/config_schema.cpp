#include "plugin/config_schema.h"

#include <re2/re2.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <optional>

#include "plugin/strict_json.h"
#include "record/number_of.h"

namespace sonder {
namespace {

constexpr std::array<std::string_view, 7> type_names = {"null",    "boolean", "object", "array",
                                                        "integer", "number",  "string"};
constexpr std::array<std::string_view, 24> keywords = {"type",
                                                       "properties",
                                                       "required",
                                                       "additionalProperties",
                                                       "enum",
                                                       "const",
                                                       "default",
                                                       "minimum",
                                                       "maximum",
                                                       "exclusiveMinimum",
                                                       "exclusiveMaximum",
                                                       "minLength",
                                                       "maxLength",
                                                       "pattern",
                                                       "items",
                                                       "minItems",
                                                       "maxItems",
                                                       "uniqueItems",
                                                       "minProperties",
                                                       "maxProperties",
                                                       "title",
                                                       "description",
                                                       "examples",
                                                       "$schema"};

constexpr std::size_t pattern_bytes_max = 1024;
constexpr std::int64_t pattern_memory_bytes_max = std::int64_t{1} << 20;

bool is_integer(const ordered_json& v) {
  if (v.is_number_integer()) return true;
  return v.is_number_float() && std::isfinite(v.get<double>()) &&
         std::floor(v.get<double>()) == v.get<double>();
}

bool has_type(const ordered_json& v, std::string_view type) {
  if (type == "null") return v.is_null();
  if (type == "boolean") return v.is_boolean();
  if (type == "object") return v.is_object();
  if (type == "array") return v.is_array();
  if (type == "integer") return is_integer(v);
  if (type == "number") return v.is_number();
  return v.is_string();
}

/// JSON Schema's equality: 1 and 1.0 are equal, the order of properties means nothing.
bool equal(const ordered_json& a, const ordered_json& b) {
  if (a.is_number() && b.is_number()) return a == b;
  if (a.type() != b.type()) return false;
  if (a.is_array()) return std::equal(a.begin(), a.end(), b.begin(), b.end(), equal);
  if (!a.is_object()) return a == b;
  if (a.size() != b.size()) return false;
  return std::all_of(a.items().begin(), a.items().end(), [&](const auto& member) {
    const auto other = b.find(member.key());
    return other != b.end() && equal(member.value(), *other);
  });
}

/// Length as JSON Schema counts it, in code points.
std::size_t characters(const std::string& s) {
  return static_cast<std::size_t>(std::count_if(
      s.begin(), s.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string number_text(double v) {
  return ordered_json(v == std::floor(v) && std::abs(v) < 1e15
                          ? ordered_json(static_cast<std::int64_t>(v))
                          : ordered_json(v))
      .dump();
}

std::string a_or_an(std::string_view type) {
  if (type == "null") return "null";
  return (type[0] == 'a' || type[0] == 'i' || type[0] == 'o' ? "an " : "a ") + std::string(type);
}

std::string joined(const std::vector<std::string>& words, std::string_view between) {
  std::string all;
  for (const auto& w : words) all += (all.empty() ? "" : std::string(between)) + w;
  return all;
}

}  // namespace

std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates) {
  // Edit distance in one row; words are names, so the cost is small. Transpositions count as two.
  const auto distance = [](std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
    for (std::size_t i = 1; i <= a.size(); ++i) {
      auto diagonal = row[0];
      row[0] = i;
      for (std::size_t j = 1; j <= b.size(); ++j) {
        const auto above = row[j];
        row[j] =
            std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0U : 1U)});
        diagonal = above;
      }
    }
    return row[b.size()];
  };
  constexpr std::size_t word_bytes_max = 64;
  if (word.empty() || word.size() > word_bytes_max) return {};
  const std::string* best = nullptr;
  auto best_distance = std::max<std::size_t>(1, std::min<std::size_t>(word.size() / 2, 3)) + 1;
  for (const auto& c : candidates) {
    if (c.size() > word_bytes_max) continue;
    if (const auto d = distance(word, c); d < best_distance) {
      best = &c;
      best_distance = d;
    }
  }
  return best == nullptr ? std::string() : "; did you mean \"" + *best + "\"?";
}

/// One subschema, compiled. A missing keyword is an empty optional.
struct config_schema::node {
  std::vector<std::string> types;  ///< empty: any
  std::vector<std::string> names;  ///< of the properties,
  std::vector<node> properties;    ///< which go with them by position
  std::vector<std::string> required;
  bool additional_allowed = true;
  std::shared_ptr<const node> additional;
  std::optional<std::vector<ordered_json>> choices;  ///< enum; const is a choice of one
  std::optional<ordered_json> default_value;
  std::optional<double> minimum, maximum, above, below;
  std::optional<std::uint64_t> length_min, length_max, items_min, items_max, properties_min,
      properties_max;
  std::shared_ptr<const RE2> pattern;
  std::shared_ptr<const node> items;
  bool unique = false;

  [[nodiscard]] const node* find(std::string_view name) const {
    const auto at = std::find(names.begin(), names.end(), name);
    return at == names.end() ? nullptr : &properties[static_cast<std::size_t>(at - names.begin())];
  }
};

namespace {

using node = config_schema::node;

/// Thrown inside of `parse` only.
struct malformed {
  std::string at;
  std::string message;
};

// ---- Compiling a schema ----

class compiler {
 public:
  node compile(const ordered_json& schema, const std::string& at) {
    if (!schema.is_object()) throw malformed{at, "a schema is an object"};
    check_keywords(schema, at);
    node made;
    types(schema, at, made);
    object_keywords(schema, at, made);
    array_keywords(schema, at, made);
    string_keywords(schema, at, made);
    number_keywords(schema, at, made);
    if (const auto* v = get(schema, "enum")) {
      if (!v->is_array() || v->empty())
        throw malformed{at + "/enum", "wants an array with at least one value"};
      made.choices.emplace(v->begin(), v->end());
    }
    if (const auto* v = get(schema, "const")) {
      if (made.choices)
        throw malformed{at + "/const", "stands beside \"enum\"; use one of the two"};
      made.choices.emplace(1, *v);
    }
    if (const auto* v = get(schema, "default")) made.default_value = *v;
    return made;
  }

 private:
  static const ordered_json* get(const ordered_json& schema, const char* keyword) {
    const auto at = schema.find(keyword);
    return at == schema.end() ? nullptr : &*at;
  }

  static void check_keywords(const ordered_json& schema, const std::string& at) {
    for (const auto& member : schema.items()) {
      if (std::find(keywords.begin(), keywords.end(), member.key()) != keywords.end()) continue;
      throw malformed{at + pointer_step(member.key()),
                      "is not a keyword of the supported subset of JSON Schema" +
                          did_you_mean(member.key(), {keywords.begin(), keywords.end()})};
    }
    for (const char* words : {"title", "description", "pattern", "$schema"}) {
      if (const auto* v = get(schema, words); v != nullptr && !v->is_string()) {
        throw malformed{at + pointer_step(words), "wants a string"};
      }
    }
  }

  static void types(const ordered_json& schema, const std::string& at, node& made) {
    const auto* v = get(schema, "type");
    if (v == nullptr) return;
    const auto list = v->is_array() ? *v : ordered_json::array({*v});
    if (list.empty()) throw malformed{at + "/type", "wants at least one type"};
    for (const auto& t : list) {
      if (!t.is_string() || std::find(type_names.begin(), type_names.end(),
                                      t.get_ref<const std::string&>()) == type_names.end()) {
        throw malformed{at + "/type",
                        "wants null, boolean, object, array, integer, number or string"};
      }
      made.types.push_back(t.get<std::string>());
    }
  }

  void object_keywords(const ordered_json& schema, const std::string& at, node& made) {
    if (const auto* v = get(schema, "properties")) {
      if (!v->is_object()) throw malformed{at + "/properties", "wants an object"};
      for (const auto& member : v->items()) {
        made.names.push_back(member.key());
        made.properties.push_back(
            compile(member.value(), at + "/properties" + pointer_step(member.key())));
      }
    }
    if (const auto* v = get(schema, "required")) {
      if (!v->is_array()) throw malformed{at + "/required", "wants an array of names"};
      for (const auto& name : *v) {
        if (!name.is_string()) throw malformed{at + "/required", "wants an array of names"};
        made.required.push_back(name.get<std::string>());
      }
    }
    if (const auto* v = get(schema, "additionalProperties")) {
      if (v->is_boolean()) {
        made.additional_allowed = v->get<bool>();
      } else {
        made.additional = std::make_shared<const node>(compile(*v, at + "/additionalProperties"));
      }
    }
    made.properties_min = count(schema, at, "minProperties");
    made.properties_max = count(schema, at, "maxProperties");
  }

  void array_keywords(const ordered_json& schema, const std::string& at, node& made) {
    if (const auto* v = get(schema, "items"))
      made.items = std::make_shared<const node>(compile(*v, at + "/items"));
    made.items_min = count(schema, at, "minItems");
    made.items_max = count(schema, at, "maxItems");
    if (const auto* v = get(schema, "uniqueItems")) {
      if (!v->is_boolean()) throw malformed{at + "/uniqueItems", "wants true or false"};
      made.unique = v->get<bool>();
    }
  }

  static void string_keywords(const ordered_json& schema, const std::string& at, node& made) {
    made.length_min = count(schema, at, "minLength");
    made.length_max = count(schema, at, "maxLength");
    const auto* v = get(schema, "pattern");
    if (v == nullptr) return;
    const auto text = v->get<std::string>();
    if (text.size() > pattern_bytes_max) {
      throw malformed{at + "/pattern",
                      "has more than " + std::to_string(pattern_bytes_max) + " bytes"};
    }
    // RE2 has no back-references or look-around, and in return takes linear time on whatever a
    // configuration holds.
    RE2::Options options(RE2::Quiet);
    options.set_max_mem(pattern_memory_bytes_max);
    auto pattern = std::make_shared<const RE2>(text, options);
    if (!pattern->ok()) throw malformed{at + "/pattern", "is not a regular expression of RE2"};
    made.pattern = std::move(pattern);
  }

  static void number_keywords(const ordered_json& schema, const std::string& at, node& made) {
    made.minimum = number(schema, at, "minimum");
    made.maximum = number(schema, at, "maximum");
    made.above = number(schema, at, "exclusiveMinimum");
    made.below = number(schema, at, "exclusiveMaximum");
  }

  static std::optional<double> number(const ordered_json& schema, const std::string& at,
                                      const char* keyword) {
    const auto* v = get(schema, keyword);
    if (v == nullptr) return std::nullopt;
    if (!v->is_number()) throw malformed{at + pointer_step(keyword), "wants a number"};
    return v->get<double>();
  }

  static std::optional<std::uint64_t> count(const ordered_json& schema, const std::string& at,
                                            const char* keyword) {
    const auto* v = get(schema, keyword);
    if (v == nullptr) return std::nullopt;
    if (!is_integer(*v) || v->get<double>() < 0 || v->get<double>() > 9e15) {
      throw malformed{at + pointer_step(keyword), "wants a whole number, 0 or more"};
    }
    return static_cast<std::uint64_t>(v->get<double>());
  }
};

// ---- Checking a document ----

class checker {
 public:
  explicit checker(std::vector<config_problem>& problems) : problems_(problems) {}

  void check(const node& schema, ordered_json& value, const std::string& at) {
    if (problems_.size() >= config_problems_max) return;
    if (!schema.types.empty() && std::none_of(schema.types.begin(), schema.types.end(),
                                              [&](const auto& t) { return has_type(value, t); })) {
      std::vector<std::string> wanted;
      for (const auto& t : schema.types) wanted.push_back(a_or_an(t));
      return report(at,
                    "wants " + joined(wanted, " or ") + ", found " + a_or_an(found_type(value)) + hint(schema, value));
    }
    if (schema.choices && std::none_of(schema.choices->begin(), schema.choices->end(),
                                       [&](const auto& c) { return equal(c, value); })) {
      return report(at, "wants one of " + choices(schema) + suggestion(schema, value));
    }
    if (value.is_object()) check_object(schema, value, at);
    if (value.is_array()) check_array_value(schema, value, at);
    if (value.is_string()) check_string(schema, value.get_ref<const std::string&>(), at);
    if (value.is_number()) check_number(schema, value.get<double>(), at);
  }

 private:
  void report(const std::string& at, std::string message) {
    if (problems_.size() < config_problems_max) problems_.push_back({at, std::move(message)});
  }

  static std::string_view found_type(const ordered_json& v) {
    for (const auto t : type_names) {
      if (has_type(v, t)) return t;
    }
    return "value";
  }

  // `yes` is a text in YAML 1.2 and JSON, whatever older YAML said.
  static std::string hint(const node& schema, const ordered_json& value) {
    const bool wants_boolean = std::find(schema.types.begin(), schema.types.end(), "boolean") != schema.types.end();
    return wants_boolean && value.is_string() ? "; write true or false" : "";
  }

  static std::string listed(const std::vector<std::string>& names) {
    constexpr std::size_t shown_max = 12;
    if (names.empty()) return "is none";
    std::vector<std::string> shown(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(std::min(names.size(), shown_max)));
    if (names.size() > shown_max) shown.emplace_back("...");
    return (names.size() == 1 ? "is " : "are ") + joined(shown, ", ");
  }

  static std::string choices(const node& schema) {
    constexpr std::size_t shown_max = 12;
    std::vector<std::string> shown;
    for (const auto& c : *schema.choices) {
      if (shown.size() == shown_max) {
        shown.emplace_back("...");
        break;
      }
      shown.push_back(c.dump());
    }
    return joined(shown, ", ");
  }

  static std::string suggestion(const node& schema, const ordered_json& value) {
    if (!value.is_string()) return {};
    std::vector<std::string> names;
    for (const auto& c : *schema.choices) {
      if (c.is_string()) names.push_back(c.get<std::string>());
    }
    return did_you_mean(value.get_ref<const std::string&>(), names);
  }

  void check_object(const node& schema, ordered_json& value, const std::string& at) {
    // Before defaults come in: counts and `required` are about what was written.
    const auto written = value.size();
    for (const auto& name : schema.required) {
      if (!value.contains(name)) report(at, "lacks the property \"" + name + "\"");
    }
    if (schema.properties_min && written < *schema.properties_min) {
      report(at, "wants at least " + std::to_string(*schema.properties_min) + " properties");
    }
    if (schema.properties_max && written > *schema.properties_max) {
      report(at, "wants at most " + std::to_string(*schema.properties_max) + " properties");
    }
    for (auto& member : value.items()) {
      const auto place = at + pointer_step(member.key());
      if (const auto* of = schema.find(member.key())) {
        check(*of, member.value(), place);
      } else if (!schema.additional_allowed) {
        const auto nearest = did_you_mean(member.key(), schema.names);
        report(place, "no such property" + (nearest.empty() ? "; there " + listed(schema.names) : nearest));
      } else if (schema.additional) {
        check(*schema.additional, member.value(), place);
      }
    }
    for (std::size_t i = 0; i < schema.names.size(); ++i) {
      const auto& name = schema.names[i];
      const auto& of = schema.properties[i];
      if (!of.default_value || value.contains(name)) continue;
      value[name] = *of.default_value;
      check(of, value[name], at + pointer_step(name));
    }
  }

  void check_array_value(const node& schema, ordered_json& value, const std::string& at) {
    if (schema.items_min && value.size() < *schema.items_min) {
      report(at, "wants at least " + number_of(*schema.items_min, "entry", "entries"));
    }
    if (schema.items_max && value.size() > *schema.items_max) {
      report(at, "wants at most " + number_of(*schema.items_max, "entry", "entries"));
    }
    if (schema.unique) check_unique(value, at);
    if (!schema.items) return;
    for (std::size_t i = 0; i < value.size(); ++i)
      check(*schema.items, value[i], at + "/" + std::to_string(i));
  }

  void check_unique(const ordered_json& value, const std::string& at) {
    // Quadratic work is bounded: longer arrays are refused outright.
    constexpr std::size_t unique_entries_max = 4096;
    if (value.size() > unique_entries_max) {
      return report(
          at, "wants at most " + std::to_string(unique_entries_max) + " entries, each different");
    }
    for (std::size_t i = 0; i < value.size(); ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        if (!equal(value[i], value[j])) continue;
        return report(at + "/" + std::to_string(i), "is there before; entries must differ");
      }
    }
  }

  void check_string(const node& schema, const std::string& value, const std::string& at) {
    if (schema.length_min && characters(value) < *schema.length_min) {
      report(at, "wants at least " + number_of(*schema.length_min, "character"));
    }
    if (schema.length_max && characters(value) > *schema.length_max) {
      report(at, "wants at most " + number_of(*schema.length_max, "character"));
    }
    if (schema.pattern && !RE2::PartialMatch(value, *schema.pattern)) {
      report(at, "does not match the pattern " + ordered_json(schema.pattern->pattern()).dump());
    }
  }

  void check_number(const node& schema, double value, const std::string& at) {
    if (schema.minimum && value < *schema.minimum)
      report(at, "wants at least " + number_text(*schema.minimum));
    if (schema.maximum && value > *schema.maximum)
      report(at, "wants at most " + number_text(*schema.maximum));
    if (schema.above && value <= *schema.above)
      report(at, "wants more than " + number_text(*schema.above));
    if (schema.below && value >= *schema.below)
      report(at, "wants less than " + number_text(*schema.below));
  }

  std::vector<config_problem>& problems_;
};

/// Holds every default to its own schema, once, so that a configuration is never blamed for a
/// manifest.
void check_defaults(const node& schema, const std::string& at) {
  if (schema.default_value) {
    std::vector<config_problem> problems;
    auto copy = *schema.default_value;
    checker(problems).check(schema, copy, "");
    if (!problems.empty()) {
      throw malformed{at + "/default" + problems[0].pointer,
                      "its own schema refuses it: " + problems[0].message};
    }
  }
  for (std::size_t i = 0; i < schema.names.size(); ++i) {
    check_defaults(schema.properties[i], at + "/properties" + pointer_step(schema.names[i]));
  }
  if (schema.items) check_defaults(*schema.items, at + "/items");
  if (schema.additional) check_defaults(*schema.additional, at + "/additionalProperties");
}

}  // namespace

result<config_schema> config_schema::parse(std::string_view schema_json) {
  const auto parsed = parse_strict_json(schema_json, config_bytes_max, 2 * config_schema_depth_max);
  if (!parsed) return tl::unexpected(parsed.error());
  try {
    auto root = std::make_shared<node>(compiler().compile(*parsed, ""));
    check_defaults(*root, "");
    return config_schema(std::move(root));
  } catch (const malformed& e) {
    return fail(errc::invalid, e.at + ": " + e.message);
  }
}

checked_config config_schema::check(std::string_view config_json) const {
  checked_config made;
  auto parsed = parse_strict_json(config_json, config_bytes_max, 4 * config_schema_depth_max);
  if (!parsed) {
    made.problems.push_back({"", parsed.error().message});
    return made;
  }
  checker(made.problems).check(*root_, *parsed, "");
  made.json = parsed->dump();
  return made;
}

}  // namespace sonder
