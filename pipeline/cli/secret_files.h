#pragma once

#include <vector>

#include "flow/config.h"

namespace sonder::cli {

/// One warning for each file of a secret that others than its owner and group may read or change.
/// A file that is not there is no matter of this: the start refuses it.
[[nodiscard]] std::vector<diagnostic> open_secrets(const flow_options& flow);

}  // namespace sonder::cli
