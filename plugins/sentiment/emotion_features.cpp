#include "sentiment/emotion_features.h"

#include <algorithm>
#include <array>
#include <bitset>
#include <cstring>
#include <utility>

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

/// What a word does to the words that follow it in their clause.
enum class scope_role : std::uint8_t { none, negates, fails, completes, ends };

/// The words of each role but `none`. "can't" fails at what follows, but for the words that complete
/// it to something else: "can't wait", "couldn't agree more".
constexpr std::array<std::pair<scope_role, std::string_view>, 4> scope_words = {{
    {scope_role::negates,
     "not no never don't didn't isn't wasn't won't doesn't aren't wouldn't shouldn't nothing without "
     "dont didnt ain't haven't hasn't nobody none isnt wasnt doesnt wont neither nor"},
    {scope_role::fails, "can't cannot cant couldn't"},
    {scope_role::completes, "believe wait help agree stop imagine even"},
    {scope_role::ends,
     "but because cause and so until unless although though if when while since"},
}};

/// The roles of words by their hash. Most words have none: a bit of their hash tells.
class scope_table {
 public:
  scope_table() {
    for (const auto& [role, words] : scope_words) {
      for (std::size_t at = 0; at < words.size();) {
        const std::size_t end = std::min(words.find(' ', at), words.size());
        entries_.emplace_back(hash_short(words.substr(at, end - at)), role);
        seen_.set(entries_.back().first % seen_.size());
        at = end + 1;
      }
    }
    std::sort(entries_.begin(), entries_.end());
  }

  [[nodiscard]] scope_role role_of(std::uint64_t hash) const noexcept {
    if (!seen_[hash % seen_.size()]) return scope_role::none;
    const auto found = std::lower_bound(entries_.begin(), entries_.end(), hash,
                                        [](const auto& e, std::uint64_t h) { return e.first < h; });
    return found != entries_.end() && found->first == hash ? found->second : scope_role::none;
  }

 private:
  std::vector<std::pair<std::uint64_t, scope_role>> entries_;
  std::bitset<1024> seen_;
};

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
                      opens_sentence, false});
    opens_sentence = t.kind == text::token_kind::punctuation && folded != ",";
  }
  find_negated();
}

void emotion_features::find_negated() {
  static const scope_table scopes;
  std::size_t reach = 0;
  scope_role before = scope_role::none;
  for (std::size_t i = 0; i < words_.size(); ++i) {
    word& each = words_[i];
    const scope_role role = scopes.role_of(each.hash);
    const bool negates = role == scope_role::negates || role == scope_role::fails;
    if (tokens_.tokens()[i].kind == text::token_kind::punctuation) reach = 0;
    if (reach > 0) {
      each.negated = !each.spelled.empty() && !negates;
      --reach;
    }
    if (role == scope_role::ends || (before == scope_role::fails && role == scope_role::completes))
      reach = 0;
    if (negates) reach = negation_reach;
    before = role;
  }
}

void emotion_features::read_as_name(std::size_t i) {
  words_[i].hash = name_hash();
  words_[i].key = feature_key(feature_kind::word, name_hash());
  words_[i].spelled = {};
  words_[i].negated = false;
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
  for (const word& w : words_) {
    if (w.negated) others_.push_back(feature_key(feature_kind::negated, w.hash));
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
