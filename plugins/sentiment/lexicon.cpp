#include "sentiment/lexicon.h"

#include <algorithm>
#include <charconv>
#include <stdexcept>

#include "sentiment/embedded.h"
#include "text/utf8.h"

namespace sonder::sentiment {
namespace {

constexpr std::size_t words_max = 32'000;    // entry_index counts to 65,535
constexpr std::size_t rule_words_max = 512;  // of the rules below, beside the table's
constexpr std::size_t readable_past_end = 16;

// The constants and word lists of VADER's rules (Hutto & Gilbert 2014, vaderSentiment 3.3, MIT
// licence).
constexpr float boost_step = 0.293F;

constexpr std::string_view boosters =
    "absolutely amazingly awfully completely considerable considerably decidedly deeply effing "
    "enormous enormously "
    "entirely especially exceptional exceptionally extreme extremely fabulously flipping flippin "
    "frackin fracking "
    "fricking frickin frigging friggin fully fuckin fucking fuggin fugging greatly hella highly "
    "hugely incredible "
    "incredibly intensely major majorly more most particularly purely quite really remarkably so "
    "substantially "
    "thoroughly total totally tremendous tremendously uber unbelievably unusually utter utterly "
    "very";
constexpr std::string_view dampeners =
    "almost barely hardly kinda kindof kind-of less little marginal marginally occasional "
    "occasionally partly scarce "
    "scarcely slight slightly somewhat sorta sortof sort-of";
constexpr std::string_view negations =
    "aint arent cannot cant couldnt darent didnt doesnt ain't aren't can't couldn't daren't didn't "
    "doesn't dont hadnt "
    "hasnt havent isnt mightnt mustnt neither don't hadn't hasn't haven't isn't mightn't mustn't "
    "neednt needn't never "
    "none nope nor not nothing nowhere oughtnt shant shouldnt uhuh wasnt werent oughtn't shan't "
    "shouldn't uh-uh wasn't "
    "weren't without wont wouldnt won't wouldn't rarely seldom despite";
// One word of five in a text is one of these. The rules ask for them behind or before another word.
constexpr std::string_view late_words = "a at of on or the this to with";
constexpr std::string_view dampeners_of_words[] = {"just enough", "kind of", "sort of"};

struct rated_phrase {
  std::string_view words;
  float value;
};
// VADER's special cases and its list of idioms without rated words, and the lexicon terms that
// contain a space.
constexpr rated_phrase idioms[] = {
    {"the shit", 3.0F},         {"the bomb", 3.0F},      {"bad ass", 1.5F},
    {"bus stop", 0.0F},         {"yeah right", -2.0F},   {"kiss of death", -1.5F},
    {"to die for", 3.0F},       {"beating heart", 3.5F}, {"cut the mustard", 2.0F},
    {"hand to mouth", -2.0F},   {"back handed", -2.0F},  {"blow smoke", -2.0F},
    {"blowing smoke", -2.0F},   {"upper hand", 1.0F},    {"break a leg", 2.0F},
    {"cooking with gas", 2.0F}, {"on the ball", 2.0F},   {"under the weather", -2.0F},
    {"can't stand", -2.0F},     {"fed up", -1.8F},       {"screwed up", -1.5F},
};
// Verbs after which a capitalised word at the start of a sentence is the person who does it.
constexpr std::string_view person_verbs =
    "feels felt made makes found told tells goes said says has went told thinks thought wants "
    "wanted knows knew asked "
    "lives works loves hates";

template <class Visit>
void each_word(std::string_view words, Visit visit) {
  while (!words.empty()) {
    const std::size_t end = std::min(words.find(' '), words.size());
    if (end > 0) visit(words.substr(0, end));
    words.remove_prefix(std::min(end + 1, words.size()));
  }
}

[[noreturn]] void refuse(std::size_t line, const char* why) {
  throw std::invalid_argument("lexicon.tsv:" + std::to_string(line) + ": " + why);
}

}  // namespace

entry_index lexicon::add(std::string_view word) {
  std::string padded(word);
  padded.append(readable_past_end, '\0');
  const std::string_view view{padded.data(), word.size()};
  if (const entry_index known = find(view); known != 0) return known;
  if (word.size() > text::word_table::word_bytes_max)
    throw std::invalid_argument("lexicon: a word is longer than the table takes");
  const auto index = entry_index(entries_.size());
  words_.set(word, index);
  entries_.emplace_back();
  terms_.push_back(std::move(padded));
  return index;
}

void lexicon::add_phrase(std::string_view words, bool rates, float value) {
  phrase p{.rates = rates, .value = value};
  each_word(words, [&](std::string_view word) { p.words.at(p.size++) = add(word); });
  if (rates) {
    std::uint32_t& before = entries_[p.words[p.size - 2U]].roles;
    const bool late = (before & looked_up_late) != 0;
    if (!late) before |= precedes_phrase_end;
    entries_[p.words[p.size - 1U]].roles |= late ? after_late : ends_phrase;
  } else {
    entries_[p.words[0]].roles |= begins_dampener;
  }
  phrases_.push_back(p);
}

void lexicon::add_rules() {
  each_word(boosters, [&](std::string_view word) {
    entry& e = entries_[add(word)];
    e.roles |= booster;
    e.boost = boost_step;
  });
  each_word(dampeners, [&](std::string_view word) {
    entry& e = entries_[add(word)];
    e.roles |= booster;
    e.boost = -boost_step;
  });
  each_word(negations, [&](std::string_view word) { entries_[add(word)].roles |= negation; });
  each_word(person_verbs, [&](std::string_view word) { entries_[add(word)].roles |= says_person; });
  const std::pair<std::string_view, std::uint32_t> single[] = {
      {"least", least},     {"at", at_or_very}, {"very", at_or_very},
      {"never", never},     {"so", so_or_this}, {"this", so_or_this},
      {"without", without}, {"doubt", doubt},   {"no", no},
      {"or", or_nor},       {"nor", or_nor},    {"but", contrast},
      {"kind", kind},       {"of", of}};
  for (const auto& [word, roles] : single) entries_[add(word)].roles |= roles;
  each_word(late_words, [&](std::string_view word) {
    constexpr std::uint32_t late_roles = at_or_very | so_or_this | or_nor | of;
    std::uint32_t& r = entries_[add(word)].roles;
    if ((r & ~late_roles) == 0) r |= looked_up_late;
  });
  for (const auto words : dampeners_of_words) add_phrase(words, false, -boost_step);
  dampening_phrases_ = phrases_.size();
  for (const auto& idiom : idioms) add_phrase(idiom.words, true, idiom.value);
  plain_negation_ = add("n't");
  entries_[plain_negation_].roles |= negation;
}

void lexicon::fill_filter() {
  for (std::size_t i = 1; i < entries_.size(); ++i) {
    const std::uint32_t r = entries_[i].roles;
    if ((r & looked_up_late) == 0 && r != says_person)
      filter_.add(std::string_view(terms_[i]).substr(0, terms_[i].size() - readable_past_end));
  }
  std::vector<std::string>().swap(terms_);
}

void lexicon::add_emoji(std::string_view emoji, std::string_view name) {
  const text::code_point point = text::decode(emoji, 0);
  emoji_name row{point.value, std::uint32_t(emoji_words_.size()), 0};
  each_word(name, [&](std::string_view word) {
    // Names are read as text is: "person: red hair" loses its colon.
    while (word.size() > 2 && (word.back() == ':' || word.back() == ',' || word.back() == ')'))
      word.remove_suffix(1);
    while (word.size() > 2 && (word.front() == '(' || word.front() == '"')) word.remove_prefix(1);
    std::string padded(word);
    padded.append(readable_past_end, '\0');
    emoji_words_.push_back(find({padded.data(), word.size()}));
    ++row.count;
  });
  emoji_.push_back(row);
}

lexicon lexicon::parse(std::string_view table) {
  lexicon made;
  const auto rows = std::size_t(std::count(table.begin(), table.end(), '\n'));
  if (rows > words_max) throw std::invalid_argument("lexicon.tsv: more rows than the table holds");
  made.words_ = text::word_table(rows + rule_words_max);
  // Emoji names are looked up among all words, so they wait for the second pass.
  for (const char pass : {'w', 'e'}) {
    if (pass == 'e') made.add_rules();
    std::string_view left = table;
    for (std::size_t line = 1; !left.empty(); ++line) {
      const std::string_view row = left.substr(0, left.find('\n'));
      left.remove_prefix(std::min(row.size() + 1, left.size()));
      if (row.empty() || row.front() == '#') continue;
      if (row.size() < 5 || (row[0] != 'w' && row[0] != 'e') || row[1] != '\t')
        refuse(line, "a row starts with w or e and a tab");
      if (row[0] != pass) continue;
      const std::size_t tab = row.find('\t', 2);
      if (tab == std::string_view::npos || tab == 2)
        refuse(line, "a row has at least three columns");
      const std::string_view term = row.substr(2, tab - 2);
      std::string_view rest = row.substr(tab + 1);
      if (pass == 'e') {
        made.add_emoji(term, rest);
        continue;
      }
      float rating = 0;
      const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), rating);
      if (error != std::errc{} || !(rating >= -4 && rating <= 4))
        refuse(line, "the rating is a number from -4 to 4");
      entry& e = made.entries_[made.add(term)];
      e.rating = rating;
      e.roles |= rated;
      for (const char* flag = end; flag != rest.data() + rest.size(); ++flag) {
        switch (*flag) {
          case 'd':
            e.roles |= valence_dropped;
            break;
          case 'n':
            e.roles |= name_if_title;
            break;
          case 'm':
            e.roles |= name_inside_sentence;
            break;
          case 'q':
            e.roles |= quiet;
            break;
          case '\t':
            break;
          default:
            refuse(line, "flags are d, n, m and q");
        }
      }
    }
  }
  made.fill_filter();
  std::sort(made.emoji_.begin(), made.emoji_.end(),
            [](const emoji_name& a, const emoji_name& b) { return a.emoji < b.emoji; });
  return made;
}

const lexicon& lexicon::shipped() {
  static const lexicon made = parse(embedded_lexicon());
  return made;
}

std::span<const entry_index> lexicon::name_of(char32_t emoji) const noexcept {
  const auto row =
      std::lower_bound(emoji_.begin(), emoji_.end(), emoji,
                       [](const emoji_name& a, char32_t value) { return a.emoji < value; });
  if (row == emoji_.end() || row->emoji != emoji) return {};
  return std::span(emoji_words_).subspan(row->first, row->count);
}

}  // namespace sonder::sentiment
