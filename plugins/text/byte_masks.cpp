#include "byte_masks.h"

#include <cstring>

#include "characters.h"
#include "vector_bytes.h"

namespace sonder::text {
namespace {

constexpr std::size_t block_bytes = 64;

byte_masks::block read_block(const char* bytes, char* lowered) {
  byte_masks::block m{};
#ifdef __SSE2__
  for (std::size_t i = 0; i < block_bytes; i += 16) {
    const __m128i c = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + i));
    const __m128i upper = within(c, 'A', 'Z');
    const __m128i lower = _mm_or_si128(c, _mm_and_si128(upper, _mm_set1_epi8(0x20)));
    const __m128i digit = within(c, '0', '9');
    m.alphanumeric |= bits(_mm_or_si128(within(lower, 'a', 'z'), digit)) << i;
    m.digits |= bits(digit) << i;
    m.uppers |= bits(upper) << i;
    _mm_storeu_si128(reinterpret_cast<__m128i*>(lowered + i), lower);
  }
#else
  for (std::size_t i = 0; i < block_bytes; ++i) {
    const char c = bytes[i];
    m.alphanumeric |= std::uint64_t(ascii::is(c, ascii::letter | ascii::digit)) << i;
    m.digits |= std::uint64_t(ascii::is(c, ascii::digit)) << i;
    m.uppers |= std::uint64_t(ascii::is(c, ascii::upper)) << i;
    lowered[i] = ascii::to_lower(c);
  }
#endif
  return m;
}

}  // namespace

void byte_masks::scan(std::string_view text) {
  const std::size_t whole = text.size() / block_bytes;
  const std::size_t rest = text.size() % block_bytes;
  blocks_.resize(whole + 2);
  if (lowered_.size() < (whole + 1) * block_bytes + padding)
    lowered_.resize((whole + 1) * block_bytes + padding);
  std::uint64_t digits = 0;
  for (std::size_t i = 0; i < whole; ++i) {
    const std::size_t at = i * block_bytes;
    blocks_[i] = read_block(text.data() + at, lowered_.data() + at);
    digits |= blocks_[i].digits;
  }
  char tail[block_bytes] = {};
  if (rest > 0) std::memcpy(tail, text.data() + whole * block_bytes, rest);
  blocks_[whole] = read_block(tail, lowered_.data() + whole * block_bytes);
  blocks_[whole + 1] = {};
  any_digit_ = (digits | blocks_[whole].digits) != 0;
}

}  // namespace sonder::text
