#include "observe/http.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <thread>

namespace sonder {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// What the server says to these bytes, until it closes.
std::string converse(int port, const std::string& request) {
  const int to = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string answer;
  if (::connect(to, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    const timeval patience{40, 0};
    ::setsockopt(to, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    std::size_t sent = 0;
    while (sent < request.size()) {
      const auto n = ::send(to, request.data() + sent, request.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) break;
      sent += static_cast<std::size_t>(n);
    }
    char bytes[4096];
    for (ssize_t n = 0; (n = ::recv(to, bytes, sizeof bytes, 0)) > 0;)
      answer.append(bytes, static_cast<std::size_t>(n));
  }
  ::close(to);
  return answer;
}

std::string get(int port, const std::string& path) {
  return converse(port, "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n");
}

TEST(HttpAddress, IsOneOfThisMachineAndNothingElse) {
  metrics of;
  const auto start = [&](const std::string& address) {
    const auto started = http_server::start({.address = address}, of, [] { return readiness{}; });
    return started ? std::string("started") : started.error().message;
  };
  EXPECT_EQ(start("127.0.0.3"), "started");
  for (const std::string address : {"localhost", "", "127.0.0.1:1,0.0.0.0", "0.0.0.0:80r"}) {
    EXPECT_EQ(start(address),
              "HTTP address must be an IPv4 or IPv6 address such as 127.0.0.1, 0.0.0.0 or ::1, found \"" + address +
                  "\"; set run.http_address");
  }
}

struct HttpServer : ::testing::Test {
  metrics of;
  std::atomic<bool> ready = false;
  std::unique_ptr<http_server> server;

  void SetUp() override {
    auto started = http_server::start({}, of, [this] {
      return ready ? readiness{true, ""} : readiness{false, "restoring store \"consents\""};
    });
    ASSERT_TRUE(started) << started.error().message;
    server = std::move(*started);
  }
};

TEST_F(HttpServer, TellsThePortThatItChose) {
  EXPECT_GT(server->port(), 0);
}

TEST_F(HttpServer, ShowsMetricsInPrometheusTextFormat) {
  of.counter_of(metric::retries, {"sentiment"}).add(4);
  const auto answer = get(server->port(), "/metrics");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(answer, HasSubstr("Content-Type: text/plain; version=0.0.4"));
  EXPECT_THAT(answer, HasSubstr("sonder_stage_retries_total{node=\"sentiment\"} 4"));
}

TEST_F(HttpServer, IsHealthyWhileTheProcessAnswers) {
  EXPECT_THAT(get(server->port(), "/healthz"), StartsWith("HTTP/1.1 200"));
}

TEST_F(HttpServer, SaysWhyItIsNotReadyAndThenThatItIs) {
  const auto before = get(server->port(), "/readyz");
  EXPECT_THAT(before, StartsWith("HTTP/1.1 503"));
  EXPECT_THAT(before, HasSubstr("not ready: restoring store \"consents\""));
  ready = true;
  EXPECT_THAT(get(server->port(), "/readyz"), StartsWith("HTTP/1.1 200"));
}

TEST_F(HttpServer, HasNothingElse) {
  EXPECT_THAT(get(server->port(), "/"), StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(get(server->port(), "/metrics/x"), StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(
      converse(server->port(), "POST /metrics HTTP/1.1\r\nHost: l\r\nContent-Length: 0\r\n\r\n"),
      StartsWith("HTTP/1.1 405"));
}

TEST_F(HttpServer, RefusesARequestThatIsTooLong) {
  const auto answer =
      get(server->port(), "/metrics?" + std::string(2 * http_server::request_bytes_max, 'x'));
  EXPECT_THAT(answer, Not(HasSubstr("200 OK")));
  EXPECT_THAT(get(server->port(), "/healthz"), StartsWith("HTTP/1.1 200"));
}

TEST_F(HttpServer, SaysWhatToDoWhenThePortIsInUse) {
  const auto second = http_server::start({"127.0.0.1", server->port()}, of, [] {
    return readiness{true, ""};
  });
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, errc::unavailable);
  EXPECT_EQ(second.error().message,
            "HTTP server cannot listen on 127.0.0.1:" + std::to_string(server->port()) +
                ": the port is in use; choose another one with --set run.http_port=PORT, 0 for any "
                "that is free, or -1 for none");
}

TEST(HttpServerStart, TellsAnAddressThatThisMachineHasNotFromAPortInUse) {
  metrics of;
  const auto start = [&](const std::string& address) {
    const auto started = http_server::start({address, 0}, of, [] { return readiness{}; });
    return started ? std::string("started") : started.error().message;
  };
  const std::string advice =
      ": this machine has no such address; set run.http_address to one of its own, or to 0.0.0.0 "
      "for all";
  EXPECT_EQ(start("192.0.2.1"), "HTTP server cannot listen on 192.0.2.1:0" +
                                    advice);  // for documentation only (RFC 5737)
  EXPECT_EQ(start("2001:db8::1"),
            "HTTP server cannot listen on [2001:db8::1]:0" + advice);  // as well (RFC 3849)
}

TEST(HttpServerStart, RefusesAPortThatCannotBe) {
  metrics of;
  const auto started = http_server::start({"127.0.0.1", 70000}, of, [] { return readiness{}; });
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().message, "HTTP port must be 0 to 65535, found 70000");
}

}  // namespace
}  // namespace sonder
