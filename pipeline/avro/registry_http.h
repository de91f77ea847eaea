#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "record/result.h"

namespace sonder {

/// Where a registry answers and how it knows us. Passwords, tokens and keys are in no message.
struct registry_endpoint {
  std::string url;   ///< root of the protocol: http[s]://host[:port][/path]
  std::string user;  ///< with `password`: basic authentication
  std::string password;
  std::string bearer_token;
  std::string ca_file;             ///< PEM, certificates to trust; empty: the system's
  std::string client_certificate;  ///< PEM, with `client_key`: what the server asks of clients
  std::string client_key;
};

/// Requests to one registry over one connection that is kept. Not thread-safe.
///
/// Follows no redirection (credentials would go along), accepts no compressed answer, and takes at
/// most `answer_bytes_max` bytes of body and `header_bytes_max` of headers.
class registry_http {
 public:
  static constexpr std::size_t answer_bytes_max = std::size_t{8} << 20;
  static constexpr std::size_t header_bytes_max = std::size_t{64} << 10;

  enum class method { get, post, put };
  struct answer {
    long status = 0;
    std::string body;
  };

  /// errc::invalid: the URL, or a file that cannot be read.
  [[nodiscard]] static result<std::unique_ptr<registry_http>> open(registry_endpoint at);
  ~registry_http();
  registry_http(const registry_http&) = delete;
  registry_http& operator=(const registry_http&) = delete;

  /// Any answer of HTTP is an answer. errc::unavailable: there was none within `timeout`, or one
  /// beyond the bounds.
  [[nodiscard]] result<answer> ask(method how, const std::string& path, const std::string& body,
                                   std::chrono::milliseconds timeout);

  /// The URL, for messages.
  [[nodiscard]] const std::string& url() const noexcept;

  /// `text` as one segment of a path.
  [[nodiscard]] static std::string segment(std::string_view text);

 private:
  struct parts;
  explicit registry_http(std::unique_ptr<parts> p);
  std::unique_ptr<parts> parts_;
};

}  // namespace sonder
