#include "sentiment/scorer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <numeric>
#include <string>

#include "sentiment/counted_new.h"

namespace sonder::sentiment {
namespace {

mood score(std::string_view text, rule_set rules = rule_set::sonder) {
  scorer s(lexicon::shipped(), rules);
  return s.score(text);
}
double valence(std::string_view text) {
  return score(text).valence;
}
double arousal(std::string_view text) {
  return score(text).arousal;
}

struct published {
  const char* text;
  double compound;
};

// What the published program (vaderSentiment 3.3.2) answers, rounded to four places as it does.
constexpr published published_scores[] = {
    {"The walk was good.", 0.4404},
    {"The walk was good!", 0.4926},
    {"The walk was good!!!!!!", 0.6209},
    {"The walk was good?\?", 0.504},
    {"The walk was good?\??\?", 0.594},
    {"The walk was GOOD.", 0.5622},
    {"THE WALK WAS GOOD.", 0.4404},
    {"The walk was very good.", 0.4927},
    {"The walk was VERY good.", 0.6028},
    {"The walk was really very good.", 0.5379},
    {"The walk was really a very good one.", 0.5356},
    {"The walk was truly an extremely long good one.", 0.7251},
    {"The walk was hardly good.", 0.3832},
    {"The walk was kind of good.", 0.3832},
    {"The walk was sort of bad today.", -0.5849},
    {"The walk was just enough good.", 0.3832},
    {"The walk was not good.", -0.3412},
    {"The walk was not very good.", -0.3865},
    {"The walk was not at all good.", -0.3412},
    {"The walk isn't good.", -0.3412},
    {"The walk wasnt good.", -0.3412},
    {"The walk mightn't've been good.", -0.3412},
    {"I rarely feel happy.", -0.4585},
    {"I never felt so good.", 0.5777},
    {"I never felt this sad.", -0.561},
    {"It was never so bad.", -0.7479},
    {"Without doubt a great day.", 0.7359},
    {"Without any doubt a great day.", 0.7359},
    {"There is no joy in it.", -0.4717},
    {"No.", 0.0},
    {"No good.", -0.3412},
    {"No pain or joy.", -0.0951},
    {"NO good came of it.", -0.4835},
    {"The food was great, but the service was horrible.", -0.4939},
    {"The food was horrible, but the service was great and the view lovely.", 0.891},
    {"It was good but good is not enough.", 0.7003},
    {"It was the least helpful answer.", -0.3252},
    {"At least it was helpful.", 0.4215},
    {"It was the very least helpful answer.", 0.4728},
    {"Least helpful of all.", -0.3252},
    {"This cake is the shit today.", 0.6124},
    {"Well this song is the bomb my friend.", 0.8779},
    {"My old car is such a bad ass machine.", 0.6124},
    {"I wait at the bus stop hope.", 0.0},
    {"Oh sure yeah right, thanks.", 0.7506},
    {"That was the kiss of death for us.", -0.6124},
    {"Today was a total mess :( and I hate it", -0.8648},
    {":) :D <3", 0.873},
    {"I am so happy 😊", 0.9005},
    {"😂😭", -0.0516},
    {"I ❤ this", 0.6369},
    {"What a LOVELY, wonderful, GREAT day!!!", 0.9427},
    {"Feeling meh about everything...", 0.0516},
    {"I can't say I don't like it.", -0.2755},
    {"He is neither kind nor clever.", -0.1731},
    {"Nothing good ever happens?!", -0.4015},
    {"She despises boredom, seldom complains and is hardly ever sad.", -0.7129},
    {"lol that sux :/", -0.2732},
    {"", 0.0},
    {"123 456", 0.0},
};

TEST(Scorer, AgreesWithThePublishedProgramRuleByRule) {
  for (const auto& [text, compound] : published_scores) {
    EXPECT_NEAR(score(text, rule_set::vader).valence, compound, 5.1e-5) << text;
  }
}

// ---- Where our rules differ, see README.md ----

TEST(Scorer, ANameCarriesNoValence) {
  for (const std::string_view name :
       {"Tia", "Grace", "Joy", "Hope", "Faith", "Mercy", "Ana", "Latisha", "Jerome"}) {
    EXPECT_EQ(valence("I talked to " + std::string(name) + " yesterday."), 0) << name;
    EXPECT_EQ(valence(std::string(name) + " feels angry."), valence("Ana feels angry.")) << name;
    EXPECT_EQ(valence("The situation makes " + std::string(name) + " feel happy."),
              valence("The situation makes Ana feel happy."))
        << name;
  }
}

TEST(Scorer, AWordThatIsAlsoANameStillCountsAsAWord) {
  EXPECT_GT(valence("Hope you feel better soon"), 0);
  EXPECT_GT(valence("there was joy in the house"), 0);
  EXPECT_GT(valence("On Finding Hope Every Day"), 0) << "a headline";
  EXPECT_GT(valence("said with grace and faith"), 0);
}

TEST(Scorer, APlaceholderCarriesNothingAndIsNoShout) {
  EXPECT_EQ(valence("[NAME] is kind to [PERSON_2]"), valence("someone is kind to somebody"));
  EXPECT_EQ(score("A GOOD DAY WITH [NAME]").raw, score("A GOOD DAY WITH").raw);
}

TEST(Scorer, WordsJoinedByPunctuationCountOneByOne) {
  EXPECT_DOUBLE_EQ(score("good,bad").raw, score("good, bad").raw);
  EXPECT_LT(valence("it was sad/horrible"), -0.5);
}

TEST(Scorer, ContrastWeighsByPositionAlsoWhereValuesAreEqual) {
  EXPECT_NEAR(score("good but good").raw, 0.5 * 1.9 + 1.5 * 1.9, 1e-6);
}

TEST(Scorer, IdiomsCountOnceAndWhereverTheyStand) {
  EXPECT_NEAR(score("That was the kiss of death for us.").raw, -1.5, 1e-6);
  EXPECT_NEAR(score("a cake to die for").raw, 3.0, 1e-6);
  EXPECT_LT(valence("I feel under the weather"), 0);
  EXPECT_LT(valence("I am fed up with this"), 0);
  EXPECT_EQ(valence("I wait at the bus stop"), 0);
}

TEST(Scorer, DampenersOfTwoWordsDampenBothWays) {
  EXPECT_LT(valence("The walk was kind of good."), valence("The walk was good."));
  EXPECT_GT(valence("The walk was sort of bad today."), valence("The walk was bad today."));
}

TEST(Scorer, ANegationBeforeSoOrThisPraises) {
  EXPECT_LT(valence("Haven't been this sore in a while."), valence("I am sore."));
  EXPECT_GT(valence("I never felt so good."), valence("I felt good."));
}

TEST(Scorer, StretchedWordsAreEmphasisedWords) {
  EXPECT_GT(valence("I loooove it"), valence("I love it"));
  EXPECT_GT(valence("soooo good"), valence("good"));
}

TEST(Scorer, WordsThatAreLookedUpLateCountBehindPicturesToo) {
  for (const std::string_view rest :
       {"never this good", "it was sort of good", "this is the bomb", "at least it helped",
        "kind of a hand to mouth life", "no pain or joy"}) {
    const std::string text(rest);
    const mood alone = score(text), behind = score("🏠 " + text);
    EXPECT_NE(alone.raw, score("good").raw) << rest;
    EXPECT_EQ(behind.raw, alone.raw) << rest;
  }
}

TEST(Scorer, EmojiNeedNoSpaceAroundThem) {
  EXPECT_GT(valence("day😊ok"), 0);
  EXPECT_EQ(score("great👍🏽").raw, score("great 👍").raw);
}

// ---- Arousal ----

TEST(Scorer, ArousalFollowsActivationNotSign) {
  EXPECT_GT(arousal("I am furious"), arousal("I am sad"));
  EXPECT_GT(arousal("I am thrilled"), arousal("I am calm"));
  EXPECT_GT(arousal("I am SO ANGRY about it!!!"), arousal("I am angry about it"));
  EXPECT_LT(arousal("I am slightly angry"), arousal("I am angry"));
  EXPECT_EQ(arousal("The table has four legs"), 0);
}

// ---- Explanation ----

TEST(Scorer, ContributionsSumToTheRawScoreAndPointAtTheirWords) {
  scorer s(lexicon::shipped());
  const std::string_view text = "The food was HORRIBLE, but Ana's 😊 was “lovely”!!";
  const mood m = s.score(text);
  double sum = 0;
  for (const contribution& c : s.contributions()) sum += c.value;
  EXPECT_EQ(sum, m.raw);
  EXPECT_DOUBLE_EQ(m.valence, m.raw / std::sqrt(m.raw * m.raw + 15));
  ASSERT_GE(s.contributions().size(), 3U);
  const auto first = s.contributions().front();
  EXPECT_EQ(text.substr(first.begin, first.end - first.begin), "HORRIBLE");
  const auto last = s.contributions().back();
  EXPECT_EQ(text.substr(last.begin, last.end - last.begin), "!!");
}

// ---- Any input ----

TEST(Scorer, StaysInBoundsOnAnyBytes) {
  for (const std::string& piece :
       {std::string("good "), std::string("not "), std::string("!"), std::string("\xFF\xFE "),
        std::string("😀"), std::string("but GOOD "), std::string("loooove\u200B ")}) {
    std::string text;
    while (text.size() < (8U << 20U)) text += piece;
    const mood m = score(text);
    EXPECT_GE(m.valence, -1);
    EXPECT_LE(m.valence, 1);
    EXPECT_GE(m.arousal, 0);
    EXPECT_LE(m.arousal, 1);
  }
}

TEST(Scorer, AllocatesNothingOnceItHasSeenTextsOfThatSize) {
  scorer s(lexicon::shipped());
  const std::string_view texts[] = {"I am SO grateful, but a bit tired... love/hate 😊!!",
                                    "Ça va très bien, “merci” :)", "never so good"};
  for (const auto text : texts) (void)s.score(text);
  const std::size_t before = allocations();
  for (int round = 0; round < 100; ++round) {
    for (const auto text : texts) (void)s.score(text);
  }
  EXPECT_EQ(allocations(), before);
}

// ---- Against people ----

double pearson(const std::vector<double>& a, const std::vector<double>& b) {
  const auto n = double(a.size());
  const double mean_a = std::accumulate(a.begin(), a.end(), 0.0) / n,
               mean_b = std::accumulate(b.begin(), b.end(), 0.0) / n;
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - mean_a) * (b[i] - mean_b);
    aa += (a[i] - mean_a) * (a[i] - mean_a);
    bb += (b[i] - mean_b) * (b[i] - mean_b);
  }
  return ab / std::sqrt(aa * bb);
}

TEST(Scorer, IsNearerToPeopleThanVaderOnItsOwnTweets) {
  const char* data = std::getenv("SONDER_DATA");
  const char* tree = std::getenv("SONDER_SOURCE_DIR");
  const std::string folder =
      data != nullptr ? data : std::string(tree != nullptr ? tree : ".") + "/../shared/data";
  std::ifstream in(folder + "/vader/tweets_GroundTruth.txt");
  if (!in) GTEST_SKIP() << "no VADER tweets under SONDER_DATA or ../shared/data";
  std::vector<double> people, ours, vaders;
  scorer s(lexicon::shipped()), exact(lexicon::shipped(), rule_set::vader);
  for (std::string line; std::getline(in, line);) {
    const std::size_t first = line.find('\t'), second = line.find('\t', first + 1);
    if (second == std::string::npos) continue;
    people.push_back(std::stod(line.substr(first + 1, second - first - 1)));
    ours.push_back(s.score(std::string_view(line).substr(second + 1)).valence);
    vaders.push_back(exact.score(std::string_view(line).substr(second + 1)).valence);
  }
  EXPECT_NEAR(pearson(people, vaders), 0.8722, 0.0001) << "the published program's figure";
  EXPECT_GT(pearson(people, ours), 0.8730);
}

TEST(Scorer, GivesBackTheMemoryOfAnUnusuallyLongText) {
  scorer s(lexicon::shipped(), rule_set::sonder);
  (void)s.score("a good day");
  const auto before = bytes_held();
  {
    std::string text;
    while (text.size() < (4U << 20U)) text += "good not bad ";
    (void)s.score(text);
  }
  (void)s.score("a good day");
  EXPECT_LT(bytes_held(), before + (1U << 20U));
}

}  // namespace
}  // namespace sonder::sentiment
