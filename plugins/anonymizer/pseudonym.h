#pragma once

#include <openssl/sha.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace sonder::anonymizer {

/// Names that stand for an id under one purpose: the first 128 bits of HMAC-SHA-256, as 32
/// lower-case hexadecimal digits.
///
/// The key is HMAC-SHA-256(secret, "sonder/<what>/1/<purpose>"), so that names of two purposes, and
/// of two kinds of ids, cannot be joined without the secret. Immutable after construction, read by
/// any thread; never allocates. Keeps no secret, only the states of the keyed hash, and wipes them
/// at the end.
class pseudonymiser {
 public:
  static constexpr std::size_t secret_bytes_min = 16;
  static constexpr std::size_t name_bytes = 32;

  /// Throws std::invalid_argument for a secret of fewer than `secret_bytes_min` bytes.
  pseudonymiser(std::span<const std::uint8_t> secret, std::string_view what,
                std::string_view purpose);
  ~pseudonymiser();
  pseudonymiser(const pseudonymiser&) = delete;
  pseudonymiser& operator=(const pseudonymiser&) = delete;

  /// The name of `id`; `buffer` holds it.
  std::string_view name(std::string_view id, std::array<char, name_bytes>& buffer) const noexcept;

 private:
  SHA256_CTX inner_;  ///< of HMAC (RFC 2104), behind the key's block
  SHA256_CTX outer_;
};

}  // namespace sonder::anonymizer
