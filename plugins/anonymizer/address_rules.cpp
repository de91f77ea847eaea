#include <algorithm>
#include <array>

#include "rules.h"
#include "text/characters.h"

namespace sonder::anonymizer {
namespace {

namespace ascii = text::ascii;

constexpr std::size_t street_words_max = 5;
constexpr std::size_t parts_max = 16;         // of one address
constexpr std::size_t words_between_max = 4;  // of an address, that no rule knows

// Street names of one word, by their ends, folded.
constexpr std::array<std::string_view, 31> street_ends{
    "strasse", "straße",  "gasse",  "platz", "allee",  "weg",   "straat", "laan",
    "dreef",   "plein",   "gracht", "gatan", "vagen",  "grand", "vej",    "gade",
    "vaenget", "straede", "alle",   "katu",  "tie",    "kuja",  "polku",  "vegur",
    "gata",    "vegen",   "gaten",  "utca",  "stigen", "wei",   "veien"};

bool is_short_number(const token& each, std::size_t size_max) {
  return each.kind == token_kind::number && each.end - each.start <= size_max;
}

// "12", "12a", "350B"
bool is_house_number(const workspace& work, const token& each) {
  if (each.claimed()) return false;
  if (is_short_number(each, 5)) return true;
  if (each.kind != token_kind::mixed || each.end - each.start > 5) return false;
  const char first = work.text[each.start];
  return ascii::is(first, ascii::digit);
}

bool ends_like_street(const workspace& work, const token& word) {
  if (word.kind != token_kind::word || word.claimed() || word.end - word.start < 6) return false;
  if ((word.flags & (everyday | function_word | country)) != 0) return false;
  word_buffer buffer;
  const std::string_view name = folded(work, word, buffer);
  if (name.size() > lexicon::word_bytes_max) return false;
  for (const std::string_view end : street_ends) {
    if (name.size() >= end.size() + 2 && name.ends_with(end)) return true;
  }
  return false;
}

bool street_word(const workspace& work, const token& each) {
  if ((each.flags & unit_word) != 0) return false;
  if (each.claimed() || each.kind != token_kind::word) return false;
  return each.capitalised || (each.flags & name_particle) != 0 || !work.traits.case_informs;
}

std::size_t skip_dot(const workspace& work, std::size_t at) {
  const auto& tokens = work.tokens;
  return at < tokens.size() && tokens[at].mark == '.' && tokens[at].before == gap::none ? at + 1
                                                                                        : at;
}

bool same_line(const workspace& work, std::size_t at) {
  return at < work.tokens.size() && work.tokens[at].before != gap::line_break;
}

// The last token of "Rua do Arenque 1634" or "ul. Jesionowa 127", or 0; `first` is the street's
// prefix.
std::size_t prefixed_street(const workspace& work, std::size_t first) {
  const auto& tokens = work.tokens;
  std::size_t at = skip_dot(work, first + 1);
  std::size_t last = 0;
  bool named = false;
  for (std::size_t words = 0; words < street_words_max && same_line(work, at); ++words, ++at) {
    if (!street_word(work, tokens[at])) break;
    named |= tokens[at].capitalised || !work.traits.case_informs;
    last = at;
    const std::size_t dotted = skip_dot(work, at + 1);
    if (dotted > at + 1 && tokens[at].end - tokens[at].start <= 3)
      at = dotted - 1;  // "St.", an initial
  }
  if (!named) return 0;
  std::size_t number = last + 1;
  if (same_line(work, number) && tokens[number].mark == ',') ++number;
  if (same_line(work, number) && is_house_number(work, tokens[number])) return number;
  // Without a number only where no other reading is likely: "via", "corso", "c" are words too.
  return (tokens[first].flags & (everyday | place_cue)) == 0 && tokens[first].capitalised ? last
                                                                                          : 0;
}

// The last token of "Glyn St" in "1668 Glyn St", or 0; `first` is the first word of the name.
std::size_t suffixed_street(const workspace& work, std::size_t first) {
  const auto& tokens = work.tokens;
  for (std::size_t at = first; at < first + street_words_max && at < tokens.size(); ++at) {
    if (at > first && tokens[at].before == gap::line_break) return 0;
    const bool ordinal = tokens[at].kind == token_kind::mixed && at == first;
    if (!street_word(work, tokens[at]) && !ordinal) return 0;
    if (at > first && (tokens[at].flags & street_suffix) != 0) {
      std::size_t last = at;
      // "Crown Street Kishiev Squares": the longest.
      if (const std::size_t more =
              at + 2 < tokens.size() && same_line(work, at + 1) ? suffixed_street(work, at + 1) : 0)
        last = more;
      return last;
    }
  }
  return 0;
}

// "Apt. 595", "Suite 501", "P.O. Box 104", "PSC 0413, Box 8144\nAPO AA 42323"; its last token or 0.
std::size_t unit_from(const workspace& work, std::size_t first) {
  const auto& tokens = work.tokens;
  std::size_t at = first;
  const std::string_view word = text_of(work, tokens[at]);
  if (word.size() > 2 && (tokens[at].flags & unit_word) == 0) return 0;
  if (word == "P" || word == "p" || word == "PO" || word == "po" || word == "Po") {
    at = skip_dot(work, at + 1);
    if (word.size() == 1 && at < tokens.size() &&
        (text_of(work, tokens[at]) == "O" || text_of(work, tokens[at]) == "o")) {
      at = skip_dot(work, at + 1);
    }
    if (!same_line(work, at) || (tokens[at].flags & unit_word) == 0) return 0;
  } else if ((tokens[at].flags & unit_word) == 0) {
    return 0;
  }
  // "box 12" and "unit 3" are seldom addresses; nor is any of these words where capitals would have
  // said so.
  const std::string_view unit = text_of(work, tokens[at]);
  if (at == first && (unit == "box" || unit == "unit" || unit == "flat")) return 0;
  if (work.traits.case_informs && !tokens[at].capitalised && (tokens[at].flags & everyday) != 0)
    return 0;
  at = skip_dot(work, at + 1);
  if (same_line(work, at) && tokens[at].mark == '#') ++at;
  if (!same_line(work, at) || tokens[at].claimed() || tokens[at].kind == token_kind::mark ||
      (tokens[at].kind == token_kind::word && tokens[at].end - tokens[at].start > 1)) {
    return 0;
  }
  std::size_t last = at;
  std::size_t box = at + 1;
  if (same_line(work, box) && tokens[box].mark == ',') ++box;
  if (box + 1 < tokens.size() && (tokens[box].flags & unit_word) != 0 &&
      tokens[box + 1].kind == token_kind::number)
    last = box + 1;
  if (last + 3 < tokens.size()) {
    const std::string_view post = text_of(work, tokens[last + 1]);
    if ((post == "APO" || post == "FPO" || post == "DPO" || post == "apo" || post == "fpo" ||
         post == "dpo") &&
        tokens[last + 3].kind == token_kind::number) {
      last += 3;
    }
  }
  return last;
}

void claim_street(workspace& work, std::size_t first, std::size_t last) {
  auto& tokens = work.tokens;
  if (!unclaimed(work, first, last)) return;
  const bool numbered = first > 0 && tokens[first].before != gap::line_break &&
                        is_house_number(work, tokens[first - 1]) &&
                        tokens[first - 1].kind == token_kind::number;
  const bool ends_in_number = tokens[last].kind != token_kind::word;
  // "580 60 Balsham Road": a number of the building, then one of the street.
  const std::size_t inner = numbered ? first - 1 : first;
  const bool numbered_twice = numbered && !ends_in_number && tokens[inner].before == gap::space &&
                              tokens[inner - 1].kind == token_kind::number &&
                              !tokens[inner - 1].claimed();
  if (numbered_twice) claim(work, inner - 1, inner - 1, identifier_type::address, .6F);
  const std::size_t head = numbered ? first - 1 : first;
  if (numbered && ends_in_number) {
    claim(work, head, head, identifier_type::address, .6F);
    claim(work, first, last, identifier_type::address, .8F);
  } else {
    claim(work, head, last, identifier_type::address, .8F);
  }
}

// "H1A 2B3" (Canada), "SW1A 1AA" (United Kingdom), "7412 SL" (Netherlands).
std::size_t postal_code_from(const workspace& work, std::size_t first) {
  const auto& tokens = work.tokens;
  if (first + 1 >= tokens.size() || !same_line(work, first + 1) || tokens[first + 1].claimed())
    return 0;
  const auto form = [&](const token& of) {
    std::array<char, 5> letters{};
    const std::string_view text = text_of(work, of);
    for (std::size_t i = 0; i < text.size() && i < letters.size() - 1; ++i) {
      letters[i] = ascii::is(text[i], ascii::digit)   ? '9'
                   : ascii::is(text[i], ascii::upper) ? 'A'
                                                      : '?';
    }
    return text.size() < letters.size() ? std::string(letters.data()) : std::string("?");
  };
  const std::string a = form(tokens[first]);
  const std::string b = form(tokens[first + 1]);
  if (tokens[first + 1].before == gap::none) return 0;
  const bool canadian = a == "A9A" && b == "9A9";
  const bool british = b == "9AA" && (a == "A9" || a == "A99" || a == "AA9" || a == "AA99" ||
                                      a == "A9A" || a == "AA9A");
  const bool dutch = a == "9999" && b == "AA";
  return canadian || british || dutch ? first + 1 : 0;
}

// A number behind a place ("Costamezzana 43015", "CO 80302", "South Africa 70651").
bool postal_number(const workspace& work, std::size_t at) {
  const auto& tokens = work.tokens;
  const std::size_t size = tokens[at].end - tokens[at].start;
  if (at == 0 || tokens[at].kind != token_kind::number || size < 3 || size > 6 ||
      tokens[at].before != gap::space)
    return false;
  const token& before = tokens[at - 1];
  if (before.mark == ')') return true;
  return before.kind == token_kind::word && before.capitalised &&
         (before.flags & (function_word | everyday | month | id_cue | phone_cue)) == 0;
}

// A number that fills a line soon after an address.
bool postal_line(const workspace& work, std::size_t at) {
  const auto& tokens = work.tokens;
  const std::size_t size = tokens[at].end - tokens[at].start;
  if (at == 0 || tokens[at].kind != token_kind::number || size < 3 || size > 6 ||
      tokens[at].before != gap::line_break)
    return false;
  if (at + 1 < tokens.size() && tokens[at + 1].before != gap::line_break &&
      tokens[at + 1].kind != token_kind::mark)
    return false;
  for (std::size_t back = 1; back <= words_between_max + 3 && back <= at; ++back) {
    if (tokens[at - back].claimed_as == identifier_type::address) return true;
  }
  return false;
}

// "zip code is 3910", "ZIP: 3962"
bool cued_postal_number(const workspace& work, std::size_t at) {
  const token& each = work.tokens[at];
  const std::size_t size = each.end - each.start;
  if (each.kind == token_kind::word || each.kind == token_kind::mark || size < 3 || size > 7)
    return false;
  return cue_before(work, at, postal_cue, 3);
}

// "USNS Bergman\nFPO AP 93757"; its last token or 0.
std::size_t military_address(const workspace& work, std::size_t first) {
  const auto& tokens = work.tokens;
  const std::size_t at = (tokens[first].flags & military_ship) != 0 ? first + 2 : first;
  if (at + 2 >= tokens.size() || (tokens[at].flags & military_post) == 0) return 0;
  return tokens[at + 2].kind == token_kind::number ? at + 2 : 0;
}

bool is_part(const span& each) {
  return each.type == identifier_type::address || each.type == identifier_type::location;
}

// Whether nothing but marks, line breaks and a few capitalised or place-like words stand in tokens
// [from, to).
bool only_filling(const workspace& work, std::size_t from, std::size_t to) {
  std::size_t words = 0;
  for (std::size_t i = from; i < to; ++i) {
    const token& each = work.tokens[i];
    if (each.kind == token_kind::mark) {
      if (std::string_view(",.()#-").find(each.mark) == std::string_view::npos && each.mark != 0)
        return false;
      if (each.mark == '.' && i + 1 < to && work.tokens[i + 1].before != gap::none) return false;
      continue;
    }
    if (each.claimed_as == identifier_type::person || each.claimed_as == identifier_type::nrp)
      continue;
    if (each.claimed() || ++words > words_between_max) return false;
    const bool fits = each.kind != token_kind::word || each.capitalised ||
                      (each.flags & (name_particle | place | street_suffix)) != 0 ||
                      (!work.traits.case_informs && (each.flags & (function_word | everyday)) == 0);
    if (!fits) return false;
  }
  return true;
}

}  // namespace

void join_addresses(workspace& work) {
  auto& spans = work.spans;
  const auto& tokens = work.tokens;
  const bool any_address = std::any_of(spans.begin(), spans.end(), [](const span& each) {
    return each.type == identifier_type::address;
  });
  if (!any_address) return;
  const auto token_from = [&](std::size_t from, std::uint32_t start) {
    while (from < tokens.size() && tokens[from].start < start) ++from;
    return from;
  };
  std::size_t kept = 0;
  std::size_t at = 0;  // first token of the span looked at
  for (std::size_t i = 0; i < spans.size(); ++i) {
    at = token_from(at, spans[i].start);
    if (spans[i].type != identifier_type::address || at >= tokens.size()) {
      spans[kept++] = spans[i];
      continue;
    }
    // The parts that follow with nothing but filling between them.
    std::size_t last = i;
    std::size_t after = token_from(at, spans[i].end);
    bool whole = false;  // more than a street and a town
    for (std::size_t next = i + 1; next < spans.size() && next - i < parts_max; ++next) {
      if (!is_part(spans[next])) {
        if (spans[next].type == identifier_type::person || spans[next].type == identifier_type::nrp)
          continue;
        break;
      }
      const std::size_t start = token_from(after, spans[next].start);
      if (!only_filling(work, after, start)) break;
      after = token_from(start, spans[next].end);
      last = next;
      const bool names_country = (tokens[after - 1].flags & country) != 0;
      const bool names_unit = (tokens[start].flags & unit_word) != 0;
      const bool postal = spans[next].type == identifier_type::address &&
                          tokens[after - 1].kind == token_kind::number && next > i + 1;
      whole = whole || names_country || names_unit || postal;
    }
    const bool begins_line = tokens[at].before == gap::line_break ||
                             (at > 0 && (tokens[at - 1].mark == '>' || tokens[at - 1].mark == '?'));
    if (whole && !begins_line) {
      spans[kept] = spans[i];
      spans[kept++].end = spans[last].end;
      i = last;
    } else {
      for (std::size_t part = i; part <= last; ++part) spans[kept++] = spans[part];
      i = last;
    }
  }
  spans.resize(kept);
}

void find_addresses(const lexicon&, workspace& work) {
  // Streets without a number are found below only where they are written out with a capital.
  if (work.numerics.empty() &&
      (work.traits.capitalised_flags & (street_suffix | street_prefix)) == 0)
    return;
  auto& tokens = work.tokens;
  const auto has_digits = [&](std::size_t at) {
    return at < tokens.size() &&
           (tokens[at].kind == token_kind::number || tokens[at].kind == token_kind::mixed);
  };
  const bool any_cue = (work.traits.flags & (unit_word | street_prefix | street_suffix)) != 0;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const token& each = tokens[i];
    if (each.claimed() || each.kind == token_kind::mark) continue;
    // Without a word that says so only what stands before a number is a street.
    if (!any_cue && each.kind == token_kind::word && !has_digits(i + 1)) continue;
    std::size_t last = 0;
    if (each.kind != token_kind::word) {
      last = postal_code_from(work, i);
      if (last != 0) {
        claim(work, i, last, identifier_type::address, .8F);
        i = last;
      }
      continue;
    }
    if ((last = unit_from(work, i)) != 0 && unclaimed(work, i, last)) {
      claim(work, i, last, identifier_type::address, .8F);
    } else if ((each.flags & street_prefix) != 0 && (last = prefixed_street(work, i)) != 0) {
      claim_street(work, i, last);
    } else if (same_line(work, i + 1) && is_house_number(work, tokens[i + 1]) &&
               ends_like_street(work, each)) {
      std::size_t first = i;
      while (first > 0 && tokens[first].before == gap::space &&
             tokens[first - 1].kind == token_kind::word && tokens[first - 1].capitalised &&
             (tokens[first - 1].flags & (function_word | first_name)) == 0 && i - first < 2) {
        --first;
      }
      claim_street(work, first, i + 1);
    } else if (each.capitalised || !work.traits.case_informs) {
      const bool numbered = i > 0 && same_line(work, i) && is_house_number(work, tokens[i - 1]);
      last = suffixed_street(work, i);
      if (last != 0 && (tokens[i].flags & function_word) == 0) {
        const bool number_follows = last + 1 < tokens.size() && same_line(work, last + 1) &&
                                    is_house_number(work, tokens[last + 1]);
        if (number_follows) {
          claim_street(work, i, last + 1);
        } else if (numbered ||
                   (tokens[last].capitalised && tokens[last].end - tokens[last].start > 3 &&
                    (tokens[last].flags & everyday) == 0) ||
                   text_of(work, tokens[last]) == "Street" ||
                   text_of(work, tokens[last]) == "Road" ||
                   text_of(work, tokens[last]) == "Avenue") {
          claim_street(work, i, last);
        }
      } else if (i + 1 < tokens.size() && same_line(work, i + 1) &&
                 is_short_number(tokens[i + 1], 4) && !tokens[i + 1].claimed() &&
                 (each.flags & (function_word | everyday | any_name | country | month | unit_word |
                                id_cue | phone_cue)) == 0 &&
                 work.traits.case_informs && (cue_before(work, i, place_cue, 1) || numbered)) {
        claim_street(work, i, i + 1);  // "Allika 46" behind "to" or a number
      }
    }
    while (i + 1 < tokens.size() && tokens[i + 1].claimed()) ++i;
  }
  if (work.numerics.empty()) return;
  const bool any_post = (work.traits.flags & (military_post | military_ship)) != 0;
  const std::size_t count = any_post ? tokens.size() : work.numerics.size();
  std::size_t next = 0;  // behind the last address
  for (std::size_t place = 0; place < count; ++place) {
    const std::size_t i = any_post ? place : work.numerics[place];
    const token& each = tokens[i];
    if (i < next || each.claimed() ||
        (!has_digits(i) && (each.flags & (military_post | military_ship)) == 0))
      continue;
    if (const std::size_t last = military_address(work, i); last != 0 && unclaimed(work, i, last)) {
      claim(work, i, last, identifier_type::address, .9F);
      next = last + 1;
    } else if (postal_number(work, i) || postal_line(work, i) || cued_postal_number(work, i)) {
      claim(work, i, i, identifier_type::address, .5F);
    }
  }
}

}  // namespace sonder::anonymizer
