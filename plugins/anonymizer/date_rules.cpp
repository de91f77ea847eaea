#include "rules.h"

namespace sonder::anonymizer {
namespace {

constexpr int age_max = 125;

int small_number(const workspace& work, const token& of) {
  if (of.kind != token_kind::number || of.end - of.start > 4) return -1;
  int number = 0;
  for (const char c : text_of(work, of)) number = number * 10 + (c - '0');
  return number;
}

bool is_day(const workspace& work, const token& of) {
  const std::string_view text = text_of(work, of);
  if (of.kind == token_kind::mixed && text.size() <= 4 && text.size() >= 3) {
    const std::string_view ending = text.substr(text.size() - 2);
    return ending == "st" || ending == "nd" || ending == "rd" || ending == "th";
  }
  const int number = small_number(work, of);
  return number >= 1 && number <= 31 && text.size() <= 2;
}

bool is_year(const workspace& work, const token& of) {
  const int number = small_number(work, of);
  return of.end - of.start == 4 && number >= 1900 && number <= 2049;
}

bool is_month(const workspace& work, const token& of) {
  // "may" and "march" are months only with a capital; "mar" and the like only beside a number, as
  // all months here are.
  return (of.flags & month) != 0 &&
         (of.capitalised || !work.traits.case_informs || (of.flags & everyday) == 0);
}

bool is_comma(const workspace& work, std::size_t at) {
  return at < work.tokens.size() && (work.tokens[at].mark == ',' || work.tokens[at].mark == '.');
}

// The last token of a date that begins with month or day at `first`, and whether it names a year.
struct written_date {
  std::size_t last = 0;
  bool full = false;
};

written_date date_from(const workspace& work, std::size_t first) {
  const auto& tokens = work.tokens;
  std::size_t at = first;
  if (is_month(work, tokens[at])) {
    if (++at < tokens.size() && is_comma(work, at) && tokens[at].mark == '.') ++at;
    if (at >= tokens.size() || tokens[at].before == gap::line_break) return {};
    if (is_year(work, tokens[at])) return {at, false};
    if (!is_day(work, tokens[at])) return {};
  } else {
    if (!is_day(work, tokens[at]) || ++at >= tokens.size()) return {};
    if (text_of(work, tokens[at]) == "of" && ++at >= tokens.size()) return {};
    if (!is_month(work, tokens[at]) || tokens[at].before == gap::line_break) return {};
  }
  std::size_t year = at + 1;
  if (is_comma(work, year)) ++year;
  if (year < tokens.size() && is_year(work, tokens[year]) && tokens[year].before != gap::line_break)
    return {year, true};
  return {at, false};
}

bool free_standing(const workspace& work, std::size_t at) {
  const auto& tokens = work.tokens;
  const bool joined_left =
      at > 0 && tokens[at].before == gap::none && tokens[at - 1].kind == token_kind::mark &&
      std::string_view("-./:$#@+_").find(tokens[at - 1].mark) != std::string_view::npos;
  const bool joined_right =
      at + 2 < tokens.size() && tokens[at + 1].kind == token_kind::mark &&
      tokens[at + 1].before == gap::none && tokens[at + 2].before == gap::none &&
      tokens[at + 1].mark != '\1' &&
      std::string_view("-./:@+_").find(tokens[at + 1].mark) != std::string_view::npos;
  return !joined_left && !joined_right;
}

}  // namespace

void find_written_dates(workspace& work, date_rule rule) {
  // Where no word names a month or day only numbers can begin a date.
  const bool any_word = (work.traits.flags & (month | weekday)) != 0;
  const auto& tokens = work.tokens;
  const std::size_t count = any_word ? tokens.size() : work.numerics.size();
  std::size_t next = 0;  // behind the last date
  for (std::size_t place = 0; place < count; ++place) {
    const std::size_t i = any_word ? place : work.numerics[place];
    const token& each = tokens[i];
    if (i < next || each.claimed() || each.kind == token_kind::mark) continue;
    const bool may_begin = (each.flags & (month | weekday)) != 0 || each.kind != token_kind::word;
    if (!may_begin) continue;
    if (const written_date date = date_from(work, i);
        date.last != 0 && unclaimed(work, i, date.last)) {
      if (rule == date_rule::all || (rule == date_rule::full && date.full) ||
          cue_before(work, i, birth_cue, 6)) {
        claim(work, i, date.last, identifier_type::date_time, date.full ? 1 : .7F);
      }
      next = date.last + 1;
      continue;
    }
    const bool single = is_year(work, each) ? free_standing(work, i) : (each.flags & weekday) != 0;
    if (single && (rule == date_rule::all || cue_before(work, i, birth_cue, 3))) {
      claim(work, i, i, identifier_type::date_time, .5F);
    }
  }
}

void find_ages(workspace& work) {
  const auto& tokens = work.tokens;
  for (const std::size_t i : work.numerics) {
    const token& each = tokens[i];
    const int number = small_number(work, each);
    if (each.claimed() || number < 1 || number > age_max || each.end - each.start > 3) continue;
    // "65-year-old", "65 years old", "65 yo", "aged 65", "I'm 65.", "turn 21"
    std::size_t next = i + 1;
    if (next < tokens.size() && tokens[next].mark == '-') ++next;
    bool counted = false;
    if (next < tokens.size() && tokens[next].kind == token_kind::word) {
      const std::string_view word = text_of(work, tokens[next]);
      if (word == "year" || word == "years" || word == "yr" || word == "yrs" || word == "month" ||
          word == "months") {
        std::size_t old = next + 1;
        if (old < tokens.size() && tokens[old].mark == '-') ++old;
        counted = old < tokens.size() &&
                  (text_of(work, tokens[old]) == "old" || text_of(work, tokens[old]) == "olds" ||
                   text_of(work, tokens[old]) == "of");
      } else {
        counted = word == "yo" || word == "y";
      }
    }
    const bool ends_clause =
        i + 1 >= tokens.size() || tokens[i + 1].kind == token_kind::mark ||
        tokens[i + 1].before == gap::line_break || text_of(work, tokens[i + 1]) == "and" ||
        text_of(work, tokens[i + 1]) == "today" || text_of(work, tokens[i + 1]) == "now";
    bool is_age = counted;
    if (!counted && i > 0 && number >= 5 && free_standing(work, i)) {
      const token& before = tokens[i - 1];
      const std::string_view word = text_of(work, before);
      const bool cue = (before.flags & age_cue) != 0 && word != "old";
      const bool i_am =
          ends_clause &&
          (word == "I'm" || word == "i'm" || word == "I\xE2\x80\x99m" || word == "im" ||
           ((word == "am" || word == "is" || word == "was") && i > 1 &&
            (tokens[i - 2].flags & (function_word | any_name | relation)) != 0 &&
            text_of(work, tokens[i - 2]) != "it" && text_of(work, tokens[i - 2]) != "It" &&
            text_of(work, tokens[i - 2]) != "this" && number >= 10));
      const bool age_of = word == "of" && i > 1 && (tokens[i - 2].flags & age_cue) != 0;
      const bool age_is =
          (before.mark == ':' || word == "is") && i > 1 && (tokens[i - 2].flags & age_cue) != 0;
      is_age = cue || i_am || age_of || age_is;
    }
    if (is_age) claim(work, i, i, identifier_type::age, .8F);
  }
}

}  // namespace sonder::anonymizer
