// sentiment_train: learns emotions.model from GoEmotions.
//
//   sentiment_train TRAIN.tsv OUT.model [DEV.tsv]
//
// One-vs-rest logistic regression over hashed features, AdaGrad with a strong L2 penalty.
// Thresholds and calibration come from scores of four folds of TRAIN that each other's model has
// not seen; DEV, if given, is only measured, by the finished file. One thread, the same seed, the
// same file.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "sentiment/emotion_model.h"

namespace sonder::sentiment {
namespace {

// Chosen by cross-validation on TRAIN.
constexpr std::size_t texts_with_feature_min = 3;
constexpr std::size_t word_count_min = 2;  // rarer words are read by their n-grams
// A word that stands with a capital this often where no sentence opens is a name.
constexpr double name_capitals_share = 0.9;
constexpr float learning_rate = 0.6F, final_rate_share = 0.25F, bias_rate_share = 0.02F;
constexpr float penalty = 2e-3F;
constexpr int passes = 6;
constexpr int folds = 4;
constexpr std::uint64_t seed = 20'201'023;
constexpr double table_fill_max = 0.85;

constexpr std::size_t lanes = 32;
using row = std::array<float, lanes>;

struct example {
  std::vector<std::pair<std::uint32_t, float>> features;  // index, value after normalisation
  std::uint32_t labels;                                   // bit set
};

struct labelled_text {
  std::string text;
  std::uint32_t labels;
};

struct weights {
  std::vector<row> of;
  row bias{};
};

struct vocabulary {
  std::unordered_map<std::uint64_t, std::uint32_t> index;  // feature key -> position in weights::of
  std::unordered_map<std::uint64_t, std::string> words;    // word key -> spelling with n-grams
  std::unordered_set<std::uint64_t> names;                 // word keys
};

std::vector<labelled_text> load(const char* path) {
  std::ifstream in(path);
  if (!in) throw std::runtime_error(std::string(path) + ": cannot be read");
  std::vector<labelled_text> texts;
  for (std::string line; std::getline(in, line);) {
    const std::size_t tab = line.find('\t');
    if (tab == std::string::npos)
      throw std::runtime_error(std::string(path) + ": a line without a tab");
    labelled_text t{line.substr(0, tab), 0};
    const char* at = line.c_str() + tab + 1;
    for (char* end = nullptr; *at != '\0' && *at != '\t'; at = *end == ',' ? end + 1 : end) {
      const unsigned long label = std::strtoul(at, &end, 10);
      if (end == at || label >= emotions)
        throw std::runtime_error(std::string(path) + ": a label that is none of 28");
      t.labels |= 1U << label;
    }
    texts.push_back(std::move(t));
  }
  return texts;
}

/// Scans the text and reads names as the finished model will.
void scan(emotion_features& features, std::string_view text, const vocabulary& known) {
  features.scan(text);
  for (std::size_t i = 0; i < features.words().size(); ++i) {
    const auto& w = features.words()[i];
    if (known.names.contains(w.key) || (w.capitalised && !known.words.contains(w.key)))
      features.read_as_name(i);
  }
  features.combine();
}

template <class Visit>
void each_feature(const emotion_features& features, Visit visit) {
  for (const auto& w : features.words()) {
    if (w.negated) continue;
    visit(w.key);
    emotion_features::each_ngram(w.spelled, visit);
  }
  for (const std::uint64_t key : features.others()) visit(key);
}

/// Words that training has seen often enough, and which of them are names.
void collect_words(const std::vector<labelled_text>& texts, vocabulary& made) {
  struct count {
    std::uint32_t all = 0, inside_sentence = 0, capitalised_inside = 0;
  };
  std::unordered_map<std::uint64_t, count> counts;
  emotion_features features;
  for (const auto& t : texts) {
    features.scan(t.text);
    for (const auto& w : features.words()) {
      count& c = counts[w.key];
      if (++c.all == word_count_min) made.words.emplace(w.key, w.spelled);
      if (w.opens_sentence) continue;
      ++c.inside_sentence;
      c.capitalised_inside += w.capitalised;
    }
  }
  for (const auto& [key, spelled] : made.words) {
    const count& c = counts[key];
    const bool contraction = spelled.starts_with("i'");  // "I'm" has its capital for another reason
    if (!contraction && c.capitalised_inside >= word_count_min &&
        c.capitalised_inside >= name_capitals_share * c.inside_sentence)
      made.names.insert(key);
  }
}

vocabulary collect(const std::vector<labelled_text>& texts) {
  struct count {
    std::uint32_t texts = 0, last_text = ~0U;
  };
  vocabulary made;
  collect_words(texts, made);
  std::unordered_map<std::uint64_t, count> counts;
  emotion_features features;
  for (std::uint32_t i = 0; i < texts.size(); ++i) {
    scan(features, texts[i].text, made);
    each_feature(features, [&](std::uint64_t key) {
      count& c = counts[key];
      c.texts += c.last_text != i;
      c.last_text = i;
    });
  }
  std::vector<std::uint64_t> kept;
  for (const auto& [key, c] : counts) {
    if (c.texts >= texts_with_feature_min) kept.push_back(key);
  }
  std::sort(kept.begin(), kept.end());
  for (std::uint32_t i = 0; i < kept.size(); ++i) made.index.emplace(kept[i], i);
  return made;
}

example encode(emotion_features& features, const labelled_text& t, const vocabulary& known) {
  std::vector<std::uint32_t> found;
  scan(features, t.text, known);
  each_feature(features, [&](std::uint64_t key) {
    if (const auto at = known.index.find(key); at != known.index.end()) found.push_back(at->second);
  });
  std::sort(found.begin(), found.end());
  example made{{}, t.labels};
  const float norm = found.empty() ? 0.0F : 1.0F / std::sqrt(float(found.size()));
  for (std::size_t i = 0; i < found.size();) {
    std::size_t end = i;
    while (end < found.size() && found[end] == found[i]) ++end;
    made.features.emplace_back(found[i], float(end - i) * norm);
    i = end;
  }
  return made;
}

row score(const weights& w, const example& x) {
  row sum = w.bias;
  for (const auto& [feature, value] : x.features) {
    const row& of = w.of[feature];
    for (std::size_t k = 0; k < lanes; ++k) sum[k] += value * of[k];
  }
  return sum;
}

weights train(const std::vector<example>& examples, std::vector<std::uint32_t> order,
              std::size_t features) {
  weights w{std::vector<row>(features, row{}), {}};
  std::vector<row> squares(features);
  for (row& r : squares) r.fill(1e-6F);
  std::array<double, emotions> positives{};
  for (const std::uint32_t i : order) {
    for (std::size_t k = 0; k < emotions; ++k) positives[k] += examples[i].labels >> k & 1U;
  }
  for (std::size_t k = 0; k < emotions; ++k)
    w.bias[k] = float(std::log(positives[k] / (double(order.size()) - positives[k])));
  std::mt19937_64 random(seed);
  for (int pass = 0; pass < passes; ++pass) {
    for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random() % i]);
    const float rate =
        learning_rate * (1 - (1 - final_rate_share) * float(pass) / float(passes - 1));
    for (const std::uint32_t i : order) {
      const example& x = examples[i];
      const row z = score(w, x);
      row gradient{};
      for (std::size_t k = 0; k < emotions; ++k)
        gradient[k] = 1 / (1 + std::exp(-z[k])) - float(x.labels >> k & 1U);
      for (std::size_t k = 0; k < emotions; ++k) w.bias[k] -= rate * bias_rate_share * gradient[k];
      for (const auto& [feature, value] : x.features) {
        row& of = w.of[feature];
        row& square = squares[feature];
        for (std::size_t k = 0; k < lanes; ++k) {
          const float g = gradient[k] * value + penalty * of[k];
          square[k] += g * g;
          of[k] -= rate * g / std::sqrt(square[k]);
        }
      }
    }
  }
  return w;
}

/// Scores of each text by a model that has not seen it.
std::vector<row> cross_validate(const std::vector<example>& examples, std::size_t features) {
  std::mt19937_64 random(seed);
  std::vector<int> fold(examples.size());
  for (int& f : fold) f = int(random() % folds);
  std::vector<row> scores(examples.size());
  for (int held_out = 0; held_out < folds; ++held_out) {
    std::vector<std::uint32_t> rest;
    for (std::uint32_t i = 0; i < examples.size(); ++i) {
      if (fold[i] != held_out) rest.push_back(i);
    }
    const weights w = train(examples, rest, features);
    for (std::uint32_t i = 0; i < examples.size(); ++i) {
      if (fold[i] == held_out) scores[i] = score(w, examples[i]);
    }
    std::printf("fold %d of %d\n", held_out + 1, folds);
  }
  return scores;
}

struct calibration {
  float slope, shift, threshold, f1;
};

/// The score above which F1 is best, and Platt's logistic fit (Newton steps; slope kept positive).
calibration calibrate(const std::vector<row>& scores, const std::vector<example>& examples,
                      std::size_t label) {
  std::vector<std::pair<float, bool>> ranked;
  for (std::size_t i = 0; i < scores.size(); ++i)
    ranked.emplace_back(scores[i][label], examples[i].labels >> label & 1U);
  double a = 1, b = 0;
  for (int step = 0; step < 30; ++step) {
    double ga = 0, gb = 0, haa = 1e-6, hab = 0, hbb = 1e-6;
    for (const auto& [z, y] : ranked) {
      const double p = 1 / (1 + std::exp(-(a * double(z) + b)));
      const double d = p - double(y), v = p * (1 - p);
      ga += d * double(z), gb += d;
      haa += v * double(z) * double(z), hab += v * double(z), hbb += v;
    }
    const double det = haa * hbb - hab * hab;
    a = std::max(0.05, a - (hbb * ga - hab * gb) / det);
    b -= (haa * gb - hab * ga) / det;
  }
  std::sort(ranked.begin(), ranked.end(),
            [](const auto& x, const auto& y) { return x.first > y.first; });
  const auto positives =
      double(std::count_if(ranked.begin(), ranked.end(), [](const auto& r) { return r.second; }));
  double hits = 0, best = -1;
  float cut = 0;
  for (std::size_t i = 0; i + 1 < ranked.size(); ++i) {
    hits += ranked[i].second;
    const double f1 = 2 * hits / (double(i + 1) + positives);
    if (f1 > best && ranked[i].first != ranked[i + 1].first) {
      best = f1;
      cut = (ranked[i].first + ranked[i + 1].first) / 2;
    }
  }
  const double threshold = 1 / (1 + std::exp(-(a * double(cut) + b)));
  return {float(a), float(b), float(threshold), float(best)};
}

std::uint32_t slots_for(std::size_t rows) {
  std::uint32_t slots = 1024;
  while (double(rows) > table_fill_max * slots) slots *= 2;
  return slots;
}

/// So that the largest weight of each label is the largest integer.
template <class Integer>
std::array<float, emotions> units_of(const std::vector<row>& rows) {
  std::array<float, emotions> units{};
  for (const row& r : rows) {
    for (std::size_t k = 0; k < emotions; ++k) units[k] = std::max(units[k], std::abs(r[k]));
  }
  for (float& u : units) u = std::max(u, 1e-6F) / float(std::numeric_limits<Integer>::max());
  return units;
}

template <class Integer>
Integer quantise(float value, float unit) {
  const float limit = float(std::numeric_limits<Integer>::max());
  return Integer(std::lround(std::clamp(value / unit, -limit, limit)));
}

struct keyed_row {
  std::uint64_t key;
  std::uint64_t features;
  row sum;
};

/// A word's weights and those of its n-grams, summed; by key, so that the same training makes the
/// same file.
std::vector<keyed_row> rows_of_words(const weights& w, const vocabulary& known) {
  std::vector<keyed_row> rows;
  for (const auto& [key, spelled] : known.words) {
    keyed_row r{key, 0, {}};
    const auto add = [&](std::uint64_t feature) {
      const auto found = known.index.find(feature);
      if (found == known.index.end()) return;
      ++r.features;
      for (std::size_t k = 0; k < lanes; ++k) r.sum[k] += w.of[found->second][k];
    };
    if (known.names.contains(key)) {
      r.features = key_of_name;
    } else {
      add(key);
      emotion_features::each_ngram(spelled, add);
      r.features = std::min(r.features, row_features_max);
    }
    rows.push_back(r);
  }
  std::sort(rows.begin(), rows.end(),
            [](const keyed_row& a, const keyed_row& b) { return a.key < b.key; });
  return rows;
}

std::vector<keyed_row> rows_of_others(const weights& w, const vocabulary& known) {
  std::vector<keyed_row> rows;
  for (const auto& [key, index] : known.index) {
    if (!known.words.contains(key)) rows.push_back({key, 1, w.of[index]});
  }
  std::sort(rows.begin(), rows.end(),
            [](const keyed_row& a, const keyed_row& b) { return a.key < b.key; });
  return rows;
}

/// The rows as an open-addressing table; `fill` makes one slot from one row, `is_free` tells an
/// unused one.
template <class Slot, class Fill, class Free>
std::vector<Slot> table_of(const std::vector<keyed_row>& rows, Fill fill, Free is_free) {
  std::vector<Slot> slots(slots_for(rows.size()), Slot{});
  for (const keyed_row& r : rows) {
    std::size_t at = emotion_model::slot_of(r.key, slots.size());
    while (!is_free(slots[at & (slots.size() - 1)])) ++at;
    fill(slots[at & (slots.size() - 1)], r);
  }
  return slots;
}

std::vector<row> sums_of(const std::vector<keyed_row>& rows) {
  std::vector<row> sums;
  for (const keyed_row& r : rows) sums.push_back(r.sum);
  return sums;
}

std::vector<std::byte> write(const weights& w, const vocabulary& known,
                             const std::vector<calibration>& calibrated) {
  const auto words = rows_of_words(w, known);
  const auto others = rows_of_others(w, known);
  model_header header{};
  header.magic = model_header::magic_expected;
  header.version = model_header::version_expected;
  header.labels = emotions;
  header.word_unit = units_of<std::int16_t>(sums_of(words));
  header.other_unit = units_of<std::int8_t>(sums_of(others));
  for (std::size_t k = 0; k < emotions; ++k) {
    header.bias[k] = w.bias[k];
    header.slope[k] = calibrated[k].slope;
    header.shift[k] = calibrated[k].shift;
    header.threshold[k] = calibrated[k].threshold;
  }
  const auto word_rows = table_of<word_row>(
      words,
      [&](word_row& to, const keyed_row& r) {
        to.key = (r.key & ~key_count_bits) | r.features;
        for (std::size_t k = 0; k < emotions; ++k)
          to.weights[k] = quantise<std::int16_t>(r.sum[k], header.word_unit[k]);
      },
      [](const word_row& r) { return r.key == 0; });
  const auto other_rows = table_of<other_row>(
      others,
      [&](other_row& to, const keyed_row& r) {
        to.fingerprint = emotion_model::fingerprint(r.key);
        for (std::size_t k = 0; k < emotions; ++k)
          to.weights[k] = quantise<std::int8_t>(r.sum[k], header.other_unit[k]);
      },
      [](const other_row& r) { return r.fingerprint == 0; });
  header.word_slots = std::uint32_t(word_rows.size());
  header.other_slots = std::uint32_t(other_rows.size());
  const std::size_t word_bytes = word_rows.size() * sizeof(word_row),
                    other_bytes = other_rows.size() * sizeof(other_row);
  std::vector<std::byte> bytes(model_header::bytes + word_bytes + other_bytes);
  std::memcpy(bytes.data() + model_header::bytes, word_rows.data(), word_bytes);
  std::memcpy(bytes.data() + model_header::bytes + word_bytes, other_rows.data(), other_bytes);
  std::memcpy(bytes.data(), &header, sizeof header);
  header.checksum = emotion_model::checksum(bytes);
  std::memcpy(bytes.data(), &header, sizeof header);
  return bytes;
}

void measure(const emotion_model& model, const std::vector<labelled_text>& texts,
             unknown_words unknown) {
  emotion_reader reader(model, unknown);
  std::array<double, emotions> hits{}, wrong{}, missed{};
  for (const auto& t : texts) {
    const probabilities p = reader.read(t.text);
    for (std::size_t k = 0; k < emotions; ++k) {
      const bool said = p[k] > model.header().threshold[k], is = (t.labels >> k & 1U) != 0;
      hits[k] += said && is, wrong[k] += said && !is, missed[k] += !said && is;
    }
  }
  double macro = 0;
  for (std::size_t k = 0; k < emotions; ++k) {
    const double f1 = hits[k] == 0 ? 0 : 2 * hits[k] / (2 * hits[k] + wrong[k] + missed[k]);
    macro += f1 / double(emotions);
    std::printf("  %-15s F1 %.3f\n", std::string(emotion_names[k]).c_str(), f1);
  }
  std::printf("macro-F1 %.4f of %zu texts, profile %s\n", macro, texts.size(),
              unknown == unknown_words::read_letters ? "full" : "fast");
}

void run(const char* train_path, const char* out_path, const char* dev_path) {
  const auto texts = load(train_path);
  const vocabulary known = collect(texts);
  emotion_features features;
  std::vector<example> examples;
  for (const auto& t : texts) examples.push_back(encode(features, t, known));
  std::printf("%zu texts, %zu features, %zu words, %zu of them names\n", texts.size(),
              known.index.size(), known.words.size(), known.names.size());
  const auto scores = cross_validate(examples, known.index.size());
  std::vector<calibration> calibrated;
  double macro = 0;
  for (std::size_t k = 0; k < emotions; ++k) {
    calibrated.push_back(calibrate(scores, examples, k));
    macro += double(calibrated.back().f1) / double(emotions);
  }
  std::printf("cross-validated macro-F1 %.4f (thresholds chosen on the same scores)\n", macro);
  std::vector<std::uint32_t> all(examples.size());
  std::iota(all.begin(), all.end(), 0U);
  const auto bytes = write(train(examples, all, known.index.size()), known, calibrated);
  std::ofstream out(out_path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(bytes.data()), std::streamsize(bytes.size()));
  if (!out.flush()) throw std::runtime_error(std::string(out_path) + ": cannot be written");
  std::printf("%s: %zu bytes\n", out_path, bytes.size());
  if (dev_path == nullptr) return;
  auto* aligned = static_cast<std::byte*>(std::aligned_alloc(64, (bytes.size() + 63) / 64 * 64));
  std::memcpy(aligned, bytes.data(), bytes.size());
  const auto opened = emotion_model::open({aligned, bytes.size()});
  if (const auto* why = std::get_if<std::string>(&opened)) throw std::runtime_error(*why);
  const auto dev = load(dev_path);
  for (const auto unknown : {unknown_words::pass_over, unknown_words::read_letters})
    measure(std::get<emotion_model>(opened), dev, unknown);
  std::free(aligned);
}

}  // namespace
}  // namespace sonder::sentiment

int main(int argc, char** argv) {
  if (argc < 3 || argc > 4) {
    std::fprintf(stderr, "usage: sentiment_train TRAIN.tsv OUT.model [DEV.tsv]\n");
    return 2;
  }
  try {
    sonder::sentiment::run(argv[1], argv[2], argc == 4 ? argv[3] : nullptr);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "sentiment_train: %s\n", e.what());
    return 1;
  }
}
