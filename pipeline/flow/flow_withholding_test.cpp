#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "flow/flow_rig.h"

// Fields that a person has not agreed to give: null, and zero under it, for everybody behind the consent authority.
namespace sonder {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::Pair;

constexpr auto event_schema = R"({"type":"record","name":"event","fields":[
  {"name":"event_id","type":"string","sonder.privacy":{"categories":[]}},
  {"name":"subject_id","type":"string","sonder.privacy":{"categories":[]}},
  {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"},"sonder.privacy":{"categories":[]}},
  {"name":"text","type":["null","string"],"default":null,"sonder.privacy":{"categories":[]}}]})";

std::string event(const std::string& id, const std::string& subject, const std::string& text) {
  return R"({"event_id":")" + id + R"(","subject_id":")" + subject + R"(","at":50,"text":")" + text + "\"}";
}

std::string granted(const std::string& subject, const std::string& purpose = "ServicePersonalisation") {
  return R"({"subject_id":")" + subject + R"(","purpose":")" + purpose + R"(","decision":"granted","at":1})";
}

class Withholding : public testing::Test {
 protected:
  Withholding() {
    rig.file("event.avsc", event_schema);
    schemas = shipped_schemas();
  }

  /// Rows pass `stages`, from the authority's `consent.allowed` to `from`.
  std::string yaml(const std::string& stages, const std::string& from) const {
    return "flow: t\nlog: {kind: embedded, dir: data}\ntopics:\n"
           "  events: {schema: event.avsc, subject: subject_id, event_time: at, partitions: 1" + events + "}\n"
           "  consent: {schema: " + schemas + "/consent.avsc, subject: subject_id, key: [subject_id, purpose], event_time: at, role: table, partitions: 1}\n"
           "  out: {schema: event.avsc, key: event_id, partitions: 1, purpose: ServicePersonalisation" + out + "}\n"
           "  dead_letter: {schema: " + schemas + "/dead_letter.avsc, partitions: 1}\n"
           "stages:\n  consent: {plugin: consent_filter, in: {events: events, decisions: consent}}\n" + stages + "sinks:\n  out: " + from + "\n";
  }
  static std::string look(const std::string& name, const std::string& from, const std::string& needles) {
    return "  " + name + ": {plugin: peek, in: {in: " + from + "}, purpose: ServicePersonalisation, config: {needles: " + needles + "}}\n";
  }
  const port_counts& port(const run_summary& summary, const std::string& node) {
    for (const auto& p : summary.ports) {
      if (p.node == node && !p.table) return p;
    }
    throw std::runtime_error("no node " + node);
  }

  flow_rig rig;
  std::string schemas;
  std::string events = ", withhold: {text: AcademicResearch}";
  std::string out;
};

TEST_F(Withholding, LendsNoByteOfAFieldThatItsSubjectDoesNotGive) {
  rig.flow(yaml(look("look", "consent.allowed", "[SECRET]") + look("again", "look.out", "[SECRET]"), "again.out"));
  rig.give("consent", {granted("ana"), granted("ana", "AcademicResearch"), granted("ben")});
  rig.give("events", {event("e1", "ana", "fine"), event("e2", "ben", "SECRET one"), event("e3", "ana", "good"), event("e4", "ben", "SECRET two")});
  auto summary = rig.run();
  EXPECT_THAT(port(summary, "look").dropped, IsEmpty()) << "a withheld byte was lent" << rig.findings();
  EXPECT_THAT(port(summary, "again").dropped, IsEmpty()) << "a withheld byte was lent further on";
  EXPECT_THAT(rig.records("out"), ElementsAre(HasSubstr(R"("e1","subject_id":"ana","at":50,"text":"fine")"), HasSubstr(R"("text":null)"),
                                              HasSubstr(R"("text":"good")"), HasSubstr(R"("text":null)")));
  for (const auto& r : rig.raw("out", 0)) EXPECT_THAT(std::string(as_text(r.value)), Not(HasSubstr("SECRET")));

  // The plugin does find what it may see: otherwise the above proves nothing.
  rig.give("events", {event("e5", "ana", "SECRET of mine")});
  summary = rig.run();
  EXPECT_THAT(port(summary, "look").dropped, ElementsAre(Pair("found", 1)));
}

TEST_F(Withholding, SendsNoRecordsOwnBytesOnThatHoldIt) {
  rig.flow(yaml("", "consent.allowed"));
  rig.give("consent", {granted("ana"), granted("ana", "AcademicResearch"), granted("ben")});
  rig.give("events", {event("e1", "ana", "fine"), event("e2", "ben", "SECRET one")});
  rig.run();
  EXPECT_THAT(rig.records("out"), ElementsAre(HasSubstr(R"("text":"fine")"), HasSubstr(R"("text":null)"))) << rig.findings();
}

TEST_F(Withholding, CountsForOneSinkAloneWhereItsTopicSaysSo) {
  events = "";
  out = ", withhold: {text: AcademicResearch}";
  rig.flow(yaml(look("look", "consent.allowed", "[nothing-of-this]"), "look.out"));
  rig.give("consent", {granted("ana"), granted("ana", "AcademicResearch"), granted("ben")});
  rig.give("events", {event("e1", "ana", "fine"), event("e2", "ben", "SECRET one")});
  rig.run();
  EXPECT_THAT(rig.records("out"), ElementsAre(HasSubstr(R"("text":"fine")"), HasSubstr(R"("text":null)"))) << rig.findings();
}

}  // namespace
}  // namespace sonder
