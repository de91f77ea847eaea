#include "log/kafka/client.h"

#include <gtest/gtest.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include <thread>

namespace sonder::kafka {
namespace {

using namespace std::chrono_literals;

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
