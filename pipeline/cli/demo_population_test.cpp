#include "cli/demo_population.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/demo_texts.h"

namespace sonder::cli {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;
using ::testing::Not;

demo_options small() {
  demo_options options;
  options.subjects = 200;
  options.entries = 2000;
  return options;
}

TEST(DemoPopulation, IsTheSameForTheSameSeedAndAnotherForAnother) {
  auto other_seed = small();
  other_seed.seed = 2;
  const demo_population a(small()), b(small()), c(other_seed);
  int different = 0;
  for (std::uint64_t i = 0; i < 50; ++i) {
    EXPECT_EQ(to_json(a.entry(i)), to_json(b.entry(i)));
    different += to_json(a.entry(i)) != to_json(c.entry(i)) ? 1 : 0;
  }
  EXPECT_EQ(different, 50);
}

TEST(DemoPopulation, GivesTheSameOnEveryMachine) {
  const auto entry = demo_population(small()).entry(7);
  EXPECT_EQ(entry.event_id, "f8d1584d9da039d173d1baabaca21a01");
  EXPECT_EQ(entry.subject_id, "subject-000041");
}

TEST(DemoPopulation, WritesEveryPlantedIdentifierIntoTheText) {
  const demo_population people(small());
  std::map<std::string, int> types;
  for (std::uint64_t i = 0; i < 2000; ++i) {
    const auto entry = people.entry(i);
    EXPECT_THAT(entry.text, Not(HasSubstr("{"))) << "a slot was not filled";
    for (const auto& planted : entry.planted) {
      EXPECT_THAT(entry.text, HasSubstr(planted.value));
      ++types[planted.type];
    }
  }
  std::set<std::string> seen;
  for (const auto& [type, count] : types) seen.insert(type);
  EXPECT_THAT(seen, IsSupersetOf({"person", "place", "email", "phone", "card", "iban", "ssn", "dob",
                                  "url", "handle", "ip", "age"}));
}

int luhn(const std::string& number) {
  int sum = 0, place = 0;
  for (auto at = number.rbegin(); at != number.rend(); ++at) {
    if (*at < '0' || *at > '9') continue;
    const int digit = *at - '0';
    sum += place++ % 2 == 0 ? digit : digit * 2 > 9 ? digit * 2 - 9 : digit * 2;
  }
  return sum % 10;
}

int mod97(const std::string& iban) {
  std::string compact;
  for (const char c : iban)
    if (c != ' ') compact.push_back(c);
  int rest = 0;
  for (const char c : compact.substr(4) + compact.substr(0, 4)) {
    if (c >= '0' && c <= '9')
      rest = (rest * 10 + (c - '0')) % 97;
    else
      rest = (rest * 100 + (c - 'A' + 10)) % 97;
  }
  return rest;
}

TEST(DemoPopulation, PlantsCardsAndIbansThatPassTheirChecks) {
  const demo_population people(small());
  int cards = 0, ibans = 0;
  for (std::uint64_t i = 0; i < 2000; ++i) {
    for (const auto& planted : people.entry(i).planted) {
      if (planted.type == "card") {
        EXPECT_EQ(luhn(planted.value), 0) << planted.value;
        ++cards;
      } else if (planted.type == "iban") {
        EXPECT_EQ(mod97(planted.value), 1) << planted.value;
        ++ibans;
      }
    }
  }
  EXPECT_GT(cards, 0);
  EXPECT_GT(ibans, 0);
}

TEST(DemoPopulation, HasEveryStanceToConsentAndTheShareThatWasAsked) {
  const demo_population people(small());
  std::map<std::string, int> stances;
  for (std::uint64_t s = 0; s < 200; ++s) ++stances[people.stance(s)];
  EXPECT_NEAR(stances["granted"], 140, 25);
  for (const auto* stance : {"denied", "withdrawn", "late", "expired", "never_asked"})
    EXPECT_GT(stances[stance], 0) << stance;

  std::map<std::string, std::string> last;
  std::int64_t before = 0;
  for (const auto& decision : people.decisions()) {
    EXPECT_GE(decision.at_ms, before);
    before = decision.at_ms;
    last[decision.subject_id] = decision.decision;
  }
  for (std::uint64_t s = 0; s < 200; ++s) {
    const auto stance = people.stance(s);
    const auto expected = stance == "never_asked"                   ? ""
                          : stance == "late" || stance == "expired" ? "granted"
                                                                    : stance;
    EXPECT_EQ(last[people.subject_id(s)], expected) << stance;
  }
}

TEST(DemoPopulation, ConsentsWhollyWhenAsked) {
  auto options = small();
  options.consenting = 1;
  const demo_population people(options);
  for (std::uint64_t s = 0; s < 200; ++s) EXPECT_EQ(people.stance(s), "granted");
}

TEST(DemoPopulation, GivesTimesThatRiseAndJsonThatParses) {
  const demo_population people(small());
  std::int64_t before = 0;
  for (std::uint64_t i = 0; i < 200; ++i) {
    const auto entry = people.entry(i);
    EXPECT_GE(entry.at_ms, before);
    before = entry.at_ms;
    const auto json = nlohmann::json::parse(to_json(entry));
    EXPECT_EQ(json["text"], entry.text);
    EXPECT_EQ(nlohmann::json::parse(planted_json(entry))["identifiers"].size(),
              entry.planted.size());
  }
}

TEST(DemoPopulation, CarriesOwnTextsInPlaceOfMadeUpOnes) {
  const auto entry = demo_population(small()).entry_with(3, "My \"own\" words.", true);
  const auto json = nlohmann::json::parse(to_json(entry));
  EXPECT_EQ(json["text"], "My \"own\" words.");
  EXPECT_TRUE(json.contains("age"));
  EXPECT_TRUE(entry.planted.empty());
}

TEST(DemoPopulation, MakesUpNothingAboutThePeopleOfOwnTextsUnlessAsked) {
  const auto json = nlohmann::json::parse(to_json(demo_population(small()).entry_with(3, "Mine.", false)));
  std::vector<std::string> names;
  for (const auto& [name, value] : json.items()) names.push_back(name);
  EXPECT_EQ(names, (std::vector<std::string>{"at", "event_id", "subject_id", "text"}));
}

TEST(DemoTexts, AreManyAndAllDifferent) {
  const auto all = journal_templates();
  EXPECT_GE(all.size(), 140U);
  EXPECT_EQ(std::set<std::string_view>(all.begin(), all.end()).size(), all.size());
}

}  // namespace
}  // namespace sonder::cli
