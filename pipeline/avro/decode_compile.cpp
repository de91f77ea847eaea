#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <utility>

#include "avro/decode_program.h"
#include "avro/json.h"
#include "record/number_of.h"

namespace sonder {

namespace {

constexpr std::size_t instructions_max = 1 << 16;
constexpr std::size_t steps_max =
    1 << 20;  // pairs of schema nodes looked at: unions of unions multiply

std::uint32_t flat_count(const field& f) {
  std::uint32_t count = 1;
  for (const field& child : f.type.fields) count += flat_count(child);
  return count;
}

std::uint32_t flat_child(const field& f, std::uint32_t flat, std::size_t child) {
  std::uint32_t at = flat + 1;
  for (std::size_t i = 0; i < child; ++i) at += flat_count(f.type.fields[i]);
  return at;
}

/// The fewest bytes that a value takes on the wire.
std::uint64_t bytes_min(const schema& of) {
  switch (of.type) {
    case avro_type::null:
      return 0;
    case avro_type::float32:
      return 4;
    case avro_type::float64:
      return 8;
    case avro_type::fixed:
      return static_cast<std::uint64_t>(of.size);
    case avro_type::record: {
      std::uint64_t sum = 0;
      for (const schema_field& f : of.fields) sum += bytes_min(*f.type);
      return sum;
    }
    default:
      return 1;
  }
}

std::uint32_t item_bytes_min(const schema& item, bool keyed) {
  const std::uint64_t bytes = bytes_min(item) + (keyed ? 1 : 0);
  return static_cast<std::uint32_t>(
      std::min<std::uint64_t>(bytes, std::numeric_limits<std::uint32_t>::max()));
}

std::string_view unqualified(std::string_view name) {
  const auto dot = name.rfind('.');
  return dot == name.npos ? name : name.substr(dot + 1);
}

/// The specification compares names without their namespaces; a reader's alias stands for the
/// writer's name.
bool names_match(const schema& writer, const schema& reader) {
  if (writer.name == reader.name) return true;
  return std::any_of(reader.aliases.begin(), reader.aliases.end(),
                     [&](const std::string& alias) { return unqualified(alias) == writer.name; });
}

bool counts_time(logical_type t) {
  return t >= logical_type::date && t <= logical_type::local_timestamp_micros;
}

/// Whether two types are the same before anything is promoted: what a reader's union prefers.
bool same_type(const schema& writer, const schema& reader) {
  if (writer.type != reader.type) return false;
  return !writer.named() || writer.full_name() == reader.full_name();
}

std::optional<decode_op> promotion(avro_type from, avro_type to) {
  struct rule {
    avro_type from, to;
    decode_op op;
  };
  static constexpr rule rules[] = {
      {avro_type::null, avro_type::null, decode_op::null},
      {avro_type::boolean, avro_type::boolean, decode_op::boolean},
      {avro_type::int32, avro_type::int32, decode_op::int32},
      {avro_type::int32, avro_type::int64, decode_op::int_to_long},
      {avro_type::int32, avro_type::float32, decode_op::int_to_float},
      {avro_type::int32, avro_type::float64, decode_op::int_to_double},
      {avro_type::int64, avro_type::int64, decode_op::int64},
      {avro_type::int64, avro_type::float32, decode_op::long_to_float},
      {avro_type::int64, avro_type::float64, decode_op::long_to_double},
      {avro_type::float32, avro_type::float32, decode_op::float32},
      {avro_type::float32, avro_type::float64, decode_op::float_to_double},
      {avro_type::float64, avro_type::float64, decode_op::float64},
      {avro_type::string, avro_type::string, decode_op::string},
      {avro_type::bytes, avro_type::bytes, decode_op::bytes},
      // Text that becomes bytes needs no check; bytes that become text do.
      {avro_type::string, avro_type::bytes, decode_op::bytes},
      {avro_type::bytes, avro_type::string, decode_op::string},
  };
  for (const rule& r : rules) {
    if (r.from == from && r.to == to) return r.op;
  }
  return std::nullopt;
}

}  // namespace

/// Resolves a writer's schema against a reader's and writes the instructions. Collects every
/// problem, so that one look shows all.
class decode_compiler {
 public:
  using program = decode_plan_program;

  decode_compiler(program& into, bool every_value) : p_(into), every_value_(every_value) {
    p_.paths.emplace_back("record");
  }

  void compile(const schema& writer, const schema& reader, std::span<const std::string> wanted) {
    if (writer.type != avro_type::record || reader.type != avro_type::record) {
      problem("record", "a record is expected, the writer has " + to_string(writer) +
                            ", the reader " + to_string(reader));
      return;
    }
    std::vector<const schema_field*> build;
    if (wanted.empty()) {
      for (const schema_field& f : reader.fields) build.push_back(&f);
    }
    for (const std::string& name : wanted) {
      const schema_field* f = reader.find_field(name);
      if (f == nullptr) {
        problem("record",
                "the reader's schema " + to_string(reader) + " has no field \"" + name + "\"");
        return;
      }
      build.push_back(f);
    }
    std::uint32_t flat = 0;
    std::map<const schema_field*, std::pair<std::size_t, std::uint32_t>> places;
    for (const schema_field* f : build) {
      if (!places.emplace(f, std::pair(p_.fields.size(), flat)).second) {
        problem("record", "the field \"" + f->name + "\" is wanted twice");
        return;
      }
      p_.fields.push_back(column_field(*f->type, f->name));
      flat += flat_count(p_.fields.back());
    }
    record_fields(writer, reader, 0, [&](const schema_field& f) -> target {
      const auto found = places.find(&f);
      if (found == places.end()) return {};
      return {&p_.fields[found->second.first], found->second.second};
    });
    if (too_large_ && !reported_)
      problem("record", "the two schemas together are too large to resolve");
  }

  std::vector<std::string> problems;

 private:
  /// Where a value goes: a column of this field at this flat position. No field: nowhere.
  struct target {
    const field* of = nullptr;
    std::uint32_t flat = 0;
  };

  void problem(std::string place, std::string what) {
    problems.push_back(std::move(place) + ": " + std::move(what));
  }
  void problem(std::uint32_t path, std::string what) { problem(p_.paths[path], std::move(what)); }

  std::uint32_t path_of(std::uint32_t parent, const std::string& name) {
    // "field "a.b"" reads better than nested places do.
    std::string text = parent == 0 ? "field \"" + name + "\"" : p_.paths[parent];
    if (parent != 0) text.insert(text.size() - 1, (name == "[]" ? "" : ".") + name);
    p_.paths.push_back(std::move(text));
    return static_cast<std::uint32_t>(p_.paths.size() - 1);
  }

  std::uint32_t here() const { return static_cast<std::uint32_t>(p_.code.size()); }

  decode_instruction& emit(decode_op op, std::uint32_t path, std::uint32_t column = 0,
                           std::uint8_t flags = 0) {
    if (p_.code.size() >= instructions_max) {
      too_large_ = true;
      p_.code.pop_back();
    }
    p_.code.push_back({op, flags, column, here() + 1, 0, 0, path});
    return p_.code.back();
  }

  bool step(std::uint32_t path) {
    if (++steps_ <= steps_max && !too_large_) return true;
    if (!reported_) problem(path, "the two schemas together are too large to resolve");
    reported_ = true;
    return false;
  }

  static bool is_alias(const schema_field& reader, const std::string& writer_name) {
    return std::find(reader.aliases.begin(), reader.aliases.end(), writer_name) !=
           reader.aliases.end();
  }

  /// For each of the reader's fields, the writer's: by name, else by alias.
  static std::vector<const schema_field*> pair_fields(const schema& writer, const schema& reader) {
    std::vector<const schema_field*> pairs;
    for (const schema_field& r : reader.fields) pairs.push_back(writer.find_field(r.name));
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      for (const schema_field& w : writer.fields) {
        if (pairs[i] == nullptr && is_alias(reader.fields[i], w.name) &&
            std::find(pairs.begin(), pairs.end(), &w) == pairs.end()) {
          pairs[i] = &w;
        }
      }
    }
    return pairs;
  }

  template <class TargetOf>
  void record_fields(const schema& writer, const schema& reader, std::uint32_t path,
                     TargetOf target_of) {
    if (!names_match(writer, reader)) {
      return other_name("record", writer, reader, path);
    }
    const auto pairs = pair_fields(writer, reader);
    for (const schema_field& w : writer.fields) {
      const auto pair = std::find(pairs.begin(), pairs.end(), &w);
      if (pair == pairs.end()) {
        skip(*w.type, path_of(path, w.name));
        continue;
      }
      const schema_field& r = reader.fields[static_cast<std::size_t>(pair - pairs.begin())];
      const target to = target_of(r);
      if (to.of != nullptr) {
        read(*w.type, *r.type, to, path_of(path, r.name));
      } else {
        skip(*w.type, path_of(path, r.name));
      }
    }
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      if (pairs[i] == nullptr)
        take_default(reader.fields[i], reader, target_of(reader.fields[i]),
                     path_of(path, reader.fields[i].name));
    }
  }

  void take_default(const schema_field& r, const schema& of, target to, std::uint32_t path) {
    if (!r.default_json) {
      problem(path, "the writer lacks it and it has no default in \"" + of.full_name() + "\"");
      return;
    }
    if (to.of == nullptr) return;
    auto value = std::make_unique<column>(*to.of);
    if (auto appended = append_json_value(*r.type, *r.default_json, *value); !appended) {
      problem(path, "default: " + appended.error().message);
      return;
    }
    emit(decode_op::constant, path, to.flat).a = static_cast<std::uint32_t>(p_.constants.size());
    p_.constants.push_back(&value->lend());
    p_.constant_columns.push_back(std::move(value));
  }

  // ---- Values that are built ----

  void read(const schema& w, const schema& r, target to, std::uint32_t path,
            std::uint8_t flags = 0) {
    if (!step(path)) return;
    if (w.type == avro_type::union_of) return read_union(w, r, to, path);
    if (r.type == avro_type::union_of) return read_into_union(w, r, to, path);
    switch (r.type) {
      case avro_type::record:
        return read_record(w, r, to, path, flags);
      case avro_type::array:
      case avro_type::map:
        return read_items(w, r, to, path, flags);
      case avro_type::enumeration:
        return read_enum(w, r, to, path, flags);
      case avro_type::fixed:
        return read_fixed(w, r, to, path, flags);
      default:
        return read_primitive(w, r, to, path, flags);
    }
  }

  void mismatch(const schema& w, const schema& r, std::uint32_t path) {
    problem(path, "the writer's " + to_string(w) + " cannot be read as " + to_string(r));
  }

  void other_name(const std::string& kind, const schema& w, const schema& r, std::uint32_t path) {
    problem(path, "the writer's " + kind + " is \"" + w.full_name() + "\", the reader's \"" + r.full_name() + "\"; give the reader's an alias");
  }

  void read_union(const schema& w, const schema& r, target to, std::uint32_t path) {
    const schema* wanted = nullable_of(r);
    const schema* written = nullable_of(w);
    if (wanted != nullptr && written != nullptr) {
      const bool null_first = w.branches[0]->type == avro_type::null;
      read(*written, *wanted, to, path,
           mark_valid | (null_first ? null_is_branch_0 : null_is_branch_1));
      return;
    }
    const auto at = here();
    emit(decode_op::union_switch, path).a = static_cast<std::uint32_t>(p_.tables.size());
    const auto table = p_.tables.size();
    p_.tables.push_back(static_cast<std::int32_t>(w.branches.size()));
    p_.tables.resize(p_.tables.size() + w.branches.size());
    std::vector<std::uint32_t> jumps;
    bool any = false;
    for (std::size_t i = 0; i < w.branches.size(); ++i) {
      p_.tables[table + 1 + i] = static_cast<std::int32_t>(here());
      any |= read_or_refuse(*w.branches[i], r, to, path);
      jumps.push_back(here());
      emit(decode_op::jump, path);
    }
    for (const auto jump : jumps) {
      if (jump < p_.code.size()) p_.code[jump].next = here();
    }
    if (at < p_.code.size()) p_.code[at].next = here();
    if (!any && !every_value_) mismatch(w, r, path);
  }

  /// One branch of the writer's union. Where the reader has no place for it, records that hold it
  /// are refused one by one.
  bool read_or_refuse(const schema& w, const schema& r, target to, std::uint32_t path) {
    const auto problems_before = problems.size();
    const auto code_before = p_.code.size();
    read(w, r, to, path);
    if (every_value_ || problems.size() == problems_before || reported_) return true;
    problems.resize(problems_before);
    p_.code.resize(code_before);
    emit(decode_op::not_readable, path);
    return false;
  }

  void read_into_union(const schema& w, const schema& r, target to, std::uint32_t path) {
    if (const schema* inner = nullable_of(r)) {
      if (w.type == avro_type::null) {
        auto value = std::make_unique<column>(*to.of);
        value->append_null();
        emit(decode_op::constant, path, to.flat).a =
            static_cast<std::uint32_t>(p_.constants.size());
        p_.constants.push_back(&value->lend());
        p_.constant_columns.push_back(std::move(value));
        return;
      }
      return read(w, *inner, to, path, mark_valid);
    }
    std::vector<std::string> kept = std::exchange(problems, {});
    for (const bool exact : {true, false}) {
      for (std::size_t i = 0; i < r.branches.size(); ++i) {
        if (same_type(w, *r.branches[i]) != exact) continue;
        problems.clear();
        const auto code_before = p_.code.size();
        read(w, *r.branches[i], {&to.of->type.fields[i], flat_child(*to.of, to.flat, i)}, path);
        if (problems.empty()) {
          emit(decode_op::union_close, path, to.flat).a = static_cast<std::uint32_t>(i);
          problems = std::move(kept);
          return;
        }
        if (reported_) break;
        p_.code.resize(code_before);
      }
    }
    if (!reported_) problems.clear();
    problems.insert(problems.begin(), std::make_move_iterator(kept.begin()),
                    std::make_move_iterator(kept.end()));
    if (!reported_) mismatch(w, r, path);
  }

  void read_record(const schema& w, const schema& r, target to, std::uint32_t path,
                   std::uint8_t flags) {
    if (w.type != avro_type::record) return mismatch(w, r, path);
    const auto begin = here();
    if (flags != 0) emit(decode_op::record_begin, path, to.flat, flags);
    record_fields(w, r, path, [&](const schema_field& f) -> target {
      const auto i = static_cast<std::size_t>(&f - r.fields.data());
      return {&to.of->type.fields[i], flat_child(*to.of, to.flat, i)};
    });
    emit(decode_op::record_close, path, to.flat);
    if (flags != 0 && begin < p_.code.size()) p_.code[begin].next = here();
  }

  void read_items(const schema& w, const schema& r, target to, std::uint32_t path,
                  std::uint8_t flags) {
    if (w.type != r.type) return mismatch(w, r, path);
    const bool keyed = r.type == avro_type::map;
    const auto item_path = path_of(path, "[]");
    const auto begin = here();
    emit(decode_op::array_begin, item_path, to.flat, flags).a = item_bytes_min(*w.items, keyed);
    const field& item = to.of->type.fields[0];
    if (keyed) {
      emit(decode_op::string, item_path, to.flat + 2);
      read(*w.items, *r.items, {&item.type.fields[1], to.flat + 3}, item_path);
      emit(decode_op::record_close, item_path, to.flat + 1);
    } else {
      read(*w.items, *r.items, {&item, to.flat + 1}, item_path);
    }
    emit(decode_op::array_end, item_path, to.flat).next = begin + 1;
    if (begin < p_.code.size()) p_.code[begin].next = here();
  }

  void read_enum(const schema& w, const schema& r, target to, std::uint32_t path,
                 std::uint8_t flags) {
    if (w.type != avro_type::enumeration) return mismatch(w, r, path);
    if (!names_match(w, r)) return other_name("enum", w, r, path);
    if (w.symbols == r.symbols) {
      emit(decode_op::enumeration, path, to.flat, flags).a =
          static_cast<std::uint32_t>(w.symbols.size());
      return;
    }
    const auto index_of = [&](const std::string& symbol) -> std::int32_t {
      const auto found = std::find(r.symbols.begin(), r.symbols.end(), symbol);
      return found == r.symbols.end() ? -1 : static_cast<std::int32_t>(found - r.symbols.begin());
    };
    const auto otherwise = r.symbol_default ? index_of(*r.symbol_default) : -1;
    emit(decode_op::enum_mapped, path, to.flat, flags).a =
        static_cast<std::uint32_t>(p_.tables.size());
    p_.tables.push_back(static_cast<std::int32_t>(w.symbols.size()));
    for (const std::string& symbol : w.symbols) {
      const auto known = index_of(symbol);
      p_.tables.push_back(known >= 0 ? known : otherwise);
      if (every_value_ && p_.tables.back() < 0) {
        problem(path, "the writer's symbol \"" + symbol + "\" is none of the reader's \"" +
                          r.full_name() + "\", which has no default");
      }
    }
  }

  /// Decimals match only with the same precision and scale.
  bool decimals_match(const schema& w, const schema& r, std::uint32_t path) {
    if (w.logical != logical_type::decimal || r.logical != logical_type::decimal) return true;
    if (w.precision == r.precision && w.scale == r.scale) return true;
    problem(path, "the writer's decimal(" + std::to_string(w.precision) + "," +
                      std::to_string(w.scale) + ") cannot be read as decimal(" +
                      std::to_string(r.precision) + "," + std::to_string(r.scale) + ")");
    return false;
  }

  void read_fixed(const schema& w, const schema& r, target to, std::uint32_t path,
                  std::uint8_t flags) {
    if (w.type != avro_type::fixed) return mismatch(w, r, path);
    if (!names_match(w, r)) return other_name("fixed", w, r, path);
    if (w.size != r.size) {
      return problem(path, "the writer's fixed has " + number_of(w.size, "byte") + ", the reader's " + std::to_string(r.size));
    }
    if (!decimals_match(w, r, path)) return;
    if (to.of->type.id == type_id::decimal128) {
      auto& in = emit(decode_op::decimal_fixed, path, to.flat, flags);
      in.a = static_cast<std::uint32_t>(to.of->type.size);
      in.b = static_cast<std::uint32_t>(r.size);
    } else {
      emit(decode_op::fixed, path, to.flat, flags).a = static_cast<std::uint32_t>(r.size);
    }
  }

  void read_primitive(const schema& w, const schema& r, target to, std::uint32_t path,
                      std::uint8_t flags) {
    const auto op = promotion(w.type, r.type);
    if (!op) return mismatch(w, r, path);
    if (!decimals_match(w, r, path)) return;
    // The specification resolves the numbers alone; a millisecond read as a microsecond is wrong by
    // 1000 and nobody sees it.
    if (counts_time(w.logical) && counts_time(r.logical) && w.logical != r.logical) {
      problem(path, "writer and reader count time in different units");
      return;
    }
    if (to.of->type.id == type_id::decimal128) {
      if (w.type != avro_type::bytes) return mismatch(w, r, path);
      emit(decode_op::decimal_bytes, path, to.flat, flags).a =
          static_cast<std::uint32_t>(to.of->type.size);
      return;
    }
    emit(*op, path, to.flat, flags);
  }

  // ---- Values that are skipped ----

  void skip_bytes_fixed(std::uint64_t size, std::uint32_t path, std::uint32_t barrier) {
    if (size == 0) return;
    if (here() > barrier && p_.code.back().op == decode_op::skip_fixed) {
      const std::uint64_t sum = p_.code.back().a + size;
      if (sum <= std::numeric_limits<std::uint32_t>::max()) {
        p_.code.back().a = static_cast<std::uint32_t>(sum);
        return;
      }
    }
    emit(decode_op::skip_fixed, path).a = static_cast<std::uint32_t>(size);
  }

  void skip(const schema& w, std::uint32_t path) { skip_from(w, path, here()); }

  /// `barrier`: instructions before it may be jumped to past, so that nothing is merged into them.
  void skip_from(const schema& w, std::uint32_t path, std::uint32_t barrier) {
    if (!step(path)) return;
    switch (w.type) {
      case avro_type::null:
        return;
      case avro_type::boolean:
        return skip_bytes_fixed(1, path, barrier);
      case avro_type::float32:
        return skip_bytes_fixed(4, path, barrier);
      case avro_type::float64:
        return skip_bytes_fixed(8, path, barrier);
      case avro_type::fixed:
        return skip_bytes_fixed(static_cast<std::uint64_t>(w.size), path, barrier);
      case avro_type::int32:
      case avro_type::int64:
      case avro_type::enumeration:
        emit(decode_op::skip_varint, path);
        return;
      case avro_type::bytes:
      case avro_type::string:
        emit(decode_op::skip_bytes, path);
        return;
      case avro_type::record:
        for (const schema_field& f : w.fields) skip_from(*f.type, path, barrier);
        return;
      case avro_type::array:
      case avro_type::map:
        return skip_items(w, path);
      case avro_type::union_of:
        return skip_union(w, path);
    }
  }

  void skip_items(const schema& w, std::uint32_t path) {
    const bool keyed = w.type == avro_type::map;
    const auto begin = here();
    emit(decode_op::skip_array_begin, path).a = item_bytes_min(*w.items, keyed);
    if (keyed) emit(decode_op::skip_bytes, path);
    skip(*w.items, path);
    emit(decode_op::skip_array_end, path).next = begin + 1;
    if (begin < p_.code.size()) p_.code[begin].next = here();
  }

  void skip_union(const schema& w, std::uint32_t path) {
    emit(decode_op::union_switch, path).a = static_cast<std::uint32_t>(p_.tables.size());
    const auto table = p_.tables.size();
    p_.tables.push_back(static_cast<std::int32_t>(w.branches.size()));
    p_.tables.resize(p_.tables.size() + w.branches.size());
    std::vector<std::uint32_t> jumps;
    for (std::size_t i = 0; i < w.branches.size(); ++i) {
      p_.tables[table + 1 + i] = static_cast<std::int32_t>(here());
      skip(*w.branches[i], path);
      jumps.push_back(here());
      emit(decode_op::jump, path);
    }
    for (const auto jump : jumps) {
      if (jump < p_.code.size()) p_.code[jump].next = here();
    }
  }

  program& p_;
  const bool every_value_;  ///< a branch or symbol that some record may hold must be readable too
  std::size_t steps_ = 0;
  bool too_large_ = false;
  bool reported_ = false;
};

result<decode_plan> decode_plan::compile(const schema& writer, const schema& reader,
                                         std::span<const std::string> wanted) {
  auto p = std::make_unique<program>();
  decode_compiler compiler(*p, false);
  compiler.compile(writer, reader, wanted);
  if (!compiler.problems.empty()) {
    return fail(errc::invalid, "reading \"" + to_string(writer) + "\" as \"" + to_string(reader) +
                                   "\": " + compiler.problems.front());
  }
  return decode_plan(std::move(p));
}

std::vector<std::string> readability_problems(const schema& writer, const schema& reader) {
  decode_plan_program scratch;
  decode_compiler compiler(scratch, true);
  compiler.compile(writer, reader, {});
  return std::move(compiler.problems);
}

}  // namespace sonder
