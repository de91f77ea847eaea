#pragma once

#include <array>
#include <cstdint>
#include <string_view>

/// Values made coarser, so that fewer people share none of them. Pure functions without allocation.
namespace sonder::anonymizer {

constexpr std::int32_t age_top =
    90;  ///< from here on all ages are one band, as 45 CFR 164.514(b)(2)(i)(C) has it
constexpr std::int32_t age_max = 130;

/// `30-39` for 34 and bands of ten years, `90+` from `age_top` on; empty for what is no age.
/// `buffer` holds it.
std::string_view age_band(std::int32_t age, std::int32_t band_years,
                          std::array<char, 16>& buffer) noexcept;

/// The region of the world of an ISO 3166-1 alpha-2 country (UN M49 sub-regions, joined where few
/// people live), in either case; empty for what is no country.
[[nodiscard]] std::string_view region_of(std::string_view country) noexcept;

/// The greatest multiple of `unit_ms` that is not after `time_ms`.
[[nodiscard]] std::int64_t coarsened(std::int64_t time_ms, std::int64_t unit_ms) noexcept;

}  // namespace sonder::anonymizer
