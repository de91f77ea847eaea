#pragma once

#include <filesystem>
#include <memory>

#include "log/embedded/embedded_log.h"

namespace sonder {

/// Takes writes of other processes for a log that this process writes, at `worker.sock` in its
/// folder: a Unix socket of mode 0600 that serves its owner (and root) only. One thread; bounds and
/// protocol are in write_protocol.h.
///
/// Serves until it is destroyed; the log must outlive it.
class write_server {
 public:
  [[nodiscard]] static result<std::unique_ptr<write_server>> start(embedded_log& log);
  ~write_server();
  write_server(const write_server&) = delete;
  write_server& operator=(const write_server&) = delete;

 private:
  struct parts;
  explicit write_server(std::unique_ptr<parts> made);
  std::unique_ptr<parts> parts_;
};

/// A log to append to, whoever holds the folder: opened as its writer if nobody does, else through
/// the worker's socket, with reads as a secondary. `commit` is the worker's own and refused there.
/// After an append whose answer was lost (errc::io) the records may be there or not.
/// errc::unavailable: a process writes there that serves no others.
[[nodiscard]] result<std::unique_ptr<log>> open_for_append(const std::filesystem::path& folder,
                                                           embedded_options options = {});

}  // namespace sonder
