#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "avro/schema.h"

namespace sonder {

/// Which readers and writers of a subject's versions must understand each other, as schema
/// registries name it.
enum class compatibility : std::uint8_t {
  none,
  backward,             ///< the new schema reads what the last one wrote
  forward,              ///< the last schema reads what the new one writes
  full,                 ///< both
  backward_transitive,  ///< the same against every earlier version
  forward_transitive,
  full_transitive,
};

[[nodiscard]] std::string_view name(compatibility mode) noexcept;  ///< `BACKWARD_TRANSITIVE`
[[nodiscard]] result<compatibility> parse_compatibility(std::string_view name);  ///< either case

/// Checks a new schema against the earlier versions, oldest first. One message for each conflict
/// found, each naming version, direction and field: `BACKWARD with version 2: field "at" of
/// "x.entry" has no default and the writer lacks it`. Empty means compatible.
[[nodiscard]] std::vector<std::string> check_compatibility(const schema& next,
                                                           std::span<const schema_ptr> versions,
                                                           compatibility mode);

}  // namespace sonder
