#include "log/kafka/client.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <string_view>
#include <thread>

namespace sonder::kafka {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// As librdkafka 2.0.2 words them (rdkafka_ssl.c, rdkafka_request.c, rdkafka_broker.c,
// rdkafka_transport.c).
TEST(KafkaClient, TakesForARefusalWhatABrokerSaysAndNotThatAConnectionBroke) {
  for (const auto* refusal :
       {"ssl://h:1/1: SSL handshake failed: error:0A000086:SSL routines::certificate verify "
        "failed: broker certificate could not be "
        "verified, verify that ssl.ca.location is correctly configured or root CA certificates are "
        "installed (install "
        "ca-certificates package) (after 5ms in state SSL_HANDSHAKE)",
        "ssl://h:1/1: SSL handshake failed: ssl/record/rec_layer_s3.c:1584: error:0A00045C:SSL "
        "routines::tlsv13 alert certificate "
        "required: SSL alert number 116 (after 5ms in state SSL_HANDSHAKE)",
        "ssl://h:1/1: Failed to verify broker certificate: self-signed certificate (after 5ms in "
        "state SSL_HANDSHAKE)",
        "sasl_ssl://h:1/1: SASL authentication error: Authentication failed: Invalid username or "
        "password (after 300ms in state "
        "AUTH_REQ)",
        "sasl_ssl://h:1/1: SASL SCRAM-SHA-256 mechanism handshake failed: Broker: Unsupported SASL "
        "mechanism: broker's supported "
        "mechanisms: PLAIN (after 1ms in state AUTH_HANDSHAKE)",
        "sasl_ssl://h:1/1: SASL SCRAM authentication failed: broker responded with error: "
        "unknown-user"}) {
    EXPECT_TRUE(says_refused(refusal)) << refusal;
  }
  for (const auto* broken :
       {"ssl://h:1/1: SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker "
        "listener? (after 2ms in state SSL_HANDSHAKE)",
        "ssl://h:1/1: SSL handshake failed: error:0A000126:SSL routines::unexpected eof while "
        "reading (after 0ms in state SSL_HANDSHAKE)",
        "ssl://h:1/1: SSL handshake failed: SSL transport error: Connection timed out (after 2ms "
        "in state SSL_HANDSHAKE)",
        "sasl_ssl://h:1/1: SASL authentication error: SaslAuthenticateRequest failed: Local: "
        "Broker transport failure (after 0ms in "
        "state AUTH_REQ)",
        "sasl_ssl://h:1/1: SASL authentication failure: Disconnected (after 0ms in state "
        "AUTH_LEGACY)",
        "sasl_ssl://h:1/1: SASL PLAIN mechanism handshake failed: Local: Broker transport failure: "
        "broker's supported mechanisms:  "
        "(after 0ms in state AUTH_HANDSHAKE)",
        "ssl://h:1/1: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state "
        "CONNECT)"}) {
    EXPECT_FALSE(says_refused(broken)) << broken;
  }
}

/// A balancer without a broker behind it: takes a connection, waits for the first bytes and says no
/// more.
class hanging_up {
 public:
  hanging_up() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in where{};
    where.sin_family = AF_INET;
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof where;
    auto* const plain = reinterpret_cast<sockaddr*>(&where);
    if (::bind(socket_, plain, size) != 0 || ::listen(socket_, 16) != 0 ||
        ::getsockname(socket_, plain, &size) != 0)
      throw std::runtime_error("cannot listen");
    address_ = "127.0.0.1:" + std::to_string(ntohs(where.sin_port));
    thread_ = std::thread([this] { serve(); });
  }
  ~hanging_up() {
    ::shutdown(socket_, SHUT_RDWR);  // ends accept
    thread_.join();
    ::close(socket_);
  }
  hanging_up(const hanging_up&) = delete;
  hanging_up& operator=(const hanging_up&) = delete;

  [[nodiscard]] const std::string& address() const { return address_; }

 private:
  void serve() {
    for (int one = -1; (one = ::accept(socket_, nullptr, nullptr)) >= 0;) {
      char bytes[4096];
      static_cast<void>(::recv(one, bytes, sizeof bytes, 0));
      // Then until the other side hangs up too: with what is unread it would be told of a reset,
      // and not of an end.
      ::shutdown(one, SHUT_WR);
      while (::recv(one, bytes, sizeof bytes, 0) > 0) {
      }
      ::close(one);
    }
  }

  int socket_;
  std::string address_;
  std::thread thread_;
};

TEST(KafkaClient, WaitsForABrokerWhoseConnectionsBreakWithinTheHandshake) {
  hanging_up balancer;
  kafka_options options;
  options.bootstrap = balancer.address();
  options.properties = {{"security.protocol", "ssl"}};
  std::atomic<bool> within{false};
  options.on_line = [&](int, std::string_view text) {
    if (text.find("SSL handshake failed") != std::string_view::npos) within = true;
  };
  // Of the same end librdkafka sometimes says only that it was disconnected: until it says what
  // used to be taken for a refusal.
  for (int tries = 0; tries < 20 && !within; ++tries) {
    const auto made = client::make(options, {});
    ASSERT_TRUE(made) << made.error().message;
    const auto connected = (*made)->connect(600ms);
    ASSERT_FALSE(connected);
    EXPECT_EQ(connected.error().code, errc::unavailable);
    EXPECT_THAT(connected.error().message,
                AllOf(HasSubstr("no broker answers"), HasSubstr("SSL_HANDSHAKE"),
                      Not(HasSubstr("refuses"))));
  }
  EXPECT_TRUE(within);
}

// Brokers inside librdkafka: no real one can be told whom to make the leader, and when.
class BrokersInside : public ::testing::Test {
 protected:
  void SetUp() override {
    host_ = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), nullptr, 0);
    ASSERT_NE(host_, nullptr);
    cluster_ = rd_kafka_mock_cluster_new(host_, 2);
    ASSERT_NE(cluster_, nullptr);
    ASSERT_EQ(rd_kafka_mock_topic_create(cluster_, "events", 1, 2), RD_KAFKA_RESP_ERR_NO_ERROR);
    lead(1);
    options_.bootstrap = rd_kafka_mock_cluster_bootstraps(cluster_);
  }
  void TearDown() override {
    if (cluster_ != nullptr) rd_kafka_mock_cluster_destroy(cluster_);
    if (host_ != nullptr) rd_kafka_destroy(host_);
  }

  void lead(std::int32_t broker) {
    ASSERT_EQ(rd_kafka_mock_partition_set_leader(cluster_, "events", 0, broker), RD_KAFKA_RESP_ERR_NO_ERROR);
  }

  // librdkafka's code, and where it was none the offset.
  std::pair<int, std::int64_t> end_of_events(const client& asks) {
    auto* list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, "events", 0)->offset = RD_KAFKA_OFFSET_END;
    const int code = asks.offsets_for_times(list, 1s);
    const auto offset = list->elems[0].offset;
    rd_kafka_topic_partition_list_destroy(list);
    return {code, offset};
  }

  kafka_options options_;

 private:
  rd_kafka_t* host_ = nullptr;
  rd_kafka_mock_cluster_t* cluster_ = nullptr;
};

TEST_F(BrokersInside, AnswerWhoAsksAgainAfterALeaderHasMoved) {
  auto made = client::make(options_, {.role = client_role::watermark});
  ASSERT_TRUE(made) << made.error().message;
  const auto known = end_of_events(**made);
  ASSERT_EQ(known.first, RD_KAFKA_RESP_ERR_NO_ERROR) << rd_kafka_err2name(static_cast<rd_kafka_resp_err_t>(known.first));
  lead(2);
  // Without being told, it would ask the old leader until it refreshes its metadata, in half a minute or later.
  int code = RD_KAFKA_RESP_ERR__NOENT;
  const auto until = std::chrono::steady_clock::now() + 5s;
  while (std::chrono::steady_clock::now() < until) {
    code = end_of_events(**made).first;
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) break;
    std::this_thread::sleep_for(50ms);
  }
  EXPECT_EQ(code, RD_KAFKA_RESP_ERR_NO_ERROR) << rd_kafka_err2name(static_cast<rd_kafka_resp_err_t>(code));
  EXPECT_EQ(end_of_events(**made).second, known.second);
}

}  // namespace
}  // namespace sonder::kafka
