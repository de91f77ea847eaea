#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hash.h"
#include "word_table.h"

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
  std::uint32_t place;  // chunk_list's own: where it keeps the rest
};

/// A chunk that a reader who looks words up must not pass over.
struct notable_chunk {
  enum reason : std::uint32_t {
    may_be_known,  // the filter may have it
    odd,           // the same, or stretched, perhaps with "n't" in it, or no plain word of ASCII
    no_word,       // a picture or a placeholder
  };
  std::uint32_t number;  // in chunk_list::chunks()
  reason why;
  std::uint32_t folded_begin, folded_size;  // for chunk_list::folded
};

/// Whether "good,bad" is one chunk, as VADER has it, or two.
enum class inner_punctuation : std::uint8_t { keep, split };

/// A text cut at white space, for readers that look words up: the unit of VADER's rules.
///
/// Owned and reused by the caller, so that a steady state allocates nothing; confined to one
/// thread. Any bytes are accepted: a malformed byte stands for U+FFFD. Memory is proportional to
/// the longest text (about 16 bytes a byte, twice that of pictures alone); `release_above` gives it
/// back after an outlier.
///
/// Of most words nobody asks more than whether a dictionary may have them. So a chunk is only its
/// span, the bits of the text are kept, and what else is known of a chunk is read from them when
/// it is asked for, by the chunk's number. These answers last until the next `scan`.
class chunk_list {
 public:
  /// Longer texts are cut here (at a character), so that offsets fit and one text's cost has a
  /// bound.
  static constexpr std::size_t text_bytes_max = 64U << 20U;
  /// What `folded` gives may be read this far past its end, so that a word is hashed by whole
  /// machine words.
  static constexpr std::size_t padding = hash_padding;

  /// Replaces the contents. Punctuation is stripped from both ends if more than two characters
  /// remain, otherwise the chunk stays whole: it is then most likely an emoticon (VADER,
  /// SentiText). `known` says what a reader knows.
  void scan(std::string_view text, const word_filter& known,
            inner_punctuation inner = inner_punctuation::split);

  [[nodiscard]] std::span<const chunk> chunks() const noexcept {
    return {chunks_.data(), chunk_count_};
  }
  /// In the order of the text. What is not here is an unknown word, neither stretched nor with
  /// "n't" in it.
  [[nodiscard]] std::span<const notable_chunk> notable() const noexcept {
    return {notable_.data(), notable_count_};
  }

  /// The chunk in lower case; of a picture its first code point.
  [[nodiscard]] std::string_view folded(std::size_t number) const noexcept;
  [[nodiscard]] std::string_view folded(const notable_chunk& c) const noexcept {
    return {folded_.data() + c.folded_begin, c.folded_size};
  }
  [[nodiscard]] chunk_kind kind(std::size_t number) const noexcept;
  [[nodiscard]] letter_case letters(std::size_t number) const noexcept;
  /// The first code point of a picture, else 0.
  [[nodiscard]] char32_t emoji(std::size_t number) const noexcept;
  /// ASCII with a letter three times in a row: "sooo".
  [[nodiscard]] bool stretched(std::size_t number) const noexcept;
  /// First in the text, or after a chunk that ended in . ! ? or :
  [[nodiscard]] bool opens_sentence(std::size_t number) const noexcept;

  /// Some words are written in capitals, and others, or pictures, are not.
  [[nodiscard]] bool capitals_stand_out() const noexcept {
    return any_upper_word_ && any_other_word_;
  }
  [[nodiscard]] std::size_t exclamations() const noexcept { return exclamations_; }
  [[nodiscard]] std::size_t questions() const noexcept { return questions_; }
  /// Where the first and the last of these marks stand, if there is one.
  [[nodiscard]] std::size_t first_mark() const noexcept { return first_mark_; }
  [[nodiscard]] std::size_t last_mark() const noexcept { return last_mark_; }

  void release_above(std::size_t bytes);

 private:
  /// Up to 64 bytes of the text from `base` on, one bit a byte. Words lie in it whole.
  struct window {
    std::uint64_t spaces, uppers, letters, puncts;
    std::uint64_t others;   // above 0x7F
    std::uint64_t repeats;  // the next byte is the same
    std::uint64_t opens;    // a bracket that a placeholder may begin with
    std::uint64_t ts;       // t or T
    std::uint64_t words;    // what is read here: all up to the last space
    std::uint32_t base;
  };
  struct marks {
    std::uint64_t exclaimed, asked;
  };
  /// What is known of a chunk that is not a plain word inside a window.
  struct detail {
    std::uint32_t folded_begin, folded_size;
    char32_t emoji;
    chunk_kind kind;
    letter_case letters;
    bool stretched;
    bool opens_next;  // what follows it opens a sentence
  };
  struct unicode_word;
  static constexpr std::uint32_t has_detail = 1U << 31U;  // in chunk::place; the rest: which

  static marks read_bytes(const char* bytes, char* folded, window& made);
  void make_room(std::size_t bytes);
  void read_windows(std::string_view text);
  std::size_t read_long_word(std::string_view text, std::size_t begin);
  void count_marks(const marks& of, std::uint64_t where, std::size_t base);
  void cut(std::string_view text, const window& in, const word_filter& known,
           inner_punctuation inner);
  void add_irregular(std::string_view text, std::size_t begin, std::size_t end,
                     inner_punctuation inner);
  void add_word(std::string_view text, std::size_t begin, std::size_t end);
  void split_inside(std::string_view text, std::size_t& begin, std::size_t end);
  void add_unicode(std::string_view text, std::size_t begin, std::size_t end);
  std::size_t add_emoji(std::string_view text, std::size_t at, std::size_t end);
  void add_unicode_word(unicode_word& word);
  void add(std::size_t begin, std::size_t end, const detail& of);
  [[nodiscard]] const detail* detail_of(std::size_t number) const noexcept {
    const std::uint32_t place = chunks_[number].place;
    return (place & has_detail) != 0 ? &details_[place & ~has_detail] : nullptr;
  }
  /// The bits of a plain word in its window.
  [[nodiscard]] static std::uint64_t bits_of(const chunk& c, const window& in) noexcept {
    return ~0ULL >> (64 - (c.end - c.begin)) << (c.begin - in.base);
  }

  // These are as long as the longest text needed; how much of them counts is beside them.
  std::vector<chunk> chunks_;
  std::vector<notable_chunk> notable_;
  // The text with A to Z as a to z; behind its room folded forms of words that are not ASCII.
  std::string folded_;
  std::size_t room_ = 0;
  std::size_t chunk_count_ = 0, notable_count_ = 0;
  std::vector<window> windows_;
  std::vector<detail> details_;
  std::size_t exclamations_ = 0, questions_ = 0;
  std::size_t first_mark_ = 0, last_mark_ = 0;
  bool any_upper_word_ = false, any_other_word_ = false;
};

inline std::string_view chunk_list::folded(std::size_t number) const noexcept {
  const chunk& c = chunks_[number];
  if (const detail* d = detail_of(number)) [[unlikely]]
    return {folded_.data() + d->folded_begin, d->folded_size};
  return {folded_.data() + c.begin, c.end - c.begin};
}

inline chunk_kind chunk_list::kind(std::size_t number) const noexcept {
  const detail* d = detail_of(number);
  return d != nullptr ? d->kind : chunk_kind::word;
}

inline letter_case chunk_list::letters(std::size_t number) const noexcept {
  if (const detail* d = detail_of(number)) [[unlikely]]
    return d->letters;
  const chunk& c = chunks_[number];
  const window& in = windows_[c.place];
  const std::uint64_t mine = bits_of(c, in);
  const std::uint64_t uppers = in.uppers & mine, lowers = in.letters & ~in.uppers & mine;
  return case_of(uppers != 0, lowers != 0, (uppers >> (c.begin - in.base) & 1U) != 0);
}

inline char32_t chunk_list::emoji(std::size_t number) const noexcept {
  const detail* d = detail_of(number);
  return d != nullptr ? d->emoji : 0;
}

inline bool chunk_list::stretched(std::size_t number) const noexcept {
  if (const detail* d = detail_of(number)) [[unlikely]]
    return d->stretched;
  const chunk& c = chunks_[number];
  const window& in = windows_[c.place];
  return (in.repeats & in.repeats >> 1U & in.letters & bits_of(c, in)) != 0;
}

}  // namespace sonder::text
