#include "log/embedded/unix_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace sonder::embedded {

descriptor::~descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

tl::unexpected<error> socket_error(const std::filesystem::path& folder, const char* doing) {
  return fail(errc::io, (folder / "worker.sock")
                            .string()
                            .append(": ")
                            .append(doing)
                            .append(": ")
                            .append(std::strerror(errno)));
}

result<socket_address> worker_address(const std::filesystem::path& folder) {
  socket_address made;
  made.address.sun_family = AF_UNIX;
  std::string path = (folder / "worker.sock").string();
  if (path.size() >= sizeof made.address.sun_path) {
    made.folder = descriptor(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!made.folder.open()) return socket_error(folder, "cannot open its folder");
    path = std::string("/proc/self/fd/")
               .append(std::to_string(made.folder.get()))
               .append("/worker.sock");
  }
  std::memcpy(made.address.sun_path, path.c_str(), path.size() + 1);
  return made;
}

}  // namespace sonder::embedded
