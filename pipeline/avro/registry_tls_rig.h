#pragma once

#include <atomic>
#include <string>
#include <thread>

namespace sonder::test {

/// A server on localhost with TLS that gives every request the same answer. Its certificate, which
/// signs itself, is for the name localhost. (Debian 12's civetweb ends in a crash with OpenSSL 3.)
class tls_server {
 public:
  /// Writes the certificate to `certificate_file`, for clients to trust.
  tls_server(const std::string& certificate_file, std::string body);
  ~tls_server();

  [[nodiscard]] int port() const { return port_; }
  /// How many requests came through TLS.
  [[nodiscard]] int requests() const { return requests_; }

 private:
  void serve();

  std::string body_;
  void* context_ = nullptr;
  int listening_ = -1;
  int port_ = 0;
  std::atomic<int> requests_{0};
  std::thread thread_;
};

}  // namespace sonder::test
