// How long a record takes through a worker: writes records to its input topic at a steady rate, reads input and output as any
// consumer would, and compares when each was seen.
//
//     latency_probe <bootstrap> <input> <output> <records per second> <seconds> [<skip seconds> [<log file>]]
//
// What is written are the first records of <input> again, each to its own partition. The worker must let every record through, each
// partition to the same partition of <output>, and must have caught up: the n-th record of a partition is then the n-th of its output.
// Prints one line of JSON, times in ms of the records written after <skip seconds>: `added` from being readable in the input to being
// readable in the output, `direct` from being written to being readable in the input. With <log file>, a line for each moment at
// which output came: CLOCK_MONOTONIC in seconds, and records so far. SIGTERM ends the writing early.

#include <librdkafka/rdkafka.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

namespace {

using steady = std::chrono::steady_clock;

constexpr int call_ms = 30'000;
constexpr std::size_t templates_max = 50'000;
constexpr std::size_t at_once = 10'000;
constexpr auto slice = std::chrono::milliseconds(1);  // records are written in pieces of this
constexpr auto tail_max = std::chrono::seconds(60);   // for the last output, once all is written

std::atomic<bool> asked_to_stop{false};

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "latency_probe: %s\n", why.c_str());
  std::exit(1);
}

void check(rd_kafka_resp_err_t code, const char* doing) {
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR) give_up(std::string(doing) + ": " + rd_kafka_err2str(code));
}

double now() { return std::chrono::duration<double>(steady::now().time_since_epoch()).count(); }

rd_kafka_t* client(rd_kafka_type_t type, const std::string& bootstrap, const std::vector<std::pair<const char*, const char*>>& properties) {
  auto* conf = rd_kafka_conf_new();
  std::array<char, 512> why{};
  const auto set = [&](const char* name, const char* value) {
    if (rd_kafka_conf_set(conf, name, value, why.data(), why.size()) != RD_KAFKA_CONF_OK) give_up(why.data());
  };
  set("bootstrap.servers", bootstrap.c_str());
  set("socket.nagle.disable", "true");
  set("reconnect.backoff.ms", "50");
  set("reconnect.backoff.max.ms", "500");
  for (const auto& [name, value] : properties) set(name, value);
  auto* made = rd_kafka_new(type, conf, why.data(), why.size());
  if (made == nullptr) give_up(why.data());
  return made;
}

/// A consumer of every partition of a topic, and when it saw each record that came after its start.
class reader {
 public:
  reader(const std::string& bootstrap, std::string topic) : topic_(std::move(topic)) {
    client_ = client(RD_KAFKA_CONSUMER, bootstrap, {{"group.id", "latency-probe"},
                                                    {"isolation.level", "read_committed"},
                                                    {"enable.auto.commit", "false"},
                                                    {"fetch.wait.max.ms", "100"},
                                                    {"fetch.error.backoff.ms", "10"},
                                                    {"queued.max.messages.kbytes", "65536"}});
    auto* of = rd_kafka_topic_new(client_, topic_.c_str(), nullptr);
    const rd_kafka_metadata_t* known = nullptr;
    check(rd_kafka_metadata(client_, 0, of, &known, call_ms), "metadata");
    partitions_ = known->topics[0].partition_cnt;
    rd_kafka_metadata_destroy(known);
    rd_kafka_topic_destroy(of);
    if (partitions_ == 0) give_up("there is no topic \"" + topic_ + "\"");
    queue_ = rd_kafka_queue_get_consumer(client_);
    seen_.resize(static_cast<std::size_t>(partitions_));
  }
  ~reader() {
    rd_kafka_queue_destroy(queue_);
    rd_kafka_consumer_close(client_);
    rd_kafka_destroy(client_);
  }
  reader(const reader&) = delete;
  reader& operator=(const reader&) = delete;

  void start_at(bool end) {
    auto* list = rd_kafka_topic_partition_list_new(partitions_);
    for (int p = 0; p < partitions_; ++p) {
      std::int64_t low = 0, high = 0;
      check(rd_kafka_query_watermark_offsets(client_, topic_.c_str(), p, &low, &high, call_ms), "watermarks");
      rd_kafka_topic_partition_list_add(list, topic_.c_str(), p)->offset = end ? high : low;
    }
    check(rd_kafka_assign(client_, list), "assign");
    rd_kafka_topic_partition_list_destroy(list);
  }

  /// Calls `each` with the messages that have come; false if none has. Waits for the first one alone: librdkafka's call for many
  /// waits for as many as were asked for, or for all of its time.
  template <class Each>
  bool take(Each&& each) {
    auto* first = rd_kafka_consume_queue(queue_, 10);
    if (first == nullptr) return false;
    bool any = hand_over(first, each);
    taken_.resize(at_once);
    const auto count = rd_kafka_consume_batch_queue(queue_, 0, taken_.data(), taken_.size());
    for (ssize_t i = 0; i < count; ++i) any = hand_over(taken_[static_cast<std::size_t>(i)], each) || any;
    return any;
  }

  /// One look: notes the time for all that has come.
  void note(std::FILE* log) {
    double at = 0;
    const bool any = take([&](const rd_kafka_message_t* message) {
      if (at == 0) at = now();
      seen_[static_cast<std::size_t>(message->partition)].push_back(at);
      ++count_;
    });
    if (any && log != nullptr) std::fprintf(log, "%.6f %lld\n", at, static_cast<long long>(count_.load()));
  }

  template <class Each>
  static bool hand_over(rd_kafka_message_t* message, Each&& each) {
    const bool is_record = message->err == RD_KAFKA_RESP_ERR_NO_ERROR;
    if (is_record) each(message);
    rd_kafka_message_destroy(message);
    return is_record;
  }

  std::string topic_;
  rd_kafka_t* client_ = nullptr;
  rd_kafka_queue_t* queue_ = nullptr;
  int partitions_ = 0;
  std::vector<rd_kafka_message_t*> taken_;
  std::vector<std::vector<double>> seen_;  // by partition
  std::atomic<std::int64_t> count_{0};
};

struct record {
  std::int32_t partition;
  std::string key;
  std::string value;
  std::int64_t timestamp;
};

std::vector<record> first_records(const std::string& bootstrap, const std::string& topic) {
  reader from(bootstrap, topic);
  from.start_at(false);
  std::vector<record> all;
  const auto until = steady::now() + std::chrono::seconds(10);
  auto quiet_since = steady::now();
  while (all.size() < templates_max && steady::now() < until && (all.empty() || steady::now() - quiet_since < std::chrono::seconds(1))) {
    const bool any = from.take([&](const rd_kafka_message_t* m) {
      all.push_back({m->partition, {static_cast<const char*>(m->key), m->key_len}, {static_cast<const char*>(m->payload), m->len},
                     rd_kafka_message_timestamp(m, nullptr)});
    });
    if (any) quiet_since = steady::now();
  }
  if (all.empty()) give_up("\"" + topic + "\" holds no records to write again");
  return all;
}

void print_quantiles(const char* name, std::vector<double>& of) {
  std::sort(of.begin(), of.end());
  const auto at = [&](double q) { return of.empty() ? 0 : of[static_cast<std::size_t>(q * static_cast<double>(of.size() - 1))] * 1e3; };
  std::printf("\"%s\": {\"p50\": %.3f, \"p90\": %.3f, \"p99\": %.3f, \"p999\": %.3f, \"max\": %.3f}", name, at(.5), at(.9), at(.99), at(.999), at(1));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 6) give_up("give bootstrap, input, output, records per second and seconds");
  const std::string bootstrap = argv[1];
  const double rate = std::atof(argv[4]);
  const double seconds = std::atof(argv[5]);
  const double skip = argc > 6 ? std::atof(argv[6]) : 0;
  std::FILE* log = nullptr;
  if (argc > 7 && (log = std::fopen(argv[7], "w")) == nullptr) give_up(std::string("cannot write ") + argv[7]);
  if (log != nullptr) std::setvbuf(log, nullptr, _IOLBF, 0);
  std::signal(SIGTERM, [](int) { asked_to_stop = true; });

  const auto records = first_records(bootstrap, argv[2]);
  reader input(bootstrap, argv[2]);
  reader output(bootstrap, argv[3]);
  input.start_at(true);
  output.start_at(true);

  std::atomic<bool> done{false};
  std::thread reads_input([&] { while (!done) input.note(nullptr); });
  std::thread reads_output([&] { while (!done) output.note(log); });
  std::this_thread::sleep_for(std::chrono::milliseconds(500));  // both read

  // Not idempotent: behind a batch that is under way its thread would spin (librdkafka 2.0.2). And with librdkafka's own linger.ms:
  // batches of one or two records would take more of the broker than all that is measured.
  auto* producer = client(RD_KAFKA_PRODUCER, bootstrap, {{"acks", "all"}, {"max.in.flight", "5"}, {"linger.ms", "5"},
                                                         {"queue.buffering.max.messages", "2000000"},
                                                         {"queue.buffering.max.kbytes", "1048576"}});
  auto* to = rd_kafka_topic_new(producer, argv[2], nullptr);
  std::vector<std::vector<double>> sent(static_cast<std::size_t>(input.partitions_));
  const auto began = steady::now();
  std::int64_t written = 0;
  const auto all = static_cast<std::int64_t>(rate * seconds);
  while (written < all && !asked_to_stop) {
    const double passed = std::chrono::duration<double>(steady::now() - began).count();
    const double at = now();
    for (const auto due = std::min(all, static_cast<std::int64_t>(passed * rate)); written < due; ++written) {
      const auto& r = records[static_cast<std::size_t>(written) % records.size()];
      for (;;) {
        const auto code = rd_kafka_producev(producer, RD_KAFKA_V_RKT(to), RD_KAFKA_V_PARTITION(r.partition), RD_KAFKA_V_KEY(r.key.data(), r.key.size()),
                                            RD_KAFKA_V_VALUE(const_cast<char*>(r.value.data()), r.value.size()),
                                            RD_KAFKA_V_TIMESTAMP(r.timestamp), RD_KAFKA_V_END);
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR) break;
        if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL) check(code, "writing");
        rd_kafka_poll(producer, 1);
      }
      sent[static_cast<std::size_t>(r.partition)].push_back(at);
    }
    rd_kafka_poll(producer, 0);
    std::this_thread::sleep_for(slice);
  }
  const double wrote_for = std::chrono::duration<double>(steady::now() - began).count();
  check(rd_kafka_flush(producer, call_ms), "flush");
  const auto until = steady::now() + tail_max;
  while ((output.count_ < written || input.count_ < written) && steady::now() < until) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  done = true;
  reads_input.join();
  reads_output.join();

  std::vector<double> added, direct;
  const double from = std::chrono::duration<double>(began.time_since_epoch()).count() + skip;
  for (std::size_t p = 0; p < sent.size(); ++p) {
    if (p >= output.seen_.size()) give_up("input and output have different numbers of partitions");
    const auto count = std::min({sent[p].size(), input.seen_[p].size(), output.seen_[p].size()});
    for (std::size_t i = 0; i < count; ++i) {
      if (sent[p][i] < from) continue;
      direct.push_back(input.seen_[p][i] - sent[p][i]);
      added.push_back(output.seen_[p][i] - input.seen_[p][i]);
    }
  }
  std::printf("{\"written\": %lld, \"read\": %lld, \"records_per_second\": %.0f, ", static_cast<long long>(written),
              static_cast<long long>(output.count_.load()), static_cast<double>(written) / wrote_for);
  print_quantiles("added", added);
  std::printf(", ");
  print_quantiles("direct", direct);
  std::printf("}\n");
  rd_kafka_topic_destroy(to);
  rd_kafka_destroy(producer);
  if (log != nullptr) std::fclose(log);
  return output.count_ >= written ? 0 : 2;
}
