// A reset in a process of its own, for tests that kill it: takes store "sums" of the only task away, and moves the offset to 1.
//
//     reset_worker <bootstrap> <group> <topic> <entries of a transaction> <exactly_once|at_least_once> [<step> <nth>]
//
// Dies by SIGKILL the nth time that a commit reaches the step.

#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "log/kafka/kafka_log.h"

int main(int argc, char** argv) {
  using namespace sonder;
  if (argc != 6 && argc != 8) return 2;
  kafka_options options;
  options.bootstrap = argv[1];
  options.instance = "reset";
  options.session_timeout = std::chrono::milliseconds(3'000);
  options.reset_records_max = static_cast<std::size_t>(std::atoll(argv[4]));
  if (argv[5] == std::string("at_least_once")) options.guarantee = kafka_options::guarantee_kind::at_least_once;
  int left = argc == 8 ? std::atoi(argv[7]) : 0;
  const std::string fatal = argc == 8 ? argv[6] : "";
  options.on_step = [&](std::string_view step) {
    if (step == fatal && --left == 0) kill(getpid(), SIGKILL);
  };
  const auto on = open_kafka_log(options);
  if (!on) return std::fprintf(stderr, "%s\n", on.error().message.c_str()), 1;
  const auto done = (*on)->reset({argv[2], {argv[3]}, 1, {{argv[3], 0, 1}}, {{"sums", 0}}, {}, "--to earliest"});
  if (done) return 0;
  std::fprintf(stderr, "%s\n", done.error().message.c_str());
  return 1;
}
