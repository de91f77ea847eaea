#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace sonder::test {

/// A way to a broker on which one request of a kind, or the answer to it, is lost. What comes after it on the same connection arrives.
///
/// Any thread may call it; its own thread carries the data. Tests only.
class losing_proxy {
 public:
  enum class lost : std::uint8_t { request, answer };

  /// What comes to `front` of 127.0.0.1 goes on to `behind` there.
  losing_proxy(std::uint16_t front, std::uint16_t behind) : behind_(behind) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int yes = 1;
    ::setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    const auto at = address(front);
    if (::bind(listener_, reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0 || ::listen(listener_, 64) != 0)
      throw std::runtime_error("cannot listen on port " + std::to_string(front) + ": " + std::strerror(errno));
    end_ = ::eventfd(0, EFD_CLOEXEC);
    carrier_ = std::thread([this] { carry(); });
  }
  ~losing_proxy() {
    const std::uint64_t one = 1;
    static_cast<void>(!::write(end_, &one, sizeof one));
    carrier_.join();
    for (const auto& each : links_) close(each);
    ::close(listener_);
    ::close(end_);
  }
  losing_proxy(const losing_proxy&) = delete;
  losing_proxy& operator=(const losing_proxy&) = delete;

  /// The next request with this key of Kafka's protocol.
  void lose_next(std::int16_t api_key, lost what) {
    what_.store(what);
    api_key_.store(api_key);
  }
  [[nodiscard]] bool has_lost() const { return lost_.load(); }

 private:
  static constexpr std::int16_t none = -1;
  static constexpr std::size_t size_bytes = 4;  // before each frame, both ways

  struct side {
    int from = -1;
    std::string held;  ///< of a frame that is not whole yet
  };
  struct link {
    side client, broker;
    std::set<std::uint32_t> unanswered;  ///< correlation ids of requests whose answer is to be lost
  };

  static sockaddr_in address(std::uint16_t port) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(port);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return at;
  }
  static void close(const link& of) {
    ::close(of.client.from);
    ::close(of.broker.from);
  }
  static std::uint32_t number_at(const std::string& bytes, std::size_t at) {
    std::uint32_t big_endian = 0;
    std::memcpy(&big_endian, bytes.data() + at, sizeof big_endian);
    return ntohl(big_endian);
  }

  void carry() {
    for (;;) {
      std::vector<pollfd> waits{{end_, POLLIN, 0}, {listener_, POLLIN, 0}};
      for (const auto& l : links_) {
        waits.push_back({l.client.from, POLLIN, 0});
        waits.push_back({l.broker.from, POLLIN, 0});
      }
      if (::poll(waits.data(), waits.size(), -1) < 0) continue;
      if (waits[0].revents != 0) return;
      std::vector<link> still;
      for (std::size_t i = 0; i < links_.size(); ++i) {
        auto& l = links_[i];
        const bool open = (waits[2 + 2 * i].revents == 0 || pass(l, l.client, l.broker.from, true)) &&
                          (waits[3 + 2 * i].revents == 0 || pass(l, l.broker, l.client.from, false));
        if (!open) close(l);
        if (open) still.push_back(std::move(l));
      }
      links_ = std::move(still);
      if (waits[1].revents != 0) accept();
    }
  }

  void accept() {
    const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (client < 0) return;
    const int broker = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const auto at = address(behind_);
    if (::connect(broker, reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0) {
      ::close(client);
      ::close(broker);
      return;
    }
    links_.push_back({{client, {}}, {broker, {}}, {}});
  }

  /// False: this link has ended.
  bool pass(link& on, side& of, int to, bool requests) {
    char part[64 << 10];
    const auto count = ::read(of.from, part, sizeof part);
    if (count <= 0) return false;
    of.held.append(part, static_cast<std::size_t>(count));
    while (of.held.size() >= size_bytes) {
      const auto whole = size_bytes + number_at(of.held, 0);
      if (of.held.size() < whole) break;
      const auto frame = of.held.substr(0, whole);
      of.held.erase(0, whole);
      if (requests ? loses_request(on, frame) : loses_answer(on, frame)) continue;
      for (std::size_t at = 0; at < frame.size();) {
        const auto written = ::send(to, frame.data() + at, frame.size() - at, MSG_NOSIGNAL);
        if (written <= 0) return false;
        at += static_cast<std::size_t>(written);
      }
    }
    return true;
  }

  // A request begins with its key, its version (two bytes each) and its correlation id; an answer with that id.
  bool loses_request(link& on, const std::string& frame) {
    const auto key = static_cast<std::int16_t>(number_at(frame, size_bytes) >> 16);
    auto asked = api_key_.load();
    if (asked == none || key != asked || !api_key_.compare_exchange_strong(asked, none)) return false;
    if (what_.load() == lost::request) {
      lost_.store(true);
      return true;
    }
    on.unanswered.insert(number_at(frame, size_bytes + 4));
    return false;
  }
  bool loses_answer(link& on, const std::string& frame) {
    if (on.unanswered.erase(number_at(frame, size_bytes)) == 0) return false;
    lost_.store(true);
    return true;
  }

  const std::uint16_t behind_;
  int listener_ = -1;
  int end_ = -1;
  std::vector<link> links_;  ///< of `carrier_`
  std::atomic<std::int16_t> api_key_{none};
  std::atomic<lost> what_{lost::request};
  std::atomic<bool> lost_{false};
  std::thread carrier_;
};

}  // namespace sonder::test
