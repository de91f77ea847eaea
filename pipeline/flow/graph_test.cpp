#include "flow/graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <sstream>
#include <stdexcept>
#include <string>

#include "flow/flow_under_test.h"

namespace sonder {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const edge& edge_of(const graph& g, int index) {
  return g.edges[static_cast<std::size_t>(index)];
}
std::vector<std::string> names(const edge& e) {
  std::vector<std::string> all;
  for (const auto& c : e.columns) all.push_back(c.of.name);
  return all;
}

TEST(Graph, TheQuickstartIsWiredToIndices) {
  flow_test t;
  const auto checked = t.check(quick{}.yaml());
  ASSERT_EQ(t.complaints(quick{}.yaml()), "");
  const auto& g = *checked.flow;

  ASSERT_EQ(g.sources.size(), 2U);
  EXPECT_EQ(g.sources[0].topic.name, "consent");  // tables first
  const auto& journal = g.sources[1];
  EXPECT_THAT(journal.wanted,
              ElementsAre("subject_id", "at", "text", "mood"));  // nobody reads event_id and age
  EXPECT_EQ(journal.subject_slot, 0);
  EXPECT_EQ(journal.event_time_slot, 1);

  ASSERT_EQ(g.stages.size(), 3U);
  EXPECT_TRUE(g.stages[0].authority);
  EXPECT_EQ(g.stages[0].inputs[1].edge_out, -1);
  const auto& anonymise = g.stages[1];
  EXPECT_EQ(anonymise.purpose_bit, 0);
  EXPECT_THAT(anonymise.inputs[0].reads, ElementsAre(0, 2));
  EXPECT_THAT(anonymise.inputs[0].writes, ElementsAre(2, 4));
  const auto& after = edge_of(g, anonymise.inputs[0].edge_out);
  EXPECT_THAT(names(after), ElementsAre("subject_id", "at", "text", "mood", "pseudonym"));
  EXPECT_EQ(after.columns[2].source_field, -1);
  EXPECT_EQ(after.columns[2].only_for, 1U);
  EXPECT_EQ(after.columns[3].source_field, 4);
  EXPECT_FALSE(after.unchanged);
  EXPECT_EQ(g.stages[2].config_json, R"({"profile":"full"})");

  EXPECT_THAT(g.sinks[0].slots, ElementsAre(4, 1, 5, 3, -1));
  EXPECT_THAT(g.sinks[0].key_slots, ElementsAre(4));
  EXPECT_EQ(g.sinks[0].purpose_bit, 0);
  EXPECT_THAT(g.purposes, ElementsAre("ServicePersonalisation"));
  EXPECT_EQ(g.partitions, 4);
}

TEST(Graph, StagesComeAfterThoseThatFeedThemWhateverTheFileSays) {
  flow_test t;
  const auto checked = t.check(R"(flow: f
topics: {item: {schema: item.avsc}}
stages:
  b: {plugin: count, in: {items: a.out}}
  a: {plugin: count, in: {items: item}}
)");
  ASSERT_NE(checked.flow, nullptr) << to_string(checked.diagnostics.at(0));
  EXPECT_EQ(checked.flow->stages[0].options.name, "a");
  EXPECT_EQ(checked.flow->stages[1].options.name, "b");
}

TEST(Graph, RowsThatNobodyChangedKeepTheirBytes) {
  flow_test t;
  const auto checked = t.check(R"(flow: f
topics: {item: {schema: item.avsc, labels: {key: none}}, copy: {schema: item.avsc}, bare: {schema: item.avsc, framing: bare}}
sinks: {copy: item, bare: item}
)");
  ASSERT_NE(checked.flow, nullptr) << to_string(checked.diagnostics.at(0));
  EXPECT_TRUE(checked.flow->sinks[0].original_bytes);
  EXPECT_FALSE(checked.flow->sinks[1].original_bytes);
}

TEST(Graph, ARenamedFieldIsReadAndReplacedUnderTheFlowsName) {
  flow_test t;
  t.schema(
      "post",
      R"([{"name": "who", "type": "string", "sonder.privacy": "none"}, {"name": "body", "type": "string", "sonder.privacy": "none"}])");
  t.plugin(
      "upper",
      R"("purpose": "none", "inputs": [{"name": "in", "role": "event", "reads": [{"name": "text", "type": "string"}],
    "writes": [{"name": "text", "type": "string"}], "passes": "out"}], "outputs": [{"name": "out"}])");
  const auto checked = t.check(R"(flow: f
topics: {post: {schema: post.avsc}, copy: {schema: post.avsc}}
stages: {u: {plugin: upper, in: {in: {from: post, fields: {text: body}}}}}
sinks: {copy: u.out}
)");
  ASSERT_NE(checked.flow, nullptr) << to_string(checked.diagnostics.at(0));
  EXPECT_THAT(names(edge_of(*checked.flow, checked.flow->sinks[0].edge_in)),
              ElementsAre("who", "body"));
  EXPECT_FALSE(checked.flow->sinks[0].original_bytes);
}

TEST(Graph, NoTopicHasTheNameOfAChangelogOnKafka) {
  flow_test t;
  const std::string topics = "topics: {item: {schema: item.avsc, labels: {key: none}}, other: {schema: item.avsc, topic: f.a.-parked-changelog}}\n"
                             "stages: {a: {plugin: count, in: {items: item}}}\nsinks: {other: item}\n";
  EXPECT_EQ(t.complaints("flow: f\n" + topics), "");
  EXPECT_THAT(t.complaints("flow: f\nlog: {kind: kafka, bootstrap: b, registry: {url: \"http://r\"}}\n" + topics),
              HasSubstr(R"(3:92: topic "other" has the name of the changelog of store "a.~parked", "f.a.-parked-changelog"; give it another one)"));
}

TEST(Graph, InternalTopicsHaveNamesThatTopicsMayHave) {
  flow_test t;
  const std::string flow(100, 'f');
  const std::string stage(100, 's');
  const auto yaml = [&](const std::string& of) {
    return "flow: " + flow + "\nlog: {kind: kafka, bootstrap: b, registry: {url: \"http://r\"}}\n"
           "topics: {item: {schema: item.avsc}}\nstages:\n  " + of + ": {plugin: count, in: {items: item}}\n";
  };
  EXPECT_EQ(t.complaints(yaml(stage)), "");
  t.plugin("count", R"("purpose": "none", "inputs": [{"name": "items", "role": "event", "reads": [{"name": "minutes", "type": "int"}], "passes": "out"}],
    "outputs": [{"name": "out"}], "services": ["state/1"],
    "stores": [{"name": "a_store_with_a_name_that_is_longer_than_most", "key": "bytes", "value": "bytes", "personal": false}])");
  EXPECT_THAT(t.complaints(yaml(stage)), HasSubstr("of 256 characters where 249 is the most; give shorter names"));
}

TEST(Graph, EmittedRowsHaveAnEdgeOfTheirOwn) {
  flow_test t;
  const auto checked = t.check(R"(flow: f
topics: {item: {schema: item.avsc}, alert: {schema: item.avsc}}
stages: {c: {plugin: count, in: {items: item}}}
sinks: {alert: c.alerts}
)");
  ASSERT_NE(checked.flow, nullptr) << to_string(checked.diagnostics.at(0));
  const auto& stage = checked.flow->stages[0];
  EXPECT_EQ(stage.emit_edges[0], -1);
  EXPECT_EQ(stage.emit_edges[1], checked.flow->sinks[0].edge_in);
  EXPECT_EQ(edge_of(*checked.flow, stage.emit_edges[1]).source, -1);
}

TEST(Graph, ACycleThroughAFeedbackTopicIsAllowed) {
  flow_test t;
  EXPECT_EQ(t.complaints(R"(flow: f
topics: {item: {schema: item.avsc, feedback: true}}
stages: {c: {plugin: count, in: {items: item}}}
sinks: {item: c.alerts}
)"),
            "");
}

TEST(Graph, AnOptionalReadMayBeAbsent) {
  flow_test t;
  t.plugin("maybe", R"("purpose": "none", "inputs": [{"name": "in", "role": "event", "reads": [
    {"name": "id", "type": "string"}, {"name": "hint", "type": ["null", "string"], "optional": true}], "passes": "out"}],
    "outputs": [{"name": "out"}])");
  const auto checked = t.check(
      "flow: f\ntopics: {item: {schema: item.avsc}}\nstages: {m: {plugin: maybe, in: {in: "
      "item}}}\n");
  ASSERT_NE(checked.flow, nullptr) << to_string(checked.diagnostics.at(0));
  EXPECT_THAT(checked.flow->stages[0].inputs[0].reads, ElementsAre(0, -1));
}

constexpr const char* keyed_plugin =
    R"("purpose": "none", "inputs": [{"name": "in", "role": "event", "reads": [
    {"name": "hint", "type": ["null", "string"], "optional_where": "key"}], "passes": "out"}],
    "outputs": [{"name": "out"}], "config": {"type": "object", "properties": {"key": {"type": "string"}}})";

TEST(Graph, AReadIsOptionalOnlyUnderTheConfigurationThatItNames) {
  flow_test t;
  t.plugin("keyed", keyed_plugin);
  const std::string flow =
      "flow: f\ntopics: {item: {schema: item.avsc}}\nstages: {k: {plugin: keyed, in: {in: item}";
  EXPECT_EQ(
      t.complaints(flow + "}}\n"),
      "3:38: stage \"k\" reads field \"hint\" of topic \"item\", which has no such field; name "
      "it under \"fields\", or set the stage's config \"key\"");
  const auto checked = t.check(flow + ", config: {key: text}}}\n");
  ASSERT_NE(checked.flow, nullptr) << to_string(checked.diagnostics.at(0));
  EXPECT_THAT(checked.flow->stages[0].inputs[0].reads, ElementsAre(-1));
}

TEST(Graph, AnEnumMayBeReadAsTextAndATextNotAsAnEnum) {
  flow_test t;
  t.schema(
      "felt",
      R"([{"name": "mood", "type": {"type": "enum", "name": "mood", "symbols": ["LOW", "HIGH"]}, "sonder.privacy": "none"},
    {"name": "word", "type": "string", "sonder.privacy": "none"}])");
  t.plugin("look", R"("purpose": "none", "inputs": [{"name": "in", "role": "event", "reads": [
    {"name": "mood", "type": "string"}], "passes": "out"}], "outputs": [{"name": "out"}])");
  t.plugin("rate", R"("purpose": "none", "inputs": [{"name": "in", "role": "event", "reads": [
    {"name": "word", "type": {"type": "enum", "name": "mood", "symbols": ["LOW", "HIGH"]}}], "passes": "out"}], "outputs": [{"name": "out"}])");
  const std::string flow = "flow: f\ntopics: {felt: {schema: felt.avsc}}\n";
  EXPECT_EQ(t.complaints(flow + "stages: {s: {plugin: look, in: {in: felt}}}\n"), "");
  EXPECT_EQ(t.complaints(flow + "stages: {s: {plugin: rate, in: {in: felt}}}\n"),
            "3:37: stage \"s\" reads field \"word\" of topic \"felt\" as enum{LOW,HIGH}, but it is "
            "string");
}

TEST(Graph, ConsentThatCannotBePartitionedByPersonIsWarnedOf) {
  flow_test t;
  const std::string flow = R"(flow: f
topics:
  journal: {schema: journal.avsc, subject: subject_id, partitions: N}
  consent: {schema: consent.avsc, key: purpose, role: table, partitions: N, log_append_time: true}
stages: {filter: {plugin: filter, in: {events: journal, decisions: consent}}}
)";
  const auto with = [&](const std::string& partitions) {
    auto text = flow;
    for (auto at = text.find('N'); at != std::string::npos; at = text.find('N'))
      text.replace(at, 1, partitions);
    return t.complaints(text);
  };
  EXPECT_EQ(with("1"), "");
  EXPECT_THAT(with("4"), HasSubstr("4:3: warning: topic \"consent\" holds consent, but has no "
                                   "\"subject\" by which to partition it"));
}

TEST(Graph, ANumberMayWidenOnItsWayIntoASink) {
  flow_test t;
  t.schema("wide", R"([{"name": "minutes", "type": "long", "sonder.privacy": "none"}])");
  EXPECT_EQ(t.complaints("flow: f\ntopics: {item: {schema: item.avsc}, wide: {schema: "
                         "wide.avsc}}\nsinks: {wide: item}\n"),
            "");
}

TEST(Graph, UnusedTopicsAndSecretsAreWarnedOf) {
  flow_test t;
  EXPECT_EQ(t.complaints("flow: f\ntopics:\n  item: {schema: item.avsc, labels: {key: none}}\n  copy: {schema: "
                         "item.avsc}\n  other: {schema: item.avsc}\nsinks: {copy: item}\n"
                         "secrets: {k: {environment: K}}\n"),
            "5:3: warning: topic \"other\" is not used\n7:11: warning: secret \"k\" is not used");
}

struct graph_mistake {
  std::string name;
  void (*make)(quick&);
  std::string message;
};
void PrintTo(const graph_mistake& m, std::ostream* out) {
  *out << m.name;
}

class GraphMistake : public ::testing::TestWithParam<graph_mistake> {};

TEST_P(GraphMistake, IsExplainedWhereItStands) {
  flow_test t;
  quick q;
  GetParam().make(q);
  EXPECT_EQ(t.complaints(q.yaml()), GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    Each, GraphMistake,
    ::testing::Values(
        graph_mistake{
            "UnknownPlugin",
            [](quick& q) {
              q.score =
                  "plugin: scroe, in: {texts: anonymise.out}, purpose: ServicePersonalisation";
            },
            "9:19: stage \"score\": there is no plugin \"scroe\"; did you mean \"score\"?"},
        graph_mistake{"UnknownField",
                      [](quick& q) {
                        q.score =
                            "plugin: score, in: {texts: {from: anonymise.out, fields: {text: "
                            "txt}}}, purpose: ServicePersonalisation";
                      },
                      "9:69: stage \"score\" reads field \"txt\" of output \"anonymise.out\", "
                      "which has no such field; did you mean \"text\"?"},
        graph_mistake{"FieldOfAnotherType",
                      [](quick& q) {
                        q.score =
                            "plugin: score, in: {texts: {from: anonymise.out, fields: {text: "
                            "at}}}, purpose: ServicePersonalisation";
                      },
                      "9:69: stage \"score\" reads field \"at\" of output \"anonymise.out\" as "
                      "string, but it is timestamp_ms"},
        graph_mistake{"RenamesWhatThePluginHasNot",
                      [](quick& q) {
                        q.score =
                            "plugin: score, in: {texts: {from: anonymise.out, fields: {txt: "
                            "text}}}, purpose: ServicePersonalisation";
                      },
                      "9:69: input \"texts\" of plugin \"score\" has no field \"txt\"; did you "
                      "mean \"text\"?"},
        graph_mistake{
            "UnknownPort",
            [](quick& q) {
              q.filter =
                  "plugin: filter, in: {events: journal, decisions: consent, decision: consent}";
            },
            "7:70: plugin \"filter\" has no input \"decision\"; did you mean \"decisions\"?"},
        graph_mistake{"OpenPort",
                      [](quick& q) { q.filter = "plugin: filter, in: {events: journal}"; },
                      "4:3: warning: topic \"consent\" is not used\n"
                      "7:3: stage \"filter\" leaves input \"decisions\" of plugin \"filter\" open; "
                      "say what it reads under \"in\""},
        graph_mistake{"UnknownEndpoint", [](quick& q) { q.sink = "from: scor.out"; },
                      "11:19: sink \"insight\" reads \"scor.out\", which is no topic and no output "
                      "of a stage; did you mean \"score.out\"?"},
        graph_mistake{"UnknownOutput", [](quick& q) { q.sink = "from: score.outt"; },
                      "11:19: sink \"insight\" reads \"score.outt\", which is no topic and no "
                      "output of a stage; did you mean \"score.out\"?"},
        graph_mistake{"StageWithoutOutput", [](quick& q) { q.sink = "from: score"; },
                      "11:19: sink \"insight\" reads \"score\", which is a stage; name its output: "
                      "score.out"},
        graph_mistake{"EventsFromATable",
                      [](quick& q) {
                        q.filter = "plugin: filter, in: {events: consent, decisions: consent}";
                      },
                      "3:3: warning: topic \"journal\" is not used\n"
                      "7:41: input \"events\" of stage \"filter\" reads events; topic \"consent\" "
                      "is a table"},
        graph_mistake{"TableFromEvents",
                      [](quick& q) {
                        q.filter = "plugin: filter, in: {events: journal, decisions: journal}";
                      },
                      "4:3: warning: topic \"consent\" is not used\n"
                      "7:61: input \"decisions\" of stage \"filter\" reads a table; topic "
                      "\"journal\" needs \"role: table\""},
        graph_mistake{"ThroughNoAuthority",
                      [](quick& q) {
                        q.anonymise =
                            "plugin: anonymise, in: {texts: journal}, purpose: "
                            "ServicePersonalisation, trust: [deidentify, pseudonymise]";
                      },
                      "8:46: stage \"anonymise\" serves purpose \"ServicePersonalisation\", but no "
                      "consent authority stands before it; let \"journal\" go through one\n"
                      "9:38: stage \"score\" serves purpose \"ServicePersonalisation\", but no "
                      "consent authority stands before it; let \"anonymise.out\" go through one\n"
                      "11:19: topic \"insight\" serves purpose \"ServicePersonalisation\", but no "
                      "consent authority stands before \"score.out\""},
        graph_mistake{
            "SecondAuthority",
            [](quick& q) {
              q.score += "}\n  again: {plugin: filter, in: {events: journal, decisions: consent}";
            },
            "10:3: stage \"again\" is a second consent authority; stage \"filter\" is one already"},
        graph_mistake{"CycleOfStages",
                      [](quick& q) {
                        q.anonymise =
                            "plugin: anonymise, in: {texts: score.out}, purpose: "
                            "ServicePersonalisation, trust: [deidentify, pseudonymise]";
                      },
                      "8:3: stages feed each other: \"anonymise\" -> \"score\" -> \"anonymise\"; a "
                      "cycle must go through a topic with \"feedback: true\""},
        graph_mistake{
            "CycleOfTopics",
            [](quick& q) {
              q.insight += "}\n  item: {schema: item.avsc, partitions: 4";
              q.score += "}\n  c: {plugin: count, in: {items: item}";
              q.sink += "}\n  item: {from: c.alerts";
            },
            "14:3: topic \"item\" feeds itself; if that is meant, give it \"feedback: true\""},
        graph_mistake{"SinkThatIsNoTopic",
                      [](quick& q) { q.sink += "}\n  insigth: {from: score.out"; },
                      "12:3: sink \"insigth\" is not under \"topics\"; did you mean \"insight\"?"},
        graph_mistake{
            "AnotherPurpose",
            [](quick& q) {
              q.score = "plugin: score, in: {texts: anonymise.out}, purpose: AcademicResearch";
            },
            "9:38: stage \"score\" reads field \"text\" of output \"anonymise.out\", which only "
            "rows allowed for \"ServicePersonalisation\" have; give stage \"score\" \"purpose: "
            "ServicePersonalisation\"\n"
            "11:19: sink \"insight\" needs field \"valence\", which only rows allowed for "
            "\"AcademicResearch\" have; give topic \"insight\" \"purpose: AcademicResearch\""},
        graph_mistake{"SinkWithoutPurpose",
                      [](quick& q) {
                        q.insight = "carries: [pseudonym, special_category, quasi_identifier]";
                      },
                      "11:19: sink \"insight\" needs field \"pseudonym\", which only rows allowed "
                      "for \"ServicePersonalisation\" have; give topic \"insight\" \"purpose: "
                      "ServicePersonalisation\"\n"
                      "11:19: sink \"insight\" needs field \"valence\", which only rows allowed "
                      "for \"ServicePersonalisation\" have; give topic \"insight\" \"purpose: "
                      "ServicePersonalisation\""},
        graph_mistake{"NullIntoAFieldWithoutNull",
                      [](quick& q) { q.sink = "from: score.out, fields: {note: mood}"; },
                      "11:39: sink \"insight\" needs field \"mood\" as string, but it is int32?"},
        graph_mistake{
            "PartitionsDiffer",
            [](quick& q) { q.journal = "subject: subject_id, event_time: at, partitions: 8"; },
            "3:84: topic \"journal\" has 8 partitions, \"consent\" has 4: tasks need the same "
            "number of each source; recreate one, or add \"rekey: true\" where a topic of events should go through an internal topic"},
        graph_mistake{"OneOfAThingIsNamedInTheSingular",
                      [](quick& q) { q.journal = "subject: subject_id, event_time: at, partitions: 1"; },
                      "3:84: topic \"journal\" has 1 partition, \"consent\" has 4: tasks need the same "
                      "number of each source; recreate one, or add \"rekey: true\" where a topic of events should go through an internal topic"},
        graph_mistake{
            "UnknownSubject",
            [](quick& q) { q.journal = "subject: subject, event_time: at, partitions: 4"; },
            "3:44: \"subject\" of topic \"journal\" names field \"subject\", which its schema has "
            "not; did you mean \"subject_id\"?"},
        graph_mistake{"SubjectIsNoString",
                      [](quick& q) { q.journal = "subject: at, event_time: at, partitions: 4"; },
                      "3:44: \"subject\" of topic \"journal\" must be a string without null; field "
                      "\"at\" is long"},
        graph_mistake{
            "TimeIsNoTimestamp",
            [](quick& q) { q.journal = "subject: subject_id, event_time: text, partitions: 4"; },
            "3:68: \"event_time\" of topic \"journal\" must be timestamp-millis or "
            "timestamp-micros; field \"text\" is string"},
        graph_mistake{"KeyWithoutSubject",
                      [](quick& q) {
                        q.journal =
                            "subject: subject_id, key: event_id, event_time: at, partitions: 4";
                      },
                      "3:61: \"key\" of topic \"journal\" must hold its subject, field "
                      "\"subject_id\": personal topics are partitioned by it"},
        graph_mistake{"UnknownConfig", [](quick& q) { q.score += ", config: {profil: fast}"; },
                      "9:104: config /profil of stage \"score\": no such property; did you mean "
                      "\"profile\"?"},
        graph_mistake{"UnknownTrust",
                      [](quick& q) {
                        q.anonymise =
                            "plugin: anonymise, in: {texts: filter.allowed}, purpose: "
                            "ServicePersonalisation, trust: [deidentify, pseudonymise, deidentfy]";
                      },
                      "8:103: stage \"anonymise\" trusts \"deidentfy\", which plugin \"anonymise\" "
                      "does not declare; did you mean \"deidentify\"?"},
        graph_mistake{
            "MissingPurpose",
            [](quick& q) {
              q.score = "plugin: score, in: {texts: filter.allowed}";
              q.sink = "from: filter.allowed, fields: {pseudonym: event_id, valence: event_id}";
            },
            "9:3: stage \"score\" needs \"purpose\": plugin \"score\" handles personal data\n"
            "11:65: sink \"insight\" needs field \"event_id\" as float64, but it is string"},
        graph_mistake{"AuthorityWithPurpose",
                      [](quick& q) { q.filter += ", purpose: ServicePersonalisation"; },
                      "7:80: stage \"filter\" decides on consent, which has a basis of its own; "
                      "take its \"purpose\" away"},
        graph_mistake{"MissingSecret",
                      [](quick& q) { q.more = "secrets: {pseudonym_kye: {environment: KEY}}"; },
                      "8:3: stage \"anonymise\" needs secret \"pseudonym_key\", which is not under "
                      "\"secrets\"; did you mean \"pseudonym_kye\"?\n"
                      "12:11: warning: secret \"pseudonym_kye\" is not used"},
        graph_mistake{"NoDefault", [](quick& q) { q.sink = "from: anonymise.out"; },
                      "11:19: sink \"insight\" needs field \"valence\", which output "
                      "\"anonymise.out\" has not, and its schema gives no default"},
        graph_mistake{"SinkOfAnotherType",
                      [](quick& q) { q.sink = "from: score.out, fields: {valence: text}"; },
                      "11:39: sink \"insight\" needs field \"text\" as float64, but it is string"},
        graph_mistake{"SinkRenamesWhatItHasNot",
                      [](quick& q) { q.sink = "from: score.out, fields: {valenc: valence}"; },
                      "11:39: the schema of topic \"insight\" has no field \"valenc\"; did you "
                      "mean \"valence\"?"}),
    [](const auto& each) { return each.param.name; });

TEST(Graph, ConsentUnderTimestampsOfProducersIsWarnedOf) {
  flow_test t;
  quick q;
  q.consent = "partitions: 4";
  EXPECT_EQ(t.complaints(q.yaml()),
            "4:3: warning: topic \"consent\" holds consent under timestamps of its producers, who "
            "could date a grant back; let the "
            "log set them with \"log_append_time: true\"");
  EXPECT_NE(t.check(q.yaml()).flow, nullptr);
}

TEST(Graph, APluginThatNoFolderHasIsNamedWithTheFolders) {
  const auto parsed = parse_flow_text(
      "flow: f\ntopics: {a: {schema: a.avsc}}\nstages: {s: {plugin: nosuch, in: {x: a}}}\nplugins: "
      "[p, q]\n",
      "d/f.yaml", {});
  ASSERT_TRUE(parsed.options);
  const auto checked = check_flow(*parsed.options, false);
  EXPECT_EQ(checked.flow, nullptr);
  EXPECT_EQ(to_string(checked.diagnostics.at(1)),
            "d/f.yaml:3:22: stage \"s\": there is no plugin \"nosuch\" in d/p, d/q");
}

TEST(Graph, APluginWithoutAnyFolderIsSaidToHaveNone) {
  const auto parsed =
      parse_flow_text("flow: f\ntopics: {a: {schema: a.avsc}}\nstages: {s: {plugin: nosuch, in: {x: a}}}\n", "d/f.yaml", {});
  ASSERT_TRUE(parsed.options);
  const auto checked = check_flow(*parsed.options, false);
  EXPECT_EQ(checked.flow, nullptr);
  EXPECT_EQ(to_string(checked.diagnostics.at(1)), "d/f.yaml:3:22: stage \"s\": there is no plugin \"nosuch\"; no plugin folder is given");
}

TEST(Graph, ATopicsSchemaIsARecord) {
  flow_test t;
  t.schema_text("mood", R"({"type": "enum", "name": "mood", "symbols": ["LOW", "HIGH"]})");
  EXPECT_EQ(t.complaints("flow: f\n"
                         "topics: {item: {schema: item.avsc}, mood: {schema: mood.avsc}}\nsinks: {mood: item}\n"),
            "2:52: schema of topic \"mood\" must be a record, not mood");
}

TEST(Graph, AFlowReadsATopic) {
  flow_test t;
  EXPECT_EQ(t.complaints("flow: f\ntopics: {item: {schema: item.avsc}}\n"),
            " the flow reads no topic; name one as the input of a stage, or as what a sink is made from\n"
            "2:10: warning: topic \"item\" is not used");
}

TEST(Graph, ASinksKeyIsMadeOfWhatReachesIt) {
  flow_test t;
  t.schema("kept", R"([{"name": "id", "type": "string", "sonder.privacy": "none"},
    {"name": "shelf", "type": "string", "default": "", "sonder.privacy": "none"}])");
  const auto flow = [](const std::string& sink) {
    return "flow: f\ntopics: {item: {schema: item.avsc}, kept: {schema: kept.avsc, key: shelf}}\nsinks: {kept: " + sink + "}\n";
  };
  EXPECT_EQ(t.complaints(flow("item")), "3:15: sink \"kept\" needs field \"shelf\" for its key, which topic \"item\" has not");
  EXPECT_EQ(t.complaints(flow("{from: item, fields: {shelf: id}}")), "");
}

TEST(Graph, APluginThatFillsNoStoreCannotReadAGlobalTable) {
  flow_test t;
  t.plugin("look", R"("purpose": "none", "inputs": [
    {"name": "in", "role": "event", "reads": [{"name": "minutes", "type": "int"}], "passes": "out"},
    {"name": "facts", "role": "table", "reads": [{"name": "id", "type": "string"}]}], "outputs": [{"name": "out"}])");
  const auto flow = [](const std::string& role) {
    return "flow: f\ntopics:\n  item: {schema: item.avsc}\n  fact: {schema: item.avsc, " + role +
           "}\nstages: {s: {plugin: look, in: {in: item, facts: fact}}}\n";
  };
  const std::string not_filled =
      R"(5:50: input "facts" of plugin "look" cannot read a global table, such as "fact": no store of its manifest is "filled_by" it; )"
      R"(use "role: table")";
  EXPECT_EQ(t.complaints(flow("role: global, compact: true")), not_filled);
  EXPECT_EQ(t.complaints(flow("role: table")), "");
  EXPECT_EQ(t.complaints(flow("role: global")),
            "4:3: warning: topic \"fact\" is a global table, which every worker reads from its beginning when it starts; "
            "keep it short with \"compact: true\"\n"
            "" + not_filled);
}

TEST(Graph, AFlowHasNoMorePurposesThanItsMaskHasBits) {
  flow_test t;
  std::string yaml = "flow: f\ntopics:\n  item: {schema: item.avsc}\n";
  for (std::size_t i = 1; i <= flow_purposes_max + 1; ++i) {
    yaml += "  t" + std::to_string(i) + ": {schema: item.avsc, purpose: \"acme:p" + std::to_string(i) + "\"}\n";
  }
  yaml += "sinks:\n";
  for (std::size_t i = 1; i <= flow_purposes_max + 1; ++i) yaml += "  t" + std::to_string(i) + ": item\n";
  EXPECT_THAT(t.complaints(yaml), testing::StartsWith("68:37: more than 64 purposes in one flow\n"));
}

/// The shipped flow with the manifests of the shipped plugins, as they lie in the tree.
checked_graph check_shipped(const std::string& flow, const config_overrides& overrides) {
  const auto* root = std::getenv("SONDER_SOURCE_DIR");
  if (root == nullptr)
    throw std::runtime_error("run by ctest, or set SONDER_SOURCE_DIR to the tree");
  const std::filesystem::path tree(root);
  const auto parsed = parse_flow((tree / "config" / flow).string(), overrides);
  if (!parsed.options) return {nullptr, parsed.diagnostics};
  return check_flow(*parsed.options, [&](const stage_options& stage) -> result<provided_plugin> {
    std::ifstream in(tree / "plugins" / stage.plugin / "manifest.json");
    std::stringstream text;
    text << in.rdbuf();
    auto declared = parse_manifest(text.str());
    if (!declared) return tl::unexpected(declared.error().at(stage.plugin));
    return provided_plugin{*std::move(declared), nullptr};
  });
}

TEST(Graph, TheShippedQuickstartIsSoundInEachProfile) {
  for (const auto* profile : {"", "fast"}) {
    config_overrides overrides;
    overrides.profile = profile;
    const auto checked = check_shipped("quickstart.yaml", overrides);
    for (const auto& d : checked.diagnostics) {
      // The demonstration dates its people's consents back, which is what the warning is about.
      if (d.message.find("date a grant back") == std::string::npos)
        ADD_FAILURE() << profile << ": " << to_string(d);
    }
    ASSERT_NE(checked.flow, nullptr);
    EXPECT_EQ(checked.flow->stages.size(), 3U);
    EXPECT_EQ(checked.flow->sources.size(), 2U);
  }
}

TEST(Graph, TheShippedFlowWithForeignConsentIsSound) {
  const auto checked = check_shipped("foreign_consent.yaml", {});
  for (const auto& d : checked.diagnostics) ADD_FAILURE() << to_string(d);
  ASSERT_NE(checked.flow, nullptr);
  EXPECT_THAT(checked.flow->stages[0].inputs[1].reads, ElementsAre(-1, -1, 0, 1, -1));
}

TEST(Graph, TheShippedQuickstartIsRefusedWithoutItsTrust) {
  config_overrides overrides;
  overrides.set = {{"stages.anonymize.trust", "[]"}};
  EXPECT_EQ(check_shipped("quickstart.yaml", overrides).flow, nullptr);
}

}  // namespace
}  // namespace sonder
