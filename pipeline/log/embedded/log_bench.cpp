#include <benchmark/benchmark.h>

#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>

#include "log/embedded/embedded_log.h"

namespace sonder {
namespace {

constexpr std::size_t record_bytes = 300;
constexpr int batch_records = 256;

// A log in a folder of its own; values are random letters.
struct bench_log {
  explicit bench_log(bool fsync) {
    std::string name =
        (std::filesystem::temp_directory_path() / "sonder-log-bench-XXXXXX").string();
    folder = ::mkdtemp(name.data());
    auto opened = open_embedded_log(folder, {.fsync = fsync, .maintenance_interval = {}});
    if (!opened) std::abort();
    log = std::move(*opened);
    if (!log->create_topic({.name = "in"}) || !log->create_topic({.name = "out"})) std::abort();
    std::mt19937 random(1);
    for (int i = 0; i < 64; ++i) {
      auto& value = values.emplace_back();
      while (value.size() < record_bytes) value.push_back(static_cast<char>('a' + random() % 26));
    }
  }
  ~bench_log() {
    log.reset();
    std::filesystem::remove_all(folder);
  }
  void fill(record_batch_builder& batch) const {
    batch.clear();
    for (int i = 0; i < batch_records; ++i) {
      const bytes_view key = as_bytes("subject-0001"),
                       value = as_bytes(values[static_cast<std::size_t>(i) % values.size()]);
      batch.append(1'700'000'000'000 + i, &key, &value, {});
    }
  }

  std::filesystem::path folder;
  std::unique_ptr<embedded_log> log;
  std::vector<std::string> values;
};

void count_records(benchmark::State& state, std::int64_t records) {
  state.SetItemsProcessed(records);
  state.SetBytesProcessed(records * static_cast<std::int64_t>(record_bytes));
}

// Epochs of one batch, one offset and one change of state. Argument: whether each waits for the
// disk.
void commit_epochs(benchmark::State& state) {
  bench_log b(state.range(0) != 0);
  record_batch_builder batch;
  std::int64_t n = 0;
  for (auto _ : state) {
    b.fill(batch);
    ++n;
    const std::string count = std::to_string(n);
    epoch_changes epoch;
    epoch.group = "app";
    epoch.produced.push_back({"out", 0, &batch});
    epoch.consumed.push_back({"in", 0, n});
    epoch.state.push_back({"count", 0, as_bytes("n"), as_bytes(count)});
    if (!b.log->commit(epoch)) std::abort();
  }
  count_records(state, n * batch_records);
}
BENCHMARK(commit_epochs)->ArgName("fsync")->Arg(0)->Arg(1)->UseRealTime();

void append_batches(benchmark::State& state) {
  bench_log b(false);
  record_batch_builder batch;
  b.fill(batch);
  const produced_batch produced{"in", 0, &batch};
  std::int64_t records = 0;
  for (auto _ : state) {
    if (!b.log->append({&produced, 1})) std::abort();
    records += batch_records;
  }
  count_records(state, records);
}
BENCHMARK(append_batches)->UseRealTime();

// From the first to the last of a million records, again and again. Argument: whether the log was
// closed in between, so that records come from table files instead of memory.
void fetch_records(benchmark::State& state) {
  bench_log b(false);
  record_batch_builder batch;
  b.fill(batch);
  const produced_batch produced{"in", 0, &batch};
  for (int i = 0; i < (state.range(0) != 0 ? 4000 : 200); ++i) {
    if (!b.log->append({&produced, 1})) std::abort();
  }
  if (state.range(0) != 0) {
    b.log.reset();
    b.log = std::move(*open_embedded_log(b.folder, {.fsync = false, .maintenance_interval = {}}));
  }
  record_block block;
  std::int64_t records = 0;
  for (auto _ : state) {
    if (!b.log->fetch("in", 0, block.next_offset, {}, block)) std::abort();
    records += static_cast<std::int64_t>(block.records.size());
    if (block.records.empty()) block.next_offset = 0;
  }
  count_records(state, records);
}
BENCHMARK(fetch_records)->ArgName("from_files")->Arg(0)->Arg(1)->UseRealTime();

void build_and_read_a_batch(benchmark::State& state) {
  bench_log b(false);
  record_batch_builder batch;
  record_block block;
  for (auto _ : state) {
    b.fill(batch);
    block.clear();
    if (!read_batch(batch.finish(), 0, 0, block)) std::abort();
  }
  count_records(state, static_cast<std::int64_t>(state.iterations()) * batch_records);
}
BENCHMARK(build_and_read_a_batch);

}  // namespace
}  // namespace sonder
