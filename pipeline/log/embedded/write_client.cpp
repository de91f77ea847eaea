#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <mutex>
#include <thread>

#include "log/embedded/socket.h"
#include "log/embedded/unix_socket.h"
#include "log/embedded/write_protocol.h"

namespace sonder {
namespace {

namespace fs = std::filesystem;
using embedded::descriptor;
using embedded::write_limits;

// How long to wait for a process that holds the folder but does not serve yet, or any more.
constexpr int open_attempts_max = 40;
constexpr auto open_pause = std::chrono::milliseconds(50);
constexpr auto answer_max = std::chrono::seconds(120);

bool send_all(int socket, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

bool receive_all(int socket, void* into, std::size_t size) {
  auto* at = static_cast<char*>(into);
  while (size != 0) {
    const ssize_t got = ::recv(socket, at, size, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    at += got;
    size -= static_cast<std::size_t>(got);
  }
  return true;
}

result<descriptor> connect_to(const fs::path& folder) {
  auto address = embedded::worker_address(folder);
  if (!address) return tl::unexpected<error>(std::move(address).error());
  descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket.open()) return embedded::socket_error(folder, "cannot make a socket");
  const timeval patience{answer_max.count(), 0};
  ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address->address),
                sizeof address->address) != 0) {
    return embedded::socket_error(folder, "cannot connect");
  }
  return socket;
}

/// Reads as a secondary, writes through the socket. Thread-safe: one request at a time.
class socket_log final : public log {
 public:
  socket_log(std::unique_ptr<embedded_log> reader, descriptor socket)
      : reader_(std::move(reader)), socket_(std::move(socket)) {}

  status create_topic(const topic_config& topic) override {
    return request(embedded::encode_create_topic(topic));
  }
  status append(std::span<const produced_batch> batches) override {
    if (batches.empty()) return {};
    auto frame = embedded::encode_append(batches);
    if (!frame) return tl::unexpected<error>(std::move(frame).error());
    return request(*frame);
  }
  status set_note(std::string_view name, std::string_view value) override {
    if (name.size() > embedded_limits::name_bytes_max ||
        value.size() > embedded_limits::note_bytes_max) {
      return fail(errc::capacity, "note: longer than is allowed");
    }
    return request(embedded::encode_set_note(name, value));
  }
  status commit(const epoch_changes&) override {
    return fail(errc::unavailable,
                std::string("data folder ")
                    .append(reader_->folder().string())
                    .append(": a worker runs there already; only it commits epochs"));
  }

  result<topic_config> describe(std::string_view topic) override {
    return reader_->describe(topic);
  }
  result<std::vector<topic_config>> topics() override { return reader_->topics(); }
  result<offset_range> offsets(std::string_view topic, std::int32_t partition) override {
    return reader_->offsets(topic, partition);
  }
  result<std::int64_t> offset_at(std::string_view topic, std::int32_t partition,
                                 std::int64_t timestamp_ms) override {
    return reader_->offset_at(topic, partition, timestamp_ms);
  }
  status fetch(std::string_view topic, std::int32_t partition, std::int64_t from,
               const fetch_limits& limits, record_block& into) override {
    return reader_->fetch(topic, partition, from, limits, into);
  }
  result<std::vector<std::int64_t>> committed(std::string_view group,
                                              std::string_view topic) override {
    return reader_->committed(group, topic);
  }
  result<bool> state_get(std::string_view group, std::string_view store, std::int32_t partition,
                         bytes_view key, buffer& value) override {
    return reader_->state_get(group, store, partition, key, value);
  }
  status state_scan(std::string_view group, std::string_view store, std::int32_t partition,
                    bytes_view prefix, state_visitor visit, void* ctx) override {
    return reader_->state_scan(group, store, partition, prefix, visit, ctx);
  }
  result<group_state> describe_group(std::string_view group) override {
    return reader_->describe_group(group);
  }
  result<state_size> size_of_state(std::string_view group, std::string_view store,
                                   std::int32_t partition) override {
    return reader_->size_of_state(group, store, partition);
  }
  void wait_for_records(std::uint64_t& seen, std::chrono::milliseconds at_most) override {
    reader_->wait_for_records(seen, at_most);
  }
  result<std::optional<std::string>> note(std::string_view name) override {
    return reader_->note(name);
  }

 private:
  status request(std::string_view frame) {
    const std::lock_guard guard(mutex_);
    if (!socket_.open()) {
      auto again = connect_to(reader_->folder());
      if (!again) return tl::unexpected<error>(std::move(again).error());
      socket_ = std::move(*again);
    }
    std::uint32_t size = 0;
    std::string body;
    // A worker that refuses before it has read everything has answered all the same: look for the
    // answer in any case.
    static_cast<void>(send_all(socket_.get(), frame));
    bool answered = receive_all(socket_.get(), &size, sizeof size) && size != 0 &&
                    size <= write_limits::response_bytes_max;
    if (answered) {
      body.resize(size);
      answered = receive_all(socket_.get(), body.data(), size);
    }
    if (!answered) {
      socket_ = descriptor();
      return fail(
          errc::io,
          std::string("data folder ")
              .append(reader_->folder().string())
              .append(
                  ": the worker went away before it answered; what was sent may be there or not"));
    }
    return embedded::parse_response(as_bytes(body));
  }

  std::unique_ptr<embedded_log> reader_;
  std::mutex mutex_;
  descriptor socket_;
};

}  // namespace

result<std::unique_ptr<log>> open_for_append(const fs::path& folder, embedded_options options) {
  options.mode = embedded_options::access::writer;
  for (int attempt = 1;; ++attempt) {
    auto own = open_embedded_log(folder, options);
    if (own) return std::unique_ptr<log>(std::move(*own));
    if (own.error().code != errc::unavailable) return tl::unexpected<error>(std::move(own).error());
    auto socket = connect_to(folder);
    if (socket) {
      auto read_options = options;
      read_options.mode = embedded_options::access::reader;
      auto reader = open_embedded_log(folder, read_options);
      if (!reader) return tl::unexpected<error>(std::move(reader).error());
      return std::make_unique<socket_log>(std::move(*reader), std::move(*socket));
    }
    if (attempt == open_attempts_max) {
      return fail(errc::unavailable, own.error().message + " (it takes no writes of others: " +
                                         socket.error().message + ")");
    }
    std::this_thread::sleep_for(open_pause);
  }
}

}  // namespace sonder
