#include <cstring>

#include "record/column.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace sonder {

namespace {

/// The first byte from `i` on that is not ASCII, or `size`.
std::size_t skip_ascii(const std::uint8_t* data, std::size_t i, std::size_t size) {
#if defined(__SSE2__)
  for (; i + 16 <= size; i += 16) {
    const __m128i chunk = _mm_loadu_si128(reinterpret_cast<const __m128i*>(data + i));
    const int high = _mm_movemask_epi8(chunk);
    if (high != 0) return i + static_cast<std::size_t>(__builtin_ctz(static_cast<unsigned>(high)));
  }
#endif
  for (; i + 8 <= size; i += 8) {
    std::uint64_t word;
    std::memcpy(&word, data + i, sizeof word);
    if ((word & 0x8080808080808080u) != 0) break;
  }
  while (i < size && data[i] < 0x80) ++i;
  return i;
}

bool continues(std::uint8_t byte) {
  return (byte & 0xC0) == 0x80;
}

/// The length of the well-formed sequence of more than one byte at `p`, or 0 (Unicode 15, table
/// 3-7).
std::size_t sequence_length(const std::uint8_t* p, std::size_t left) {
  const std::uint8_t lead = p[0];
  if (lead >= 0xC2 && lead <= 0xDF) return left >= 2 && continues(p[1]) ? 2 : 0;
  if (lead >= 0xE0 && lead <= 0xEF) {
    if (left < 3 || !continues(p[1]) || !continues(p[2])) return 0;
    if (lead == 0xE0 && p[1] < 0xA0) return 0;  // overlong
    if (lead == 0xED && p[1] > 0x9F) return 0;  // surrogates
    return 3;
  }
  if (lead >= 0xF0 && lead <= 0xF4) {
    if (left < 4 || !continues(p[1]) || !continues(p[2]) || !continues(p[3])) return 0;
    if (lead == 0xF0 && p[1] < 0x90) return 0;  // overlong
    if (lead == 0xF4 && p[1] > 0x8F) return 0;  // beyond U+10FFFF
    return 4;
  }
  return 0;
}

}  // namespace

bool is_utf8(const std::uint8_t* data, std::size_t size) noexcept {
  std::size_t i = 0;
  for (;;) {
    i = skip_ascii(data, i, size);
    if (i == size) return true;
    // Text that is not English has runs of these: no way back to the ASCII loop before the run
    // ends.
    while (i < size && data[i] >= 0x80) {
      const std::size_t length = sequence_length(data + i, size - i);
      if (length == 0) return false;
      i += length;
    }
  }
}

}  // namespace sonder
