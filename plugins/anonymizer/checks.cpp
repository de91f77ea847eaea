#include "checks.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "text/characters.h"

namespace sonder::anonymizer {
namespace {

namespace ascii = text::ascii;

constexpr bool is_digit(char c) {
  return ascii::is(c, ascii::digit);
}
constexpr bool is_upper(char c) {
  return ascii::is(c, ascii::upper);
}
constexpr int value_of(char digit) {
  return digit - '0';
}

bool all_digits(std::string_view text, std::size_t size) {
  if (text.size() != size) return false;
  for (const char c : text) {
    if (!is_digit(c)) return false;
  }
  return true;
}

bool all_equal(std::string_view text) {
  return text.find_first_not_of(text.front()) == std::string_view::npos;
}

int two_digits(std::string_view text, std::size_t at) {
  return value_of(text[at]) * 10 + value_of(text[at + 1]);
}

int number_mod(std::string_view digits, int modulus) {
  int rest = 0;
  for (const char c : digits) rest = (rest * 10 + value_of(c)) % modulus;
  return rest;
}

int weighted_sum(std::string_view digits, std::span<const int> weights) {
  int sum = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) sum += value_of(digits[i]) * weights[i];
  return sum;
}

struct iban_length {
  std::string_view country;
  std::size_t size;
};

// SWIFT IBAN registry, release 99.
constexpr iban_length iban_lengths[] = {
    {"AD", 24}, {"AE", 23}, {"AL", 28}, {"AT", 20}, {"AZ", 28}, {"BA", 20}, {"BE", 16}, {"BG", 22},
    {"BH", 22}, {"BI", 27}, {"BR", 29}, {"BY", 28}, {"CH", 21}, {"CR", 22}, {"CY", 28}, {"CZ", 24},
    {"DE", 22}, {"DJ", 27}, {"DK", 18}, {"DO", 28}, {"EE", 20}, {"EG", 29}, {"ES", 24}, {"FI", 18},
    {"FK", 18}, {"FO", 18}, {"FR", 27}, {"GB", 22}, {"GE", 22}, {"GI", 23}, {"GL", 18}, {"GR", 27},
    {"GT", 28}, {"HN", 28}, {"HR", 21}, {"HU", 28}, {"IE", 22}, {"IL", 23}, {"IQ", 23}, {"IS", 26},
    {"IT", 27}, {"JO", 30}, {"KW", 30}, {"KZ", 20}, {"LB", 28}, {"LC", 32}, {"LI", 21}, {"LT", 20},
    {"LU", 20}, {"LV", 21}, {"LY", 25}, {"MC", 27}, {"MD", 24}, {"ME", 22}, {"MK", 19}, {"MN", 20},
    {"MR", 27}, {"MT", 31}, {"MU", 30}, {"NI", 28}, {"NL", 18}, {"NO", 15}, {"OM", 23}, {"PK", 24},
    {"PL", 28}, {"PS", 29}, {"PT", 25}, {"QA", 29}, {"RO", 24}, {"RS", 22}, {"RU", 33}, {"SA", 24},
    {"SC", 31}, {"SD", 18}, {"SE", 24}, {"SI", 19}, {"SK", 24}, {"SM", 27}, {"SO", 23}, {"ST", 25},
    {"SV", 28}, {"TL", 23}, {"TN", 24}, {"TR", 26}, {"UA", 29}, {"VA", 22}, {"VG", 24}, {"XK", 20},
    {"YE", 30},
};

constexpr std::string_view dni_letters = "TRWAGMYFPDXBNJZSQVHLCKE";

}  // namespace

bool day_exists(int month, int day) noexcept {
  constexpr int days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  return month >= 1 && month <= 12 && day >= 1 && day <= days[month - 1];
}

bool luhn_valid(std::string_view digits) noexcept {
  int sum = 0;
  bool doubled = false;
  for (std::size_t i = digits.size(); i-- > 0; doubled = !doubled) {
    if (!is_digit(digits[i])) return false;
    int value = value_of(digits[i]);
    if (doubled) value = value > 4 ? 2 * value - 9 : 2 * value;
    sum += value;
  }
  return digits.size() > 1 && sum % 10 == 0;
}

bool card_valid(std::string_view digits) noexcept {
  if (digits.size() < 12 || digits.size() > 19 || !luhn_valid(digits) || all_equal(digits))
    return false;
  // Issuer ranges of ISO/IEC 7812 in use by card schemes; 1800 and 2131 are JCB's of 15 digits.
  const char first = digits[0];
  if (first == '1') return digits.starts_with("1800") && digits.size() == 15;
  if (first == '2') {
    if (digits.starts_with("2131")) return digits.size() == 15;
    const int start = two_digits(digits, 0) * 100 + two_digits(digits, 2);
    return start >= 2200 && start <= 2720 && digits.size() == 16;
  }
  return first >= '3' && first <= '6';
}

bool iban_valid(std::string_view iban) noexcept {
  if (iban.size() < 15 || !is_upper(iban[0]) || !is_upper(iban[1]) || !is_digit(iban[2]) ||
      !is_digit(iban[3])) {
    return false;
  }
  bool length_fits = false;
  for (const auto& known : iban_lengths) {
    length_fits |= known.country == iban.substr(0, 2) && known.size == iban.size();
  }
  if (!length_fits) return false;
  int rest = 0;
  for (std::size_t i = 0; i < iban.size(); ++i) {
    const char c = iban[(i + 4) % iban.size()];
    if (is_digit(c)) {
      rest = (rest * 10 + value_of(c)) % 97;
    } else if (is_upper(c)) {
      rest = (rest * 100 + (c - 'A' + 10)) % 97;
    } else {
      return false;
    }
  }
  return rest == 1;
}

bool us_ssn_valid(std::string_view digits) noexcept {
  if (!all_digits(digits, 9)) return false;
  const std::string_view area = digits.substr(0, 3);
  return area != "000" && area != "666" && area[0] != '9' && digits.substr(3, 2) != "00" &&
         digits.substr(5) != "0000";
}

bool uk_nino_valid(std::string_view text) noexcept {
  if (text.size() != 9 || !is_upper(text[0]) || !is_upper(text[1]) ||
      !all_digits(text.substr(2, 6), 6))
    return false;
  const std::string_view prefix = text.substr(0, 2);
  constexpr std::string_view never_first = "DFIQUV", never_second = "DFIQUVO";
  for (const std::string_view unused : {"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"}) {
    if (prefix == unused) return false;
  }
  return never_first.find(text[0]) == std::string_view::npos &&
         never_second.find(text[1]) == std::string_view::npos && text[8] >= 'A' && text[8] <= 'D';
}

bool uk_nhs_valid(std::string_view digits) noexcept {
  if (!all_digits(digits, 10) || all_equal(digits)) return false;
  constexpr int weights[] = {10, 9, 8, 7, 6, 5, 4, 3, 2};
  const int check = (11 - weighted_sum(digits, weights) % 11) % 11;
  return check != 10 && check == value_of(digits[9]);
}

bool de_tax_id_valid(std::string_view digits) noexcept {
  if (!all_digits(digits, 11) || digits[0] == '0') return false;
  // Of the first ten digits exactly one comes twice or three times (BZSt, since 2016).
  std::array<int, 10> counts{};
  for (std::size_t i = 0; i < 10; ++i) ++counts[static_cast<std::size_t>(value_of(digits[i]))];
  int repeated = 0;
  for (const int count : counts) {
    if (count > 3) return false;
    repeated += count > 1;
  }
  if (repeated != 1) return false;
  int product = 10;
  for (std::size_t i = 0; i < 10; ++i) {
    int sum = (value_of(digits[i]) + product) % 10;
    if (sum == 0) sum = 10;
    product = sum * 2 % 11;
  }
  return (11 - product) % 10 == value_of(digits[10]);
}

bool fr_nir_valid(std::string_view text) noexcept {
  if (text.size() != 15 || text[0] == '0' || text[0] == '9') return false;
  std::int64_t number = 0;
  std::int64_t corsica = 0;
  for (std::size_t i = 0; i < 13; ++i) {
    char c = text[i];
    if (i == 6 && text[5] == '2' && (c == 'A' || c == 'B')) {
      corsica = c == 'A' ? 1'000'000 : 2'000'000;
      c = '0';
    }
    if (!is_digit(c)) return false;
    number = number * 10 + value_of(c);
  }
  if (!all_digits(text.substr(13), 2)) return false;
  // Months 13-99 but for 20-42 and 50-99 are not given out: the month is unknown there.
  const int month = two_digits(text, 3);
  const bool month_known =
      (month >= 1 && month <= 12) || (month >= 20 && month <= 42) || month >= 50;
  return month_known && 97 - (number - corsica) % 97 == two_digits(text, 13);
}

bool es_nif_valid(std::string_view text) noexcept {
  return text.size() == 9 && all_digits(text.substr(0, 8), 8) &&
         dni_letters[static_cast<std::size_t>(number_mod(text.substr(0, 8), 23))] == text[8];
}

bool es_nie_valid(std::string_view text) noexcept {
  if (text.size() != 9 || text[0] < 'X' || text[0] > 'Z' || !all_digits(text.substr(1, 7), 7))
    return false;
  const int number = (text[0] - 'X') * 10'000'000;
  const int rest = (number % 23 + number_mod(text.substr(1, 7), 23)) % 23;
  return dni_letters[static_cast<std::size_t>(rest)] == text[8];
}

bool it_fiscal_code_valid(std::string_view text) noexcept {
  if (text.size() != 16) return false;
  // Values of odd places (counted from 1) of the decree of 23 December 1976; digits count as A to
  // J.
  constexpr int odd[] = {1,  0,  5, 7, 9, 13, 15, 17, 19, 21, 2,  4,  18,
                         20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23};
  constexpr std::string_view months = "ABCDEHLMPRST";
  for (std::size_t i = 0; i < 6; ++i) {
    if (!is_upper(text[i])) return false;
  }
  if (months.find(text[8]) == std::string_view::npos || !is_upper(text[11]) || !is_upper(text[15]))
    return false;
  int sum = 0;
  for (std::size_t i = 0; i < 15; ++i) {
    const char c = text[i];
    if (!is_digit(c) && !is_upper(c)) return false;
    const int value = is_digit(c) ? value_of(c) : c - 'A';
    sum += i % 2 == 0 ? odd[value] : value;
  }
  return sum % 26 == text[15] - 'A';
}

bool nl_bsn_valid(std::string_view digits) noexcept {
  constexpr int weights[] = {9, 8, 7, 6, 5, 4, 3, 2, -1};
  return all_digits(digits, 9) && !all_equal(digits) && weighted_sum(digits, weights) % 11 == 0;
}

bool pl_pesel_valid(std::string_view digits) noexcept {
  constexpr int weights[] = {1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1};
  if (!all_digits(digits, 11)) return false;
  // The century is added to the month in steps of 20.
  return day_exists(two_digits(digits, 2) % 20, two_digits(digits, 4)) &&
         weighted_sum(digits, weights) % 10 == 0;
}

bool be_national_number_valid(std::string_view digits) noexcept {
  if (!all_digits(digits, 11)) return false;
  const int month = two_digits(digits, 2) % 20;
  if (month > 12 || two_digits(digits, 4) > 31) return false;
  const std::int64_t before_2000 = number_mod(digits.substr(0, 9), 97);
  const std::int64_t after_2000 = (2'000'000'000 +
                                   [&] {
                                     std::int64_t number = 0;
                                     for (const char c : digits.substr(0, 9))
                                       number = number * 10 + value_of(c);
                                     return number;
                                   }()) %
                                  97;
  const int check = two_digits(digits, 9);
  return 97 - before_2000 == check || 97 - after_2000 == check;
}

bool se_personal_number_valid(std::string_view digits) noexcept {
  if (!all_digits(digits, 10) || !luhn_valid(digits)) return false;
  const int day = two_digits(digits, 4);  // 60 is added in coordination numbers
  return day_exists(two_digits(digits, 2), day > 60 ? day - 60 : day);
}

bool fi_personal_identity_code_valid(std::string_view text) noexcept {
  constexpr std::string_view checks = "0123456789ABCDEFHJKLMNPRSTUVWXY";
  if (text.size() != 10 || !all_digits(text.substr(0, 9), 9)) return false;
  return day_exists(two_digits(text, 2), two_digits(text, 0)) &&
         checks[static_cast<std::size_t>(number_mod(text.substr(0, 9), 31))] == text[9];
}

bool br_cpf_valid(std::string_view digits) noexcept {
  if (!all_digits(digits, 11) || all_equal(digits)) return false;
  for (int place = 9; place <= 10; ++place) {
    int sum = 0;
    for (int i = 0; i < place; ++i)
      sum += value_of(digits[static_cast<std::size_t>(i)]) * (place + 1 - i);
    if (sum * 10 % 11 % 10 != value_of(digits[static_cast<std::size_t>(place)])) return false;
  }
  return true;
}

bool in_aadhaar_valid(std::string_view digits) noexcept {
  constexpr int permute[8][10] = {{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, {1, 5, 7, 6, 2, 8, 3, 0, 9, 4},
                                  {5, 8, 0, 3, 7, 9, 6, 1, 4, 2}, {8, 9, 1, 6, 0, 4, 3, 5, 2, 7},
                                  {9, 4, 5, 3, 1, 2, 6, 8, 7, 0}, {4, 2, 8, 6, 5, 7, 3, 9, 0, 1},
                                  {2, 7, 9, 3, 8, 0, 6, 4, 1, 5}, {7, 0, 4, 6, 9, 1, 3, 2, 5, 8}};
  if (!all_digits(digits, 12) || digits[0] < '2') return false;
  // Verhoeff's check is a product in the dihedral group of order 10.
  int product = 0;
  for (std::size_t i = 0; i < 12; ++i) {
    const int b = permute[i % 8][value_of(digits[11 - i])];
    const int a = product;
    if (a < 5) {
      product = b < 5 ? (a + b) % 5 : 5 + (a + b) % 5;
    } else {
      product = b < 5 ? 5 + (a - b + 5) % 5 : (a - b + 5) % 5;
    }
  }
  return product == 0;
}

bool ca_sin_valid(std::string_view digits) noexcept {
  return all_digits(digits, 9) && digits[0] != '0' && digits[0] != '8' && luhn_valid(digits);
}

}  // namespace sonder::anonymizer
