#include "plugin/config_schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

namespace sonder {
namespace {

using json = nlohmann::ordered_json;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

/// The problems as `pointer: message`.
std::vector<std::string> problems(const std::string& schema, const std::string& config) {
  const auto parsed = config_schema::parse(schema);
  if (!parsed) return {"schema: " + parsed.error().message};
  std::vector<std::string> all;
  for (const auto& p : parsed->check(config).problems) all.push_back(p.pointer + ": " + p.message);
  return all;
}

constexpr const char* schema = R"({
  "type": "object", "additionalProperties": false, "required": ["mode"],
  "properties": {
    "mode": {"type": "string", "enum": ["fast", "full"]},
    "limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 10},
    "rate": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
    "name": {"type": "string", "minLength": 2, "maxLength": 4, "pattern": "^[a-z]+$"},
    "labels": {"type": "array", "minItems": 1, "maxItems": 3, "uniqueItems": true, "items": {"type": "string"}},
    "weights": {"type": "object", "additionalProperties": {"type": "number"}, "maxProperties": 2},
    "nested": {"type": "object", "additionalProperties": false,
               "properties": {"on": {"type": "boolean", "default": true}, "a/b~c": {"type": "null"}}},
    "either": {"type": ["null", "string"]},
    "fixed": {"const": 7}
  }
})";

TEST(ConfigSchema, AcceptsWhatFitsAndFillsDefaultsInAtEveryDepth) {
  const auto parsed = config_schema::parse(schema);
  ASSERT_TRUE(parsed.has_value()) << parsed.error().message;
  const auto made =
      parsed->check(R"({"mode": "fast", "nested": {}, "rate": 0.5, "either": null, "fixed": 7.0})");
  EXPECT_THAT(made.problems, IsEmpty());
  EXPECT_EQ(
      made.json,
      R"({"mode":"fast","nested":{"on":true},"rate":0.5,"either":null,"fixed":7.0,"limit":10})");
}

TEST(ConfigSchema, LocatesEveryProblemAndNamesWhatWasMeant) {
  EXPECT_THAT(problems(schema, R"({"mode": "fsat", "limt": 3})"),
              ElementsAre("/mode: wants one of \"fast\", \"full\"; did you mean \"fast\"?",
                          "/limt: no such property; did you mean \"limit\"?"));
  EXPECT_THAT(problems(schema, "{}"), ElementsAre(": lacks the property \"mode\""));
  EXPECT_THAT(problems(schema, "[]"), ElementsAre(": wants an object, found an array"));
  EXPECT_THAT(problems(schema, R"({"mode": "fast", "limit": "10"})"),
              ElementsAre("/limit: wants an integer, found a string"));
  EXPECT_THAT(problems(schema, R"({"mode": "fast", "limit": 2.5})"),
              ElementsAre("/limit: wants an integer, found a number"));
  EXPECT_THAT(problems(schema, R"({"mode": "fast", "limit": 0})"),
              ElementsAre("/limit: wants at least 1"));
  EXPECT_THAT(problems(schema, R"({"mode": "fast", "limit": 101})"),
              ElementsAre("/limit: wants at most 100"));
  EXPECT_THAT(problems(schema, R"({"mode": "fast", "rate": 0})"),
              ElementsAre("/rate: wants more than 0"));
  EXPECT_THAT(problems(schema, R"({"mode": "fast", "rate": 1})"),
              ElementsAre("/rate: wants less than 1"));
  EXPECT_THAT(problems(schema, R"({"mode": "fast", "name": "x"})"),
              ElementsAre("/name: wants at least 2 characters"));
  EXPECT_THAT(problems(schema, R"({"mode": "fast", "name": "ÄÖ"})"),
              ElementsAre("/name: does not match the pattern \"^[a-z]+$\""));
  EXPECT_THAT(problems(schema, R"({"mode": "fast", "labels": ["a", 1]})"),
              ElementsAre("/labels/1: wants a string, found an integer"));
  EXPECT_THAT(problems(schema, R"({"mode": "fast", "labels": ["a", "b", "a"]})"),
              ElementsAre("/labels/2: is there before; entries must differ"));
  EXPECT_THAT(problems(schema, R"({"mode": "fast", "weights": {"x": "1"}})"),
              ElementsAre("/weights/x: wants a number, found a string"));
  EXPECT_THAT(problems(schema, R"({"mode": "fast", "nested": {"a/b~c": 1}})"),
              ElementsAre("/nested/a~1b~0c: wants null, found an integer"));
  EXPECT_THAT(problems(schema, R"({"mode": "fast", "either": 3})"),
              ElementsAre("/either: wants null or a string, found an integer"));
}

TEST(ConfigSchema, NeverRepeatsAValue) {
  for (const char* config :
       {R"({"mode": "hunter2"})", R"({"mode": "fast", "name": "hunter2"})",
        R"({"mode": "fast", "limit": "hunter2"})", R"({"mode": "fast", "either": ["hunter2"]})"}) {
    for (const auto& p : problems(schema, config))
      EXPECT_EQ(p.find("hunter2"), std::string::npos) << p;
  }
}

TEST(ConfigSchema, RefusesTextThatIsNoJson) {
  EXPECT_THAT(problems(schema, "{"), ElementsAre(": not JSON at line 1, column 1"));
  EXPECT_THAT(problems(schema, std::string(200, '[')),
              ElementsAre(": is nested deeper than 64 levels"));
}

TEST(ConfigSchema, ReportsABoundedNumberOfProblems) {
  json many = {{"mode", "fast"}};
  for (int i = 0; i < 1000; ++i) many["unknown_" + std::to_string(i)] = i;
  EXPECT_EQ(problems(schema, many.dump()).size(), config_problems_max);
}

TEST(ConfigSchema, RefusesSchemasOutsideOfTheSubset) {
  const auto message = [](const char* text) { return config_schema::parse(text).error().message; };
  EXPECT_EQ(message(R"({"anyOf": []})"),
            "/anyOf: is not a keyword of the supported subset of JSON Schema");
  EXPECT_EQ(message(R"({"propertys": {}})"),
            "/propertys: is not a keyword of the supported subset of JSON Schema; did you mean "
            "\"properties\"?");
  EXPECT_EQ(message(R"({"type": "text"})"),
            "/type: wants null, boolean, object, array, integer, number or string");
  EXPECT_EQ(message(R"({"minLength": -1})"), "/minLength: wants a whole number, 0 or more");
  EXPECT_EQ(message(R"({"items": {"pattern": "("}})"),
            "/items/pattern: is not a regular expression of RE2");
  EXPECT_EQ(message(R"({"enum": []})"), "/enum: wants an array with at least one value");
  EXPECT_EQ(message(R"({"properties": {"a": {"type": "string", "default": 3}}})"),
            "/properties/a/default: its own schema refuses it: wants a string, found an integer");
  EXPECT_EQ(message("true"), ": a schema is an object");
}

TEST(DidYouMean, SuggestsOnlyWhatIsNear) {
  EXPECT_EQ(did_you_mean("txt", {"text", "title"}), "; did you mean \"text\"?");
  EXPECT_EQ(did_you_mean("purpose", {"text", "title"}), "");
  EXPECT_EQ(did_you_mean("", {"text"}), "");
}

// ---- Against an independent implementation ----

/// Random schemas of the subset, and values that come near to them.
class generator {
 public:
  explicit generator(std::uint64_t seed) : random_(seed) {}

  json schema(int depth) {
    json made = json::object();
    static const char* const types[] = {"null",    "boolean", "object", "array",
                                        "integer", "number",  "string"};
    if (chance(80))
      made["type"] = chance(20) ? json{types[pick(7)], types[pick(7)]}
                                : json(types[depth > 0 ? pick(7) : 3 + pick(1)]);
    if (made.contains("type") && made["type"].is_array() && made["type"][0] == made["type"][1])
      made["type"] = made["type"][0];
    if (chance(10)) made["enum"] = {value(1), value(1), value(0)};
    if (!made.contains("enum") && chance(5)) made["const"] = value(1);
    numbers(made);
    if (chance(20)) made["minLength"] = pick(3);
    if (chance(20)) made["maxLength"] = pick(5);
    if (chance(10)) made["pattern"] = chance(50) ? "^a" : "[bc]";
    if (chance(20)) made["minItems"] = pick(3);
    if (chance(20)) made["maxItems"] = pick(4);
    if (chance(15)) made["uniqueItems"] = chance(70);
    if (chance(10)) made["minProperties"] = pick(3);
    if (chance(10)) made["maxProperties"] = pick(4);
    if (depth > 0) nested(made, depth);
    return made;
  }

  json value(int depth) {
    switch (pick(depth > 0 ? 7 : 5)) {
      case 0:
        return nullptr;
      case 1:
        return chance(50);
      case 2:
        return static_cast<int>(pick(7)) - 3;
      case 3:
        return (static_cast<int>(pick(14)) - 6) / 2.0;
      case 4:
        return text();
      case 5: {
        auto made = json::array();
        for (auto n = pick(4); n > 0; --n) made.push_back(value(depth - 1));
        return made;
      }
      default: {
        auto made = json::object();
        for (auto n = pick(4); n > 0; --n) made[name()] = value(depth - 1);
        return made;
      }
    }
  }

 private:
  void numbers(json& made) {
    for (const char* keyword : {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}) {
      if (chance(8)) made[keyword] = chance(50) ? json(static_cast<int>(pick(5)) - 2) : json(0.5);
    }
  }
  void nested(json& made, int depth) {
    if (chance(50)) {
      for (auto n = pick(3); n > 0; --n) made["properties"][name()] = schema(depth - 1);
      if (chance(40)) made["required"] = {name()};
      if (chance(30))
        made["additionalProperties"] = chance(50) ? json(chance(50)) : schema(depth - 1);
    }
    if (chance(40)) made["items"] = schema(depth - 1);
  }
  std::string text() {
    static const char* const texts[] = {
        "", "a", "b", "abc", "\xC3\xA4", "ccccc", "\xF0\x9F\x98\x80\xF0\x9F\x98\x80"};
    return texts[pick(7)];
  }
  std::string name() { return std::string(1, static_cast<char>('p' + pick(3))); }
  std::uint64_t pick(std::uint64_t of) { return random_() % of; }
  bool chance(int percent) { return pick(100) < static_cast<std::uint64_t>(percent); }

  std::mt19937_64 random_;
};

TEST(ConfigSchema, AgreesWithPythonsJsonschemaOnRandomSchemasAndValues) {
  const char* given = std::getenv("SONDER_PYTHON");
  const std::string python = given == nullptr || *given == '\0' ? "python3" : given;
  if (std::system(("'" + python + "' -c 'import jsonschema' 2>/dev/null").c_str()) != 0) {
    GTEST_SKIP() << "Python's jsonschema is not installed; ops/setup --tests brings it";
  }
  const char* seed_text = std::getenv("SONDER_SEED");
  const auto seed = seed_text == nullptr ? 20'261'121ULL : std::strtoull(seed_text, nullptr, 10);
  RecordProperty("seed", std::to_string(seed));
  constexpr int cases = 20'000;
  generator random(seed);
  std::vector<std::string> lines;
  std::vector<bool> ours;
  while (static_cast<int>(lines.size()) < cases) {
    const auto of = random.schema(3);
    const auto value = random.value(3);
    const auto parsed = config_schema::parse(of.dump());
    ASSERT_TRUE(parsed.has_value()) << of.dump() << ": " << parsed.error().message;
    lines.push_back(json{{"schema", of}, {"value", value}}.dump());
    ours.push_back(parsed->check(value.dump()).problems.empty());
  }
  const auto path = ::testing::TempDir() + "sonder_config_schema_cases";
  {
    std::ofstream out(path);
    for (const auto& line : lines) out << line << '\n';
  }
  const auto command = "'" + python + "' '" SONDER_CONFIG_ORACLE "' < '" + path + "'";
  FILE* answers = ::popen(command.c_str(), "r");
  ASSERT_NE(answers, nullptr);
  int valid = 0;
  for (int i = 0; i < cases; ++i) {
    const int answer = std::fgetc(answers);
    ASSERT_TRUE(answer == '0' || answer == '1') << "the oracle stopped at case " << i;
    std::fgetc(answers);
    EXPECT_EQ(ours[static_cast<std::size_t>(i)], answer == '1')
        << "seed " << seed << ": " << lines[static_cast<std::size_t>(i)];
    valid += answer == '1';
  }
  EXPECT_EQ(::pclose(answers), 0);
  // The generator is only worth something if both answers are common.
  EXPECT_GT(valid, cases / 20);
  EXPECT_LT(valid, cases - cases / 20);
  std::remove(path.c_str());
}

}  // namespace
}  // namespace sonder
