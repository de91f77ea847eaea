#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "record/result.h"
#include "sonder/arrow_c.h"

namespace sonder {

/// The physical and logical types of columns: Arrow's, as far as Avro needs them (Arrow's Avro
/// mapping).
enum class type_id : std::uint8_t {
  null,
  boolean,
  int32,
  int64,
  float32,
  float64,
  utf8,          ///< int32 offsets
  binary,        ///< int32 offsets
  fixed_binary,  ///< `size` bytes a value
  enumeration,   ///< Arrow dictionary: int32 indices into `symbols` as utf8
  date32,
  time_ms,       ///< int32
  time_us,       ///< int64
  timestamp_ms,  ///< int64, Unix epoch, UTC
  timestamp_us,  ///< int64, Unix epoch, UTC
  local_timestamp_ms,
  local_timestamp_us,
  decimal128,   ///< `size` = precision, `scale`
  list,         ///< one child field
  map,          ///< one child: record of `key` (utf8, not null) and `value`
  record,       ///< Arrow struct; children are `fields`
  dense_union,  ///< children are `fields`; type ids are their positions
};

struct field;

/// A column's type. A value; cheap to compare, not meant for the path of a record.
struct data_type {
  type_id id = type_id::null;
  std::int32_t size = 0;
  std::int32_t scale = 0;
  std::vector<std::string> symbols;
  std::vector<field> fields;

  bool operator==(const data_type&) const;
};

struct field {
  std::string name;
  data_type type;
  bool nullable = false;

  bool operator==(const field&) const;
};

/// Arrow's format string of the type's own level (`"u"`, `"tsm:UTC"`, `"+l"`, ...).
[[nodiscard]] std::string arrow_format(const data_type& type);

/// Human-readable: `list<string?>`, `enum{granted,denied}`.
[[nodiscard]] std::string to_string(const data_type& type);

/// An ArrowSchema of the field, owned by the caller, who calls its `release`.
void export_schema(const field& from, ArrowSchema* to);

/// The reverse; refuses what has no place above, by name.
[[nodiscard]] result<field> import_schema(const ArrowSchema& from);

}  // namespace sonder
