#include <cstring>

#include "log/log.h"

namespace sonder {
namespace {

// Java reads the key as little-endian words and computes in wrapping int32; unsigned arithmetic
// gives the same bits.
std::uint32_t murmur2(bytes_view key) noexcept {
  constexpr std::uint32_t seed = 0x9747b28c;
  constexpr std::uint32_t m = 0x5bd1e995;
  constexpr int r = 24;
  const auto length = static_cast<std::uint32_t>(key.size());
  std::uint32_t h = seed ^ length;
  const std::uint8_t* at = key.data();
  std::size_t left = key.size();
  for (; left >= 4; left -= 4, at += 4) {
    std::uint32_t k;
    std::memcpy(&k, at, sizeof k);
    k *= m;
    k ^= k >> r;
    k *= m;
    h *= m;
    h ^= k;
  }
  if (left >= 3) h ^= static_cast<std::uint32_t>(at[2]) << 16;
  if (left >= 2) h ^= static_cast<std::uint32_t>(at[1]) << 8;
  if (left >= 1) {
    h ^= at[0];
    h *= m;
  }
  h ^= h >> 13;
  h *= m;
  h ^= h >> 15;
  return h;
}

}  // namespace

std::int32_t murmur2_hash(bytes_view key) noexcept {
  return static_cast<std::int32_t>(murmur2(key));
}

std::int32_t murmur2_partition(bytes_view key, std::int32_t partitions) noexcept {
  return static_cast<std::int32_t>(murmur2(key) & 0x7fffffff) % partitions;
}

}  // namespace sonder
