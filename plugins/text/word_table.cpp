#include "word_table.h"

#include <algorithm>
#include <stdexcept>

namespace sonder::text {

word_table::word_table(std::size_t words_max)
    : words_max_(words_max),
      mask_(std::bit_ceil(std::max<std::size_t>(2 * words_max, line_slots)) / line_slots - 1),
      lines_(mask_ + 1) {}

std::uint16_t word_table::find_long(std::string_view word, std::uint64_t hash) const noexcept {
  if (word.size() > word_bytes_max) return unknown;
  const slot wanted = slot_of(word, hash);
  for (std::size_t at = hash & mask_;; at = (at + 1) & mask_) {
    for (const slot& each : lines_[at].slots) {
      if (each.high == 0) return unknown;
      if (is(each, wanted, word)) return static_cast<std::uint16_t>(each.high >> number_shift);
    }
  }
}

void word_table::set(std::string_view word, std::uint16_t number) {
  if (word.size() > word_bytes_max) throw std::length_error("word table: a word is too long");
  std::string padded(word);
  padded.append(hash_padding, '\0');
  const std::string_view readable(padded.data(), word.size());
  const std::uint64_t hashed = hash(readable);
  slot made = slot_of(readable, hashed);
  std::size_t at = (hashed & mask_) * line_slots;
  const std::size_t slots_mask = (mask_ + 1) * line_slots - 1;
  const auto slot_at = [this](std::size_t place) -> slot& {
    return lines_[place / line_slots].slots[place % line_slots];
  };
  while (slot_at(at).high != 0 && !is(slot_at(at), made, readable)) at = (at + 1) & slots_mask;
  if (slot_at(at).high != 0) {
    made.low = slot_at(at).low;
  } else {
    if (++used_ > words_max_) throw std::length_error("word table: too many words");
    if (word.size() > inline_bytes_max) {
      made.low |= static_cast<std::uint32_t>(texts_.size());
      texts_ += word;
    }
  }
  made.high |= std::uint64_t{number} << number_shift;
  slot_at(at) = made;
}

}  // namespace sonder::text
