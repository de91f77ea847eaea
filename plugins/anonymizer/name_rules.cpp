#include <algorithm>
#include <array>
#include <utility>

#include "rules.h"

namespace sonder::anonymizer {
namespace {

constexpr std::size_t name_tokens_max = 12;
constexpr std::size_t unlisted_bytes_min =
    4;  // of a word at the start of a sentence that is on no list

// Tokens [first, last] that may be one name, with what speaks for each reading.
struct group {
  std::size_t first = 0;
  std::size_t last = 0;
  std::size_t words = 0;
};

bool is_initial(const workspace& work, const token& each) {
  return each.kind == token_kind::word && (each.capitalised || !work.traits.case_informs) &&
         each.end - each.start == 1 && text_of(work, each) != "I";
}

// "Yeahhhh", "Sooo"
bool drawn_out(std::string_view word) {
  for (std::size_t i = 2; i < word.size(); ++i) {
    if (word[i] == word[i - 1] && word[i] == word[i - 2]) return true;
  }
  return false;
}

// Endings that make English words and hardly ever names.
constexpr std::array<std::string_view, 11> word_endings{"tion",  "tions",  "ness",  "ment",
                                                        "ments", "able",   "ously", "ingly",
                                                        "ially", "ically", "lessly"};
// Endings of the forms of a word.
constexpr std::array<std::string_view, 8> form_endings{"s",   "es", "d",   "ed",
                                                       "ing", "er", "ers", "ly"};
constexpr std::size_t stem_bytes_min = 4;

// "Accounting", "Sanctions", "Unblockable": an English word that stands on no list because it is a
// form of one that does, or made as many are.
bool is_word_form(const lexicon& words, std::string_view word) {
  word_buffer buffer{};
  const std::string_view folded = folded_word(word, buffer);
  const auto ends_with = [&](std::string_view ending) {
    return folded.size() >= ending.size() + stem_bytes_min && folded.ends_with(ending);
  };
  if (std::any_of(word_endings.begin(), word_endings.end(), ends_with)) return true;
  const auto is_everyday = [&](std::size_t size) {
    return (words.find({buffer.data(), size}) & everyday) != 0;
  };
  for (const std::string_view ending : form_endings) {
    if (!ends_with(ending)) continue;
    const std::size_t stem = folded.size() - ending.size();
    if (is_everyday(stem)) return true;
    if (ending == "s") continue;
    if (buffer[stem - 1] == buffer[stem - 2] && is_everyday(stem - 1)) return true;  // "stopping"
    const char next = std::exchange(buffer[stem], 'e');
    const bool without_e = is_everyday(stem + 1);  // "charging"
    buffer[stem] = next;
    if (without_e) return true;
  }
  return false;
}

// "P." in "Vanessa P. Hertzog", also where the letter is "I"; a single letter where case says
// nothing.
bool is_middle_initial(const workspace& work, std::size_t at) {
  const token& each = work.tokens[at];
  if (each.kind != token_kind::word || each.end - each.start != 1 || each.claimed() ||
      at + 1 >= work.tokens.size())
    return false;
  const token& next = work.tokens[at + 1];
  if (next.mark == '.' && next.before == gap::none)
    return each.capitalised || !work.traits.case_informs;
  return !work.traits.case_informs && text_of(work, each) != "i" && text_of(work, each) != "a" &&
         (next.flags & any_name) != 0;
}

// On no list that says what it may be.
bool is_unlisted(const token& each) {
  constexpr std::uint64_t says_nothing = rare_word | continues_phrase | military_post |
                                         military_ship | begins_small | begins_capital |
                                         begins_caseless;
  return (each.flags & ~says_nothing) == 0;
}

bool is_proper(const workspace& work, const token& each) {
  if (each.kind != token_kind::word || each.claimed() || (each.flags & function_word) != 0)
    return false;
  if ((each.flags & (month | weekday)) != 0 && (each.flags & frequent_first_name) == 0)
    return false;
  if (work.traits.case_informs) return each.capitalised;
  return (each.flags & (any_name | any_place | nationality)) != 0 && (each.flags & everyday) == 0 &&
         each.end - each.start > 2;
}

bool same_line(const workspace& work, std::size_t at) {
  return at < work.tokens.size() && work.tokens[at].before != gap::line_break;
}

// "my name is", "I'm", "call me", "name:", "this is", "signed": a name follows, whatever the next
// word is.
bool introduced(const workspace& work, std::size_t at) {
  const auto& tokens = work.tokens;
  const auto word = [&](std::size_t back) {
    if (back > at || (tokens[at - back + 1].before == gap::line_break)) return std::string_view();
    return text_of(work, tokens[at - back]);
  };
  const auto is = [](std::string_view text, std::initializer_list<std::string_view> words) {
    return std::find(words.begin(), words.end(), text) != words.end();
  };
  const std::string_view before = word(1);
  const bool names = at >= 2 && (tokens[at - 2].flags & name_cue) != 0;
  if (is(before, {"is", ":", "was", "-"}) && names) return true;
  if (at >= 2 && tokens[at - 1].mark == '\1' && names) return true;
  if (is(before, {"called", "named", "nicknamed"})) return true;
  if (is(before, {"me"}) && is(word(2), {"call", "Call", "calls", "called"})) return true;
  return false;
}

// Weaker: "I'm Tom" but also "I'm German"; a greeting, a relation, a title.
bool hinted(const workspace& work, std::size_t at) {
  const auto& tokens = work.tokens;
  if (at == 0 || tokens[at].before == gap::line_break) return false;
  const token& before = tokens[at - 1];
  const std::string_view text = text_of(work, before);
  if ((before.flags & (greeting | relation | honorific | speech_verb)) != 0) return true;
  if (text == "I'm" || text == "i'm" || text == "I\xE2\x80\x99m" || text == "Im" || text == "im")
    return true;
  if (at > 1 && (text == "am" || text == "is") &&
      (text_of(work, tokens[at - 2]) == "I" || text_of(work, tokens[at - 2]) == "This"))
    return true;
  if (before.mark == '.' && at > 1 && (tokens[at - 2].flags & honorific) != 0) return true;
  return before.mark == ',' && at > 1 && (tokens[at - 2].flags & greeting) != 0;
}

// Capitalised words, initials, particles between them, hyphens: "Vanessa P. Hertzog", "Ludwig van
// Beethoven".
group group_from(const workspace& work, std::size_t first) {
  const auto& tokens = work.tokens;
  group made{first, first, 1};
  for (std::size_t i = first + 1; i < tokens.size() && i - first < name_tokens_max; ++i) {
    const token& each = tokens[i];
    if (each.claimed() || each.before == gap::line_break) break;
    if (each.mark == '.' && each.before == gap::none &&
        (is_initial(work, tokens[i - 1]) || is_middle_initial(work, i - 1))) {
      const bool goes_on = i + 1 < tokens.size() && same_line(work, i + 1) &&
                           (is_proper(work, tokens[i + 1]) ||
                            (!work.traits.case_informs && is_unlisted(tokens[i + 1])));
      if (goes_on && tokens[i + 1].kind == token_kind::word) continue;
      break;
    }
    if (each.mark == '-' && each.before == gap::none && i + 1 < tokens.size() &&
        tokens[i + 1].before == gap::none && is_proper(work, tokens[i + 1])) {
      continue;
    }
    if (each.kind != token_kind::word) break;
    if (is_middle_initial(work, i)) continue;
    if ((each.flags & name_particle) != 0 && !each.capitalised && i + 1 < tokens.size()) {
      const token& next = tokens[i + 1];
      const bool again = (next.flags & name_particle) != 0 && i + 2 < tokens.size() &&
                         is_proper(work, tokens[i + 2]);
      if ((is_proper(work, next) || again) && same_line(work, i + 1)) continue;
      break;
    }
    const bool unlisted =
        !work.traits.case_informs && is_unlisted(each) && each.end - each.start > 3;
    if (!is_proper(work, each) && !unlisted) break;
    made.last = i;
    ++made.words;
  }
  return made;
}

std::uint64_t phrase_flags(const lexicon& words, const workspace& work, std::size_t first,
                           std::size_t last) {
  if (first == last) return work.tokens[first].flags;
  word_buffer phrase{};
  std::size_t size = 0;
  word_buffer buffer;
  for (std::size_t i = first; i <= last; ++i) {
    const token& each = work.tokens[i];
    if (each.mark == '-') continue;
    if (each.kind != token_kind::word) return 0;
    const std::string_view word = folded(work, each, buffer);
    if (word.empty() || size + word.size() + 1 > lexicon::word_bytes_max) return 0;
    if (size > 0) phrase[size++] = ' ';
    size += word.copy(phrase.data() + size, word.size());
  }
  return words.find({phrase.data(), size});
}

// The longest place of several words that starts at `first`, past the group too ("Isle of Man",
// "Saint Kitts and Nevis").
std::size_t place_phrase(const lexicon& words, const workspace& work, std::size_t first) {
  if ((work.tokens[first].flags & starts_phrase) == 0) return 0;
  std::size_t best = 0;
  std::size_t counted = 1;
  for (std::size_t last = first + 1;
       last < work.tokens.size() && counted < lexicon::phrase_words_max; ++last) {
    const token& each = work.tokens[last];
    if (each.claimed() || each.before == gap::line_break) break;
    if (each.mark == '-' && each.before == gap::none) continue;
    if (each.kind != token_kind::word) break;
    if (++counted == 2 && (each.flags & continues_phrase) == 0) break;
    if ((phrase_flags(words, work, first, last) & any_place) != 0) best = last;
  }
  return best;
}

// "Davis, Reynolds and Williamson": three capitalised words so divided, the last ones surnames.
std::size_t firm_of_three(const workspace& work, std::size_t first) {
  const auto& tokens = work.tokens;
  if (first + 4 >= tokens.size()) return 0;
  const auto surname = [&](std::size_t at) {
    return is_proper(work, tokens[at]) && tokens[at].before == gap::space &&
           (tokens[at].flags & last_name) != 0;
  };
  if (tokens[first + 1].mark != ',' || !surname(first + 2) ||
      text_of(work, tokens[first + 3]) != "and" || !surname(first + 4)) {
    return 0;
  }
  return (tokens[first].flags & last_name) != 0 &&
                 (tokens[first + 2].flags & frequent_first_name & ~last_name) == 0
             ? first + 4
             : 0;
}

bool says(const workspace& work, std::size_t after) {
  return same_line(work, after) && (work.tokens[after].flags & speech_verb) != 0;
}

bool follows_place_cue(const workspace& work, std::size_t first) {
  if (first == 0 || work.tokens[first].before == gap::line_break) return false;
  return (work.tokens[first - 1].flags & place_cue) != 0;
}

class name_walk {
 public:
  name_walk(const lexicon& words, workspace& work)
      : words_(words), work_(work), tokens_(work.tokens) {}

  void run() {
    std::size_t next = 0;
    for (const std::uint32_t i : work_.name_starts) {
      const token& each = tokens_[i];
      if (i < next || each.claimed()) continue;
      if (const std::size_t after = title(i)) {
        next = after;
      } else if (const std::size_t behind = name_at(i)) {
        next = behind;
      }
    }
  }

 private:
  // Each answers the token after what it claimed, or 0.
  std::size_t title(std::size_t at) {
    const token& each = tokens_[at];
    if ((each.flags & honorific) == 0 || (work_.traits.case_informs && !each.capitalised)) return 0;
    std::size_t last = at;
    if (at + 1 < tokens_.size() && tokens_[at + 1].mark == '.' &&
        tokens_[at + 1].before == gap::none)
      last = at + 1;
    const std::size_t next = last + 1;
    if (!same_line(work_, next) || tokens_[next].claimed() ||
        tokens_[next].kind != token_kind::word)
      return 0;
    if (work_.traits.case_informs && !tokens_[next].capitalised) return 0;
    if ((tokens_[next].flags & function_word) != 0) return 0;
    if (!work_.traits.case_informs && !is_proper(work_, tokens_[next]) &&
        !is_unlisted(tokens_[next]))
      return 0;
    claim(work_, at, last, identifier_type::title, .8F);
    const group found =
        work_.traits.case_informs ? group_from(work_, next) : group{next, caseless_end(next), 1};
    claim(work_, found.first, found.last, identifier_type::person, .9F);
    return found.last + 1;
  }

  std::size_t caseless_end(std::size_t first) const {
    const std::size_t next = first + 1;
    const bool more = next < tokens_.size() && tokens_[next].before == gap::space &&
                      !tokens_[next].claimed() && (tokens_[next].flags & any_name) != 0 &&
                      (tokens_[next].flags & (everyday | function_word)) == 0;
    return more ? next : first;
  }

  std::size_t name_at(std::size_t at) {
    const token& each = tokens_[at];
    if (each.capitalised || !work_.traits.case_informs) {
      const std::size_t last = place_phrase(words_, work_, at);
      if (last != 0 && place_reads_best(at, last))
        return claimed(at, last, identifier_type::location, .8F);
    }
    if (!is_proper(work_, each)) {
      // "my name is caleb", lower case all of it.
      const bool lower_name = (each.flags & (function_word | everyday | nationality)) == 0 &&
                              each.end - each.start > 2 && (each.flags & any_name) != 0 &&
                              introduced(work_, at);
      if (lower_name) return claimed(at, caseless_end(at), identifier_type::person, .7F);
      if ((each.flags & nationality) != 0 && (each.flags & everyday) == 0)
        return claimed(at, at, identifier_type::nrp, .6F);
      return 0;
    }
    if (const std::size_t firm = firm_of_three(work_, at))
      return claimed(at, firm, identifier_type::organization, .7F);
    const bool introduced_here = introduced(work_, at);
    group found = group_from(work_, at);
    if (!introduced_here && !hinted(work_, at)) trim(found);
    if (found.words == 0) return 0;
    return classify(found, introduced_here && found.first == at);
  }

  bool place_reads_best(std::size_t first, std::size_t last) const {
    const std::uint64_t flags = phrase_flags(words_, work_, first, last);
    if ((flags & (country | province | large_place)) != 0) return true;
    return follows_place_cue(work_, first) || (tokens_[first].flags & frequent_first_name) == 0;
  }

  void count(group& found) const {
    found.words = 0;
    for (std::size_t i = found.first; i <= found.last; ++i)
      found.words += tokens_[i].kind == token_kind::word;
  }

  // Takes words off the front that only begin a sentence, and off the back that are no part of a
  // name.
  void trim(group& found) const {
    const auto weak = [&](std::size_t at) {
      const std::uint64_t flags = tokens_[at].flags;
      if ((flags & very_common) != 0 && (flags & frequent_first_name) == 0) return true;
      if ((flags & everyday) == 0) return false;
      if ((flags & frequent_first_name) != 0) {
        return starts_sentence(work_, at) &&
               !(at + 1 <= found.last && (tokens_[at + 1].flags & last_name) != 0) &&
               !says(work_, at + 1);
      }
      return at == found.first || (flags & any_name) == 0;
    };
    for (bool trimmed = false; found.first <= found.last; trimmed = true, ++found.first) {
      const token& each = tokens_[found.first];
      const bool dangles =
          trimmed && (each.kind == token_kind::mark || (each.flags & name_particle) != 0);
      if (!dangles && !weak(found.first)) break;
    }
    count(found);
    if (found.words == 0) return;
    // A common word inside ends the group, unless it closes a name ("John Young").
    for (std::size_t i = found.first + 1; i <= found.last; ++i) {
      const std::uint64_t flags = tokens_[i].flags;
      const bool ends = tokens_[i].kind == token_kind::word && (flags & everyday) != 0 &&
                        (flags & (last_name | org_suffix)) == 0 && (flags & name_particle) == 0;
      if (!ends) continue;
      found.last = i - 1;
      while (found.last > found.first && tokens_[found.last].kind == token_kind::mark) --found.last;
      count(found);
      return;
    }
  }

  std::size_t classify(const group& found, bool introduced_here) {
    const token& first = tokens_[found.first];
    const token& last = tokens_[found.last];
    if (introduced_here) return claimed(found.first, found.last, identifier_type::person, .9F);
    if (found.words > 1 && (last.flags & org_suffix) != 0 && (last.flags & first_name) == 0) {
      return claimed(found.first, found.last, identifier_type::organization, .8F);
    }
    if (found.words > 1 && hyphenated_surnames(found))
      return claimed(found.first, found.last, identifier_type::organization, .6F);
    if (found.words == 1 && (first.flags & nationality) != 0)
      return claimed(found.first, found.first, identifier_type::nrp, .7F);
    if (inside_address_block(found))
      return claimed(found.first, found.last, identifier_type::location, .6F);
    const bool place_known =
        (phrase_flags(words_, work_, found.first, found.last) & any_place) != 0;
    const bool hint = hinted(work_, found.first);
    if (found.words > 1 && has_initial(found))
      return claimed(found.first, found.last, identifier_type::person, .8F);
    const bool names_person =
        (first.flags & first_name) != 0 || (found.words > 1 && (last.flags & last_name) != 0);
    if (place_known && !hint) {
      const std::uint64_t flags = phrase_flags(words_, work_, found.first, found.last);
      const bool strong = (flags & (country | province)) != 0 ||
                          ((flags & large_place) != 0 && (first.flags & frequent_first_name) == 0);
      // "to Logan" and "at Gary" are more often persons than the places of that name.
      const bool person_of_that_name = (first.flags & frequent_first_name) != 0 &&
                                       found.first > 0 &&
                                       (text_of(work_, tokens_[found.first - 1]) == "to" ||
                                        text_of(work_, tokens_[found.first - 1]) == "at");
      if (strong || (follows_place_cue(work_, found.first) && !person_of_that_name) ||
          !names_person) {
        if (!says(work_, found.last + 1) || strong)
          return claimed(found.first, found.last, identifier_type::location, .7F);
      }
    }
    if (hint && (names_person || (first.flags & (nationality | everyday)) == 0)) {
      return claimed(found.first, found.last, identifier_type::person, .8F);
    }
    if (names_person) return claimed(found.first, found.last, identifier_type::person, .8F);
    if ((first.flags & last_name) != 0 && (first.flags & everyday) == 0) {
      return claimed(found.first, found.last, identifier_type::person, .6F);
    }
    if ((first.flags & everyday) != 0) return 0;
    return unknown(found);
  }

  bool has_initial(const group& found) const {
    for (std::size_t i = found.first + 1; i < found.last; ++i) {
      if (tokens_[i].kind == token_kind::word && tokens_[i].end - tokens_[i].start == 1)
        return true;
    }
    return false;
  }

  // A line of its own behind an address, or between one and a postal code.
  bool inside_address_block(const group& found) const {
    if (found.first == 0) return false;
    const auto is_address = [&](std::size_t at) {
      return tokens_[at].claimed_as == identifier_type::address;
    };
    std::size_t before = found.first - 1;
    for (std::size_t marks = 0;
         marks < 4 && before > 0 &&
         std::string_view(",>?").find(tokens_[before].mark) != std::string_view::npos;
         ++marks)
      --before;
    const bool behind = is_address(before);
    const std::size_t next = found.last + 1;
    const bool ends = next >= tokens_.size() || tokens_[next].before == gap::line_break ||
                      tokens_[next].kind == token_kind::mark || is_address(next);
    return behind && ends;
  }

  // No list knows it: how it stands decides.
  std::size_t unknown(const group& found) {
    if (!work_.traits.case_informs) return 0;
    if (says(work_, found.last + 1))
      return claimed(found.first, found.last, identifier_type::person, .6F);
    const token& first = tokens_[found.first];
    const std::string_view before = found.first > 0 && first.before != gap::line_break
                                        ? text_of(work_, tokens_[found.first - 1])
                                        : std::string_view();
    if (first.upper && found.words == 1 && first.end - first.start < 6) return 0;  // abbreviations
    if (before == "at" || before == "for")
      return claimed(found.first, found.last, identifier_type::organization, .4F);
    if (follows_place_cue(work_, found.first))
      return claimed(found.first, found.last, identifier_type::location, .4F);
    if (first.upper && found.words == 1) return 0;
    if (found.words >= 2 && found.words <= 3)
      return claimed(found.first, found.last, identifier_type::person, .4F);
    if (drawn_out(text_of(work_, first))) return 0;
    if (found.words == 1 && is_unlisted(first) && !only_begins_sentence(found.first))
      return claimed(found.first, found.last, identifier_type::person, .3F);
    return 0;
  }

  // Where a sentence begins, the capital says nothing: a word that people write small, too, or that
  // English forms so, is no name.
  bool only_begins_sentence(std::size_t at) const {
    const token& word = tokens_[at];
    return starts_sentence(work_, at) &&
           (word.end - word.start < unlisted_bytes_min || (word.flags & rare_word) != 0 ||
            is_word_form(words_, text_of(work_, word)));
  }

  // "Mayo-Walters": two surnames and no first name.
  bool hyphenated_surnames(const group& found) const {
    return found.words == 2 && found.last == found.first + 2 &&
           tokens_[found.first + 1].mark == '-' && (tokens_[found.first].flags & last_name) != 0 &&
           (tokens_[found.last].flags & last_name) != 0 &&
           (tokens_[found.first].flags & frequent_first_name) == 0 && !hinted(work_, found.first);
  }

  std::size_t claimed(std::size_t first, std::size_t last, identifier_type type, float score) {
    claim(work_, first, last, type, score);
    return last + 1;
  }

  const lexicon& words_;
  workspace& work_;
  scratch_list<token>& tokens_;
};

}  // namespace

void find_names(const lexicon& words, workspace& work) {
  name_walk(words, work).run();
}

}  // namespace sonder::anonymizer
