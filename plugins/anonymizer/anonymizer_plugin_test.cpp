#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "sonder/plugin.h"
#include "sonder/testing/host.h"

namespace sonder::testing {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr const char* key = "a secret of the operator, for tests";

host_options with(const std::string& config = "{}") {
  host_options made;
  made.config_json = config;
  made.secrets = {{"pseudonym_key", key}};
  return made;
}

std::string plugin() {
  return std::string(SONDER_PLUGINS) + "/anonymizer.so";
}

input_row entry(const std::string& text, const json& more = json::object()) {
  json row{{"event_id", "e1"}, {"subject_id", "ana"}, {"at", 1'790'000'012'345}, {"text", text}};
  row.update(more);
  return {row.dump(), "ana"};
}

json columns_of(host& h, const input_row& row) {
  const auto done = h.process("texts", {row});
  EXPECT_TRUE(done.ok()) << done.message;
  return done.rows.empty() ? json() : json::parse(done.rows[0].columns);
}

std::string refusal(host_options options) {
  try {
    host h(plugin(), std::move(options));
  } catch (const refused& why) {
    return why.what();
  }
  return "not refused";
}

TEST(AnonymizerPlugin, ReplacesIdentifiersAndNames) {
  host h(plugin(), with());
  const auto made =
      columns_of(h, entry("Write to ana@example.com", {{"age", 34}, {"country", "PT"}}));
  EXPECT_EQ(made["text"], "Write to [EMAIL]");
  EXPECT_EQ(made["age_band"], "30-39");
  EXPECT_EQ(made["country"], "Southern Europe");
  EXPECT_EQ(made["at"].dump().find("1790000012345"), std::string::npos);
  EXPECT_EQ(made["pseudonym"].get<std::string>().size(), 32U);
  EXPECT_NE(made["pseudonym"], made["entry"]);
  EXPECT_TRUE(made["spans"].is_null());
  EXPECT_EQ(h.metric("sonder_anonymizer_identifiers_total", "email_address"), 1);
  EXPECT_EQ(h.arrays_not_released(), 0U);
  EXPECT_THAT(h.violations(), IsEmpty());
}

TEST(AnonymizerPlugin, TellsSpansInCodePointsOnlyWhereTraced) {
  host h(plugin(), with(R"({"trace":true})"));
  EXPECT_EQ(columns_of(h, entry("é€😀 a@b.com"))["spans"],
            json::parse(R"([{"type":"EMAIL_ADDRESS","start":4,"end":11}])"));
  EXPECT_EQ(columns_of(h, entry("nothing here"))["spans"], json::array());
}

TEST(AnonymizerPlugin, NamesTheSameSubjectAlikeUnderOnePurposeAndNotUnderTwo) {
  host one(plugin(), with());
  host again(plugin(), with());
  auto options = with();
  options.purpose = "AcademicResearch";
  host other(plugin(), options);
  const auto name = columns_of(one, entry("x"))["pseudonym"];
  EXPECT_EQ(name, columns_of(again, entry("y"))["pseudonym"]);
  EXPECT_NE(name, columns_of(other, entry("x"))["pseudonym"]);
}

TEST(AnonymizerPlugin, RefusesToStartWithoutItsSecret) {
  EXPECT_THAT(refusal({}), HasSubstr("secret \"pseudonym_key\" is not configured"));
  auto options = with();
  options.secrets["pseudonym_key"] = "short";
  EXPECT_THAT(refusal(options), HasSubstr("fewer than 16 bytes"));
  EXPECT_THAT(refusal(options), Not(HasSubstr("short\"")));
}

TEST(AnonymizerPlugin, MakesASecretUpInATrialAndSaysSo) {
  host_options options;
  options.trial = true;
  host h(plugin(), options);
  host other(plugin(), options);
  EXPECT_NE(columns_of(h, entry("x"))["pseudonym"], columns_of(other, entry("x"))["pseudonym"]);
  EXPECT_THAT(h.log_lines(), ::testing::Contains(HasSubstr("throw-away secret")));
}

TEST(AnonymizerPlugin, RefusesATelephoneRegionThatDoesNotExist) {
  EXPECT_THAT(refusal(with(R"({"phone_regions":["Q9"]})")),
              HasSubstr("phone_regions: unknown region Q9"));
}

TEST(AnonymizerPlugin, FollowsItsConfiguration) {
  host h(
      plugin(),
      with(
          R"({"leave":["NRP"],"time_unit_ms":3600000,"age_band_years":5,"place":"keep","dates":"birth"})"));
  const auto made = columns_of(
      h, entry("My Hungarian friend and I met on Tuesday", {{"age", 34}, {"country", "PT"}}));
  EXPECT_EQ(made["text"], "My Hungarian friend and I met on Tuesday");
  EXPECT_EQ(made["age_band"], "30-34");
  EXPECT_EQ(made["country"], "PT");
  host drops(plugin(), with(R"({"place":"drop"})"));
  EXPECT_TRUE(columns_of(drops, entry("x", {{"country", "PT"}}))["country"].is_null());
}

TEST(AnonymizerPlugin, PassesOnNoCountryThatItDoesNotKnow) {
  host h(plugin(), with(R"({"place":"keep"})"));
  EXPECT_TRUE(columns_of(h, entry("x", {{"country", "Ana's home"}}))["country"].is_null());
}

TEST(AnonymizerPlugin, DeadLettersATextThatIsTooLongAndARowWithoutOne) {
  host h(plugin(), with(R"({"text_bytes_max":10})"));
  auto empty = entry("x");
  empty.tombstone = true;
  const auto done = h.process("texts", {entry("eleven bytes"), empty, entry("ok")});
  ASSERT_TRUE(done.ok()) << done.message;
  EXPECT_EQ(done.rows[0].reason, "text_too_long");
  EXPECT_EQ(done.rows[1].reason, "no_text");
  EXPECT_EQ(done.rows[2].what, verdict::pass);
}

TEST(AnonymizerPlugin, KeepsTheOrderOfManyRows) {
  host h(plugin(), with());
  std::vector<input_row> rows;
  for (int i = 0; i < 600; ++i)
    rows.push_back(
        entry("text " + std::string(1, static_cast<char>('a' + i % 26)) + " mail a@b.com"));
  const auto done = h.run("texts", rows, 100);
  ASSERT_EQ(done.rows.size(), rows.size());
  for (int i = 0; i < 600; ++i) {
    EXPECT_EQ(json::parse(done.rows[static_cast<std::size_t>(i)].columns)["text"],
              "text " + std::string(1, static_cast<char>('a' + i % 26)) + " mail [EMAIL]");
  }
}

TEST(AnonymizerPlugin, GivesUpWhenTheHostAsks) {
  host h(plugin(), with());
  h.cancel_next_call();
  EXPECT_EQ(h.process("texts", {entry("x")}).status, SONDER_CANCELLED);
}

}  // namespace
}  // namespace sonder::testing
