#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "record/result.h"

namespace sonder {

using ordered_json = nlohmann::ordered_json;

/// Parses JSON that was written by somebody else: well-formed UTF-8, at most `depth_max` levels, no
/// member twice. Errors hold a place in the text and nothing of it. Included by source files only.
[[nodiscard]] result<ordered_json> parse_strict_json(std::string_view text, std::size_t bytes_max,
                                                     std::size_t depth_max);

/// One member of a JSON pointer (RFC 6901), with its slash.
[[nodiscard]] std::string pointer_step(std::string_view member);

}  // namespace sonder
