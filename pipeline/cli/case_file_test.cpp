#include "cli/case_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace sonder::cli {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

flow_case only_case(const std::string& yaml) {
  auto cases = parse_cases(yaml, "cases/a.yaml");
  if (!cases) throw std::runtime_error(cases.error().message);
  return cases->at(0);
}

std::string refusal(const std::string& yaml) {
  const auto cases = parse_cases(yaml, "cases/a.yaml");
  return cases ? "accepted" : cases.error().message;
}

TEST(CaseFile, ReadsEventsInOrderWithTimesOfTheDay) {
  const auto found = only_case(R"(case: a sentence
flow: ../quickstart.yaml
given:
  - consent: {subject_id: ana, at: 10:00}
  - run
  - journal: {subject_id: ana, at: 10:01:30, text: "10:00", mood: 1}
expect: {insight: []}
)");
  EXPECT_EQ(found.flow, "quickstart.yaml");
  ASSERT_THAT(found.given, SizeIs(3));
  EXPECT_EQ(found.given[0].topic, "consent");
  EXPECT_EQ(json::parse(found.given[0].json)["at"], "2026-01-05T10:00:00Z");
  EXPECT_EQ(found.given[1].topic, "");
  EXPECT_EQ(json::parse(found.given[2].json)["at"], "2026-01-05T10:01:30Z");
  EXPECT_EQ(json::parse(found.given[2].json)["text"], "10:00") << "what is quoted is text";
  EXPECT_EQ(json::parse(found.given[2].json)["mood"], 1);
  EXPECT_TRUE(found.given[2].place.starts_with("6:")) << found.given[2].place;
}

TEST(CaseFile, ReadsSeveralCasesOfOneFile) {
  const auto cases = parse_cases(
      "case: a\nflow: f\ngiven: []\nexpect: {}\n---\ncase: b\nflow: f\ngiven: []\nexpect: {}\n",
      "x.yaml");
  ASSERT_TRUE(cases);
  ASSERT_THAT(*cases, SizeIs(2));
  EXPECT_EQ((*cases)[1].name, "b");
}

TEST(CaseFile, SaysWhereAMistakeIs) {
  EXPECT_EQ(
      refusal("case: a\nflow: f\ngive: []\nexpect: {}\n"),
      "cases/a.yaml:3:1: unknown key \"give\"; a case has case, flow, profile, set, given, expect; did you mean \"given\"?");
  EXPECT_EQ(refusal("case: a\nflow: f\ngiven: []\n"), "cases/a.yaml:1:1: the case has no `expect`");
  EXPECT_EQ(refusal("case: a\nflow: f\ngiven: [x]\nexpect: {}\n"),
            "cases/a.yaml:3:9: a step must be `topic: {field: value}` or `run`");
  EXPECT_EQ(refusal("case: a\nflow: f\ngiven: []\nexpect: {dropped: {s: {r: many}}}\n"),
            "cases/a.yaml:4:27: a count must be a whole number");
  EXPECT_THAT(refusal("case: [\n"), HasSubstr("cases/a.yaml:2:1: "));
  EXPECT_EQ(refusal(""), "cases/a.yaml: holds no case");
}

TEST(CaseMatching, LooksOnlyAtTheFieldsThatAreNamed) {
  EXPECT_TRUE(matches({{"a", 1}}, {{"a", 1}, {"b", 2}}));
  EXPECT_FALSE(matches({{"a", 1}}, {{"b", 2}}));
  EXPECT_TRUE(matches({{"a", nullptr}}, {{"b", 2}})) << "absent is null";
}

TEST(CaseMatching, ComparesNumbersNearlyAndTimesAsMilliseconds) {
  EXPECT_TRUE(matches(0.3, 0.1 + 0.2));
  EXPECT_FALSE(matches(0.3, 0.31));
  EXPECT_TRUE(matches("2026-01-05T10:00:00Z", 1767607200000));
  EXPECT_FALSE(matches("2026-01-05T10:00:01Z", 1767607200000));
}

TEST(CaseMatching, KnowsRulesInPlaceOfValues) {
  EXPECT_TRUE(matches({{"above", 0}}, 0.5));
  EXPECT_FALSE(matches({{"below", 0}}, 0.5));
  EXPECT_FALSE(matches({{"above", 0}}, "text"));
  EXPECT_TRUE(matches({{"contains", "<EMAIL"}}, "to <EMAIL_ADDRESS>"));
  EXPECT_FALSE(matches({{"lacks", "ana@"}}, "to ana@example.org"));
  EXPECT_TRUE(matches({{"contains", "joy"}}, json::array({"joy", "love"})));
  EXPECT_TRUE(matches({{"one_of", json::array({1, 2})}}, 2));
  EXPECT_TRUE(matches({{"present", false}}, nullptr));
}

TEST(CaseMatching, RefusesMatchersAndFieldsThatDoNotExist) {
  const auto of = parse_schema(R"({"type":"record","name":"r","fields":[
    {"name":"valence","type":["null","double"]},
    {"name":"where","type":{"type":"record","name":"w","fields":[{"name":"above","type":"int"}]}},
    {"name":"scores","type":{"type":"map","values":"double"}}]})").value();
  const auto refusal = [&](const std::string& expected) {
    const auto done = check_expected(*of, expected);
    return done ? std::string() : done.error().message;
  };
  EXPECT_EQ(refusal(R"({"valence":{"abov":0}})"), "field \"valence\": there is no matcher \"abov\"; did you mean \"above\"?");
  EXPECT_EQ(refusal(R"({"valence":{"one_of":1}})"), "field \"valence\": matcher \"one_of\" needs a list");
  EXPECT_EQ(refusal(R"({"valenc":1})"), "the schema has no field \"valenc\"; did you mean \"valence\"?");
  EXPECT_EQ(refusal(R"({"where":{"abov":1}})"), "field \"where\": the schema has no field \"abov\"; did you mean \"above\"?");
  EXPECT_EQ(refusal(R"({"valence":{"below":0},"where":{"above":1},"scores":{"joy":{"above":0}}})"), "");
  EXPECT_EQ(refusal(R"({"valence":null,"where":{"present":true}})"), "");
}

TEST(CaseMatching, PairsPartialExpectationsSoThatEachHasItsOwn) {
  EXPECT_THAT(compare_records("t", {R"({"a":1})", R"({"a":1,"b":2})"},
                              {R"({"a":1,"b":2})", R"({"a":1,"b":3})"}),
              IsEmpty())
      << "the first expectation fits both records, the second only one";
}

TEST(CaseMatching, NamesWhatIsMissingAndWhatIsTooMuch) {
  EXPECT_THAT(
      compare_records("t", {R"({"a":1})"}, {R"({"a":2})"}),
      ElementsAre(R"(topic "t": no record is {"a":1})", R"(topic "t": nobody expects {"a":2})"));
  EXPECT_THAT(compare_counts("dropped", "consent", {{"withdrawn", 1}}, {{"denied", 2}}),
              ElementsAre(R"(dropped by "consent" for "denied": expected 0, found 2)",
                          R"(dropped by "consent" for "withdrawn": expected 1, found 0)"));
}

}  // namespace
}  // namespace sonder::cli
