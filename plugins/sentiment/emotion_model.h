#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "sentiment/emotion_features.h"

namespace sonder::sentiment {

inline constexpr std::size_t emotions = 28;

/// The labels of GoEmotions (Demszky et al. 2020), in its order.
inline constexpr std::array<std::string_view, emotions> emotion_names = {
    "admiration",    "amusement",   "anger",    "annoyance",      "approval",    "caring",
    "confusion",     "curiosity",   "desire",   "disappointment", "disapproval", "disgust",
    "embarrassment", "excitement",  "fear",     "gratitude",      "grief",       "joy",
    "love",          "nervousness", "optimism", "pride",          "realization", "relief",
    "remorse",       "sadness",     "surprise", "neutral"};

/// emotions.model: little-endian, all parts 64-byte aligned, in this order.
///
///   header   model_header, padded to 1,024 bytes
///   words    word_slots x word_row: open addressing by the upper bits of the key, linear probing,
///   key 0 is free.
///            A word's row is the sum of its own weights and those of its n-grams; `features` says
///            of how many.
///   others   other_slots x other_row: likewise, by fingerprint (lower 32 bits of the key, 0
///   replaced by 1)
///
/// A label's score is bias + (word_unit * sum of word rows + other_unit * sum of other rows) /
/// sqrt(features found); its probability is the logistic function of slope * score + shift (Platt
/// scaling), and it applies where that exceeds its threshold.
struct model_header {
  static constexpr std::array<char, 8> magic_expected = {'S', 'O', 'N', 'E', 'M', 'O', 'T', '\n'};
  static constexpr std::uint32_t version_expected = 1;
  static constexpr std::size_t bytes = 1024;

  std::array<char, 8> magic;
  std::uint32_t version;
  std::uint32_t labels;
  std::uint64_t
      checksum;  // FNV-1a-64 over the rest of the file, eight bytes a step, with this field as zero
  std::uint32_t word_slots;  // powers of two
  std::uint32_t other_slots;
  std::array<float, emotions> bias, word_unit, other_unit, slope, shift, threshold;
};

struct alignas(64) word_row {
  std::uint64_t key;
  std::array<std::int16_t, emotions> weights;  // no padding: 8 + 56 bytes
};
struct alignas(32) other_row {
  std::array<std::int8_t, emotions> weights;
  std::uint32_t fingerprint;
};

/// The lowest byte of a row's key, which the search ignores, says how many features the row stands
/// for, or that the word is a name: then its weights are zero and it is read as any other name.
inline constexpr std::uint64_t key_count_bits = 0xFF;
inline constexpr std::uint64_t key_of_name = 0xFF;
inline constexpr std::uint64_t row_features_max = 0xFE;

using probabilities = std::array<float, emotions>;

/// A checked view of the bytes of emotions.model. Immutable, safe to share by threads; does not own
/// the bytes, which must be 64-byte aligned and outlive it.
class emotion_model {
 public:
  static constexpr std::size_t bytes_max = 64U << 20U;

  /// Bytes are hostile until size, magic, version, checksum, slot counts and finite numbers have
  /// been checked; the string says which of them is wrong.
  static std::variant<emotion_model, std::string> open(std::span<const std::byte> bytes);
  static std::uint64_t checksum(std::span<const std::byte> bytes);

  [[nodiscard]] const model_header& header() const noexcept { return *header_; }
  [[nodiscard]] std::span<const word_row> words() const noexcept { return words_; }
  [[nodiscard]] std::span<const other_row> others() const noexcept { return others_; }

  static std::size_t slot_of(std::uint64_t key, std::size_t slots) noexcept {
    return key >> 32U & (slots - 1);
  }
  static std::uint32_t fingerprint(std::uint64_t key) noexcept {
    const auto low = std::uint32_t(key);
    return low == 0 ? 1 : low;
  }

 private:
  const model_header* header_ = nullptr;
  std::span<const word_row> words_;
  std::span<const other_row> others_;
};

/// What becomes of a word that the model has not seen: it is passed over, or read by its letters.
enum class unknown_words : std::uint8_t { pass_over, read_letters };

/// Reads emotions out of texts by a model. Confined to one thread, reuses its memory.
class emotion_reader {
 public:
  explicit emotion_reader(const emotion_model& model,
                          unknown_words unknown = unknown_words::read_letters)
      : model_(model), unknown_(unknown) {}

  /// The calibrated probability of each emotion. They do not sum to one: a text may have several
  /// emotions.
  [[nodiscard]] probabilities read(std::string_view text);

 private:
  [[nodiscard]] probabilities score(std::string_view text);
  void find_words();

  const emotion_model& model_;
  unknown_words unknown_;
  emotion_features features_;
  std::vector<const word_row*> rows_;  // of each word; null for one that is not in the model
  std::vector<std::uint64_t> keys_;
};

}  // namespace sonder::sentiment
