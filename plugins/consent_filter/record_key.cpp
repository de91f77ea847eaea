#include "record_key.h"

#include <utility>

#include "text/utf8.h"

namespace sonder::consent {
namespace {

using parts = std::pair<std::string_view, std::string_view>;

// An Avro string at `at`, or nothing.
std::optional<std::string_view> avro_string(std::span<const std::uint8_t> key, std::size_t& at) {
  std::uint64_t size = 0;
  for (unsigned shift = 0; shift < 35; shift += 7) {
    if (at == key.size()) return std::nullopt;
    const std::uint8_t byte = key[at++];
    size |= static_cast<std::uint64_t>(byte & 0x7FU) << shift;
    if ((byte & 0x80U) != 0) continue;
    if ((size & 1U) != 0 || size / 2 > key.size() - at) return std::nullopt;
    const std::string_view text(reinterpret_cast<const char*>(key.data()) + at, size / 2);
    at += size / 2;
    return text;
  }
  return std::nullopt;
}

std::optional<parts> avro_parts(std::span<const std::uint8_t> key) {
  // Framing is a zero byte and a schema id of four; a bare key that begins with zero has an empty
  // first part, which is none.
  std::size_t at = !key.empty() && key[0] == 0 ? 5 : 0;
  if (key.size() < at) return std::nullopt;
  const auto first = avro_string(key, at);
  if (!first) return std::nullopt;
  const auto second = avro_string(key, at);
  if (!second || at != key.size()) return std::nullopt;
  return parts{*first, *second};
}

std::optional<parts> text_parts(std::span<const std::uint8_t> key, std::string_view separator) {
  const std::string_view text(reinterpret_cast<const char*>(key.data()), key.size());
  const auto at = text.find(separator);
  // One step on, not past the separator: `a:::b` could be divided by `::` in two ways.
  if (at == std::string_view::npos || text.find(separator, at + 1) != std::string_view::npos)
    return std::nullopt;
  return parts{text.substr(0, at), text.substr(at + separator.size())};
}

bool is_part(std::string_view text) {
  return !text.empty() && text::first_malformed(text) == std::string_view::npos;
}

}  // namespace

std::optional<subject_purpose> parse_record_key(std::span<const std::uint8_t> key,
                                                const key_form& form) noexcept {
  const auto found =
      form.form == key_form::encoding::avro ? avro_parts(key) : text_parts(key, form.separator);
  if (!found || !is_part(found->first) || !is_part(found->second)) return std::nullopt;
  if (form.purpose_first) return subject_purpose{found->second, found->first};
  return subject_purpose{found->first, found->second};
}

}  // namespace sonder::consent
