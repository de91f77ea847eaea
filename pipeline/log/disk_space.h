#pragma once

#include <filesystem>

namespace sonder {

/// Whether a file of some size can be written. RocksDB must not be opened while it cannot: in places it takes that for a defect and
/// ends the process.
[[nodiscard]] bool has_space(const std::filesystem::path& folder);

}  // namespace sonder
