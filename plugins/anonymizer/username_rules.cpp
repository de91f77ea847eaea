#include <algorithm>
#include <array>

#include "rules.h"
#include "text/characters.h"
#include "text/utf8.h"

namespace sonder::anonymizer {
namespace {

namespace ascii = text::ascii;

constexpr std::size_t name_tokens_max = 16;
constexpr std::size_t name_bytes_min = 3;
constexpr std::size_t tag_digits = 4;   // "jess#1234"
constexpr std::size_t lead_tokens_max = 6;  // "user name on Discord is: "
// Words that stand for themselves, so that they are no user name without another sign of one.
constexpr std::uint64_t common_word =
    everyday | very_common | rare_word | function_word | nationality | unit_word | street_suffix;

enum class link : std::uint8_t { none, says_is, colon };

// A cue, what links it to the name, and where the name would begin.
struct lead {
  std::size_t next = 0;
  link linked = link::none;
  bool certain = false;  // "user name", not only "user"
};

// Tokens [first, last] without a gap between them.
struct handle {
  std::size_t first = 0;
  std::size_t last = 0;
  bool tagged = false;
};

std::string_view lowered(const workspace& work, const token& of) {
  return {work.bytes.lowered() + of.start, of.end - of.start};
}

bool joined(const workspace& work, std::size_t at) {
  return at < work.tokens.size() && work.tokens[at].before == gap::none;
}

bool is_part(const token& each) {
  return each.kind != token_kind::mark || each.mark == '_';
}

bool is_tag(const workspace& work, std::size_t hash) {
  if (work.tokens[hash].mark != '#' || !joined(work, hash) || !joined(work, hash + 1)) return false;
  const token& digits = work.tokens[hash + 1];
  return digits.kind == token_kind::number && digits.end - digits.start == tag_digits &&
         !(joined(work, hash + 2) && is_part(work.tokens[hash + 2]));
}

handle handle_from(const workspace& work, std::size_t first) {
  handle made{first, first};
  for (std::size_t i = first + 1; i - first < name_tokens_max && joined(work, i); ++i) {
    const token& each = work.tokens[i];
    if (is_part(each)) {
      made.last = i;
    } else if (is_tag(work, i)) {
      return {first, i + 1, true};
    } else if ((each.mark != '.' && each.mark != '-') || !joined(work, i + 1) ||
               !is_part(work.tokens[i + 1])) {
      break;
    }
  }
  return made;
}

std::string_view text_of(const workspace& work, const handle& of) {
  const std::uint32_t start = work.tokens[of.first].start;
  return work.text.substr(start, work.tokens[of.last].end - start);
}

// "jess_92", "bob123", "jess#1234": made of more than a word.
bool looks_made_up(const workspace& work, const handle& of) {
  const std::string_view name = text_of(work, of);
  const auto letters = std::count_if(name.begin(), name.end(), [](char c) {
    return ascii::is(c, ascii::letter) || !text::is_ascii(c);
  });
  if (name.size() < name_bytes_min || letters == 0) return false;
  const bool digits =
      std::any_of(name.begin(), name.end(), [](char c) { return ascii::is(c, ascii::digit); });
  const bool number_first = ascii::is(name.front(), ascii::digit);  // "2nd", "10pm"
  return of.tagged || name.find('_') != std::string_view::npos ||
         (digits && !number_first && letters > 1 && name.size() > name_bytes_min);
}

// "jess.lima", "JessLima": what people would not write of something else behind "user name is".
bool is_joined_words(const workspace& work, const handle& of) {
  const token& first = work.tokens[of.first];
  if ((first.flags & common_word) != 0) return false;
  if (of.last > of.first) return first.kind == token_kind::word;
  const std::string_view name = text_of(work, of);
  return std::adjacent_find(name.begin(), name.end(), [](char a, char b) {
           return ascii::is(a, ascii::letter) && !ascii::is(a, ascii::upper) &&
                  ascii::is(b, ascii::upper);
         }) != name.end();
}

bool is_one_word(const workspace& work, const handle& of, const lead& by) {
  const token& word = work.tokens[of.first];
  if (of.last != of.first || word.kind != token_kind::word ||
      word.end - word.start < name_bytes_min || (word.flags & function_word) != 0) {
    return false;
  }
  if (by.certain && by.linked == link::colon) return true;
  if ((word.flags & common_word) != 0) return false;
  return by.certain || (!word.capitalised && (word.flags & any_name) != 0);  // "User: Anna" speaks
}

bool is_user_name(const workspace& work, const handle& of, const lead& by) {
  if (looks_made_up(work, of)) return true;
  return by.linked != link::none && (is_joined_words(work, of) || is_one_word(work, of, by));
}

// Reads on from the cue at `at` over what stands between it and a name: "user name on Discord is:".
lead lead_from(const workspace& work, std::size_t at) {
  constexpr std::array<std::string_view, 5> words{"on", "there", "id", "tag", "called"};
  constexpr std::string_view marks = "-/\"'(`*";
  lead made{at + 1};
  made.certain = lowered(work, work.tokens[at]).starts_with("username");
  for (; made.next < work.tokens.size() && made.next - at <= lead_tokens_max; ++made.next) {
    const token& each = work.tokens[made.next];
    if (each.claimed() || each.before == gap::line_break) break;
    const std::string_view word = lowered(work, each);
    if (each.mark == ':' || each.mark == '=') {
      made.linked = link::colon;
    } else if (word == "is" || word == "was" || each.mark == '\1') {
      made.linked = std::max(made.linked, link::says_is);
    } else if (word == "name") {
      made.certain = true;
    } else if (each.mark == '_') {
      if (each.before != gap::none || made.linked != link::none) break;  // "user_name", "is _jess_"
    } else if ((each.flags & username_cue) == 0 &&
               std::find(words.begin(), words.end(), word) == words.end() &&
               (each.mark == 0 || marks.find(each.mark) == std::string_view::npos)) {
      break;
    }
  }
  return made;
}

bool claim_free(workspace& work, std::size_t first, std::size_t last, float score) {
  if (!unclaimed(work, first, last)) return false;
  claim(work, first, last, identifier_type::username, score);
  return true;
}

// The last token that was looked at.
std::size_t find_behind_cue(workspace& work, std::size_t at) {
  const lead by = lead_from(work, at);
  const bool begins = by.next < work.tokens.size() && is_part(work.tokens[by.next]) &&
                      work.tokens[by.next].before != gap::line_break;
  if (!begins) return at;
  const handle found = handle_from(work, by.next);
  return is_user_name(work, found, by) && claim_free(work, found.first, found.last, .7F)
             ? found.last
             : at;
}

// "u/foo_bar", "/u/foo_bar": Reddit's.
void find_reddit_name(workspace& work, std::size_t slash) {
  if (slash == 0 || !joined(work, slash) || !joined(work, slash + 1)) return;
  const token& u = work.tokens[slash - 1];
  if (lowered(work, u) != "u" || !is_part(work.tokens[slash + 1])) return;
  std::size_t first = slash - 1;
  if (first > 0 && joined(work, first) && work.tokens[first - 1].mark == '/') --first;
  if (first > 0 && joined(work, first) && is_part(work.tokens[first - 1])) return;
  const handle found = handle_from(work, slash + 1);
  const token& word = work.tokens[found.first];
  const bool after_number = first > 0 && work.tokens[first - 1].kind == token_kind::number;
  const bool plain = !u.capitalised && !after_number && word.kind != token_kind::number &&
                     text_of(work, found).size() >= name_bytes_min &&
                     (found.last > found.first || (word.flags & function_word) == 0);
  if (plain || looks_made_up(work, found)) claim_free(work, first, found.last, .8F);
}

// "jess#1234", as Discord wrote them; not "order#1234".
void find_tagged_name(workspace& work, std::size_t hash) {
  if (!is_tag(work, hash) || hash == 0 || !is_part(work.tokens[hash - 1])) return;
  std::size_t first = hash - 1;
  while (first > 0 && hash - first < name_tokens_max && joined(work, first) &&
         is_part(work.tokens[first - 1]))
    --first;
  const token& word = work.tokens[first];
  const bool one_word = first + 1 == hash && word.kind == token_kind::word;
  const bool is_name = one_word ? (word.flags & common_word) == 0 && !word.upper &&
                                      word.end - word.start >= name_bytes_min
                                : looks_made_up(work, {first, hash - 1});
  if (is_name) claim_free(work, first, hash + 1, .6F);
}

}  // namespace

void find_usernames(workspace& work) {
  const auto& tokens = work.tokens;
  if ((work.traits.flags & username_cue) != 0) {
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      if ((tokens[i].flags & username_cue) != 0 && !tokens[i].claimed())
        i = find_behind_cue(work, i);
    }
  }
  if (!work.traits.has_slash && !work.traits.has_hash) return;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i].claimed()) continue;
    if (tokens[i].mark == '/') find_reddit_name(work, i);
    if (tokens[i].mark == '#') find_tagged_name(work, i);
  }
}

}  // namespace sonder::anonymizer
