#include "tokens.h"

#include <algorithm>
#include <array>

#include "characters.h"
#include "utf8.h"

namespace sonder::text {
namespace {

constexpr std::size_t repeats_max = 2;  // of a letter: more say only that the word is stretched
constexpr std::size_t plain_word_bytes_max = 64;
constexpr std::size_t mark_repeats_max = 3;  // of a punctuation mark

bool is_word_character(char32_t value) {
  if (is_apostrophe(value)) return false;
  return is_letter(value) || is_digit(value) || is_mark(value) || value == replacement;
}

bool is_word_byte(char c) {
  return (ascii::kind(c) & (ascii::letter | ascii::digit)) != 0;
}

bool one_of(char c, std::string_view set) {
  return set.find(c) != std::string_view::npos;
}

/// Length of an emoticon that starts `rest`, or 0. `rest` starts with punctuation, or with a letter
/// at the start of a word for the few that do (xD, o_O).
std::size_t emoticon_length(std::string_view rest) {
  // Sentence marks, the commonest by far, begin none; "..." and ".." are runs.
  if (rest[0] == ',' || rest[0] == '!' || rest[0] == '?' ||
      (rest[0] == '.' && !rest.starts_with("._.")))
    return 0;
  static constexpr std::array<std::string_view, 27> fixed = {
      "</3", "<3",  "^_^",  "^^",  "-_-", "-.-", ">_<",   ">.<", "\\o/",
      "o_O", "O_o", "o_o",  "O_O", "o.O", "T_T", "T.T",   ";_;", "u_u",
      "._.", ":'(", ":'-(", ":')", "xD",  "XD",  "=^.^=", ":-*", "-__-"};
  const auto ends = [&](std::size_t size) {
    // A letter at the end ("xD", ":p") counts only where no word goes on.
    return rest.size() == size || !is_word_byte(rest[size - 1]) || !is_word_byte(rest[size]);
  };
  for (const auto form : fixed) {
    if (rest.starts_with(form) && ends(form.size())) return form.size();
  }
  std::size_t at = 0;
  if (at < rest.size() && one_of(rest[at], ">}")) ++at;
  if (at < rest.size() && one_of(rest[at], ":;=8")) {
    const bool digit_eyes = rest[at] == '8';
    ++at;
    const bool nose = at < rest.size() && one_of(rest[at], "-^'o~");
    const std::size_t mouth = at + (nose ? 1 : 0);
    if (mouth < rest.size() && one_of(rest[mouth], ")(DPpOo/\\|][*@$3sSc{}<>") &&
        !(digit_eyes && !one_of(rest[mouth], ")D")) && ends(mouth + 1)) {
      std::size_t end = mouth + 1;
      while (end < rest.size() && rest[end] == rest[mouth]) ++end;
      if (rest[mouth] == '/' && end - mouth > 1) return 0;  // "://"
      return end;
    }
  }
  if (one_of(rest[0], "()[]") && rest.size() >= 2) {  // mirrored: (: ]: (-;
    std::size_t eyes = 1;
    if (one_of(rest[eyes], "-^'") && rest.size() > 2) ++eyes;
    if (one_of(rest[eyes], ":;=") && (rest.size() == eyes + 1 || !is_word_byte(rest[eyes + 1])) &&
        rest[0] != ']' && rest[0] != '[') {
      return eyes + 1;
    }
  }
  return 0;
}

std::size_t placeholder_length(std::string_view rest) {
  const char close = rest[0] == '[' ? ']' : rest[0] == '<' ? '>' : '\0';
  if (close == '\0') return 0;
  for (std::size_t i = 1; i < rest.size() && i < token_list::folded_bytes_max / 2; ++i) {
    if (rest[i] == close) return i >= 3 ? i + 1 : 0;
    const auto kind = ascii::kind(rest[i]);
    if ((kind & ascii::upper) == 0 &&
        (i == 1 || ((kind & ascii::digit) == 0 && !one_of(rest[i], "_-"))))
      return 0;
  }
  return 0;
}

std::size_t url_length(std::string_view rest) {
  const auto starts = [&](std::string_view prefix) {
    if (rest.size() <= prefix.size()) return false;
    for (std::size_t i = 0; i < prefix.size(); ++i) {
      if (ascii::to_lower(rest[i]) != prefix[i]) return false;
    }
    return true;
  };
  if (!starts("http://") && !starts("https://") && !starts("www.")) return 0;
  std::size_t end = 0;
  while (end < rest.size() && (ascii::kind(rest[end]) & ascii::space) == 0) ++end;
  while (end > 0 && one_of(rest[end - 1], ".,;:!?)]}\"'>")) --end;
  return end;
}

}  // namespace

void token_list::fold_in(char32_t value) {
  if (folded_.size() - folded_begin_ + 4 > folded_bytes_max) return;
  append_utf8(folded_, fold(value));
}

void token_list::add(std::size_t begin, std::size_t end, token_kind kind, letter_case letters) {
  tokens_.push_back({std::uint32_t(begin), std::uint32_t(end), std::uint32_t(folded_begin_),
                     std::uint16_t(folded_.size() - folded_begin_), kind, letters});
  folded_begin_ = folded_.size();
}

void token_list::add_as(std::size_t begin, std::size_t end, token_kind kind,
                        std::string_view folded) {
  folded_.append(folded);
  add(begin, end, kind);
}

/// The common case: letters and digits of ASCII, up to a character that ends a word. 0 if the word
/// is another kind.
std::size_t token_list::add_plain_word(std::string_view text, std::size_t begin) {
  char folded[plain_word_bytes_max];
  std::size_t size = 0, repeats = 0, at = begin;
  std::uint8_t kinds = 0;
  char before = '\0';
  for (; at < text.size() && at - begin < plain_word_bytes_max; ++at) {
    const std::uint8_t kind = ascii::kind(text[at]);
    if ((kind & (ascii::letter | ascii::digit)) == 0) break;
    kinds |= kind;
    const char c = ascii::to_lower(text[at]);
    repeats = c == before ? repeats + 1 : 1;
    before = c;
    folded[size] = c;
    size += repeats <= repeats_max || (kind & ascii::digit) != 0;
  }
  const bool ended =
      at == text.size() || (text[at] != '\'' && static_cast<unsigned char>(text[at]) < 0x80);
  if (!ended || at - begin == plain_word_bytes_max) return 0;
  folded_.append(folded, size);
  const bool first_upper = (ascii::kind(text[begin]) & ascii::upper) != 0;
  add(begin, at, token_kind::word,
      case_of((kinds & ascii::upper) != 0, (kinds & ascii::lower) != 0, first_upper));
  return at;
}

std::size_t token_list::add_word(std::string_view text, std::size_t at) {
  if (const std::size_t end = add_plain_word(text, at); end != 0) return end;
  const std::size_t begin = at;
  bool any_upper = false, any_lower = false, first_upper = false;
  std::size_t repeats = 0;
  char32_t before = 0;
  while (at < text.size()) {
    const code_point point = decode(text, at);
    char32_t value = fold(point.value);
    if (is_apostrophe(point.value)) {
      // Inside a word only: "don't", "rock 'n' roll" keeps its quotes outside.
      const std::size_t next = at + point.bytes;
      if (next >= text.size() || !is_word_character(decode(text, next).value) || before == '\'')
        break;
    } else if (is_invisible(point.value)) {
      at += point.bytes;
      continue;
    } else if (!is_word_character(point.value)) {
      break;
    }
    const bool upper = is_upper(point.value);
    if (at == begin) first_upper = upper;
    any_upper |= upper;
    any_lower |= !upper && is_lower(point.value);
    repeats = value == before ? repeats + 1 : 1;
    before = value;
    if (repeats <= repeats_max || (value >= '0' && value <= '9')) fold_in(value);
    at += point.bytes;
  }
  add(begin, at, token_kind::word, case_of(any_upper, any_lower, first_upper));
  return at;
}

std::size_t token_list::add_number(std::string_view text, std::size_t at) {
  const std::size_t begin = at;
  std::size_t end = at;
  const auto digit = [&](std::size_t i) {
    return i < text.size() && (ascii::kind(text[i]) & ascii::digit) != 0;
  };
  while (digit(end) || (end < text.size() && one_of(text[end], ".,:") && digit(end + 1))) ++end;
  if (end < text.size() && is_word_character(decode(text, end).value)) return add_word(text, at);
  for (std::size_t i = begin; i < end; ++i) fold_in(char32_t(text[i]));
  add(begin, end, token_kind::number);
  return end;
}

std::size_t token_list::add_emoji(std::string_view text, std::size_t at) {
  const std::size_t begin = at;
  const code_point first = decode(text, at);
  at += first.bytes;
  fold_in(first.value);
  while (at < text.size()) {
    const code_point point = decode(text, at);
    const bool completes_flag = is_regional_indicator(first.value) &&
                                is_regional_indicator(point.value) && at == begin + first.bytes;
    if (!is_emoji_modifier(point.value) && !completes_flag) break;
    if (completes_flag) fold_in(point.value);
    at += point.bytes;
    // A joiner glues the next picture on: a family, a flag with a rainbow. The first picture names
    // the sequence.
    if (point.value == 0x200D && at < text.size()) {
      const code_point joined = decode(text, at);
      if (is_emoji(joined.value)) at += joined.bytes;
    }
  }
  add(begin, at, token_kind::emoji);
  return at;
}

std::size_t token_list::add_run(std::string_view text, std::size_t at, char32_t mark,
                                std::size_t bytes) {
  const std::size_t begin = at;
  std::size_t repeats = 0;
  while (at < text.size() && decode(text, at).value == mark) {
    if (++repeats <= mark_repeats_max) fold_in(mark);
    at += bytes;
  }
  add(begin, at, token_kind::punctuation);
  return at;
}

std::size_t token_list::add_mark(std::string_view text, std::size_t at) {
  const auto rest = text.substr(at);
  if (const std::size_t size = placeholder_length(rest); size > 0) {
    // "[PERSON_2]" reads as "[person]": which person it was must not matter.
    std::size_t end = size - 1;
    while (end > 2 &&
           ((ascii::kind(rest[end - 1]) & ascii::digit) != 0 || one_of(rest[end - 1], "_-")))
      --end;
    folded_.push_back('[');
    for (std::size_t i = 1; i < end; ++i) folded_.push_back(ascii::to_lower(rest[i]));
    folded_.push_back(']');
    add(at, at + size, token_kind::placeholder);
    return at + size;
  }
  if (const std::size_t size = emoticon_length(rest); size > 0) {
    folded_.append(rest.substr(0, std::min<std::size_t>(size, 8)));
    add(at, at + size, token_kind::emoticon);
    return at + size;
  }
  if ((rest[0] == '@' || rest[0] == '#') && rest.size() > 1 && is_word_byte(rest[1])) {
    std::size_t size = 1;
    while (size < rest.size() && (is_word_byte(rest[size]) || rest[size] == '_')) ++size;
    if (rest[0] == '@') {
      add_as(at, at + size, token_kind::mention, "<user>");
    } else {
      for (std::size_t i = 1; i < size; ++i) fold_in(char32_t(rest[i]));
      add(at, at + size, token_kind::hashtag);
    }
    return at + size;
  }
  return add_run(text, at, char32_t(rest[0]), 1);
}

void token_list::scan(std::string_view text, std::size_t tokens_max) {
  text = text.substr(0, text_bytes_max);
  tokens_.clear();
  folded_.clear();
  folded_begin_ = 0;
  std::size_t at = 0;
  while (at < text.size() && tokens_.size() < tokens_max) {
    const char c = text[at];
    const std::uint8_t kind = ascii::kind(c);
    if ((kind & ascii::space) != 0) {
      ++at;
    } else if ((kind & ascii::letter) != 0) {
      const auto rest = text.substr(at);
      if (const std::size_t size = one_of(c, "hHwW") ? url_length(rest) : 0; size > 0) {
        add_as(at, at + size, token_kind::url, "<url>");
        at += size;
      } else if (const std::size_t face =
                     one_of(c, "xXoOTu") && at + 1 < text.size() && one_of(text[at + 1], "D_.")
                         ? emoticon_length(rest)
                         : 0;
                 face > 0) {
        add_as(at, at + face, token_kind::emoticon, rest.substr(0, face));
        at += face;
      } else {
        at = add_word(text, at);
      }
    } else if ((kind & ascii::digit) != 0) {
      at = add_number(text, at);
    } else if ((kind & ascii::punctuation) != 0) {
      at = add_mark(text, at);
    } else {
      const code_point point = decode(text, at);
      if (is_space(point.value) || is_invisible(point.value) || is_emoji_modifier(point.value) ||
          point.value < 0x20 || point.value == 0x7F) {
        at += point.bytes;
      } else if (is_emoji(point.value)) {
        at = add_emoji(text, at);
      } else if (is_word_character(point.value)) {
        at = add_word(text, at);
      } else {
        at = add_run(text, at, point.value, point.bytes);
      }
    }
  }
  folded_.append(padding, '\0');
}

void token_list::release_above(std::size_t bytes) {
  if (folded_.capacity() <= bytes) return;
  // "= {}" would assign empty lists, and keep the memory.
  std::vector<token>().swap(tokens_);
  std::string().swap(folded_);
}

}  // namespace sonder::text
