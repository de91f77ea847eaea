#include "log/folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

namespace sonder {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t note_bytes_max = 64;
constexpr int lock_attempts = 4;
constexpr std::chrono::milliseconds lock_pause(5);

std::string place(const fs::path& folder, const folder_kind& kind) {
  return std::string(kind.what) + " " + folder.string();
}

// What to do about it, where the cause is that this user may not write.
std::string remedy(int cause, const folder_kind& kind) {
  if (cause != EACCES && cause != EPERM && cause != EROFS) return "";
  return "; let the user who runs sonder write to the " + std::string(kind.what) + ", or use another one (--data-dir DIR)";
}

tl::unexpected<error> io_error(const fs::path& where, std::string_view doing, const folder_kind& kind) {
  const int cause = errno;
  return fail(errc::io, where.string() + ": " + std::string(doing) + ": " + std::strerror(cause) + remedy(cause, kind));
}

std::string read_note(int fd) {
  char text[note_bytes_max];
  const ssize_t got = ::pread(fd, text, sizeof text, 0);
  std::string note(text, got > 0 ? static_cast<std::size_t>(got) : 0);
  while (!note.empty() && note.back() == '\n') note.pop_back();
  return note;
}

bool write_note(int fd, std::string_view text) {
  if (::ftruncate(fd, 0) != 0) return false;
  const auto written = ::pwrite(fd, text.data(), text.size(), 0);
  if (written == static_cast<ssize_t>(text.size())) return true;
  if (written >= 0) errno = ENOSPC;  // there was room for a part of it
  return false;
}

// Written beside and renamed, so that a crash leaves no half a note.
status write_format(const fs::path& folder, const folder_kind& kind) {
  const fs::path fresh = folder / "format.new";
  const int fd = ::open(fresh.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
  if (fd < 0) return io_error(fresh, "cannot create", kind);
  const bool whole = write_note(fd, std::string(kind.format_word) + std::to_string(kind.version) + "\n") && ::fsync(fd) == 0;
  const int cause = errno;
  ::close(fd);
  errno = cause;
  if (!whole) return io_error(fresh, "cannot write", kind);
  if (::rename(fresh.c_str(), (folder / "format").c_str()) != 0) return io_error(fresh, "cannot rename", kind);
  // The name itself must be on disk before the database that it speaks for.
  const int directory = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool durable = directory >= 0 && ::fsync(directory) == 0;
  const int reason = errno;
  if (directory >= 0) ::close(directory);
  errno = reason;
  if (!durable) return io_error(folder, "cannot make its entries durable", kind);
  return {};
}

}  // namespace

result<folder_lock> folder_lock::take(const fs::path& folder, const folder_kind& kind) {
  const fs::path path = folder / kind.lock_file;
  const int fd = ::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  if (fd < 0) return io_error(path, "cannot open", kind);
  // Who asks for the holder (`find_holder`) has the lock for a moment.
  int refused = ::flock(fd, LOCK_EX | LOCK_NB);
  for (int i = 0; refused != 0 && errno == EWOULDBLOCK && i < lock_attempts; ++i) {
    std::this_thread::sleep_for(lock_pause);
    refused = ::flock(fd, LOCK_EX | LOCK_NB);
  }
  if (refused != 0) {
    const int cause = errno;
    const std::string holder = read_note(fd);
    ::close(fd);
    errno = cause;
    if (cause != EWOULDBLOCK) return io_error(path, "cannot lock", kind);
    return fail(errc::unavailable, place(folder, kind) + ": process " + (holder.empty() ? "of unknown id" : holder) + " " +
                                       std::string(kind.held));
  }
  if (!write_note(fd, std::to_string(::getpid()) + "\n")) {
    auto failed = io_error(path, "cannot write", kind);
    ::close(fd);
    return failed;
  }
  return folder_lock(fd);
}

folder_lock::folder_lock(folder_lock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

folder_lock& folder_lock::operator=(folder_lock&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

folder_lock::~folder_lock() {
  if (fd_ >= 0) ::close(fd_);
}

result<std::string> find_holder(const fs::path& folder, const folder_kind& kind) {
  const fs::path path = folder / kind.lock_file;
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT) return std::string();
  if (fd < 0) return io_error(path, "cannot open", kind);
  std::string found;
  if (::flock(fd, LOCK_SH | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) {
      auto failed = io_error(path, "cannot look at its lock", kind);
      ::close(fd);
      return failed;
    }
    found = read_note(fd);
    if (found.empty()) found = "of unknown id";
  }
  ::close(fd);
  return found;
}

status make_folder(const fs::path& folder, const folder_kind& kind) {
  std::error_code failed;
  if (fs::is_directory(folder, failed)) return {};
  fs::create_directories(folder, failed);
  if (failed) return fail(errc::io, place(folder, kind) + ": cannot create: " + failed.message() + remedy(failed.value(), kind));
  fs::permissions(folder, fs::perms::owner_all, failed);
  if (failed) return fail(errc::io, place(folder, kind) + ": cannot set permissions: " + failed.message());
  return {};
}

status check_format(const fs::path& folder, const folder_kind& kind, bool create) {
  const fs::path path = folder / "format";
  const std::string way_out = "; " + std::string(kind.way_out);
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    if (errno != ENOENT) return io_error(path, "cannot read", kind);
    std::error_code ignored;
    if (fs::exists(folder / "db" / "CURRENT", ignored))
      return fail(errc::corrupt, place(folder, kind) + ": has a database but no file `format`" + way_out);
    if (!create)
      return fail(errc::not_found, place(folder, kind) + ": holds no log yet; `sonder run` or `sonder produce` makes one");
    return write_format(folder, kind);
  }
  const std::string note = read_note(fd);
  ::close(fd);
  int version = 0;
  if (note.starts_with(kind.format_word))
    std::from_chars(note.data() + kind.format_word.size(), note.data() + note.size(), version);
  if (version <= 0)
    return fail(errc::corrupt, path.string() + ": does not say `" + std::string(kind.format_word) + "<version>`" + way_out);
  if (version > kind.version) {
    return fail(errc::unsupported, place(folder, kind) + ": has disk format " + std::to_string(version) +
                                       ", this program knows up to " + std::to_string(kind.version) +
                                       "; use a newer sonder, or another folder");
  }
  return {};
}

}  // namespace sonder
