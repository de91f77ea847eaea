#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "sentiment/lexicon.h"
#include "text/chunks.h"

namespace sonder::sentiment {

/// How pleasant and how activated a text is (the circumplex of affect, Russell 1980).
struct mood {
  double valence = 0;  // [-1, 1]: raw / sqrt(raw^2 + 15), VADER's "compound"
  double arousal = 0;  // [0, 1)
  double raw = 0;      // the sum of the contributions
};

/// What one place of the text gave to mood::raw. Bytes [begin, end).
struct contribution {
  std::uint32_t begin, end;
  double value;
};

/// Which reading of VADER's rules: the published program's to the letter, oddities of its code
/// included (for the parity test), or ours, whose differences README.md lists.
enum class rule_set : std::uint8_t { vader, sonder };

/// VADER's rules (Hutto & Gilbert 2014) over a lexicon: negation, boosters that fade with distance,
/// contrast, capitals, punctuation, emoji, idioms.
///
/// Confined to one thread; keeps its scratch memory, so that a steady state allocates nothing.
/// Takes any bytes. Cost is linear in the text.
class scorer {
 public:
  explicit scorer(const lexicon& words, rule_set rules = rule_set::sonder)
      : lexicon_(words), rules_(rules) {}

  [[nodiscard]] mood score(std::string_view text);

  /// Of the last scored text, in its order; they sum to mood::raw exactly when added front to back.
  /// Punctuation that emphasises comes last, spanning from the first to the last such mark.
  [[nodiscard]] std::span<const contribution> contributions() const noexcept {
    return contributions_;
  }

 private:
  struct word {
    std::uint32_t roles;  // of lexicon[index]
    std::uint32_t chunk;
    std::uint32_t index;
  };
  struct reading;  // of one rated word, while the rules change it

  // Words are numbered from look_back on; before and behind them stand some without a role, so that
  // rules need not ask where the text begins and ends.
  static constexpr std::uint32_t look_back = 3;
  static constexpr std::uint32_t look_ahead = 1;

  void make_room(std::size_t words);
  void read_words();
  void ask_for_notable();
  void look_up_late(std::uint32_t at);
  void number_chunks();
  void put_word(entry_index index, std::size_t chunk, std::uint32_t at);
  [[nodiscard]] entry_index look_closer(const text::notable_chunk& c, entry_index found);
  void note_places();
  void add_picture(std::size_t chunk);
  [[nodiscard]] entry_index look_up_odd(std::string_view folded, bool stretched) const;
  entry_index look_up_stretched(std::string_view folded) const;
  [[nodiscard]] bool is_name(std::size_t chunk, const entry& e) const;
  void find_phrases();
  void rate(std::uint32_t at);
  void rate_phrase(std::uint32_t at, const phrase& idiom);
  void apply_words_before(reading& r, std::uint32_t at);
  void apply_word_before(reading& r, std::uint32_t at, std::uint32_t distance);
  void apply_negation(double& valence, std::uint32_t at, std::uint32_t distance);
  [[nodiscard]] bool is_negated_by_no(std::uint32_t at);
  [[nodiscard]] double booster_of(std::uint32_t at, double valence) const;
  void apply_vader_idioms(double& valence, std::uint32_t at) const;
  void apply_contrast();
  [[nodiscard]] double emphasis() const;
  [[nodiscard]] mood sum_up();
  [[nodiscard]] bool matches(const phrase& p, std::size_t first) const;
  [[nodiscard]] std::uint32_t roles(std::uint32_t at) const { return words_[at].roles; }
  [[nodiscard]] bool has(std::uint32_t at, std::uint32_t wanted) const {
    return (roles(at) & wanted) != 0;
  }
  /// In capitals where others are not.
  [[nodiscard]] bool is_shouted(std::uint32_t at) const;

  struct rating {
    std::uint32_t word;
    double valence;
  };
  struct phrase_match {
    std::uint32_t first, last;
    const phrase* idiom;
  };

  const lexicon& lexicon_;
  rule_set rules_;
  text::chunk_list chunks_;
  // The first five are as long as the longest text needed; how much of them counts is beside them.
  std::vector<word> words_;
  std::vector<std::uint32_t> put_at_;       // words that were looked up
  std::vector<std::uint32_t> rated_at_;     // of these, those that have a rating
  std::vector<std::uint32_t> phrase_ends_;  // words that an idiom may end with
  std::vector<std::uint64_t> asked_for_;    // of notable chunks
  std::uint32_t words_end_ = 0;             // behind the last word
  std::uint32_t put_count_ = 0, rated_count_ = 0, phrase_ends_count_ = 0;
  std::uint32_t picture_words_ = 0;  // more words than chunks, so far
  std::vector<rating> ratings_;
  std::vector<phrase_match> matches_;
  std::vector<contribution> contributions_;
  double activation_ = 0;
  std::uint32_t contrast_at_ = 0;  // first "but"; words_end_ if none
};

}  // namespace sonder::sentiment
