#include "pseudonym.h"

#include <sodium/core.h>
#include <sodium/utils.h>

#include <stdexcept>

namespace sonder::anonymizer {
namespace {

using digest = std::array<unsigned char, crypto_auth_hmacsha256_BYTES>;

void add(crypto_auth_hmacsha256_state& state, std::string_view text) {
  crypto_auth_hmacsha256_update(&state, reinterpret_cast<const unsigned char*>(text.data()),
                                text.size());
}

}  // namespace

pseudonymiser::pseudonymiser(std::span<const std::uint8_t> secret, std::string_view what,
                             std::string_view purpose) {
  if (secret.size() < secret_bytes_min)
    throw std::invalid_argument("the secret has fewer than 16 bytes");
  if (sodium_init() < 0) throw std::runtime_error("libsodium cannot be used on this machine");
  crypto_auth_hmacsha256_state deriving;
  digest key;
  crypto_auth_hmacsha256_init(&deriving, secret.data(), secret.size());
  add(deriving, "sonder/");
  add(deriving, what);
  add(deriving, "/1/");
  add(deriving, purpose);
  crypto_auth_hmacsha256_final(&deriving, key.data());
  crypto_auth_hmacsha256_init(&keyed_, key.data(), key.size());
  sodium_memzero(&deriving, sizeof deriving);
  sodium_memzero(key.data(), key.size());
}

pseudonymiser::~pseudonymiser() {
  sodium_memzero(&keyed_, sizeof keyed_);
}

std::string_view pseudonymiser::name(std::string_view id,
                                     std::array<char, name_bytes>& buffer) const noexcept {
  constexpr std::string_view digits = "0123456789abcdef";
  crypto_auth_hmacsha256_state state = keyed_;
  digest made;
  add(state, id);
  crypto_auth_hmacsha256_final(&state, made.data());
  for (std::size_t i = 0; i < name_bytes / 2; ++i) {
    buffer[2 * i] = digits[made[i] >> 4U];
    buffer[2 * i + 1] = digits[made[i] & 0xFU];
  }
  return {buffer.data(), buffer.size()};
}

}  // namespace sonder::anonymizer
