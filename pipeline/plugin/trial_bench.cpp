#include <benchmark/benchmark.h>

#include <sstream>

#include "plugin/trial.h"

namespace {

/// Rows of 150 characters through `sonder try`: JSON in, one call per batch, JSON out.
void trial_rows(benchmark::State& state) {
  constexpr int rows = 20'000;
  std::string in;
  for (int i = 0; i < rows; ++i) {
    in += R"({"event_id":"00000000-0000-0000-0000-000000000000","subject_id":"subject-)" +
          std::to_string(i) + R"(","at":1790000000000,"text":")" + std::string(150, 'x') + "\"}\n";
  }
  for (auto _ : state) {
    std::istringstream from(in);
    std::ostringstream to;
    auto done = sonder::run_trial(SONDER_TESTING_PLUGINS "/misbehaving.so", {}, from, to);
    if (!done || done->passed != rows) state.SkipWithError("the trial failed");
  }
  state.SetItemsProcessed(state.iterations() * rows);
}
BENCHMARK(trial_rows)->Unit(benchmark::kMillisecond);

}  // namespace
