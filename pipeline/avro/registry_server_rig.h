#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace sonder::test {

/// An HTTP server in this process that answers as a test wants: slowly, wrongly, or as a registry
/// should. Thread-safe.
class registry_server {
 public:
  struct request {
    std::string method;
    std::string path;  ///< as sent, with its query
    std::string body;
    std::string authorization;
    std::string accept;
  };
  struct answer {
    int status = 200;
    std::string body;
    std::string headers;  ///< more lines, each with its line end
  };
  using behaviour = std::function<answer(const request&)>;

  /// Listens on a free port.
  explicit registry_server(behaviour how);
  ~registry_server();

  [[nodiscard]] int port() const { return port_; }
  [[nodiscard]] std::string url() const;
  void behave(behaviour how);
  [[nodiscard]] std::vector<request> requests() const;

 private:
  struct parts;
  std::unique_ptr<parts> parts_;
  int port_ = 0;
};

}  // namespace sonder::test
