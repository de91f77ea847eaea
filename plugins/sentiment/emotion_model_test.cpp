#include "sentiment/emotion_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "sentiment/counted_new.h"
#include "sentiment/embedded.h"

namespace sonder::sentiment {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::Not;

const emotion_model& shipped() {
  static const auto opened = emotion_model::open(embedded_emotions());
  return std::get<emotion_model>(opened);
}

std::vector<std::string> labels(std::string_view text,
                                unknown_words unknown = unknown_words::read_letters) {
  emotion_reader reader(shipped(), unknown);
  const probabilities p = reader.read(text);
  std::vector<std::string> found;
  for (std::size_t i = 0; i < emotions; ++i) {
    if (p[i] > shipped().header().threshold[i]) found.emplace_back(emotion_names[i]);
  }
  return found;
}

TEST(Emotions, AreReadFromPlainSentences) {
  EXPECT_THAT(labels("Thank you so much for your help!"), Contains("gratitude"));
  EXPECT_THAT(labels("I love this, I love you all"), Contains("love"));
  EXPECT_THAT(labels("I'm so sorry, I feel terrible about what I did"), Contains("remorse"));
  EXPECT_THAT(labels("I'm scared, this is terrifying"), Contains("fear"));
  EXPECT_THAT(labels("lol that is hilarious 😂"), Contains("amusement"));
  EXPECT_THAT(labels("I am so angry, I hate this"), Contains("anger"));
  EXPECT_THAT(labels("The bus leaves at ten."), Contains("neutral"));
  EXPECT_THAT(labels("The bus leaves at ten."), Not(Contains("grief")));
}

TEST(Emotions, DoNotContradictAPlainNegation) {
  const std::vector<std::pair<const char*, const char*>> denied = {
      {"I am not happy.", "joy"},
      {"I don't feel happy today", "joy"},
      {"so sad and lonely, nobody loves me", "love"},
      {"I don't love this at all", "love"},
      {"No joy, no love today.", "love"},
      {"This is not good", "admiration"},
      {"I was never excited about it", "excitement"},
      {"I can't say I'm proud of it", "pride"},
      {"not amazing, not funny", "amusement"},
      {"I am not sad anymore", "sadness"},
      {"I'm not angry", "anger"},
      {"I am not afraid of you", "fear"},
      {"I wasn't surprised", "surprise"}};
  for (const auto& [text, emotion] : denied) EXPECT_THAT(labels(text), Not(Contains(emotion))) << text;
}

TEST(Emotions, AreReadBehindANegationThatDoesNotReachThem) {
  EXPECT_THAT(labels("so sad and lonely, nobody loves me"), Contains("sadness"));
  EXPECT_THAT(labels("I am not tired, I am happy"), Contains("joy"));
  EXPECT_THAT(labels("I don't know but I love it"), Contains("love"));
  EXPECT_THAT(labels("I can't wait, so excited!"), Contains("excitement"));
  EXPECT_THAT(labels("I can't believe how amazing this is!"), Contains("admiration"));
}

TEST(Emotions, AreTheSameForEveryPlaceholderOfAPerson) {
  emotion_reader reader(shipped());
  const auto by_name = reader.read("[NAME] makes me happy");
  EXPECT_EQ(by_name, reader.read("[PERSON] makes me happy"));
  EXPECT_EQ(by_name, reader.read("<PERSON_17> makes me happy"));
}

TEST(Emotions, AreTheSameWhateverAPersonIsCalled) {
  emotion_reader reader(shipped());
  const auto in_place_of = [](std::string sentence, std::string_view name) {
    return sentence.replace(sentence.find('%'), 1, name);
  };
  // Names of the Equity Evaluation Corpus (Kiritchenko & Mohammad 2018), without those that are
  // words as well.
  for (const std::string_view name :
       {"Latisha", "Shaniqua", "Jamel", "Malik", "Alonzo", "Ebony", "Jasmine", "Tia", "Amanda",
        "Betsy", "Kristin", "Katie", "Adam", "Andrew", "Josh", "Roger"}) {
    for (const char* sentence : {"% feels angry.", "The situation makes % feel happy.",
                                 "% told us all about the recent terrifying events."}) {
      EXPECT_EQ(reader.read(in_place_of(sentence, name)),
                reader.read(in_place_of(sentence, "[NAME]")))
          << name;
    }
  }
}

TEST(Emotions, AreProbabilitiesForAnyBytes) {
  emotion_reader reader(shipped());
  for (const std::string& piece : {std::string(""), std::string("happy "), std::string("\xFF\xC0"),
                                   std::string("😂"), std::string("a\u0301\u200D")}) {
    std::string text;
    while (!piece.empty() && text.size() < (8U << 20U)) text += piece;
    for (const float p : reader.read(text)) {
      EXPECT_GE(p, 0.0F);
      EXPECT_LE(p, 1.0F);
    }
  }
}

TEST(Emotions, OneReaderReadsAsManyDo) {
  emotion_reader kept(shipped());
  for (const std::string_view text : {"I'm proud of her", "what a relief", "ewww gross", ""}) {
    emotion_reader fresh(shipped());
    EXPECT_EQ(kept.read(text), fresh.read(text)) << text;
  }
}

TEST(Emotions, ReadingAllocatesNothingOnceATextOfThatSizeWasSeen) {
  emotion_reader reader(shipped());
  const std::string_view text = "I'm sooo proud of you 😊 [NAME], unbelievablywonderful work!!!";
  (void)reader.read(text);
  const std::size_t before = allocations();
  for (int round = 0; round < 100; ++round) (void)reader.read(text);
  EXPECT_EQ(allocations(), before);
}

// ---- The file is hostile until it has been checked ----

class model_bytes {
 public:
  model_bytes() : storage_(embedded_emotions().size() + alignment) {
    void* at = storage_.data();
    std::size_t space = storage_.size();
    first_ = static_cast<std::byte*>(std::align(alignment, embedded_emotions().size(), at, space));
    size_ = embedded_emotions().size();
    std::memcpy(first_, embedded_emotions().data(), size_);
  }
  template <class T>
  void put(std::size_t offset, T value) {
    std::memcpy(first_ + offset, &value, sizeof value);
  }
  void sign() { put(offsetof(model_header, checksum), emotion_model::checksum(bytes())); }
  void cut(std::size_t size) { size_ = size; }
  void fill_words() {
    const auto slots = shipped().words().size();
    for (std::size_t i = 0; i < slots; ++i)
      put(model_header::bytes + i * sizeof(word_row), std::uint64_t{i + 1} << 8U);
  }
  [[nodiscard]] std::span<const std::byte> bytes() const { return {first_, size_}; }
  [[nodiscard]] std::string refusal() const {
    const auto opened = emotion_model::open(bytes());
    const auto* why = std::get_if<std::string>(&opened);
    return why == nullptr ? "" : *why;
  }

 private:
  static constexpr std::size_t alignment = 64;
  std::vector<std::byte> storage_;
  std::byte* first_;
  std::size_t size_;
};

TEST(EmotionModel, AnUnalteredCopyOpens) {
  EXPECT_EQ(model_bytes().refusal(), "");
}

TEST(EmotionModel, OneFlippedBitIsNoticed) {
  model_bytes altered;
  altered.put(model_header::bytes + 4096, std::uint8_t{0x55});
  EXPECT_THAT(altered.refusal(), HasSubstr("checksum does not match"));
}

TEST(EmotionModel, RefusesWhatIsCutShortOrSomethingElse) {
  model_bytes shortened;
  shortened.cut(shortened.bytes().size() - 64);
  EXPECT_THAT(shortened.refusal(), HasSubstr("does not fit the slot counts"));
  shortened.cut(100);
  EXPECT_THAT(shortened.refusal(), HasSubstr("truncated"));
  shortened.cut(0);
  EXPECT_THAT(shortened.refusal(), HasSubstr("truncated"));
  model_bytes other;
  other.put(0, std::uint8_t{'X'});
  EXPECT_THAT(other.refusal(), HasSubstr("not a model of emotions"));
  model_bytes newer;
  newer.put(offsetof(model_header, version), std::uint32_t{2});
  EXPECT_THAT(newer.refusal(), HasSubstr("version 2"));
}

TEST(EmotionModel, ASignedFileIsStillHeldToItsBounds) {
  model_bytes slots;
  slots.put(offsetof(model_header, word_slots), std::uint32_t{0});
  slots.sign();
  EXPECT_THAT(slots.refusal(), HasSubstr("powers of two"));
  model_bytes huge;
  huge.put(offsetof(model_header, other_slots), std::uint32_t{1U << 31U});
  huge.sign();
  EXPECT_THAT(huge.refusal(), HasSubstr("does not fit"));
  model_bytes infinite;
  infinite.put(offsetof(model_header, slope), std::numeric_limits<float>::infinity());
  infinite.sign();
  EXPECT_THAT(infinite.refusal(), HasSubstr("not a finite number"));
  model_bytes full;
  full.fill_words();
  full.sign();
  EXPECT_THAT(full.refusal(), HasSubstr("without a free slot"));
}

// ---- Against people ----

double macro_f1(std::istream& in, unknown_words unknown) {
  emotion_reader reader(shipped(), unknown);
  std::array<double, emotions> hits{}, said{}, is{};
  for (std::string line; std::getline(in, line);) {
    const std::size_t tab = line.find('\t');
    const probabilities p = reader.read(std::string_view(line).substr(0, tab));
    std::array<bool, emotions> gold{};
    std::size_t at = tab;
    do {
      gold.at(std::stoul(line.substr(at + 1))) = true;
      at = line.find_first_of(",\t", at + 1);
    } while (at != std::string::npos && line[at] == ',');
    for (std::size_t i = 0; i < emotions; ++i) {
      const bool chosen = p[i] > shipped().header().threshold[i];
      hits[i] += chosen && gold[i];
      said[i] += chosen;
      is[i] += gold[i];
    }
  }
  double sum = 0;
  for (std::size_t i = 0; i < emotions; ++i)
    sum += hits[i] == 0 ? 0 : 2 * hits[i] / (said[i] + is[i]);
  return sum / double(emotions);
}

TEST(Emotions, AreAboveBertsFigureOnTextsThatTrainingHasNotSeen) {
  const char* data = std::getenv("SONDER_DATA");
  const char* tree = std::getenv("SONDER_SOURCE_DIR");
  const std::string folder =
      data != nullptr ? data : std::string(tree != nullptr ? tree : ".") + "/../shared/data";
  std::ifstream full(folder + "/goemotions/dev.tsv"), fast(folder + "/goemotions/dev.tsv");
  if (!full) GTEST_SKIP() << "no GoEmotions dev set under SONDER_DATA or ../shared/data";
  EXPECT_GT(macro_f1(full, unknown_words::read_letters), 0.48);
  EXPECT_GT(macro_f1(fast, unknown_words::pass_over), 0.46);
}

}  // namespace
}  // namespace sonder::sentiment
