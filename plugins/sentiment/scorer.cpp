#include "sentiment/scorer.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace sonder::sentiment {
namespace {

constexpr std::uint32_t maybe_name = valence_dropped | name_if_title | name_inside_sentence;

// VADER's constants, found empirically from ratings of 20 people (Hutto & Gilbert 2014,
// section 3.3).
constexpr double capitals_step = 0.733;
constexpr double negation_factor = -0.74;
constexpr double distance_factors[] = {1.0, 0.95, 0.9};
constexpr double never_so_factor = 1.25;
constexpr double before_contrast = 0.5, after_contrast = 1.5;
constexpr double exclamation_step = 0.292;
constexpr std::size_t exclamations_max = 4;
constexpr double question_step = 0.18, questions_cap = 0.96;
constexpr double normalisation = 15.0;

// Ours. A stretched word ("loooove") is emphasised about as much as by a booster (Brody &
// Diakopoulos 2011).
constexpr double stretch_step = 0.293;
// What a rating says about activation for words like "calm" and "sad", against words like
// "furious".
constexpr double quiet_share = 0.35;
constexpr std::size_t stretched_bytes_max = 64;
// Scratch memory larger than this is given back after an unusually long text.
constexpr std::size_t scratch_bytes_max = 1U << 20U;

// "= {}" would assign an empty list, and keep the memory.
template <class T>
void give_back(std::vector<T>& of) {
  std::vector<T>().swap(of);
}

double squash(double x) {
  return x / std::sqrt(x * x + normalisation);
}
double away_from_zero(double valence, double step) {
  return valence > 0 ? valence + step : valence - step;
}

}  // namespace

/// Valence as the rules have it so far, and how activated the word is regardless of its sign.
struct scorer::reading {
  double valence;
  double activation;
};

entry_index scorer::look_up_stretched(std::string_view folded) const {
  if (folded.size() > stretched_bytes_max) return 0;
  for (const std::size_t keep : {2U, 1U}) {
    char squeezed[stretched_bytes_max + text::chunk_list::padding] = {};
    std::size_t size = 0, repeats = 0;
    char before = '\0';
    for (const char c : folded) {
      repeats = c == before ? repeats + 1 : 1;
      before = c;
      if (repeats <= keep) squeezed[size++] = c;
    }
    if (const entry_index found = lexicon_.find({squeezed, size}); found != 0) return found;
  }
  return 0;
}

/// Of a word that is not known as it stands.
entry_index scorer::look_up_odd(std::string_view folded, bool stretched) const {
  entry_index found = 0;
  if (stretched && rules_ == rule_set::sonder) found = look_up_stretched(folded);
  if (found == 0 && folded.find("n't") != std::string_view::npos) return lexicon_.plain_negation();
  return found;
}

bool scorer::is_name(std::size_t chunk, const entry& e) const {
  using enum text::letter_case;
  if ((e.roles & valence_dropped) != 0) return true;
  if (chunks_.letters(chunk) != title) return false;
  if ((e.roles & name_if_title) != 0) return true;
  const bool has_next = chunk + 1 < chunks_.chunks().size();
  if (chunks_.opens_sentence(chunk))
    return has_next &&
           (lexicon_[lexicon_.find(chunks_.folded(chunk + 1))].roles & says_person) != 0;
  // In A Headline Every Word Has A Capital: that says nothing.
  const bool title_before =
      chunks_.letters(chunk - 1) == title && !chunks_.opens_sentence(chunk - 1);
  const bool title_after = has_next && chunks_.letters(chunk + 1) == title;
  return !(title_before && title_after);
}

void scorer::make_room(std::size_t words) {
  const std::size_t size = look_back + words + look_ahead;
  if (words_.size() < size) {
    words_.resize(size);
    rated_at_.resize(size);
    phrase_ends_.resize(size);
    put_at_.resize(size);
    asked_for_.resize(size);
  }
}

inline void scorer::put_word(entry_index index, std::size_t chunk, std::uint32_t at) {
  words_[at] = {lexicon_[index].roles, std::uint32_t(chunk), index};
}

/// Its name counts as words of the text.
void scorer::add_picture(std::size_t chunk) {
  const auto name = lexicon_.name_of(chunks_.emoji(chunk));
  if (name.empty()) return;
  const std::size_t more = name.size() - 1;
  make_room(chunks_.chunks().size() + picture_words_ + more);
  std::fill_n(words_.begin() + words_end_ + look_ahead, more, word{});
  words_end_ += std::uint32_t(more);
  for (std::size_t i = 0; i < name.size(); ++i) {
    const auto at = std::uint32_t(look_back + chunk + picture_words_ + i);
    put_word(name[i], chunk, at);
    put_at_[put_count_++] = at;
  }
  picture_words_ += std::uint32_t(more);
}

/// Memory is asked for before it is needed.
void scorer::ask_for_notable() {
  std::uint64_t* next = asked_for_.data();
  for (const text::notable_chunk& c : chunks_.notable())
    *next++ = lexicon_.ask_for(chunks_.folded(c));
}

/// At what is not simply a word that is known or not.
entry_index scorer::look_closer(const text::notable_chunk& c, entry_index found) {
  if (c.why == text::notable_chunk::no_word) {
    if (chunks_.kind(c.number) == text::chunk_kind::emoji) add_picture(c.number);
    return 0;
  }
  if (found == 0 && c.why == text::notable_chunk::odd)
    found = look_up_odd(chunks_.folded(c), chunks_.stretched(c.number));
  const entry& e = lexicon_[found];
  const bool named =
      rules_ == rule_set::sonder && (e.roles & maybe_name) != 0 && is_name(c.number, e);
  return named ? entry_index{0} : found;
}

void scorer::read_words() {
  const std::size_t chunks = chunks_.chunks().size();
  make_room(chunks);
  std::memset(words_.data(), 0, (look_back + chunks + look_ahead) * sizeof(word));
  words_end_ = std::uint32_t(look_back + chunks);
  put_count_ = picture_words_ = 0;
  ask_for_notable();
  const auto notable = chunks_.notable();
  for (std::size_t i = 0; i < notable.size(); ++i) {
    const text::notable_chunk& c = notable[i];
    entry_index index = lexicon_.find(chunks_.folded(c), asked_for_[i]);
    // One branch for all that is rare. Whether a word is known is hard to foresee.
    const auto unknown = std::uint32_t{index == 0};
    const auto is_odd = std::uint32_t{c.why != text::notable_chunk::may_be_known};
    const auto is_no_word = std::uint32_t{c.why == text::notable_chunk::no_word};
    if ((lexicon_[index].roles & maybe_name) | (is_odd & unknown) | is_no_word) [[unlikely]] {
      index = look_closer(c, index);
      if (is_no_word != 0) continue;
    }
    const std::uint32_t at = look_back + c.number + picture_words_;
    put_word(index, c.number, at);
    put_at_[put_count_++] = at;
  }
  // Behind a picture words are not where chunks are.
  if (picture_words_ != 0) number_chunks();
  if (rules_ == rule_set::vader) {
    for (std::uint32_t at = look_back; at < words_end_; ++at) look_up_late(at);
  }
}

void scorer::number_chunks() {
  std::uint32_t at = look_back;
  for (std::uint32_t chunk = 0; chunk < chunks_.chunks().size(); ++chunk) {
    const char32_t emoji = chunks_.emoji(chunk);
    std::size_t words = emoji == 0 ? 1 : std::max<std::size_t>(lexicon_.name_of(emoji).size(), 1);
    for (; words > 0; --words) words_[at++].chunk = chunk;
  }
}

/// Finds a word that no rule begins at, for a rule that begins at another.
void scorer::look_up_late(std::uint32_t at) {
  if (words_[at].index != 0 || at < look_back || at >= words_end_) return;
  const std::uint32_t chunk = picture_words_ != 0 ? words_[at].chunk : at - look_back;
  if (chunks_.kind(chunk) != text::chunk_kind::word) return;
  const entry_index index = lexicon_.find(chunks_.folded(chunk));
  if ((lexicon_[index].roles & looked_up_late) != 0) put_word(index, chunk, at);
}

/// Notes where the few words stand that the rules begin at. Each place is written, and counted
/// where it is one of them: no branch that is hard to foresee.
void scorer::note_places() {
  std::uint32_t* rated_next = rated_at_.data();
  std::uint32_t* end_next = phrase_ends_.data();
  std::uint32_t contrast_at = words_end_;
  const word* const words = words_.data();
  for (const std::uint32_t at : std::span(put_at_).first(put_count_)) {
    const std::uint32_t r = words[at].roles;
    // A booster that is rated counts as booster only.
    *rated_next = at;
    rated_next += (r & (rated | booster)) == rated;
    *end_next = at;
    const std::uint32_t behind =
        0U - std::uint32_t{(words[at - 1].roles & precedes_phrase_end) != 0};
    end_next += ((r & after_late) | (r & ends_phrase & behind)) != 0;
    const std::uint32_t never_mind = std::uint32_t{(r & contrast) != 0} - 1U;
    contrast_at = std::min(contrast_at, at | never_mind);
  }
  rated_count_ = std::uint32_t(rated_next - rated_at_.data());
  phrase_ends_count_ = std::uint32_t(end_next - phrase_ends_.data());
  contrast_at_ = contrast_at;
}

bool scorer::matches(const phrase& p, std::size_t first) const {
  if (first + p.size > words_end_) return false;
  for (std::size_t i = 0; i < p.size; ++i) {
    if (words_[first + i].index != p.words[i]) return false;
  }
  return true;
}

void scorer::find_phrases() {
  matches_.clear();
  if (rules_ == rule_set::vader) return;
  for (const std::uint32_t last : std::span(phrase_ends_).first(phrase_ends_count_)) {
    for (std::uint32_t back = 1; back < phrase::words_max; ++back) look_up_late(last - back);
    for (const phrase& p : lexicon_.phrases().subspan(lexicon_.dampening_phrases())) {
      if (p.words[p.size - 1U] != words_[last].index) continue;
      const std::uint32_t first = last + 1 - p.size;
      if (!matches(p, first) || (!matches_.empty() && matches_.back().last >= first)) continue;
      matches_.push_back({first, last, &p});
      break;
    }
  }
}

bool scorer::is_shouted(std::uint32_t at) const {
  return chunks_.capitals_stand_out() &&
         chunks_.letters(words_[at].chunk) == text::letter_case::upper;
}

double scorer::booster_of(std::uint32_t at, double valence) const {
  if (!has(at, booster)) return 0;
  double step = lexicon_[entry_index(words_[at].index)].boost;
  if (valence < 0) step = -step;
  if (is_shouted(at)) step = away_from_zero(valence, capitals_step) - valence + step;
  return step;
}

void scorer::apply_negation(double& valence, std::uint32_t at, std::uint32_t distance) {
  if (!has(at - distance, negation | never | without) && rules_ == rule_set::sonder) return;
  for (std::uint32_t back = 1; back < distance; ++back) look_up_late(at - back);
  const auto so_or_this_at = [&](std::uint32_t back) { return has(at - back, so_or_this); };
  if (distance == 2) {
    if (has(at - 2, never) && so_or_this_at(1)) {
      valence *= never_so_factor;
      return;
    }
    if (has(at - 2, without) && has(at - 1, doubt)) return;
  } else if (distance == 3) {
    // "haven't been this good" is praise too. The published program amplifies any word after "so"
    // or "this" here, for want of parentheses.
    const bool never_so = rules_ == rule_set::vader
                              ? (has(at - 3, never) && so_or_this_at(2)) || so_or_this_at(1)
                              : (has(at - 3, never) && so_or_this_at(2)) ||
                                    (has(at - 3, negation) && so_or_this_at(1));
    if (never_so) {
      valence *= never_so_factor;
      return;
    }
    if (has(at - 3, without) && (has(at - 2, doubt) || has(at - 1, doubt))) return;
  }
  if (has(at - distance, negation)) valence *= negation_factor;
}

void scorer::apply_vader_idioms(double& valence, std::uint32_t at) const {
  // The program looks around words that have three others before them, in this order; the first of
  // the five wins, then those that begin at the word itself.
  const auto value_of = [&](std::size_t first, std::size_t size, bool rates) -> const phrase* {
    for (const phrase& p : lexicon_.phrases()) {
      if (p.rates == rates && p.size == size && matches(p, first)) return &p;
    }
    return nullptr;
  };
  const std::pair<std::size_t, std::size_t> around[] = {{1, 2}, {2, 3}, {2, 2}, {3, 3}, {3, 2}};
  for (const auto& [back, size] : around) {
    if (const phrase* p = value_of(at - back, size, true)) {
      valence = double(p->value);
      break;
    }
  }
  for (const std::size_t size : {2U, 3U}) {
    if (const phrase* p = value_of(at, size, true)) valence = double(p->value);
  }
  const std::pair<std::size_t, std::size_t> before[] = {{3, 3}, {3, 2}, {2, 2}};
  for (const auto& [back, size] : before) {
    if (const phrase* p = value_of(at - back, size, false)) valence += double(p->value);
  }
}

bool scorer::is_negated_by_no(std::uint32_t at) {
  if (has(at - 3, no)) look_up_late(at - 1);
  return has(at - 1, no) || has(at - 2, no) || (has(at - 3, no) && has(at - 1, or_nor));
}

void scorer::apply_word_before(reading& r, std::uint32_t at, std::uint32_t distance) {
  const std::uint32_t before = at - distance;
  if (has(before, rated)) return;
  const double step = booster_of(before, r.valence) * distance_factors[distance - 1];
  r.activation += r.valence < 0 ? -step : step;
  r.valence += step;
  apply_negation(r.valence, at, distance);
}

void scorer::apply_words_before(reading& r, std::uint32_t at) {
  const bool exact = rules_ == rule_set::vader;
  const std::uint32_t first = at - look_back;  // words of the text before it
  for (std::uint32_t distance = 1; distance <= std::min(look_back, first); ++distance) {
    apply_word_before(r, at, distance);
    if (exact && distance == 3 && !has(at - 3, rated)) apply_vader_idioms(r.valence, at);
  }
  if (!exact && has(at - 2, begins_dampener)) {
    look_up_late(at - 1);
    for (const phrase& p : lexicon_.phrases().first(lexicon_.dampening_phrases())) {
      if (matches(p, at - p.size)) r.valence = away_from_zero(r.valence, double(p.value));
    }
  }
  if (has(at - 1, least) && !has(at - 1, rated)) {
    look_up_late(at - 2);
    if (!has(at - 2, at_or_very)) r.valence *= negation_factor;
  }
}

void scorer::rate(std::uint32_t at) {
  // Without one of these before it a word stands as it is, but for what VADER's program does.
  constexpr std::uint32_t changes_others =
      booster | negation | least | never | without | no | begins_dampener;
  const entry& e = lexicon_[entry_index(words_[at].index)];
  const bool exact = rules_ == rule_set::vader;
  const std::uint32_t before = roles(at - 1) | roles(at - 2) | roles(at - 3);
  reading r{double(e.rating),
            std::abs(double(e.rating)) * ((e.roles & quiet) != 0 ? quiet_share : 1.0)};
  if ((e.roles & no) != 0 && has(at + 1, rated)) r = {0, 0};
  if ((before & no) != 0 && is_negated_by_no(at)) r.valence = double(e.rating) * negation_factor;
  if (!exact && r.valence == 0) return;
  if (is_shouted(at)) {
    r.valence = away_from_zero(r.valence, capitals_step);
    r.activation += capitals_step;
  }
  if (!exact && chunks_.stretched(words_[at].chunk)) {
    r.valence = away_from_zero(r.valence, stretch_step);
    r.activation += stretch_step;
  }
  if (exact || (before & changes_others) != 0) apply_words_before(r, at);
  if (r.valence == 0) return;
  ratings_.push_back({at, r.valence});
  activation_ += std::max(0.0, r.activation);
}

void scorer::rate_phrase(std::uint32_t at, const phrase& idiom) {
  reading r{double(idiom.value), std::abs(double(idiom.value))};
  for (std::uint32_t distance = 1; distance <= look_back; ++distance)
    apply_word_before(r, at, distance);
  if (r.valence == 0) return;
  ratings_.push_back({at, r.valence});
  activation_ += std::max(0.0, r.activation);
}

void scorer::apply_contrast() {
  if (contrast_at_ >= words_end_) return;
  if (rules_ == rule_set::sonder) {
    for (rating& r : ratings_)
      r.valence *= r.word < contrast_at_ ? before_contrast : after_contrast;
    return;
  }
  // The program finds the position of a value by searching the list for an equal one, so that equal
  // values share the fate of the first.
  for (std::size_t i = 0; i < ratings_.size(); ++i) {
    const auto first = std::find_if(ratings_.begin(), ratings_.end(), [&](const rating& r) {
      return r.valence == ratings_[i].valence;
    });
    if (first->word < contrast_at_) {
      first->valence *= before_contrast;
    } else if (first->word > contrast_at_) {
      first->valence *= after_contrast;
    }
  }
}

double scorer::emphasis() const {
  const double exclaimed =
      exclamation_step * double(std::min(chunks_.exclamations(), exclamations_max));
  const std::size_t questions = chunks_.questions();
  const double asked = questions < 2    ? 0
                       : questions <= 3 ? question_step * double(questions)
                                        : questions_cap;
  return exclaimed + asked;
}

mood scorer::sum_up() {
  mood result;
  const auto chunks = chunks_.chunks();
  for (const rating& r : ratings_) {
    const text::chunk& c = chunks[words_[r.word].chunk];
    contributions_.push_back({c.begin, c.end, r.valence});
    result.raw += r.valence;
  }
  const double added = emphasis();
  if (result.raw != 0 && added != 0) {
    const double signed_emphasis = result.raw > 0 ? added : -added;
    contributions_.push_back({std::uint32_t(chunks_.first_mark()),
                              std::uint32_t(chunks_.last_mark() + 1), signed_emphasis});
    result.raw += signed_emphasis;
  }
  result.valence = squash(result.raw);
  const double felt = ratings_.empty() ? 0 : activation_ / std::sqrt(double(ratings_.size()));
  result.arousal = squash(felt + added);
  return result;
}

mood scorer::score(std::string_view text) {
  text = text.substr(0, text::chunk_list::text_bytes_max);
  chunks_.scan(
      text, lexicon_.filter(),
      rules_ == rule_set::vader ? text::inner_punctuation::keep : text::inner_punctuation::split);
  ratings_.clear();
  if (contributions_.capacity() * sizeof(contribution) > scratch_bytes_max)
    give_back(contributions_);
  contributions_.clear();
  activation_ = 0;
  read_words();
  note_places();
  find_phrases();
  std::uint32_t from = 0;  // behind the last phrase
  auto next_phrase = matches_.cbegin();
  const auto rate_phrases_before = [&](std::uint32_t end) {
    for (; next_phrase != matches_.cend() && next_phrase->first < end; ++next_phrase) {
      rate_phrase(next_phrase->first, *next_phrase->idiom);
      from = next_phrase->last + 1;
    }
  };
  for (const std::uint32_t at : std::span(rated_at_).first(rated_count_)) {
    rate_phrases_before(at + 1);
    if (at < from) continue;
    if (has(at, kind)) {
      look_up_late(at + 1);
      if (has(at + 1, of)) continue;
    }
    rate(at);
  }
  rate_phrases_before(words_end_);
  apply_contrast();
  const mood result = sum_up();
  if (text.size() > scratch_bytes_max) {
    chunks_.release_above(scratch_bytes_max);
    give_back(words_);
    give_back(asked_for_);
    give_back(put_at_);
    give_back(rated_at_);
    give_back(phrase_ends_);
    give_back(matches_);
    give_back(ratings_);
  }
  return result;
}

}  // namespace sonder::sentiment
