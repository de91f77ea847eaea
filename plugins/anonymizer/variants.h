#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sonder::anonymizer {

/// Variants are characters that people see as ASCII, or do not see, and that rules would stumble
/// over:
///   width and small forms  ＠ ．ｃｏｍ      the ASCII that they stand for
///   digits of any script   ٣ ३ 𝟑         0 to 9
///   spaces but line breaks  NBSP, U+202F   a space
///   hyphens                U+2010, U+2011  -
///   dashes, dots, slashes  536–90, 4·1, 3⁄4  - . / beside digits; as they are elsewhere
///   invisible characters   U+200B, SHY     nothing, as the keycap's frame behind a digit
/// TAB and runs of spaces are ASCII already, which the rules read themselves.

/// Whether `text` holds one. ASCII is stepped over, so that a text of nothing else pays for no
/// more.
[[nodiscard]] bool has_variants(std::string_view text) noexcept;

/// `text` in `plain` with its variants as what is read for them and all else as it is; in `origins`
/// for each byte of `plain`, and for its end, where in `text` it came from. Both are overwritten
/// and grow only with the longest text. Linear; `plain` is never longer than `text`. Any bytes are
/// taken.
void without_variants(std::string_view text, std::string& plain,
                      std::vector<std::uint32_t>& origins);

/// Where in `text` that ends which ends at `end > 0` in its plain form. Takes along what draws on
/// its last character (variation selector, keycap), and leaves other invisible characters outside.
[[nodiscard]] std::uint32_t end_in(std::string_view text, const std::vector<std::uint32_t>& origins,
                                   std::uint32_t end) noexcept;

}  // namespace sonder::anonymizer
