#include "avro/json_time.h"

namespace sonder {

namespace {

/// Takes exactly `digits` digits off the front.
bool take_number(std::string_view& text, std::size_t digits, std::int64_t& to) {
  if (text.size() < digits) return false;
  to = 0;
  for (std::size_t i = 0; i < digits; ++i) {
    if (text[i] < '0' || text[i] > '9') return false;
    to = to * 10 + (text[i] - '0');
  }
  text.remove_prefix(digits);
  return true;
}

bool take(std::string_view& text, char c) {
  if (text.empty() || text[0] != c) return false;
  text.remove_prefix(1);
  return true;
}

std::int64_t days_in(std::int64_t year, std::int64_t month) {
  constexpr std::int64_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
  return days[month - 1] + (month == 2 && leap ? 1 : 0);
}

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar; years begin in March here,
/// so that the leap day is last.
std::int64_t days_from_civil(std::int64_t year, std::int64_t month, std::int64_t day) {
  year -= month <= 2;
  const std::int64_t era = (year >= 0 ? year : year - 399) / 400;
  const std::int64_t year_of_era = year - era * 400;
  const std::int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  const std::int64_t day_of_era =
      year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146097 + day_of_era - 719468;
}

bool take_date(std::string_view& text, std::int64_t& days) {
  std::int64_t year, month, day;
  if (!take_number(text, 4, year) || !take(text, '-') || !take_number(text, 2, month) ||
      !take(text, '-') || !take_number(text, 2, day)) {
    return false;
  }
  if (month < 1 || month > 12 || day < 1 || day > days_in(year, month)) return false;
  days = days_from_civil(year, month, day);
  return true;
}

bool take_fraction(std::string_view& text, std::int64_t& us) {
  us = 0;
  if (!take(text, '.')) return true;
  std::int64_t unit = 100'000;
  std::size_t digits = 0;
  for (; !text.empty() && text[0] >= '0' && text[0] <= '9';
       ++digits, unit /= 10, text.remove_prefix(1)) {
    us += (text[0] - '0') * unit;
  }
  return digits > 0;
}

bool take_offset(std::string_view& text, std::int64_t& minutes) {
  minutes = 0;
  if (take(text, 'Z') || take(text, 'z')) return true;
  const bool west = !text.empty() && text[0] == '-';
  if (!take(text, '+') && !take(text, '-')) return false;
  std::int64_t hour, minute;
  if (!take_number(text, 2, hour) || !take(text, ':') || !take_number(text, 2, minute))
    return false;
  if (hour > 23 || minute > 59) return false;
  minutes = (west ? -1 : 1) * (hour * 60 + minute);
  return true;
}

}  // namespace

std::optional<std::int32_t> parse_date(std::string_view text) noexcept {
  std::int64_t days;
  if (!take_date(text, days) || !text.empty()) return std::nullopt;
  return static_cast<std::int32_t>(days);
}

std::optional<std::int64_t> parse_rfc3339_us(std::string_view text, bool local) noexcept {
  std::int64_t days, hour, minute, second, us;
  if (!take_date(text, days)) return std::nullopt;
  if (!take(text, 'T') && !take(text, 't') && !take(text, ' ')) return std::nullopt;
  if (!take_number(text, 2, hour) || !take(text, ':') || !take_number(text, 2, minute) ||
      !take(text, ':') || !take_number(text, 2, second) || !take_fraction(text, us)) {
    return std::nullopt;
  }
  if (hour > 23 || minute > 59 || second > 60)
    return std::nullopt;  // 60: a leap second counts as the next one
  std::int64_t offset = 0;
  if (!local && !take_offset(text, offset)) return std::nullopt;
  if (!text.empty()) return std::nullopt;
  return ((days * 24 + hour) * 60 + minute - offset) * 60'000'000 + second * 1'000'000 + us;
}

}  // namespace sonder
