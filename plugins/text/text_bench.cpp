#include <benchmark/benchmark.h>

#include <string>

#include "text/chunks.h"
#include "text/diacritics.h"
#include "text/tokens.h"
#include "text/utf8.h"

namespace sonder::text {
namespace {

constexpr std::string_view plain =
    "Slept badly again and woke up tired, but the walk with my sister in the park was lovely. I "
    "want to do that more often, "
    "it helps me calm down!";
constexpr std::string_view mixed =
    "Gestern war schön 😊 – “wirklich” schön, naïve as it sounds; the café’s croissants were worth "
    "the détour, and Zoë sang. "
    "Больше ничего не надо.";

void chunks(benchmark::State& state, std::string_view text) {
  chunk_list list;
  const word_filter knows_nothing;
  for (auto _ : state) {
    list.scan(text, knows_nothing);
    benchmark::DoNotOptimize(list.chunks().data());
  }
  state.SetBytesProcessed(state.iterations() * std::int64_t(text.size()));
}
BENCHMARK_CAPTURE(chunks, ascii, plain);
BENCHMARK_CAPTURE(chunks, unicode, mixed);

void tokens(benchmark::State& state, std::string_view text) {
  token_list list;
  for (auto _ : state) {
    list.scan(text);
    benchmark::DoNotOptimize(list.tokens().data());
  }
  state.SetBytesProcessed(state.iterations() * std::int64_t(text.size()));
}
BENCHMARK_CAPTURE(tokens, ascii, plain);
BENCHMARK_CAPTURE(tokens, unicode, mixed);

void fold_to_plain(benchmark::State& state, std::string_view text) {
  std::string out(2 * text.size(), '\0');
  for (auto _ : state) {
    benchmark::DoNotOptimize(fold_diacritics(text, out.data(), out.size()));
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * std::int64_t(text.size()));
}
BENCHMARK_CAPTURE(fold_to_plain, ascii, plain);
BENCHMARK_CAPTURE(fold_to_plain, unicode, mixed);

void validate(benchmark::State& state, std::string_view text) {
  for (auto _ : state) benchmark::DoNotOptimize(first_malformed(text));
  state.SetBytesProcessed(state.iterations() * std::int64_t(text.size()));
}
BENCHMARK_CAPTURE(validate, ascii, plain);
BENCHMARK_CAPTURE(validate, unicode, mixed);

}  // namespace
}  // namespace sonder::text
