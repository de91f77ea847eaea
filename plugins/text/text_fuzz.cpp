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

template <class List, class Items>
void check_spans(const List& list, const Items& items, std::size_t size) {
  std::uint32_t before = 0;
  for (const auto& item : items) {
    require(before <= item.begin && item.begin < item.end && item.end <= size);
    require(!list.folded(item).empty());
    before = item.end;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  static sonder::text::chunk_list chunks;
  static sonder::text::token_list tokens;
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  for (const auto inner :
       {sonder::text::inner_punctuation::keep, sonder::text::inner_punctuation::split}) {
    chunks.scan(text, inner);
    check_spans(chunks, chunks.chunks(), size);
  }
  tokens.scan(text);
  check_spans(tokens, tokens.tokens(), size);
  static std::array<char, 64> folded;
  const std::size_t folded_size = sonder::text::fold_diacritics(text, folded.data(), folded.size());
  require(folded_size <= folded.size());
  require(sonder::text::first_malformed({folded.data(), folded_size}) == std::string_view::npos);
  const std::size_t malformed = sonder::text::first_malformed(text);
  require(malformed == std::string_view::npos || malformed < size);
  return 0;
}
