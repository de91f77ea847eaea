#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "hash.h"

namespace sonder::text {

/// Folded words and a number of each: a dictionary that is read for every word of every text.
///
/// Filled by one thread, then read by any. Most words stand in their slots, so that a look-up reads
/// one line of memory; it allocates nothing. Words are compared whole, never by their hash
/// alone. A word that is looked up is readable `hash_padding` bytes past its end.
class word_table {
 public:
  static constexpr std::size_t word_bytes_max = 255;
  static constexpr std::uint16_t unknown = 0;

  explicit word_table(std::size_t words_max);

  /// Gives `word` a number other than `unknown`, in place of the one that it may have. Throws
  /// std::length_error beyond `words_max` words, or for a word longer than `word_bytes_max`.
  void set(std::string_view word, std::uint16_t number);

  [[nodiscard]] static std::uint64_t hash(std::string_view word) noexcept {
    return hash_padded(word.data(), word.size());
  }
  /// Asks for what `find` will read. Between the two there is time for other words.
  void prefetch(std::uint64_t hash) const noexcept {
#ifdef __GNUC__
    __builtin_prefetch(&slots_[hash & mask_]);
#endif
  }
  [[nodiscard]] std::uint16_t find(std::string_view word) const noexcept {
    return find(word, hash(word));
  }
  [[nodiscard]] std::uint16_t find(std::string_view word, std::uint64_t hash) const noexcept {
    if (word.size() > word_bytes_max) return unknown;
    const slot wanted = slot_of(word, hash);
    for (std::size_t at = hash & mask_;; at = (at + 1) & mask_) {
      const slot& found = slots_[at];
      if (found.high == 0) return unknown;
      if (is(found, wanted, word)) return static_cast<std::uint16_t>(found.high >> number_shift);
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

  static std::uint64_t load(const char* bytes, std::size_t size) noexcept {
    static_assert(std::endian::native == std::endian::little);
    std::uint64_t eight = 0;
    std::memcpy(&eight, bytes, sizeof eight);
    return size >= 8 ? eight : eight & ((std::uint64_t{1} << 8 * size) - 1);
  }
  /// `word` without its number; a long one without its place.
  static slot slot_of(std::string_view word, std::uint64_t hash) noexcept {
    const std::uint64_t size = std::uint64_t{word.size()} << size_shift;
    if (word.size() > inline_bytes_max) return {hash & ~std::uint64_t{0xFFFFFFFF}, size};
    const std::size_t more = word.size() > 8 ? word.size() - 8 : 0;
    return {load(word.data(), word.size()), load(word.data() + 8, more) | size};
  }
  bool is(const slot& found, const slot& wanted, std::string_view word) const noexcept {
    if ((found.high & word_mask) != wanted.high) return false;
    if (word.size() <= inline_bytes_max) return found.low == wanted.low;
    return found.low >> 32 == wanted.low >> 32 &&
           std::memcmp(texts_.data() + static_cast<std::uint32_t>(found.low), word.data(),
                       word.size()) == 0;
  }

  std::size_t words_max_;
  std::size_t used_ = 0;
  std::size_t mask_;
  std::vector<slot> slots_;  ///< open addressing, size a power of two, at most half full
  std::string texts_;        ///< of long words, one after the other
};

}  // namespace sonder::text
