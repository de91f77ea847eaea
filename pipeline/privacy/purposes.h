#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "record/result.h"

namespace sonder {

/// Local names of the purposes of the W3C Data Privacy Vocabulary, version 2.2, sorted.
///
/// Source: https://w3id.org/dpv, module "purposes", (c) W3C Data Privacy Vocabularies and Controls
/// Community Group, under the W3C Software and Document licence. Names only.
[[nodiscard]] const std::vector<std::string>& dpv_purposes();

/// Accepts a purpose of DPV, or one of the operator's own as `prefix:Name`. The prefix keeps a
/// misspelt `ServicePersonalization` from becoming a purpose that nobody was asked about.
[[nodiscard]] status check_purpose(std::string_view purpose);

}  // namespace sonder
