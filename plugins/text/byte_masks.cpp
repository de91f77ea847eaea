#include "byte_masks.h"

#include <cstring>

#include "characters.h"
#include "vector_bytes.h"

namespace sonder::text {
namespace {

constexpr std::size_t block_bytes = byte_masks::block_bytes;

// Control characters are rare, and some of them are white space.
void read_controls(std::uint64_t controls, const char* bytes, byte_masks::block& m) {
  for (; controls != 0; controls &= controls - 1) {
    const std::uint64_t bit = controls & (~controls + 1);
    const char c = bytes[std::countr_zero(controls)];
    if (ascii::is(c, ascii::space)) m.spaces |= bit;
    if (c == '\n' || c == '\r') m.line_breaks |= bit;
  }
}

byte_masks::block read_block(const char* bytes, char* lowered) {
  byte_masks::block m{};
  std::uint64_t controls = 0;
#ifdef __SSE2__
  std::uint64_t small = 0;  // bit 5, in which a letter's cases differ
  for (std::size_t i = 0; i < block_bytes; i += 16) {
    const __m128i c = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + i));
    const __m128i case_bit = _mm_set1_epi8(0x20);
    const __m128i letter = within(_mm_or_si128(c, case_bit), 'a', 'z');
    m.letters |= bits(letter) << i;
    m.digits |= bits(within(c, '0', '9')) << i;
    small |= bits(_mm_slli_epi16(c, 2)) << i;
    m.spaces |= bits(_mm_cmpeq_epi8(c, _mm_set1_epi8(' '))) << i;
    m.apostrophes |= bits(_mm_cmpeq_epi8(c, _mm_set1_epi8('\''))) << i;
    m.dots |= bits(_mm_cmpeq_epi8(c, _mm_set1_epi8('.'))) << i;
    m.colons |= bits(_mm_cmpeq_epi8(c, _mm_set1_epi8(':'))) << i;
    m.highs |= bits(c) << i;
    controls |= bits(within(c, 0, ' ' - 1)) << i;
    _mm_storeu_si128(reinterpret_cast<__m128i*>(lowered + i),
                     _mm_or_si128(c, _mm_and_si128(letter, case_bit)));
  }
  m.uppers = m.letters & ~small;
#else
  for (std::size_t i = 0; i < block_bytes; ++i) {
    const char c = bytes[i];
    const auto put = [i](std::uint64_t& mask, bool is) { mask |= std::uint64_t{is} << i; };
    put(m.letters, ascii::is(c, ascii::letter));
    put(m.digits, ascii::is(c, ascii::digit));
    put(m.uppers, ascii::is(c, ascii::upper));
    put(m.spaces, c == ' ');
    put(m.apostrophes, c == '\'');
    put(m.dots, c == '.');
    put(m.colons, c == ':');
    put(m.highs, static_cast<unsigned char>(c) > 0x7F);
    put(controls, static_cast<unsigned char>(c) < ' ');
    lowered[i] = ascii::to_lower(c);
  }
#endif
  if (controls != 0) [[unlikely]]
    read_controls(controls, bytes, m);
  return m;
}

}  // namespace

void byte_masks::scan(std::string_view text) {
  const std::size_t whole = text.size() / block_bytes;
  const std::size_t rest = text.size() % block_bytes;
  blocks_.resize(whole + 2);
  if (lowered_.size() < (whole + 1) * block_bytes + padding)
    lowered_.resize((whole + 1) * block_bytes + padding);
  any_ = {};
  const auto add = [this](const block& of) {
    any_.digits |= of.digits;
    any_.line_breaks |= of.line_breaks;
    any_.highs |= of.highs;
  };
  for (std::size_t i = 0; i < whole; ++i) {
    const std::size_t at = i * block_bytes;
    add(blocks_[i] = read_block(text.data() + at, lowered_.data() + at));
  }
  char tail[block_bytes];
  std::memset(tail, ' ', block_bytes);
  if (rest > 0) std::memcpy(tail, text.data() + whole * block_bytes, rest);
  block& last = blocks_[whole] = read_block(tail, lowered_.data() + whole * block_bytes);
  std::memset(lowered_.data() + (whole + 1) * block_bytes, ' ', padding);
  add(last);
  blocks_[whole + 1] = {.spaces = ~std::uint64_t{0}};
}

}  // namespace sonder::text
