#pragma once

#include <functional>
#include <memory>
#include <string>

#include "observe/metrics.h"
#include "record/result.h"

namespace sonder {

/// Whether the worker may be sent work, and why not. `why` is for operators and holds nothing of a
/// record.
struct readiness {
  bool ready = false;
  std::string why;
};

struct http_options {
  std::string address = "127.0.0.1";  ///< metrics name stages and topics: opening them to a network
                                      ///< is the operator's choice
  int port = 0;                       ///< 0: any free one
};

/// What operators and Prometheus ask over HTTP: `/metrics`, `/healthz` (the process answers),
/// `/readyz` (200, or 503 with the reason).
///
/// Thread-safe. Answers GET and HEAD only, on `threads` threads of its own; a request has at most
/// `request_bytes_max` bytes and `request_ms_max` to arrive; beyond `connections_waiting_max` the
/// system refuses. `ready` is called on those threads.
class http_server {
 public:
  static constexpr int threads = 2;
  static constexpr int request_bytes_max = 8192;
  static constexpr int request_ms_max = 5000;
  static constexpr int connections_waiting_max = 16;

  /// errc::unavailable if the port is in use, with what to do; errc::invalid if the address is none.
  [[nodiscard]] static result<std::unique_ptr<http_server>> start(const http_options& options,
                                                                  const metrics& of,
                                                                  std::function<readiness()> ready);
  ~http_server();
  http_server(const http_server&) = delete;
  http_server& operator=(const http_server&) = delete;

  /// The port that it listens on.
  [[nodiscard]] int port() const noexcept;

 private:
  struct parts;
  explicit http_server(std::unique_ptr<parts> p);
  std::unique_ptr<parts> parts_;
};

}  // namespace sonder
