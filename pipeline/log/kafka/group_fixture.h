#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <librdkafka/rdkafka.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "kafka/broker.h"
#include "log/kafka/client.h"
#include "log/kafka/member.h"

namespace sonder::kafka::testing {

using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;

/// A folder that goes away with the test.
struct scratch_folder {
  std::filesystem::path path;
  scratch_folder() {
    std::string name = (std::filesystem::temp_directory_path() / "sonder_group_XXXXXX").string();
    path = ::mkdtemp(name.data());
  }
  ~scratch_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
};

/// Until `claim` holds; false after `at_most`.
inline bool eventually(std::chrono::milliseconds at_most, const std::function<bool()>& claim) {
  const auto until = steady::now() + at_most;
  while (!claim()) {
    if (steady::now() > until) return false;
    std::this_thread::sleep_for(10ms);
  }
  return true;
}

using change = std::pair<std::string, std::optional<std::string>>;  // nothing: a tombstone

/// What tests do to the cluster, by librdkafka itself.
class cluster {
 public:
  static kafka_options options() {
    kafka_options o;
    o.bootstrap = test::broker::of_this_run().kafka;
    if (std::getenv("SONDER_LINES") != nullptr)
      o.on_line = [](int level, std::string_view text) { std::fprintf(stderr, "%d %.*s\n", level, static_cast<int>(text.size()), text.data()); };
    o.session_timeout = 3'000ms;
    o.max_poll_interval = 30'000ms;
    return o;
  }

  cluster() { producer_.reset(make_producer({})); }

  void create_topic(const std::string& name, int partitions, const std::map<std::string, std::string>& configs = {}) {
    char why[256];
    std::unique_ptr<rd_kafka_NewTopic_t, decltype(&rd_kafka_NewTopic_destroy)> topic(
        rd_kafka_NewTopic_new(name.c_str(), partitions, 1, why, sizeof why), rd_kafka_NewTopic_destroy);
    for (const auto& [key, value] : configs) rd_kafka_NewTopic_set_config(topic.get(), key.c_str(), value.c_str());
    auto* raw = topic.get();
    // A broker on a busy machine may be without its controller's confidence for a moment: then it has no replicas to give.
    ASSERT_TRUE(eventually(20s, [&] {
      auto made = RD_KAFKA_RESP_ERR_NO_ERROR;
      ask([&](rd_kafka_queue_t* queue) { rd_kafka_CreateTopics(producer_.get(), &raw, 1, nullptr, queue); },
          [&](const rd_kafka_event_t* event) {
            std::size_t count = 0;
            const auto* all = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(const_cast<rd_kafka_event_t*>(event)), &count);
            made = rd_kafka_topic_result_error(all[0]);
            return made == RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR ? RD_KAFKA_RESP_ERR_NO_ERROR : made;
          });
      return made == RD_KAFKA_RESP_ERR_NO_ERROR;
    }));
    await_leaders(name, partitions);
  }

  void create_changelog(const std::string& name, int partitions) { create_topic(name, partitions, {{"cleanup.policy", "compact"}}); }

  void delete_topic(const std::string& name) {
    std::unique_ptr<rd_kafka_DeleteTopic_t, decltype(&rd_kafka_DeleteTopic_destroy)> topic(rd_kafka_DeleteTopic_new(name.c_str()),
                                                                                          rd_kafka_DeleteTopic_destroy);
    auto* raw = topic.get();
    ask([&](rd_kafka_queue_t* queue) { rd_kafka_DeleteTopics(producer_.get(), &raw, 1, nullptr, queue); },
        [](const rd_kafka_event_t* event) {
          std::size_t count = 0;
          const auto* all = rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(const_cast<rd_kafka_event_t*>(event)), &count);
          return rd_kafka_topic_result_error(all[0]);
        });
  }

  void add_partitions(const std::string& name, int total) {
    char why[256];
    std::unique_ptr<rd_kafka_NewPartitions_t, decltype(&rd_kafka_NewPartitions_destroy)> more(
        rd_kafka_NewPartitions_new(name.c_str(), static_cast<std::size_t>(total), why, sizeof why), rd_kafka_NewPartitions_destroy);
    auto* raw = more.get();
    ask([&](rd_kafka_queue_t* queue) { rd_kafka_CreatePartitions(producer_.get(), &raw, 1, nullptr, queue); },
        [](const rd_kafka_event_t* event) {
          std::size_t count = 0;
          const auto* all =
              rd_kafka_CreatePartitions_result_topics(rd_kafka_event_CreatePartitions_result(const_cast<rd_kafka_event_t*>(event)), &count);
          return rd_kafka_topic_result_error(all[0]);
        });
  }

  /// Outside transactions; on return they are in the log. The last one's offset.
  std::int64_t write(const std::string& topic, std::int32_t partition, const std::vector<change>& changes,
                     std::int64_t timestamp_ms = 0) {
    for (const auto& c : changes) produce(producer_.get(), topic, partition, c, timestamp_ms);
    EXPECT_EQ(rd_kafka_flush(producer_.get(), 20'000), RD_KAFKA_RESP_ERR_NO_ERROR);
    return range(topic, partition).second - 1;
  }

  /// Oldest offset and high watermark.
  std::pair<std::int64_t, std::int64_t> range(const std::string& topic, std::int32_t partition) {
    std::int64_t low = -1, high = -1;
    EXPECT_EQ(rd_kafka_query_watermark_offsets(producer_.get(), topic.c_str(), partition, &low, &high, 10'000), RD_KAFKA_RESP_ERR_NO_ERROR);
    return {low, high};
  }

  /// A transaction of one's own; what is neither committed nor aborted stays open, as if its process had been killed.
  class transaction {
   public:
    explicit transaction(const std::string& id, std::chrono::milliseconds timeout = 60'000ms)
        : producer_(make_producer({{"transactional.id", id}, {"transaction.timeout.ms", std::to_string(timeout.count())}}), rd_kafka_destroy) {
      expect(rd_kafka_init_transactions(producer_.get(), 20'000));
      begin();
    }
    void begin() { expect(rd_kafka_begin_transaction(producer_.get())); }
    void write(const std::string& topic, std::int32_t partition, const std::vector<change>& changes, std::int64_t timestamp_ms = 0) {
      for (const auto& c : changes) produce(producer_.get(), topic, partition, c, timestamp_ms);
      EXPECT_EQ(rd_kafka_flush(producer_.get(), 20'000), RD_KAFKA_RESP_ERR_NO_ERROR);
    }
    /// As a member of none: brokers take that from anybody while the group is empty.
    void offset(const std::string& group, const std::string& topic, std::int32_t partition, std::int64_t next) {
      std::unique_ptr<rd_kafka_topic_partition_list_t, decltype(&rd_kafka_topic_partition_list_destroy)> list(
          rd_kafka_topic_partition_list_new(1), rd_kafka_topic_partition_list_destroy);
      rd_kafka_topic_partition_list_add(list.get(), topic.c_str(), partition)->offset = next;
      auto* nobody = rd_kafka_consumer_group_metadata_new(group.c_str());
      expect(rd_kafka_send_offsets_to_transaction(producer_.get(), list.get(), nobody, 10'000));
      rd_kafka_consumer_group_metadata_destroy(nobody);
    }
    void commit() { expect(rd_kafka_commit_transaction(producer_.get(), 20'000)); }
    void abort() { expect(rd_kafka_abort_transaction(producer_.get(), 20'000)); }

   private:
    static void expect(rd_kafka_error_t* failed) {
      EXPECT_EQ(failed, nullptr) << rd_kafka_error_string(failed);
      if (failed != nullptr) rd_kafka_error_destroy(failed);
    }
    std::unique_ptr<rd_kafka_t, decltype(&rd_kafka_destroy)> producer_;
  };

 private:
  struct deleter {
    void operator()(rd_kafka_t* rk) const { rd_kafka_destroy(rk); }
  };

  static rd_kafka_t* make_producer(const std::map<std::string, std::string>& more) {
    char why[256];
    auto* conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", options().bootstrap.c_str(), nullptr, 0);
    rd_kafka_conf_set(conf, "linger.ms", "5", nullptr, 0);
    rd_kafka_conf_set(conf, "queue.buffering.max.messages", "2000000", nullptr, 0);
    for (const auto& [name, value] : more)
      EXPECT_EQ(rd_kafka_conf_set(conf, name.c_str(), value.c_str(), why, sizeof why), RD_KAFKA_CONF_OK) << why;
    auto* made = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    EXPECT_NE(made, nullptr) << why;
    return made;
  }

  static void produce(rd_kafka_t* rk, const std::string& topic, std::int32_t partition, const change& c, std::int64_t timestamp_ms) {
    void* value = c.second ? const_cast<char*>(c.second->data()) : nullptr;
    const std::size_t value_bytes = c.second ? c.second->size() : 0;
    for (;;) {
      const auto code = rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic.c_str()), RD_KAFKA_V_PARTITION(partition),
                                          RD_KAFKA_V_KEY(c.first.data(), c.first.size()), RD_KAFKA_V_VALUE(value, value_bytes),
                                          RD_KAFKA_V_TIMESTAMP(timestamp_ms), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
      if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
        EXPECT_EQ(code, RD_KAFKA_RESP_ERR_NO_ERROR);
        return;
      }
      rd_kafka_poll(rk, 10);
    }
  }

  void ask(const std::function<void(rd_kafka_queue_t*)>& question,
           const std::function<rd_kafka_resp_err_t(const rd_kafka_event_t*)>& outcome) {
    auto* queue = rd_kafka_queue_new(producer_.get());
    question(queue);
    auto* event = rd_kafka_queue_poll(queue, 20'000);
    ASSERT_NE(event, nullptr);
    ASSERT_EQ(rd_kafka_event_error(event), RD_KAFKA_RESP_ERR_NO_ERROR) << rd_kafka_event_error_string(event);
    EXPECT_EQ(outcome(event), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
  }

  void await_leaders(const std::string& topic, int partitions) {
    std::unique_ptr<rd_kafka_topic_t, decltype(&rd_kafka_topic_destroy)> named(
        rd_kafka_topic_new(producer_.get(), topic.c_str(), nullptr), rd_kafka_topic_destroy);
    EXPECT_TRUE(eventually(20s, [&] {
      // Asked for by name: else what it remembers of the topic, or of its absence, may be told for a while.
      const rd_kafka_metadata_t* fresh = nullptr;
      if (rd_kafka_metadata(producer_.get(), 0, named.get(), &fresh, 1'000) != RD_KAFKA_RESP_ERR_NO_ERROR) return false;
      rd_kafka_metadata_destroy(fresh);
      for (int p = 0; p < partitions; ++p) {
        std::int64_t low = -1, high = -1;
        if (rd_kafka_query_watermark_offsets(producer_.get(), topic.c_str(), p, &low, &high, 1'000) != RD_KAFKA_RESP_ERR_NO_ERROR) return false;
      }
      return true;
    }));
  }

  std::unique_ptr<rd_kafka_t, deleter> producer_;
};

/// A member, and what it was told.
struct watched_member {
  std::unique_ptr<member> held;
  std::vector<std::int32_t> tasks;
  std::vector<group_event> events;
  std::optional<error> ended;

  /// Takes what has happened and answers it at once.
  void poll() {
    for (;;) {
      auto event = held->poll();
      if (!event) {
        ended = event.error();
        return;
      }
      if (event->what == group_event::kind::none) return;
      events.push_back(*event);
      if (event->what == group_event::kind::assigned) {
        tasks = event->partitions;
      } else {
        tasks.clear();
        ASSERT_TRUE(held->release());
      }
    }
  }
  [[nodiscard]] bool all_ready() {
    for (const auto task : tasks) {
      const auto now = held->ready(task);
      EXPECT_TRUE(now) << now.error().message;
      if (!now || !*now) return false;
    }
    return !tasks.empty();
  }
};

inline std::vector<std::int32_t> all_tasks(std::int32_t count) {
  std::vector<std::int32_t> all;
  for (std::int32_t i = 0; i < count; ++i) all.push_back(i);
  return all;
}

}  // namespace sonder::kafka::testing
