#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "log/embedded/counting_epochs.h"

// counting_worker FOLDER STEP WRITES SEED: commits counting epochs until it is killed, by itself at
// step STEP of its WRITES-th write if STEP is not empty. A process of its own, since RocksDB's
// threads do not survive a fork.
int main(int argc, char** argv) {
  using namespace sonder;
  if (argc != 5) return 2;
  const std::filesystem::path folder = argv[1];
  const std::string_view die_at = argv[2];
  int writes_left = std::atoi(argv[3]);
  acknowledged_epochs told(folder / "acknowledged");

  embedded_options options;
  options.fsync = false;                   // the machine stays up
  options.memtable_bytes_max = 128 << 10;  // flushes and compacts table files all the time
  options.maintenance_interval = std::chrono::milliseconds(std::atoi(argv[4]) % 3 + 1);
  options.compaction_dirty_ratio_min = 0;
  options.on_step = [&](std::string_view step) {
    if (step == die_at && --writes_left <= 0) ::kill(::getpid(), SIGKILL);
  };
  auto opened = open_embedded_log(folder, options);
  const auto ready = opened ? create_counting_topics(**opened) : tl::unexpected(opened.error());
  if (!ready) return std::fprintf(stderr, "%s\n", ready.error().message.c_str()), 10;
  const auto next = (*opened)->committed("app", "in");
  if (!next) return 11;
  for (std::int64_t n = std::max<std::int64_t>(0, (*next)[0]);; ++n) {
    if (!run_counting_epoch(**opened, n)) return 12;
    told.set(n + 1);
  }
}
