#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sonder::anonymizer {

/// Whether `text` holds full-width or small forms of ASCII: "＠", "．", "ｃｏｍ".
[[nodiscard]] bool has_wide_forms(std::string_view text) noexcept;

/// `text` in `narrow` with those forms as the ASCII that they stand for and all else as it is; in
/// `origins` for each byte of `narrow`, and for its end, where in `text` it came from. Both are
/// overwritten. Linear; `narrow` is never longer than `text`.
void narrow_forms(std::string_view text, std::string& narrow, std::vector<std::uint32_t>& origins);

}  // namespace sonder::anonymizer
