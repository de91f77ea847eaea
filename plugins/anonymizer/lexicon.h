#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/word_table.h"

namespace sonder::anonymizer {

/// What a word may be. The first group comes from gazetteer/words.tsv, the second from the lists in
/// lexicon.cpp.
enum word_flag : std::uint64_t {
  first_name = 1ULL << 0,
  frequent_first_name = 1ULL << 1,
  last_name = 1ULL << 2,
  place = 1ULL << 3,
  large_place = 1ULL << 4,
  country = 1ULL << 5,
  nationality = 1ULL << 6,
  province = 1ULL << 7,
  everyday = 1ULL << 8,     ///< also an ordinary English word
  very_common = 1ULL << 9,  ///< and one of the most frequent
  starts_phrase = 1ULL << 10,
  rare_word = 1ULL << 11,  ///< English, too rare to be sure that it is no name as well

  honorific = 1ULL << 16,
  greeting = 1ULL << 17,
  name_cue = 1ULL << 18,       ///< "named", "called": a name follows
  relation = 1ULL << 19,       ///< "brother", "boss": a name may follow
  speech_verb = 1ULL << 20,    ///< "says": a name stands before
  place_cue = 1ULL << 21,      ///< "in", "from"
  street_suffix = 1ULL << 22,  ///< "Street"
  street_prefix = 1ULL << 23,  ///< "Rua", "ul."
  unit_word = 1ULL << 24,      ///< "Apt.", "Suite"
  org_suffix = 1ULL << 25,     ///< "Inc", "Ltd"
  month = 1ULL << 26,
  weekday = 1ULL << 27,
  birth_cue = 1ULL << 28,
  age_cue = 1ULL << 29,
  phone_cue = 1ULL << 30,
  id_cue = 1ULL << 31,
  name_particle = 1ULL << 32,  ///< "van", "de"
  function_word = 1ULL << 33,  ///< never a name, however written
  nhs_cue = 1ULL << 34,
  ssn_cue = 1ULL << 35,
  bsn_cue = 1ULL << 36,
  sin_cue = 1ULL << 37,
  licence_cue = 1ULL << 38,
  postal_cue = 1ULL << 39,

  continues_phrase = 1ULL << 40,  ///< is the second word of a phrase
  username_cue = 1ULL << 41,      ///< "login", "discord": a user name may follow
  military_post = 1ULL << 42,     ///< "APO": where soldiers have their post
  military_ship = 1ULL << 43,     ///< "USS": a ship follows, which has its post there

  // Whether a name may begin at the word, by how it stands. Follow from the others, of unknown
  // words too.
  begins_small = 1ULL << 61,     ///< small, in a text whose capitals inform
  begins_capital = 1ULL << 62,   ///< with a capital, in such a text
  begins_caseless = 1ULL << 63,  ///< in a text whose capitals say nothing
};
constexpr unsigned begins_small_bit = 61, begins_capital_bit = 62, begins_caseless_bit = 63;

constexpr std::uint64_t any_name = first_name | last_name;
constexpr std::uint64_t any_place = place | large_place | country | province;
/// What a word needs to begin a name where capitals do not tell.
constexpr std::uint64_t begins_name =
    any_name | any_place | nationality | starts_phrase | honorific;

/// The words and phrases that the rules know, by their folded form (text::fold_diacritics).
///
/// Immutable after construction and read by any thread. Owns its texts; looks up without
/// allocating.
class lexicon {
 public:
  static constexpr std::size_t word_bytes_max = 48;  ///< longer words are not in it
  static constexpr std::size_t phrase_words_max = 4;

  /// Reads the table that is built into the library.
  lexicon();

  /// Flags of a folded word or phrase (words divided by one space); `begins_capital` alone for
  /// unknown ones. `folded` is in a word_buffer: it is readable text::hash_padding bytes past its
  /// end.
  [[nodiscard]] std::uint64_t find(std::string_view folded) const noexcept {
    return find(folded, hash(folded));
  }

  /// The same in two steps, for those who look many words up: text::word_table says why.
  [[nodiscard]] static std::uint64_t hash(std::string_view folded) noexcept {
    return text::word_table::hash(folded);
  }
  void prefetch(std::uint64_t hash) const noexcept { words_.prefetch(hash); }
  [[nodiscard]] std::uint64_t find(std::string_view folded, std::uint64_t hash) const noexcept {
    return flag_sets_[words_.find(folded, hash)];
  }

 private:
  class reader;

  static constexpr std::size_t words_max = std::size_t{1} << 17;

  text::word_table words_{words_max};        ///< a word's number is its place in flag_sets_
  std::vector<std::uint64_t> flag_sets_{0};  ///< few differ; the first is of unknown words
};

/// Room for one folded word or phrase and for reading it by whole machine words.
using word_buffer = std::array<char, lexicon::word_bytes_max + text::hash_padding>;

}  // namespace sonder::anonymizer
