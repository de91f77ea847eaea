#include <benchmark/benchmark.h>

#include <cstddef>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "finder.h"
#include "pseudonym.h"

namespace sonder::anonymizer {
namespace {

// What journal entries are made of. A few fixed texts would be learned by heart by the branch
// predictor, so that each of a thousand entries is put together anew from these, about 150
// characters long.
constexpr std::string_view plain_parts[] = {
    "I slept badly again,",
    "but the walk after lunch helped a lot.",
    "I want to try that more often",
    "and see whether the evenings get calmer that way too.",
    "work was stressful and i kept thinking about the meeting,",
    "then i did the breathing exercise twice",
    "and felt my shoulders drop a little bit at last.",
    "Today I noticed how quickly I judge myself.",
    "I wrote it down, read it again an hour later",
    "and it sounded far too harsh even to my own ears, really.",
    "Grateful for small things:",
    "the first coffee, the light on the wall,",
    "a message from someone I had not heard from in a very long time.",
    "Good day now.",
    "Why do I always put things off?",
    "I can't say that I enjoyed the party,",
    "too loud, too many people I don't know.",
    "Finished the book by the window while it rained!",
    "it felt silly at first...",
    "Nothing special happened, and that was nice.",
};
constexpr std::string_view telling_parts[] = {
    "I met John Smith in Berlin on Tuesday,",
    "he said I should write to him at john.smith@example.com when I feel that low again.",
    "My therapist Anna moved to 14 Crown Street, London.",
    "Her new number is +44 7700 900 123",
    "and she asked me to call before 12 March 2024 if I can do it.",
    "Dear diary, I'm 31 and still scared of the dentist.",
    "Dr. Kowalski laughed, but kindly,",
    "and gave me the link www.example.org/calm for the next time.",
};
constexpr std::size_t entry_bytes = 150;
constexpr std::size_t entries_count = 1024;

template <class Parts>
std::vector<std::string> entries_of(const Parts& parts) {
  std::mt19937 random(150);
  std::vector<std::string> made(entries_count);
  for (std::string& entry : made) {
    while (entry.size() < entry_bytes) {
      if (!entry.empty()) entry += ' ';
      entry += parts[random() % std::size(parts)];
    }
  }
  return made;
}

// As a phone or a word processor sets them: curly quotes, dashes, narrow spaces, pictures.
constexpr std::string_view set_texts[] = {
    "I slept badly again — but the walk after lunch didn’t hurt. I want to “try that” more often "
    "and see whether the evenings get calmer that way too…",
    "Grateful for small things: the first coffee\u00A0☕️, the light on the wall, a message "
    "from "
    "someone I hadn’t heard from in a very long time. Good day now ❤️",
};

const finder& shared_finder() {
  static const finder made{finder_options{}};
  return made;
}

template <class Texts>
void find_and_redact(benchmark::State& state, const Texts& texts) {
  const finder& finding = shared_finder();
  workspace work;
  std::string out;
  std::size_t bytes = 0;
  std::size_t next = 0;
  for (auto _ : state) {
    const std::string_view text = texts[next++ % std::size(texts)];
    finding.find(text, work);
    redact(work, out);
    benchmark::DoNotOptimize(out.data());
    bytes += text.size();
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes));
  state.SetItemsProcessed(state.iterations());
}

void FindInPlainText(benchmark::State& state) {
  find_and_redact(state, entries_of(plain_parts));
}
BENCHMARK(FindInPlainText);

void FindInTellingText(benchmark::State& state) {
  find_and_redact(state, entries_of(telling_parts));
}
BENCHMARK(FindInTellingText);

void FindInTypesetText(benchmark::State& state) {
  find_and_redact(state, set_texts);
}
BENCHMARK(FindInTypesetText);

// One text in five carries identifiers, as in the quickstart's population.
void FindOneInFive(benchmark::State& state) {
  std::vector<std::string> texts = entries_of(plain_parts);
  const std::vector<std::string> telling = entries_of(telling_parts);
  for (std::size_t i = 0; i < texts.size(); i += 5) texts[i] = telling[i];
  find_and_redact(state, texts);
}
BENCHMARK(FindOneInFive);

void Pseudonym(benchmark::State& state) {
  const std::vector<std::uint8_t> secret(32, 7);
  const pseudonymiser names{secret, "subject", "ServicePersonalisation"};
  std::array<char, pseudonymiser::name_bytes> buffer;
  for (auto _ : state) benchmark::DoNotOptimize(names.name("subject-0123456789", buffer));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(Pseudonym);

}  // namespace
}  // namespace sonder::anonymizer
