#include "tokens.h"

#include <algorithm>
#include <array>
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

bool begins_sentence(char mark) {
  constexpr auto bit = [](char c) { return std::uint64_t{1} << (static_cast<unsigned>(c) & 63U); };
  constexpr std::uint64_t marks =
      bit('.') | bit('!') | bit('?') | bit(':') | bit('"') | bit('*') | bit('>') | bit('(');
  return (static_cast<unsigned char>(mark) & 0xC0U) == 0 && (marks & bit(mark)) != 0;
}

// The token at `made.start`, behind the gap `made.before`.
void read_token(std::string_view text, token& made) {
  const std::uint32_t at = made.start;
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

// What the first byte of a token says of it.
enum byte_kind : unsigned {
  of_word = 1U,  // a letter or digit
  of_capital = 1U << 1U,
  at_sign = 1U << 2U,
  bracket = 1U << 3U,
  slash = 1U << 4U,
  hash_sign = 1U << 5U,
  dot = 1U << 6U,
  colon = 1U << 7U,
};

struct first_byte {
  std::uint8_t kinds[256]{};
  token_form forms[256];  // of a token without digits

  constexpr first_byte() {
    for (int c = 0; c < 128; ++c) {
      const char byte = static_cast<char>(c);
      const bool word = ascii::is(byte, ascii::letter | ascii::digit);
      kinds[c] = static_cast<std::uint8_t>((word ? of_word : 0U) |
                                           (ascii::is(byte, ascii::upper) ? of_capital : 0U));
      forms[c].kind = word ? token_kind::word : token_kind::mark;
      forms[c].ascii = word;
      forms[c].capitalised = ascii::is(byte, ascii::upper);
      forms[c].mark = word ? '\0' : byte;
    }
    kinds[std::size_t{'@'}] = at_sign;
    kinds[std::size_t{'['}] = bracket;
    kinds[std::size_t{'/'}] = slash;
    kinds[std::size_t{'#'}] = hash_sign;
    kinds[std::size_t{'.'}] = dot;
    kinds[std::size_t{':'}] = colon;
  }
};
constexpr first_byte of_first_byte;

unsigned kinds_of(char c) {
  return of_first_byte.kinds[static_cast<unsigned char>(c)];
}

// Not 0 where a mark that joins stands before a token of those kinds (text_traits::has_dot_inside).
unsigned joins(unsigned mark, unsigned behind) {
  return (mark & colon) | (mark & dot & (0U - (behind & of_word)));
}

// How far a text is read.
struct place {
  std::uint32_t at = 0;          // behind the last token
  gap before = gap::line_break;  // what is known of the gap behind it
};

// What is counted on the way.
struct tally {
  std::size_t capitalised = 0;  // words
  std::uint64_t numeric_bytes = 0;
  unsigned kinds = 0;
  unsigned joined = 0;
};

// Reads character by character from `from` on, up to where token_bounds know a token to begin: so
// is read what touches characters beyond ASCII.
[[gnu::noinline]] place read_characters(const lexicon& words, workspace& work, place from,
                                        tally& counts) {
  const std::string_view text = work.text;
  const auto read_gaps = [&] {
    while (from.at < text.size()) {
      const std::uint32_t between = read_gap(text, from.at, from.before);
      if (between == 0) break;
      from.at += between;
    }
  };
  word_buffer buffer{};
  unsigned kinds_before = from.at > 0 ? kinds_of(text[from.at - 1]) : 0;
  read_gaps();
  while (from.at < text.size()) {
    token made;
    made.start = from.at;
    made.before = from.before;
    read_token(text, made);
    const auto index = static_cast<std::uint32_t>(work.tokens.size());
    if (made.kind == token_kind::word) {
      made.flags = lexicon::hash(folded(work, made, buffer));
      words.prefetch(made.flags);
      counts.capitalised += made.capitalised;
      work.name_starts.push_back(index);
    } else if (made.kind != token_kind::mark) {
      work.numerics.push_back(index);
      counts.numeric_bytes += made.end - made.start;
    }
    const unsigned kinds = made.kind == token_kind::mark ? kinds_of(made.mark) : of_word;
    counts.kinds |= kinds;
    if (made.before == gap::none) counts.joined |= joins(kinds_before, kinds);
    work.tokens.push_back(made);
    kinds_before = kinds;
    from = {made.end, gap::none};
    read_gaps();
    if (work.bounds.starts_at(from.at)) break;
  }
  return from;
}

// Whether a character beyond ASCII stands in the token [start, end) or so near that it may belong
// to it.
bool touches_high(const char* text, std::uint32_t start, std::uint32_t end) {
  const char bytes = static_cast<char>(text[start - (start > 0 ? 1 : 0)] | text[start] | text[end] |
                                       text[end + 1] | text[end + 2]);
  return !text::is_ascii(bytes);
}

workspace& restarted(workspace& work) {
  work.tokens.clear();
  work.name_starts.clear();
  work.numerics.clear();
  return work;
}

// Makes the tokens and looks the words up; lists those that may begin a name as if capitals
// informed. `simple` says of a text that it is ASCII in one line and without a digit, as most are.
// Nothing branches on what a token is: no two texts are alike. What few texts have is put right
// afterwards. What is not as simple as it seemed is read again.
template <bool simple>
tally divide(const lexicon& words, workspace& work) {
  const token_bounds& bounds = work.bounds;
  const char* const lowered = work.bytes.lowered();
  const char* const text = work.text.data();
  const bool any_high = !simple && work.bytes.any_high();
  const bool any_line_break = !simple && work.bytes.any_line_break();
  constexpr std::size_t block_bytes = text::byte_masks::block_bytes;
  std::size_t count = 0;
  std::size_t words_count = 0;
  std::size_t numerics_count = 0;
  std::size_t capitalised = 0;
  std::uint64_t numeric_bytes = 0;
  unsigned kinds_seen = 0;
  tally slow;
  std::uint32_t end = 0;  // of the last token
  gap before_next = gap::line_break;
  const auto settle = [&] {
    work.tokens.resize(count);
    work.name_starts.resize(words_count);
    work.numerics.resize(numerics_count);
  };
  for (std::size_t block = 0; block < bounds.blocks; ++block) {
    settle();
    token* tokens = work.tokens.room_for(block_bytes) - count;
    std::uint32_t* word_places = work.name_starts.room_for(block_bytes) - words_count;
    std::uint32_t* numeric_places = work.numerics.room_for(block_bytes) - numerics_count;
    const auto base = static_cast<std::uint32_t>(block * block_bytes);
    for (std::uint64_t starts = bounds.starts[block]; starts != 0; starts &= starts - 1) {
      const std::uint32_t start = base + static_cast<unsigned>(std::countr_zero(starts));
      if (!simple && start < end) continue;  // inside of what was read by characters
      const std::uint64_t ends = bounds.ends.window(start) & ~std::uint64_t{1};
      const auto size = static_cast<std::uint32_t>(std::countr_zero(ends));
      gap before = start != end ? gap::space : gap::none;
      std::uint64_t digits = 0;
      bool slowly = size >= byte_bits::window_bits;
      if constexpr (!simple) {
        if (any_line_break && start != end &&
            work.text.substr(end, start - end).find_first_of("\r\n") != std::string_view::npos)
          before = gap::line_break;
        before = std::max(before, before_next);
        const std::uint64_t mine = ~(~std::uint64_t{0} << (size % 64));
        digits = bounds.digits.window(start) & mine;
        if (any_high && !slowly) slowly = touches_high(lowered, start, start + size);
        if (digits != 0 && digits != mine)
          slowly |= work.text.substr(start, size).find('\'') != std::string_view::npos;
      }
      if (slowly) [[unlikely]] {
        if constexpr (simple) return divide<false>(words, restarted(work));
        settle();
        const place to = read_characters(words, work, {start, before}, slow);
        end = to.at;
        before_next = to.before;
        count = work.tokens.size();
        words_count = work.name_starts.size();
        numerics_count = work.numerics.size();
        tokens = work.tokens.room_for(block_bytes) - count;
        word_places = work.name_starts.room_for(block_bytes) - words_count;
        numeric_places = work.numerics.room_for(block_bytes) - numerics_count;
        continue;
      }
      const unsigned kinds = kinds_of(text[start]);
      unsigned is_word = kinds & of_word;
      token& made = tokens[count];
      static_cast<token_form&>(made) = of_first_byte.forms[static_cast<unsigned char>(text[start])];
      made.before = before;
      made.start = start;
      end = start + size;
      made.end = end;
      if constexpr (!simple) {
        const unsigned has_digit = digits != 0;
        const std::uint64_t mine = ~(~std::uint64_t{0} << size);
        const bool has_letter =
            ((bounds.uppers.window(start) | bounds.lowers.window(start)) & mine) != 0;
        numeric_places[numerics_count] = static_cast<std::uint32_t>(count);
        numerics_count += has_digit;
        numeric_bytes += size & (0U - has_digit);
        is_word &= ~has_digit;
        // word 0, number 1, mixed 2, mark 3
        made.kind = static_cast<token_kind>(static_cast<unsigned>(made.kind) |
                                            has_digit << unsigned{has_letter});
        before_next = gap::none;
      }
      const std::uint64_t hash = lexicon::hash({lowered + start, size});
      words.prefetch(hash);
      made.flags = hash & (std::uint64_t{0} - is_word);
      word_places[words_count] = static_cast<std::uint32_t>(count);
      words_count += is_word;
      capitalised += is_word & kinds / of_capital;
      kinds_seen |= kinds;
      ++count;
    }
  }
  settle();
  slow.capitalised += capitalised;
  slow.numeric_bytes += numeric_bytes;
  slow.kinds |= kinds_seen;
  return slow;
}

void mark_possessives(workspace& work) {
  for (token& each : work.tokens) {
    if (each.mark == '\'' && each.end - each.start == 2) each.mark = '\1';
  }
}

// How many words are of capitals alone. Marks them, and other tokens.
std::size_t mark_upper(workspace& work) {
  std::size_t words = 0;
  for (token& each : work.tokens) {
    const std::uint32_t size = each.end - each.start;
    // Of others read_characters has said it.
    if (size < byte_bits::window_bits && (each.ascii || each.kind == token_kind::mark)) {
      const std::uint64_t mine = ~(~std::uint64_t{0} << size);
      const std::uint64_t uppers = work.bounds.uppers.window(each.start) & mine;
      const std::uint64_t lowers = work.bounds.lowers.window(each.start) & mine;
      each.upper = lowers == 0 && (uppers & (uppers - 1)) != 0;
    }
    words += each.upper && each.kind == token_kind::word;
  }
  return words;
}

// Puts the words' flags in the place of their hashes, and leaves of `name_starts`, all words, those
// that may begin a name: most words the rules of names need not look at. No branch depends on a
// word: words of all kinds alternate.
void look_up(const lexicon& words, workspace& work) {
  word_buffer buffer{};
  std::uint64_t flags = 0;
  std::uint64_t capitalised_flags = 0;
  const unsigned informs = work.traits.case_informs ? 1 : 0;
  const unsigned begins = informs != 0 ? begins_small_bit : begins_caseless_bit;
  std::uint32_t* const places = work.name_starts.begin();
  token* const tokens = work.tokens.begin();
  const std::size_t count = work.name_starts.size();
  std::size_t kept = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t at = places[i];
    token& each = tokens[at];
    const std::uint64_t found = words.find(folded(work, each, buffer), each.flags);
    const unsigned capital = each.capitalised;
    each.flags = found;
    flags |= found;
    capitalised_flags |= found & (std::uint64_t{0} - capital);
    places[kept] = at;
    kept += found >> (begins + (capital & informs)) & 1U;
  }
  work.name_starts.resize(kept);
  work.traits.flags = flags;
  work.traits.capitalised_flags = capitalised_flags;
}

void divide(const lexicon& words, workspace& work) {
  const text::byte_masks& bytes = work.bytes;
  const bool simple = !bytes.any_digit() && !bytes.any_high() && !bytes.any_line_break();
  const tally counts =
      simple ? divide<true>(words, restarted(work)) : divide<false>(words, restarted(work));
  if (work.tokens.size() > 0) work.tokens[0].before = gap::line_break;
  if (work.bounds.any_possessive) mark_possessives(work);
  const std::size_t upper = work.bounds.any_upper || bytes.any_high() ? mark_upper(work) : 0;
  text_traits& traits = work.traits;
  traits.numeric_bytes = counts.numeric_bytes;
  traits.has_at = (counts.kinds & at_sign) != 0;
  traits.has_bracket = (counts.kinds & bracket) != 0;
  traits.has_slash = (counts.kinds & slash) != 0;
  traits.has_hash = (counts.kinds & hash_sign) != 0;
  traits.has_dot_inside = work.bounds.any_joined || counts.joined != 0;
  // Capitals tell names from other words where there are some, and it is not all capitals.
  traits.case_informs = counts.capitalised > 0 && upper * 10 <= work.name_starts.size() * 6;
  look_up(words, work);
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
  work.spans.clear();
  work.bounds.find(work.bytes);
  divide(words, work);
}

}  // namespace sonder::anonymizer
