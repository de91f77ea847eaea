#pragma once

#include <span>
#include <string_view>

namespace sonder::cli {

/// Short journal entries of this project's own, with slots in braces: `{person} {place} {email}
/// {phone} {card} {iban} {ssn} {dob} {url} {handle} {ip} {age}`.
[[nodiscard]] std::span<const std::string_view> journal_templates();
[[nodiscard]] std::span<const std::string_view> given_names();
[[nodiscard]] std::span<const std::string_view> family_names();
[[nodiscard]] std::span<const std::string_view> place_names();

}  // namespace sonder::cli
