#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "record/result.h"
#include "record/type.h"

namespace sonder {

/// Avro's types (specification 1.12, "Schema Declaration").
enum class avro_type : std::uint8_t {
  null,
  boolean,
  int32,    ///< "int"
  int64,    ///< "long"
  float32,  ///< "float"
  float64,  ///< "double"
  bytes,
  string,
  fixed,
  enumeration,  ///< "enum"
  array,
  map,
  union_of,
  record,
};

/// Logical types that change how a column looks. Others stay as attributes of the underlying type,
/// as the specification asks.
enum class logical_type : std::uint8_t {
  none,
  decimal,
  uuid,
  date,
  time_millis,
  time_micros,
  timestamp_millis,
  timestamp_micros,
  local_timestamp_millis,
  local_timestamp_micros,
  duration,
};

struct schema;
using schema_ptr = std::shared_ptr<const schema>;

/// An attribute that the specification does not define, such as `sonder.privacy`: its name and its
/// value as JSON text.
struct schema_attribute {
  std::string name;
  std::string json;

  bool operator==(const schema_attribute&) const = default;
};

enum class sort_order : std::uint8_t { ascending, descending, ignore };

struct schema_field {
  std::string name;
  schema_ptr type;
  std::string doc;
  std::vector<std::string> aliases;
  sort_order order = sort_order::ascending;
  std::optional<std::string> default_json;   ///< checked against `type`
  std::vector<schema_attribute> attributes;  ///< sorted by name

  /// The JSON text of an attribute of the field, or nothing.
  [[nodiscard]] const std::string* attribute(std::string_view name) const noexcept;
};

/// One node of a parsed, checked schema. Immutable behind `schema_ptr` and safe to share between
/// threads.
///
/// A named type that is used twice is one node with two parents; there are no cycles, since a
/// recursive schema is refused. Written out in full, with every use repeated, a schema has at most
/// `schema_nodes_max` nodes and `schema_depth_max` levels, so that whoever walks it is bounded too.
struct schema {
  avro_type type = avro_type::null;
  logical_type logical = logical_type::none;

  std::string name;   ///< record, enum, fixed: without the namespace
  std::string space;  ///< their namespace; empty for none
  std::string doc;
  std::vector<std::string> aliases;  ///< full names

  std::vector<schema_field> fields;           ///< record
  std::vector<std::string> symbols;           ///< enum
  std::optional<std::string> symbol_default;  ///< enum: what an unknown symbol reads as
  std::vector<schema_ptr> branches;           ///< union, in order
  schema_ptr items;                           ///< array: items; map: values
  std::int32_t size = 0;                      ///< fixed
  std::int32_t precision = 0;                 ///< decimal
  std::int32_t scale = 0;                     ///< decimal

  std::vector<schema_attribute> attributes;  ///< sorted by name

  std::size_t nodes = 1;  ///< of the schema written out in full
  std::size_t depth = 1;

  [[nodiscard]] std::string full_name() const;
  [[nodiscard]] bool named() const noexcept {
    return type == avro_type::record || type == avro_type::enumeration || type == avro_type::fixed;
  }
  [[nodiscard]] const std::string* attribute(std::string_view name) const noexcept;
  [[nodiscard]] const schema_field* find_field(std::string_view name) const noexcept;
};

inline constexpr std::size_t schema_bytes_max = std::size_t{1} << 20;
inline constexpr std::size_t schema_depth_max = 32;
inline constexpr std::size_t schema_nodes_max = 4096;
inline constexpr std::int32_t fixed_size_max = 1 << 20;

/// Parses a whole schema or a fragment (`"string"` with or without its quotes,
/// `{"type":"map","values":"double"}`,
/// `["null","string"]`). Names, defaults, duplicates, logical types and bounds are checked; a
/// logical type that does not fit its type is ignored, as the specification asks. Errors name the
/// place inside the schema: `field "at" of "x.entry": ...`.
[[nodiscard]] result<schema_ptr> parse_schema(std::string_view json);

/// The whole schema with docs, aliases, defaults and attributes, in one fixed order of keys: equal
/// texts mean equal schemas. What ids are deduplicated on. A named type is written out at its first
/// use.
[[nodiscard]] std::string to_json(const schema& of);
/// The same with indentation, for people.
[[nodiscard]] std::string to_pretty_json(const schema& of);

/// The specification's parsing canonical form. It drops docs, defaults, aliases, logical types and
/// labels.
[[nodiscard]] std::string canonical_form(const schema& of);
/// CRC-64-AVRO of the canonical form.
[[nodiscard]] std::uint64_t fingerprint(const schema& of);

/// How a type is called in messages: `string`, `x.entry`, `array<long>`, `[null, string]`.
[[nodiscard]] std::string to_string(const schema& of);

/// The column that holds values of the schema. `[null, X]` and `[X, null]` are X, nullable; other
/// unions are dense, with one child a branch, named after its type; an enum is an enumeration; a
/// record's children are its fields; a decimal of more than 38 digits stays binary.
[[nodiscard]] field column_field(const schema& of, std::string name = {});
/// One column for each field of a record; a programmer's error on any other schema.
[[nodiscard]] std::vector<field> column_fields(const schema& record);

/// For `[null, X]` or `[X, null]`, X; else null.
[[nodiscard]] const schema* nullable_of(const schema& of) noexcept;

/// What Apache Avro C says about the schema: a second opinion for tests of the schemas that we
/// ship. Not for untrusted text.
[[nodiscard]] status cross_check_with_avro_c(std::string_view json);

}  // namespace sonder
