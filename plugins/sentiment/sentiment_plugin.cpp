// The plugin: rows in, columns out. All that reads text is in the core beside it.

#include <algorithm>
#include <array>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <variant>

#include "sentiment/embedded.h"
#include "sentiment/emotion_model.h"
#include "sentiment/scorer.h"
#include "sonder/plugin.hpp"

namespace sonder::sentiment {
namespace {

namespace sp = sonder::plugin;

// Indices of manifest.json.
constexpr std::size_t read_text = 0;
enum : std::uint32_t {
  write_valence,
  write_arousal,
  write_emotions,
  write_emotion_labels,
  write_explanation
};

constexpr std::int64_t rows_between_cancel_checks = 256;

struct settings {
  bool emotions = true;
  bool explain = false;
  unknown_words unknown = unknown_words::read_letters;
  float probability_floor = 0;
};

settings settings_of(std::string_view config_json) {
  const auto config = nlohmann::json::parse(config_json);
  return {.emotions = config.at("emotions").get<bool>(),
          .explain = config.at("explain").get<bool>(),
          .unknown = config.at("profile").get<std::string>() == "fast"
                         ? unknown_words::pass_over
                         : unknown_words::read_letters,
          .probability_floor = config.at("probability_floor").get<float>()};
}

struct sentiment_module {
  settings configured;
  const lexicon* words;
  std::optional<emotion_model> model;  // none where no emotions are asked for: checking it brings
                                       // all 5 MiB of it into memory

  static sp::result<std::unique_ptr<sentiment_module>> create(const sp::host&,
                                                              const sp::module_args& args) {
    auto made = std::make_unique<sentiment_module>(
        sentiment_module{settings_of(args.config_json), &lexicon::shipped(), std::nullopt});
    if (!made->configured.emotions) return made;
    auto opened = emotion_model::open(embedded_emotions());
    if (const auto* why = std::get_if<std::string>(&opened)) return sp::status::fatal(*why);
    made->model = std::get<emotion_model>(opened);
    return made;
  }
};

class sentiment_instance {
 public:
  explicit sentiment_instance(const sentiment_module& module)
      : module_(module), scorer_(*module.words) {
    if (module.model) reader_.emplace(*module.model, module.configured.unknown);
  }

  static sp::result<std::unique_ptr<sentiment_instance>> create(const sentiment_module& module,
                                                                const sp::host&) {
    return std::make_unique<sentiment_instance>(module);
  }

  sp::status process(const sp::batch& in, sp::output& out) {
    const auto texts = in.text(read_text);
    start();
    for (std::int64_t row = 0; row < in.rows(); ++row) {
      if (row % rows_between_cancel_checks == 0 && in.cancelled()) return sp::status::cancelled();
      // A tombstone has no text: no words, no feeling.
      const std::string_view text = texts.is_null(row) ? std::string_view{} : texts[row];
      add_mood(text);
      add_emotions(text);
    }
    out.set(write_valence, valence_);
    out.set(write_arousal, arousal_);
    out.set(write_emotions, emotions_);
    out.set(write_emotion_labels, labels_);
    if (module_.configured.explain) out.set(write_explanation, explanation_);
    return {};
  }

 private:
  using contributions = sp::build::record<sp::build::int32, sp::build::int32, sp::build::float64>;

  void start() {
    valence_.start();
    arousal_.start();
    emotions_.start();
    labels_.start();
    explanation_.start();
  }

  void add_mood(std::string_view text) {
    const mood m = scorer_.score(text);
    valence_.builder().append(m.valence);
    arousal_.builder().append(m.arousal);
    if (!module_.configured.explain) return;
    auto& rows = explanation_.builder();
    for (const contribution& c : scorer_.contributions()) {
      rows.values().get<0>().append(std::int32_t(c.begin));
      rows.values().get<1>().append(std::int32_t(c.end));
      rows.values().get<2>().append(c.value);
      rows.values().close();
    }
    rows.close();
  }

  void add_emotions(std::string_view text) {
    auto& by_name = emotions_.builder();
    auto& labels = labels_.builder();
    if (reader_) {
      const probabilities p = reader_->read(text);
      const auto& thresholds = module_.model->header().threshold;
      std::array<std::uint8_t, emotions> chosen;
      std::size_t count = 0;
      for (std::size_t i = 0; i < emotions; ++i) {
        if (p[i] >= module_.configured.probability_floor)
          by_name.entry(emotion_names[i]).append(double(p[i]));
        if (p[i] > thresholds[i]) chosen[count++] = std::uint8_t(i);
      }
      std::sort(chosen.begin(), chosen.begin() + std::ptrdiff_t(count),
                [&](std::uint8_t a, std::uint8_t b) { return p[a] != p[b] ? p[a] > p[b] : a < b; });
      for (std::size_t i = 0; i < count; ++i) labels.values().append(emotion_names[chosen[i]]);
    }
    by_name.close();
    labels.close();
  }

  const sentiment_module& module_;
  scorer scorer_;
  std::optional<emotion_reader> reader_;  // none where no emotions are asked for
  sp::column<sp::build::float64> valence_, arousal_;
  sp::column<sp::build::map<sp::build::float64>> emotions_;
  sp::column<sp::build::list<sp::build::utf8>> labels_;
  sp::column<sp::build::list<contributions>> explanation_;
};

}  // namespace
}  // namespace sonder::sentiment

SONDER_PLUGIN(sonder::sentiment::sentiment_module, sonder::sentiment::sentiment_instance)
