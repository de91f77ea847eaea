#pragma once

#include <string>

#include "plugin/manifest.h"

namespace sonder {

/// Everything that a manifest says, for people: aligned columns, no colour, ends with a newline.
/// `path` heads it.
[[nodiscard]] std::string inspect_text(const manifest& of, const std::string& path);

/// The same as one JSON object in the manifest's own form, normalised: every property there, types
/// as Avro fragments, and `path`.
[[nodiscard]] std::string inspect_json(const manifest& of, const std::string& path);

}  // namespace sonder
