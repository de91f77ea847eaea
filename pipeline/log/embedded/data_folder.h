#pragma once

#include <filesystem>
#include <string>

#include "log/folder.h"
#include "record/result.h"

namespace sonder::embedded {

/// What lies in a data folder:
///
///     format         one line, `sonder-log <version>`: checked before anything else is opened
///     writer.lock    held by the process that writes; holds its process id
///     worker.sock    where a worker takes writes of other processes
///     db/            RocksDB
///     readers/       a folder for each process that reads, for RocksDB's own notes
inline constexpr int disk_format_version = 1;

/// One process writes there; errc::unavailable names it to a second.
inline constexpr folder_kind data_folder{
    "data folder", "writer.lock", "writes there already; stop it, or use another folder", "sonder-log ", disk_format_version,
    "restore the folder from a copy, or move it away to start empty"};

/// Whether a file of some size can be written. RocksDB must not be opened while it cannot: in places it takes that for a defect and
/// ends the process.
[[nodiscard]] bool has_space(const std::filesystem::path& folder);

/// A fresh folder under `readers/`; folders of processes that have ended are taken away on the way.
[[nodiscard]] result<std::filesystem::path> make_reader_folder(const std::filesystem::path& folder);
void sweep_reader_folders(const std::filesystem::path& folder) noexcept;

}  // namespace sonder::embedded
