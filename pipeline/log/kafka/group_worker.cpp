// A member of a group in a process of its own, for tests that kill it: joins, and says on its output what it holds.
//
//     group_worker <bootstrap> <group> <topic> <partitions> [<store> <state folder> [<standby replicas>]]

#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include "log/kafka/member.h"

int main(int argc, char** argv) {
  using namespace sonder;
  if (argc != 5 && argc != 7 && argc != 8) return 2;
  kafka_options options;
  options.bootstrap = argv[1];
  options.session_timeout = std::chrono::milliseconds(3'000);
  group_request request{argv[2], {argv[3]}, {}, std::atoi(argv[4])};
  std::unique_ptr<kafka::local_state> state;
  std::vector<topic_config> changelogs;
  if (argc == 8) options.standby_replicas = std::atoi(argv[7]);
  if (argc >= 7) {
    auto opened = kafka::local_state::in(argv[6]);
    if (!opened) return std::fprintf(stderr, "%s\n", opened.error().message.c_str()), 1;
    state = std::move(*opened);
    request.stores.emplace_back(argv[5]);
    changelogs.push_back({changelog_topic(argv[2], argv[5]), request.partitions, true});
  }
  auto joined = kafka::join_group(options, request, changelogs, state.get());
  if (!joined) return std::fprintf(stderr, "%s\n", joined.error().message.c_str()), 1;
  std::int64_t told = 0, followed = 0;
  for (;;) {
    const auto event = (*joined)->poll();
    if (!event) return std::fprintf(stderr, "%s\n", event.error().message.c_str()), 1;
    if (event->what == group_event::kind::assigned) std::printf("assigned %zu\n", event->partitions.size());
    if (event->what == group_event::kind::revoked || event->what == group_event::kind::lost) {
      std::printf("released\n");
      if (!(*joined)->release()) return 1;
    }
    const auto counts = (*joined)->restored();
    if (counts.records != told) std::printf("restored %lld\n", static_cast<long long>(counts.records));
    if (counts.standby_records != followed) std::printf("followed %lld\n", static_cast<long long>(counts.standby_records));
    told = counts.records;
    followed = counts.standby_records;
    std::fflush(stdout);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}
