#pragma once

#ifdef __SSE2__

#include <emmintrin.h>

#include <cstdint>

/// Sixteen bytes at once, where the machine has SSE2 (each x86-64 has). Who includes this also has
/// a way without.
namespace sonder::text {

/// 0xFF where first <= byte <= last.
[[nodiscard]] inline __m128i within(__m128i bytes, char first, char last) noexcept {
  const __m128i above = _mm_sub_epi8(bytes, _mm_set1_epi8(first));
  return _mm_cmpeq_epi8(_mm_min_epu8(above, _mm_set1_epi8(char(last - first))), above);
}

/// The sign bit of each byte, the first byte's lowest.
[[nodiscard]] inline std::uint64_t bits(__m128i mask) noexcept {
  return std::uint64_t(unsigned(_mm_movemask_epi8(mask)));
}

}  // namespace sonder::text

#endif
