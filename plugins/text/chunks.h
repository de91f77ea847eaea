#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "hash.h"

namespace sonder::text {

enum class chunk_kind : std::uint8_t {
  word,         // letters, digits, or an emoticon: whatever stands between spaces
  emoji,        // one picture with its modifiers; `emoji` says which
  placeholder,  // [NAME], <PERSON_2>: what an anonymiser left; carries no feeling and no emphasis
};

enum class letter_case : std::uint8_t { none, lower, title, upper, mixed };

[[nodiscard]] constexpr letter_case case_of(bool any_upper, bool any_lower,
                                            bool first_upper) noexcept {
  using enum letter_case;
  // Looked up, since cases come in no order that a processor could foresee.
  constexpr letter_case cases[] = {none, upper, lower, mixed, none, upper, lower, title};
  return cases[unsigned{any_upper} | unsigned{any_lower} << 1U | unsigned{first_upper} << 2U];
}

/// What stands between two spaces, without the punctuation around it.
struct chunk {
  std::uint32_t begin;  // of the stripped form in the text, bytes
  std::uint32_t end;
  std::uint32_t folded_begin;  // in chunk_list::folded
  std::uint32_t folded_size;
  char32_t emoji;  // the first code point of an emoji, else 0
  chunk_kind kind;
  letter_case letters;
  bool punctuated_inside;  // the stripped form still has punctuation or a digit or is not ASCII
  bool stretched;          // ASCII with a letter three times in a row: "sooo"
  bool opens_sentence;     // first in the text, or after a chunk that ended in . ! ? or :
};

/// Whether "good,bad" is one chunk, as VADER has it, or two.
enum class inner_punctuation : std::uint8_t { keep, split };

/// A text cut at white space, for readers that look words up: the unit of VADER's rules.
///
/// Owned and reused by the caller, so that a steady state allocates nothing; confined to one
/// thread. Any bytes are accepted: a malformed byte stands for U+FFFD. Memory is proportional to
/// the longest text (about 12 bytes a byte in the worst case, one-letter words); `release_above`
/// gives it back after an outlier.
class chunk_list {
 public:
  /// Longer texts are cut here (at a character), so that offsets fit and one text's cost has a
  /// bound.
  static constexpr std::size_t text_bytes_max = 64U << 20U;
  /// `folded` may be read this far past the end of any chunk, so that a word is hashed by whole
  /// machine words.
  static constexpr std::size_t padding = hash_padding;

  /// Replaces the contents. Punctuation is stripped from both ends if more than two characters
  /// remain, otherwise the chunk stays whole: it is then most likely an emoticon (VADER,
  /// SentiText).
  void scan(std::string_view text, inner_punctuation inner = inner_punctuation::split);

  [[nodiscard]] const std::vector<chunk>& chunks() const noexcept { return chunks_; }
  [[nodiscard]] std::string_view folded(const chunk& c) const noexcept {
    return {folded_.data() + c.folded_begin, c.folded_size};
  }
  [[nodiscard]] std::size_t exclamations() const noexcept { return exclamations_; }
  [[nodiscard]] std::size_t questions() const noexcept { return questions_; }

  void release_above(std::size_t bytes);

 private:
  struct byte_masks {  // one bit a byte of the text
    std::uint64_t spaces, uppers, lowers, puncts, others, triples;
  };
  struct unicode_word;
  struct word_edges {               // of a word of at most a block, one bit a byte
    std::uint64_t puncts, kept;     // kept: without what is stripped
    std::size_t leading, trailing;  // bytes stripped at both ends
  };

  void classify(std::string_view text);
  void add(std::string_view text, std::size_t begin, std::size_t end, inner_punctuation inner);
  void add_ascii(std::string_view text, std::size_t begin, std::size_t end,
                 inner_punctuation inner);
  void add_word(std::string_view text, std::size_t begin, std::size_t end);
  [[nodiscard]] word_edges edges_of(std::size_t begin, std::size_t size) const noexcept;
  void add_edged(std::string_view text, std::size_t begin, std::size_t size, const word_edges& at);
  void add_long_word(std::string_view text, std::size_t begin, std::size_t end);
  void split_inside(std::string_view text, std::size_t& begin, std::size_t end);
  void add_unicode(std::string_view text, std::size_t begin, std::size_t end);
  std::size_t add_emoji(std::string_view text, std::size_t at, std::size_t end);
  void add_unicode_word(unicode_word& word);
  template <std::uint64_t byte_masks::*mask>
  [[nodiscard]] bool any(std::size_t begin, std::size_t end) const noexcept;
  /// The bits of [begin, begin + 64).
  template <std::uint64_t byte_masks::*mask>
  [[nodiscard]] std::uint64_t window(std::size_t begin) const noexcept;

  std::vector<chunk> chunks_;
  std::string folded_;
  std::vector<byte_masks> masks_;
  std::size_t exclamations_ = 0, questions_ = 0;
  bool any_other_ = false, any_triple_ = false;
  bool sentence_opens_ = true;
};

}  // namespace sonder::text
