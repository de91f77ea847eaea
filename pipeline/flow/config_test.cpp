#include "flow/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace sonder {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> lines_of(const parsed_flow& parsed) {
  std::vector<std::string> lines;
  for (const auto& d : parsed.diagnostics) lines.push_back(to_string(d));
  return lines;
}

parsed_flow parse(std::string_view yaml, const config_overrides& overrides = {}) {
  return parse_flow_text(yaml, "dir/flow.yaml", overrides);
}

const std::string whole_flow = R"(flow: quick
schemas: ../schemas
log: {kind: embedded, dir: data, fsync: false}
topics:
  journal: {schema: journal.avsc, subject: subject_id, event_time: at, partitions: 4, retention: 7d, retention_size: 1GiB}
  consent: {schema: consent.avsc, subject: subject_id, key: [subject_id, purpose], role: table, compact: true, log_append_time: true}
  insight: {schema: insight.avsc, topic: app.insight, key: pseudonym, carries: [pseudonym], purpose: ServicePersonalisation, recipient: coach, framing: bare}
  dead_letter: {schema: dead_letter.avsc}
stages:
  consent: {plugin: consent_filter, in: {events: journal, decisions: consent}}
  score:
    plugin: ./score.so
    purpose: ServicePersonalisation
    trust: [deidentify]
    in: {texts: {from: consent.allowed, fields: {text: body}}}
    config: {profile: fast, limit: 3, ratio: 0.5, on: true, words: [a, "1"], none: null}
    attempts_max: 2
    retry: 10ms
    retry_max: 1s
    deadline: 1m
sinks:
  insight: {from: score.out, fields: {text: body}}
quarantine_key: seal
secrets: {seal: {environment: SEAL}, pseudonym_key: {file: keys/p.key}}
run: {threads: 2, batch_rows: 64, commit_interval: 50ms, outbox_max: 8MiB, future_max: 1h, drain_max: 5s, http_port: 9464}
plugins: ../plugins
)";

TEST(Config, ReadsEverythingThatAFlowSays) {
  const auto parsed = parse(whole_flow);
  ASSERT_THAT(lines_of(parsed), IsEmpty());
  const auto& f = *parsed.options;
  EXPECT_EQ(f.name, "quick");
  EXPECT_EQ(f.log.dir, "dir/data");
  EXPECT_FALSE(f.log.fsync);
  ASSERT_EQ(f.topics.size(), 4U);
  EXPECT_EQ(f.topics[0].schema, "schemas/journal.avsc");
  EXPECT_EQ(f.topics[0].partitions, 4);
  EXPECT_EQ(f.topics[0].retention_ms, 7 * 86'400'000LL);
  EXPECT_EQ(f.topics[0].retention_bytes, 1 << 30);
  EXPECT_THAT(f.topics[0].key, ElementsAre("subject_id"));
  EXPECT_EQ(f.topics[1].role, topic_role::table);
  EXPECT_TRUE(f.topics[1].compact);
  EXPECT_TRUE(f.topics[1].log_append_time);
  EXPECT_EQ(f.topics[2].topic, "app.insight");
  EXPECT_TRUE(f.topics[2].bare);
  EXPECT_EQ(f.topics[2].recipient, "coach");
  ASSERT_EQ(f.stages.size(), 2U);
  const auto& score = f.stages[1];
  EXPECT_EQ(score.plugin, "dir/score.so");
  EXPECT_EQ(score.config_json,
            R"({"profile":"fast","limit":3,"ratio":0.5,"on":true,"words":["a","1"],"none":null})");
  EXPECT_EQ(to_string(score.config_at.at("/words/1")), "dir/flow.yaml:16:72");
  EXPECT_EQ(score.in[0].from, "consent.allowed");
  EXPECT_EQ(score.in[0].fields.at("text"), "body");
  EXPECT_EQ(score.retry_ms_max, 1'000);
  EXPECT_EQ(score.deadline_ms, 60'000);
  EXPECT_EQ(f.sinks[0].from, "score.out");
  EXPECT_EQ(f.sinks[0].fields.at("text"), "body");
  EXPECT_EQ(f.secrets.at("pseudonym_key").file, "dir/keys/p.key");
  EXPECT_EQ(f.quarantine_key, "seal");
  EXPECT_EQ(f.dead_letter, "dead_letter");
  EXPECT_EQ(f.outbox_bytes_max, 8 << 20);
  EXPECT_EQ(f.http_port, 9464);
  EXPECT_THAT(f.plugin_dirs, ElementsAre("plugins"));
}

TEST(Config, KnowsWhereOptionsStand) {
  const auto parsed = parse(whole_flow);
  ASSERT_TRUE(parsed.options);
  EXPECT_EQ(to_string(parsed.options->topics[0].at), "dir/flow.yaml:5:3");
  EXPECT_EQ(to_string(parsed.options->topics[0].where.at("subject")), "dir/flow.yaml:5:44");
  EXPECT_EQ(to_string(parsed.options->stages[0].in[1].where.at("from")), "dir/flow.yaml:10:70");
}

const std::string small_flow = R"(flow: f
topics: {a: {schema: a.avsc}}
stages:
  s: {plugin: p, in: {x: a}, config: {n: 1}}
profiles:
  fast: {stages: {s: {config: {n: 2}}}, run: {threads: 3}}
)";

TEST(Config, AProfileIsLaidOverTheRest) {
  config_overrides fast;
  fast.profile = "fast";
  EXPECT_EQ(parse(small_flow).options->stages[0].config_json, R"({"n":1})");
  const auto parsed = parse(small_flow, fast);
  ASSERT_THAT(lines_of(parsed), IsEmpty());
  EXPECT_EQ(parsed.options->stages[0].config_json, R"({"n":2})");
  EXPECT_EQ(parsed.options->threads, 3);
}

TEST(Config, SetComesLastAndTakesYaml) {
  config_overrides overrides;
  overrides.profile = "fast";
  overrides.set = {{"stages.s.config.n", "7"},
                   {"stages.s.config.words", "[a, b]"},
                   {"topics.a.partitions", "2"},
                   {"stages.s.config.words.1", "c"}};
  const auto parsed = parse(small_flow, overrides);
  ASSERT_THAT(lines_of(parsed), IsEmpty());
  EXPECT_EQ(parsed.options->stages[0].config_json, R"({"n":7,"words":["a","c"]})");
  EXPECT_EQ(parsed.options->topics[0].partitions, 2);
}

TEST(Config, TheEnvironmentIsPutIn) {
  ::setenv("SONDER_TEST_TOPIC", "from.outside", 1);
  ::unsetenv("SONDER_TEST_UNSET");
  const auto parsed = parse(R"(flow: f
topics: {a: {schema: "${SONDER_TEST_UNSET:-x}.avsc", topic: "${SONDER_TEST_TOPIC}", purpose: "acme:Co"}}
stages: {s: {plugin: p, in: {x: a}, config: {price: $$5 or $x, n: ${SONDER_TEST_UNSET:-12}}}}
)");
  EXPECT_THAT(
      lines_of(parsed),
      ElementsAre(::testing::HasSubstr("not YAML")));  // `{` opens a map: such a value needs quotes
  const auto quoted = parse(R"(flow: f
topics: {a: {schema: "${SONDER_TEST_UNSET:-x}.avsc", topic: "${SONDER_TEST_TOPIC}", purpose: "acme:Co"}}
stages:
  s:
    plugin: p
    in: {x: a}
    config:
      price: $$5 or $x
      n: ${SONDER_TEST_UNSET:-12}
)");
  ASSERT_THAT(lines_of(quoted), IsEmpty());
  EXPECT_EQ(quoted.options->topics[0].topic, "from.outside");
  EXPECT_EQ(quoted.options->topics[0].schema, "dir/x.avsc");
  EXPECT_EQ(quoted.options->stages[0].config_json, R"({"price":"$5 or $x","n":12})");
}

TEST(Config, TheDataFolderOfTheCommandLineWins) {
  config_overrides overrides;
  overrides.data_dir = "elsewhere";
  EXPECT_EQ(parse(whole_flow, overrides).options->log.dir, "elsewhere");
}

TEST(Config, AFlowWithoutADeadLetterTopicHasNone) {
  EXPECT_EQ(parse(small_flow).options->dead_letter, "");
}

TEST(Config, AnAliasMayRepeatAValue) {
  const auto parsed = parse("flow: f\ntopics: {a: &t {schema: a.avsc, partitions: 2}, b: *t}\n");
  ASSERT_THAT(lines_of(parsed), IsEmpty());
  EXPECT_EQ(parsed.options->topics[1].partitions, 2);
}

TEST(Config, AllMistakesAreReportedInFileOrder) {
  EXPECT_THAT(
      lines_of(parse(
          "flow: f\nrun: {threads: x}\ntopics: {a: {schema: 1.avsc, partitons: 2}}\nsinks: 3\n")),
      ElementsAre(
          "dir/flow.yaml:2:16: \"threads\" of run must be a whole number from 0 to 256, not \"x\"",
          "dir/flow.yaml:3:30: unknown key \"partitons\" of topic \"a\"; did you mean "
          "\"partitions\"?",
          "dir/flow.yaml:4:8: \"sinks\" must be a map of names, not \"3\""));
}

TEST(Config, AProfileThatIsNotChosenIsCheckedAllTheSame) {
  EXPECT_THAT(
      lines_of(parse("flow: f\ntopics: {a: {schema: a.avsc}}\nprofiles: {fast: {run: {thread: 2, "
                     "http_port: \"${SONDER_TEST_UNSET}\"}}}\n")),
      ElementsAre("dir/flow.yaml:3:25: unknown key \"thread\" of run; did you mean \"threads\"?"));
}

TEST(Config, MoreMistakesThanAnybodyReadsAreCutOffWithANote) {
  std::string yaml = "flow: f\ntopics: {a: {schema: a.avsc}}\n";
  for (int i = 0; i < 100; ++i) yaml += "zzzzzzzz" + std::to_string(i) + ": 1\n";
  const auto lines = lines_of(parse(yaml));
  ASSERT_EQ(lines.size(), diagnostics_max);
  EXPECT_EQ(lines.back(),
            "dir/flow.yaml:66:1: there is more to say from here on; mend what is above first");
}

TEST(Config, AFileThatIsNotThereIsSaid) {
  EXPECT_THAT(lines_of(parse_flow("no/such.yaml", {})),
              ElementsAre("no/such.yaml: there is no such file"));
  EXPECT_THAT(lines_of(parse_flow("/dev/zero", {})), ElementsAre("/dev/zero: is not a file"));
}

TEST(Config, AValueFromTheEnvironmentIsNotShown) {
  ::setenv("SONDER_TEST_TOPIC", "hunter2", 1);
  EXPECT_THAT(
      lines_of(
          parse("flow: f\ntopics: {a: {schema: a.avsc, partitions: \"${SONDER_TEST_TOPIC}\"}}\n")),
      ElementsAre("dir/flow.yaml:2:42: \"partitions\" of topic \"a\" must be a whole number from 1 "
                  "to 1024, not what the "
                  "environment holds"));
}

struct mistake {
  std::string name;
  std::string yaml;
  std::string message;
};
void PrintTo(const mistake& m, std::ostream* out) {
  *out << m.name;
}

/// A flow with `more` behind what every flow needs.
std::string with(const std::string& more) {
  return "flow: f\ntopics: {a: {schema: a.avsc}}\n" + more;
}
std::string topic(const std::string& options) {
  return "flow: f\ntopics:\n  a: {schema: a.avsc, " + options + "}\n";
}
std::string stage(const std::string& options) {
  return with("stages:\n  s: {plugin: p, in: {x: a}, " + options + "}\n");
}

std::string nested(int depth) {
  std::string text = "flow: ";
  for (int i = 0; i < depth; ++i) text += '[';
  for (int i = 0; i < depth; ++i) text += ']';
  return text;
}

/// Each list is ten aliases of the one before.
std::string alias_bomb() {
  std::string text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 9; ++i) {
    const auto before = "*a" + std::to_string(i - 1);
    text += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + before;
    for (int j = 0; j < 9; ++j) text += ", " + before;
    text += "]\n";
  }
  return text;
}

std::string repeated(const std::string& part, int times) {
  std::string text;
  for (int i = 0; i < times; ++i) text += part;
  return text;
}

/// A map of more entries than `max`, each `kN: value`.
std::string entries(int max, const std::string& value) {
  std::string text = "{";
  for (int i = 0; i <= max; ++i) text += (i == 0 ? "k" : ", k") + std::to_string(i) + ": " + value;
  return text + "}";
}

constexpr const char* kafka = "log: {kind: kafka, bootstrap: b, registry: {url: u}";

class ConfigMistake : public ::testing::TestWithParam<mistake> {};

TEST_P(ConfigMistake, IsExplainedWhereItStands) {
  ::unsetenv("SONDER_TEST_UNSET");
  ::setenv("SONDER_TEST_ROLE", "tabel", 1);
  ::setenv("SONDER_TEST_LONG", std::string(40 << 10, 'x').c_str(), 1);
  const auto parsed = parse(GetParam().yaml);
  EXPECT_FALSE(parsed.options);
  EXPECT_THAT(lines_of(parsed), ElementsAre("dir/flow.yaml" + GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    Each, ConfigMistake,
    ::testing::Values(
        mistake{"Empty", "", ": is empty"},
        mistake{"NoMap", "- a\n", ":1:1: a flow must be a map, not a list"},
        mistake{"NotYaml", "flow: [a\ntopics: b\n",
                ":2:7: not YAML: end of sequence flow not found"},
        mistake{"NotUtf8", "flow: \xff\n", ": is not valid UTF-8"},
        mistake{"TooLarge", std::string(300 << 10, '#'), ": larger than 256 KiB"},
        mistake{"TooDeep", nested(5'000), ":1:30: nested deeper than 24 levels"},
        mistake{"AliasBomb", alias_bomb(), ":4:5: more than 20000 values, aliases written out"},
        mistake{"AliasInItself", "flow: &a [*a]\n", ":1:11: an alias inside of what it stands for"},
        mistake{"Tag", "flow: !!str f\n",
                ":1:7: tags such as \"!!str\" are not understood here; quote a text instead"},
        mistake{"SecondDocument", with("---\nflow: g\n"),
                ":3:1: a second document; a flow file holds one"},
        mistake{"KeyThatIsAMap", with("{a: b}: c\n"), ":3:1: a key must be a plain name"},
        mistake{"DuplicateKey", with("sinks: {}\nsinks: {}\n"),
                ":4:1: key \"sinks\" is there twice; the first is at line 3"},
        mistake{"UnknownKey", with("stage: {}\n"),
                ":3:1: unknown key \"stage\"; did you mean \"stages\"?"},
        mistake{"UnknownKeyWithoutNearName", topic("zzzzzzzzzz: 1"),
                ":3:23: unknown key \"zzzzzzzzzz\" of topic \"a\"; expected topic, schema, "
                "subject, key, event_time, partitions, role, compact, "
                "feedback, rekey, rekey_retention, memory_max, rekey_lost, lost, log_append_time, framing, retention, retention_size, carries, purpose, "
                "recipient, labels or withhold"},
        mistake{"MissingName", "topics: {a: {schema: a.avsc}}\n",
                ":1:1: the flow needs \"flow\": its name"},
        mistake{"MissingTopics", "flow: f\n",
                ":1:1: the flow needs \"topics\": the topics that it reads and writes"},
        mistake{"BadName", "flow: a b\ntopics: {a: {schema: a.avsc}}\n",
                ":1:7: name of a flow must be made of letters, digits, \"_\" and \"-\", at most "
                "100, not \"a b\""},
        mistake{"BadStageName", with("stages: {a.b: {plugin: p, in: {x: a}}}\n"),
                ":3:10: name of a stage must be made of letters, digits, \"_\" and \"-\", at most "
                "100, not \"a.b\""},
        mistake{"BadTopicName", topic("topic: a/b"),
                ":3:30: name of a topic in the log must be made of letters, digits, \".\", \"_\" "
                "and \"-\", at most 249, not \"a/b\""},
        mistake{"MissingSchema", "flow: f\ntopics:\n  a: {partitions: 1}\n",
                ":3:3: topic \"a\" needs \"schema\": the .avsc file of its records"},
        mistake{"NumberExpected", topic("partitions: many"),
                ":3:35: \"partitions\" of topic \"a\" must be a whole number from 1 to 1024, not "
                "\"many\""},
        mistake{"NumberOutOfBounds", topic("partitions: 0"),
                ":3:35: \"partitions\" of topic \"a\" must be a whole number from 1 to 1024, not "
                "\"0\""},
        mistake{"NumberIsAFraction", topic("partitions: 1.5"),
                ":3:35: \"partitions\" of topic \"a\" must be a whole number from 1 to 1024, not "
                "\"1.5\""},
        mistake{"BooleanExpected", topic("compact: maybe"),
                ":3:32: \"compact\" of topic \"a\" must be true or false, not \"maybe\""},
        mistake{"ChoiceExpected", topic("role: tabel"),
                ":3:29: \"role\" of topic \"a\" must be event, table or global, not \"tabel\"; did you mean \"table\"?"},
        mistake{"ChoiceFromTheEnvironment", topic("role: \"${SONDER_TEST_ROLE}\""),
                ":3:29: \"role\" of topic \"a\" must be event, table or global, not what the environment holds"},
        mistake{"TextExpected", topic("subject: [a]"),
                ":3:32: \"subject\" of topic \"a\" must be a text, not a list"},
        mistake{"ListExpected", topic("carries: {a: b}"),
                ":3:32: \"carries\" of topic \"a\" must be a list of texts, not a map"},
        mistake{"ListOfTextsExpected", topic("key: [a, [b]]"),
                ":3:32: \"key\" of topic \"a\" must be a list of texts, not a list"},
        mistake{"MapExpected", "flow: f\ntopics: {a: b}\n",
                ":2:13: topic \"a\" must be a map, not \"b\""},
        mistake{"DurationWithoutUnit", stage("retry: 100"),
                ":4:37: \"retry\" of stage \"s\" must be a duration from 1ms to 1h, such as 100ms "
                "or 2s, not \"100\""},
        mistake{"DurationTooLong", stage("deadline: 3d"),
                ":4:40: \"deadline\" of stage \"s\" must be a duration from 10ms to 1h, such as "
                "100ms or 2s, not \"3d\""},
        mistake{"ParkedRowsOfAStageThatIsThereGivenUp", stage("") + "run: {bury_parked_of: [s]}\n",
                ":5:23: \"bury_parked_of\" of run names stage \"s\", which the flow has: its parked rows come back to it"},
        mistake{"SizeWithUnknownUnit", with("run: {outbox_max: 64Mb}\n"),
                ":3:19: \"outbox_max\" of run must be a size from 1MiB to 256MiB, such as 64MiB, "
                "not \"64Mb\""},
        mistake{"SizeThatOverflows", topic("retention_size: 99999999999TiB"),
                ":3:39: \"retention_size\" of topic \"a\" must be a size from 1KiB to 1024TiB, "
                "such as 64MiB, not \"99999999999TiB\""},
        mistake{"UnknownLog", with("log: {kind: pulsar}\n"),
                ":3:13: \"kind\" of log must be embedded or kafka, not \"pulsar\""},
        mistake{"MisspeltLog", with("log: {kind: kafak}\n"),
                ":3:13: \"kind\" of log must be embedded or kafka, not \"kafak\"; did you mean \"kafka\"?"},
        mistake{"KafkaWithoutBrokers", with("log: {kind: kafka, registry: {url: \"http://r\"}}\n"),
                ":3:13: log needs \"bootstrap\": brokers to begin with, host:port, with commas between"},
        mistake{"KafkaWithoutRegistry", with("log: {kind: kafka, bootstrap: \"b:9092\"}\n"),
                ":3:13: log needs \"registry\": the schema registry, as in {url: "
                "\"http://127.0.0.1:8081\"}"},
        mistake{"KafkaOptionOfTheEmbeddedLog", with("log: {kind: kafka, bootstrap: b, registry: {url: u}, fsync: true}\n"),
                ":3:54: unknown key \"fsync\" of log; expected kind, dir, bootstrap, guarantee, instance, session_timeout, max_poll_interval, "
                "transaction_timeout, create_topics, replication, standby_replicas, properties, secrets or registry"},
        mistake{"TooManyStandbyReplicas", with("log: {kind: kafka, bootstrap: b, registry: {url: u}, standby_replicas: 9}\n"),
                ":3:72: \"standby_replicas\" of log must be a whole number from 0 to 8, not \"9\""},
        mistake{"PollIntervalBelowTheSession",
                with("log: {kind: kafka, bootstrap: b, registry: {url: u}, session_timeout: 2m, max_poll_interval: 1m}\n"),
                ":3:94: \"max_poll_interval\" of log is 60000ms, below \"session_timeout\", which is 120000ms: make it longer"},
        mistake{"PollIntervalThatADrainMayOutlast",
                with("log: {kind: kafka, bootstrap: b, registry: {url: u}, max_poll_interval: 40s}\n"),
                ":3:73: \"max_poll_interval\" of log is 40000ms, and a worker may take 75000ms to hand over its tasks: \"drain_max\" "
                "of run, then twice \"transaction_timeout\" of log, 20000ms to settle an epoch that fails, and 5000ms of margin; make it "
                "longer, or one of those shorter"},
        mistake{"SecretOfTheLogThatIsNone",
                with("log: {kind: kafka, bootstrap: b, registry: {url: u}, secrets: {sasl.password: pw}}\n"),
                ":3:79: must be one of \"secrets\" of the flow, not another text"},
        mistake{"UnknownPurpose", topic("purpose: ServicePersonalization"),
                ":3:32: purpose \"ServicePersonalization\" is not in DPV; did you mean "
                "\"ServicePersonalisation\"?"},
        mistake{"UnknownCategory", topic("carries: [free_txt]"),
                ":3:32: \"carries\" of topic \"a\": no data category \"free_txt\"; did you mean "
                "\"free_text\"?"},
        mistake{"StageWithoutPlugin", with("stages:\n  s: {in: {x: a}}\n"),
                ":4:3: stage \"s\" needs \"plugin\": a name, or the path of a .so"},
        mistake{"StageWithoutInput", with("stages:\n  s: {plugin: p}\n"),
                ":4:3: stage \"s\" needs \"in\": what each of the plugin's inputs reads, as in "
                "{events: journal}"},
        mistake{"InputsAreNoMap", with("stages:\n  s: {plugin: p, in: a}\n"),
                ":4:22: \"in\" of stage \"s\" must be a map from the plugin's inputs, not \"a\""},
        mistake{"ConfigIsNoMap", stage("config: fast"),
                ":4:38: \"config\" of stage \"s\" must be a map, not \"fast\""},
        mistake{"SinkWithoutFrom", with("sinks:\n  a: {topic: b}\n"),
                ":4:3: sink \"a\" needs \"from\": a topic, or stage.output"},
        mistake{"TopicOfTheLogTwice", with("").insert(with("").find("}}"), "}, b: {schema: b.avsc, topic: a"),
                ":2:58: topic \"b\" is \"a\" in the log, which topic \"a\" is already: what its records hold is said once; use \"a\" in "
                "both places"},
        mistake{"SecretInTheFile", with("secrets: {k: \"hunter2-hunter2\"}\n"),
                ":3:14: secret \"k\" must be a map that says where it is, {file: ...} or {environment: ...}, not a text; take it out of "
                "the file"},
        mistake{"SecretInsteadOfAll", with("secrets: hunter2-hunter2\n"), ":3:10: \"secrets\" must be a map of names, not a text"},
        mistake{"SecretInsteadOfItsName", with("secrets: {seal: {environment: X}}\nquarantine_key: hunter2-hunter2\n"),
                ":4:17: \"quarantine_key\" must be one of \"secrets\", not another text"},
        mistake{"SecretWithNeither", with("secrets:\n  k: {}\n"),
                ":4:3: secret \"k\" needs either \"file\" or \"environment\""},
        mistake{"SecretWithBoth", with("secrets:\n  k: {file: a, environment: B}\n"),
                ":4:3: secret \"k\" needs either \"file\" or \"environment\""},
        mistake{"UnknownDeadLetter", with("dead_letter: b\n"),
                ":3:14: \"dead_letter\" must be a topic of the flow or none, not \"b\"; did you "
                "mean \"a\"?"},
        mistake{"UnknownQuarantineKey",
                with("secrets: {seal: {environment: X}}\nquarantine_key: sael\n"),
                ":4:17: \"quarantine_key\" must be one of \"secrets\", not \"sael\"; did you mean "
                "\"seal\"?"},
        mistake{"UnsetEnvironment", topic("partitions: \"${SONDER_TEST_UNSET}\""),
                ":3:35: environment variable \"SONDER_TEST_UNSET\" is not set; set it, or give a "
                "default as in ${SONDER_TEST_UNSET:-...}"},
        mistake{"OpenReference", topic("topic: \"${A\""),
                ":3:30: \"${\" without \"}\"; write \"$$\" for a dollar sign"},
        mistake{"BadReference", topic("topic: \"${A B}\""),
                ":3:30: expected ${NAME} or ${NAME:-default}"},
        mistake{"ProfilesAreTooMany", with("profiles: " + entries(16, "{}") + "\n"),
                ":3:11: \"profiles\" has more than 16 entries"},
        mistake{"WithholdIsNoMap", topic("withhold: text"),
                ":3:33: \"withhold\" of topic \"a\" must be a map from field to purpose, not \"text\""},
        mistake{"WithheldWithoutAPurpose", topic("withhold: {text: [a]}"),
                ":3:40: \"withhold\" of topic \"a\": field \"text\" needs a purpose, not a list"},
        mistake{"WithheldWithAnEmptyPurpose", topic("withhold: {text: \"\"}"),
                ":3:40: \"withhold\" of topic \"a\": field \"text\" needs a purpose, not \"\""},
        mistake{"FieldsOfAnInputAreNoMap", with("stages:\n  s: {plugin: p, in: {x: {from: a, fields: text}}}\n"),
                ":4:44: \"fields\" of input \"x\" of stage \"s\" must be a map from name to name, not \"text\""},
        mistake{"FieldsOfASinkAreNoMap", with("sinks:\n  a: {from: s.out, fields: [text]}\n"),
                ":4:28: \"fields\" of sink \"a\" must be a map from name to name, not a list"},
        mistake{"FieldThatIsNoName", with("sinks:\n  a: {from: s.out, fields: {text: {body: 1}}}\n"),
                ":4:35: field \"text\" of sink \"a\" must be the name of a field, not a map"},
        mistake{"PropertiesOfTheLogAreNoMap", with(kafka + std::string(", properties: fast}\n")),
                ":3:66: \"properties\" of log must be a map of names and values, not \"fast\""},
        mistake{"PropertiesOfTheLogAreTooMany", with(kafka + std::string(", properties: ") + entries(256, "1") + "}\n"),
                ":3:66: \"properties\" of log has more than 256 entries"},
        mistake{"PropertyOfTheLogThatIsNoValue", with(kafka + std::string(", properties: {linger.ms: [1]}}\n")),
                ":3:78: \"linger.ms\" in \"properties\" of log must be a value, not a list"},
        mistake{"RegistryWithoutAddress", with("log: {kind: kafka, bootstrap: b, registry: {user: u}}\n"),
                ":3:44: registry needs \"url\": the address of a schema registry that speaks Confluent's protocol, such as http://127.0.0.1:8081"},
        mistake{"AddressThatIsNone", with("run: {http_address: localhost}\n"),
                ":3:21: \"http_address\" of run must be an IPv4 or IPv6 address such as 127.0.0.1, 0.0.0.0 or ::1, not \"localhost\""},
        mistake{"TooLongOnceTheEnvironmentIsPutIn", topic("topic: \"${SONDER_TEST_LONG}${SONDER_TEST_LONG}\""),
                ":3:30: longer than 64 KiB once the environment is put in"},
        mistake{"TooLongLongBeforeTheWholeEnvironmentIsPutIn", topic("topic: \"" + repeated("${SONDER_TEST_LONG}", 10'000) + "\""),
                ":3:30: longer than 64 KiB once the environment is put in"},
        mistake{"ProfilesAreNoMap", with("profiles: fast\n"),
                ":3:11: \"profiles\" must be a map of names, not \"fast\""},
        mistake{"ProfileIsNoMap", with("profiles: {fast: 1}\n"),
                ":3:18: profile \"fast\" must be a map, not \"1\""}),
    [](const auto& each) { return each.param.name; });

struct bad_override {
  std::string path;
  std::string value;
  std::string message;
};

void PrintTo(const bad_override& b, std::ostream* out) {
  *out << b.path << "=" << b.value;
}

class ConfigOverrideMistake : public ::testing::TestWithParam<bad_override> {};

TEST_P(ConfigOverrideMistake, NamesTheOverride) {
  config_overrides overrides;
  overrides.set = {{GetParam().path, GetParam().value}};
  EXPECT_THAT(lines_of(parse(small_flow, overrides)),
              ElementsAre("--set " + GetParam().path + ": " + GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    Each, ConfigOverrideMistake,
    ::testing::Values(
        bad_override{"stages.t.plugin", "x", "there is no stage \"t\"; did you mean \"s\"?"},
        bad_override{"stages.s.plugn", "x",
                     "unknown key \"plugn\" of stage \"s\"; did you mean \"plugin\"?"},
        bad_override{"run.threads", "x",
                     "\"threads\" of run must be a whole number from 0 to 256, not \"x\""},
        bad_override{"run..threads", "1",
                     "expected names joined by dots, as in stages.sentiment.config.profile=fast"},
        bad_override{"flow.x", "1", "\"x\" is inside of what is no map and no list of that length"},
        bad_override{"run.threads", "{1}}", "not YAML: illegal flow end"}));

TEST(Config, AnUnknownProfileIsRefusedWithTheNearestName) {
  config_overrides overrides;
  overrides.profile = "fsat";
  EXPECT_THAT(lines_of(parse(small_flow, overrides)),
              ElementsAre("dir/flow.yaml: there is no profile \"fsat\"; did you mean \"fast\"?"));
  overrides.profile = "careful";
  EXPECT_THAT(lines_of(parse(small_flow, overrides)),
              ElementsAre("dir/flow.yaml: there is no profile \"careful\"; it has fast"));
  EXPECT_THAT(lines_of(parse(with(""), overrides)), ElementsAre("dir/flow.yaml: there is no profile \"careful\"; it has none"));
}

TEST(Config, TheShippedFlowsParse) {
  const auto* root = std::getenv("SONDER_SOURCE_DIR");
  ASSERT_NE(root, nullptr) << "run by ctest, or set SONDER_SOURCE_DIR to the tree";
  int flows = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::filesystem::path(root) / "config")) {
    if (entry.path().extension() != ".yaml") continue;
    ++flows;
    EXPECT_THAT(lines_of(parse_flow(entry.path().string(), {})), IsEmpty()) << entry.path();
  }
  EXPECT_GT(flows, 0);
}

}  // namespace
}  // namespace sonder
