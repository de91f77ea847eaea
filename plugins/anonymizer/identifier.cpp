#include "identifier.h"

#include <array>

namespace sonder::anonymizer {
namespace {

struct naming {
  std::string_view name;
  std::string_view placeholder;
};

constexpr std::array<naming, static_cast<std::size_t>(identifier_type::count_)> namings{{
    {"EMAIL_ADDRESS", "[EMAIL]"},
    {"DOMAIN_NAME", "[URL]"},
    {"IP_ADDRESS", "[IP]"},
    {"USERNAME", "[USERNAME]"},
    {"IBAN_CODE", "[IBAN]"},
    {"CREDIT_CARD", "[CARD]"},
    {"US_SSN", "[ID]"},
    {"UK_NINO", "[ID]"},
    {"UK_NHS", "[ID]"},
    {"DE_TAX_ID", "[ID]"},
    {"FR_NIR", "[ID]"},
    {"ES_NIF", "[ID]"},
    {"ES_NIE", "[ID]"},
    {"IT_FISCAL_CODE", "[ID]"},
    {"NL_BSN", "[ID]"},
    {"PL_PESEL", "[ID]"},
    {"BE_NATIONAL_NUMBER", "[ID]"},
    {"SE_PERSONAL_NUMBER", "[ID]"},
    {"FI_PERSONAL_IDENTITY_CODE", "[ID]"},
    {"BR_CPF", "[ID]"},
    {"IN_AADHAAR", "[ID]"},
    {"CA_SIN", "[ID]"},
    {"US_DRIVER_LICENSE", "[ID]"},
    {"DATE_TIME", "[DATE]"},
    {"PHONE_NUMBER", "[PHONE]"},
    {"AGE", "[AGE]"},
    {"ADDRESS", "[ADDRESS]"},
    {"TITLE", "[TITLE]"},
    {"PERSON", "[PERSON]"},
    {"ORGANIZATION", "[ORGANIZATION]"},
    {"LOCATION", "[PLACE]"},
    {"NRP", "[GROUP]"},
}};

}  // namespace

std::string_view name(identifier_type type) noexcept {
  return namings[static_cast<std::size_t>(type)].name;
}

std::string_view placeholder(identifier_type type) noexcept {
  return namings[static_cast<std::size_t>(type)].placeholder;
}

}  // namespace sonder::anonymizer
