#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "text/tokens.h"

namespace sonder::sentiment {

/// What the emotion model sees of a text: keys (hashes) of words, and of everything else that was
/// found. One extractor for training and for use, so that they cannot differ. The keys are part of
/// the model's format.
///
/// Reused by its owner, confined to one thread; a steady state allocates nothing.
class emotion_features {
 public:
  /// A text's words after these say nothing more about it and would let one text cost without
  /// bound.
  static constexpr std::size_t tokens_max = 4096;
  static constexpr std::size_t ngram_bytes_min = 2, ngram_bytes_max = 4;
  /// Letters of a word, with its two boundary marks, that n-grams are taken from.
  static constexpr std::size_t ngram_word_bytes_max = 40;

  struct word {
    std::uint64_t hash;
    std::uint64_t key;         // of the word as a feature
    std::string_view spelled;  // lives until the next scan; empty for what has no n-grams
    bool capitalised;          // "Ana", not "ANA"
    bool opens_sentence;
    bool negated;  // its own row says nothing: "not happy" is no joy, and is a feature itself
  };

  /// Finds the words, and which of them are negated. What the model takes for names is then told by `read_as_name`, and `combine`
  /// completes the rest.
  void scan(std::string_view text);
  /// The i-th word is a name: which one must not matter, so that it reads as the placeholder of a
  /// person.
  void read_as_name(std::size_t i);
  void combine();

  [[nodiscard]] const std::vector<word>& words() const noexcept { return words_; }
  /// After `combine`: pairs of words, words under a negation, first and last words, capitals,
  /// length.
  [[nodiscard]] const std::vector<std::uint64_t>& others() const noexcept { return others_; }

  /// Calls `visit(key)` for each n-gram of bytes of "<word>".
  template <class Visit>
  static void each_ngram(std::string_view spelled, Visit visit);

  void release_above(std::size_t bytes) { tokens_.release_above(bytes); }

 private:
  void find_negated();
  void add_pairs();
  void add_negated();
  void add_shape();

  text::token_list tokens_;
  std::vector<word> words_;
  std::vector<std::uint64_t> others_;
};

// ---- Bodies
// ----------------------------------------------------------------------------------------------------------

/// One kind of feature: keeps the keys of, say, words and n-grams apart.
enum class feature_kind : std::uint64_t {
  word = 1,
  pair,
  negated,
  first,
  second,
  last,
  capitals_share,
  capital_word,
  length,
  ngram
};

[[nodiscard]] constexpr std::uint64_t feature_key(feature_kind kind, std::uint64_t value) noexcept {
  std::uint64_t h = (value ^ std::uint64_t(kind) * 0xD6E8FEB86659FD93ULL) * 0x9E3779B97F4A7C15ULL;
  h = (h ^ h >> 32U) * 0xBF58476D1CE4E5B9ULL;
  return h ^ h >> 29U;
}

template <class Visit>
void emotion_features::each_ngram(std::string_view spelled, Visit visit) {
  if (spelled.empty()) return;
  char marked[ngram_word_bytes_max];
  std::size_t size = 0;
  marked[size++] = '<';
  for (const char c : spelled.substr(0, ngram_word_bytes_max - 1)) marked[size++] = c;
  if (size < ngram_word_bytes_max) marked[size++] = '>';
  for (std::size_t bytes = ngram_bytes_min; bytes <= ngram_bytes_max; ++bytes) {
    if (bytes == size) continue;  // the whole word is a feature already
    for (std::size_t at = 0; at + bytes <= size; ++at) {
      std::uint64_t letters = bytes;
      for (std::size_t i = 0; i < bytes; ++i)
        letters = letters << 8U | static_cast<unsigned char>(marked[at + i]);
      visit(feature_key(feature_kind::ngram, letters));
    }
  }
}

}  // namespace sonder::sentiment
