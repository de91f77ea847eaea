#include "log/embedded/data_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>
#include <string_view>
#include <utility>

namespace sonder::embedded {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view format_word = "sonder-log ";
constexpr std::size_t note_bytes_max = 64;

std::string place(const fs::path& folder) {
  return "data folder " + folder.string();
}

// What to do about it, where the cause is that this user may not write.
std::string remedy(int cause) {
  if (cause != EACCES && cause != EPERM && cause != EROFS) return "";
  return "; let the user who runs sonder write to the data folder, or use another one (--data-dir DIR)";
}

tl::unexpected<error> io_error(const fs::path& where, std::string_view doing) {
  const int cause = errno;
  return fail(errc::io, where.string() + ": " + std::string(doing) + ": " + std::strerror(cause) + remedy(cause));
}

std::string read_note(int fd) {
  char text[note_bytes_max];
  const ssize_t got = ::pread(fd, text, sizeof text, 0);
  return got > 0 ? std::string(text, static_cast<std::size_t>(got)) : std::string();
}

bool write_note(int fd, std::string_view text) {
  return ::ftruncate(fd, 0) == 0 &&
         ::pwrite(fd, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size());
}

// Written beside and renamed, so that a crash leaves no half a note.
status write_format(const fs::path& folder) {
  const fs::path fresh = folder / "format.new";
  const int fd = ::open(fresh.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
  if (fd < 0) return io_error(fresh, "cannot create");
  const bool whole =
      write_note(fd, std::string(format_word) + std::to_string(disk_format_version) + "\n") &&
      ::fsync(fd) == 0;
  const int cause = errno;
  ::close(fd);
  if (!whole) {
    errno = cause;
    return io_error(fresh, "cannot write");
  }
  if (::rename(fresh.c_str(), (folder / "format").c_str()) != 0)
    return io_error(fresh, "cannot rename");
  // The name itself must be on disk before the database that it speaks for.
  const int directory = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool durable = directory >= 0 && ::fsync(directory) == 0;
  const int reason = errno;
  if (directory >= 0) ::close(directory);
  errno = reason;
  if (!durable) return io_error(folder, "cannot make its entries durable");
  return {};
}

bool process_lives(pid_t pid) noexcept {
  return ::kill(pid, 0) == 0 || errno == EPERM;
}

}  // namespace

result<writer_lock> writer_lock::take(const fs::path& folder) {
  const fs::path path = folder / "writer.lock";
  const int fd = ::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  if (fd < 0) return io_error(path, "cannot open");
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    const int cause = errno;
    std::string holder = read_note(fd);
    ::close(fd);
    errno = cause;
    if (cause != EWOULDBLOCK) return io_error(path, "cannot lock");
    while (!holder.empty() && holder.back() == '\n') holder.pop_back();
    return fail(errc::unavailable, place(folder) + ": process " +
                                       (holder.empty() ? "of unknown id" : holder) +
                                       " writes there already; stop it, or use another folder");
  }
  if (!write_note(fd, std::to_string(::getpid()) + "\n")) {
    const auto failed = io_error(path, "cannot write");
    ::close(fd);
    return failed;
  }
  return writer_lock(fd);
}

writer_lock::writer_lock(writer_lock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

writer_lock& writer_lock::operator=(writer_lock&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

writer_lock::~writer_lock() {
  if (fd_ >= 0) ::close(fd_);
}

status make_folder(const fs::path& folder) {
  std::error_code failed;
  if (fs::is_directory(folder, failed)) return {};
  fs::create_directories(folder, failed);
  if (failed)
    return fail(errc::io, place(folder) + ": cannot create: " + failed.message() + remedy(failed.value()));
  fs::permissions(folder, fs::perms::owner_all, failed);
  if (failed)
    return fail(errc::io, place(folder) + ": cannot set permissions: " + failed.message());
  return {};
}

status check_format(const fs::path& folder, bool create) {
  const fs::path path = folder / "format";
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    if (errno != ENOENT) return io_error(path, "cannot read");
    std::error_code ignored;
    if (fs::exists(folder / "db" / "CURRENT", ignored)) {
      return fail(
          errc::corrupt,
          place(folder) +
              ": has a database but no file `format`; restore the folder from a copy, or move it "
              "away to start empty");
    }
    if (!create)
      return fail(errc::not_found,
                  place(folder) + ": holds no log yet; `sonder run` or `sonder produce` makes one");
    return write_format(folder);
  }
  const std::string note = read_note(fd);
  ::close(fd);
  int version = 0;
  if (note.starts_with(format_word)) {
    std::from_chars(note.data() + format_word.size(), note.data() + note.size(), version);
  }
  if (version <= 0) {
    return fail(
        errc::corrupt,
        path.string() +
            ": does not say `sonder-log <version>`; restore the folder from a copy, or move it "
            "away to start empty");
  }
  if (version > disk_format_version) {
    return fail(errc::unsupported, place(folder) + ": has disk format " + std::to_string(version) +
                                       ", this program knows up to " +
                                       std::to_string(disk_format_version) +
                                       "; use a newer sonder, or another folder");
  }
  return {};
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
