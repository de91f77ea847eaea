// Any bytes: scanners end, spans stay inside and in order.

#include <array>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "text/chunks.h"
#include "text/diacritics.h"
#include "text/tokens.h"
#include "text/utf8.h"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

template <class Items>
void check_spans(const Items& items, std::size_t size) {
  std::uint32_t before = 0;
  for (const auto& item : items) {
    require(before <= item.begin && item.begin < item.end && item.end <= size);
    before = item.end;
  }
}

void check_chunks(const sonder::text::chunk_list& list) {
  for (std::size_t i = 0; i < list.chunks().size(); ++i) {
    require(!list.folded(i).empty());
    require(list.emoji(i) == 0 || list.kind(i) == sonder::text::chunk_kind::emoji);
    require(!list.stretched(i) || list.letters(i) != sonder::text::letter_case::none);
    require(i > 0 || list.opens_sentence(i));
  }
  std::uint32_t next = 0;
  for (const auto& c : list.notable()) {
    require(next <= c.number && c.number < list.chunks().size());
    next = c.number + 1;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  static sonder::text::chunk_list chunks;
  static sonder::text::token_list tokens;
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  for (const auto inner :
       {sonder::text::inner_punctuation::keep, sonder::text::inner_punctuation::split}) {
    chunks.scan(text, {}, inner);
    check_spans(chunks.chunks(), size);
    check_chunks(chunks);
  }
  tokens.scan(text);
  check_spans(tokens.tokens(), size);
  for (const auto& token : tokens.tokens()) require(!tokens.folded(token).empty());
  static std::array<char, 64> folded;
  const std::size_t folded_size = sonder::text::fold_diacritics(text, folded.data(), folded.size());
  require(folded_size <= folded.size());
  require(sonder::text::first_malformed({folded.data(), folded_size}) == std::string_view::npos);
  const std::size_t malformed = sonder::text::first_malformed(text);
  require(malformed == std::string_view::npos || malformed < size);
  return 0;
}
