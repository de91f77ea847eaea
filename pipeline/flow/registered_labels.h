#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "flow/graph.h"

namespace sonder {

/// Refuses a source whose schema says less of a field than `versions`, the schemas that the registry has for its records, oldest
/// first: a field's label is that of the newest one with a label for it. What no version labels is the flow's own word. A schema that
/// cannot be read (null) may have labelled anything: it refuses fields that no later one labels, unless they count as everything.
[[nodiscard]] status check_registered_labels(const source_node& source, const std::vector<std::pair<std::int32_t, schema_ptr>>& versions);

}  // namespace sonder
