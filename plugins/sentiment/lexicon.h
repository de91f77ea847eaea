#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/word_table.h"

namespace sonder::sentiment {

/// What a word does in VADER's rules; a word may do several things.
enum role : std::uint32_t {
  rated = 1U << 0U,     // has a rating in the lexicon
  booster = 1U << 1U,   // "very", "hardly": changes the next rated word by entry::boost
  negation = 1U << 2U,  // "not", any "...n't"
  least = 1U << 3U,     // negates unless after "at" or "very"
  at_or_very = 1U << 4U,
  never = 1U << 5U,
  so_or_this = 1U << 6U,  // "never so good" is praise
  without = 1U << 7U,
  doubt = 1U << 8U,  // "without doubt"
  no = 1U << 9U,     // negates a rated word after it instead of counting itself
  or_nor = 1U << 10U,
  contrast = 1U << 11U,  // "but"
  kind = 1U << 12U,      // "kind of": no praise
  of = 1U << 13U,
  ends_phrase = 1U << 14U,           // last word of an idiom
  valence_dropped = 1U << 15U,       // a name more often than a word, however written
  name_if_title = 1U << 16U,         // "Grace"
  name_inside_sentence = 1U << 17U,  // "my sister Joy"
  says_person = 1U << 18U,           // verb that people are the subject of: "Joy feels"
  quiet = 1U << 19U,                 // feeling of low activation
  precedes_phrase_end = 1U << 20U,   // last but one of an idiom, unless it is looked up late
  after_late = 1U << 21U,            // last word of an idiom, behind one that is looked up late
  begins_dampener = 1U << 22U,       // first of a booster of several words: "sort of"
  looked_up_late = 1U << 23U,        // frequent, and means something beside certain others only
};

struct entry {
  float rating = 0;
  float boost = 0;
  std::uint32_t roles = 0;
};

/// Position of an entry in the lexicon; 0 is the word that nobody knows.
using entry_index = std::uint16_t;

struct phrase {
  static constexpr std::size_t words_max = 3;
  std::array<entry_index, words_max> words{};
  std::uint8_t size = 0;
  bool rates = false;  // false: a booster of several words ("sort of")
  float value = 0;
};

/// The words, emoji and idioms that move valence. Immutable after `parse`, safe to share by
/// threads.
class lexicon {
 public:
  /// Reads the table written by training/make_lexicon.py and adds the words of the rules (boosters,
  /// negations, idioms). Throws std::invalid_argument naming the line; used once, at start.
  static lexicon parse(std::string_view table);

  /// The table that is linked into this library.
  static const lexicon& shipped();

  /// `word` is folded; 16 bytes past its end must be readable.
  [[nodiscard]] entry_index find(std::string_view word) const noexcept { return words_.find(word); }
  /// The same in three steps, between which there is time for other words: what each asks for, the
  /// next reads.
  [[nodiscard]] std::uint64_t ask_for(std::string_view word) const noexcept {
    const std::uint64_t hash = text::word_table::hash(word);
    words_.prefetch(hash);
    return hash;
  }
  [[nodiscard]] entry_index find(std::string_view word, std::uint64_t asked_for) const noexcept {
    const entry_index found = words_.find(word, asked_for);
#ifdef __GNUC__
    __builtin_prefetch(&entries_[found]);
#endif
    return found;
  }
  /// Of the words that `find` knows, but for those that do nothing by themselves: `looked_up_late`,
  /// and verbs that say a person and no more.
  [[nodiscard]] const text::word_filter& filter() const noexcept {
    return filter_;
  }
  [[nodiscard]] const entry& operator[](entry_index index) const noexcept {
    return entries_[index];
  }

  /// The words of an emoji's name; empty for one that is not in the table.
  [[nodiscard]] std::span<const entry_index> name_of(char32_t emoji) const noexcept;
  [[nodiscard]] std::span<const phrase> phrases() const noexcept {
    return phrases_;
  }
  /// The first so many of phrases() are boosters of several words.
  [[nodiscard]] std::size_t dampening_phrases() const noexcept {
    return dampening_phrases_;
  }
  [[nodiscard]] entry_index plain_negation() const noexcept {
    return plain_negation_;
  }
  [[nodiscard]] std::size_t size() const noexcept {
    return entries_.size() - 1;
  }

 private:
  struct emoji_name {
    char32_t emoji;
    std::uint32_t first, count;
  };
  entry_index add(std::string_view word);
  void add_rules();
  void fill_filter();
  void add_phrase(std::string_view words, bool rates, float value);
  void add_emoji(std::string_view emoji, std::string_view name);

  std::vector<entry> entries_{1};
  std::vector<std::string> terms_{1};  // of entries_, while they are read
  text::word_table words_{0};          // a word's number is its place in entries_
  text::word_filter filter_;           // of them: three words of four in a text are not in it
  std::vector<emoji_name> emoji_;      // by code point
  std::vector<entry_index> emoji_words_;
  std::vector<phrase> phrases_;
  std::size_t dampening_phrases_ = 0;
  entry_index plain_negation_ = 0;
};

}  // namespace sonder::sentiment
