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

// Of a run of ASCII letters and digits, one bit a byte.
void set_word(token& made, std::uint32_t size, std::uint64_t letters, std::uint64_t digits,
              std::uint64_t uppers) {
  made.end = made.start + size;
  made.kind = digits == 0    ? token_kind::word
              : letters == 0 ? token_kind::number
                             : token_kind::mixed;
  made.capitalised = (uppers & 1) != 0;
  made.upper = letters == uppers && (letters & (letters - 1)) != 0;
  made.ascii = true;
}

// Takes the run of ASCII letters and digits at `made.start` at once, as most words are, and letters
// with one apostrophe inside: what goes on otherwise or beyond ASCII is left to scan_word.
inline bool read_plain_word(const workspace& work, token& made) {
  using block = text::byte_masks::block;
  const text::byte_masks& bytes = work.bytes;
  const std::uint32_t at = made.start;
  const auto size = static_cast<unsigned>(std::countr_one(bytes.window<&block::alphanumeric>(at)));
  if (size == 0 || size == 64) return false;
  const char next = bytes.lowered()[at + size];
  if (!text::is_ascii(next)) return false;
  const std::uint64_t mine = ~std::uint64_t{0} >> (64 - size);
  const std::uint64_t digits = bytes.any_digit() ? bytes.window<&block::digits>(at) & mine : 0;
  const std::uint64_t uppers = bytes.window<&block::uppers>(at);
  if (next == '\'' && digits == 0) {
    const std::uint32_t rest = at + size + 1;
    const auto more =
        static_cast<unsigned>(std::countr_one(bytes.window<&block::alphanumeric>(rest)));
    const char after = bytes.lowered()[rest + more];
    if (more >= 32 || size >= 32 || after == '\'' || !text::is_ascii(after)) return false;
    const std::uint64_t others = ~(~std::uint64_t{0} << more);
    if (bytes.any_digit() && (bytes.window<&block::digits>(rest) & others) != 0) return false;
    // 's is a token of its own, as is an apostrophe behind the word.
    if (more > 1 || (more == 1 && bytes.lowered()[rest] != 's')) {
      const std::uint64_t letters = mine | others << (size + 1);
      set_word(made, size + 1 + more, letters, 0, uppers & letters);
      return true;
    }
  }
  set_word(made, size, mine & ~digits, digits, uppers & mine);
  return true;
}

bool begins_sentence(char mark) {
  constexpr auto bit = [](char c) { return std::uint64_t{1} << (static_cast<unsigned>(c) & 63U); };
  constexpr std::uint64_t marks =
      bit('.') | bit('!') | bit('?') | bit(':') | bit('"') | bit('*') | bit('>') | bit('(');
  return (static_cast<unsigned char>(mark) & 0xC0U) == 0 && (marks & bit(mark)) != 0;
}

// The token at `at`, where something is seen that is no space and no plain word. `before` is
// already set.
void read_token(std::string_view text, std::uint32_t at, text_traits& traits, token& made) {
  const bool high = !text::is_ascii(text[at]);
  if (made.before == gap::none && (high || text[at] == '\'')) {
    if (const std::uint32_t size = possessive_at(text, at); size != 0) {
      made.end = at + size;
      made.mark = '\1';
      return;
    }
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

// Makes the tokens, and lists those that are words in `name_starts`. Their `flags` are the hashes
// of their words: the table of words is larger than the caches near a core, so that all of a text's
// are asked for before the first is read.
void divide(const lexicon& words, workspace& work) {
  const std::string_view text = work.text;
  const char* const lowered = work.bytes.lowered();
  word_buffer buffer{};
  text_traits traits;
  std::size_t capitalised = 0;
  std::size_t upper = 0;
  gap before = gap::line_break;
  char mark_before = 0;
  for (std::uint32_t at = 0; at < text.size();) {
    token made;
    made.start = at;
    const bool plain = read_plain_word(work, made);
    if (!plain) {
      if (const std::uint32_t between = read_gap(text, at, before); between != 0) {
        at += between;
        continue;
      }
    }
    made.before = before;
    if (!plain) read_token(text, at, traits, made);
    if (made.kind == token_kind::word) {
      made.flags = lexicon::hash(folded(work, made, buffer));
      words.prefetch(made.flags);
      capitalised += made.capitalised;
      upper += made.upper;
      work.name_starts.push_back(static_cast<std::uint32_t>(work.tokens.size()));
    } else if (made.kind != token_kind::mark) {
      work.numerics.push_back(static_cast<std::uint32_t>(work.tokens.size()));
      traits.numeric_bytes += made.end - made.start;
    }
    if (before == gap::none)
      traits.has_dot_inside |=
          mark_before == ':' || (mark_before == '.' && made.kind != token_kind::mark);
    mark_before = made.mark;
    work.tokens.push_back(made);
    // One space separates nearly all tokens; past the end of the text there is none.
    const bool space = lowered[made.end] == ' ';
    before = space ? gap::space : gap::none;
    at = made.end + std::uint32_t{space};
  }
  // Capitals tell names from other words where there are some, and it is not all capitals.
  traits.case_informs = capitalised > 0 && upper * 10 <= work.name_starts.size() * 6;
  work.traits = traits;
}

// 1 if the rules of names may begin at a word, else 0: most words they need not look at.
unsigned may_begin_name(std::uint64_t flags, bool capitalised, bool case_informs) {
  const auto has = [flags](std::uint64_t any) { return unsigned{(flags & any) != 0}; };
  // No branch that depends on the word: words of all kinds alternate.
  const unsigned by_capital =
      (has(function_word) ^ 1U) | has(honorific | starts_phrase | nationality);
  const unsigned by_list =
      (has(everyday) ^ 1U) & ((has(any_name) & (has(function_word) ^ 1U)) | has(nationality));
  const unsigned capital = capitalised;
  const unsigned by_case = (capital & by_capital) | ((capital ^ 1U) & by_list);
  return case_informs ? by_case : has(begins_name);
}

void look_up(const lexicon& words, workspace& work) {
  word_buffer buffer{};
  std::uint64_t flags = 0;
  std::uint64_t capitalised_flags = 0;
  const bool case_informs = work.traits.case_informs;
  // Each word is written back and counted where it may begin a name: no branch that is hard to
  // foresee.
  std::size_t starts = 0;
  for (const std::uint32_t at : work.name_starts) {
    token& each = work.tokens[at];
    each.flags = words.find(folded(work, each, buffer), each.flags);
    flags |= each.flags;
    capitalised_flags |= each.flags & (std::uint64_t{0} - std::uint64_t{each.capitalised});
    work.name_starts[starts] = at;
    starts += may_begin_name(each.flags, each.capitalised, case_informs);
  }
  work.name_starts.resize(starts);
  work.traits.flags = flags;
  work.traits.capitalised_flags = capitalised_flags;
}

}  // namespace

std::string_view folded_word(std::string_view word, word_buffer& buffer) noexcept {
  return {buffer.data(), text::fold_diacritics(word, buffer.data(), lexicon::word_bytes_max)};
}

bool starts_sentence(const workspace& work, std::size_t at) noexcept {
  const auto& tokens = work.tokens;
  if (tokens[at].before == gap::line_break) return true;
  // From the token behind the last word or number on.
  std::size_t next = at;
  while (next > 0 && tokens[next - 1].kind == token_kind::mark) --next;
  const token* const last = next > 0 ? &tokens[next - 1] : nullptr;
  bool starts = last == nullptr;
  for (; next < at; ++next) {
    const token& each = tokens[next];
    if (each.before == gap::line_break || begins_sentence(each.mark)) starts = true;
    if (each.mark == '.' && last != nullptr && each.before == gap::none &&
        ((last->flags & (honorific | unit_word)) != 0 || last->end - last->start == 1)) {
      starts = false;  // "Dr. Smith", "John F. Smith"
    }
  }
  return starts;
}

void tokenise(std::string_view text, const lexicon& words, workspace& work) {
  work.text = text;
  work.traits = {};
  work.tokens.clear();
  work.name_starts.clear();
  work.numerics.clear();
  work.spans.clear();
  work.bytes.scan(text);
  divide(words, work);
  look_up(words, work);
}

}  // namespace sonder::anonymizer
