#pragma once

#include <string>
#include <vector>

#include "cli/case_file.h"
#include "record/result.h"

namespace sonder::cli {

/// Runs one case through the real worker on an embedded log in a folder of its own, which is
/// removed afterwards. Secrets of the flow are replaced by fixed ones, so that pseudonyms are the
/// same on every run. Answers what differs from what is expected, one message each; an error if the
/// case could not run.
[[nodiscard]] result<std::vector<std::string>> run_case(const flow_case& of);

}  // namespace sonder::cli
