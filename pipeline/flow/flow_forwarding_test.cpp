#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "avro/framing.h"
#include "flow/flow_rig.h"
#include "flow/schema_notes.h"

// Records that leave as they came: what the flow's schema does not tell of must not leave with them.
namespace sonder {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr auto anonymous = R"({"type":"record","name":"anon","fields":[
  {"name":"kind","type":["null","string"],"default":null,"sonder.privacy":"none"}]})";
/// What an evolved producer writes.
constexpr auto evolved = R"({"type":"record","name":"anon","fields":[
  {"name":"kind","type":["null","string"],"default":null,"sonder.privacy":"none"},
  {"name":"email","type":"string","sonder.privacy":["direct_identifier"]}]})";

const std::string kind_x = "\x02\x02x";
const std::string email = "\x1e" "ana@example.org";

class Forwarding : public testing::Test {
 protected:
  Forwarding() { rig.file("anon.avsc", anonymous); }

  void copy(const std::string& of_a, const std::string& of_b = "") {
    rig.flow("flow: t\nlog: {kind: embedded, dir: data}\ntopics:\n  a: {schema: anon.avsc, partitions: 1, " + of_a +
             "}\n  b: {schema: anon.avsc, partitions: 1" + of_b + "}\n  dead_letter: {schema: " + letters() +
             ", partitions: 1}\nsinks: {b: a}\n");
    ASSERT_THAT(rig.findings(), Not(HasSubstr("error"))) << rig.findings();
  }
  static std::string letters() {
    return shipped_schemas() + "/dead_letter.avsc";
  }
  /// A value as a producer with that schema writes it.
  std::string framed(const char* schema_json, const std::string& body) {
    const auto registry = open_log_registry(rig.on());
    const auto of = parse_schema(schema_json);
    const auto id = (*registry)->register_schema("a-value", **of);
    buffer head;
    append_frame(*id, head);
    return std::string(as_text({head.data(), head.size()})) + body;
  }
  std::vector<std::string> values(const std::string& topic) {
    std::vector<std::string> all;
    for (const auto& r : rig.raw(topic, 0)) all.emplace_back(as_text(r.value));
    return all;
  }
  std::vector<std::string> keys(const std::string& topic) {
    std::vector<std::string> all;
    for (const auto& r : rig.raw(topic, 0)) all.emplace_back(r.has_key ? as_text(r.key) : "no key");
    return all;
  }

  flow_rig rig;
};

TEST_F(Forwarding, AFieldOfTheWritersSchemaThatTheFlowsHasNotStaysBehind) {
  copy("labels: {key: none}");
  rig.give_raw("a", 0, "k", framed(evolved, kind_x + email));
  rig.give_raw("a", 0, "k", framed(anonymous, kind_x));
  rig.give_raw("a", 0, "k", framed(evolved, kind_x + email));
  rig.run();
  const auto expected = framed(anonymous, kind_x);
  EXPECT_THAT(values("b"), ElementsAre(expected, expected, expected));
}

TEST_F(Forwarding, ARecordOfTheFlowsOwnSchemaLeavesWithItsBytes) {
  copy("labels: {key: none}");
  // A string's length may be written longer than it needs be, so that these bytes are nobody else's.
  const auto value = framed(anonymous, std::string("\x02\x82\x00x", 4));
  rig.give_raw("a", 0, "k", value);
  rig.run();
  EXPECT_THAT(values("b"), ElementsAre(value));
  EXPECT_THAT(keys("b"), ElementsAre("k"));
}

TEST_F(Forwarding, BareBodiesLeaveAsTheyCame) {
  copy("framing: bare, labels: {key: none}", ", framing: bare");
  rig.give_raw("a", 0, "k", kind_x);
  rig.run();
  EXPECT_THAT(values("b"), ElementsAre(kind_x));
}

TEST_F(Forwarding, AKeyThatTheFlowCallsAFieldIsMadeOfThatField) {
  copy("key: kind");
  rig.give_raw("a", 0, "ana@example.org", framed(anonymous, kind_x));
  rig.give_raw("a", 0, "ana@example.org", framed(evolved, kind_x + email));
  rig.run();
  EXPECT_THAT(keys("b"), ElementsAre("x", "x"));
}

TEST_F(Forwarding, ASourceThatSaysLessThanItsRegisteredSchemaIsNotStarted) {
  copy("labels: {key: none}");
  (void)framed(R"({"type":"record","name":"anon","fields":[
    {"name":"kind","type":["null","string"],"default":null,"sonder.privacy":["behaviour"]}]})", "");
  const auto refused = rig.try_run();
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("flow.yaml:4:15: topic \"a\": field \"kind\": schema 1 of the registry labels it behaviour, "
                                                 "the flow's schema without behaviour; give the field that label"));
  // Whoever owns the topic has the last word.
  (void)framed(anonymous, "");
  EXPECT_TRUE(rig.try_run());
}

TEST_F(Forwarding, ASchemaOfTheRegistryWithoutLabelsLeavesThemToTheFlow) {
  copy("labels: {key: none}");
  (void)framed(R"({"type":"record","name":"anon","fields":[{"name":"kind","type":["null","string"],"default":null}]})", "");
  EXPECT_TRUE(rig.try_run());
}

TEST_F(Forwarding, ARemovalFromATableIsNoRecordOfASink) {
  copy("labels: {key: none}, role: table");
  rig.give_raw("a", 0, "k", framed(anonymous, kind_x));
  rig.give_tombstone("a", 0, "k");
  rig.run();
  EXPECT_THAT(values("b"), ElementsAre(framed(anonymous, kind_x)));
  EXPECT_THAT(rig.dead_letters(), ElementsAre("b:no_value"));
}

}  // namespace
}  // namespace sonder
