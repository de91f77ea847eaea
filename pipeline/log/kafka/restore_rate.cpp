// What restoring from an empty disk reaches: fills changelogs once, then joins and waits for all tasks.
//
//     restore_rate <bootstrap> [<million records> [<partitions> [<keys per record> [<rounds>]]]]
//
// 100-byte values, 20-byte keys. Prints records a second, from the first byte asked for to every task ready, and this process's
// CPU-seconds per million records.

#include <librdkafka/rdkafka.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>
#include <thread>

#include "log/kafka/client.h"
#include "log/kafka/member.h"
#include "log/kafka/topics.h"

namespace {

using namespace sonder;
using steady = std::chrono::steady_clock;

double seconds_since(steady::time_point from) {
  return std::chrono::duration<double>(steady::now() - from).count();
}

double cpu_seconds() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  return static_cast<double>(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
         static_cast<double>(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "restore_rate: %s\n", why.c_str());
  std::exit(1);
}

void fill(const std::string& bootstrap, const std::string& topic, std::int32_t partitions, std::int64_t records, std::int64_t keys) {
  auto* conf = rd_kafka_conf_new();
  rd_kafka_conf_set(conf, "bootstrap.servers", bootstrap.c_str(), nullptr, 0);
  rd_kafka_conf_set(conf, "linger.ms", "20", nullptr, 0);
  rd_kafka_conf_set(conf, "queue.buffering.max.messages", "1000000", nullptr, 0);
  char why[256];
  auto* producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
  if (producer == nullptr) give_up(why);
  auto* to = rd_kafka_topic_new(producer, topic.c_str(), nullptr);
  std::mt19937_64 random(1);
  std::string value(100, ' ');
  for (std::int64_t i = 0; i < records; ++i) {
    char key[24];
    const int key_bytes = std::snprintf(key, sizeof key, "subject-%012llu", static_cast<unsigned long long>(random() % static_cast<std::uint64_t>(keys)));
    for (auto& c : value) c = static_cast<char>('a' + random() % 16);
    const auto partition = static_cast<std::int32_t>(i % partitions);
    while (rd_kafka_produce(to, partition, RD_KAFKA_MSG_F_COPY, value.data(), value.size(), key, static_cast<std::size_t>(key_bytes), nullptr) != 0)
      rd_kafka_poll(producer, 10);
    if (i % 1024 == 0) rd_kafka_poll(producer, 0);
  }
  if (rd_kafka_flush(producer, 60'000) != RD_KAFKA_RESP_ERR_NO_ERROR) give_up("the changelogs cannot be filled");
  rd_kafka_topic_destroy(to);
  rd_kafka_destroy(producer);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) give_up("name a broker, as host:port");
  const double millions = argc > 2 ? std::atof(argv[2]) : 3;
  const auto records = static_cast<std::int64_t>(millions * 1e6);
  const auto partitions = static_cast<std::int32_t>(argc > 3 ? std::atoi(argv[3]) : 8);
  const auto keys = static_cast<std::int64_t>(static_cast<double>(records) * (argc > 4 ? std::atof(argv[4]) : 1.0));
  const int rounds = argc > 5 ? std::atoi(argv[5]) : 3;

  kafka_options options;
  options.bootstrap = argv[1];
  options.session_timeout = std::chrono::milliseconds(3'000);
  auto asks = kafka::client::make(options, {.role = kafka::client_role::query});
  if (!asks) give_up(asks.error().message);
  kafka::topics topics(options, **asks);
  const std::string group = "restore-rate-" + std::to_string(::getpid());
  topic_config events, changelog;
  events.name = group + "-events";
  changelog.name = changelog_topic(group, "profiles");
  events.partitions = changelog.partitions = partitions;
  changelog.compacted = true;
  for (const auto* topic : {&events, &changelog}) {
    if (const auto made = topics.create(*topic); !made) give_up(made.error().message);
  }
  fill(options.bootstrap, changelog.name, partitions, records, keys);

  for (int round = 0; round < rounds; ++round) {
    std::string folder = (std::filesystem::temp_directory_path() / "sonder_restore_XXXXXX").string();
    if (::mkdtemp(folder.data()) == nullptr) give_up("no folder for the state");
    auto state = kafka::local_state::in(folder);
    if (!state) give_up(state.error().message);
    auto member = kafka::join_group(options, {group, {events.name}, {"profiles"}, partitions}, {&changelog, 1}, state->get());
    if (!member) give_up(member.error().message);
    std::vector<std::int32_t> tasks;
    steady::time_point began;
    double cpu = 0;
    for (bool ready = false; !ready; std::this_thread::sleep_for(std::chrono::milliseconds(5))) {
      const auto event = (*member)->poll();
      if (!event) give_up(event.error().message);
      if (event->what == group_event::kind::assigned) {
        tasks = event->partitions;
        began = steady::now();
        cpu = cpu_seconds();
      }
      ready = !tasks.empty();
      for (const auto task : tasks) {
        const auto there = (*member)->ready(task);
        if (!there) give_up(there.error().message);
        ready = ready && *there;
      }
    }
    const double took = seconds_since(began);
    const auto restored = (*member)->restored().records;
    std::printf("round %d: %lld records of %d partitions in %.2f s: %.0f records/s, %.2f CPU-seconds per million\n", round + 1,
                static_cast<long long>(restored), partitions, took, static_cast<double>(restored) / took,
                (cpu_seconds() - cpu) / (static_cast<double>(restored) / 1e6));
    std::fflush(stdout);
    member->reset();
    state->reset();
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
  }
  return 0;
}
