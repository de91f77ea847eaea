#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "flow/graph.h"

namespace sonder {

/// The store that keeps the rows that are parked for a stage.
[[nodiscard]] std::string parked_store_of(std::string_view stage);

/// The keyed stores of a stage that epochs change, as they name them: the manifest's in its order, then the host's own.
[[nodiscard]] std::vector<std::string> store_names(const stage_node& stage);

}  // namespace sonder
