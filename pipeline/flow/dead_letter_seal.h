#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "log/record_batch.h"
#include "record/result.h"

namespace sonder {

/// What a dead letter's `sealed` field is made with and opened with.
///
/// Form: a random nonce of 24 bytes, then XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03, libsodium's `_ietf_` functions, no
/// additional data) over key, value and headers, each after its length as a little-endian uint32. The key is SHA-256 over
/// "sonder quarantine key 1", a newline and the secret. `key_id` is the first eight bytes of that key's SHA-256, in hex.
/// Thread-safe; holds the key, and overwrites it when it goes.
class dead_letter_seal {
 public:
  static constexpr std::size_t key_bytes = 32;
  /// `key_id` stands open in each letter, so that a secret that can be guessed could be found without opening one.
  static constexpr std::size_t secret_bytes_min = 16;

  /// errc::invalid: the secret has less than `secret_bytes_min` bytes. errc::unavailable: this machine has no source of randomness.
  [[nodiscard]] static result<std::unique_ptr<const dead_letter_seal>> make(std::string_view secret);
  ~dead_letter_seal();
  dead_letter_seal(const dead_letter_seal&) = delete;
  dead_letter_seal& operator=(const dead_letter_seal&) = delete;

  [[nodiscard]] const std::string& key_id() const noexcept { return key_id_; }
  /// HMAC-SHA-256 of a value under the key: equal values are told without being read.
  [[nodiscard]] std::array<std::uint8_t, 32> hash(bytes_view value) const;

  /// Replaces `into` by the sealed record; `plain` is room to work in.
  void close(const log_record& record, buffer& plain, buffer& into) const;

  /// What was sealed; views into `plain`.
  struct opened {
    bytes_view key;
    bytes_view value;
    bytes_view headers;  ///< as in `log_record`
  };
  /// errc::corrupt: sealed under another key, or changed since.
  [[nodiscard]] result<opened> open(bytes_view sealed, buffer& plain) const;

 private:
  explicit dead_letter_seal(std::string_view secret);

  std::array<std::uint8_t, key_bytes> key_{};
  std::string key_id_;
};

}  // namespace sonder
