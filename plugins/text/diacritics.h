#pragma once

#include <cstddef>
#include <string_view>

namespace sonder::text {

/// Folds a word to the form under which lists of names and places keep it: as `fold`, and without
/// diacritics, marks and invisible characters ("Zoë" -> "zoe", "Straße" -> "strasse", "Łódź" ->
/// "lodz"). Latin, Greek and Cyrillic letters lose their marks; of other scripts vowels are marks,
/// and nothing is taken away. What is folded stays the same when folded again.
///
/// Writes UTF-8 and answers how many bytes, or 0 if `room` does not suffice; what is in `room`
/// behind them is overwritten too. Thread-safe, allocates nothing; any bytes are accepted,
/// malformed ones stand as U+FFFD.
[[nodiscard]] std::size_t fold_diacritics(std::string_view text, char* to,
                                          std::size_t room) noexcept;

}  // namespace sonder::text
