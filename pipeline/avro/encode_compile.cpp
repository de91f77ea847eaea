#include <algorithm>
#include <optional>

#include "avro/encode_program.h"
#include "avro/json.h"

namespace sonder {

namespace {

std::uint32_t view_count(const field& f) {
  std::uint32_t count = 1;
  for (const field& child : f.type.fields) count += view_count(child);
  return count;
}

std::string branch_name(const schema& of) {
  if (of.named()) return of.full_name();
  if (of.type == avro_type::array) return "array";
  if (of.type == avro_type::map) return "map";
  return to_string(of);
}

std::optional<encode_op> scalar_op(type_id column, const schema& s) {
  const bool decimal = s.logical == logical_type::decimal;
  switch (column) {
    case type_id::null:
      return s.type == avro_type::null ? std::optional(encode_op::nothing) : std::nullopt;
    case type_id::boolean:
      return s.type == avro_type::boolean ? std::optional(encode_op::boolean) : std::nullopt;
    case type_id::int32:
      if (s.type == avro_type::float32) return encode_op::int_to_float;
      if (s.type == avro_type::float64) return encode_op::int_to_double;
      // A plain int may widen to a plain long; what counts time must say so itself.
      if (column_field(s).type.id == type_id::int32 || column_field(s).type.id == type_id::int64)
        return encode_op::int32;
      return std::nullopt;
    case type_id::int64:
      if (s.type == avro_type::float32) return encode_op::long_to_float;
      if (s.type == avro_type::float64) return encode_op::long_to_double;
      return column_field(s).type.id == column ? std::optional(encode_op::int64) : std::nullopt;
    case type_id::float32:
      if (s.type == avro_type::float64) return encode_op::float_to_double;
      return s.type == avro_type::float32 ? std::optional(encode_op::float32) : std::nullopt;
    case type_id::float64:
      return s.type == avro_type::float64 ? std::optional(encode_op::float64) : std::nullopt;
    case type_id::utf8:
      return s.type == avro_type::string ? std::optional(encode_op::bytes) : std::nullopt;
    case type_id::binary:
      return s.type == avro_type::bytes && column_field(s).type.id == type_id::binary
                 ? std::optional(encode_op::bytes)
                 : std::nullopt;
    case type_id::date32:
    case type_id::time_ms:
      return column_field(s).type.id == column ? std::optional(encode_op::int32) : std::nullopt;
    case type_id::time_us:
    case type_id::timestamp_ms:
    case type_id::timestamp_us:
    case type_id::local_timestamp_ms:
    case type_id::local_timestamp_us:
      return column_field(s).type.id == column ? std::optional(encode_op::int64) : std::nullopt;
    case type_id::decimal128:
      if (!decimal) return std::nullopt;
      return s.type == avro_type::fixed ? encode_op::decimal_fixed : encode_op::decimal_bytes;
    default:
      return std::nullopt;
  }
}

}  // namespace

/// Matches columns with a schema and writes the instructions.
class encode_compiler {
 public:
  explicit encode_compiler(encode_plan_program& into) : p_(into) {}

  status compile(const schema& record, std::span<const field> columns,
                 std::span<const encode_constant> constants) {
    if (record.type != avro_type::record)
      return fail(errc::invalid, "a record is expected, not " + to_string(record));
    for (const encode_constant& c : constants) {
      if (record.find_field(c.field) == nullptr) {
        return fail(errc::invalid, "\"" + record.full_name() + "\" has no field \"" + c.field +
                                       "\" to hold a constant");
      }
    }
    std::vector<std::uint32_t> views;
    for (const field& f : columns) {
      views.push_back(static_cast<std::uint32_t>(p_.views));
      p_.views += view_count(f);
    }
    p_.fields.assign(columns.begin(), columns.end());
    p_.used.resize(columns.size());
    for (const schema_field& f : record.fields) {
      const auto path = add_path("field \"" + f.name + "\"");
      const auto of = std::find_if(columns.begin(), columns.end(),
                                   [&](const field& c) { return c.name == f.name; });
      const auto constant =
          std::find_if(constants.begin(), constants.end(),
                       [&](const encode_constant& c) { return c.field == f.name; });
      status done;
      if (constant != constants.end()) {
        done = add_constant(*f.type, constant->json, path);
      } else if (of != columns.end()) {
        const auto i = static_cast<std::size_t>(of - columns.begin());
        p_.used[i] = true;
        done = value(*f.type, *of, views[i], path);
      } else if (f.default_json) {
        done = add_constant(*f.type, *f.default_json, path);
      } else {
        done = fail(errc::invalid, "no column, constant or default gives it");
      }
      if (!done) return tl::unexpected(done.error().at(p_.paths[path]));
    }
    return {};
  }

  /// Writes what encodes a value of column `f` (at `view`) as `s`.
  status value(const schema& s, const field& f, std::uint32_t view, std::uint32_t path) {
    if (s.type == avro_type::union_of) return into_union(s, f, view, path);
    return plain(s, f, view, path, -1, -1);
  }

  std::uint32_t add_path(std::string text) {
    p_.paths.push_back(std::move(text));
    return static_cast<std::uint32_t>(p_.paths.size() - 1);
  }

 private:
  std::uint32_t here() const { return static_cast<std::uint32_t>(p_.code.size()); }

  encode_instruction& emit(encode_op op, std::uint32_t view, std::uint32_t path, int null_branch,
                           int value_branch) {
    p_.code.push_back({op, static_cast<std::int8_t>(null_branch),
                       static_cast<std::int8_t>(value_branch), view, here() + 1, 0, 0, path});
    return p_.code.back();
  }

  static tl::unexpected<error> mismatch(const schema& s, const field& f) {
    return fail(errc::invalid,
                "a column of " + to_string(f.type) + " cannot be written as " + to_string(s));
  }

  std::uint32_t child_path(std::uint32_t parent, const std::string& name) {
    std::string text = p_.paths[parent];
    text.insert(text.size() - 1, (name == "[]" ? "" : ".") + name);
    return add_path(std::move(text));
  }

  /// The branch of the union that a value of the field goes to: one of exactly its type, else the
  /// first that can take it.
  status into_union(const schema& s, const field& f, std::uint32_t view, std::uint32_t path) {
    if (f.type.id == type_id::dense_union) return union_to_union(s, f, view, path);
    int null_branch = -1;
    for (std::size_t i = 0; i < s.branches.size(); ++i) {
      if (s.branches[i]->type == avro_type::null) null_branch = static_cast<int>(i);
    }
    for (const bool exact : {true, false}) {
      for (std::size_t i = 0; i < s.branches.size(); ++i) {
        if ((column_field(*s.branches[i]).type == f.type) != exact) continue;
        const auto before = here();
        if (plain(*s.branches[i], f, view, path, null_branch, static_cast<int>(i))) return {};
        p_.code.resize(before);
      }
    }
    return mismatch(s, f);
  }

  status union_to_union(const schema& s, const field& f, std::uint32_t view, std::uint32_t path) {
    const auto at = here();
    emit(encode_op::one_of, view, path, -1, -1).a = static_cast<std::uint32_t>(p_.tables.size());
    const auto table = p_.tables.size();
    p_.tables.push_back(static_cast<std::int32_t>(f.type.fields.size()));
    p_.tables.resize(p_.tables.size() + 2 * f.type.fields.size());
    std::uint32_t child_view = view + 1;
    for (std::size_t i = 0; i < f.type.fields.size(); ++i) {
      const field& child = f.type.fields[i];
      p_.tables[table + 1 + 2 * i] = static_cast<std::int32_t>(here());
      SONDER_TRY(one_branch(s, child, child_view, path));
      p_.tables[table + 2 + 2 * i] = static_cast<std::int32_t>(here());
      child_view += view_count(child);
    }
    p_.code[at].next = here();
    return {};
  }

  status one_branch(const schema& s, const field& child, std::uint32_t view, std::uint32_t path) {
    for (std::size_t i = 0; i < s.branches.size(); ++i) {
      if (branch_name(*s.branches[i]) != child.name) continue;
      const auto before = here();
      if (plain(*s.branches[i], child, view, path, -1, static_cast<int>(i))) return {};
      p_.code.resize(before);
    }
    return into_union(s, child, view, path);
  }

  status plain(const schema& s, const field& f, std::uint32_t view, std::uint32_t path,
               int null_branch, int value_branch) {
    switch (f.type.id) {
      case type_id::enumeration:
        return from_enum(s, f, view, path, null_branch, value_branch);
      case type_id::fixed_binary:
        if (s.type != avro_type::fixed || !(column_field(s).type == f.type)) return mismatch(s, f);
        emit(encode_op::fixed, view, path, null_branch, value_branch).a =
            static_cast<std::uint32_t>(s.size);
        return {};
      case type_id::record:
        return from_record(s, f, view, path, null_branch, value_branch);
      case type_id::list:
      case type_id::map:
        return from_items(s, f, view, path, null_branch, value_branch);
      default:
        break;
    }
    const auto op = scalar_op(f.type.id, s);
    const bool decimal = f.type.id == type_id::decimal128;
    if (!op || (decimal && !(column_field(s).type == f.type))) return mismatch(s, f);
    emit(*op, view, path, null_branch, value_branch).a = static_cast<std::uint32_t>(s.size);
    return {};
  }

  status from_enum(const schema& s, const field& f, std::uint32_t view, std::uint32_t path,
                   int null_branch, int value_branch) {
    const auto& symbols = f.type.symbols;
    if (s.type == avro_type::string) {
      auto& in = emit(encode_op::enum_as_string, view, path, null_branch, value_branch);
      in.a = static_cast<std::uint32_t>(p_.texts.size());
      in.b = static_cast<std::uint32_t>(symbols.size());
      p_.texts.insert(p_.texts.end(), symbols.begin(), symbols.end());
      return {};
    }
    if (s.type != avro_type::enumeration) return mismatch(s, f);
    emit(encode_op::enum_mapped, view, path, null_branch, value_branch).a =
        static_cast<std::uint32_t>(p_.tables.size());
    p_.tables.push_back(static_cast<std::int32_t>(symbols.size()));
    for (const std::string& symbol : symbols) {
      const auto found = std::find(s.symbols.begin(), s.symbols.end(), symbol);
      p_.tables.push_back(
          found == s.symbols.end() ? -1 : static_cast<std::int32_t>(found - s.symbols.begin()));
    }
    return {};
  }

  status from_record(const schema& s, const field& f, std::uint32_t view, std::uint32_t path,
                     int null_branch, int value_branch) {
    if (s.type != avro_type::record) return mismatch(s, f);
    const auto at = here();
    emit(encode_op::record, view, path, null_branch, value_branch);
    for (const schema_field& of : s.fields) {
      const auto inner = child_path(path, of.name);
      std::uint32_t child_view = view + 1;
      const field* child = nullptr;
      for (const field& c : f.type.fields) {
        if (c.name == of.name) {
          child = &c;
          break;
        }
        child_view += view_count(c);
      }
      status done = child != nullptr ? value(*of.type, *child, child_view, inner)
                    : of.default_json
                        ? add_constant(*of.type, *of.default_json, inner)
                        : status(fail(errc::invalid, "no child column or default gives it"));
      if (!done) return tl::unexpected(done.error().at("\"" + of.name + "\""));
    }
    p_.code[at].next = here();
    return {};
  }

  status from_items(const schema& s, const field& f, std::uint32_t view, std::uint32_t path,
                    int null_branch, int value_branch) {
    const bool keyed = f.type.id == type_id::map;
    if (s.type != (keyed ? avro_type::map : avro_type::array)) return mismatch(s, f);
    const auto inner = child_path(path, "[]");
    const auto at = here();
    emit(keyed ? encode_op::entries : encode_op::items, view, path, null_branch, value_branch);
    const field& item = f.type.fields[0];
    if (keyed) {
      emit(encode_op::bytes, view + 2, inner, -1, -1);
      SONDER_TRY(value(*s.items, item.type.fields[1], view + 3, inner));
    } else {
      SONDER_TRY(value(*s.items, item, view + 1, inner));
    }
    p_.code[at].next = here();
    return {};
  }

  /// Encodes the value now: at run time it is a copy of bytes.
  status add_constant(const schema& s, std::string_view json, std::uint32_t path) {
    const field of = column_field(s, "constant");
    column held(of);
    SONDER_TRY(append_json_value(s, json, held));
    encode_plan_program scratch;
    encode_compiler inner(scratch);
    inner.add_path("field \"constant\"");
    SONDER_TRY(inner.value(s, of, 0, 0));
    std::vector<array_view> views;
    add_views(held.lend(), of, views);
    buffer bytes;
    if (run_encode(scratch, views.data(), 0, static_cast<std::uint32_t>(scratch.code.size()), 0,
                   bytes)) {
      return fail(errc::invalid, "is no value of type " + to_string(s));
    }
    auto& in = emit(encode_op::constant, 0, path, -1, -1);
    in.a = static_cast<std::uint32_t>(p_.constants.size());
    in.b = static_cast<std::uint32_t>(bytes.size());
    p_.constants.insert(p_.constants.end(), bytes.data(), bytes.data() + bytes.size());
    return {};
  }

  encode_plan_program& p_;
};

result<encode_plan> encode_plan::compile(const schema& writer, std::span<const field> columns,
                                         std::span<const encode_constant> constants) {
  auto p = std::make_unique<program>();
  if (auto done = encode_compiler(*p).compile(writer, columns, constants); !done) {
    return tl::unexpected(done.error().at("writing \"" + to_string(writer) + "\""));
  }
  return encode_plan(std::move(p));
}

}  // namespace sonder
