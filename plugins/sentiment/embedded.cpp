#include "sentiment/embedded.h"

// The assembler reads the files: no generated source of many megabytes, and the bytes stay shared
// between processes.
#define SONDER_EMBED(symbol, path)                                                    \
  asm(".pushsection .rodata\n.balign 64\n.hidden " #symbol "_begin\n.hidden " #symbol \
      "_end\n.global " #symbol "_begin\n.global " #symbol "_end\n" #symbol            \
      "_begin:\n.incbin \"" path "\"\n" #symbol "_end:\n.byte 0\n.popsection\n");     \
  extern "C" const char symbol##_begin[];                                             \
  extern "C" const char symbol##_end[];

SONDER_EMBED(sonder_sentiment_lexicon, SONDER_LEXICON_PATH)
SONDER_EMBED(sonder_sentiment_emotions, SONDER_EMOTIONS_PATH)

namespace sonder::sentiment {

std::string_view embedded_lexicon() noexcept {
  return {sonder_sentiment_lexicon_begin,
          std::size_t(sonder_sentiment_lexicon_end - sonder_sentiment_lexicon_begin)};
}

std::span<const std::byte> embedded_emotions() noexcept {
  return std::as_bytes(
      std::span(sonder_sentiment_emotions_begin,
                std::size_t(sonder_sentiment_emotions_end - sonder_sentiment_emotions_begin)));
}

}  // namespace sonder::sentiment
