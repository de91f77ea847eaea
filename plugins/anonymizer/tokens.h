#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "identifier.h"
#include "lexicon.h"
#include "scratch_list.h"
#include "text/byte_masks.h"
#include "token_bounds.h"

namespace sonder::anonymizer {

enum class token_kind : std::uint8_t {
  word,    ///< letters, with apostrophes inside
  number,  ///< ASCII digits only
  mixed,   ///< letters and digits
  mark,    ///< anything else, one code point each; 's too
};

enum class gap : std::uint8_t { none, space, line_break };

/// What a token is seen to be; of the size of a machine word, by which it is copied.
struct token_form {
  token_kind kind = token_kind::mark;
  gap before = gap::none;
  bool capitalised = false;  ///< starts with an upper-case letter
  bool upper = false;        ///< two letters or more, none lower-case
  identifier_type claimed_as =
      identifier_type::count_;  ///< what it is part of already; count_: nothing
  char mark = 0;                ///< of a mark in ASCII; '\1' for 's
  bool ascii = false;           ///< of words
  std::uint8_t unused = 0;
};
static_assert(sizeof(token_form) == sizeof(std::uint64_t));

/// A piece of a text between white space and marks. Finer than text::token, which is for models:
/// rules need each mark and number apart, the gap before it, and spans that can be cut out.
struct token : token_form {
  std::uint32_t start = 0;
  std::uint32_t end = 0;
  std::uint64_t flags = 0;  ///< of lexicon.h; of words

  [[nodiscard]] bool claimed() const noexcept { return claimed_as != identifier_type::count_; }
};

/// What the tokens of a text have in common, so that whole families of rules can be left out.
struct text_traits {
  std::uint64_t numeric_bytes = 0;  ///< of all numbers and words with digits
  bool has_at = false;
  bool has_bracket = false;  ///< "["
  bool has_slash = false;
  bool has_hash = false;
  bool has_dot_inside =
      false;  ///< a dot with a word or number behind it, or a colon with anything, and no gap
  bool case_informs = false;            ///< capitals stand where a careful writer puts them
  std::uint64_t flags = 0;              ///< of any word
  std::uint64_t capitalised_flags = 0;  ///< of any capitalised word
};

/// The memory of one thread's searches; kept between texts so that a steady state allocates
/// nothing. Not shared.
struct workspace {
  std::string_view text;
  text::byte_masks bytes;  ///< of `text`
  token_bounds bounds;
  text_traits traits;
  scratch_list<token> tokens;
  std::vector<span> spans;  ///< what was found: disjoint, by ascending start
  scratch_list<std::uint32_t>
      name_starts;  ///< tokens that may begin a name: capitalised, or so listed
  scratch_list<std::uint32_t> numerics;  ///< tokens with digits
  std::vector<int> shapes;               ///< scratch of RE2::Set
  std::string scratch;
  std::string plain;  ///< what was searched instead of a text with variants (variants.h)
  std::vector<std::uint32_t> origins;  ///< and where in the text each of its bytes stands
};

/// Divides `text`, of which `work.bytes` are, into tokens, without a gap but for white space and
/// invisible characters, and looks the words up.
void tokenise(std::string_view text, const lexicon& words, workspace& work);

/// Whether a sentence begins with the word or number `at`. Few words are asked about.
[[nodiscard]] bool starts_sentence(const workspace& work, std::size_t at) noexcept;

/// The word as the lexicon keeps it, in `buffer`; empty if it does not fit.
[[nodiscard]] std::string_view folded_word(std::string_view word, word_buffer& buffer) noexcept;

/// The same of a token that is a word: of one in ASCII where it stands already, however long.
[[nodiscard]] inline std::string_view folded(const workspace& work, const token& word,
                                             word_buffer& buffer) noexcept {
  const std::uint32_t size = word.end - word.start;
  return word.ascii ? std::string_view(work.bytes.lowered() + word.start, size)
                    : folded_word(work.text.substr(word.start, size), buffer);
}

}  // namespace sonder::anonymizer
