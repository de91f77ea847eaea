#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "chunks.h"
#include "hash.h"

namespace sonder::text {

enum class token_kind : std::uint8_t {
  word,    // letters with marks and inner apostrophes ("don't"), also letters mixed with digits
           // ("b4")
  number,  // digits with inner . , : ("3.50", "10:30")
  punctuation,  // a run of one punctuation character ("!!!"), folded to at most three
  emoji,
  emoticon,     // ":-)", "<3", "^_^"
  url,          // http://..., https://..., www....; folded to "<url>"
  mention,      // @name; folded to "<user>"
  hashtag,      // #topic, without the mark
  placeholder,  // [NAME], <PERSON>: folded to "[name]" whatever the brackets, without a trailing
                // number
};

/// One token: where it stands and what it reads as once case, curly quotes, full width and
/// stretched letters
/// ("sooooo" -> "soo") no longer matter.
struct token {
  std::uint32_t begin, end;  // in the text, bytes
  std::uint32_t folded_begin;
  std::uint16_t folded_size;  // at most tokens::folded_bytes_max
  token_kind kind;
  letter_case letters;
};

/// A text as tokens, finer than chunks: for models that learn from words, signs and pictures.
///
/// Owned and reused by the caller, so that a steady state allocates nothing; confined to one
/// thread. Any bytes are accepted; what is malformed reads as U+FFFD. Linear in the size of the
/// text.
class token_list {
 public:
  static constexpr std::size_t text_bytes_max = chunk_list::text_bytes_max;
  /// A longer token is cut in its folded form; its span stays whole.
  static constexpr std::size_t folded_bytes_max = 256;
  static constexpr std::size_t padding =
      hash_padding;  // readable bytes past the end of any folded token

  /// Replaces the contents by the first `tokens_max` tokens of `text`.
  void scan(std::string_view text, std::size_t tokens_max = ~std::size_t{0});

  [[nodiscard]] const std::vector<token>& tokens() const noexcept { return tokens_; }
  [[nodiscard]] std::string_view folded(const token& t) const noexcept {
    return {folded_.data() + t.folded_begin, t.folded_size};
  }
  void release_above(std::size_t bytes);

 private:
  std::size_t add_plain_word(std::string_view text, std::size_t begin);
  std::size_t add_word(std::string_view text, std::size_t at);
  std::size_t add_number(std::string_view text, std::size_t at);
  std::size_t add_mark(std::string_view text, std::size_t at);
  std::size_t add_emoji(std::string_view text, std::size_t at);
  std::size_t add_run(std::string_view text, std::size_t at, char32_t mark, std::size_t bytes);
  void fold_in(char32_t value);
  void add(std::size_t begin, std::size_t end, token_kind kind,
           letter_case letters = letter_case::none);
  void add_as(std::size_t begin, std::size_t end, token_kind kind, std::string_view folded);

  std::vector<token> tokens_;
  std::string folded_;
  std::size_t folded_begin_ = 0;
};

}  // namespace sonder::text
