#include "log/kafka/notes.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

namespace sonder::kafka {
namespace {

tl::unexpected<error> cannot(const char* doing, const std::filesystem::path& file) {
  return fail(errc::io, file.string() + ": cannot " + doing + ": " + std::strerror(errno));
}

status write_and_sync(const std::filesystem::path& file, std::string_view value) {
  const int fd = ::open(file.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
  if (fd < 0) return cannot("write", file);
  status done;
  while (!value.empty() && done) {
    const auto written = ::write(fd, value.data(), value.size());
    if (written >= 0) {
      value.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno != EINTR) {
      done = cannot("write", file);
    }
  }
  if (done && ::fsync(fd) != 0) done = cannot("sync", file);
  ::close(fd);
  return done;
}

}  // namespace

// Names may have any bytes; file names are their hexadecimal form.
std::filesystem::path notes::file_of(std::string_view name) const {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (const unsigned char c : name) {
    text += digits[c >> 4];
    text += digits[c & 15];
  }
  return folder_ / (text + ".note");
}

result<std::optional<std::string>> notes::get(std::string_view name) const {
  const std::lock_guard lock(mutex_);
  const auto file = file_of(name);
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored)) return std::optional<std::string>();
  std::ifstream in(file, std::ios::binary);
  std::string value{std::istreambuf_iterator<char>(in), {}};
  if (!in.good() && !in.eof()) return cannot("read", file);
  return std::optional(std::move(value));
}

status notes::set(std::string_view name, std::string_view value) {
  const std::lock_guard lock(mutex_);
  std::error_code why;
  std::filesystem::create_directories(folder_, why);
  if (why) return fail(errc::io, folder_.string() + ": cannot be made: " + why.message());
  const auto file = file_of(name);
  auto fresh = file;
  fresh += ".new";
  SONDER_TRY(write_and_sync(fresh, value));
  std::filesystem::rename(fresh, file, why);
  if (why) return fail(errc::io, file.string() + ": cannot be replaced: " + why.message());
  return {};
}

}  // namespace sonder::kafka
