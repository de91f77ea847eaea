#include <benchmark/benchmark.h>

#include "observe/metrics.h"

namespace {

// What a flow pays a batch and stage: a few counters and two histograms.
void count_one_batch(benchmark::State& state) {
  static sonder::metrics of;
  const int slot = state.thread_index();
  auto& in = of.counter_of(sonder::metric::records_in, {"s", "p"}, slot);
  auto& passed = of.counter_of(sonder::metric::records_passed, {"s", "p"}, slot);
  auto& size = of.histogram_of(sonder::metric::batch_records, {"s", "p"}, slot);
  auto& time = of.histogram_of(sonder::metric::stage_seconds, {"s", "p"}, slot);
  for (auto _ : state) {
    in.add(256);
    passed.add(250);
    size.observe(256);
    time.observe(0.0004);
  }
}
BENCHMARK(count_one_batch)->Threads(1)->Threads(2);

void expose(benchmark::State& state) {
  sonder::metrics of;
  for (int node = 0; node < 20; ++node)
    for (int slot = 0; slot < 8; ++slot)
      of.histogram_of(sonder::metric::stage_seconds, {"stage_" + std::to_string(node), "p"}, slot)
          .observe(0.001);
  for (auto _ : state) benchmark::DoNotOptimize(of.expose());
}
BENCHMARK(expose);

}  // namespace
