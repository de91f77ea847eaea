#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "avro/schema.h"
#include "record/result.h"
#include "record/type.h"

namespace sonder {

// Bounds of a manifest. It is read before its plugin is trusted with anything.
inline constexpr std::size_t manifest_bytes_max = std::size_t{1} << 20;
inline constexpr std::size_t manifest_depth_max = 32;
inline constexpr std::size_t manifest_entries_max =
    256;  ///< of any list: ports, fields, reasons, stores, metrics ...
inline constexpr std::size_t manifest_name_bytes_max = 128;

/// One field that a plugin reads, writes or emits.
struct manifest_field {
  std::string name;
  schema_ptr type;
  field column;           ///< how the column of the type looks
  std::string type_json;  ///< the fragment as the manifest has it
  std::string doc;
  bool optional = false;       ///< reads: a flow without the field lends a column of nulls
  std::string optional_where;  ///< reads: optional only where the stage's configuration has this
                               ///< property; empty: whatever it has
  std::vector<std::string>
      adds;  ///< writes and emits: privacy categories beyond the join of what was read
};

/// Which reserved columns an input port asks for.
struct reserved_columns {
  bool timestamp = false;
  bool event_time = false;
  bool tombstone = false;
  bool key = false;
  bool headers = false;
};

enum class input_role : std::uint8_t { event, table };

struct manifest_input {
  std::string name;
  std::string doc;
  input_role role = input_role::event;
  std::vector<manifest_field> reads;
  schema_ptr record;  ///< of all `reads`, in order
  reserved_columns reserved;
  std::vector<manifest_field> writes;
  int passes = -1;  ///< index in `outputs`; -1 for a table
};

struct manifest_output {
  std::string name;
  std::string doc;
  bool emitted =
      false;  ///< rows come from `emit`; else they are those of the inputs that pass to it
  std::vector<manifest_field> emits;
};

struct manifest_store {
  std::string name;
  std::string doc;
  std::string key;  ///< "bytes", or an Avro schema fragment
  std::string value;
  std::uint32_t version = 1;
  bool personal = true;
  std::string filled_by;  ///< a table input: only its calls change the store; empty: any call may
};

enum class manifest_metric_type : std::uint8_t { counter, gauge };

struct manifest_metric {
  std::string name;
  manifest_metric_type type = manifest_metric_type::counter;
  std::string unit;
  std::string help;
  std::string label;  ///< empty: none
  std::vector<std::string> label_values;
};

/// A transformation that takes privacy categories off a field, where the operator's configuration
/// trusts it by name.
struct manifest_declassification {
  std::string name;
  std::string field;  ///< of some port's writes or of an output's emits
  std::vector<std::string> removes;
  std::vector<std::string> unless;  ///< properties of the configuration: it holds only while each has its default
};

enum class task_ordering : std::uint8_t { per_task, stateless };
enum class purpose_need : std::uint8_t { required, none, authority };

/// What a plugin says of itself. A value; `schema_ptr`s inside are immutable and shared.
struct manifest {
  std::string id;
  std::string version;
  std::uint16_t abi_major = 0;
  std::uint16_t abi_minor = 0;
  std::string summary;
  std::string licence;
  std::vector<manifest_input> inputs;
  std::vector<manifest_output> outputs;
  std::vector<std::string> reasons;
  std::vector<manifest_store> stores;
  std::vector<std::string> timers;
  std::vector<manifest_metric> metrics;
  std::vector<std::string> services;  ///< such as "state/1"
  std::vector<std::string> secrets;
  task_ordering ordering = task_ordering::per_task;
  bool deterministic = true;
  std::vector<manifest_declassification> declassifies;
  purpose_need purpose = purpose_need::required;
  std::string config_schema_json = R"({"type":"object","additionalProperties":false})";

  [[nodiscard]] bool asks_for(std::string_view service) const noexcept;
  /// Index of the input or output of that name, or -1.
  [[nodiscard]] int input(std::string_view name) const noexcept;
  [[nodiscard]] int output(std::string_view name) const noexcept;
};

/// Parses and checks a manifest, every property of it. The input is hostile: any bytes give a
/// manifest or an error that names the property, `/inputs/0/reads/1/type: ...`. An ABI that this
/// host does not offer is refused before the rest is looked at, since a later ABI may mean the rest
/// otherwise; whoever calls adds the file's name in front.
[[nodiscard]] result<manifest> parse_manifest(std::string_view json);

}  // namespace sonder
