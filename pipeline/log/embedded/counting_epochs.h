#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <string>

#include "log/embedded/log_fixture.h"

namespace sonder {

/// A count that outlives the process that writes it: how many epochs the worker was told are
/// durable.
class acknowledged_epochs {
 public:
  explicit acknowledged_epochs(const std::filesystem::path& file) {
    const int fd = ::open(file.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0 || ::ftruncate(fd, sizeof(std::atomic<std::int64_t>)) != 0) std::abort();
    void* memory = ::mmap(nullptr, sizeof(std::atomic<std::int64_t>), PROT_READ | PROT_WRITE,
                          MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) std::abort();
    ::close(fd);
    count_ = static_cast<std::atomic<std::int64_t>*>(memory);
  }
  ~acknowledged_epochs() { ::munmap(count_, sizeof *count_); }
  acknowledged_epochs(const acknowledged_epochs&) = delete;
  acknowledged_epochs& operator=(const acknowledged_epochs&) = delete;

  void set(std::int64_t epochs) noexcept { count_->store(epochs); }
  [[nodiscard]] std::int64_t get() const noexcept { return count_->load(); }

 private:
  std::atomic<std::int64_t>* count_;
};

/// What the topic "tail" keeps of its newest records, at least.
inline constexpr std::int64_t tail_bytes_kept = 20'000;

inline status create_counting_topics(log& on) {
  SONDER_TRY(on.create_topic({.name = "in"}));
  SONDER_TRY(on.create_topic({.name = "out", .partitions = 2}));
  SONDER_TRY(on.create_topic({.name = "tail", .retention_bytes = tail_bytes_kept}));
  return on.create_topic({.name = "table", .compacted = true, .tombstone_ms = 0});
}

/// Epoch n of a worker that counts: it takes input n, puts n to one of two partitions, to a topic
/// that keeps only so many bytes and to a compacted one, and has counted to n + 1. What should be
/// there after n epochs follows from n alone.
inline status run_counting_epoch(log& on, std::int64_t n) {
  const std::string number = std::to_string(n), count = std::to_string(n + 1),
                    slot = std::to_string(n % 50);
  auto out = batch_of({{number, std::string(static_cast<std::size_t>(n % 3000), 'v')}});
  auto table = batch_of({{slot, n % 7 == 0 ? std::nullopt : std::optional(number)}});
  epoch_changes epoch;
  epoch.group = "app";
  epoch.produced = {
      {"out", static_cast<std::int32_t>(n % 2), &out}, {"tail", 0, &out}, {"table", 0, &table}};
  epoch.consumed = {{"in", 0, n + 1}};
  epoch.state = {{"count", 0, as_bytes("n"), as_bytes(count)},
                 {"slots", 0, as_bytes(slot), as_bytes(number)}};
  if (n % 7 == 0) epoch.state.back().value.reset();
  return on.commit(epoch);
}

}  // namespace sonder
