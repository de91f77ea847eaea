#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <librdkafka/rdkafka.h>
#include <stdlib.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "kafka/broker.h"
#include "log/kafka/kafka_log.h"

namespace sonder {

template <class T>
T must(result<T> r) {
  if (!r) throw std::runtime_error(r.error().message);
  if constexpr (!std::is_void_v<T>) return std::move(*r);
}

/// A record as tests write it; no value is a tombstone.
struct plain_record {
  std::optional<std::string> key;
  std::optional<std::string> value;
  std::int64_t timestamp_ms = 1'700'000'000'000;
  std::vector<std::pair<std::string, std::string>> headers = {};
};

inline record_batch_builder batch_of(const std::vector<plain_record>& records) {
  record_batch_builder made;
  for (const auto& r : records) {
    const bytes_view key = r.key ? as_bytes(*r.key) : bytes_view{};
    const bytes_view value = r.value ? as_bytes(*r.value) : bytes_view{};
    buffer headers;
    if (!r.headers.empty()) {
      std::vector<header_view> views;
      for (const auto& [name, said] : r.headers) views.push_back({name, as_bytes(said)});
      encode_headers(views, headers);
    }
    made.append(r.timestamp_ms, r.key ? &key : nullptr, r.value ? &value : nullptr,
                {headers.data(), headers.size()});
  }
  return made;
}

/// `offset key=value`, as `-` where there is none.
inline std::string as_line(const log_record& r) {
  return std::to_string(r.offset) + " " + (r.has_key ? std::string(as_text(r.key)) : "-") + "=" +
         (r.has_value ? std::string(as_text(r.value)) : "-");
}

/// A transaction by hand, of a producer that knows nothing of ours.
class raw_transaction {
 public:
  raw_transaction(const std::string& bootstrap, const std::string& id) {
    auto* conf = rd_kafka_conf_new();
    for (const auto& [name, value] : {std::pair{"bootstrap.servers", bootstrap},
                                      {"transactional.id", id},
                                      {"linger.ms", "0"}}) {
      if (rd_kafka_conf_set(conf, name, value.c_str(), nullptr, 0) != RD_KAFKA_CONF_OK)
        throw std::runtime_error(name);
    }
    under_ = rd_kafka_new(RD_KAFKA_PRODUCER, conf, nullptr, 0);
    must(rd_kafka_init_transactions(under_, 10'000));
    must(rd_kafka_begin_transaction(under_));
  }
  ~raw_transaction() { rd_kafka_destroy(under_); }
  raw_transaction(const raw_transaction&) = delete;
  raw_transaction& operator=(const raw_transaction&) = delete;

  void write(const std::string& topic, std::int32_t partition, const std::string& value) {
    const auto code = rd_kafka_producev(
        under_, RD_KAFKA_V_TOPIC(topic.c_str()), RD_KAFKA_V_PARTITION(partition),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
        RD_KAFKA_V_VALUE(const_cast<char*>(value.data()), value.size()), RD_KAFKA_V_END);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR ||
        rd_kafka_flush(under_, 10'000) != RD_KAFKA_RESP_ERR_NO_ERROR) {
      throw std::runtime_error("cannot write to " + topic);
    }
  }
  void commit() { must(rd_kafka_commit_transaction(under_, 10'000)); }
  void abort() { must(rd_kafka_abort_transaction(under_, 10'000)); }

 private:
  static void must(rd_kafka_error_t* refused) {
    if (refused != nullptr) throw std::runtime_error(rd_kafka_error_string(refused));
  }
  rd_kafka_t* under_ = nullptr;
};

/// A log on the broker of this run, and the words in which its tests speak.
class kafka_log_test : public testing::Test {
 protected:
  void SetUp() override {
    SONDER_NEEDS_BROKER();
    std::string name = (std::filesystem::temp_directory_path() / "sonder-kafka-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    group_ = test::name_of_its_own("app");
    log_ = open(options());
  }
  void TearDown() override {
    log_.reset();
    std::error_code ignored;
    if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
  }

  [[nodiscard]] kafka_options options(const std::string& instance = "one") const {
    kafka_options made;
    made.bootstrap = test::broker::of_this_run().kafka;
    made.instance = instance;
    made.state_dir = folder_ / instance;
    return made;
  }
  [[nodiscard]] static std::unique_ptr<log> open(kafka_options with) {
    return must(open_kafka_log(std::move(with)));
  }

  std::string topic(const std::string& prefix, std::int32_t partitions = 1,
                    bool compacted = false) {
    topic_config config;
    config.name = test::name_of_its_own(prefix);
    config.partitions = partitions;
    config.compacted = compacted;
    must(log_->create_topic(config));
    return config.name;
  }

  static void append(log& to, const std::string& topic, std::int32_t partition,
                     const std::vector<plain_record>& records) {
    auto batch = batch_of(records);
    const produced_batch produced{topic, partition, &batch};
    must(to.append({&produced, 1}));
  }

  /// An epoch that takes input up to `next` and writes `records`.
  [[nodiscard]] status commit(log& to, const std::string& in, std::int64_t next,
                              const std::string& out,
                              const std::vector<plain_record>& records) const {
    auto batch = batch_of(records);
    epoch_changes epoch;
    epoch.group = group_;
    if (!records.empty()) epoch.produced.push_back({out, 0, &batch});
    if (next >= 0) epoch.consumed.push_back({in, 0, next});
    const auto before = records.empty() ? 0 : to.offsets(out, 0).value_or(offset_range{}).end;
    auto done = to.commit(epoch);
    if (done && !records.empty())
      await_end(to, out, before + static_cast<std::int64_t>(records.size()));
    return done;
  }

  /// A commit is answered once it is decided; its markers reach the partitions a moment later.
  static void await_end(log& of, const std::string& topic, std::int64_t at_least) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (must(of.offsets(topic, 0)).end < at_least) {
      if (std::chrono::steady_clock::now() > until)
        throw std::runtime_error(topic + " never has " + std::to_string(at_least));
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }

  /// As read_to_end, until there are `count` records.
  static std::vector<std::string> read_some(log& from_log, const std::string& topic,
                                            std::size_t count, std::int32_t partition = 0) {
    std::vector<std::string> lines;
    std::int64_t at = 0;
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (lines.size() < count && std::chrono::steady_clock::now() < until) {
      for (auto& line : read_to_end(from_log, topic, partition, at, {}, &at))
        lines.push_back(std::move(line));
    }
    return lines;
  }

  /// All records from `from` to the stable end as it is now; where reading got to in `at`.
  static std::vector<std::string> read_to_end(log& from_log, const std::string& topic,
                                              std::int32_t partition = 0, std::int64_t from = 0,
                                              fetch_limits limits = {},
                                              std::int64_t* at = nullptr) {
    const auto end = must(from_log.offsets(topic, partition)).end;
    std::vector<std::string> lines;
    record_block block;
    std::uint64_t seen = 0;
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (from < end) {
      must(from_log.fetch(topic, partition, from, limits, block));
      for (const auto& r : block.records) lines.push_back(as_line(r));
      from = block.next_offset;
      if (at != nullptr) *at = from;
      if (std::chrono::steady_clock::now() > until) {
        ADD_FAILURE() << "stands at " << from << " and never comes to " << end;
        break;
      }
      if (block.records.empty()) from_log.wait_for_records(seen, std::chrono::milliseconds(100));
    }
    return lines;
  }

  /// What retention does.
  void delete_records_before(const std::string& topic, std::int64_t offset) const {
    auto* before = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(before, topic.c_str(), 0)->offset = offset;
    auto* records = rd_kafka_DeleteRecords_new(before);
    ask_as_operator([&](auto* rk, auto* answers) { rd_kafka_DeleteRecords(rk, &records, 1, nullptr, answers); });
    rd_kafka_DeleteRecords_destroy(records);
    rd_kafka_topic_partition_list_destroy(before);
  }

  /// What somebody else does to a topic that is in use: it has `count` from here on.
  void add_partitions(const std::string& topic, std::size_t count) const {
    std::array<char, 256> why{};
    auto* more = rd_kafka_NewPartitions_new(topic.c_str(), count, why.data(), why.size());
    ASSERT_NE(more, nullptr) << why.data();
    ask_as_operator([&](auto* rk, auto* answers) { rd_kafka_CreatePartitions(rk, &more, 1, nullptr, answers); });
    rd_kafka_NewPartitions_destroy(more);
  }

  /// Waits for the answer to what `ask` sends by a client of its own.
  template <class Ask>
  void ask_as_operator(Ask&& ask) const {
    auto* conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", options().bootstrap.c_str(), nullptr, 0);
    auto* rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, nullptr, 0);
    auto* answers = rd_kafka_queue_new(rk);
    ask(rk, answers);
    auto* answer = rd_kafka_queue_poll(answers, 20'000);
    ASSERT_NE(answer, nullptr);
    EXPECT_EQ(rd_kafka_event_error(answer), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_event_destroy(answer);
    rd_kafka_queue_destroy(answers);
    rd_kafka_destroy(rk);
  }

  std::filesystem::path folder_;
  std::string group_;
  std::unique_ptr<log> log_;
};

}  // namespace sonder
