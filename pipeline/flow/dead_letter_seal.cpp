#include "flow/dead_letter_seal.h"

#include <sodium.h>

#include <cstring>

#include "record/number_of.h"

namespace sonder {

namespace {

constexpr std::size_t nonce_bytes = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
constexpr std::size_t tag_bytes = crypto_aead_xchacha20poly1305_ietf_ABYTES;
static_assert(dead_letter_seal::key_bytes == crypto_aead_xchacha20poly1305_ietf_KEYBYTES);

/// The next part of `from` behind its length, and `from` moved past it; false where it would pass the end.
bool take_part(bytes_view& from, bytes_view& part) {
  std::uint32_t size = 0;
  if (from.size() < sizeof size) return false;
  std::memcpy(&size, from.data(), sizeof size);
  if (from.size() - sizeof size < size) return false;
  part = from.subspan(sizeof size, size);
  from = from.subspan(sizeof size + size);
  return true;
}

}  // namespace

result<std::unique_ptr<const dead_letter_seal>> dead_letter_seal::make(std::string_view secret) {
  if (secret.size() < secret_bytes_min) {
    return fail(errc::invalid, "the quarantine key has " + number_of(secret.size(), "byte") + ", and needs at least " +
                                   std::to_string(secret_bytes_min) + "; make one, for example with: head -c 32 /dev/urandom > FILE");
  }
  if (sodium_init() < 0) return fail(errc::unavailable, "libsodium cannot be used on this machine: it has no source of randomness");
  return std::unique_ptr<const dead_letter_seal>(new dead_letter_seal(secret));
}

dead_letter_seal::dead_letter_seal(std::string_view secret) {
  auto text = "sonder quarantine key 1\n" + std::string(secret);
  crypto_hash_sha256(key_.data(), as_bytes(text).data(), text.size());
  sodium_memzero(text.data(), text.size());
  std::array<std::uint8_t, crypto_hash_sha256_BYTES> id{};
  crypto_hash_sha256(id.data(), key_.data(), key_.size());
  char hex[17];
  sodium_bin2hex(hex, sizeof hex, id.data(), 8);
  key_id_ = hex;
}

dead_letter_seal::~dead_letter_seal() {
  sodium_memzero(key_.data(), key_.size());
}

std::array<std::uint8_t, 32> dead_letter_seal::hash(bytes_view value) const {
  std::array<std::uint8_t, crypto_auth_hmacsha256_BYTES> keyed{};
  crypto_auth_hmacsha256(keyed.data(), value.data(), value.size(), key_.data());
  return keyed;
}

void dead_letter_seal::close(const log_record& record, buffer& plain, buffer& into) const {
  plain.clear();
  for (const auto part : {record.key, record.value, record.headers}) {
    plain.append_value(static_cast<std::uint32_t>(part.size()));
    plain.append(part.data(), part.size());
  }
  into.clear();
  into.reserve_more(nonce_bytes + plain.size() + tag_bytes);
  randombytes_buf(into.data(), nonce_bytes);
  unsigned long long size = 0;
  crypto_aead_xchacha20poly1305_ietf_encrypt(into.data() + nonce_bytes, &size, plain.data(), plain.size(), nullptr, 0, nullptr,
                                             into.data(), key_.data());
  into.set_size(nonce_bytes + size);
}

result<dead_letter_seal::opened> dead_letter_seal::open(bytes_view sealed, buffer& plain) const {
  const auto refused = [] { return fail(errc::corrupt, "it was sealed under another quarantine key, or was changed since"); };
  if (sealed.size() < nonce_bytes + tag_bytes) return refused();
  plain.clear();
  plain.reserve_more(sealed.size());
  unsigned long long size = 0;
  if (crypto_aead_xchacha20poly1305_ietf_decrypt(plain.data(), &size, nullptr, sealed.data() + nonce_bytes,
                                                 sealed.size() - nonce_bytes, nullptr, 0, sealed.data(), key_.data()) != 0) {
    return refused();
  }
  plain.set_size(size);
  bytes_view left{plain.data(), plain.size()};
  opened parts;
  if (!take_part(left, parts.key) || !take_part(left, parts.value) || !take_part(left, parts.headers) || !left.empty()) {
    return fail(errc::corrupt, "what was sealed is no record");
  }
  return parts;
}

}  // namespace sonder
