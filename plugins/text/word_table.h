#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "hash.h"
#include "large_pages.h"

namespace sonder::text {

/// Which words a table has, by a bit a hash: it says "no" for sure and "yes" perhaps. For tables
/// that few of the words that are asked for stand in: it stays in the cache nearest to a core, and
/// of the table only the lines of known words are read. Of long words it sees the beginning. A word
/// is readable `hash_padding` bytes past its end.
class word_filter {
 public:
  void add(std::string_view word) noexcept {
    const std::uint64_t hashed = hash(word.data(), word.size());
    bits_[hashed / 64] |= std::uint64_t{1} << hashed % 64;
  }
  [[nodiscard]] bool may_have(const char* word, std::size_t size) const noexcept {
    const std::uint64_t hashed = hash(word, size);
    return (bits_[hashed / 64] >> hashed % 64 & 1U) != 0;
  }

 private:
  static constexpr unsigned hash_bits = 16;  // 8 KiB; full with 10,000 words
  static constexpr std::size_t bytes_seen = 16;

  struct masks {
    std::uint64_t of[bytes_seen + 1][2];
    constexpr masks() : of{} {
      for (std::size_t size = 0; size <= bytes_seen; ++size) {
        of[size][0] = size >= 8 ? ~std::uint64_t{0} : (std::uint64_t{1} << 8 * size) - 1;
        of[size][1] = size >= 16  ? ~std::uint64_t{0}
                      : size >= 8 ? (std::uint64_t{1} << 8 * (size - 8)) - 1
                                  : 0;
      }
    }
  };
  static const masks seen;

  /// The upper bits of two products, each of which depends on every byte: it is computed for every
  /// word of every text.
  static std::uint64_t hash(const char* word, std::size_t size) noexcept {
    std::uint64_t low = 0, high = 0;
    std::memcpy(&low, word, sizeof low);
    std::memcpy(&high, word + sizeof low, sizeof high);
    const auto& mine = seen.of[size < bytes_seen ? size : bytes_seen];
    return ((low & mine[0]) * 0xA24BAED4963EE407ULL + (high & mine[1]) * 0x9E3779B97F4A7C15ULL) >>
           (64U - hash_bits);
  }

  std::array<std::uint64_t, (std::size_t{1} << hash_bits) / 64> bits_{};
};

inline constexpr word_filter::masks word_filter::seen{};

/// Folded words and a number of each: a dictionary that is read for every word of every text.
///
/// Filled by one thread, then read by any. Most words stand in their slots, four to a line of
/// memory: a look-up reads one line and compares all of it, without a branch that depends on the
/// word. It allocates nothing. Words are compared whole, never by their hash alone. A word that is
/// looked up is readable `hash_padding` bytes past its end.
class word_table {
 public:
  static constexpr std::size_t word_bytes_max = 255;
  static constexpr std::uint16_t unknown = 0;

  explicit word_table(std::size_t words_max);

  /// Gives `word` a number other than `unknown`, in place of the one that it may have. Throws
  /// std::length_error beyond `words_max` words, or for a word longer than `word_bytes_max`.
  void set(std::string_view word, std::uint16_t number);

  [[nodiscard]] static std::uint64_t hash(std::string_view word) noexcept {
    if (word.size() > inline_bytes_max) [[unlikely]]
      return hash_padded(word.data(), word.size());
    const slot of = short_slot_of(word);
    const std::uint64_t mixed = of.low * 0xA24BAED4963EE407ULL ^ of.high * 0x9E3779B97F4A7C15ULL;
    return (mixed ^ mixed >> 32U) * 0x9FB21C651E98DF25ULL >> 28U;
  }
  /// Asks for what `find` will read. Between the two there is time for other words.
  void prefetch(std::uint64_t hash) const noexcept {
#ifdef __GNUC__
    __builtin_prefetch(&lines_[hash & mask_]);
#endif
  }
  [[nodiscard]] std::uint16_t find(std::string_view word) const noexcept {
    return find(word, hash(word));
  }
  [[nodiscard]] std::uint16_t find(std::string_view word, std::uint64_t hash) const noexcept {
    if (word.size() > inline_bytes_max) [[unlikely]]
      return find_long(word, hash);
    const slot wanted = short_slot_of(word);
    std::size_t at = hash & mask_;
    const line* here = &lines_[at];
    while (true) {
      std::uint64_t found = 0;
      for (const slot& each : here->slots) {
        const std::uint64_t differs = (each.low ^ wanted.low) | (each.high ^ wanted.high)
                                                                    << (64 - number_shift);
        // Of a free slot, which is what the empty word looks like, the number is `unknown`.
        found |= differs == 0 ? each.high : 0;
      }
      // One branch for both: whether a word is known is hard to foresee, that the search ends here
      // is not.
      if ((found | std::uint64_t{!here->full()}) != 0) [[likely]]
        return static_cast<std::uint16_t>(found >> number_shift);
      at = (at + 1) & mask_;
      here = &lines_[at];
    }
  }

 private:
  static constexpr std::size_t inline_bytes_max = 13;
  static constexpr unsigned size_shift = 40;
  static constexpr unsigned number_shift = 48;
  static constexpr std::uint64_t word_mask = (std::uint64_t{1} << number_shift) - 1;

  struct slot {
    std::uint64_t low =
        0;  ///< the first 8 bytes; of a long word its place in texts_ and half its hash
    std::uint64_t high = 0;  ///< the next 5, then size (8 bits) and number (16 bits); 0: free
  };
  /// What one read brings near. Filled from the front.
  static constexpr std::size_t line_slots = 4;
  struct alignas(64) line {
    slot slots[line_slots];
    [[nodiscard]] bool full() const noexcept { return slots[line_slots - 1].high != 0; }
  };

  static std::uint64_t load(const char* bytes) noexcept {
    static_assert(std::endian::native == std::endian::little);
    std::uint64_t eight = 0;
    std::memcpy(&eight, bytes, sizeof eight);
    return eight;
  }
  /// What a short word has of its sixteen readable bytes, by its size: looked up, since sizes come
  /// in no order that a processor could foresee.
  struct reach {
    slot of[inline_bytes_max + 1];
    constexpr reach() : of{} {
      for (std::size_t size = 0; size <= inline_bytes_max; ++size) {
        of[size].low = size >= 8 ? ~std::uint64_t{0} : (std::uint64_t{1} << 8 * size) - 1;
        of[size].high = size > 8 ? (std::uint64_t{1} << 8 * (size - 8)) - 1 : 0;
      }
    }
  };
  static const reach reaches;

  /// `word` without its number.
  static slot short_slot_of(std::string_view word) noexcept {
    const slot& mine = reaches.of[word.size()];
    return {load(word.data()) & mine.low,
            (load(word.data() + 8) & mine.high) | std::uint64_t{word.size()} << size_shift};
  }
  /// The same; a long one without its place.
  static slot slot_of(std::string_view word, std::uint64_t hash) noexcept {
    if (word.size() <= inline_bytes_max) return short_slot_of(word);
    return {hash & ~std::uint64_t{0xFFFFFFFF}, std::uint64_t{word.size()} << size_shift};
  }
  std::uint16_t find_long(std::string_view word, std::uint64_t hash) const noexcept;
  bool is(const slot& found, const slot& wanted, std::string_view word) const noexcept {
    if ((found.high & word_mask) != wanted.high) return false;
    if (word.size() <= inline_bytes_max) return found.low == wanted.low;
    return found.low >> 32 == wanted.low >> 32 &&
           std::memcmp(texts_.data() + static_cast<std::uint32_t>(found.low), word.data(),
                       word.size()) == 0;
  }

  std::size_t words_max_;
  std::size_t used_ = 0;
  std::size_t mask_;  ///< of the places of lines
  std::vector<line, on_large_pages<line>>
      lines_;          ///< open addressing, size a power of two, at most half full
  std::string texts_;  ///< of long words, one after the other
};

inline constexpr word_table::reach word_table::reaches{};

}  // namespace sonder::text
