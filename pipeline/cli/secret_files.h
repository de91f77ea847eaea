#pragma once

#include <vector>

#include "flow/config.h"

namespace sonder::cli {

/// One warning for each file of a secret that others than its owner and group may read or change.
/// A file that is not there is no matter of this: the start refuses it.
[[nodiscard]] std::vector<diagnostic> open_secrets(const flow_options& flow);

/// An error where the quarantine key's secret is there and shorter than a seal takes it.
[[nodiscard]] std::vector<diagnostic> short_secrets(const flow_options& flow);

}  // namespace sonder::cli
