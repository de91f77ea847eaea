#pragma once

#include <sys/un.h>

#include <filesystem>
#include <string>
#include <utility>

#include "record/result.h"

namespace sonder::embedded {

/// A file descriptor with an owner. Movable; not thread-safe.
class descriptor {
 public:
  explicit descriptor(int fd = -1) noexcept : fd_(fd) {}
  descriptor(descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  descriptor& operator=(descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~descriptor();

  [[nodiscard]] int get() const noexcept { return fd_; }
  [[nodiscard]] bool open() const noexcept { return fd_ >= 0; }

 private:
  int fd_;
};

/// The address of the socket in a folder, however long the folder's path is: a socket's own path
/// may have 107 bytes, so that a longer one goes through a descriptor of the folder, which must
/// stay open while the address is used.
struct socket_address {
  sockaddr_un address{};
  descriptor folder;
};
[[nodiscard]] result<socket_address> worker_address(const std::filesystem::path& folder);

[[nodiscard]] tl::unexpected<error> socket_error(const std::filesystem::path& folder,
                                                 const char* doing);

}  // namespace sonder::embedded
