// A worker in a process of its own, for tests that kill it or its broker: epoch n takes input n and
// writes output n.
//
//     commit_worker <bootstrap> <group> <in> <out> <state folder> <epochs> [<step> <nth>]
//
// Goes on from what is committed until so many epochs are; dies by SIGKILL the nth time that a
// commit reaches the step.

#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include "log/kafka/kafka_log.h"

namespace sonder {
namespace {

status write_epoch(log& on, const std::string& group, const std::string& in, const std::string& out,
                   std::int64_t n) {
  const auto number = std::to_string(n);
  const auto value = as_bytes(number);
  record_batch_builder batch;
  batch.append(1'700'000'000'000, &value, &value, {});
  epoch_changes epoch;
  epoch.group = group;
  epoch.produced.push_back({out, 0, &batch});
  epoch.consumed.push_back({in, 0, n + 1});
  return on.commit(epoch);
}

int run(const kafka_options& options, const std::string& group, const std::string& in,
        const std::string& out, std::int64_t epochs) {
  const auto on = open_kafka_log(options);
  if (!on) return std::fprintf(stderr, "%s\n", on.error().message.c_str()), 1;
  // Takes over from a predecessor, whose open transaction would hold the committed offsets back.
  if (const auto done = (*on)->commit({.group = group}); !done)
    return std::fprintf(stderr, "%s\n", done.error().message.c_str()), 1;
  for (;;) {
    const auto committed = (*on)->committed(group, in);
    if (!committed) {
      std::fprintf(stderr, "%s\n", committed.error().message.c_str());
      if (committed.error().code == errc::unavailable) continue;
      return 1;
    }
    for (auto n = std::max<std::int64_t>(committed->at(0), 0);; ++n) {
      if (n >= epochs) return 0;
      if (const auto done = write_epoch(**on, group, in, out, n); !done) {
        std::fprintf(stderr, "epoch %lld: %s\n", static_cast<long long>(n),
                     done.error().message.c_str());
        if (done.error().code != errc::unavailable && done.error().code != errc::io) return 1;
        break;
      }
    }
  }
}

}  // namespace
}  // namespace sonder

int main(int argc, char** argv) {
  if (argc != 7 && argc != 9) return 2;
  sonder::kafka_options options;
  options.bootstrap = argv[1];
  options.instance = "worker";
  options.state_dir = argv[5];
  int left = argc == 9 ? std::atoi(argv[8]) : 0;
  const std::string fatal = argc == 9 ? argv[7] : "";
  options.on_step = [&](std::string_view step) {
    if (step == fatal && --left == 0) kill(getpid(), SIGKILL);
  };
  return sonder::run(options, argv[2], argv[3], argv[4], std::atoll(argv[6]));
}
