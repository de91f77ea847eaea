#pragma once

#include <sys/resource.h>

#include <csignal>

namespace sonder {

/// For tests: while it lives no file of this process may grow beyond a size; a write beyond fails as on a full disk.
class small_disk {
 public:
  explicit small_disk(rlim_t file_bytes_max) {
    std::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &before_);
    rlimit small = before_;
    small.rlim_cur = file_bytes_max;
    ::setrlimit(RLIMIT_FSIZE, &small);
  }
  ~small_disk() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, SIG_DFL);
  }
  small_disk(const small_disk&) = delete;
  small_disk& operator=(const small_disk&) = delete;

 private:
  rlimit before_{};
};

}  // namespace sonder
