#include <benchmark/benchmark.h>

#include <array>
#include <cstdint>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "sentiment/embedded.h"
#include "sentiment/emotion_model.h"
#include "sentiment/scorer.h"
#include "sonder/plugin.hpp"
#include "text/tokens.h"

namespace sonder::sentiment {
namespace {

// What journal entries are made of. A few fixed texts would be learned by heart by the branch
// predictor, so that each of a thousand entries is put together anew from these, 150 bytes long.
constexpr std::string_view fragments[] = {"Slept badly again and woke up tired.",
                                          "The walk with my sister in the park was lovely!",
                                          "I want to do that more often,",
                                          "it helps me calm down a bit.",
                                          "Work was a mess today:",
                                          "two meetings moved, the report is late",
                                          "and nobody told me.",
                                          "I'm not angry any more,",
                                          "just a little worried about tomorrow.",
                                          "I am SO grateful for this evening!!",
                                          "We cooked together and laughed about old stories.",
                                          "For once I did not think about the exam.",
                                          "A really good Sunday :)",
                                          "Tried the breathing exercise after lunch;",
                                          "it felt silly at first,",
                                          "then my shoulders dropped.",
                                          "The headache was almost gone.",
                                          "Will try it again at noon.",
                                          "Mum called, we argued about money",
                                          "but it ended well.",
                                          "I can't say that I enjoyed the party,",
                                          "too loud, too many people I don't know.",
                                          "He never answers my messages...",
                                          "and I feel stupid for waiting.",
                                          "Finished the book by the window while it rained.",
                                          "Proud of myself for going to the gym!",
                                          "The doctor said everything looks fine,",
                                          "what a relief.",
                                          "Why do I always put things off?",
                                          "I miss her so much it hurts.",
                                          "Small win: the kitchen is clean.",
                                          "Coffee with [NAME], who is moving to Porto in May.",
                                          "Honestly quite excited about it 😊",
                                          "Nothing special happened, and that was nice."};
constexpr std::size_t entry_bytes = 150;

const std::vector<std::string>& entries() {
  static const auto made = [] {
    std::mt19937 random(150);
    std::vector<std::string> texts(1024);
    for (std::string& text : texts) {
      while (text.size() < entry_bytes) {
        text += fragments[random() % std::size(fragments)];
        text += ' ';
      }
      while (text.size() > entry_bytes || (static_cast<unsigned char>(text.back()) & 0x80U) != 0)
        text.pop_back();
    }
    return texts;
  }();
  return made;
}

void lexicon_scoring(benchmark::State& state) {
  scorer s(lexicon::shipped());
  std::size_t i = 0;
  for (auto _ : state) benchmark::DoNotOptimize(s.score(entries()[i++ % entries().size()]).valence);
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(lexicon_scoring);

void emotions_of_a_text(benchmark::State& state) {
  const auto opened = emotion_model::open(embedded_emotions());
  emotion_reader reader(std::get<emotion_model>(opened));
  std::size_t i = 0;
  for (auto _ : state) benchmark::DoNotOptimize(reader.read(entries()[i++ % entries().size()]));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(emotions_of_a_text);

void tokens_of_a_text(benchmark::State& state) {
  text::token_list tokens;
  std::size_t i = 0;
  for (auto _ : state) {
    tokens.scan(entries()[i++ % entries().size()]);
    benchmark::DoNotOptimize(tokens.tokens().data());
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(tokens_of_a_text);

// ---- The whole stage, as a host calls it: Arrow columns in, Arrow columns out
// ----------------------------------------

const void* no_service(const sonder_host*, const char*) {
  return nullptr;
}

class stage {
 public:
  explicit stage(const std::string& config) : plugin_(sonder_plugin_entry()) {
    const sonder_module_args args{
        sizeof args, 0, {"bench", 5}, {config.data(), config.size()}, {"", 0}};
    sonder_error error{sizeof error};
    if (plugin_->module_create(&host_, &args, &module_, &error) != SONDER_OK ||
        plugin_->instance_create(module_, &host_, &instance_, &error) != SONDER_OK)
      throw std::runtime_error(error.message);
    auto& rows = texts_.start();
    for (std::int64_t i = 0; i < batch_rows; ++i) {
      rows.get<0>().append(entries()[std::size_t(i) % entries().size()]);
      rows.close();
    }
    texts_.hand_over(array_);
  }
  ~stage() {
    plugin_->instance_destroy(instance_);
    plugin_->module_destroy(module_);
    array_.release(&array_);
  }
  stage(const stage&) = delete;
  stage& operator=(const stage&) = delete;

  void process() {
    std::array<std::uint8_t, batch_rows> verdicts{};
    std::array<std::uint16_t, batch_rows> reasons{};
    std::array<std::uint32_t, batch_rows> retries{};
    std::array<ArrowArray, 5> columns{};
    sonder_batch batch{sizeof batch, 0, batch_rows, &schema_, &array_};
    sonder_output output{sizeof output,   std::uint32_t(columns.size()),
                         verdicts.data(), reasons.data(),
                         retries.data(),  columns.data()};
    sonder_error error{sizeof error};
    if (plugin_->process(instance_, &batch, &output, &error) != SONDER_OK)
      throw std::runtime_error(error.message);
    for (ArrowArray& column : columns) {
      if (column.release != nullptr) column.release(&column);
    }
  }
  static constexpr std::int64_t batch_rows = 1024;

 private:
  const sonder_plugin* plugin_;
  sonder_host host_{sizeof host_, SONDER_ABI_MAJOR, SONDER_ABI_MINOR, 0, 0, nullptr, no_service};
  void* module_ = nullptr;
  void* instance_ = nullptr;
  plugin::column<plugin::build::record<plugin::build::utf8>> texts_;
  ArrowArray array_{};
  ArrowSchema text_{"u", "text", nullptr, 0, 0, nullptr, nullptr, nullptr, nullptr};
  ArrowSchema* children_[1] = {&text_};
  ArrowSchema schema_{"+s", "", nullptr, 0, 1, children_, nullptr, nullptr, nullptr};
};

void whole_stage(benchmark::State& state, const char* config) {
  stage s(config);
  for (auto _ : state) s.process();
  state.SetItemsProcessed(state.iterations() * stage::batch_rows);
}
BENCHMARK_CAPTURE(whole_stage, full,
                  R"({"profile":"full","emotions":true,"explain":false,"probability_floor":0.05})");
BENCHMARK_CAPTURE(whole_stage, fast,
                  R"({"profile":"fast","emotions":true,"explain":false,"probability_floor":0.05})");
BENCHMARK_CAPTURE(
    whole_stage, without_emotions,
    R"({"profile":"fast","emotions":false,"explain":false,"probability_floor":0.05})");
BENCHMARK_CAPTURE(whole_stage, explained,
                  R"({"profile":"full","emotions":true,"explain":true,"probability_floor":0.05})");

}  // namespace
}  // namespace sonder::sentiment
