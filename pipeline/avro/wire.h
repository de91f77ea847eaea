#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "avro/decode_plan.h"
#include "record/column.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace sonder {

// The inner loops of Avro's binary encoding, shared by the plans, the container files and the
// benchmark's hand-written decoder.

inline constexpr std::size_t varint_bytes_max = 10;

/// Reads a zig-zag varint at `p`; where the next value begins, or null if the bytes end first or
/// are too long.
[[nodiscard]] inline const std::uint8_t* read_varint(const std::uint8_t* p, const std::uint8_t* end,
                                                     std::int64_t& value) noexcept {
  std::uint64_t bits;
  if (p < end && *p < 0x80) [[likely]] {
    bits = *p++;
  } else {
    bits = 0;
    const std::uint8_t* const stop =
        static_cast<std::size_t>(end - p) > varint_bytes_max ? p + varint_bytes_max : end;
    unsigned shift = 0;
    for (;;) {
      if (p == stop) return nullptr;
      const std::uint64_t byte = *p++;
      bits |= (byte & 0x7f) << shift;
      if (byte < 0x80) {
        if (shift == 63 && byte > 1) return nullptr;  // more than 64 bits
        break;
      }
      shift += 7;
    }
  }
  value = static_cast<std::int64_t>(bits >> 1) ^ -static_cast<std::int64_t>(bits & 1);
  return p;
}

/// Why `read_varint` refused fewer than ten bytes: they end inside the number, or the number was
/// refused for its range.
[[nodiscard]] inline decode_reason unfinished_varint(const std::uint8_t* p,
                                                     const std::uint8_t* end) noexcept {
  for (; p < end; ++p) {
    if (*p < 0x80) return decode_reason::bad_varint;
  }
  return decode_reason::truncated;
}

/// Writes a zig-zag varint; where the next value goes. `to` has room for ten bytes.
inline std::uint8_t* write_varint(std::uint8_t* to, std::int64_t value) noexcept {
  std::uint64_t bits =
      (static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63);
  while (bits >= 0x80) {
    *to++ = static_cast<std::uint8_t>(bits | 0x80);
    bits >>= 7;
  }
  *to++ = static_cast<std::uint8_t>(bits);
  return to;
}

/// Room that `copy_ascii` and `copy_short` may write past what they copy.
inline constexpr std::size_t copy_slack = 32;

/// Copies `size` bytes, of `readable` that may be read, and says whether all were ASCII. `to` has
/// `copy_slack` bytes more.
[[nodiscard]] inline bool copy_ascii(const std::uint8_t* from, std::size_t size,
                                     std::size_t readable, std::uint8_t* to) noexcept {
#if defined(__SSE2__)
  const auto load = [](const std::uint8_t* p) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  };
  const auto store = [](std::uint8_t* p, __m128i v) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), v);
  };
  if (size <= 32 && readable >= 32) [[likely]] {
    // Two whole loads, then a mask over what is not ours: no loop and no branch on the size.
    const __m128i a = load(from);
    const __m128i b = load(from + 16);
    store(to, a);
    store(to + 16, b);
    const auto high = static_cast<std::uint32_t>(_mm_movemask_epi8(a)) |
                      static_cast<std::uint32_t>(_mm_movemask_epi8(b)) << 16;
    return (static_cast<std::uint64_t>(high) & ((std::uint64_t{1} << size) - 1)) == 0;
  }
  if (size >= 16) {
    __m128i seen = _mm_setzero_si128();
    std::size_t i = 0;
    for (; i + 16 <= size; i += 16) {
      const __m128i a = load(from + i);
      store(to + i, a);
      seen = _mm_or_si128(seen, a);
    }
    const __m128i last = load(from + size - 16);
    store(to + size - 16, last);
    seen = _mm_or_si128(seen, last);
    return _mm_movemask_epi8(seen) == 0;
  }
#endif
  (void)readable;
  if (size >= 8) {
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i + 8 <= size; i += 8) {
      std::uint64_t word;
      std::memcpy(&word, from + i, 8);
      std::memcpy(to + i, &word, 8);
      seen |= word;
    }
    std::uint64_t last;
    std::memcpy(&last, from + size - 8, 8);
    std::memcpy(to + size - 8, &last, 8);
    return ((seen | last) & 0x8080808080808080u) == 0;
  }
  std::uint8_t seen = 0;
  for (std::size_t i = 0; i < size; ++i) {
    to[i] = from[i];
    seen |= from[i];
  }
  return seen < 0x80;
}

/// Copies `size` bytes, of `readable` that may be read. `to` has `copy_slack` bytes more.
inline void copy_short(const std::uint8_t* from, std::size_t size, std::size_t readable,
                       std::uint8_t* to) noexcept {
#if defined(__SSE2__)
  if (size <= 32 && readable >= 32) [[likely]] {
    std::memcpy(to, from, 32);
    return;
  }
#endif
  if (size != 0) std::memcpy(to, from, size);
}

}  // namespace sonder
