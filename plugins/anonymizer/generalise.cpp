#include "generalise.h"

#include <algorithm>
#include <charconv>
#include <limits>

#include "text/characters.h"

namespace sonder::anonymizer {
namespace {

struct region {
  std::string_view name;
  std::string_view countries;
};

constexpr region regions[] = {
    {"Northern Europe", "AX DK EE FI FO GB GG IE IM IS JE LT LV NO SE SJ"},
    {"Western Europe", "AT BE CH DE FR LI LU MC NL"},
    {"Southern Europe", "AD AL BA ES GI GR HR IT ME MK MT PT RS SI SM VA XK"},
    {"Eastern Europe", "BG BY CZ HU MD PL RO RU SK UA"},
    {"Northern America", "BM CA GL PM US"},
    {"Latin America and the Caribbean",
     "AG AI AR AW BB BL BO BQ BR BS BV BZ CL CO CR CU CW DM DO EC FK GD GF GP GS GT GY HN HT JM KN "
     "KY LC MF MQ MS MX NI PA PE PR PY "
     "SR SV SX TC TT UY VC VE VG VI"},
    {"Northern Africa", "DZ EG EH LY MA SD TN"},
    {"Sub-Saharan Africa",
     "AO BF BI BJ BW CD CF CG CI CM CV DJ ER ET GA GH GM GN GQ GW IO KE KM LR LS MG ML MR MU MW MZ "
     "NA NE NG RE RW SC SH SL SN SO SS ST "
     "SZ TD TF TG TZ UG YT ZA ZM ZW"},
    {"Western Asia", "AE AM AZ BH CY GE IL IQ JO KW LB OM PS QA SA SY TR YE"},
    {"Central and Southern Asia", "AF BD BT IN IR KG KZ LK MV NP PK TJ TM UZ"},
    {"Eastern Asia", "CN HK JP KP KR MN MO TW"},
    {"South-eastern Asia", "BN ID KH LA MM MY PH SG TH TL VN"},
    {"Oceania",
     "AS AU CC CK CX FJ FM GU HM KI MH MP NC NF NR NU NZ PF PG PN PW SB TK TO TV UM VU WF WS"},
};

}  // namespace

std::string_view age_band(std::int32_t age, std::int32_t band_years,
                          std::array<char, 16>& buffer) noexcept {
  if (age < 0 || age > age_max || band_years < 1) return {};
  if (age >= age_top) return "90+";
  const std::int32_t first = age / band_years * band_years;
  const std::int32_t last = std::min(first + band_years, age_top) - 1;
  char* const end = buffer.data() + buffer.size();
  char* at = std::to_chars(buffer.data(), end, first).ptr;
  if (last > first) {
    *at++ = '-';
    at = std::to_chars(at, end, last).ptr;
  }
  return {buffer.data(), static_cast<std::size_t>(at - buffer.data())};
}

std::string_view region_of(std::string_view country) noexcept {
  if (country.size() != 2) return {};
  const char code[] = {text::ascii::to_upper(country[0]), text::ascii::to_upper(country[1])};
  for (const auto& each : regions) {
    for (std::size_t at = 0; at < each.countries.size(); at += 3) {
      if (each.countries[at] == code[0] && each.countries[at + 1] == code[1]) return each.name;
    }
  }
  return {};
}

std::int64_t coarsened(std::int64_t time_ms, std::int64_t unit_ms) noexcept {
  const std::int64_t past = time_ms % unit_ms;
  if (past >= 0) return time_ms - past;
  return time_ms < std::numeric_limits<std::int64_t>::min() + unit_ms
             ? std::numeric_limits<std::int64_t>::min()
             : time_ms - past - unit_ms;
}

}  // namespace sonder::anonymizer
