#include "pseudonym.h"

#include <gtest/gtest.h>
#include <sodium/crypto_auth_hmacsha256.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "generalise.h"

namespace sonder::anonymizer {
namespace {

const std::vector<std::uint8_t> secret(32, 7);

std::string name_of(const pseudonymiser& names, std::string_view id) {
  std::array<char, pseudonymiser::name_bytes> buffer;
  return std::string(names.name(id, buffer));
}

TEST(Pseudonym, IsTheKeyedHashThatTheHeaderSays) {
  // Python: k = hmac.new(bytes([7]*32), b"sonder/subject/1/ServicePersonalisation",
  // "sha256").digest();
  //         hmac.new(k, b"ana", "sha256").hexdigest()[:32]
  EXPECT_EQ(name_of({secret, "subject", "ServicePersonalisation"}, "ana"),
            "0066701b57e8e6d087c7c7096b02d99d");
}

std::string hmac(std::string_view key, std::string_view text) {
  crypto_auth_hmacsha256_state state;
  std::string made(crypto_auth_hmacsha256_BYTES, '\0');
  const auto bytes = [](std::string_view of) {
    return reinterpret_cast<const unsigned char*>(of.data());
  };
  crypto_auth_hmacsha256_init(&state, bytes(key), key.size());
  crypto_auth_hmacsha256_update(&state, bytes(text), text.size());
  crypto_auth_hmacsha256_final(&state, reinterpret_cast<unsigned char*>(made.data()));
  return made;
}

TEST(Pseudonym, AgreesWithAnotherHmacForIdsOfAnyLength) {
  const pseudonymiser names{secret, "event", "P"};
  const std::string key = hmac(std::string(32, '\7'), "sonder/event/1/P");
  for (std::size_t size = 0; size <= 200; ++size) {
    const std::string id(size, 'x');
    const std::string digest = hmac(key, id);
    std::string digits;
    for (std::size_t i = 0; i < pseudonymiser::name_bytes / 2; ++i) {
      constexpr std::string_view hex = "0123456789abcdef";
      const auto byte = static_cast<unsigned char>(digest[i]);
      digits += {hex[byte >> 4U], hex[byte & 0xFU]};
    }
    EXPECT_EQ(name_of(names, id), digits) << size << " bytes";
  }
}

TEST(Pseudonym, IsTheSameForTheSameIdAndAnotherForAnother) {
  const pseudonymiser names{secret, "subject", "P"};
  EXPECT_EQ(name_of(names, "ana"), name_of(names, "ana"));
  EXPECT_NE(name_of(names, "ana"), name_of(names, "anb"));
}

TEST(Pseudonym, DiffersBetweenPurposesKindsAndSecrets) {
  const std::string one = name_of({secret, "subject", "P"}, "ana");
  EXPECT_NE(one, name_of({secret, "subject", "Q"}, "ana"));
  EXPECT_NE(one, name_of({secret, "event", "P"}, "ana"));
  EXPECT_NE(one, name_of({std::vector<std::uint8_t>(32, 8), "subject", "P"}, "ana"));
}

TEST(Pseudonym, RefusesAShortSecret) {
  EXPECT_THROW((pseudonymiser{std::vector<std::uint8_t>(15, 7), "subject", "P"}),
               std::invalid_argument);
}

std::string band(std::int32_t age, std::int32_t years) {
  std::array<char, 16> buffer;
  return std::string(age_band(age, years, buffer));
}

TEST(AgeBand, PutsAgesIntoBands) {
  EXPECT_EQ(band(34, 10), "30-39");
  EXPECT_EQ(band(0, 10), "0-9");
  EXPECT_EQ(band(7, 1), "7");
  EXPECT_EQ(band(84, 20), "80-89");
  EXPECT_EQ(band(90, 10), "90+");
  EXPECT_EQ(band(130, 5), "90+");
}

TEST(AgeBand, SaysNothingOfWhatIsNoAge) {
  EXPECT_EQ(band(-1, 10), "");
  EXPECT_EQ(band(131, 10), "");
}

TEST(Region, NamesTheRegionOfACountryInEitherCase) {
  EXPECT_EQ(region_of("DE"), "Western Europe");
  EXPECT_EQ(region_of("pt"), "Southern Europe");
  EXPECT_EQ(region_of("NZ"), "Oceania");
}

TEST(Region, SaysNothingOfWhatIsNoCountry) {
  for (const char* code : {"", "D", "QQ", "DEU", " D", "E "})
    EXPECT_EQ(region_of(code), "") << code;
}

TEST(Coarsened, CutsDownAlsoBeforeTheEpoch) {
  EXPECT_EQ(coarsened(119'999, 60'000), 60'000);
  EXPECT_EQ(coarsened(120'000, 60'000), 120'000);
  EXPECT_EQ(coarsened(-1, 60'000), -60'000);
  EXPECT_EQ(coarsened(-60'000, 60'000), -60'000);
  EXPECT_EQ(coarsened(INT64_MIN, 60'000), INT64_MIN);
}

}  // namespace
}  // namespace sonder::anonymizer
