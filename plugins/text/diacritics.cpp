#include "diacritics.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <iterator>

#include "characters.h"
#include "utf8.h"

namespace sonder::text {
namespace {

// Latin, Greek and Cyrillic with all their letters that decompose stand below.
constexpr char32_t decomposed_below = 0x2000;
constexpr std::size_t decomposition_max = 4;  // of one letter, Unicode 15

struct spelling {
  char32_t letter;
  std::string_view plain;
};

// Letters that Unicode gives no decomposition, as they are written where a keyboard lacks them, and
// the final sigma. Lower case, sorted.
constexpr spelling spellings[] = {{U'ß', "ss"}, {U'æ', "ae"}, {U'ð', "d"}, {U'ø', "o"},
                                  {U'þ', "th"}, {U'đ', "d"},  {U'ı', "i"}, {U'ł', "l"},
                                  {U'œ', "oe"}, {U'ς', "σ"}};

constexpr bool is_diacritic(char32_t value) {
  return value >= 0x300 && value < 0x370;
}

// The first `size` of 1 to 8 bytes as a machine word, zeros above them.
std::uint64_t load_up_to_8(const char* bytes, std::size_t size) {
  static_assert(std::endian::native == std::endian::little);
  const auto load_4 = [](const char* from) {
    std::uint32_t four = 0;
    std::memcpy(&four, from, 4);
    return std::uint64_t{four};
  };
  const auto load_1 = [&](std::size_t at) {
    return std::uint64_t{static_cast<unsigned char>(bytes[at])} << 8 * at;
  };
  if (size >= 8) {
    std::uint64_t eight = 0;
    std::memcpy(&eight, bytes, 8);
    return eight;
  }
  if (size >= 4) return load_4(bytes) | load_4(bytes + size - 4) << 8 * (size - 4);
  return load_1(0) | load_1(size / 2) | load_1(size - 1);
}

// Each byte of A to Z as a to z; right for the bytes of ASCII.
constexpr std::uint64_t ascii_lower(std::uint64_t eight) {
  constexpr std::uint64_t each = 0x0101010101010101ULL;
  const std::uint64_t low = eight & 0x7F * each;
  const std::uint64_t from_a = low + (0x80 - 'A') * each;
  const std::uint64_t past_z = low + (0x80 - 'Z' - 1) * each;
  return eight | (from_a & ~past_z & 0x80 * each) >> 2U;
}

class bounded_writer {
 public:
  bounded_writer(char* to, std::size_t room) : to_(to), room_(room) {}

  bool put(char byte) {
    if (size_ == room_) return false;
    to_[size_++] = byte;
    return true;
  }
  // Puts the ASCII that `text` begins with, as much as has room, folded; answers how many bytes.
  // Whole machine words: who hashes the word next would wait for single bytes to reach the cache.
  std::size_t put_ascii(std::string_view text) {
    std::size_t at = 0;
    while (at < text.size() && room_ - size_ >= 8) {
      const std::size_t left = std::min<std::size_t>(text.size() - at, 8);
      const std::uint64_t eight = load_up_to_8(text.data() + at, left);
      const std::uint64_t lower = ascii_lower(eight);
      std::memcpy(to_ + size_, &lower, 8);
      const std::uint64_t high = eight & 0x8080808080808080ULL;
      const std::size_t plain =
          high == 0 ? left : static_cast<std::size_t>(std::countr_zero(high)) / 8;
      size_ += plain;
      at += plain;
      if (high != 0) return at;
    }
    while (at < text.size() && is_ascii(text[at]) && put(ascii::to_lower(text[at]))) ++at;
    return at;
  }
  bool put(std::string_view bytes) {
    if (room_ - size_ < bytes.size()) return false;
    for (const char byte : bytes) to_[size_++] = byte;
    return true;
  }
  bool put(char32_t value) {
    if (value < 0x80) return put(char(value));
    utf8proc_uint8_t bytes[utf8_bytes_max];
    const auto size = utf8proc_encode_char(utf8proc_int32_t(value), bytes);
    return put({reinterpret_cast<const char*>(bytes), std::size_t(size)});
  }
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  char* to_;
  std::size_t room_;
  std::size_t size_ = 0;
};

// `value` is folded and not ASCII.
bool put_plain(char32_t value, bounded_writer& out) {
  if (is_diacritic(value) || is_invisible(value)) return true;
  if (value >= decomposed_below) return out.put(value);
  const auto* spelt = std::lower_bound(std::begin(spellings), std::end(spellings), value,
                                       [](const spelling& s, char32_t v) { return s.letter < v; });
  if (spelt != std::end(spellings) && spelt->letter == value) return out.put(spelt->plain);
  std::array<utf8proc_int32_t, decomposition_max> parts;
  int boundary = 0;
  const auto count = utf8proc_decompose_char(utf8proc_int32_t(value), parts.data(), parts.size(),
                                             UTF8PROC_DECOMPOSE, &boundary);
  if (count < 1 || count > utf8proc_ssize_t(parts.size())) return out.put(value);
  for (utf8proc_ssize_t i = 0; i < count; ++i) {
    const auto part = char32_t(parts[std::size_t(i)]);
    if (is_diacritic(part)) continue;
    // A letter of its own may carry a mark: "ǿ" is "ø" with an accent.
    if (part != value && part >= 0x80 ? !put_plain(part, out) : !out.put(part)) return false;
  }
  return true;
}

/// What every character before `decomposed_below` folds to, so that a text pays for no search.
class plain_forms {
 public:
  static constexpr std::uint8_t too_long = 0xFF;
  struct form {
    char bytes[3];
    std::uint8_t size;  // or too_long
  };

  plain_forms() noexcept {
    for (char32_t value = 0x80; value < decomposed_below; ++value) {
      form& made = forms_[value];
      bounded_writer out(made.bytes, sizeof made.bytes);
      const char32_t folded = fold(value);
      const bool fits = folded < 0x80 ? out.put(char(folded)) : put_plain(folded, out);
      made.size = fits ? std::uint8_t(out.size()) : too_long;
    }
  }
  [[nodiscard]] const form& of(char32_t value) const { return forms_[value]; }

 private:
  std::array<form, decomposed_below> forms_{};
};

// `value` is not ASCII.
bool put_folded(char32_t value, bounded_writer& out) {
  static const plain_forms forms;
  if (value < decomposed_below) {
    if (const auto& form = forms.of(value); form.size != plain_forms::too_long)
      return out.put({form.bytes, form.size});
  }
  const char32_t folded = fold(value);
  return folded < 0x80 ? out.put(char(folded)) : put_plain(folded, out);
}

}  // namespace

std::size_t fold_diacritics(std::string_view text, char* to, std::size_t room) noexcept {
  bounded_writer out(to, room);
  for (std::size_t at = 0; at < text.size();) {
    if (const std::size_t plain = out.put_ascii(text.substr(at)); plain != 0) {
      at += plain;
      continue;
    }
    if (is_ascii(text[at])) return 0;
    const code_point point = decode(text, at);
    if (!put_folded(point.value, out)) return 0;
    at += point.bytes;
  }
  return out.size();
}

}  // namespace sonder::text
