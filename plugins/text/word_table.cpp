#include "word_table.h"

#include <stdexcept>

namespace sonder::text {

word_table::word_table(std::size_t words_max)
    : words_max_(words_max), mask_(std::bit_ceil(2 * words_max + 1) - 1), slots_(mask_ + 1) {}

void word_table::set(std::string_view word, std::uint16_t number) {
  if (word.size() > word_bytes_max) throw std::length_error("word table: a word is too long");
  std::string padded(word);
  padded.append(hash_padding, '\0');
  const std::string_view readable(padded.data(), word.size());
  const std::uint64_t hashed = hash(readable);
  slot made = slot_of(readable, hashed);
  std::size_t at = hashed & mask_;
  while (slots_[at].high != 0 && !is(slots_[at], made, readable)) at = (at + 1) & mask_;
  if (slots_[at].high != 0) {
    made.low = slots_[at].low;
  } else {
    if (++used_ > words_max_) throw std::length_error("word table: too many words");
    if (word.size() > inline_bytes_max) {
      made.low |= static_cast<std::uint32_t>(texts_.size());
      texts_ += word;
    }
  }
  made.high |= std::uint64_t{number} << number_shift;
  slots_[at] = made;
}

}  // namespace sonder::text
