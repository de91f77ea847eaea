#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "record/result.h"

namespace sonder {

/// A kind of folder that one process at a time has and whose content has a version. Words for its messages:
/// `<what> <path>: process 17 <held>`, `<what> <path>: has disk format 2, ...`.
struct folder_kind {
  std::string_view what;         ///< "data folder"
  std::string_view lock_file;    ///< held by the process that has it, whose id it holds
  std::string_view held;         ///< what a second process is told
  std::string_view format_word;  ///< before the version in the file `format`: "sonder-log "
  int version = 1;               ///< newest that this program knows
  std::string_view way_out;      ///< what to do where the content cannot be used
};

/// The right to a folder, as long as it lives. Released by the kernel when the process ends, however it ends. Movable; not
/// thread-safe.
class folder_lock {
 public:
  /// errc::unavailable names the process that holds it.
  [[nodiscard]] static result<folder_lock> take(const std::filesystem::path& folder, const folder_kind& kind);
  folder_lock(folder_lock&& other) noexcept;
  folder_lock& operator=(folder_lock&& other) noexcept;
  ~folder_lock();

 private:
  explicit folder_lock(int fd) noexcept : fd_(fd) {}
  int fd_ = -1;
};

/// The process that has the folder, as its lock's file notes it; empty: nobody has.
[[nodiscard]] result<std::string> find_holder(const std::filesystem::path& folder, const folder_kind& kind);

/// Makes the folder and its parents, readable by its owner only, where it is missing.
[[nodiscard]] status make_folder(const std::filesystem::path& folder, const folder_kind& kind);

/// Refuses a folder of a newer format (errc::unsupported), and one whose note is damaged, or missing beside a database
/// (errc::corrupt). One that holds nothing yet is errc::not_found, or gets its note with `create`.
[[nodiscard]] status check_format(const std::filesystem::path& folder, const folder_kind& kind, bool create);

}  // namespace sonder
