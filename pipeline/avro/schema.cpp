#include "avro/schema.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <nlohmann/json.hpp>
#include <set>

namespace sonder {

namespace {

using ordered = nlohmann::ordered_json;

std::string_view type_word(avro_type type) {
  switch (type) {
    case avro_type::null:
      return "null";
    case avro_type::boolean:
      return "boolean";
    case avro_type::int32:
      return "int";
    case avro_type::int64:
      return "long";
    case avro_type::float32:
      return "float";
    case avro_type::float64:
      return "double";
    case avro_type::bytes:
      return "bytes";
    case avro_type::string:
      return "string";
    case avro_type::fixed:
      return "fixed";
    case avro_type::enumeration:
      return "enum";
    case avro_type::array:
      return "array";
    case avro_type::map:
      return "map";
    case avro_type::union_of:
      return "union";
    case avro_type::record:
      return "record";
  }
  return "unknown";
}

std::string_view logical_word(logical_type type) {
  switch (type) {
    case logical_type::none:
      return "";
    case logical_type::decimal:
      return "decimal";
    case logical_type::uuid:
      return "uuid";
    case logical_type::date:
      return "date";
    case logical_type::time_millis:
      return "time-millis";
    case logical_type::time_micros:
      return "time-micros";
    case logical_type::timestamp_millis:
      return "timestamp-millis";
    case logical_type::timestamp_micros:
      return "timestamp-micros";
    case logical_type::local_timestamp_millis:
      return "local-timestamp-millis";
    case logical_type::local_timestamp_micros:
      return "local-timestamp-micros";
    case logical_type::duration:
      return "duration";
  }
  return "";
}

const std::string* find_attribute(const std::vector<schema_attribute>& in, std::string_view name) {
  for (const schema_attribute& a : in) {
    if (a.name == name) return &a.json;
  }
  return nullptr;
}

/// Writes a schema out in full; a named type that was written already goes by its name.
class full_writer {
 public:
  ordered write(const schema& of, const std::string& space) {
    if (of.named() && !written_.insert(of.full_name()).second) return of.full_name();
    if (of.type == avro_type::union_of) {
      ordered to = ordered::array();
      for (const schema_ptr& branch : of.branches) to.push_back(write(*branch, space));
      return to;
    }
    ordered to;
    to["type"] = type_word(of.type);
    if (of.named()) write_name(of, space, to);
    if (of.type == avro_type::record) to["fields"] = write_fields(of);
    if (of.type == avro_type::enumeration) to["symbols"] = of.symbols;
    if (of.symbol_default) to["default"] = *of.symbol_default;
    if (of.type == avro_type::array) to["items"] = write(*of.items, space);
    if (of.type == avro_type::map) to["values"] = write(*of.items, space);
    if (of.type == avro_type::fixed) to["size"] = of.size;
    if (of.logical != logical_type::none) to["logicalType"] = logical_word(of.logical);
    if (of.logical == logical_type::decimal) {
      to["precision"] = of.precision;
      to["scale"] = of.scale;
    }
    write_attributes(of.attributes, to);
    if (to.size() == 1) return std::string(type_word(of.type));
    return to;
  }

 private:
  static void write_name(const schema& of, const std::string& space, ordered& to) {
    to["name"] = of.name;
    if (of.space != space) to["namespace"] = of.space;
    if (!of.doc.empty()) to["doc"] = of.doc;
    if (!of.aliases.empty()) to["aliases"] = of.aliases;
  }

  ordered write_fields(const schema& of) {
    ordered fields = ordered::array();
    for (const schema_field& f : of.fields) {
      ordered to;
      to["name"] = f.name;
      to["type"] = write(*f.type, of.space);
      if (!f.doc.empty()) to["doc"] = f.doc;
      if (!f.aliases.empty()) to["aliases"] = f.aliases;
      if (f.order != sort_order::ascending) {
        to["order"] = f.order == sort_order::descending ? "descending" : "ignore";
      }
      if (f.default_json) to["default"] = ordered::parse(*f.default_json);
      write_attributes(f.attributes, to);
      fields.push_back(std::move(to));
    }
    return fields;
  }

  static void write_attributes(const std::vector<schema_attribute>& attributes, ordered& to) {
    for (const schema_attribute& a : attributes) to[a.name] = ordered::parse(a.json);
  }

  std::set<std::string> written_;
};

class canonical_writer {
 public:
  void write(const schema& of, std::string& to) {
    if (of.named() && !written_.insert(of.full_name()).second) {
      to += '"' + of.full_name() + '"';
      return;
    }
    switch (of.type) {
      case avro_type::union_of:
        to += '[';
        for (std::size_t i = 0; i < of.branches.size(); ++i) {
          if (i != 0) to += ',';
          write(*of.branches[i], to);
        }
        to += ']';
        return;
      case avro_type::array:
      case avro_type::map:
        to += of.type == avro_type::array ? R"({"type":"array","items":)"
                                          : R"({"type":"map","values":)";
        write(*of.items, to);
        to += '}';
        return;
      case avro_type::fixed:
        to += R"({"name":")" + of.full_name() + R"(","type":"fixed","size":)" +
              std::to_string(of.size) + "}";
        return;
      case avro_type::enumeration:
        to += R"({"name":")" + of.full_name() + R"(","type":"enum","symbols":[)";
        for (std::size_t i = 0; i < of.symbols.size(); ++i)
          to += (i == 0 ? "\"" : ",\"") + of.symbols[i] + '"';
        to += "]}";
        return;
      case avro_type::record:
        to += R"({"name":")" + of.full_name() + R"(","type":"record","fields":[)";
        for (std::size_t i = 0; i < of.fields.size(); ++i) {
          to += (i == 0 ? R"({"name":")" : R"(,{"name":")") + of.fields[i].name + R"(","type":)";
          write(*of.fields[i].type, to);
          to += '}';
        }
        to += "]}";
        return;
      default:
        to += '"' + std::string(type_word(of.type)) + '"';
    }
  }

 private:
  std::set<std::string> written_;
};

data_type decimal_type(const schema& of, data_type otherwise) {
  constexpr std::int32_t decimal128_digits_max = 38;
  if (of.logical != logical_type::decimal || of.precision > decimal128_digits_max) return otherwise;
  return data_type{type_id::decimal128, of.precision, of.scale};
}

type_id time_type(logical_type logical, type_id otherwise) {
  switch (logical) {
    case logical_type::date:
      return type_id::date32;
    case logical_type::time_millis:
      return type_id::time_ms;
    case logical_type::time_micros:
      return type_id::time_us;
    case logical_type::timestamp_millis:
      return type_id::timestamp_ms;
    case logical_type::timestamp_micros:
      return type_id::timestamp_us;
    case logical_type::local_timestamp_millis:
      return type_id::local_timestamp_ms;
    case logical_type::local_timestamp_micros:
      return type_id::local_timestamp_us;
    default:
      return otherwise;
  }
}

std::string branch_name(const schema& of) {
  return of.named() ? of.full_name() : std::string(type_word(of.type));
}

field union_field(const schema& of, std::string name) {
  if (const schema* inner = nullable_of(of)) {
    field to = column_field(*inner, std::move(name));
    to.nullable = true;
    return to;
  }
  field to{std::move(name), data_type{type_id::dense_union}, false};
  for (const schema_ptr& branch : of.branches) {
    to.type.fields.push_back(column_field(*branch, branch_name(*branch)));
  }
  return to;
}

}  // namespace

const std::string* schema_field::attribute(std::string_view wanted) const noexcept {
  return find_attribute(attributes, wanted);
}

const std::string* schema::attribute(std::string_view wanted) const noexcept {
  return find_attribute(attributes, wanted);
}

std::string schema::full_name() const {
  return space.empty() ? name : space + "." + name;
}

const schema_field* schema::find_field(std::string_view wanted) const noexcept {
  for (const schema_field& f : fields) {
    if (f.name == wanted) return &f;
  }
  return nullptr;
}

std::string to_json(const schema& of) {
  return full_writer().write(of, "").dump();
}
std::string to_pretty_json(const schema& of) {
  return full_writer().write(of, "").dump(2);
}

std::string canonical_form(const schema& of) {
  std::string text;
  canonical_writer().write(of, text);
  return text;
}

std::uint64_t fingerprint(const schema& of) {
  // Specification, "Schema Fingerprints": a Rabin fingerprint of 64 bits.
  constexpr std::uint64_t empty = 0xc15d213aa4d7a795;
  static const auto table = [] {
    std::array<std::uint64_t, 256> t{};
    for (std::uint64_t i = 0; i < 256; ++i) {
      std::uint64_t f = i;
      for (int bit = 0; bit < 8; ++bit) f = (f >> 1) ^ (empty & -(f & 1));
      t[i] = f;
    }
    return t;
  }();
  std::uint64_t f = empty;
  for (const char c : canonical_form(of))
    f = (f >> 8) ^ table[(f ^ static_cast<std::uint8_t>(c)) & 0xff];
  return f;
}

std::string to_string(const schema& of) {
  if (of.named()) return of.full_name();
  if (of.type == avro_type::array) return "array<" + to_string(*of.items) + ">";
  if (of.type == avro_type::map) return "map<" + to_string(*of.items) + ">";
  if (of.type == avro_type::union_of) {
    std::string text = "[";
    for (const schema_ptr& branch : of.branches)
      text += (text.size() > 1 ? ", " : "") + to_string(*branch);
    return text + "]";
  }
  return std::string(type_word(of.type));
}

const schema* nullable_of(const schema& of) noexcept {
  if (of.type != avro_type::union_of || of.branches.size() != 2) return nullptr;
  const schema& first = *of.branches[0];
  const schema& second = *of.branches[1];
  if (first.type == avro_type::null) return &second;
  if (second.type == avro_type::null) return &first;
  return nullptr;
}

field column_field(const schema& of, std::string name) {
  field to;
  to.name = std::move(name);
  switch (of.type) {
    case avro_type::null:
      to.type.id = type_id::null;
      break;
    case avro_type::boolean:
      to.type.id = type_id::boolean;
      break;
    case avro_type::int32:
      to.type.id = time_type(of.logical, type_id::int32);
      break;
    case avro_type::int64:
      to.type.id = time_type(of.logical, type_id::int64);
      break;
    case avro_type::float32:
      to.type.id = type_id::float32;
      break;
    case avro_type::float64:
      to.type.id = type_id::float64;
      break;
    case avro_type::bytes:
      to.type = decimal_type(of, data_type{type_id::binary});
      break;
    case avro_type::string:
      to.type.id = type_id::utf8;
      break;
    case avro_type::fixed:
      to.type = decimal_type(of, data_type{type_id::fixed_binary, of.size});
      break;
    case avro_type::enumeration:
      to.type.id = type_id::enumeration;
      to.type.symbols = of.symbols;
      break;
    case avro_type::array:
      to.type.id = type_id::list;
      to.type.fields.push_back(column_field(*of.items, "item"));
      break;
    case avro_type::map: {
      field entries{"entries", data_type{type_id::record}, false};
      entries.type.fields.push_back(field{"key", data_type{type_id::utf8}, false});
      entries.type.fields.push_back(column_field(*of.items, "value"));
      to.type.id = type_id::map;
      to.type.fields.push_back(std::move(entries));
      break;
    }
    case avro_type::union_of:
      return union_field(of, std::move(to.name));
    case avro_type::record:
      to.type.id = type_id::record;
      to.type.fields = column_fields(of);
      break;
  }
  return to;
}

std::vector<field> column_fields(const schema& record) {
  assert(record.type == avro_type::record);
  std::vector<field> to;
  to.reserve(record.fields.size());
  for (const schema_field& f : record.fields) to.push_back(column_field(*f.type, f.name));
  return to;
}

}  // namespace sonder
