#include "log/embedded/data_folder.h"

#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <csignal>

#include "log/disk_space.h"

namespace sonder::embedded {
namespace {

namespace fs = std::filesystem;

bool process_lives(pid_t pid) noexcept {
  return ::kill(pid, 0) == 0 || errno == EPERM;
}

}  // namespace

bool has_space(const fs::path& folder) {
  return sonder::has_space(folder);
}

result<fs::path> make_reader_folder(const fs::path& folder) {
  static std::atomic<unsigned> counter{0};
  sweep_reader_folders(folder);
  const fs::path made =
      folder / "readers" / (std::to_string(::getpid()) + "-" + std::to_string(counter++));
  std::error_code failed;
  fs::create_directories(made, failed);
  if (failed) return fail(errc::io, made.string() + ": cannot create: " + failed.message());
  return made;
}

void sweep_reader_folders(const fs::path& folder) noexcept {
  std::error_code ignored;
  for (fs::directory_iterator at(folder / "readers", ignored), end; !ignored && at != end;
       at.increment(ignored)) {
    const std::string name = at->path().filename().string();
    pid_t pid = 0;
    std::from_chars(name.data(), name.data() + name.size(), pid);
    if (pid > 0 && !process_lives(pid)) {
      std::error_code failed;
      fs::remove_all(at->path(), failed);
    }
  }
}

}  // namespace sonder::embedded
