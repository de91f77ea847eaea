#include "token_bounds.h"

#include <bit>

namespace sonder::anonymizer {
namespace {

// A mask of a block, and of its neighbours the bits that a shift by one or two brings in.
struct strip {
  std::uint64_t before, here, after;

  // Bit i of it says of byte i - by, of byte i + by.
  [[nodiscard]] std::uint64_t behind(unsigned by = 1) const {
    return here << by | before >> (64 - by);
  }
  [[nodiscard]] std::uint64_t ahead(unsigned by = 1) const {
    return here >> by | after << (64 - by);
  }
};

struct apostrophes {
  std::uint64_t inside = 0;      // of a word
  std::uint64_t possessive = 0;  // before an s that says whose
};

apostrophes read_apostrophes(const text::byte_masks& bytes, std::size_t block,
                             std::uint64_t letters_before, std::uint64_t spaces_before,
                             std::uint64_t possessive_before) {
  const text::byte_masks::block& here = bytes.blocks()[block];
  const text::byte_masks::block& after = bytes.blocks()[block + 1];
  const char* const lowered = bytes.lowered() + block * text::byte_masks::block_bytes;
  std::uint64_t before_s = 0;
  for (std::uint64_t left = here.apostrophes; left != 0; left &= left - 1) {
    const int at = std::countr_zero(left);
    before_s |= std::uint64_t{lowered[at + 1] == 's'} << at;
  }
  const strip letters{letters_before, here.letters, after.letters};
  const strip spaces{spaces_before, here.spaces, after.spaces};
  const std::uint64_t whose = before_s & ~letters.ahead(2);
  const std::uint64_t possessive = whose & ~spaces.behind();
  const std::uint64_t behind_whose = strip{possessive_before, possessive, 0}.behind(2);
  return {here.apostrophes & ~whose & letters.behind() & letters.ahead() & ~behind_whose,
          possessive};
}

}  // namespace

void token_bounds::find(const text::byte_masks& bytes) {
  const auto& all = bytes.blocks();
  blocks = all.size() - 1;
  for (byte_bits* each : {&starts, &ends, &uppers, &lowers, &digits}) each->make_room(all.size());
  // Of the block before; a space stands before the text.
  struct {
    std::uint64_t letters, spaces, possessive, words, marks, highs, lead_capitals, dots, colons;
  } before{0, ~std::uint64_t{0}, 0, 0, 0, 0, 0, 0, 0};
  std::uint64_t possessives = 0;
  std::uint64_t capitals = 0;
  std::uint64_t joined = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const text::byte_masks::block& here = all[i];
    apostrophes quotes;
    if (here.apostrophes != 0)
      quotes = read_apostrophes(bytes, i, before.letters, before.spaces, before.possessive);
    const strip possessive{before.possessive, quotes.possessive, 0};
    const std::uint64_t alphanumeric = here.letters | here.digits;
    const strip words{before.words, (alphanumeric | quotes.inside) & ~possessive.behind(), 0};
    const strip highs{before.highs, here.highs, 0};
    const std::uint64_t mark = ~(alphanumeric | quotes.inside | here.spaces | here.highs);
    const strip marks{before.marks, mark & ~quotes.possessive, 0};  // of one byte
    starts[i] = (words.here & ~words.behind()) | mark | (highs.here & ~highs.behind());
    ends[i] = (words.behind() & ~words.here) | marks.behind() | possessive.behind(2) |
              (highs.behind() & ~highs.here);
    uppers[i] = here.uppers;
    lowers[i] = here.letters & ~here.uppers;
    digits[i] = here.digits;
    // In a word of capitals alone each but the first stands behind one of these.
    const strip lead_capitals{before.lead_capitals, here.uppers | here.digits | quotes.inside, 0};
    capitals |= here.uppers & lead_capitals.behind();
    const strip dots{before.dots, here.dots, 0};
    const strip colons{before.colons, here.colons, 0};
    joined |= (colons.behind() & ~(here.spaces | here.highs)) | (dots.behind() & alphanumeric);
    possessives |= quotes.possessive;
    before = {here.letters, here.spaces,        quotes.possessive, words.here, marks.here,
              here.highs,   lead_capitals.here, here.dots,         here.colons};
  }
  any_possessive = possessives != 0;
  any_upper = capitals != 0;
  any_joined = joined != 0;
}

}  // namespace sonder::anonymizer
