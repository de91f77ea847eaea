#include "record/type.h"

#include <algorithm>
#include <charconv>
#include <memory>
#include <optional>

namespace sonder {

bool data_type::operator==(const data_type& other) const {
  return id == other.id && size == other.size && scale == other.scale && symbols == other.symbols &&
         fields == other.fields;
}

bool field::operator==(const field& other) const {
  return name == other.name && nullable == other.nullable && type == other.type;
}

std::string arrow_format(const data_type& type) {
  switch (type.id) {
    case type_id::null:
      return "n";
    case type_id::boolean:
      return "b";
    case type_id::int32:
      return "i";
    case type_id::int64:
      return "l";
    case type_id::float32:
      return "f";
    case type_id::float64:
      return "g";
    case type_id::utf8:
      return "u";
    case type_id::binary:
      return "z";
    case type_id::fixed_binary:
      return "w:" + std::to_string(type.size);
    case type_id::enumeration:
      return "i";
    case type_id::date32:
      return "tdD";
    case type_id::time_ms:
      return "ttm";
    case type_id::time_us:
      return "ttu";
    case type_id::timestamp_ms:
      return "tsm:UTC";
    case type_id::timestamp_us:
      return "tsu:UTC";
    case type_id::local_timestamp_ms:
      return "tsm:";
    case type_id::local_timestamp_us:
      return "tsu:";
    case type_id::decimal128:
      return "d:" + std::to_string(type.size) + "," + std::to_string(type.scale);
    case type_id::list:
      return "+l";
    case type_id::map:
      return "+m";
    case type_id::record:
      return "+s";
    case type_id::dense_union: {
      std::string format = "+ud:";
      for (std::size_t i = 0; i < type.fields.size(); ++i) {
        if (i != 0) format += ',';
        format += std::to_string(i);
      }
      return format;
    }
  }
  return "";
}

namespace {

std::string_view simple_name(type_id id) {
  switch (id) {
    case type_id::null:
      return "null";
    case type_id::boolean:
      return "boolean";
    case type_id::int32:
      return "int32";
    case type_id::int64:
      return "int64";
    case type_id::float32:
      return "float32";
    case type_id::float64:
      return "float64";
    case type_id::utf8:
      return "string";
    case type_id::binary:
      return "binary";
    case type_id::fixed_binary:
      return "fixed";
    case type_id::enumeration:
      return "enum";
    case type_id::date32:
      return "date";
    case type_id::time_ms:
      return "time_ms";
    case type_id::time_us:
      return "time_us";
    case type_id::timestamp_ms:
      return "timestamp_ms";
    case type_id::timestamp_us:
      return "timestamp_us";
    case type_id::local_timestamp_ms:
      return "local_timestamp_ms";
    case type_id::local_timestamp_us:
      return "local_timestamp_us";
    case type_id::decimal128:
      return "decimal";
    case type_id::list:
      return "list";
    case type_id::map:
      return "map";
    case type_id::record:
      return "record";
    case type_id::dense_union:
      return "union";
  }
  return "unknown";
}

std::string with_null(const field& of) {
  return to_string(of.type) + (of.nullable ? "?" : "");
}

std::string fields_text(const std::vector<field>& fields, bool with_names) {
  std::string text;
  for (const field& f : fields) {
    if (!text.empty()) text += ',';
    if (with_names) text += f.name + ":";
    text += with_null(f);
  }
  return text;
}

}  // namespace

std::string to_string(const data_type& type) {
  std::string text{simple_name(type.id)};
  switch (type.id) {
    case type_id::fixed_binary:
      return text + "(" + std::to_string(type.size) + ")";
    case type_id::decimal128:
      return text + "(" + std::to_string(type.size) + "," + std::to_string(type.scale) + ")";
    case type_id::enumeration: {
      text += '{';
      for (std::size_t i = 0; i < type.symbols.size(); ++i) {
        if (i != 0) text += ',';
        text += type.symbols[i];
      }
      return text + "}";
    }
    case type_id::list:
      return text + "<" + (type.fields.empty() ? std::string() : with_null(type.fields[0])) + ">";
    case type_id::map: {
      const bool whole = type.fields.size() == 1 && type.fields[0].type.fields.size() == 2;
      return text + "<" + (whole ? with_null(type.fields[0].type.fields[1]) : std::string()) + ">";
    }
    case type_id::record:
      return text + "{" + fields_text(type.fields, true) + "}";
    case type_id::dense_union:
      return text + "<" + fields_text(type.fields, false) + ">";
    default:
      return text;
  }
}

// ---- The Arrow C data interface ----

namespace {

struct exported_schema {
  std::string format;
  std::string name;
  std::vector<ArrowSchema> children;
  std::vector<ArrowSchema*> child_pointers;
  std::unique_ptr<ArrowSchema> dictionary;
};

void release_exported(ArrowSchema* schema) {
  auto* owned = static_cast<exported_schema*>(schema->private_data);
  for (ArrowSchema& child : owned->children) {
    if (child.release != nullptr) child.release(&child);
  }
  if (owned->dictionary && owned->dictionary->release != nullptr) {
    owned->dictionary->release(owned->dictionary.get());
  }
  delete owned;
  schema->release = nullptr;
}

}  // namespace

void export_schema(const field& from, ArrowSchema* to) {
  auto owned = std::make_unique<exported_schema>();
  owned->format = arrow_format(from.type);
  owned->name = from.name;
  owned->children.resize(from.type.fields.size());
  for (std::size_t i = 0; i < owned->children.size(); ++i) {
    export_schema(from.type.fields[i], &owned->children[i]);
    owned->child_pointers.push_back(&owned->children[i]);
  }
  if (from.type.id == type_id::enumeration) {
    owned->dictionary = std::make_unique<ArrowSchema>();
    export_schema(field{"", data_type{type_id::utf8}, false}, owned->dictionary.get());
  }
  *to = ArrowSchema{};
  to->format = owned->format.c_str();
  to->name = owned->name.c_str();
  to->flags = from.nullable ? ARROW_FLAG_NULLABLE : 0;
  to->n_children = static_cast<std::int64_t>(owned->children.size());
  to->children = owned->child_pointers.empty() ? nullptr : owned->child_pointers.data();
  to->dictionary = owned->dictionary.get();
  to->release = release_exported;
  to->private_data = owned.release();
}

namespace {

constexpr int import_depth_max = 64;

bool parse_int(std::string_view text, std::int32_t& to) {
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), to);
  return problem == std::errc() && end == text.data() + text.size();
}

std::optional<type_id> simple_type(std::string_view format) {
  static constexpr std::pair<std::string_view, type_id> known[] = {
      {"n", type_id::null},
      {"b", type_id::boolean},
      {"i", type_id::int32},
      {"l", type_id::int64},
      {"f", type_id::float32},
      {"g", type_id::float64},
      {"u", type_id::utf8},
      {"z", type_id::binary},
      {"tdD", type_id::date32},
      {"ttm", type_id::time_ms},
      {"ttu", type_id::time_us},
      {"tsm:UTC", type_id::timestamp_ms},
      {"tsu:UTC", type_id::timestamp_us},
      {"tsm:", type_id::local_timestamp_ms},
      {"tsu:", type_id::local_timestamp_us},
      {"+l", type_id::list},
      {"+m", type_id::map},
      {"+s", type_id::record},
  };
  for (const auto& [text, id] : known) {
    if (text == format) return id;
  }
  return std::nullopt;
}

result<data_type> parse_format(std::string_view format, std::size_t children) {
  data_type type;
  if (const auto id = simple_type(format)) {
    type.id = *id;
    const bool one_child = type.id == type_id::list || type.id == type_id::map;
    if (one_child ? children != 1 : type.id != type_id::record && children != 0) {
      return fail(errc::invalid, "Arrow type \"" + std::string(format) + "\" has " +
                                     std::to_string(children) + " children");
    }
    return type;
  }
  if (format.starts_with("w:") && parse_int(format.substr(2), type.size) && type.size >= 0) {
    type.id = type_id::fixed_binary;
    return type;
  }
  if (format.starts_with("d:")) {
    const auto comma = format.find(',');
    if (comma != format.npos && parse_int(format.substr(2, comma - 2), type.size) &&
        parse_int(format.substr(comma + 1), type.scale) && type.size >= 1 && type.size <= 38) {
      type.id = type_id::decimal128;
      return type;
    }
  }
  if (format.starts_with("+ud:")) {
    type.id = type_id::dense_union;
    data_type as_exported = type;
    as_exported.fields.resize(children);
    if (arrow_format(as_exported) == format) return type;
    return fail(errc::unsupported, "Arrow union \"" + std::string(format) +
                                       "\": type ids must be the positions of its children");
  }
  return fail(errc::unsupported,
              "Arrow type \"" + std::string(format) + "\" has no column type here");
}

result<field> import_at(const ArrowSchema& from, int depth) {
  field to;
  to.name = from.name != nullptr ? from.name : "";
  to.nullable = (from.flags & ARROW_FLAG_NULLABLE) != 0;
  const std::string place = "field \"" + to.name + "\"";
  if (depth > import_depth_max) return fail(errc::capacity, place + ": nested too deeply");
  if (from.release == nullptr || from.format == nullptr) {
    return fail(errc::invalid, place + ": the Arrow schema was released or has no format");
  }
  if (from.n_children < 0 || (from.n_children > 0 && from.children == nullptr)) {
    return fail(errc::invalid, place + ": the Arrow schema has no children where it counts them");
  }
  auto type = parse_format(from.format, static_cast<std::size_t>(from.n_children));
  if (!type) return tl::unexpected(type.error().at(place));
  to.type = *std::move(type);
  if (from.dictionary != nullptr) {
    const bool utf8 =
        from.dictionary->format != nullptr && std::string_view(from.dictionary->format) == "u";
    if (to.type.id != type_id::int32 || !utf8) {
      return fail(errc::unsupported, place + ": a dictionary must be of utf8 with int32 indices");
    }
    to.type.id = type_id::enumeration;
  }
  for (std::int64_t i = 0; i < from.n_children; ++i) {
    if (from.children[i] == nullptr) return fail(errc::invalid, place + ": a child is missing");
    auto child = import_at(*from.children[i], depth + 1);
    if (!child) return tl::unexpected(child.error().at(place));
    to.type.fields.push_back(*std::move(child));
  }
  if (to.type.id == type_id::map) {
    const field& entries = to.type.fields[0];
    if (entries.type.id != type_id::record || entries.type.fields.size() != 2 ||
        entries.type.fields[0].type.id != type_id::utf8) {
      return fail(errc::unsupported, place + ": a map must have entries of a utf8 key and a value");
    }
  }
  return to;
}

}  // namespace

result<field> import_schema(const ArrowSchema& from) {
  return import_at(from, 0);
}

}  // namespace sonder
