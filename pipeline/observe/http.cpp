#include "observe/http.h"

#include <arpa/inet.h>
#include <civetweb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <string_view>
#include <thread>
#include <utility>

namespace sonder {

// What civetweb's callbacks are handed.
struct http_server::parts {
  const metrics* of = nullptr;
  std::function<readiness()> ready;
  mg_context* context = nullptr;
  int port = 0;
  std::string last_error;  // what civetweb said while it started

  static int on_metrics(mg_connection* from, void* ctx);
  static int on_health(mg_connection* from, void* ctx);
  static int on_ready(mg_connection* from, void* ctx);
  static int on_other(mg_connection* from, void* ctx);
  static void connect_once(int port);
  static int keep_message(const mg_connection* from, const char* message);
};

namespace {

int answer(mg_connection* to, int code, std::string_view reason, std::string_view type,
           std::string_view body) {
  const auto* request = mg_get_request_info(to);
  mg_printf(
      to,
      "HTTP/1.1 %d %.*s\r\nContent-Type: %.*s\r\nContent-Length: %zu\r\nCache-Control: no-store\r\n"
      "Connection: close\r\n\r\n",
      code, static_cast<int>(reason.size()), reason.data(), static_cast<int>(type.size()),
      type.data(), body.size());
  if (std::strcmp(request->request_method, "HEAD") != 0) mg_write(to, body.data(), body.size());
  return code;
}

constexpr std::string_view plain = "text/plain; charset=utf-8";

bool reads(mg_connection* from) {
  const std::string_view method = mg_get_request_info(from)->request_method;
  return method == "GET" || method == "HEAD";
}

// civetweb matches "/metrics" also as a prefix of "/metrics/x"; only the exact path has an answer
// here.
bool is_exactly(mg_connection* from, std::string_view path) {
  const char* asked = mg_get_request_info(from)->local_uri;
  return asked != nullptr && path == asked;
}

}  // namespace

int http_server::parts::on_metrics(mg_connection* from, void* ctx) {
  if (!is_exactly(from, "/metrics")) return answer(from, 404, "Not Found", plain, "not found\n");
  if (!reads(from)) return answer(from, 405, "Method Not Allowed", plain, "only GET\n");
  return answer(from, 200, "OK", "text/plain; version=0.0.4; charset=utf-8",
                static_cast<parts*>(ctx)->of->expose());
}

int http_server::parts::on_health(mg_connection* from, void*) {
  if (!is_exactly(from, "/healthz")) return answer(from, 404, "Not Found", plain, "not found\n");
  if (!reads(from)) return answer(from, 405, "Method Not Allowed", plain, "only GET\n");
  return answer(from, 200, "OK", plain, "ok\n");
}

int http_server::parts::on_ready(mg_connection* from, void* ctx) {
  if (!is_exactly(from, "/readyz")) return answer(from, 404, "Not Found", plain, "not found\n");
  if (!reads(from)) return answer(from, 405, "Method Not Allowed", plain, "only GET\n");
  const auto now = static_cast<parts*>(ctx)->ready();
  if (now.ready) return answer(from, 200, "OK", plain, "ready\n");
  return answer(from, 503, "Service Unavailable", plain, "not ready: " + now.why + "\n");
}

int http_server::parts::on_other(mg_connection* from, void*) {
  return answer(from, 404, "Not Found", plain,
                "not found; there are /metrics, /healthz and /readyz\n");
}

int http_server::parts::keep_message(const mg_connection* from, const char* message) {
  // Only while it starts: later messages are about single connections and name the peer.
  auto* of = static_cast<parts*>(mg_get_user_data(mg_get_context(from)));
  if (of != nullptr && of->context == nullptr) of->last_error = message;
  return 1;
}

http_server::http_server(std::unique_ptr<parts> p) : parts_(std::move(p)) {}

// civetweb's listening thread looks at its stop flag only every two seconds, or when somebody
// connects: so somebody does.
void http_server::parts::connect_once(int port) {
  std::this_thread::sleep_for(std::chrono::milliseconds(10));
  char ignored[128];
  if (auto* to = mg_connect_client("127.0.0.1", port, 0, ignored, sizeof ignored); to != nullptr)
    mg_close_connection(to);
}

http_server::~http_server() {
  if (parts_->context == nullptr) return;
  const std::jthread waker(parts::connect_once, parts_->port);
  mg_stop(parts_->context);
}

int http_server::port() const noexcept {
  return parts_->port;
}

namespace {

// Anything else would be read as civetweb's own language of ports.
bool is_address(int family, const std::string& text) {
  unsigned char parsed[sizeof(in6_addr)];
  return ::inet_pton(family, text.c_str(), parsed) == 1;
}

// Why nobody can listen there, as errno; 0 if it works now. civetweb says in words only that it
// failed.
int listening_error(bool v6, const http_options& options) {
  sockaddr_storage address{};
  socklen_t size = sizeof(sockaddr_in);
  const auto port = htons(static_cast<std::uint16_t>(options.port));
  if (v6) {
    auto* to = reinterpret_cast<sockaddr_in6*>(&address);
    to->sin6_family = AF_INET6;
    to->sin6_port = port;
    ::inet_pton(AF_INET6, options.address.c_str(), &to->sin6_addr);
    size = sizeof *to;
  } else {
    auto* to = reinterpret_cast<sockaddr_in*>(&address);
    to->sin_family = AF_INET;
    to->sin_port = port;
    ::inet_pton(AF_INET, options.address.c_str(), &to->sin_addr);
  }
  const int tried = ::socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (tried < 0) return errno;
  const int on = 1;
  ::setsockopt(tried, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const bool listens = ::bind(tried, reinterpret_cast<const sockaddr*>(&address), size) == 0 &&
                       ::listen(tried, 1) == 0;
  const int why = listens ? 0 : errno;
  ::close(tried);
  return why;
}

// What was found, and what to do.
std::string why_not_listening(int error, const std::string& said) {
  const std::string other_port =
      "choose another one with --set run.http_port=PORT, 0 for any that is free, or -1 for none";
  if (error == EADDRINUSE) return "the port is in use; " + other_port;
  if (error == EACCES) return "this user may not listen on this port; " + other_port;
  if (error == EADDRNOTAVAIL || error == EAFNOSUPPORT)
    return "this machine has no such address; set run.http_address to one of its own, or to "
           "0.0.0.0 for all";
  const auto found = error != 0     ? std::string(std::strerror(error))
                     : said.empty() ? "it does not say why"
                                    : said;
  return found + "; try again, or run without with --set run.http_port=-1";
}

}  // namespace

result<std::unique_ptr<http_server>> http_server::start(const http_options& options,
                                                        const metrics& of,
                                                        std::function<readiness()> ready) {
  if (options.port < 0 || options.port > 65535)
    return fail(errc::invalid,
                "HTTP port must be 0 to 65535, found " + std::to_string(options.port));
  const bool v6 = is_address(AF_INET6, options.address);
  if (!v6 && !is_address(AF_INET, options.address))
    return fail(errc::invalid, "HTTP address must be an IPv4 or IPv6 address such as 127.0.0.1, 0.0.0.0 or ::1, found \"" +
                                   options.address + "\"; set run.http_address");
  auto made = std::make_unique<parts>();
  made->of = &of;
  made->ready = std::move(ready);

  mg_callbacks callbacks{};
  callbacks.log_message = parts::keep_message;
  const auto address =
      (v6 ? "[" + options.address + "]" : options.address) + ":" + std::to_string(options.port);
  const auto thread_count = std::to_string(threads);
  const auto bytes = std::to_string(request_bytes_max);
  const auto ms = std::to_string(request_ms_max);
  const auto waiting = std::to_string(connections_waiting_max);
  const char* settings[] = {"listening_ports",
                            address.c_str(),
                            "num_threads",
                            thread_count.c_str(),
                            "max_request_size",
                            bytes.c_str(),
                            "request_timeout_ms",
                            ms.c_str(),
                            "connection_queue",
                            waiting.c_str(),
                            "listen_backlog",
                            waiting.c_str(),
                            "enable_keep_alive",
                            "no",
                            nullptr};
  auto* context = mg_start(&callbacks, made.get(), settings);
  if (context == nullptr)
    return fail(errc::unavailable,
                "HTTP server cannot listen on " + address + ": " +
                    why_not_listening(listening_error(v6, options), made->last_error));
  made->context = context;
  mg_server_port bound[1] = {};
  if (mg_get_server_ports(context, 1, bound) < 1) {
    mg_stop(context);
    return fail(errc::internal, "HTTP server does not say which port it listens on");
  }
  made->port = bound[0].port;
  auto* raw = made.get();
  mg_set_request_handler(context, "/metrics", parts::on_metrics, raw);
  mg_set_request_handler(context, "/healthz", parts::on_health, raw);
  mg_set_request_handler(context, "/readyz", parts::on_ready, raw);
  mg_set_request_handler(context, "/", parts::on_other, raw);
  return std::unique_ptr<http_server>(new http_server(std::move(made)));
}

}  // namespace sonder
