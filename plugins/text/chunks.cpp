#include "chunks.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "characters.h"
#include "utf8.h"
#include "vector_bytes.h"

namespace sonder::text {
namespace {

constexpr std::size_t window_bytes = 64;
/// Shorter remains of stripping are taken for an emoticon and left whole (VADER: two or fewer
/// characters).
constexpr int stripped_min = 3;
/// Letters needed on both sides of inner punctuation before it separates two words: spares "j/k"
/// and ":-P:".
constexpr std::size_t part_letters_min = 3;

bool is_ascii_punctuation(char c) {
  return (ascii::kind(c) & ascii::punctuation) != 0;
}
bool is_ascii_letter(char c) {
  return (ascii::kind(c) & ascii::letter) != 0;
}

/// [NAME], <PERSON_2>, {EMAIL}: upper-case letters, digits, - and _ between brackets.
bool is_placeholder(std::string_view token) {
  if (token.size() < 4) return false;
  const char open = token.front();
  const char close = open == '[' ? ']' : open == '<' ? '>' : open == '{' ? '}' : '\0';
  if (close == '\0') return false;
  const std::size_t end = token.find(close, 1);
  if (end == std::string_view::npos || end < 3) return false;
  const auto inner = token.substr(1, end - 1);
  return (ascii::kind(inner.front()) & ascii::upper) != 0 &&
         std::all_of(inner.begin(), inner.end(), [](char c) {
           return (ascii::kind(c) & (ascii::upper | ascii::digit)) != 0 || c == '_' || c == '-';
         });
}

bool ends_sentence(char c) {
  return c == '.' || c == '!' || c == '?' || c == ':';
}

bool separates_words(char c) {
  return c == ',' || c == ';' || c == '!' || c == '?' || c == '(' || c == ')' || c == '"' ||
         c == '/' || c == ':' || c == '.' || c == '-' || c == '*' || c == '&' || c == '+';
}

/// Of bits of which there is one: the lowest, and the one above the highest. The standard's
/// functions ask for none first, on processors of any age.
unsigned lowest(std::uint64_t bits) {
#ifdef __GNUC__
  return unsigned(__builtin_ctzll(bits));
#else
  return unsigned(std::countr_zero(bits));
#endif
}
unsigned above_highest(std::uint64_t bits) {
#ifdef __GNUC__
  return (unsigned(__builtin_clzll(bits)) ^ 63U) + 1;
#else
  return 64U - unsigned(std::countl_zero(bits));
#endif
}

/// Of runs of ones in `through` that begin at a bit of `from`: the bits behind their ends. An
/// addition does it, whose carry passes through ones.
constexpr std::uint64_t behind(std::uint64_t through, std::uint64_t from) {
  return (through + (through & from)) & ~through;
}

}  // namespace

/// A word that holds bytes above 0x7F while it is being put together.
struct chunk_list::unicode_word {
  std::size_t begin = 0, end = 0;  // of the stripped form in the text
  std::size_t folded_begin = 0, folded_end = 0;
  std::size_t raw_begin = 0;
  std::size_t characters = 0;
  bool any_upper = false, any_lower = false, first_upper = false, any_letter = false;
  bool ends_sentence = false;
};

/// Of 64 bytes; one more may be read.
inline chunk_list::marks chunk_list::read_bytes(const char* bytes, char* folded, window& made) {
  std::uint64_t spaces = 0, uppers = 0, letters = 0, graphic = 0, digits = 0, others = 0;
  std::uint64_t repeats = 0, opens = 0, ts = 0;
  marks found{0, 0};
#ifdef __SSE2__
  for (std::size_t i = 0; i < window_bytes; i += 16) {
    const __m128i c = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + i));
    const __m128i next = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + i + 1));
    const auto is = [](__m128i of, char value) { return _mm_cmpeq_epi8(of, _mm_set1_epi8(value)); };
    const __m128i upper = within(c, 'A', 'Z');
    const __m128i lower = _mm_or_si128(c, _mm_and_si128(upper, _mm_set1_epi8(0x20)));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(folded + i), lower);
    const __m128i space =
        _mm_or_si128(is(c, ' '), _mm_or_si128(within(c, 9, 13), within(c, 28, 31)));
    spaces |= bits(space) << i;
    uppers |= bits(upper) << i;
    letters |= bits(within(lower, 'a', 'z')) << i;
    digits |= bits(within(c, '0', '9')) << i;
    graphic |= bits(within(c, '!', '~')) << i;
    others |= bits(c) << i;  // the sign bit: above 0x7F
    repeats |= bits(_mm_cmpeq_epi8(c, next)) << i;
    opens |= bits(_mm_or_si128(_mm_or_si128(is(c, '['), is(c, '{')), is(c, '<'))) << i;
    ts |= bits(is(lower, 't')) << i;
    found.exclaimed |= bits(is(c, '!')) << i;
    found.asked |= bits(is(c, '?')) << i;
  }
#else
  for (std::size_t i = 0; i < window_bytes; ++i) {
    const char c = bytes[i];
    const auto note = [i](std::uint64_t& where, bool holds) { where |= std::uint64_t{holds} << i; };
    folded[i] = ascii::to_lower(c);
    note(spaces, ascii::is(c, ascii::space));
    note(uppers, ascii::is(c, ascii::upper));
    note(letters, ascii::is(c, ascii::letter));
    note(digits, ascii::is(c, ascii::digit));
    note(graphic, ascii::is(c, ascii::letter | ascii::digit | ascii::punctuation));
    note(others, !is_ascii(c));
    note(repeats, c == bytes[i + 1]);
    note(opens, c == '[' || c == '{' || c == '<');
    note(ts, folded[i] == 't');
    note(found.exclaimed, c == '!');
    note(found.asked, c == '?');
  }
#endif
  made.spaces = spaces;
  made.uppers = uppers;
  made.letters = letters;
  made.puncts = graphic & ~letters & ~digits;
  made.others = others;
  made.repeats = repeats;
  made.opens = opens;
  made.ts = ts;
  return found;
}

inline void chunk_list::count_marks(const marks& of, std::uint64_t where, std::size_t base) {
  const std::uint64_t any = (of.exclaimed | of.asked) & where;
  if (any == 0) return;
  if (exclamations_ + questions_ == 0) first_mark_ = base + lowest(any);
  last_mark_ = base + above_highest(any) - 1;
  exclamations_ += unsigned(std::popcount(of.exclaimed & where));
  questions_ += unsigned(std::popcount(of.asked & where));
}

void chunk_list::make_room(std::size_t bytes) {
  const std::size_t chunks_max = bytes / 2 + 2;  // even pictures without spaces take three bytes
  if (chunks_.size() < chunks_max) {
    chunks_.resize(chunks_max);
    notable_.resize(chunks_max);
  }
  room_ = std::max(room_, bytes + window_bytes + padding);
  folded_.resize(room_);
  chunk_count_ = notable_count_ = 0;
  windows_.clear();
  details_.clear();
}

void chunk_list::scan(std::string_view text, const word_filter& known, inner_punctuation inner) {
  if (text.size() > text_bytes_max) {
    std::size_t cut = text_bytes_max;
    while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xC0U) == 0x80U) --cut;
    text = text.substr(0, cut);
  }
  make_room(text.size());
  any_upper_word_ = any_other_word_ = false;
  read_windows(text);
  for (const window& each : windows_) {
    if (each.words != 0) {
      cut(text, each, known, inner);
    } else if (each.spaces == 0) {
      // A word longer than a window: windows_ says where it begins, and `others` where it ends.
      add_irregular(text, each.base, each.base + each.others, inner);
    }
  }
  if (folded_.size() > room_) folded_.append(padding, '\0');
}

/// Windows begin at words, so that a word lies in one. What is longer than a window has one of its
/// own without any bits, whose `others` is the size.
void chunk_list::read_windows(std::string_view text) {
  exclamations_ = 0;
  questions_ = 0;
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t left = text.size() - at;
    char tail[window_bytes + 1];
    const char* bytes = text.data() + at;
    if (left < sizeof tail) {
      std::memset(tail, ' ', sizeof tail);
      std::memcpy(tail, bytes, left);
      bytes = tail;
    }
    window& made = windows_.emplace_back();
    made.base = std::uint32_t(at);
    const marks found = read_bytes(bytes, folded_.data() + at, made);
    if (made.spaces == 0) [[unlikely]] {
      const std::size_t end = read_long_word(text, at);
      made = {.others = end - at, .base = std::uint32_t(at)};
      at = end;
      continue;
    }
    const std::uint64_t read = ~0ULL >> (window_bytes - above_highest(made.spaces));
    made.words = read & ~made.spaces;
    count_marks(found, read, at);
    at += above_highest(read);
  }
}

/// Answers where the word ends.
std::size_t chunk_list::read_long_word(std::string_view text, std::size_t begin) {
  std::size_t end = begin;
  for (; end < text.size() && (ascii::kind(text[end]) & ascii::space) == 0; ++end) {
    count_marks({text[end] == '!', text[end] == '?'}, 1, end);
    folded_[end] = ascii::to_lower(text[end]);
  }
  return end;
}

void chunk_list::cut(std::string_view text, const window& in, const word_filter& known,
                     inner_punctuation inner) {
  const std::uint64_t words = in.words;
  std::uint64_t starts = words & ~(words << 1U);
  std::uint64_t ends = ~words & words << 1U;  // the bytes behind
  // Punctuation between three letters and three others may separate words. Its runs are as in
  // split_inside, which looks more closely.
  const std::uint64_t letters = in.letters;
  const std::uint64_t three_before = letters << 1U & letters << 2U & letters << 3U;
  const std::uint64_t three_from = letters & letters >> 1U & letters >> 2U;
  const std::uint64_t parts = inner == inner_punctuation::split
                                  ? behind(in.puncts, in.puncts & three_before) & three_from
                                  : 0;
  // Of a class of bytes, `ends` of the words that have none.
  const auto ends_without = [&](std::uint64_t bytes) {
    return behind(words & ~bytes, starts) & ends;
  };
  const std::uint64_t regular = ends_without(in.others | parts | (in.opens & starts));
  const std::uint64_t uppers =
      ends_without(letters & ~in.uppers) & ~ends_without(in.uppers) & regular;
  any_upper_word_ |= uppers != 0;
  any_other_word_ |= (regular & ~uppers) != 0;
  const std::uint64_t stretched = in.repeats & in.repeats >> 1U & letters;
  const std::uint64_t apostrophe_t = in.puncts & letters << 1U & in.ts >> 1U;
  const std::uint64_t special = ends & ~ends_without(stretched | apostrophe_t);

  std::uint64_t kept = words & ~in.puncts;  // where stripping may end
  const std::uint32_t base = in.base;
  const auto place = std::uint32_t(&in - windows_.data());
  const char* folded = folded_.data() + base;
  auto count = std::uint32_t(chunk_count_);
  chunk* made = chunks_.data() + count;
  notable_chunk* notable = notable_.data() + notable_count_;
  for (; ends != 0; starts &= starts - 1) {
    const std::uint64_t end_bit = ends & (0 - ends);
    ends ^= end_bit;
    const unsigned raw_begin = lowest(starts), raw_end = lowest(end_bit);
    const std::uint64_t mine = kept & (end_bit - 1);
    kept ^= mine;
    if ((regular & end_bit) == 0) [[unlikely]] {
      chunk_count_ = count;
      notable_count_ = std::size_t(notable - notable_.data());
      add_irregular(text, base + raw_begin, base + raw_end, inner);
      count = std::uint32_t(chunk_count_);
      made = chunks_.data() + count;
      notable = notable_.data() + notable_count_;
      folded = folded_.data() + base;
      continue;
    }
    // Nothing but punctuation stays whole, too: it has no such bits.
    const unsigned stripped_begin = lowest(mine | end_bit);
    const unsigned stripped_end = above_highest(mine | 1U);
    // All bits if enough is left, else none: which words are short is hard to foresee.
    const unsigned strips = 0U - unsigned{int(stripped_end - stripped_begin) >= stripped_min};
    const unsigned begin = raw_begin + ((stripped_begin - raw_begin) & strips);
    const unsigned end = raw_end - ((raw_end - stripped_end) & strips);
    const unsigned odd = (special & end_bit) != 0;
    *made++ = {base + begin, base + end, place};
    *notable = {count++, notable_chunk::reason{odd}, base + begin, end - begin};
    notable += unsigned{known.may_have(folded + begin, end - begin)} | odd;
  }
  chunk_count_ = count;
  notable_count_ = std::size_t(notable - notable_.data());
}

void chunk_list::add(std::size_t begin, std::size_t end, const detail& of) {
  const bool word = of.kind == chunk_kind::word;
  notable_[notable_count_++] = {std::uint32_t(chunk_count_),
                                word ? notable_chunk::odd : notable_chunk::no_word, of.folded_begin,
                                of.folded_size};
  chunks_[chunk_count_++] = {std::uint32_t(begin), std::uint32_t(end),
                             std::uint32_t(details_.size()) | has_detail};
  details_.push_back(of);
  if (of.kind == chunk_kind::placeholder) return;
  const bool upper = of.letters == letter_case::upper;
  any_upper_word_ |= upper;
  any_other_word_ |= !upper;
}

void chunk_list::add_irregular(std::string_view text, std::size_t begin, std::size_t end,
                               inner_punctuation inner) {
  const auto token = text.substr(begin, end - begin);
  if (!is_ascii(token)) return add_unicode(text, begin, end);
  if (is_placeholder(token)) {
    add(begin, end,
        {.folded_begin = std::uint32_t(begin),
         .folded_size = std::uint32_t(end - begin),
         .kind = chunk_kind::placeholder});
    return;
  }
  if (inner == inner_punctuation::split) split_inside(text, begin, end);
  add_word(text, begin, end);
}

/// Adds the words before each separator and moves `begin` behind it; the rest is the caller's.
void chunk_list::split_inside(std::string_view text, std::size_t& begin, std::size_t end) {
  std::size_t letters = 0;
  for (std::size_t i = begin; i < end; ++i) {
    if (is_ascii_letter(text[i])) {
      ++letters;
      continue;
    }
    const bool ends_part = letters >= part_letters_min && separates_words(text[i]);
    letters = 0;
    if (!ends_part) continue;
    std::size_t next = i;
    while (next < end && separates_words(text[next])) ++next;
    // A single hyphen or dot joins ("well-being", "e.g"): only a run of them separates.
    const bool joins = next - i == 1 && (text[i] == '-' || text[i] == '.');
    if (joins || next + part_letters_min > end) continue;
    const auto part = text.substr(next, part_letters_min);
    if (!std::all_of(part.begin(), part.end(), is_ascii_letter)) continue;
    add_word(text, begin, next);
    begin = next;
    i = next - 1;
  }
}

void chunk_list::add_word(std::string_view text, std::size_t begin, std::size_t end) {
  std::size_t first = begin, last = end;
  while (first < last && is_ascii_punctuation(text[first])) ++first;
  while (last > first && is_ascii_punctuation(text[last - 1])) --last;
  if (last - first < std::size_t{stripped_min}) {
    first = begin;
    last = end;
  }
  bool any_upper = false, any_lower = false, stretched = false;
  for (std::size_t i = first; i < last; ++i) {
    const std::uint8_t kind = ascii::kind(text[i]);
    any_upper |= (kind & ascii::upper) != 0;
    any_lower |= (kind & ascii::lower) != 0;
    stretched |= (kind & ascii::letter) != 0 && i >= first + 2 && text[i] == text[i - 1] &&
                 text[i] == text[i - 2];
  }
  const bool first_upper = (ascii::kind(text[first]) & ascii::upper) != 0;
  add(first, last,
      {.folded_begin = std::uint32_t(first),
       .folded_size = std::uint32_t(last - first),
       .kind = chunk_kind::word,
       .letters = case_of(any_upper, any_lower, first_upper),
       .stretched = stretched,
       .opens_next = ends_sentence(text[end - 1])});
}

bool chunk_list::opens_sentence(std::size_t number) const noexcept {
  // What a picture follows, the word behind it does, too.
  do {
    if (number == 0) return true;
    --number;
  } while (kind(number) == chunk_kind::emoji);
  if (const detail* d = detail_of(number)) return d->opens_next;
  const chunk& before = chunks_[number];
  const window& in = windows_[before.place];
  const std::uint64_t spaces_behind = ~in.words >> (before.end - in.base);
  const std::size_t raw_end = before.end + std::size_t(std::countr_zero(spaces_behind));
  return ends_sentence(folded_[raw_end - 1]);
}

void chunk_list::add_unicode(std::string_view text, std::size_t begin, std::size_t end) {
  unicode_word word;
  word.raw_begin = begin;
  word.folded_begin = folded_.size();
  const auto finish = [&](std::size_t next) {
    if (next > word.raw_begin && folded_.size() > word.folded_begin) {
      word.end = word.end == 0 ? next : word.end;
      add_unicode_word(word);
    }
    word = {};
    word.raw_begin = next;
    word.folded_begin = folded_.size();
  };
  std::size_t at = begin;
  while (at < end) {
    if (is_ascii(text[at])) {  // most of such a word; no space
      const std::uint8_t kind = ascii::kind(text[at]);
      ++word.characters;
      word.first_upper |= (kind & ascii::upper) != 0 && !word.any_letter;
      word.any_letter |= (kind & ascii::letter) != 0;
      word.any_upper |= (kind & ascii::upper) != 0;
      word.any_lower |= (kind & ascii::lower) != 0;
      folded_.push_back(ascii::to_lower(text[at++]));
      continue;
    }
    const code_point point = decode(text.substr(0, end), at);
    if (is_space(point.value)) {
      finish(at);
      at += point.bytes;
      word.raw_begin = at;
      continue;
    }
    if (is_emoji(point.value)) {
      finish(at);
      at = add_emoji(text, at, end);
      word.raw_begin = at;
      continue;
    }
    if (!is_invisible(point.value)) {
      ++word.characters;
      const bool upper = is_upper(point.value);
      word.first_upper |= upper && !word.any_letter;
      word.any_letter |= upper || is_letter(point.value);
      word.any_upper |= upper;
      word.any_lower |= is_lower(point.value);
      append_utf8(folded_, fold(point.value));
    }
    at += point.bytes;
  }
  finish(end);
}

std::size_t chunk_list::add_emoji(std::string_view text, std::size_t at, std::size_t end) {
  const std::size_t begin = at;
  const auto limited = text.substr(0, end);
  const code_point first = decode(limited, at);
  at += first.bytes;
  while (at < end) {
    const code_point point = decode(limited, at);
    const bool completes_flag = is_regional_indicator(first.value) &&
                                is_regional_indicator(point.value) && at == begin + first.bytes;
    if (!is_emoji_modifier(point.value) && !completes_flag) break;
    at += point.bytes;
  }
  const std::size_t folded_begin = folded_.size();
  append_utf8(folded_, first.value);
  add(begin, at,
      {.folded_begin = std::uint32_t(folded_begin),
       .folded_size = std::uint32_t(folded_.size() - folded_begin),
       .emoji = first.value,
       .kind = chunk_kind::emoji});
  return at;
}

void chunk_list::add_unicode_word(unicode_word& word) {
  // Strip on the folded form, where curly quotes and full-width letters already look like their
  // ASCII twins.
  std::size_t first = word.folded_begin, last = folded_.size();
  std::size_t leading = 0, trailing = 0;
  const std::string_view folded{folded_};
  while (first < last) {
    const code_point point = decode(folded, first);
    if (!is_punctuation(point.value)) break;
    first += point.bytes;
    ++leading;
  }
  while (last > first) {
    std::size_t begin = last - 1;
    while (begin > first && (static_cast<unsigned char>(folded[begin]) & 0xC0U) == 0x80U) --begin;
    const char32_t value = decode(folded, begin).value;
    word.ends_sentence |= trailing == 0 && (value == '.' || value == '!' || value == '?' ||
                                            value == ':' || value == 0x2026);
    if (!is_punctuation(value)) break;
    last = begin;
    ++trailing;
  }
  if (word.characters < leading + trailing + std::size_t{stripped_min}) {
    first = word.folded_begin;
    last = folded_.size();
  }
  add(word.raw_begin, word.end,
      {.folded_begin = std::uint32_t(first),
       .folded_size = std::uint32_t(last - first),
       .kind = chunk_kind::word,
       .letters = case_of(word.any_upper, word.any_lower, word.first_upper),
       .opens_next = word.ends_sentence});
}

void chunk_list::release_above(std::size_t bytes) {
  if (folded_.capacity() <= bytes) return;
  // "= {}" would assign empty lists, and keep the memory.
  std::vector<chunk>().swap(chunks_);
  std::vector<notable_chunk>().swap(notable_);
  std::string().swap(folded_);
  std::vector<window>().swap(windows_);
  std::vector<detail>().swap(details_);
  chunk_count_ = notable_count_ = 0;
  room_ = 0;
}

}  // namespace sonder::text
