// Any bytes as text: figures stay in their ranges, contributions add up and point inside the text.

#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <variant>

#include "sentiment/embedded.h"
#include "sentiment/emotion_model.h"
#include "sentiment/scorer.h"

namespace {

using namespace sonder::sentiment;

void require(bool holds) {
  if (!holds) std::abort();
}

void check(scorer& s, std::string_view text) {
  const mood m = s.score(text);
  require(m.valence >= -1 && m.valence <= 1 && m.arousal >= 0 && m.arousal <= 1);
  double sum = 0;
  for (const contribution& c : s.contributions()) {
    require(c.begin < c.end && c.end <= text.size());
    sum += c.value;
  }
  require(sum == m.raw);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  static scorer ours(lexicon::shipped()), exact(lexicon::shipped(), rule_set::vader);
  static const auto model = emotion_model::open(embedded_emotions());
  static emotion_reader reader(std::get<emotion_model>(model));
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  check(ours, text);
  check(exact, text);
  for (const float p : reader.read(text)) require(p >= 0 && p <= 1);
  return 0;
}
