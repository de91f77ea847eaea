#include "sentiment/emotion_model.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace sonder::sentiment {
namespace {

static_assert(std::endian::native == std::endian::little,
              "emotions.model is read in place, as little-endian");
static_assert(sizeof(word_row) == 64 && sizeof(other_row) == 32 &&
              sizeof(model_header) <= model_header::bytes);

constexpr std::size_t alignment = 64;
/// Rows summed in 16 bits before they are carried over: 256 * 127 stays below 2^15.
constexpr std::size_t rows_per_carry = 256;
/// Scratch memory larger than this is given back after an unusually long text.
constexpr std::size_t scratch_bytes_max = 1U << 20U;
constexpr std::size_t lanes = 32;  // labels, rounded up to what vector registers hold

bool is_slot_count(std::uint32_t slots) {
  return std::has_single_bit(slots);
}

bool all_finite(const model_header& h) {
  const auto finite = [](const auto& values) {
    return std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); });
  };
  return finite(h.bias) && finite(h.word_unit) && finite(h.other_unit) && finite(h.slope) &&
         finite(h.shift) && finite(h.threshold);
}

struct sums {
  std::array<std::int32_t, lanes> words{}, others{};
  std::array<std::uint16_t, lanes> carry{};  // wraps: lanes past the labels add up fingerprints
  std::size_t rows_carried = 0;

  void add(const word_row& row) {
    for (std::size_t i = 0; i < emotions; ++i) words[i] += row.weights[i];
  }
  void add(const other_row& row) {
    std::int8_t weights[lanes];
    std::memcpy(weights, &row, lanes);
    for (std::size_t i = 0; i < lanes; ++i)
      carry[i] = std::uint16_t(carry[i] + std::uint16_t(weights[i]));
    if (++rows_carried == rows_per_carry) flush();
  }
  void flush() {
    for (std::size_t i = 0; i < emotions; ++i) others[i] += std::int16_t(carry[i]);
    carry = {};
    rows_carried = 0;
  }
};

const word_row* find_word(std::span<const word_row> rows, std::uint64_t key) {
  for (std::size_t at = emotion_model::slot_of(key, rows.size());; ++at) {
    const word_row& row = rows[at & (rows.size() - 1)];
    if (((row.key ^ key) & ~key_count_bits) == 0) return &row;
    if (row.key == 0) return nullptr;
  }
}

const other_row* find_other(std::span<const other_row> rows, std::uint64_t key) {
  const std::uint32_t wanted = emotion_model::fingerprint(key);
  for (std::size_t at = emotion_model::slot_of(key, rows.size());; ++at) {
    const other_row& row = rows[at & (rows.size() - 1)];
    if (row.fingerprint == wanted) return &row;
    if (row.fingerprint == 0) return nullptr;
  }
}

}  // namespace

std::uint64_t emotion_model::checksum(std::span<const std::byte> bytes) {
  constexpr std::size_t field = offsetof(model_header, checksum);
  std::uint64_t h = 0xCBF29CE484222325ULL;
  for (std::size_t at = 0; at + 8 <= bytes.size(); at += 8) {
    std::uint64_t word = 0;
    if (at != field) std::memcpy(&word, bytes.data() + at, 8);
    h = (h ^ word) * 0x100000001B3ULL;
    h ^= h >> 32U;
  }
  return h;
}

std::variant<emotion_model, std::string> emotion_model::open(std::span<const std::byte> bytes) {
  using namespace std::string_literals;
  if (reinterpret_cast<std::uintptr_t>(bytes.data()) % alignment != 0)
    return "emotions.model: not 64-byte aligned"s;
  if (bytes.size() < model_header::bytes || bytes.size() > bytes_max)
    return "emotions.model: truncated, or too large"s;
  const auto* header = reinterpret_cast<const model_header*>(bytes.data());
  if (header->magic != model_header::magic_expected)
    return "emotions.model: not a model of emotions"s;
  if (header->version != model_header::version_expected || header->labels != emotions)
    return "emotions.model: version " + std::to_string(header->version) + " with " +
           std::to_string(header->labels) + " labels; this program reads version 1 with 28";
  if (!is_slot_count(header->word_slots) || !is_slot_count(header->other_slots))
    return "emotions.model: slot counts must be powers of two"s;
  const std::uint64_t word_bytes = std::uint64_t{header->word_slots} * sizeof(word_row);
  const std::uint64_t other_bytes = std::uint64_t{header->other_slots} * sizeof(other_row);
  if (bytes.size() != model_header::bytes + word_bytes + other_bytes)
    return "emotions.model: the size does not fit the slot counts"s;
  if (header->checksum != checksum(bytes))
    return "emotions.model: the checksum does not match: damaged or altered"s;
  if (!all_finite(*header)) return "emotions.model: a scale or threshold is not a finite number"s;
  emotion_model made;
  made.header_ = header;
  const std::byte* at = bytes.data() + model_header::bytes;
  made.words_ = {reinterpret_cast<const word_row*>(at), header->word_slots};
  made.others_ = {reinterpret_cast<const other_row*>(at + word_bytes), header->other_slots};
  // A search ends at a free slot, so that there must be one.
  const bool words_end = std::any_of(made.words_.begin(), made.words_.end(),
                                     [](const word_row& r) { return r.key == 0; });
  const bool others_end = std::any_of(made.others_.begin(), made.others_.end(),
                                      [](const other_row& r) { return r.fingerprint == 0; });
  if (!words_end || !others_end) return "emotions.model: a table without a free slot"s;
  return made;
}

/// Finds each word's row and tells names from words: a name in the model, or an unknown word with a
/// capital.
void emotion_reader::find_words() {
  const auto table = model_.words();
  rows_.clear();
  for (const auto& w : features_.words())
    __builtin_prefetch(&table[emotion_model::slot_of(w.key, table.size())]);
  for (std::size_t i = 0; i < features_.words().size(); ++i) {
    const auto& w = features_.words()[i];
    const word_row* row = find_word(table, w.key);
    const bool is_name =
        row == nullptr ? w.capitalised : (row->key & key_count_bits) == key_of_name;
    if (is_name) {
      features_.read_as_name(i);
      row = find_word(table, features_.words()[i].key);
    }
    rows_.push_back(row);
  }
}

probabilities emotion_reader::score(std::string_view text) {
  const auto others = model_.others();
  features_.scan(text);
  find_words();
  features_.combine();
  // Rows lie all over some megabytes: ask for all of them before the first is needed.
  for (const std::uint64_t key : features_.others())
    __builtin_prefetch(&others[emotion_model::slot_of(key, others.size())]);
  sums s;
  std::size_t found = 0;
  keys_.clear();
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    if (features_.words()[i].negated) continue;
    if (const word_row* row = rows_[i]) {
      s.add(*row);
      found += row->key & key_count_bits;
    } else if (unknown_ == unknown_words::read_letters) {
      emotion_features::each_ngram(features_.words()[i].spelled, [&](std::uint64_t key) {
        __builtin_prefetch(&others[emotion_model::slot_of(key, others.size())]);
        keys_.push_back(key);
      });
    }
  }
  const auto add_others = [&](const std::vector<std::uint64_t>& keys) {
    for (const std::uint64_t key : keys) {
      if (const other_row* row = find_other(others, key)) {
        s.add(*row);
        ++found;
      }
    }
  };
  add_others(features_.others());
  add_others(keys_);
  s.flush();
  const model_header& h = model_.header();
  const float norm = found == 0 ? 0.0F : 1.0F / std::sqrt(float(found));
  probabilities scores;
  for (std::size_t i = 0; i < emotions; ++i)
    scores[i] = h.bias[i] +
                (h.word_unit[i] * float(s.words[i]) + h.other_unit[i] * float(s.others[i])) * norm;
  features_.release_above(scratch_bytes_max);
  return scores;
}

probabilities emotion_reader::read(std::string_view text) {
  const model_header& h = model_.header();
  probabilities p = score(text);
  for (std::size_t i = 0; i < emotions; ++i)
    p[i] = 1.0F / (1.0F + std::exp(-(h.slope[i] * p[i] + h.shift[i])));
  return p;
}

}  // namespace sonder::sentiment
