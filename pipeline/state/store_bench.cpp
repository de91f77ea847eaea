#include <benchmark/benchmark.h>

#include <cstdlib>
#include <filesystem>
#include <random>
#include <vector>

#include "log/embedded/embedded_log.h"
#include "state/store.h"

namespace sonder {
namespace {

constexpr int keys = 10'000;

struct filled_store {
  filled_store() {
    std::string name =
        (std::filesystem::temp_directory_path() / "sonder-store-bench-XXXXXX").string();
    folder = ::mkdtemp(name.data());
    log = std::move(*open_embedded_log(folder, {.fsync = false, .maintenance_interval = {}}));
    store = std::make_unique<keyed_store>(*log, "app", "profile", 0, store_limits{});
    for (int i = 0; i < keys; ++i)
      names.push_back(std::string("subject-").append(std::to_string(100'000 + i)));
    for (const auto& key : names) static_cast<void>(store->put(as_bytes(key), as_bytes(value)));
    commit();
    std::mt19937 random(1);
    for (auto& pick : order) pick = static_cast<int>(random() % keys);
  }
  ~filled_store() {
    store.reset();
    log.reset();
    std::filesystem::remove_all(folder);
  }
  void commit() {
    epoch_changes epoch;
    epoch.group = "app";
    store->seal(epoch.state);
    if (!log->commit(epoch)) std::abort();
    store->committed();
  }

  std::filesystem::path folder;
  std::unique_ptr<embedded_log> log;
  std::unique_ptr<keyed_store> store;
  std::vector<std::string> names;
  std::vector<int> order = std::vector<int>(4096);
  std::string value = std::string(100, 'v');
};

void hot_get(benchmark::State& state) {
  filled_store s;
  std::size_t i = 0;
  bytes_view value;
  for (auto _ : state) {
    const auto there =
        s.store->get(as_bytes(s.names[static_cast<std::size_t>(s.order[i++ & 4095])]), &value);
    if (!there || !*there) std::abort();
    benchmark::DoNotOptimize(value);
  }
}
BENCHMARK(hot_get);

void hot_get_of_an_absent_key(benchmark::State& state) {
  filled_store s;
  bytes_view value;
  for (auto _ : state) benchmark::DoNotOptimize(s.store->get(as_bytes("nobody"), &value));
}
BENCHMARK(hot_get_of_an_absent_key);

void change_in_a_savepoint(benchmark::State& state) {
  filled_store s;
  std::size_t i = 0;
  for (auto _ : state) {
    s.store->mark();
    const auto& key = s.names[static_cast<std::size_t>(s.order[i++ & 4095])];
    if (!s.store->put(as_bytes(key), as_bytes(s.value))) std::abort();
  }
}
BENCHMARK(change_in_a_savepoint);

void cold_get(benchmark::State& state) {
  filled_store s;
  keyed_store cold(*s.log, "app", "profile", 0, {.cache_bytes_max = 0});
  std::size_t i = 0;
  bytes_view value;
  for (auto _ : state) {
    const auto there =
        cold.get(as_bytes(s.names[static_cast<std::size_t>(s.order[i++ & 4095])]), &value);
    if (!there || !*there) std::abort();
  }
}
BENCHMARK(cold_get);

}  // namespace
}  // namespace sonder
