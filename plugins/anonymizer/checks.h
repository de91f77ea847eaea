#pragma once

#include <string_view>

/// The check digits and rules of identifiers that have them. Pure functions; each takes the
/// identifier without its separators (digits and upper-case letters only) and never allocates. Any
/// other input is simply not valid.
namespace sonder::anonymizer {

[[nodiscard]] bool luhn_valid(std::string_view digits) noexcept;  ///< ISO/IEC 7812-1
[[nodiscard]] bool card_valid(
    std::string_view digits) noexcept;  ///< Luhn, 12-19 digits, an issuer's range
[[nodiscard]] bool iban_valid(
    std::string_view iban) noexcept;  ///< ISO 13616: mod 97 and the country's length
[[nodiscard]] bool us_ssn_valid(
    std::string_view digits) noexcept;  ///< 20 CFR 422.103 areas: not 000, 666, 9xx
[[nodiscard]] bool uk_nino_valid(
    std::string_view text) noexcept;  ///< prefix and suffix rules of HMRC's NIM39110
[[nodiscard]] bool uk_nhs_valid(std::string_view digits) noexcept;  ///< mod 11
[[nodiscard]] bool de_tax_id_valid(
    std::string_view digits) noexcept;  ///< ISO 7064 mod 11,10 and one repeated digit
[[nodiscard]] bool fr_nir_valid(std::string_view text) noexcept;  ///< mod 97, Corsica as 2A and 2B
[[nodiscard]] bool es_nif_valid(std::string_view text) noexcept;  ///< DNI letter
[[nodiscard]] bool es_nie_valid(std::string_view text) noexcept;  ///< X, Y, Z and the DNI letter
[[nodiscard]] bool it_fiscal_code_valid(std::string_view text) noexcept;
[[nodiscard]] bool nl_bsn_valid(std::string_view digits) noexcept;  ///< 11-test
[[nodiscard]] bool pl_pesel_valid(
    std::string_view digits) noexcept;  ///< weights and a date that exists
[[nodiscard]] bool be_national_number_valid(
    std::string_view digits) noexcept;  ///< mod 97, before and after 2000
[[nodiscard]] bool se_personal_number_valid(
    std::string_view digits) noexcept;  ///< Luhn and a date that exists
[[nodiscard]] bool fi_personal_identity_code_valid(
    std::string_view text) noexcept;  ///< ddmmyy, 3 digits, check; no sign
[[nodiscard]] bool br_cpf_valid(std::string_view digits) noexcept;
[[nodiscard]] bool in_aadhaar_valid(std::string_view digits) noexcept;  ///< Verhoeff
[[nodiscard]] bool ca_sin_valid(
    std::string_view digits) noexcept;  ///< Luhn, 9 digits, not 0 or 8 first

/// A day that exists in some year; `month` and `day` from 1.
[[nodiscard]] bool day_exists(int month, int day) noexcept;

}  // namespace sonder::anonymizer
