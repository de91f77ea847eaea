#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace sonder {

/// Days since 1970-01-01 of `2026-11-21`; nothing where the text is no date.
[[nodiscard]] std::optional<std::int32_t> parse_date(std::string_view text) noexcept;

/// Microseconds since the Unix epoch of an RFC 3339 time (`2026-11-21T12:30:00.5Z`, `...+01:00`, a
/// space for the T). Fractions beyond microseconds are cut. With `local`, the offset must be
/// absent, else it must be there.
[[nodiscard]] std::optional<std::int64_t> parse_rfc3339_us(std::string_view text,
                                                           bool local = false) noexcept;

}  // namespace sonder
