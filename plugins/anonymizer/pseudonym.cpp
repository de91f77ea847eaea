// EVP's way to a digest costs more than the digest of an id; these functions are the same code
// below it, with the machine's SHA instructions.
#define OPENSSL_SUPPRESS_DEPRECATED

#include "pseudonym.h"

#include <sodium/core.h>
#include <sodium/crypto_auth_hmacsha256.h>
#include <sodium/utils.h>

#include <stdexcept>

namespace sonder::anonymizer {
namespace {

using digest = std::array<unsigned char, crypto_auth_hmacsha256_BYTES>;

void add(crypto_auth_hmacsha256_state& state, std::string_view text) {
  crypto_auth_hmacsha256_update(&state, reinterpret_cast<const unsigned char*>(text.data()),
                                text.size());
}

// What HMAC hashes first: the key, filled up to a block, each byte turned by `pad`.
void begin(SHA256_CTX& state, const digest& key, unsigned char pad) {
  std::array<unsigned char, SHA256_CBLOCK> block;
  block.fill(pad);
  for (std::size_t i = 0; i < key.size(); ++i) block[i] ^= key[i];
  SHA256_Init(&state);
  SHA256_Update(&state, block.data(), block.size());
  sodium_memzero(block.data(), block.size());
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
  begin(inner_, key, 0x36);
  begin(outer_, key, 0x5C);
  sodium_memzero(&deriving, sizeof deriving);
  sodium_memzero(key.data(), key.size());
}

pseudonymiser::~pseudonymiser() {
  sodium_memzero(&inner_, sizeof inner_);
  sodium_memzero(&outer_, sizeof outer_);
}

std::string_view pseudonymiser::name(std::string_view id,
                                     std::array<char, name_bytes>& buffer) const noexcept {
  constexpr std::string_view digits = "0123456789abcdef";
  digest made;
  SHA256_CTX state = inner_;
  SHA256_Update(&state, id.data(), id.size());
  SHA256_Final(made.data(), &state);
  state = outer_;
  SHA256_Update(&state, made.data(), made.size());
  SHA256_Final(made.data(), &state);
  for (std::size_t i = 0; i < name_bytes / 2; ++i) {
    buffer[2 * i] = digits[made[i] >> 4U];
    buffer[2 * i + 1] = digits[made[i] & 0xFU];
  }
  return {buffer.data(), buffer.size()};
}

}  // namespace sonder::anonymizer
