#include "tokens.h"

#include "text/characters.h"
#include "text/diacritics.h"
#include "text/utf8.h"

namespace sonder::anonymizer {
namespace {

namespace ascii = text::ascii;

bool letter_at(std::string_view text, std::size_t at) {
  if (at >= text.size()) return false;
  if (text::is_ascii(text[at])) return ascii::is(text[at], ascii::letter);
  const char32_t value = text::decode(text, at).value;
  return text::is_letter(value) && !text::is_apostrophe(value);
}

bool breaks_line(char32_t value) {
  return value == '\n' || value == '\r' || value == 0x85 || value == 0x2028 || value == 0x2029;
}

// Length of an apostrophe at `at`, or 0.
std::uint32_t apostrophe_at(std::string_view text, std::size_t at) {
  if (at >= text.size()) return 0;
  if (text::is_ascii(text[at])) return text[at] == '\'' ? 1 : 0;
  const text::code_point point = text::decode(text, at);
  return text::is_apostrophe(point.value) ? point.bytes : 0;
}

// Where what is seen goes on: the first byte at or after `at` that is no invisible character.
std::uint32_t skip_invisible(std::string_view text, std::uint32_t at) {
  while (at < text.size() && !text::is_ascii(text[at])) {
    const text::code_point point = text::decode(text, at);
    if (!text::is_invisible(point.value)) break;
    at += point.bytes;
  }
  return at;
}

// 's at the end of a word says whose: the word before it is what the rules want to see.
std::uint32_t possessive_at(std::string_view text, std::size_t at) {
  const std::uint32_t quote = apostrophe_at(text, at);
  if (quote == 0 || at + quote >= text.size()) return 0;
  const char s = text[at + quote];
  return (s == 's' || s == 'S') && !letter_at(text, at + quote + 1) ? quote + 1 : 0;
}

struct word_scan {
  std::uint32_t end;
  std::uint32_t letters = 0;
  std::uint32_t digits = 0;
  std::uint32_t uppers = 0;
};

// Takes the character beyond ASCII at scan.end if it is part of the word; 0 bytes if it is not.
std::uint32_t high_in_word(std::string_view text, word_scan& scan) {
  const text::code_point point = text::decode(text, scan.end);
  if (text::is_apostrophe(point.value)) return 0;
  if (text::is_letter(point.value)) {
    ++scan.letters;
    scan.uppers += text::is_upper(point.value);
    return point.bytes;
  }
  if (text::is_invisible(point.value)) {  // must not hide a name: "Jo\u200Bhn"
    const std::uint32_t next = skip_invisible(text, scan.end);
    return letter_at(text, next) ? next - scan.end : 0;
  }
  return scan.letters > 0 && text::is_mark(point.value) ? point.bytes : 0;
}

word_scan scan_word(std::string_view text, std::uint32_t at) {
  word_scan scan{at};
  while (scan.end < text.size()) {
    const std::uint8_t kind = ascii::kind(text[scan.end]);
    if ((kind & ascii::letter) != 0) {
      ++scan.letters;
      scan.uppers += (kind & ascii::upper) != 0;
      ++scan.end;
      continue;
    }
    if ((kind & ascii::digit) != 0) {
      ++scan.digits;
      ++scan.end;
      continue;
    }
    if (const std::uint32_t taken = !text::is_ascii(text[scan.end]) ? high_in_word(text, scan) : 0;
        taken != 0) {
      scan.end += taken;
      continue;
    }
    const std::uint32_t quote = apostrophe_at(text, scan.end);
    const bool inside = quote != 0 && scan.letters > 0 && scan.digits == 0 &&
                        possessive_at(text, scan.end) == 0 && letter_at(text, scan.end + quote);
    if (!inside) break;
    scan.end += quote;
  }
  return scan;
}

void add_word(std::string_view text, std::uint32_t at, const word_scan& scan, token& made) {
  made.end = scan.end;
  if (scan.letters == 0) {
    made.kind = token_kind::number;
    return;
  }
  made.kind = scan.digits == 0 ? token_kind::word : token_kind::mixed;
  made.capitalised = scan.uppers > 0 && text::is_upper(text::decode(text, at).value);
  made.upper = scan.letters > 1 && scan.uppers == scan.letters;
}

// Whether capitals tell names from other words here: there are some, and it is not all capitals.
bool case_informs(const workspace& work) {
  std::size_t words = 0;
  std::size_t capitalised = 0;
  std::size_t upper = 0;
  for (const token& each : work.tokens) {
    if (each.kind != token_kind::word) continue;
    ++words;
    capitalised += each.capitalised;
    upper += each.upper;
  }
  return capitalised > 0 && upper * 10 <= words * 6;
}

void mark_sentences(std::vector<token>& tokens) {
  bool starts = true;
  const token* last = nullptr;
  for (token& each : tokens) {
    if (each.before == gap::line_break) starts = true;
    if (each.kind == token_kind::mark) {
      if (each.mark == '.' || each.mark == '!' || each.mark == '?' || each.mark == ':' ||
          each.mark == '"' || each.mark == '*' || each.mark == '>' || each.mark == '(') {
        starts = true;
      }
      if (each.mark == '.' && last != nullptr && each.before == gap::none &&
          ((last->flags & (honorific | unit_word)) != 0 || last->end - last->start == 1)) {
        starts = false;  // "Dr. Smith", "John F. Smith"
      }
      continue;
    }
    each.starts_sentence = starts;
    starts = false;
    last = &each;
  }
}

// The token at `at`, where something is seen that is no space. `before` is already set.
void read_token(std::string_view text, std::uint32_t at, text_traits& traits, token& made) {
  made.start = at;
  const bool high = !text::is_ascii(text[at]);
  if (const std::uint32_t size = made.before == gap::none ? possessive_at(text, at) : 0;
      size != 0) {
    made.end = at + size;
    made.mark = '\1';
    return;
  }
  if (high ? letter_at(text, at) : ascii::is(text[at], ascii::letter | ascii::digit)) {
    const word_scan scan = scan_word(text, at);
    add_word(text, at, scan, made);
    traits.has_digit |= scan.digits > 0;
    return;
  }
  made.end = at + (high ? text::decode(text, at).bytes : 1);
  made.mark = high ? '\0' : text[at];
  traits.has_at |= made.mark == '@';
  traits.has_dot_inside |= (made.mark == '.' || made.mark == ':') && made.before == gap::none;
}

// Reads what separates at `at` into `before`; answers how many bytes, 0 where a token begins.
std::uint32_t read_gap(std::string_view text, std::uint32_t at, gap& before) {
  text::code_point point{static_cast<unsigned char>(text[at]), 1};
  if (!text::is_ascii(text[at])) {
    point = text::decode(text, at);
    if (text::is_invisible(point.value)) return point.bytes;
    if (!text::is_space(point.value)) return 0;
  } else if (!ascii::is(text[at], ascii::space)) {
    return 0;
  }
  if (breaks_line(point.value)) before = gap::line_break;
  if (before == gap::none) before = gap::space;
  return point.bytes;
}

}  // namespace

std::string_view folded_word(std::string_view word, word_buffer& buffer) noexcept {
  return {buffer.data(), text::fold_diacritics(word, buffer.data(), lexicon::word_bytes_max)};
}

void tokenise(std::string_view text, const lexicon& words, workspace& work) {
  work.text = text;
  work.traits = {};
  work.tokens.clear();
  work.spans.clear();
  gap before = gap::line_break;
  for (std::uint32_t at = 0; at < text.size();) {
    if (const std::uint32_t between = read_gap(text, at, before); between != 0) {
      at += between;
      continue;
    }
    token made;
    made.before = before;
    read_token(text, at, work.traits, made);
    before = gap::none;
    at = made.end;
    work.tokens.push_back(made);
  }
  work.traits.case_informs = case_informs(work);
  word_buffer buffer{};
  for (token& each : work.tokens) {
    if (each.kind != token_kind::word) continue;
    each.flags = words.find(folded_word(text.substr(each.start, each.end - each.start), buffer));
  }
  mark_sentences(work.tokens);
}

}  // namespace sonder::anonymizer
