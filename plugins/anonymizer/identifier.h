#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace sonder::anonymizer {

/// What kind of identifier a piece of text is. Names are those of Presidio where it has one. New
/// kinds go before `count_`.
enum class identifier_type : std::uint8_t {
  email_address,
  domain_name,
  ip_address,
  username,
  iban_code,
  credit_card,
  us_ssn,
  uk_nino,
  uk_nhs,
  de_tax_id,
  fr_nir,
  es_nif,
  es_nie,
  it_fiscal_code,
  nl_bsn,
  pl_pesel,
  be_national_number,
  se_personal_number,
  fi_personal_identity_code,
  br_cpf,
  in_aadhaar,
  ca_sin,
  us_driver_license,
  date_time,
  phone_number,
  age,
  address,
  title,
  person,
  organization,
  location,
  nrp,  ///< nationality, religious or political group
  count_,
};

/// `EMAIL_ADDRESS`, `PERSON` ...: as written in `spans`.
[[nodiscard]] std::string_view name(identifier_type type) noexcept;

/// What stands in the text instead: `[EMAIL]`, `[PERSON]` ...
[[nodiscard]] std::string_view placeholder(identifier_type type) noexcept;

/// An identifier in a text: bytes [start, end), on UTF-8 boundaries if the text is UTF-8.
struct span {
  std::uint32_t start = 0;
  std::uint32_t end = 0;
  identifier_type type = identifier_type::person;
  float score = 0;  ///< 1: a checksum or an exact form; .5: a cue or a gazetteer alone

  friend bool operator==(const span&, const span&) = default;
};

}  // namespace sonder::anonymizer
