// What librdkafka alone reaches on this broker: copies one topic into another with nothing in between, the measure for a worker
// that decodes, decides and encodes.
//
//     bare_copy <bootstrap> <from> <to> <exactly_once|at_least_once> [<commit ms> [<property>=<value>...]]
//
// Offsets and records every <commit ms> (100) together, in a transaction, or under at_least_once the offsets after the records.
// Copies what is there, key, value and timestamp, to the same partitions, and prints one line of JSON: records a second from the
// first commit to the last one, and CPU-seconds of this process per million records.
//
// Values are not copied in this process: the fetched message is lent to the producer until its transaction is committed.
// Properties go to both clients, where they apply.

#include <librdkafka/rdkafka.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace {

using steady = std::chrono::steady_clock;

constexpr int call_ms = 30'000;           // for one call of the protocol
constexpr std::size_t at_once = 10'000;   // messages out of the consumer's queue
constexpr int idle_poll_ms = 20;
constexpr auto standstill = std::chrono::seconds(60);  // then the program gives up

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "bare_copy: %s\n", why.c_str());
  std::exit(1);
}

void check(rd_kafka_error_t* error, const char* doing) {
  if (error != nullptr) give_up(std::string(doing) + ": " + rd_kafka_error_string(error));
}

void check(rd_kafka_resp_err_t code, const char* doing) {
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR) give_up(std::string(doing) + ": " + rd_kafka_err2str(code));
}

double cpu_seconds() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  return static_cast<double>(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
         static_cast<double>(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

long peak_memory_mib() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  return used.ru_maxrss / 1024;
}

struct options {
  std::string bootstrap;
  std::string from;
  std::string to;
  bool exactly_once = true;
  std::chrono::milliseconds commit{100};
  std::vector<std::pair<std::string, std::string>> properties;
};

rd_kafka_conf_t* configuration(const options& of, bool producer, const std::vector<std::pair<std::string, std::string>>& ours) {
  auto* conf = rd_kafka_conf_new();
  std::array<char, 512> why{};
  const auto set = [&](const std::string& name, const std::string& value) {
    if (rd_kafka_conf_set(conf, name.c_str(), value.c_str(), why.data(), why.size()) != RD_KAFKA_CONF_OK) give_up(why.data());
  };
  set("bootstrap.servers", of.bootstrap);
  set("socket.nagle.disable", "true");
  for (const auto& [name, value] : ours) set(name, value);
  for (const auto& [name, value] : of.properties) {
    // What is of the other kind only makes librdkafka warn.
    const bool consumes = name.starts_with("fetch.") || name.starts_with("queued.") || name == "check.crcs";
    const bool produces = name.starts_with("linger") || name.starts_with("batch.") || name.starts_with("queue.buffering");
    if ((consumes && producer) || (produces && !producer)) continue;
    set(name, value);
  }
  return conf;
}

rd_kafka_t* client(rd_kafka_type_t type, rd_kafka_conf_t* conf) {
  std::array<char, 512> why{};
  auto* made = rd_kafka_new(type, conf, why.data(), why.size());
  if (made == nullptr) give_up(why.data());
  return made;
}

class copier {
 public:
  explicit copier(const options& of) : options_(of), group_("bare-copy-" + std::to_string(::getpid())) {
    consumer_ = client(RD_KAFKA_CONSUMER, configuration(of, false, {{"group.id", group_},
                                                                    {"isolation.level", "read_committed"},
                                                                    {"enable.auto.commit", "false"},
                                                                    {"enable.auto.offset.store", "false"},
                                                                    {"auto.offset.reset", "earliest"},
                                                                    {"fetch.wait.max.ms", "100"},
                                                                    {"fetch.message.max.bytes", "4194304"},
                                                                    {"queued.min.messages", "500000"},
                                                                    {"queued.max.messages.kbytes", "131072"}}));
    std::vector<std::pair<std::string, std::string>> writes{{"enable.idempotence", "true"},
                                                            {"linger.ms", "5"},
                                                            {"batch.size", "1000000"},
                                                            {"batch.num.messages", "10000"},
                                                            {"queue.buffering.max.messages", "2000000"},
                                                            {"queue.buffering.max.kbytes", "1048576"},
                                                            {"delivery.report.only.error", "true"}};
    if (of.exactly_once) writes.emplace_back("transactional.id", group_);
    auto* conf = configuration(of, true, writes);
    rd_kafka_conf_set_dr_msg_cb(conf, [](rd_kafka_t*, const rd_kafka_message_t* message, void*) {
      give_up(std::string("a record was refused: ") + rd_kafka_message_errstr(message));
    });
    producer_ = client(RD_KAFKA_PRODUCER, conf);
    if (of.exactly_once) check(rd_kafka_init_transactions(producer_, call_ms), "init_transactions");
    to_ = rd_kafka_topic_new(producer_, of.to.c_str(), nullptr);
    assign();
  }

  ~copier() {
    rd_kafka_topic_destroy(to_);
    rd_kafka_destroy(producer_);
    rd_kafka_queue_destroy(queue_);
    rd_kafka_topic_partition_list_destroy(offsets_);
    rd_kafka_consumer_close(consumer_);
    rd_kafka_destroy(consumer_);
  }
  copier(const copier&) = delete;
  copier& operator=(const copier&) = delete;

  void run() {
    auto commit_at = steady::now() + options_.commit;
    auto moved = steady::now();
    steady::time_point from{};
    std::int64_t records_from = 0;
    begin();
    while (copied_ < records_) {
      const auto before = copied_;
      copy();
      if (copied_ != before) moved = steady::now();
      if (steady::now() - moved > standstill) give_up("nothing comes any more after " + std::to_string(copied_) + " records");
      if (steady::now() < commit_at && copied_ < records_) continue;
      commit();
      commit_at = steady::now() + options_.commit;
      if (from == steady::time_point{}) {
        from = steady::now();
        records_from = copied_;
      }
      if (copied_ < records_) begin();
    }
    const double took = std::chrono::duration<double>(steady::now() - from).count();
    const auto counted = static_cast<double>(records_ - records_from);
    std::printf("{\"records\": %lld, \"counted\": %.0f, \"seconds\": %.3f, \"records_per_second\": %.0f, "
                "\"cpu_seconds_per_million\": %.3f, \"commits\": %lld, \"peak_rss_mib\": %ld}\n",
                static_cast<long long>(copied_), counted, took, counted / took, cpu_seconds() / (static_cast<double>(copied_) / 1e6),
                static_cast<long long>(commits_), peak_memory_mib());
  }

 private:
  void assign() {
    const rd_kafka_metadata_t* known = nullptr;
    auto* of_topic = rd_kafka_topic_new(consumer_, options_.from.c_str(), nullptr);
    check(rd_kafka_metadata(consumer_, 0, of_topic, &known, call_ms), "metadata");
    const auto partitions = known->topics[0].partition_cnt;
    rd_kafka_metadata_destroy(known);
    rd_kafka_topic_destroy(of_topic);
    offsets_ = rd_kafka_topic_partition_list_new(partitions);
    for (int p = 0; p < partitions; ++p) {
      std::int64_t low = 0, high = 0;
      check(rd_kafka_query_watermark_offsets(consumer_, options_.from.c_str(), p, &low, &high, call_ms), "watermarks");
      records_ += high - low;
      rd_kafka_topic_partition_list_add(offsets_, options_.from.c_str(), p)->offset = low;
    }
    if (records_ == 0) give_up("\"" + options_.from + "\" holds no records");
    queue_ = rd_kafka_queue_get_consumer(consumer_);
    check(rd_kafka_assign(consumer_, offsets_), "assign");
  }

  void begin() {
    if (options_.exactly_once) check(rd_kafka_begin_transaction(producer_), "begin_transaction");
  }

  void copy() {
    taken_.resize(at_once);
    const auto count = rd_kafka_consume_batch_queue(queue_, idle_poll_ms, taken_.data(), taken_.size());
    for (ssize_t i = 0; i < count; ++i) {
      auto* message = taken_[static_cast<std::size_t>(i)];
      check(message->err, "reading");
      put(message);
      offsets_->elems[message->partition].offset = message->offset + 1;
      lent_.push_back(message);
      ++copied_;
    }
    rd_kafka_poll(producer_, 0);
  }

  void put(rd_kafka_message_t* message) {
    for (;;) {
      const auto code = rd_kafka_producev(producer_, RD_KAFKA_V_RKT(to_), RD_KAFKA_V_PARTITION(message->partition),
                                          RD_KAFKA_V_KEY(message->key, message->key_len),
                                          RD_KAFKA_V_VALUE(message->payload, message->len),
                                          RD_KAFKA_V_TIMESTAMP(rd_kafka_message_timestamp(message, nullptr)), RD_KAFKA_V_END);
      if (code == RD_KAFKA_RESP_ERR_NO_ERROR) return;
      if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL) check(code, "writing");
      rd_kafka_poll(producer_, 1);
    }
  }

  void commit() {
    if (options_.exactly_once) {
      // Of no group member: the worker's are, which costs it nothing more at each commit.
      auto* group = rd_kafka_consumer_group_metadata_new(group_.c_str());
      check(rd_kafka_send_offsets_to_transaction(producer_, offsets_, group, call_ms), "send_offsets_to_transaction");
      rd_kafka_consumer_group_metadata_destroy(group);
      check(rd_kafka_commit_transaction(producer_, call_ms), "commit_transaction");
    } else {
      check(rd_kafka_flush(producer_, call_ms), "flush");
      check(rd_kafka_commit(consumer_, offsets_, copied_ < records_ ? 1 : 0), "commit");
    }
    ++commits_;
    for (auto* message : lent_) rd_kafka_message_destroy(message);
    lent_.clear();
  }

  const options& options_;
  std::string group_;
  rd_kafka_t* consumer_ = nullptr;
  rd_kafka_t* producer_ = nullptr;
  rd_kafka_topic_t* to_ = nullptr;
  rd_kafka_queue_t* queue_ = nullptr;
  rd_kafka_topic_partition_list_t* offsets_ = nullptr;  // of partition p at p
  std::vector<rd_kafka_message_t*> taken_;
  std::vector<rd_kafka_message_t*> lent_;
  std::int64_t records_ = 0;  // in the topic at the start
  std::int64_t copied_ = 0;
  std::int64_t commits_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) give_up("give bootstrap, from, to and a guarantee: exactly_once or at_least_once");
  options of{.bootstrap = argv[1], .from = argv[2], .to = argv[3]};
  const std::string_view guarantee = argv[4];
  if (guarantee != "exactly_once" && guarantee != "at_least_once") give_up("a guarantee is exactly_once or at_least_once");
  of.exactly_once = guarantee == "exactly_once";
  if (argc > 5) of.commit = std::chrono::milliseconds(std::atoi(argv[5]));
  for (int i = 6; i < argc; ++i) {
    const std::string given = argv[i];
    const auto sign = given.find('=');
    if (sign == std::string::npos) give_up("a property is written name=value");
    of.properties.emplace_back(given.substr(0, sign), given.substr(sign + 1));
  }
  copier(of).run();
  return 0;
}
