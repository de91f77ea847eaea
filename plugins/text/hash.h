#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace sonder::text {

/// Spreads every bit of `value` over the upper half of the result.
[[nodiscard]] constexpr std::uint64_t mix(std::uint64_t value) noexcept {
  value *= 0x9E3779B97F4A7C15ULL;
  return value ^ value >> 29U;
}

/// How far past its end a word that is hashed must be readable.
inline constexpr std::size_t hash_padding = 16;

/// Hash of a folded word, read by whole machine words: `hash_padding` bytes past its end must be
/// readable (chunk_list and token_list see to it) and do not count. Not for adversaries: tables
/// that use it must bound their probes. The value is part of the emotion model's format and never
/// changes.
[[nodiscard]] inline std::uint64_t hash_padded(const char* word, std::size_t size) noexcept {
  const auto load = [](const char* bytes) {
    std::uint64_t eight = 0;
    std::memcpy(&eight, bytes, 8);
    return eight;
  };
  std::uint64_t h = size * 0x9E3779B97F4A7C15ULL;
  while (size > 16) {
    h = mix(mix(h ^ load(word)) ^ load(word + 8));
    word += 16;
    size -= 16;
  }
  const std::uint64_t low_mask = size >= 8 ? ~0ULL : (1ULL << (8 * size)) - 1;
  h ^= (load(word) & low_mask) * 0xA24BAED4963EE407ULL;
  if (size > 8) h ^= mix(load(word + 8) << (8 * (16 - size)));
  h = (h ^ h >> 32U) * 0x9FB21C651E98DF25ULL;
  return h ^ h >> 28U;
}

}  // namespace sonder::text
