#include "tokens.h"

#include <bit>

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

// Letters of scripts that put no space between a word and a number: from Thai to Myanmar, Khmer,
// kana, Han and Hangul (whose particles follow a number at once).
bool stands_at_numbers(char32_t value) {
  const auto within = [value](char32_t first, char32_t last) {
    return value >= first && value <= last;
  };
  return within(0x0E00, 0x109F) || within(0x1780, 0x17FF) || within(0x3040, 0xA4CF) ||
         within(0xAC00, 0xD7AF) || within(0xF900, 0xFAFF) || within(0xFF66, 0xFFDC) ||
         within(0x20000, 0x3FFFF);
}

struct word_scan {
  std::uint32_t end;
  std::uint32_t letters = 0;
  std::uint32_t digits = 0;
  std::uint32_t uppers = 0;
  bool ends_at_number = false;
};

// Takes the character beyond ASCII at scan.end if it is part of the word; 0 bytes if it is not.
std::uint32_t high_in_word(std::string_view text, word_scan& scan) {
  const text::code_point point = text::decode(text, scan.end);
  if (text::is_apostrophe(point.value)) return 0;
  if (text::is_letter(point.value)) {
    const bool apart = stands_at_numbers(point.value);
    if (apart && scan.digits > 0) return 0;
    scan.ends_at_number = apart;
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
      scan.ends_at_number = false;
      ++scan.letters;
      scan.uppers += (kind & ascii::upper) != 0;
      ++scan.end;
      continue;
    }
    if ((kind & ascii::digit) != 0) {
      if (scan.ends_at_number) break;
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
  made.ascii = text::is_ascii(text.substr(at, scan.end - at));
}

// Takes the run of ASCII letters and digits at `at` at once, as most words are: one that goes on
// with an apostrophe or beyond ASCII is left to scan_word.
inline bool read_plain_word(const workspace& work, std::uint32_t at, token& made) {
  using block = text::byte_masks::block;
  const auto size =
      static_cast<unsigned>(std::countr_one(work.bytes.window<&block::alphanumeric>(at)));
  if (size == 0 || size == 64) return false;
  const std::uint32_t end = at + size;
  if (end < work.text.size() && (!text::is_ascii(work.text[end]) || work.text[end] == '\''))
    return false;
  const std::uint64_t mine = ~std::uint64_t{0} >> (64 - size);
  const std::uint64_t digits =
      work.bytes.any_digit() ? work.bytes.window<&block::digits>(at) & mine : 0;
  const std::uint64_t uppers = work.bytes.window<&block::uppers>(at) & mine;
  const std::uint64_t letters = mine & ~digits;
  made.end = end;
  made.kind = digits == 0    ? token_kind::word
              : letters == 0 ? token_kind::number
                             : token_kind::mixed;
  made.capitalised = (uppers & 1) != 0;
  made.upper = letters == uppers && (letters & (letters - 1)) != 0;
  made.ascii = true;
  return true;
}

// Finds out where sentences begin, from the tokens in their order with their flags.
class sentence_reader {
 public:
  void read(token& each) {
    if (each.before == gap::line_break) starts_ = true;
    if (each.kind != token_kind::mark) {
      each.starts_sentence = starts_;
      starts_ = false;
      last_ = &each;
      return;
    }
    if (begins_sentence(each.mark)) starts_ = true;
    if (each.mark == '.' && last_ != nullptr && each.before == gap::none &&
        ((last_->flags & (honorific | unit_word)) != 0 || last_->end - last_->start == 1)) {
      starts_ = false;  // "Dr. Smith", "John F. Smith"
    }
  }

 private:
  static bool begins_sentence(char mark) {
    constexpr auto bit = [](char c) {
      return std::uint64_t{1} << (static_cast<unsigned>(c) & 63U);
    };
    constexpr std::uint64_t marks =
        bit('.') | bit('!') | bit('?') | bit(':') | bit('"') | bit('*') | bit('>') | bit('(');
    return (static_cast<unsigned char>(mark) & 0xC0U) == 0 && (marks & bit(mark)) != 0;
  }

  bool starts_ = true;
  const token* last_ = nullptr;
};

// The token at `at`, where something is seen that is no space and no plain word. `before` is
// already set.
void read_token(std::string_view text, std::uint32_t at, text_traits& traits, token& made) {
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
    return;
  }
  made.end = at + (high ? text::decode(text, at).bytes : 1);
  made.mark = high ? '\0' : text[at];
  traits.has_at |= made.mark == '@';
  traits.has_bracket |= made.mark == '[';
  traits.has_slash |= made.mark == '/';
  traits.has_hash |= made.mark == '#';
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

// Makes the tokens. Their `flags` are the hashes of their words: the table of words is larger than
// the caches near a core, so that all of a text's are asked for before the first is read.
void divide(const lexicon& words, workspace& work) {
  const std::string_view text = work.text;
  word_buffer buffer{};
  text_traits traits;
  gap before = gap::line_break;
  char mark_before = 0;
  for (std::uint32_t at = 0; at < text.size();) {
    if (text[at] == ' ') {  // as nearly all that separates
      if (before == gap::none) before = gap::space;
      ++at;
      continue;
    }
    token made;
    const bool plain = read_plain_word(work, at, made);
    if (!plain) {
      if (const std::uint32_t between = read_gap(text, at, before); between != 0) {
        at += between;
        continue;
      }
    }
    made.before = before;
    made.start = at;
    if (!plain) read_token(text, at, traits, made);
    if (made.kind == token_kind::word) {
      made.flags = lexicon::hash(folded(work, made, buffer));
      words.prefetch(made.flags);
    } else {
      traits.has_digit |= made.kind != token_kind::mark;
    }
    if (before == gap::none)
      traits.has_dot_inside |=
          mark_before == ':' || (mark_before == '.' && made.kind != token_kind::mark);
    mark_before = made.mark;
    before = gap::none;
    at = made.end;
    work.tokens.push_back(made);
  }
  work.traits = traits;
}

void look_up(const lexicon& words, workspace& work) {
  word_buffer buffer{};
  std::size_t count = 0;
  std::size_t capitalised = 0;
  std::size_t upper = 0;
  std::uint64_t flags = 0;
  std::uint64_t capitalised_flags = 0;
  sentence_reader sentences;
  // Written at every word and counted where it may begin a name: no branch that is hard to foresee.
  work.name_starts.resize(work.tokens.size());
  std::size_t starts = 0;
  for (token& each : work.tokens) {
    if (each.kind == token_kind::word) {
      each.flags = words.find(folded(work, each, buffer), each.flags);
      ++count;
      capitalised += each.capitalised;
      upper += each.upper;
      flags |= each.flags;
      work.name_starts[starts] = static_cast<std::uint32_t>(&each - work.tokens.data());
      starts += static_cast<std::size_t>(((each.flags & begins_name) != 0) | each.capitalised);
      capitalised_flags |= each.flags & (std::uint64_t{0} - std::uint64_t{each.capitalised});
    }
    sentences.read(each);
  }
  work.name_starts.resize(starts);
  work.traits.flags = flags;
  work.traits.capitalised_flags = capitalised_flags;
  // Capitals tell names from other words where there are some, and it is not all capitals.
  work.traits.case_informs = capitalised > 0 && upper * 10 <= count * 6;
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
  work.bytes.scan(text);
  divide(words, work);
  look_up(words, work);
}

}  // namespace sonder::anonymizer
