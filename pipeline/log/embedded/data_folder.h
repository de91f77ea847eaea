#pragma once

#include <filesystem>
#include <string>

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

/// The right to write in a folder, as long as it lives. Released by the kernel when the process
/// ends, however it ends. Movable; not thread-safe.
class writer_lock {
 public:
  /// errc::unavailable names the process that holds it.
  [[nodiscard]] static result<writer_lock> take(const std::filesystem::path& folder);
  writer_lock(writer_lock&& other) noexcept;
  writer_lock& operator=(writer_lock&& other) noexcept;
  ~writer_lock();

 private:
  explicit writer_lock(int fd) noexcept : fd_(fd) {}
  int fd_ = -1;
};

/// Makes the folder and its parents, readable by its owner only, where it is missing.
[[nodiscard]] status make_folder(const std::filesystem::path& folder);

/// Refuses a folder of another format. With `create`, writes the note into a folder that holds
/// nothing of ours yet.
[[nodiscard]] status check_format(const std::filesystem::path& folder, bool create);

/// A fresh folder under `readers/`; folders of processes that have ended are taken away on the way.
[[nodiscard]] result<std::filesystem::path> make_reader_folder(const std::filesystem::path& folder);
void sweep_reader_folders(const std::filesystem::path& folder) noexcept;

}  // namespace sonder::embedded
