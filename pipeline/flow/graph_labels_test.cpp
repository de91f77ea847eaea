#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "flow/flow_under_test.h"
#include "flow/registered_labels.h"

namespace sonder {
namespace {

/// A plugin for people who agreed, without a declassification; it reads `reads` and writes `made`.
std::string plain_plugin(const std::string& reads, const std::string& rest = "") {
  return R"("purpose": "required", "inputs": [{"name": "in", "role": "event", "reads": )" + reads +
         R"(, "writes": [{"name": "made", "type": "string"}], "passes": "out"}], "outputs": [{"name": "out"}])" +
         rest;
}
constexpr const char* reads_text = R"([{"name": "text", "type": "string"}])";

/// One more stage and sink beside the quickstart's: `extra` reads what the authority allows, and
/// topic `out`, whose log sets the timestamps, gets what it makes.
std::string flow_with(const std::string& stage, const std::string& topic,
                      const std::string& sink = "from: extra.out") {
  quick q;
  q.insight += "}\n  out: {schema: out.avsc, log_append_time: true, " + topic;
  q.score += "}\n  extra: {" + stage;
  q.sink += "}\n  out: {" + sink;
  return q.yaml();
}

const std::string serve =
    "plugin: plain, in: {in: filter.allowed}, purpose: ServicePersonalisation";

TEST(Labels, AnUntrustedDeclassificationCountsForNothing) {
  flow_test t;
  quick q;
  q.anonymise =
      "plugin: anonymise, in: {texts: filter.allowed}, purpose: ServicePersonalisation, trust: "
      "[deidentify]";
  EXPECT_EQ(t.complaints(q.yaml()),
            "11:19: topic \"insight\" may not carry direct_identifier, free_text, which reaches it "
            "in field \"pseudonym\"\n"
            "    3:21: field \"subject_id\" of topic \"journal\": labelled direct_identifier\n"
            "    8:3: stage \"anonymise\" writes \"pseudonym\", which adds pseudonym (its "
            "\"pseudonymise\" is not trusted)\n"
            "    and 4 findings more with this cause: what stage \"anonymise\" declares to take away "
            "is not in its \"trust\"");
}

TEST(Labels, WhatASinkMayNotCarryIsRefusedHopByHop) {
  flow_test t;
  quick q;
  q.insight = "carries: [pseudonym, quasi_identifier], purpose: ServicePersonalisation";
  EXPECT_EQ(t.complaints(q.yaml()),
            "11:19: topic \"insight\" may not carry special_category, which reaches it in field "
            "\"valence\"\n"
            "    9:3: stage \"score\" writes \"valence\", which adds special_category\n"
            "11:19: topic \"insight\" may not carry special_category, which reaches it in field "
            "\"mood\"\n"
            "    3:21: field \"mood\" of topic \"journal\": labelled special_category");
}

TEST(Labels, WhatAStageMakesCarriesAllThatItReads) {
  flow_test t;
  t.schema("out", R"([{"name": "made", "type": "string"}])");
  t.plugin("plain", plain_plugin(reads_text));
  EXPECT_EQ(
      t.complaints(flow_with(serve, "carries: [free_text], purpose: ServicePersonalisation")),
      "14:15: topic \"out\" may not carry direct_identifier, which reaches it in field \"made\"\n"
      "    3:21: field \"text\" of topic \"journal\": labelled direct_identifier, free_text\n"
      "    11:3: stage \"extra\" writes \"made\"");
  EXPECT_EQ(t.complaints(flow_with(
                serve, "carries: [free_text, direct_identifier], purpose: ServicePersonalisation")),
            "");
}

TEST(Labels, ChoosingRowsByAFieldTellsOfIt) {
  flow_test t;
  t.schema(
      "out",
      R"([{"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}, "sonder.privacy": ["quasi_identifier"]}])");
  const auto flow =
      flow_with(serve, "carries: [quasi_identifier], purpose: ServicePersonalisation");
  t.plugin("plain", plain_plugin(reads_text));
  EXPECT_EQ(t.complaints(flow), "");
  t.plugin("plain", plain_plugin(reads_text, R"(, "reasons": ["sad"])"));
  EXPECT_EQ(t.complaints(flow),
            "14:15: topic \"out\" may not carry direct_identifier, free_text, which reaches it in "
            "which rows there are\n"
            "    3:21: field \"text\" of topic \"journal\": labelled direct_identifier, free_text\n"
            "    11:3: stage \"extra\" chooses rows by what it reads");
}

TEST(Labels, APurposeThatAFieldDoesNotPermitIsRefused) {
  flow_test t;
  t.schema("out", R"([{"name": "made", "type": "string"}])");
  t.plugin("plain", plain_plugin(reads_text));
  EXPECT_EQ(t.complaints(flow_with("plugin: plain, in: {in: filter.allowed}, purpose: Marketing",
                                   "carries: [free_text, direct_identifier], purpose: Marketing")),
            "11:35: stage \"extra\" serves \"Marketing\", which field \"text\" does not permit "
            "(AcademicResearch, ServicePersonalisation)\n"
            "    3:21: field \"text\" of topic \"journal\": labelled direct_identifier, free_text\n"
            "14:15: topic \"out\" serves \"Marketing\", which what reaches it in field \"made\" "
            "does not permit (AcademicResearch, "
            "ServicePersonalisation)\n"
            "    3:21: field \"text\" of topic \"journal\": labelled direct_identifier, free_text\n"
            "    11:3: stage \"extra\" writes \"made\"");
}

TEST(Labels, AFieldWithoutALabelIsEverythingAndPermitsNothing) {
  flow_test t;
  t.schema("bare", R"([{"name": "id", "type": "string"}])");
  EXPECT_EQ(t.complaints("flow: f\ntopics: {bare: {schema: bare.avsc}, copy: {schema: bare.avsc, "
                         "purpose: Marketing}}\nstages: {}\nsinks: {copy: bare}\n"),
            "4:15: topic \"copy\" serves purpose \"Marketing\", but no consent authority stands "
            "before \"bare\"");
  EXPECT_EQ(
      t.complaints(
          "flow: f\ntopics: {bare: {schema: bare.avsc, labels: {key: none}}, copy: {schema: bare.avsc, carries: "
          "[free_text, direct_identifier, "
          "quasi_identifier, special_category, pseudonym, behaviour]}}\nsinks: {copy: bare}\n"),
      "3:15: topic \"copy\" may not carry preference, which reaches it in field \"id\"\n"
      "    2:25: field \"id\" of topic \"bare\": has no label, which counts as everything\n"
      "3:15: topic \"copy\" serves no purpose, but direct_identifier, quasi_identifier, "
      "special_category, free_text, pseudonym, behaviour, "
      "preference reaches it in field \"id\"; give it a \"purpose\"\n"
      "    2:25: field \"id\" of topic \"bare\": has no label, which counts as everything\n"
      "3:15: topic \"copy\" is read by anybody, which what reaches it in field \"id\" does not "
      "permit (none)\n"
      "    2:25: field \"id\" of topic \"bare\": has no label, which counts as everything");
}

TEST(Labels, APersonalFieldNeedsAPurpose) {
  flow_test t;
  t.plugin(
      "plain",
      R"("purpose": "none", "inputs": [{"name": "in", "role": "event", "reads": [{"name": "age", "type": ["null", "int"]}],
    "passes": "out"}], "outputs": [{"name": "out"}])");
  EXPECT_EQ(t.complaints("flow: f\ntopics: {journal: {schema: journal.avsc}}\nstages: {s: {plugin: "
                         "plain, in: {in: journal}}}\n"),
            "3:38: stage \"s\" reads field \"age\", which is quasi_identifier, but serves no "
            "purpose; give it a \"purpose\"\n"
            "    2:28: field \"age\" of topic \"journal\": labelled quasi_identifier");
}

TEST(Labels, ATableAboutPeopleIsForTheAuthorityAlone) {
  flow_test t;
  t.plugin("plain", R"("purpose": "required", "inputs": [
    {"name": "in", "role": "event", "reads": [{"name": "age", "type": ["null", "int"]}], "passes": "out"},
    {"name": "facts", "role": "table", "reads": [{"name": "granted", "type": "boolean"}]}], "outputs": [{"name": "out"}])");
  quick q;
  q.score +=
      "}\n  extra: {plugin: plain, in: {in: filter.allowed, facts: consent}, purpose: "
      "ServicePersonalisation";
  EXPECT_EQ(t.complaints(q.yaml()),
            "10:58: stage \"extra\" reads field \"granted\" of a table, which is behaviour; the "
            "host checks consent for events only, so only the "
            "consent authority may read a personal table\n"
            "    4:21: field \"granted\" of topic \"consent\": labelled behaviour");
}

TEST(Labels, AStoreThatIsNotPersonalMayKeepNothingPersonal) {
  flow_test t;
  t.plugin(
      "plain",
      plain_plugin(
          reads_text,
          R"(, "services": ["state/1"], "stores": [{"name": "seen", "key": "bytes", "value": "bytes", "version": 1, "personal": false}])"));
  quick q;
  q.score += "}\n  extra: {" + serve;
  EXPECT_EQ(t.complaints(q.yaml()),
            "10:19: store \"seen\" of stage \"extra\" is declared as not personal, but the stage "
            "reads direct_identifier, free_text\n"
            "    3:21: field \"text\" of topic \"journal\": labelled direct_identifier, free_text\n"
            "    what stage \"extra\" keeps");
}

TEST(Labels, KeysThatNoFieldMakesAreEverythingUntilTheyAreLabelled) {
  flow_test t;
  t.schema("note", R"([{"name": "id", "type": "string", "sonder.privacy": "none"}])");
  const auto flow = [](const std::string& labels) {
    return "flow: f\ntopics: {note: {schema: note.avsc" + labels + "}, copy: {schema: note.avsc}}\nsinks: {copy: note}\n";
  };
  EXPECT_THAT(t.complaints(flow("")), testing::HasSubstr("which reaches it in the records' keys\n    2:10: key of topic \"note\": "
                                                         "has no label, which counts as everything"));
  EXPECT_EQ(t.complaints(flow(", labels: {key: none}")), "");
}

TEST(Labels, ARecipientThatIsNotNamedIsRefused) {
  flow_test t;
  t.schema(
      "note",
      R"([{"name": "id", "type": "string", "sonder.privacy": {"categories": [], "recipients": ["coach"]}}])");
  const auto flow = [](const std::string& who) {
    return "flow: f\ntopics: {note: {schema: note.avsc, labels: {key: none}}, copy: {schema: note.avsc, recipient: " +
           who + "}}\nsinks: {copy: note}\n";
  };
  EXPECT_EQ(t.complaints(flow("coach")), "");
  EXPECT_EQ(t.complaints(flow("insurer")),
            "3:15: topic \"copy\" is read by \"insurer\", which what reaches it in field \"id\" "
            "does not permit (coach)\n"
            "    2:25: field \"id\" of topic \"note\": labelled none");
}

TEST(Labels, ASchemaMayNotPermitMoreThanWhatArrives) {
  flow_test t;
  t.schema(
      "out",
      R"([{"name": "made", "type": "string", "sonder.privacy": ["free_text", "direct_identifier"]}])");
  t.plugin("plain", plain_plugin(reads_text));
  EXPECT_EQ(t.complaints(flow_with(
                serve, "carries: [free_text, direct_identifier], purpose: ServicePersonalisation")),
            "14:15: field \"made\" of out.avsc permits purposes: any; what reaches it permits "
            "only: AcademicResearch, ServicePersonalisation");
}

TEST(Labels, ABadLabelIsNamedWithItsField) {
  flow_test t;
  t.schema("note", R"([{"name": "id", "type": "string", "sonder.privacy": ["free_txt"]}])");
  EXPECT_EQ(t.complaints("flow: f\ntopics: {note: {schema: note.avsc, labels: {key: none}}, copy: {schema: "
                         "note.avsc}}\nsinks: {copy: note}\n"),
            "2:25: schema of topic \"note\": label of field \"id\": no data category \"free_txt\"; "
            "did you mean \"free_text\"?");
}

TEST(Labels, FieldsInsideOfAFieldSpeakForItWhereItDoesNot) {
  flow_test t;
  t.schema("nest", R"([{"name": "who", "type": {"type": "record", "name": "person", "fields": [
    {"name": "name", "type": "string", "sonder.privacy": ["direct_identifier"]}]}}])");
  EXPECT_EQ(
      t.complaints("flow: f\ntopics: {nest: {schema: nest.avsc, labels: {key: none}}, copy: {schema: "
                   "nest.avsc}}\nsinks: {copy: nest}\n"),
      "3:15: topic \"copy\" may not carry direct_identifier, which reaches it in field \"who\"\n"
      "    2:25: field \"who\" of topic \"nest\": labelled direct_identifier\n"
      "3:15: topic \"copy\" serves no purpose, but direct_identifier reaches it in field \"who\"; "
      "give it a \"purpose\"\n"
      "    2:25: field \"who\" of topic \"nest\": labelled direct_identifier");
}

TEST(Labels, ASourceThatHoldsMoreThanItSaysIsRefused) {
  flow_test t;
  t.schema(
      "out",
      R"([{"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}, "sonder.privacy": ["quasi_identifier"]}])");
  quick q;
  q.journal += ", carries: [pseudonym, direct_identifier, quasi_identifier, special_category]";
  EXPECT_EQ(
      t.complaints(q.yaml()),
      "3:96: topic \"journal\" may not carry free_text, which its field \"text\" is labelled");
}

TEST(Labels, CanBeShownForEveryFieldOfASink) {
  flow_test t;
  const auto checked = t.check(quick{}.yaml());
  ASSERT_NE(checked.flow, nullptr);
  EXPECT_EQ(describe_labels(*checked.flow),
            "insight.pseudonym  categories: pseudonym; purposes: AcademicResearch, "
            "ServicePersonalisation; recipients: any\n"
            "insight.at  categories: quasi_identifier; purposes: any; recipients: any\n"
            "insight.valence  categories: special_category; purposes: AcademicResearch, "
            "ServicePersonalisation; recipients: any\n"
            "insight.mood  categories: special_category; purposes: any; recipients: any\n");
}

TEST(Labels, HeadersCountAsEverythingUntilTheFlowSaysWhatTheyHold) {
  flow_test t;
  t.schema("out", R"([{"name": "made", "type": "string", "sonder.privacy": {"categories": ["quasi_identifier"],
    "purposes": ["ServicePersonalisation"]}}])");
  t.plugin("plain", R"("purpose": "required", "inputs": [{"name": "in", "role": "event", "reads": [], "reserved": ["headers"],
    "writes": [{"name": "made", "type": "string"}], "passes": "out"}], "outputs": [{"name": "out"}])");
  const auto topic = "carries: [quasi_identifier], purpose: ServicePersonalisation";
  const auto complaints = t.complaints(flow_with(serve, topic));
  EXPECT_NE(complaints.find("stage \"extra\" serves \"ServicePersonalisation\", which field \"headers\" does not permit (none)"),
            std::string::npos)
      << complaints;
  EXPECT_NE(complaints.find("headers of topic \"journal\": has no label, which counts as everything; give it one under \"labels\""),
            std::string::npos)
      << complaints;
  auto labelled = flow_with(serve, topic);
  labelled.replace(labelled.find("subject: subject_id"), 0, "labels: {headers: [quasi_identifier]}, ");
  EXPECT_EQ(t.complaints(labelled), "");
}

TEST(Labels, AKeyOfFieldsHasNoOtherLabelThanTheirs) {
  flow_test t;
  quick q;
  q.journal += ", labels: {key: none}";
  EXPECT_EQ(t.complaints(q.yaml()),
            "3:101: \"labels\" of topic \"journal\": its key is made of fields, whose labels in the schema hold; take \"key\" away here");
}

TEST(Labels, TheTimeOfAnEventIsFollowedIntoTheTimestampsOfASink) {
  flow_test t;
  t.schema("ev", R"([
    {"name": "subject_id", "type": "string", "sonder.privacy": ["direct_identifier"]},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}, "sonder.privacy": ["quasi_identifier"]},
    {"name": "until", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}], "default": null, "sonder.privacy": "none"},
    {"name": "kind", "type": "string", "sonder.privacy": "none"}])");
  t.schema("pub", R"([
    {"name": "kind", "type": "string", "sonder.privacy": "none"},
    {"name": "until", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}], "default": null, "sonder.privacy": "none"}])");
  const auto flow = [](const std::string& pub) {
    return "flow: f\ntopics: {ev: {schema: ev.avsc, subject: subject_id, event_time: at}, pub: {schema: pub.avsc" + pub + "}}\nsinks: {pub: ev}\n";
  };
  EXPECT_EQ(t.complaints(flow("")),
            "3:14: topic \"pub\" may not carry quasi_identifier, which reaches it in the records' timestamps (an \"event_time\" that every "
            "record has, or \"log_append_time: true\", gives them others)\n"
            "    2:23: field \"at\" of topic \"ev\": labelled quasi_identifier\n"
            "3:14: topic \"pub\" serves no purpose, but quasi_identifier reaches it in the records' timestamps (an \"event_time\" that every "
            "record has, or \"log_append_time: true\", gives them others); give it a \"purpose\"\n"
            "    2:23: field \"at\" of topic \"ev\": labelled quasi_identifier");
  EXPECT_THAT(t.complaints(flow(", event_time: until")), testing::HasSubstr("in the records' timestamps")) << "records without it";
  EXPECT_EQ(t.complaints(flow(", log_append_time: true")), "");
}

/// The quickstart's anonymiser with a configuration that can switch it off for the text.
constexpr const char* lenient_anonymiser =
    R"("purpose": "required", "services": ["secrets/1"], "secrets": ["pseudonym_key"],
      "inputs": [{"name": "texts", "role": "event", "reads": [{"name": "subject_id", "type": "string"}, {"name": "text", "type": "string"}],
        "writes": [{"name": "text", "type": "string"}, {"name": "pseudonym", "type": "string", "adds": ["pseudonym"]}], "passes": "out"}],
      "outputs": [{"name": "out"}],
      "declassifies": [{"name": "deidentify", "field": "text", "removes": ["direct_identifier", "free_text"], "unless": ["leave"]},
        {"name": "pseudonymise", "field": "pseudonym", "removes": ["direct_identifier", "free_text"]}],
      "config": {"type": "object", "properties": {"leave": {"type": "array", "items": {"type": "string"}, "default": []}},
        "additionalProperties": false})";

TEST(Labels, ADeclassificationThatTheConfigurationUndoesTakesNothingAway) {
  flow_test t;
  t.plugin("anonymise", lenient_anonymiser);
  quick q;
  EXPECT_EQ(t.complaints(q.yaml()), "");
  const auto trusting = q.anonymise;
  q.anonymise = trusting + ", config: {leave: []}";
  EXPECT_EQ(t.complaints(q.yaml()), "");
  q.anonymise = trusting + ", config: {leave: [EMAIL_ADDRESS]}";
  EXPECT_EQ(t.complaints(q.yaml()),
            "11:19: topic \"insight\" may not carry direct_identifier, free_text, which reaches it in field \"valence\"\n"
            "    3:21: field \"subject_id\" of topic \"journal\": labelled direct_identifier\n"
            "    8:3: stage \"anonymise\" writes \"text\" (its \"deidentify\" takes nothing away with config \"leave\")\n"
            "    9:3: stage \"score\" writes \"valence\", which adds special_category\n"
            "11:19: field \"valence\" of insight.avsc is labelled special_category, pseudonym, but direct_identifier, free_text reaches it, "
            "too; whoever reads topic \"insight\" would not know\n"
            "    3:21: field \"subject_id\" of topic \"journal\": labelled direct_identifier\n"
            "    8:3: stage \"anonymise\" writes \"text\" (its \"deidentify\" takes nothing away with config \"leave\")\n"
            "    9:3: stage \"score\" writes \"valence\", which adds special_category");
}

TEST(Labels, ATrustedFieldSpeaksForNoOtherInTheChoiceOfRows) {
  flow_test t;
  t.schema("out", R"([{"name": "pseudonym", "type": "string", "sonder.privacy": {"categories": ["pseudonym"],
    "purposes": ["ServicePersonalisation", "AcademicResearch"]}}])");
  quick q;
  q.insight += "}\n  out: {schema: out.avsc, log_append_time: true, carries: [pseudonym], purpose: ServicePersonalisation";
  q.sink += "}\n  out: {from: anonymise.out";
  EXPECT_EQ(t.complaints(q.yaml()), "") << "both fields that it makes are trusted";
  t.plugin("anonymise",
           R"("purpose": "required", "services": ["secrets/1"], "secrets": ["pseudonym_key"], "reasons": ["too_long"],
      "inputs": [{"name": "texts", "role": "event", "reads": [{"name": "subject_id", "type": "string"}, {"name": "text", "type": "string"}],
        "writes": [{"name": "text", "type": "string"}, {"name": "pseudonym", "type": "string", "adds": ["pseudonym"]}], "passes": "out"}],
      "outputs": [{"name": "out"}],
      "declassifies": [{"name": "pseudonymise", "field": "pseudonym", "removes": ["direct_identifier", "free_text"]}])");
  q.anonymise = "plugin: anonymise, in: {texts: filter.allowed}, purpose: ServicePersonalisation, trust: [pseudonymise]";
  EXPECT_THAT(t.complaints(q.yaml()),
              testing::HasSubstr("topic \"out\" may not carry direct_identifier, free_text, which reaches it in which rows there are"));
}

TEST(Labels, ConsentIsLookedUpForTheSubjectAndNobodyElse) {
  flow_test t;
  quick q;
  q.filter = "plugin: filter, in: {events: {from: journal, fields: {subject_id: event_id}}, decisions: consent}";
  EXPECT_EQ(t.complaints(q.yaml()),
            "7:66: stage \"filter\" decides on consent by field \"event_id\" of \"journal\", whose records are about the one in "
            "\"subject_id\": another person's grant would let them pass; let \"subject_id\" read \"subject_id\"");
}

TEST(Labels, ConsentNeedsATopicThatSaysWhomItIsAbout) {
  flow_test t;
  quick q;
  q.journal = "event_time: at, partitions: 4, key: subject_id";
  EXPECT_EQ(t.complaints(q.yaml()),
            "7:41: stage \"filter\" decides on consent by field \"subject_id\" of \"journal\", but topic \"journal\" does not say "
            "whom its records are about; if it is that field, give the topic \"subject: subject_id\"");
}

TEST(Labels, ConsentIsNotLookedUpByWhatAStageMade) {
  flow_test t;
  t.plugin("rewrite", R"("purpose": "none", "inputs": [{"name": "in", "role": "event", "reads": [],
    "writes": [{"name": "subject_id", "type": "string"}], "passes": "out"}], "outputs": [{"name": "out"}])");
  quick q;
  q.filter = "plugin: filter, in: {events: rewritten.out, decisions: consent}";
  q.score += "}\n  rewritten: {plugin: rewrite, in: {in: journal}";
  EXPECT_THAT(t.complaints(q.yaml()),
              testing::HasSubstr("stage \"filter\" decides on consent by field \"subject_id\" of \"rewritten.out\", which a stage "
                                 "made; let the authority read the topic's own subject"));
}

TEST(Labels, WhatIsWithheldNeedsANullAndAnAuthorityBeforeItsReaders) {
  flow_test t;
  quick q;
  q.journal += ", withhold: {text: AcademicResearch, mod: AcademicResearch, subject_id: AcademicResearch}";
  const auto complaints = t.complaints(q.yaml());
  for (const auto* expected :
       {"withholds field \"text\", whose type string has no null; make it a union with null",
        "withholds field \"mod\", which its schema has not; did you mean \"mood\"?", "withholds field \"subject_id\", which is its subject"}) {
    EXPECT_NE(complaints.find(expected), std::string::npos) << complaints;
  }
  quick early;
  early.journal += ", withhold: {mood: AcademicResearch}";
  early.sink = "from: journal, fields: {pseudonym: event_id, valence: mood}";
  EXPECT_NE(t.complaints(early.yaml()).find("withholds from rows not allowed for \"AcademicResearch\", but no consent authority stands before it"),
            std::string::npos);
}

TEST(Labels, ADescriptionSaysWhatIsWithheldWithoutAPurpose) {
  flow_test t;
  quick q;
  q.journal += ", withhold: {mood: AcademicResearch}";
  const auto checked = t.check(q.yaml());
  ASSERT_NE(checked.flow, nullptr);
  EXPECT_NE(describe_labels(*checked.flow).find("; null without AcademicResearch"), std::string::npos) << describe_labels(*checked.flow);
}

TEST(Labels, EachReasonWhyAFieldCannotBeWithheldIsGiven) {
  flow_test t;
  quick q;
  q.journal += ", withhold: {at: AcademicResearch, event_id: AcademicResearch}, key: [event_id, subject_id]";
  q.consent += ", withhold: {granted: AcademicResearch}";
  const std::string no_null = " has no null; make it a union with null, or withhold its rows by a stage's purpose\n";
  EXPECT_EQ(t.complaints(q.yaml()),
            "3:98: topic \"journal\" withholds field \"at\", whose type long" + no_null +
                "3:98: topic \"journal\" withholds field \"at\", which is its event time\n"
                "3:120: topic \"journal\" withholds field \"event_id\", whose type string" + no_null +
                "3:120: topic \"journal\" withholds field \"event_id\", which is its key\n"
                "4:146: topic \"consent\" withholds field \"granted\", whose type boolean" + no_null +
                "4:146: topic \"consent\" withholds field \"granted\"; the host checks consent for events only, and the topic is a table\n"
                "7:61: stage \"filter\" reads field \"granted\" of topic \"consent\", which its topic withholds from rows not allowed for "
                "\"AcademicResearch\", but no consent authority stands before it");
}

TEST(Labels, AFieldWithoutALabelMayNotStandInATopicThatSaysWhatItCarries) {
  flow_test t;
  t.schema("bare", R"([{"name": "id", "type": "string", "sonder.privacy": "none"}, {"name": "size", "type": "int"}])");
  EXPECT_EQ(t.complaints("flow: f\ntopics: {bare: {schema: bare.avsc, labels: {key: none}, carries: [direct_identifier, quasi_identifier, "
                         "special_category, free_text, pseudonym, behaviour]}, item: {schema: item.avsc}}\n"
                         "sinks: {item: {from: bare, fields: {minutes: size}}}\n"),
            "2:66: topic \"bare\" may not carry preference, which its field \"size\" counts as, since it has no label");
}

/// A plugin that emits rows of its own on `out`.
std::string emitting_plugin(const std::string& reads) {
  return R"("purpose": "required", "inputs": [{"name": "in", "role": "event", "reads": )" + reads +
         R"(, "passes": "on"}], "outputs": [{"name": "on"}, {"name": "out", "emits": [{"name": "made", "type": "string"}]}])";
}

TEST(Labels, ARowThatAStageEmitsTellsOfWhatItReadToDecideSo) {
  flow_test t;
  t.plugin("plain", emitting_plugin(R"([{"name": "age", "type": ["null", "int"]}])"));
  t.schema("out", R"([{"name": "text", "type": "string", "default": "", "sonder.privacy": "none"}])");
  EXPECT_EQ(t.complaints(flow_with(serve, "purpose: ServicePersonalisation")),
            "14:15: topic \"out\" may not carry quasi_identifier, which reaches it in which rows there are\n"
            "    3:21: field \"age\" of topic \"journal\": labelled quasi_identifier\n"
            "    11:3: stage \"extra\" emits rows by what it reads");
}

TEST(Labels, EmittedRowsHaveTheTimesKeysAndHeadersOfTheRowsThatTheyComeFrom) {
  flow_test t;
  t.plugin("plain", emitting_plugin("[]"));
  t.schema("out", R"([{"name": "made", "type": "string", "sonder.privacy": ["direct_identifier", "quasi_identifier", "preference"]}])");
  const auto complaints = [&](const std::string& reserved, const std::string& carries) {
    t.plugin("after", R"("purpose": "required", "inputs": [{"name": "in", "role": "event", "reads": [], "reserved": [)" + reserved +
                          R"(], "writes": [{"name": "made", "type": "string"}], "passes": "out"}], "outputs": [{"name": "out"}])");
    quick q;
    q.journal += ", labels: {headers: [preference]}";
    q.insight += "}\n  out: {schema: out.avsc, log_append_time: true, purpose: ServicePersonalisation, carries: [" + carries + "]";
    q.score += "}\n  extra: {" + serve + "}\n  after: {plugin: after, in: {in: extra.out}, purpose: ServicePersonalisation";
    q.sink += "}\n  out: {from: after.out";
    return t.complaints(q.yaml());
  };
  const auto made = [](const std::string& category, const std::string& path) {
    return "15:15: topic \"out\" may not carry " + category + ", which reaches it in field \"made\"\n    " + path +
           " of rows that stage \"extra\" emits\n    12:3: stage \"after\" writes \"made\"";
  };
  EXPECT_EQ(complaints("\"key\"", ""), made("direct_identifier", "3:21: field \"subject_id\" of topic \"journal\": labelled direct_identifier\n"
                                                              "    3:3: keys of topic \"journal\"\n    keys"));
  EXPECT_EQ(complaints("\"headers\"", ""), made("preference", "3:105: headers of topic \"journal\": labelled preference\n    headers"));
  EXPECT_EQ(complaints("\"timestamp\"", ""), made("quasi_identifier", "3:21: field \"at\" of topic \"journal\": labelled quasi_identifier\n    times"));
  EXPECT_EQ(complaints("\"key\", \"headers\", \"timestamp\"", "direct_identifier, quasi_identifier, preference"), "");
}

TEST(Labels, HeadersThatAreForwardedMustBeCarried) {
  flow_test t;
  t.schema("note", R"([{"name": "id", "type": "string", "sonder.privacy": "none"}])");
  EXPECT_EQ(t.complaints("flow: f\ntopics: {note: {schema: note.avsc, labels: {key: none, headers: [behaviour]}}, copy: {schema: note.avsc}}\n"
                         "sinks: {copy: note}\n"),
            "3:15: topic \"copy\" may not carry behaviour, which reaches it in the records' headers\n"
            "    2:65: headers of topic \"note\": labelled behaviour\n"
            "3:15: topic \"copy\" serves no purpose, but behaviour reaches it in the records' headers; give it a \"purpose\"\n"
            "    2:65: headers of topic \"note\": labelled behaviour");
}

TEST(Labels, APathSaysWithoutWhichPurposeItsFieldIsWithheld) {
  flow_test t;
  quick q;
  q.journal += ", withhold: {mood: AcademicResearch}";
  q.insight = "carries: [pseudonym, quasi_identifier], purpose: ServicePersonalisation";
  EXPECT_THAT(t.complaints(q.yaml()),
              testing::EndsWith("topic \"insight\" may not carry special_category, which reaches it in field \"mood\"\n"
                                "    3:21: field \"mood\" of topic \"journal\": labelled special_category, withheld without \"AcademicResearch\""));
}

TEST(Labels, ASchemaMayNotNameMoreRecipientsThanWhatArrives) {
  flow_test t;
  t.schema("note", R"([{"name": "id", "type": "string", "sonder.privacy": {"categories": [], "recipients": ["coach"]}}])");
  t.schema("copy", R"([{"name": "id", "type": "string", "sonder.privacy": {"categories": [], "recipients": ["coach", "insurer"]}}])");
  EXPECT_EQ(t.complaints("flow: f\ntopics: {note: {schema: note.avsc, labels: {key: none}}, copy: {schema: copy.avsc, recipient: coach}}\n"
                         "sinks: {copy: note}\n"),
            "3:15: field \"id\" of copy.avsc permits recipients: coach, insurer; what reaches it permits only: coach");
}

schema_ptr schema_with(const std::string& label) {
  return *parse_schema(R"({"type": "record", "name": "note", "fields": [{"name": "id", "type": "string")" +
                       (label.empty() ? label : R"(, "sonder.privacy": )" + label) + "}]}");
}

/// What is said of a source with a field `id` labelled `own`, where the registry has these versions.
std::string against_versions(const std::string& own, const std::vector<std::pair<std::int32_t, schema_ptr>>& versions) {
  source_node source;
  source.topic.name = "note";
  source.topic.topic = "app.note";
  source.topic.where["schema"] = {"flow.yaml", 2, 25};
  source.schema_of = schema_with(own);
  const auto checked = check_registered_labels(source, versions);
  return checked ? "" : checked.error().message;
}

std::string against_registered(const std::string& own, const std::string& registered) {
  return against_versions(own, {{7, schema_with(registered)}});
}

TEST(Labels, ARegisteredSchemaThatCannotBeReadMayHaveLabelledWhatNoLaterOneDoes) {
  const std::string any = R"({"categories": ["pseudonym"]})";
  const auto refusal = [](const char* id, const std::string& way =
                                              "register the flow's schema under subject \"app.note-value\" first, or delete the version with that schema there") {
    return std::string("flow.yaml:2:25: topic \"note\": field \"id\": schema ") + id +
           " of the registry cannot be read, so that its label is not known; " + way;
  };
  EXPECT_EQ(against_versions(any, {{7, nullptr}}), refusal("7"));
  EXPECT_EQ(against_versions(any, {{7, schema_with(any)}, {8, nullptr}}),
            refusal("8", "delete the version with that schema under subject \"app.note-value\": the flow's schema is there already, as schema 7, and would not "
                         "become the newest by being registered again"));
  EXPECT_EQ(against_versions(any, {{7, nullptr}, {8, schema_with("")}}), refusal("7")) << "one without a label settles nothing";
  EXPECT_EQ(against_versions(any, {{7, nullptr}, {8, schema_with(any)}}), "");
  EXPECT_EQ(against_versions("", {{7, nullptr}}), "") << "a field without a label counts as everything already";
}

TEST(Labels, ASourceMayNotPermitMoreThanItsRegisteredSchema) {
  const std::string start = "flow.yaml:2:25: topic \"note\": field \"id\": schema 7 of the registry ";
  const std::string rest = "; give the field that label, or register the schema under subject \"app.note-value\" first if it is the "
                           "registry that is behind";
  const std::string any = R"({"categories": ["pseudonym"]})";
  const std::string one = R"({"categories": ["pseudonym"], "purposes": ["AcademicResearch"]})";
  const std::string coach = R"({"categories": ["pseudonym"], "recipients": ["coach"]})";
  EXPECT_EQ(against_registered(any, any), "");
  EXPECT_EQ(against_registered(one, any), "");
  EXPECT_EQ(against_registered(any, one), start + "permits purposes: AcademicResearch; the flow's schema permits more" + rest);
  EXPECT_EQ(against_registered(any, coach), start + "permits recipients: coach; the flow's schema permits more" + rest);
  EXPECT_EQ(against_registered(R"("none")", any), start + "labels it pseudonym, the flow's schema without pseudonym" + rest);
}

}  // namespace
}  // namespace sonder
