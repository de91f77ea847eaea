#include "utf8.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "vector_bytes.h"

namespace sonder::text {
namespace {

constexpr bool is_continuation(unsigned char byte) {
  return (byte & 0xC0U) == 0x80U;
}

constexpr code_point malformed{replacement, 1};

}  // namespace

code_point decode(std::string_view text, std::size_t at) noexcept {
  const auto* bytes = reinterpret_cast<const unsigned char*>(text.data()) + at;
  const std::size_t left = text.size() - at;
  const unsigned char lead = bytes[0];
  if (lead < 0x80) return {lead, 1};
  // 80..C1 never lead; F5..FF never appear.
  if (lead < 0xC2 || lead > 0xF4 || left < 2 || !is_continuation(bytes[1])) return malformed;
  if (lead < 0xE0) return {char32_t((lead & 0x1FU) << 6U | (bytes[1] & 0x3FU)), 2};
  if (left < 3 || !is_continuation(bytes[2])) return malformed;
  if (lead < 0xF0) {
    const auto value =
        char32_t((lead & 0x0FU) << 12U | (bytes[1] & 0x3FU) << 6U | (bytes[2] & 0x3FU));
    const bool surrogate = value >= 0xD800 && value <= 0xDFFF;
    return value < 0x800 || surrogate ? malformed : code_point{value, 3};
  }
  if (left < 4 || !is_continuation(bytes[3])) return malformed;
  const auto value = char32_t((lead & 0x07U) << 18U | (bytes[1] & 0x3FU) << 12U |
                              (bytes[2] & 0x3FU) << 6U | (bytes[3] & 0x3FU));
  return value < 0x10000 || value > 0x10FFFF ? malformed : code_point{value, 4};
}

void append_utf8(std::string& out, char32_t value) {
  if (value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) value = replacement;
  if (value < 0x80) {
    out.push_back(char(value));
  } else if (value < 0x800) {
    out.push_back(char(0xC0U | value >> 6U));
    out.push_back(char(0x80U | (value & 0x3FU)));
  } else if (value < 0x10000) {
    out.push_back(char(0xE0U | value >> 12U));
    out.push_back(char(0x80U | (value >> 6U & 0x3FU)));
    out.push_back(char(0x80U | (value & 0x3FU)));
  } else {
    out.push_back(char(0xF0U | value >> 18U));
    out.push_back(char(0x80U | (value >> 12U & 0x3FU)));
    out.push_back(char(0x80U | (value >> 6U & 0x3FU)));
    out.push_back(char(0x80U | (value & 0x3FU)));
  }
}

std::size_t ascii_prefix(std::string_view text) noexcept {
  std::size_t at = 0;
#ifdef __SSE2__
  for (; at + 16 <= text.size(); at += 16) {
    const auto sixteen = _mm_loadu_si128(reinterpret_cast<const __m128i*>(text.data() + at));
    if (const std::uint64_t high = bits(sixteen); high != 0)
      return at + std::size_t(std::countr_zero(high));
  }
#endif
  for (; at + 8 <= text.size(); at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, text.data() + at, 8);
    if ((word & 0x8080808080808080ULL) != 0) break;
  }
  while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0x80U) == 0) ++at;
  return at;
}

std::size_t code_points(std::string_view text) noexcept {
  return std::size_t(std::count_if(text.begin(), text.end(), [](char byte) {
    return !is_continuation(static_cast<unsigned char>(byte));
  }));
}

std::size_t first_malformed(std::string_view text) noexcept {
  std::size_t at = 0;
  while (true) {
    at += ascii_prefix(text.substr(at));
    if (at == text.size()) return std::string_view::npos;
    const code_point point = decode(text, at);
    if (point.bytes == 1) return at;
    at += point.bytes;
  }
}

}  // namespace sonder::text
