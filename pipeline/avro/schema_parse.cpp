#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <unordered_set>

#include "avro/json_nesting.h"
#include "avro/schema.h"
#include "avro/schema_default.h"

namespace sonder {

namespace {

using json = nlohmann::json;

// A level of the schema takes at most four of JSON (record, its list of fields, a field, its type).
constexpr std::size_t json_depth_max = 4 * schema_depth_max;
constexpr std::size_t union_branches_max = 127;  // type ids of a dense union are int8

bool is_simple_name(std::string_view text) {
  const auto letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  };
  if (text.empty() || !letter(text[0])) return false;
  return std::all_of(text.begin(), text.end(),
                     [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

bool is_full_name(std::string_view text) {
  for (;;) {
    const auto dot = text.find('.');
    if (!is_simple_name(text.substr(0, dot))) return false;
    if (dot == text.npos) return true;
    text.remove_prefix(dot + 1);
  }
}

std::optional<avro_type> primitive(std::string_view name) {
  static constexpr std::pair<std::string_view, avro_type> known[] = {
      {"null", avro_type::null},   {"boolean", avro_type::boolean}, {"int", avro_type::int32},
      {"long", avro_type::int64},  {"float", avro_type::float32},   {"double", avro_type::float64},
      {"bytes", avro_type::bytes}, {"string", avro_type::string},
  };
  for (const auto& [text, type] : known) {
    if (text == name) return type;
  }
  return std::nullopt;
}

/// Keys that the specification defines, which are not attributes.
bool is_defined_key(std::string_view key, avro_type type) {
  if (key == "type") return true;
  const bool named =
      type == avro_type::record || type == avro_type::enumeration || type == avro_type::fixed;
  if (named && (key == "name" || key == "namespace" || key == "aliases" || key == "doc"))
    return true;
  switch (type) {
    case avro_type::record:
      return key == "fields";
    case avro_type::enumeration:
      return key == "symbols" || key == "default";
    case avro_type::array:
      return key == "items";
    case avro_type::map:
      return key == "values";
    case avro_type::fixed:
      return key == "size";
    default:
      return false;
  }
}

std::string in_quotes(std::string_view text) {
  constexpr std::size_t shown_max = 80;
  std::string out;
  out.push_back('"');
  out.append(text.substr(0, shown_max));
  out.append(text.size() > shown_max ? "...\"" : "\"");
  return out;
}

/// Reads one schema text. Definitions of named types are known from their end on, so that a use
/// inside is a recursion.
class schema_parser {
 public:
  result<schema_ptr> parse(const json& from, const std::string& space, std::size_t depth) {
    if (depth > schema_depth_max) {
      return fail(errc::capacity,
                  "nested deeper than " + std::to_string(schema_depth_max) + " levels");
    }
    if (from.is_string()) return by_name(from.get_ref<const std::string&>(), space);
    if (from.is_array()) return parse_union(from, space, depth);
    if (from.is_object()) return parse_object(from, space, depth);
    return fail(errc::invalid, "a schema is a string, an array or an object");
  }

 private:
  result<schema_ptr> by_name(const std::string& name, const std::string& space) {
    if (const auto type = primitive(name)) {
      auto node = std::make_shared<schema>();
      node->type = *type;
      return node;
    }
    const bool qualified = name.find('.') != name.npos || space.empty();
    for (const std::string& full : {qualified ? name : space + "." + name, name}) {
      if (const auto known = names_.find(full); known != names_.end()) return known->second;
      if (open_.contains(full)) {
        return fail(errc::unsupported,
                    "schema " + in_quotes(full) +
                        " contains itself; columns cannot hold a recursive schema");
      }
    }
    return fail(errc::invalid, "unknown type " + in_quotes(name));
  }

  result<schema_ptr> parse_union(const json& from, const std::string& space, std::size_t depth) {
    if (from.empty()) return fail(errc::invalid, "a union has no branches");
    if (from.size() > union_branches_max) {
      return fail(errc::capacity,
                  "a union has more than " + std::to_string(union_branches_max) + " branches");
    }
    auto node = std::make_shared<schema>();
    node->type = avro_type::union_of;
    std::set<std::string> seen;
    for (const json& branch_json : from) {
      auto branch = parse(branch_json, space, depth + 1);
      if (!branch) return branch;
      const schema& b = **branch;
      if (b.type == avro_type::union_of)
        return fail(errc::invalid, "a union directly inside a union");
      if (!seen.insert(branch_name(b)).second) {
        return fail(errc::invalid, "a union has two branches of type " + in_quotes(branch_name(b)));
      }
      SONDER_TRY(adopt(*node, b));
      node->branches.push_back(*std::move(branch));
    }
    return node;
  }

  static std::string branch_name(const schema& b) {
    if (b.named()) return b.full_name();
    if (b.type == avro_type::array) return "array";
    if (b.type == avro_type::map) return "map";
    schema bare;
    bare.type = b.type;
    return to_string(bare);
  }

  /// Counts a child into its parent.
  static status adopt(schema& parent, const schema& child) {
    parent.nodes += child.nodes;
    parent.depth = std::max(parent.depth, child.depth + 1);
    if (parent.nodes > schema_nodes_max) {
      return fail(errc::capacity, "written out in full the schema has more than " +
                                      std::to_string(schema_nodes_max) + " nodes");
    }
    if (parent.depth > schema_depth_max) {
      return fail(errc::capacity,
                  "nested deeper than " + std::to_string(schema_depth_max) + " levels");
    }
    return {};
  }

  result<schema_ptr> parse_object(const json& from, const std::string& space, std::size_t depth) {
    const auto type = from.find("type");
    if (type == from.end()) return fail(errc::invalid, "a schema object has no \"type\"");
    if (!type->is_string()) return parse_wrapped(from, *type, space, depth);
    const std::string& name = type->get_ref<const std::string&>();
    auto node = std::make_shared<schema>();
    if (name == "record" || name == "error")
      return parse_record(from, space, depth, std::move(node));
    if (name == "enum") return parse_enum(from, space, std::move(node));
    if (name == "fixed") return parse_fixed(from, space, std::move(node));
    if (name == "array" || name == "map") {
      node->type = name == "array" ? avro_type::array : avro_type::map;
      const char* key = name == "array" ? "items" : "values";
      const auto inner = from.find(key);
      if (inner == from.end()) return fail(errc::invalid, name + " has no \"" + key + "\"");
      auto items = parse(*inner, space, depth + 1);
      if (!items) return tl::unexpected(items.error().at(std::string(key) + " of " + name));
      SONDER_TRY(adopt(*node, **items));
      node->items = *std::move(items);
    } else if (const auto simple = primitive(name)) {
      node->type = *simple;
    } else {
      return by_name(name, space);
    }
    take_attributes(from, *node);
    return node;
  }

  /// `{"type": {...}, "x": 1}`: the inner schema, with the outer attributes where it has no name to
  /// share.
  result<schema_ptr> parse_wrapped(const json& from, const json& inner, const std::string& space,
                                   std::size_t depth) {
    auto node = parse(inner, space, depth + 1);
    if (!node || (*node)->named() || (*node)->type == avro_type::union_of || from.size() == 1)
      return node;
    auto copy = std::make_shared<schema>(**node);
    take_attributes(from, *copy);
    return copy;
  }

  /// Reads name, namespace, aliases and doc of a named type and opens its definition.
  status open_named(const json& from, const std::string& space, schema& node) {
    const auto name = from.find("name");
    if (name == from.end() || !name->is_string())
      return fail(errc::invalid, "a named type has no \"name\"");
    std::string full = name->get<std::string>();
    node.space = space;
    if (const auto own = from.find("namespace"); own != from.end() && !own->is_null()) {
      if (!own->is_string())
        return fail(errc::invalid, "\"namespace\" of " + in_quotes(full) + " is no string");
      node.space = own->get<std::string>();
    }
    if (const auto dot = full.rfind('.'); dot != full.npos) {
      node.space = full.substr(0, dot);
      full = full.substr(dot + 1);
    }
    node.name = full;
    if (!is_simple_name(node.name))
      return fail(errc::invalid, in_quotes(node.name) + " is no valid name");
    if (!node.space.empty() && !is_full_name(node.space)) {
      return fail(errc::invalid, in_quotes(node.space) + " is no valid namespace");
    }
    if (node.space.empty() && primitive(node.name)) {
      return fail(errc::invalid, in_quotes(node.name) + " is the name of a primitive type");
    }
    if (names_.contains(node.full_name()) || !open_.insert(node.full_name()).second) {
      return fail(errc::invalid, "the name " + in_quotes(node.full_name()) + " is defined twice");
    }
    auto aliases = read_aliases(from, node.space);
    if (!aliases) return tl::unexpected(aliases.error().at(in_quotes(node.full_name())));
    node.aliases = *std::move(aliases);
    return read_doc(from, node.doc);
  }

  static status read_doc(const json& from, std::string& doc) {
    if (const auto found = from.find("doc"); found != from.end() && !found->is_null()) {
      if (!found->is_string()) return fail(errc::invalid, "\"doc\" is no string");
      doc = found->get<std::string>();
    }
    return {};
  }

  /// Aliases of a named type become full names; those of a field (`space` null) stay as they are.
  static result<std::vector<std::string>> read_aliases(const json& from,
                                                       std::optional<std::string> space) {
    std::vector<std::string> to;
    const auto found = from.find("aliases");
    if (found == from.end() || found->is_null()) return to;
    if (!found->is_array()) return fail(errc::invalid, "\"aliases\" is no array");
    for (const json& alias : *found) {
      if (!alias.is_string() || !is_full_name(alias.get_ref<const std::string&>())) {
        return fail(errc::invalid, "an alias is no valid name");
      }
      std::string name = alias.get<std::string>();
      if (space && !space->empty() && name.find('.') == name.npos) name = *space + "." + name;
      to.push_back(std::move(name));
    }
    return to;
  }

  schema_ptr close_named(std::shared_ptr<schema> node) {
    open_.erase(node->full_name());
    names_[node->full_name()] = node;
    return node;
  }

  result<schema_ptr> parse_record(const json& from, const std::string& space, std::size_t depth,
                                  std::shared_ptr<schema> node) {
    node->type = avro_type::record;
    SONDER_TRY(open_named(from, space, *node));
    const auto fields = from.find("fields");
    if (fields == from.end() || !fields->is_array()) {
      return fail(errc::invalid,
                  "record " + in_quotes(node->full_name()) + " has no array of \"fields\"");
    }
    std::unordered_set<std::string> names;
    for (const json& field_json : *fields) {
      auto f = parse_field(field_json, *node, depth);
      if (!f) return tl::unexpected(std::move(f).error());
      if (!names.insert(f->name).second) {
        return fail(errc::invalid, "record " + in_quotes(node->full_name()) + " has two fields " +
                                       in_quotes(f->name));
      }
      SONDER_TRY(adopt(*node, *f->type));
      node->fields.push_back(*std::move(f));
    }
    take_attributes(from, *node);
    return close_named(std::move(node));
  }

  result<schema_field> parse_field(const json& from, const schema& parent, std::size_t depth) {
    const std::string of = " of " + in_quotes(parent.full_name());
    if (!from.is_object()) return fail(errc::invalid, "a field" + of + " is no object");
    const auto name = from.find("name");
    if (name == from.end() || !name->is_string() ||
        !is_simple_name(name->get_ref<const std::string&>())) {
      return fail(errc::invalid, "a field" + of + " has no valid \"name\"");
    }
    schema_field to;
    to.name = name->get<std::string>();
    const std::string place = "field " + in_quotes(to.name) + of;
    const auto type = from.find("type");
    if (type == from.end()) return fail(errc::invalid, place + ": has no \"type\"");
    auto node = parse(*type, parent.space, depth + 1);
    if (!node) return tl::unexpected(node.error().at(place));
    to.type = *std::move(node);
    if (auto read = read_doc(from, to.doc); !read) return tl::unexpected(read.error().at(place));
    auto aliases = read_aliases(from, std::nullopt);
    if (!aliases) return tl::unexpected(aliases.error().at(place));
    to.aliases = *std::move(aliases);
    if (auto read = read_order(from, to.order); !read)
      return tl::unexpected(read.error().at(place));
    if (const auto given = from.find("default"); given != from.end()) {
      to.default_json = given->dump();
      if (auto fits = check_default(*to.type, *to.default_json); !fits) {
        return tl::unexpected(fits.error().at(place + ": default"));
      }
    }
    for (const auto& [key, value] : from.items()) {
      static const std::set<std::string_view> defined = {"name",    "type",  "doc",
                                                         "aliases", "order", "default"};
      if (!defined.contains(key)) to.attributes.push_back({key, value.dump()});
    }
    return to;
  }

  static status read_order(const json& from, sort_order& order) {
    const auto found = from.find("order");
    if (found == from.end()) return {};
    const std::string text = found->is_string() ? found->get<std::string>() : "";
    if (text == "ascending")
      order = sort_order::ascending;
    else if (text == "descending")
      order = sort_order::descending;
    else if (text == "ignore")
      order = sort_order::ignore;
    else
      return fail(errc::invalid, "\"order\" is none of ascending, descending, ignore");
    return {};
  }

  result<schema_ptr> parse_enum(const json& from, const std::string& space,
                                std::shared_ptr<schema> node) {
    node->type = avro_type::enumeration;
    SONDER_TRY(open_named(from, space, *node));
    const std::string place = "enum " + in_quotes(node->full_name());
    const auto symbols = from.find("symbols");
    if (symbols == from.end() || !symbols->is_array() || symbols->empty()) {
      return fail(errc::invalid, place + " has no \"symbols\"");
    }
    std::unordered_set<std::string> seen;
    for (const json& symbol : *symbols) {
      if (!symbol.is_string() || !is_simple_name(symbol.get_ref<const std::string&>())) {
        return fail(errc::invalid, place + ": a symbol is no valid name");
      }
      node->symbols.push_back(symbol.get<std::string>());
      if (!seen.insert(node->symbols.back()).second) {
        return fail(errc::invalid,
                    place + " has the symbol " + in_quotes(node->symbols.back()) + " twice");
      }
    }
    if (const auto given = from.find("default"); given != from.end()) {
      if (!given->is_string() || !seen.contains(given->get<std::string>())) {
        return fail(errc::invalid, place + ": its default is none of its symbols");
      }
      node->symbol_default = given->get<std::string>();
    }
    take_attributes(from, *node);
    return close_named(std::move(node));
  }

  result<schema_ptr> parse_fixed(const json& from, const std::string& space,
                                 std::shared_ptr<schema> node) {
    node->type = avro_type::fixed;
    SONDER_TRY(open_named(from, space, *node));
    const auto size = from.find("size");
    if (size == from.end() || !size->is_number_integer() || size->get<double>() < 0 ||
        size->get<double>() > fixed_size_max) {
      return fail(errc::invalid, "fixed " + in_quotes(node->full_name()) +
                                     " has no \"size\" from 0 to " +
                                     std::to_string(fixed_size_max));
    }
    node->size = size->get<std::int32_t>();
    take_attributes(from, *node);
    return close_named(std::move(node));
  }

  /// Everything that the specification does not define, and the logical type where it fits.
  static void take_attributes(const json& from, schema& node) {
    const bool logical = take_logical(from, node);
    for (const auto& [key, value] : from.items()) {
      if (is_defined_key(key, node.type)) continue;
      if (logical && key == "logicalType") continue;
      if (logical && node.logical == logical_type::decimal &&
          (key == "precision" || key == "scale"))
        continue;
      const auto at = std::lower_bound(
          node.attributes.begin(), node.attributes.end(), key,
          [](const schema_attribute& a, const std::string& k) { return a.name < k; });
      if (at != node.attributes.end() && at->name == key) {
        at->json = value.dump();
      } else {
        node.attributes.insert(at, {key, value.dump()});
      }
    }
  }

  static bool take_logical(const json& from, schema& node) {
    const auto found = from.find("logicalType");
    if (found == from.end() || !found->is_string()) return false;
    const std::string& name = found->get_ref<const std::string&>();
    if (name == "decimal") return take_decimal(from, node);
    struct known {
      std::string_view name;
      avro_type on;
      logical_type type;
    };
    static constexpr known all[] = {
        {"date", avro_type::int32, logical_type::date},
        {"time-millis", avro_type::int32, logical_type::time_millis},
        {"time-micros", avro_type::int64, logical_type::time_micros},
        {"timestamp-millis", avro_type::int64, logical_type::timestamp_millis},
        {"timestamp-micros", avro_type::int64, logical_type::timestamp_micros},
        {"local-timestamp-millis", avro_type::int64, logical_type::local_timestamp_millis},
        {"local-timestamp-micros", avro_type::int64, logical_type::local_timestamp_micros},
        {"uuid", avro_type::string, logical_type::uuid},
    };
    for (const known& k : all) {
      if (k.name == name && k.on == node.type) node.logical = k.type;
    }
    if (name == "uuid" && node.type == avro_type::fixed && node.size == 16)
      node.logical = logical_type::uuid;
    if (name == "duration" && node.type == avro_type::fixed && node.size == 12)
      node.logical = logical_type::duration;
    return node.logical != logical_type::none;
  }

  static bool take_decimal(const json& from, schema& node) {
    if (node.type != avro_type::bytes && node.type != avro_type::fixed) return false;
    const auto number = [&](const char* key, double otherwise) {
      const auto found = from.find(key);
      if (found == from.end()) return otherwise;
      return found->is_number_integer() ? found->get<double>() : -1.0;
    };
    const double precision = number("precision", -1);
    const double scale = number("scale", 0);
    const double digits_max = node.type == avro_type::bytes
                                  ? std::numeric_limits<std::int32_t>::max()
                                  : std::floor((8.0 * node.size - 1) * std::log10(2.0));
    if (precision < 1 || precision > digits_max || scale < 0 || scale > precision) return false;
    node.logical = logical_type::decimal;
    node.precision = static_cast<std::int32_t>(precision);
    node.scale = static_cast<std::int32_t>(scale);
    return true;
  }

  std::map<std::string, schema_ptr> names_;
  std::set<std::string> open_;
};

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

}  // namespace

result<schema_ptr> parse_schema(std::string_view text) {
  if (text.size() > schema_bytes_max) {
    return fail(errc::capacity,
                "schema: longer than " + std::to_string(schema_bytes_max) + " bytes");
  }
  if (nesting_of(text) > json_depth_max) {
    return fail(errc::capacity,
                "schema: nested deeper than " + std::to_string(schema_depth_max) + " levels");
  }
  json parsed;
  if (const auto bare = trimmed(text); is_full_name(bare)) {
    parsed = std::string(bare);
  } else {
    try {
      parsed = json::parse(text);
    } catch (const json::parse_error& e) {
      if (bare.empty()) return fail(errc::invalid, "schema: is empty");
      return fail(errc::invalid, "schema: no valid JSON at byte " + std::to_string(e.byte));
    } catch (const json::out_of_range&) {
      return fail(errc::invalid, "schema: holds a number beyond the range of a double");
    }
  }
  auto node = schema_parser().parse(parsed, "", 1);
  if (!node) return tl::unexpected(node.error().at("schema"));
  return node;
}

}  // namespace sonder
