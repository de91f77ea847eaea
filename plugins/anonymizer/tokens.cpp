#include "tokens.h"

#include <array>

#include "unicode.h"

namespace sonder::anonymizer {
namespace {

enum byte_class : std::uint8_t { other, space, line, digit, lower, upper, high, apostrophe };

constexpr std::array<std::uint8_t, 256> classes = [] {
  std::array<std::uint8_t, 256> made{};
  for (int i = 0; i < 256; ++i) {
    const auto c = static_cast<unsigned>(i);
    made[c] = c == '\n' || c == '\r'                            ? line
              : c == ' ' || c == '\t' || c == '\v' || c == '\f' ? space
              : c >= '0' && c <= '9'                            ? digit
              : c >= 'a' && c <= 'z'                            ? lower
              : c >= 'A' && c <= 'Z'                            ? upper
              : c >= 0x80                                       ? high
              : c == '\''                                       ? apostrophe
                                                                : other;
  }
  return made;
}();

std::uint8_t class_at(std::string_view text, std::size_t at) {
  return classes[static_cast<unsigned char>(text[at])];
}

bool letter_at(std::string_view text, std::size_t at) {
  if (at >= text.size()) return false;
  const std::uint8_t kind = class_at(text, at);
  return kind == lower || kind == upper ||
         (kind == high && is_letter(code_point_at(text, at).number));
}

// Length of an apostrophe at `at`, ASCII or U+2019, or 0.
std::uint32_t apostrophe_at(std::string_view text, std::size_t at) {
  if (at >= text.size()) return 0;
  if (text[at] == '\'') return 1;
  return text.substr(at).starts_with("\xE2\x80\x99") ? 3 : 0;
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

word_scan scan_word(std::string_view text, std::uint32_t at) {
  word_scan scan{at};
  while (scan.end < text.size()) {
    const std::uint8_t kind = class_at(text, scan.end);
    if (kind == lower || kind == upper) {
      ++scan.letters;
      scan.uppers += kind == upper;
      ++scan.end;
    } else if (kind == digit) {
      ++scan.digits;
      ++scan.end;
    } else if (kind == other) {
      break;
    } else {
      const code_point point = code_point_at(text, scan.end);
      if (kind == high && is_letter(point.number)) {
        ++scan.letters;
        scan.uppers += is_upper_case(point.number);
        scan.end += point.size;
      } else if (const std::uint32_t quote = apostrophe_at(text, scan.end);
                 quote != 0 && scan.letters > 0 && scan.digits == 0 &&
                 possessive_at(text, scan.end) == 0 && letter_at(text, scan.end + quote)) {
        scan.end += quote;
      } else {
        break;
      }
    }
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
  made.capitalised = scan.uppers > 0 && is_upper_case(code_point_at(text, at).number);
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

}  // namespace

std::string_view folded_word(std::string_view word, char* buffer) noexcept {
  if (word.size() > lexicon::word_bytes_max) return {};
  return {buffer, fold(word, buffer, lexicon::word_bytes_max)};
}

void tokenise(std::string_view text, const lexicon& words, workspace& work) {
  work.text = text;
  work.traits = {};
  work.tokens.clear();
  work.spans.clear();
  gap before = gap::line_break;
  for (std::uint32_t at = 0; at < text.size();) {
    const std::uint8_t kind = class_at(text, at);
    if (kind == space || kind == line) {
      if (kind == line) before = gap::line_break;
      if (before == gap::none) before = gap::space;
      ++at;
      continue;
    }
    token made;
    made.start = at;
    made.before = before;
    const std::uint32_t possessive = before == gap::none ? possessive_at(text, at) : 0;
    const code_point point = code_point_at(text, at);
    if (possessive != 0) {
      made.end = at + possessive;
      made.mark = '\1';
    } else if (kind == lower || kind == upper || kind == digit ||
               (kind == high && is_letter(point.number))) {
      const word_scan scan = scan_word(text, at);
      add_word(text, at, scan, made);
      work.traits.has_digit |= scan.digits > 0;
      work.traits.has_upper |= scan.uppers > 0;
      work.traits.has_lower |= scan.letters > scan.uppers;
    } else if (kind == high && point.number == 0xA0) {  // no-break space
      if (before == gap::none) before = gap::space;
      at += point.size;
      continue;
    } else {
      made.end = at + point.size;
      made.mark = kind == high ? '\0' : text[at];
      work.traits.has_at |= made.mark == '@';
      work.traits.has_dot_inside |= (made.mark == '.' || made.mark == ':') && before == gap::none;
    }
    work.traits.has_non_ascii |= kind == high;
    before = gap::none;
    at = made.end;
    work.tokens.push_back(made);
  }
  work.traits.case_informs = case_informs(work);
  char buffer[lexicon::word_bytes_max];
  for (token& each : work.tokens) {
    if (each.kind != token_kind::word) continue;
    each.flags = words.find(folded_word(text.substr(each.start, each.end - each.start), buffer));
  }
  mark_sentences(work.tokens);
}

}  // namespace sonder::anonymizer
