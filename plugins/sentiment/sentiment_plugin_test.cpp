#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "sonder/testing/host.h"

namespace sonder::sentiment {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;

std::string plugin_path() {
  const char* build = std::getenv("SONDER_BUILD_DIR");
  return std::string(build != nullptr ? build : ".") + "/plugins/sentiment.so";
}

class sentiment_stage {
 public:
  explicit sentiment_stage(const std::string& config_json = "{}")
      : host_(plugin_path(), {.config_json = config_json}) {}

  json read(const std::string& text) { return read_all({text}).at(0); }

  std::vector<json> read_all(const std::vector<std::string>& texts) {
    std::vector<sonder::testing::input_row> rows;
    for (const auto& text : texts) rows.emplace_back(json{{"text", text}}.dump());
    const auto done = host_.process("texts", rows);
    EXPECT_TRUE(done.ok()) << done.message;
    std::vector<json> made;
    for (const auto& row : done.rows) {
      EXPECT_EQ(row.what, sonder::testing::verdict::pass);
      made.push_back(json::parse(row.columns));
    }
    EXPECT_EQ(host_.arrays_not_released(), 0U);
    EXPECT_THAT(host_.violations(), ::testing::IsEmpty());
    return made;
  }
  sonder::testing::host& host() { return host_; }

 private:
  sonder::testing::host host_;
};

TEST(SentimentPlugin, SaysHowATextFeels) {
  const json row = sentiment_stage().read("Thank you so much, what a lovely day!");
  EXPECT_GT(row.at("valence").get<double>(), 0.5);
  EXPECT_GT(row.at("arousal").get<double>(), 0.3);
  EXPECT_GT(row.at("emotions").at("gratitude").get<double>(), 0.5);
  EXPECT_EQ(row.at("emotion_labels").at(0), "gratitude");
  EXPECT_TRUE(row.at("explanation").is_null());
}

TEST(SentimentPlugin, LabelsStandByFallingProbability) {
  const json row = sentiment_stage().read("I love you, thank you, I am so happy and proud!");
  const auto labels = row.at("emotion_labels").get<std::vector<std::string>>();
  ASSERT_GE(labels.size(), 2U);
  for (std::size_t i = 1; i < labels.size(); ++i) {
    EXPECT_GE(row.at("emotions").at(labels[i - 1]).get<double>(),
              row.at("emotions").at(labels[i]).get<double>());
  }
}

TEST(SentimentPlugin, EmotionsCanBeSwitchedOff) {
  const json row = sentiment_stage(R"({"emotions": false})").read("Thank you so much!");
  EXPECT_GT(row.at("valence").get<double>(), 0);
  EXPECT_TRUE(row.at("emotions").empty());
  EXPECT_TRUE(row.at("emotion_labels").empty());
}

TEST(SentimentPlugin, LeavesImprobableEmotionsOutBelowTheFloor) {
  const json row = sentiment_stage(R"({"probability_floor": 0.2})").read("I am happy");
  ASSERT_FALSE(row.at("emotions").empty());
  for (const auto& [label, probability] : row.at("emotions").items()) {
    EXPECT_GE(probability.get<double>(), 0.2) << label;
  }
  EXPECT_EQ(sentiment_stage(R"({"probability_floor": 0})").read("I am happy").at("emotions").size(),
            28U);
}

TEST(SentimentPlugin, ExplainsValenceByTheWordsThatMadeIt) {
  const std::string text = "Work was awful, but the evening was lovely!";
  const json row = sentiment_stage(R"({"explain": true})").read(text);
  double sum = 0;
  std::vector<std::string> words;
  for (const auto& part : row.at("explanation")) {
    sum += part.at("contribution").get<double>();
    words.push_back(text.substr(
        part.at("token_start"),
        part.at("token_end").get<std::size_t>() - part.at("token_start").get<std::size_t>()));
  }
  EXPECT_NEAR(row.at("valence").get<double>(), sum / std::sqrt(sum * sum + 15), 1e-12);
  EXPECT_THAT(words, ElementsAre("awful", "lovely", "!"));
}

TEST(SentimentPlugin, ProfilesDifferOnlyInWordsThatTrainingHasNotSeen) {
  sentiment_stage fast(R"({"profile": "fast"})"), full(R"({"profile": "full"})");
  EXPECT_EQ(fast.read("I am very happy today"), full.read("I am very happy today"));
  EXPECT_NE(fast.read("gratefulnessfully yours"), full.read("gratefulnessfully yours"));
}

TEST(SentimentPlugin, ARowDoesNotDependOnItsNeighbours) {
  const std::vector<std::string> texts = {
      "I hate Mondays", "", "😊😊😊", "Nothing to say.", std::string(200'000, '!'), "so proud!"};
  sentiment_stage stage(R"({"explain": true})");
  const auto together = stage.read_all(texts);
  for (std::size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(together[i], stage.read(texts[i])) << i;
}

TEST(SentimentPlugin, AnEmptyTextFeelsNothing) {
  const json row = sentiment_stage().read("");
  EXPECT_EQ(row.at("valence"), 0.0);
  EXPECT_EQ(row.at("arousal"), 0.0);
}

TEST(SentimentPlugin, TakesAnEightMegabyteText) {
  std::string text;
  while (text.size() < (8U << 20U)) text += "I am not unhappy 😀 at all! ";
  EXPECT_LE(sentiment_stage().read(text).at("valence").get<double>(), 1.0);
}

TEST(SentimentPlugin, GivesUpWhenTheHostAsks) {
  sentiment_stage stage;
  stage.host().cancel_next_call();
  const auto done = stage.host().process("texts", {R"({"text": "good"})"});
  EXPECT_FALSE(done.ok());
  EXPECT_GT(stage.read("good").at("valence").get<double>(), 0) << "and works again afterwards";
}

TEST(SentimentPlugin, RefusesAConfigurationThatItsManifestDoesNotAllow) {
  EXPECT_THROW(sentiment_stage(R"({"profile": "fastest"})"), sonder::testing::refused);
  EXPECT_THROW(sentiment_stage(R"({"probability_floor": 2})"), sonder::testing::refused);
  EXPECT_THROW(sentiment_stage(R"({"emotion": true})"), sonder::testing::refused);
}

}  // namespace
}  // namespace sonder::sentiment
