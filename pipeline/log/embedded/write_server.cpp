#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

#include "log/embedded/socket.h"
#include "log/embedded/unix_socket.h"
#include "log/embedded/write_protocol.h"

namespace sonder {

using embedded::descriptor;
using embedded::write_limits;
using steady = std::chrono::steady_clock;

namespace {

constexpr int backlog = 16;
constexpr std::size_t receive_bytes = 256 << 10;
// A connection that leaves a request half sent, or a response unread, is closed after this.
constexpr auto stall_max = std::chrono::seconds(30);
constexpr auto poll_interval = std::chrono::milliseconds(1000);

struct connection {
  descriptor socket;
  std::string received;  // a frame, as far as it has come
  std::string to_send;
  steady::time_point progress_at = steady::now();
  bool closing = false;  // once everything is sent
};

// Root may do what it likes anyway; everybody else is kept out even where the file's mode is not
// looked at.
bool may_write(int socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  return ::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
         (peer.uid == ::geteuid() || peer.uid == 0);
}

}  // namespace

struct write_server::parts {
  parts(embedded_log& of, descriptor listener, descriptor stopper)
      : served(of), listening(std::move(listener)), stopping(std::move(stopper)) {}

  embedded_log& served;
  descriptor listening;
  descriptor stopping;  // an eventfd: readable once the server shall stop
  std::vector<connection> connections;
  std::thread thread;

  void run();
  void accept_one();
  [[nodiscard]] bool receive(connection& from);  // false: to be closed
  [[nodiscard]] bool send(connection& to);
  void answer_requests(connection& from);
  [[nodiscard]] std::size_t buffered() const noexcept {
    std::size_t bytes = 0;
    for (const auto& c : connections) bytes += c.received.size();
    return bytes;
  }
};

write_server::write_server(std::unique_ptr<parts> made) : parts_(std::move(made)) {}

result<std::unique_ptr<write_server>> write_server::start(embedded_log& log) {
  const auto& folder = log.folder();
  auto address = embedded::worker_address(folder);
  if (!address) return tl::unexpected<error>(std::move(address).error());
  // We hold the folder: a socket that is there belongs to nobody any more.
  ::unlink(address->address.sun_path);
  descriptor listening(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listening.open()) return embedded::socket_error(folder, "cannot make a socket");
  // Nobody can connect between `bind` and `listen`, so that the mode is right in time.
  if (::bind(listening.get(), reinterpret_cast<const sockaddr*>(&address->address),
             sizeof address->address) != 0) {
    return embedded::socket_error(folder, "cannot bind");
  }
  if (::chmod(address->address.sun_path, 0600) != 0)
    return embedded::socket_error(folder, "cannot set its mode");
  if (::listen(listening.get(), backlog) != 0)
    return embedded::socket_error(folder, "cannot listen");
  descriptor stopping(::eventfd(0, EFD_CLOEXEC));
  if (!stopping.open()) return embedded::socket_error(folder, "cannot make an eventfd");
  auto made = std::make_unique<parts>(log, std::move(listening), std::move(stopping));
  made->thread = std::thread([p = made.get()] { p->run(); });
  return std::unique_ptr<write_server>(new write_server(std::move(made)));
}

write_server::~write_server() {
  const std::uint64_t one = 1;
  // An eventfd takes a first write always.
  [[maybe_unused]] const auto written = ::write(parts_->stopping.get(), &one, sizeof one);
  parts_->thread.join();
  if (const auto address = embedded::worker_address(parts_->served.folder()))
    ::unlink(address->address.sun_path);
}

void write_server::parts::run() {
  std::vector<pollfd> watched;
  for (;;) {
    watched.clear();
    watched.push_back({stopping.get(), POLLIN, 0});
    watched.push_back({listening.get(), POLLIN, 0});
    for (const auto& c : connections) {
      watched.push_back(
          {c.socket.get(), static_cast<short>(c.to_send.empty() ? POLLIN : POLLOUT), 0});
    }
    const int ready =
        ::poll(watched.data(), watched.size(), static_cast<int>(poll_interval.count()));
    if (ready < 0 && errno != EINTR) return;
    if (watched[0].revents != 0) return;
    std::vector<connection> kept;
    kept.reserve(connections.size());
    const auto now = steady::now();
    for (std::size_t i = 0; i < connections.size(); ++i) {
      auto& c = connections[i];
      bool stays = true;
      if (ready > 0 && watched[i + 2].revents != 0)
        stays = c.to_send.empty() ? receive(c) : send(c);
      const bool waits_for_peer = !c.received.empty() || !c.to_send.empty();
      if (stays && !(waits_for_peer && now - c.progress_at > stall_max))
        kept.push_back(std::move(c));
    }
    connections = std::move(kept);
    if (ready > 0 && watched[1].revents != 0) accept_one();
  }
}

void write_server::parts::accept_one() {
  descriptor socket(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket.open()) return;
  if (!may_write(socket.get())) return;
  connection made{std::move(socket), {}, {}, steady::now(), false};
  if (connections.size() >= write_limits::connections_max) {
    made.to_send = embedded::encode_response(
        fail(errc::unavailable, "the worker serves too many writers already; try again"));
    // A socket that was just accepted takes a small answer at once.
    static_cast<void>(send(made));
    return;
  }
  connections.push_back(std::move(made));
}

bool write_server::parts::receive(connection& from) {
  const std::size_t before = from.received.size();
  if (buffered() + receive_bytes > write_limits::buffered_bytes_max) {
    from.to_send = embedded::encode_response(
        fail(errc::unavailable, "the worker receives too much at once; try again"));
    from.received.clear();
    from.closing = true;
    return send(from);
  }
  from.received.resize(before + receive_bytes);
  const ssize_t got = ::recv(from.socket.get(), from.received.data() + before, receive_bytes, 0);
  from.received.resize(before + static_cast<std::size_t>(std::max<ssize_t>(0, got)));
  if (got == 0) return false;
  if (got < 0) return errno == EAGAIN || errno == EINTR;
  from.progress_at = steady::now();
  answer_requests(from);
  return from.to_send.empty() || send(from);
}

void write_server::parts::answer_requests(connection& from) {
  std::size_t at = 0;
  while (!from.closing && from.received.size() - at >= sizeof(std::uint32_t)) {
    std::uint32_t size = 0;
    std::memcpy(&size, from.received.data() + at, sizeof size);
    if (size == 0 || size > write_limits::request_bytes_max) {
      from.to_send += embedded::encode_response(
          fail(errc::invalid, "write request: has a length that is not allowed"));
      from.closing = true;
      break;
    }
    if (from.received.size() - at - sizeof size < size) break;
    auto request = embedded::parse_request(as_bytes(from.received).subspan(at + sizeof size, size));
    at += sizeof size + size;
    if (request) {
      from.to_send += embedded::encode_response(embedded::run_request(*request, served));
    } else {
      from.to_send += embedded::encode_response(tl::unexpected<error>(request.error()));
      from.closing = true;
    }
  }
  from.received.erase(0, at);
}

bool write_server::parts::send(connection& to) {
  const ssize_t sent = ::send(to.socket.get(), to.to_send.data(), to.to_send.size(), MSG_NOSIGNAL);
  if (sent < 0) return errno == EAGAIN || errno == EINTR;
  to.to_send.erase(0, static_cast<std::size_t>(sent));
  to.progress_at = steady::now();
  return !(to.to_send.empty() && to.closing);
}

}  // namespace sonder
