#include "sentiment/emotion_features.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "text/hash.h"

namespace sonder::sentiment {
namespace {

constexpr std::uint64_t text_start = 1,
                        text_end = 2;      // stand for words before the first and after the last
constexpr std::size_t negation_reach = 4;  // words, but never over punctuation

constexpr std::uint64_t join(std::uint64_t a, std::uint64_t b) {
  return (a * 0x9E3779B97F4A7C15ULL ^ a >> 31U) + b * 0xC2B2AE3D27D4EB4FULL;
}

std::uint64_t hash_short(std::string_view word) {
  char padded[48] = {};
  std::memcpy(padded, word.data(), word.size());
  return text::hash_padded(padded, word.size());
}

/// GoEmotions says [NAME] for a person; anonymisers have other words for it.
std::uint64_t name_hash() {
  static const std::uint64_t hash = hash_short("[name]");
  return hash;
}

std::uint64_t word_hash(std::string_view folded, text::token_kind kind) {
  if (kind == text::token_kind::placeholder &&
      (folded == "[person]" || folded == "[user]" || folded == "[user_name]"))
    return name_hash();
  return text::hash_padded(folded.data(), folded.size());
}

bool negates(std::uint64_t hash) {
  static const auto hashes = [] {
    std::array<std::uint64_t, 22> made{};
    std::size_t size = 0;
    for (const char* word :
         {"not",   "no",      "never",  "don't",    "didn't",   "isn't",     "wasn't",  "can't",
          "won't", "doesn't", "aren't", "couldn't", "wouldn't", "shouldn't", "nothing", "without",
          "dont",  "didnt",   "cant",   "ain't",    "haven't",  "hasn't"}) {
      made.at(size++) = hash_short(word);
    }
    std::sort(made.begin(), made.end());
    return made;
  }();
  return std::binary_search(hashes.begin(), hashes.end(), hash);
}

}  // namespace

void emotion_features::scan(std::string_view text) {
  tokens_.scan(text, tokens_max);
  words_.clear();
  others_.clear();
  bool opens_sentence = true;
  for (const text::token& t : tokens_.tokens()) {
    const auto folded = tokens_.folded(t);
    const bool has_ngrams = t.kind == text::token_kind::word || t.kind == text::token_kind::hashtag;
    const std::uint64_t hash = word_hash(folded, t.kind);
    words_.push_back({hash, feature_key(feature_kind::word, hash),
                      has_ngrams ? folded : std::string_view{},
                      t.kind == text::token_kind::word && t.letters == text::letter_case::title,
                      opens_sentence});
    opens_sentence = t.kind == text::token_kind::punctuation && folded != ",";
  }
}

void emotion_features::read_as_name(std::size_t i) {
  words_[i].hash = name_hash();
  words_[i].key = feature_key(feature_kind::word, name_hash());
  words_[i].spelled = {};
}

void emotion_features::combine() {
  add_pairs();
  add_negated();
  add_shape();
}

void emotion_features::add_pairs() {
  std::uint64_t before = text_start;
  for (const word& w : words_) {
    others_.push_back(feature_key(feature_kind::pair, join(before, w.hash)));
    before = w.hash;
  }
  others_.push_back(feature_key(feature_kind::pair, join(before, text_end)));
  if (words_.empty()) return;
  others_.push_back(feature_key(feature_kind::first, words_.front().hash));
  others_.push_back(feature_key(feature_kind::last, words_.back().hash));
  if (words_.size() > 1) others_.push_back(feature_key(feature_kind::second, words_[1].hash));
}

void emotion_features::add_negated() {
  std::size_t reach = 0;
  for (std::size_t i = 0; i < words_.size(); ++i) {
    if (tokens_.tokens()[i].kind == text::token_kind::punctuation) reach = 0;
    if (reach > 0) {
      others_.push_back(feature_key(feature_kind::negated, words_[i].hash));
      --reach;
    }
    if (negates(words_[i].hash)) reach = negation_reach;
  }
}

void emotion_features::add_shape() {
  std::uint64_t words = 0, capitals = 0;
  for (std::size_t i = 0; i < words_.size(); ++i) {
    const text::token& t = tokens_.tokens()[i];
    if (t.kind != text::token_kind::word || t.end - t.begin < 2) continue;
    ++words;
    if (t.letters != text::letter_case::upper) continue;
    ++capitals;
    others_.push_back(feature_key(feature_kind::capital_word, words_[i].hash));
  }
  constexpr std::uint64_t no_words = 9, quarters = 4;
  others_.push_back(feature_key(feature_kind::capitals_share,
                                words == 0 ? no_words : capitals * quarters / words));
  // Steps of three tokens up to a dozen, of six up to forty.
  const std::uint64_t size = std::min<std::uint64_t>(words_.size(), 40);
  others_.push_back(feature_key(feature_kind::length, size < 12 ? size / 3 : 100 + size / 6));
}

}  // namespace sonder::sentiment
