#include "chunks.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "characters.h"
#include "utf8.h"
#include "vector_bytes.h"

namespace sonder::text {
namespace {

constexpr std::size_t block_bytes = 64;
/// Shorter remains of stripping are taken for an emoticon and left whole (VADER: two or fewer
/// characters).
constexpr std::size_t stripped_min = 3;
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

/// Without a branch: what ends a word is hard to foresee.
bool ends_sentence(char c) {
  constexpr auto bit = [](char mark) { return std::uint64_t{1} << unsigned(mark); };
  constexpr std::uint64_t marks = bit('.') | bit('!') | bit('?') | bit(':');
  const unsigned value = static_cast<unsigned char>(c);
  return (marks >> value % 64 & std::uint64_t{value < 64}) != 0;
}

bool separates_words(char c) {
  return c == ',' || c == ';' || c == '!' || c == '?' || c == '(' || c == ')' || c == '"' ||
         c == '/' || c == ':' || c == '.' || c == '-' || c == '*' || c == '&' || c == '+';
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

void chunk_list::classify(std::string_view text) {
  const std::size_t blocks = text.size() / block_bytes + 1;
  masks_.resize(blocks + 1);
  masks_[blocks] = {~0ULL, 0, 0, 0, 0, 0};
  exclamations_ = 0;
  questions_ = 0;
  std::uint64_t others = 0, triples = 0;
  for (std::size_t block = 0; block < blocks; ++block) {
    const std::size_t at = block * block_bytes;
    char tail[block_bytes + 2];
    const char* bytes = text.data() + at;
    char* folded = folded_.data() + at;
    const std::size_t size = text.size() - at;
    if (size < block_bytes + 2) {  // the search for triples looks two bytes ahead
      const std::size_t readable = std::min(sizeof(tail), text.size() - at);
      std::memset(tail, ' ', sizeof(tail));
      std::memcpy(tail, bytes, readable);
      bytes = tail;
    }
    byte_masks m{0, 0, 0, 0, 0, 0};
    std::uint64_t exclaimed = 0, asked = 0;
#ifdef __SSE2__
    for (std::size_t i = 0; i < block_bytes; i += 16) {
      const __m128i c = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + i));
      const __m128i upper = within(c, 'A', 'Z');
      const __m128i next = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + i + 1));
      const __m128i after = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + i + 2));
      m.triples |= bits(_mm_and_si128(_mm_cmpeq_epi8(c, next), _mm_cmpeq_epi8(c, after))) << i;
      const __m128i space = _mm_or_si128(_mm_cmpeq_epi8(c, _mm_set1_epi8(' ')),
                                         _mm_or_si128(within(c, 9, 13), within(c, 28, 31)));
      m.spaces |= bits(space) << i;
      const __m128i lower = within(c, 'a', 'z');
      const __m128i alphanumeric = _mm_or_si128(_mm_or_si128(upper, lower), within(c, '0', '9'));
      m.uppers |= bits(upper) << i;
      m.lowers |= bits(lower) << i;
      m.puncts |= bits(_mm_andnot_si128(alphanumeric, within(c, '!', '~'))) << i;
      m.others |= bits(c) << i;  // the sign bit: above 0x7F
      exclaimed |= bits(_mm_cmpeq_epi8(c, _mm_set1_epi8('!'))) << i;
      asked |= bits(_mm_cmpeq_epi8(c, _mm_set1_epi8('?'))) << i;
      _mm_storeu_si128(reinterpret_cast<__m128i*>(folded + i),
                       _mm_or_si128(c, _mm_and_si128(upper, _mm_set1_epi8(0x20))));
    }
#else
    for (std::size_t i = 0; i < block_bytes; ++i) {
      const std::uint8_t kind = ascii::kind(bytes[i]);
      m.spaces |= std::uint64_t((kind & ascii::space) != 0) << i;
      m.uppers |= std::uint64_t((kind & ascii::upper) != 0) << i;
      m.lowers |= std::uint64_t((kind & ascii::lower) != 0) << i;
      m.puncts |= std::uint64_t((kind & ascii::punctuation) != 0) << i;
      m.others |= std::uint64_t((static_cast<unsigned char>(bytes[i]) & 0x80U) != 0) << i;
      m.triples |= std::uint64_t(bytes[i] == bytes[i + 1] && bytes[i] == bytes[i + 2]) << i;
      exclaimed |= std::uint64_t(bytes[i] == '!') << i;
      asked |= std::uint64_t(bytes[i] == '?') << i;
      folded[i] = ascii::to_lower(bytes[i]);
    }
#endif
    m.triples &= m.uppers | m.lowers;
    if ((exclaimed | asked) != 0) {
      exclamations_ += unsigned(std::popcount(exclaimed));
      questions_ += unsigned(std::popcount(asked));
    }
    others |= m.others;
    triples |= m.triples;
    masks_[block] = m;
  }
  any_other_ = others != 0;
  any_triple_ = triples != 0;
}

template <std::uint64_t chunk_list::byte_masks::*mask>
bool chunk_list::any(std::size_t begin, std::size_t end) const noexcept {
  const std::size_t first = begin / block_bytes, last = (end - 1) / block_bytes;
  const std::uint64_t from = ~0ULL << (begin % block_bytes);
  const std::uint64_t to = ~0ULL >> (block_bytes - 1 - (end - 1) % block_bytes);
  if (first == last) return (masks_[first].*mask & from & to) != 0;
  if ((masks_[first].*mask & from) != 0 || (masks_[last].*mask & to) != 0) return true;
  for (std::size_t i = first + 1; i < last; ++i) {
    if (masks_[i].*mask != 0) return true;
  }
  return false;
}

template <std::uint64_t chunk_list::byte_masks::*mask>
std::uint64_t chunk_list::window(std::size_t begin) const noexcept {
  const std::size_t block = begin / block_bytes, shift = begin % block_bytes;
  const std::uint64_t low = masks_[block].*mask >> shift;
  // Two shifts: one by 64 would be undefined when the window starts at a block.
  return low | (masks_[block + 1].*mask << 1U) << (block_bytes - 1 - shift);
}

void chunk_list::scan(std::string_view text, inner_punctuation inner) {
  if (text.size() > text_bytes_max) {
    std::size_t cut = text_bytes_max;
    while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xC0U) == 0x80U) --cut;
    text = text.substr(0, cut);
  }
  chunks_.clear();
  sentence_opens_ = true;
  folded_.resize(text.size() + block_bytes + padding);
  classify(text);
  // Spaces alternate with words: runs of ones and zeros of the space mask, walked a block at a
  // time.
  constexpr std::size_t none = ~std::size_t{0};
  std::size_t word_begin = none;
  const std::size_t blocks = text.size() / block_bytes + 1;
  bool space_before = true;
  for (std::size_t block = 0; block < blocks; ++block) {
    const std::uint64_t spaces = masks_[block].spaces;
    // A bit is set where being a space changes.
    std::uint64_t edges = spaces ^ (spaces << 1U | std::uint64_t(space_before));
    space_before = spaces >> 63U != 0;
    for (; edges != 0; edges &= edges - 1) {
      const std::size_t at = block * block_bytes + std::size_t(std::countr_zero(edges));
      if (word_begin == none) {
        word_begin = at;
      } else {
        add(text, word_begin, at, inner);
        word_begin = none;
      }
    }
  }
  if (word_begin != none) add(text, word_begin, text.size(), inner);
  folded_.append(padding, '\0');
}

inline void chunk_list::add(std::string_view text, std::size_t begin, std::size_t end,
                            inner_punctuation inner) {
  const std::size_t size = end - begin;
  if (any_other_ && any<&byte_masks::others>(begin, end)) return add_unicode(text, begin, end);
  if (size > block_bytes) return add_ascii(text, begin, end, inner);
  // The common case: a word of ASCII, most often without punctuation or with some at its ends.
  const word_edges at = edges_of(begin, size);
  const auto inside =
      std::uint64_t{size > 2 * part_letters_min && inner == inner_punctuation::split};
  // Placeholders open with punctuation; what has some inside may be several words.
  if ((at.puncts & (at.kept * inside | 1)) != 0) return add_ascii(text, begin, end, inner);
  add_edged(text, begin, size, at);
}

void chunk_list::add_ascii(std::string_view text, std::size_t begin, std::size_t end,
                           inner_punctuation inner) {
  const auto token = text.substr(begin, end - begin);
  if (is_placeholder(token)) {
    chunks_.push_back({std::uint32_t(begin), std::uint32_t(end), std::uint32_t(begin),
                       std::uint32_t(end - begin), 0, chunk_kind::placeholder, letter_case::none,
                       true, false, sentence_opens_});
    sentence_opens_ = false;
    return;
  }
  if (inner == inner_punctuation::split && end - begin > 2 * part_letters_min &&
      any<&byte_masks::puncts>(begin, end))
    split_inside(text, begin, end);
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
  if (end - begin > block_bytes) {
    add_long_word(text, begin, end);
  } else {
    add_edged(text, begin, end - begin, edges_of(begin, end - begin));
  }
}

/// `size` is at most that of a block. No branch depends on the word: which words have punctuation
/// is hard to foresee.
inline chunk_list::word_edges chunk_list::edges_of(std::size_t begin,
                                                   std::size_t size) const noexcept {
  const std::uint64_t mine = ~0ULL >> (block_bytes - size);
  const std::uint64_t puncts = window<&byte_masks::puncts>(begin) & mine;
  const std::uint64_t others = mine & ~puncts;
  if (others == 0) [[unlikely]]  // nothing but punctuation stays whole
    return {puncts, mine, 0, 0};
  const auto leading = std::size_t(std::countr_zero(others));
  const auto trailing = std::size_t(std::countl_zero(others)) - (block_bytes - size);
  // All bits if what remains is long enough, else none.
  const std::size_t strips = 0 - std::size_t{leading + trailing + stripped_min <= size};
  const std::size_t first = leading & strips, after = trailing & strips;
  return {puncts, mine >> after & ~0ULL << first, first, after};
}

inline void chunk_list::add_edged(std::string_view text, std::size_t begin, std::size_t size,
                                  const word_edges& at) {
  const std::uint64_t uppers = window<&byte_masks::uppers>(begin) & at.kept;
  const std::uint64_t lowers = window<&byte_masks::lowers>(begin) & at.kept;
  const std::uint64_t triples = any_triple_ ? window<&byte_masks::triples>(begin) & at.kept : 0;
  const std::size_t first = begin + at.leading;
  const std::size_t end = begin + size;
  chunks_.push_back({std::uint32_t(first), std::uint32_t(end - at.trailing), std::uint32_t(first),
                     std::uint32_t(size - at.leading - at.trailing), 0, chunk_kind::word,
                     case_of(uppers != 0, lowers != 0, (uppers >> at.leading & 1U) != 0),
                     (uppers | lowers) != at.kept, triples != 0, sentence_opens_});
  sentence_opens_ = ends_sentence(text[end - 1]);
}

void chunk_list::add_long_word(std::string_view text, std::size_t begin, std::size_t end) {
  std::size_t first = begin, last = end;
  while (first < last && is_ascii_punctuation(text[first])) ++first;
  while (last > first && is_ascii_punctuation(text[last - 1])) --last;
  if (last - first < stripped_min) {
    first = begin;
    last = end;
  }
  const bool first_upper = (ascii::kind(text[first]) & ascii::upper) != 0;
  chunks_.push_back({std::uint32_t(first), std::uint32_t(last), std::uint32_t(first),
                     std::uint32_t(last - first), 0, chunk_kind::word,
                     case_of(any<&byte_masks::uppers>(first, last),
                             any<&byte_masks::lowers>(first, last), first_upper),
                     true, any<&byte_masks::triples>(first, last), sentence_opens_});
  sentence_opens_ = ends_sentence(text[end - 1]);
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
  chunks_.push_back({std::uint32_t(begin), std::uint32_t(at), std::uint32_t(folded_begin),
                     std::uint32_t(folded_.size() - folded_begin), first.value, chunk_kind::emoji,
                     letter_case::none, true, false, sentence_opens_});
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
  if (word.characters < leading + trailing + stripped_min) {
    first = word.folded_begin;
    last = folded_.size();
  }
  chunks_.push_back({std::uint32_t(word.raw_begin), std::uint32_t(word.end), std::uint32_t(first),
                     std::uint32_t(last - first), 0, chunk_kind::word,
                     case_of(word.any_upper, word.any_lower, word.first_upper), true, false,
                     sentence_opens_});
  sentence_opens_ = word.ends_sentence;
}

void chunk_list::release_above(std::size_t bytes) {
  if (folded_.capacity() <= bytes) return;
  // "= {}" would assign empty lists, and keep the memory.
  std::vector<chunk>().swap(chunks_);
  std::string().swap(folded_);
  std::vector<byte_masks>().swap(masks_);
}

}  // namespace sonder::text
