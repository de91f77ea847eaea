#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "sonder/plugin.h"
#include "sonder/testing/host.h"

namespace sonder::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

constexpr const char* personalisation = "ServicePersonalisation";

host_options for_purposes(std::vector<std::string> purposes, const std::string& config = "{}") {
  host_options made;
  made.purposes = std::move(purposes);
  made.config_json = config;
  return made;
}

class ConsentFilter : public ::testing::Test {
 protected:
  void start(host_options options = for_purposes({personalisation})) {
    host_.emplace(std::string(SONDER_PLUGINS) + "/consent_filter.so", std::move(options));
  }

  static input_row decided(const std::string& subject, const std::string& decision,
                           std::int64_t at_ms, const std::string& purpose = personalisation,
                           const std::string& expires_at = "null") {
    input_row row(R"({"subject_id":")" + subject + R"(","purpose":")" + purpose +
                      R"(","decision":")" + decision + R"(","at":)" + std::to_string(at_ms) +
                      R"(,"expires_at":)" + expires_at + "}",
                  subject);
    row.event_time_ms = at_ms;
    row.timestamp_ms = at_ms;
    return row;
  }
  void decide(const input_row& row) {
    const auto done = host_->process("decisions", {row});
    ASSERT_TRUE(done.ok()) << done.message;
    ASSERT_EQ(done.rows[0].what, verdict::pass) << done.rows[0].reason;
  }
  row_outcome event(const std::string& subject, std::int64_t at_ms) {
    input_row row(R"({"subject_id":")" + subject + "\"}", subject);
    row.event_time_ms = at_ms;
    const auto done = host_->process("events", {row});
    EXPECT_TRUE(done.ok()) << done.message;
    return done.rows.empty() ? row_outcome{} : done.rows[0];
  }

  std::optional<host> host_;
};

TEST_F(ConsentFilter, DropsWhoNeverDecided) {
  start();
  EXPECT_EQ(event("ana", 10).reason, "unknown");
}

TEST_F(ConsentFilter, PassesAnEventAfterTheGrantForItsPurpose) {
  start();
  decide(decided("ana", "granted", 10));
  const auto after = event("ana", 11);
  EXPECT_EQ(after.what, verdict::pass);
  EXPECT_THAT(after.purposes, ElementsAre(personalisation));
  EXPECT_EQ(event("ben", 11).reason, "unknown");
}

TEST_F(ConsentFilter, DropsAnEventThatPrecedesTheGrantEvenOnReplay) {
  start();
  decide(decided("ana", "granted", 10));
  EXPECT_EQ(event("ana", 9).reason, "before_grant");
  decide(decided("ana", "granted", 10));
  EXPECT_EQ(event("ana", 9).reason, "before_grant");
}

TEST_F(ConsentFilter, NamesTheReasonOfEachRefusal) {
  start();
  for (const std::string kind : {"denied", "withdrawn", "expired"}) {
    decide(decided(kind, "granted", 10));
    decide(decided(kind, kind, 20));
    EXPECT_EQ(event(kind, 15).reason, kind);
    EXPECT_EQ(event(kind, 25).reason, kind);
  }
}

TEST_F(ConsentFilter, LetsAGrantEnd) {
  start();
  decide(decided("ana", "granted", 10, personalisation, "20"));
  EXPECT_EQ(event("ana", 15).what, verdict::pass);
  EXPECT_EQ(event("ana", 20).reason, "expired");
}

TEST_F(ConsentFilter, WritesAMaskOfThePurposesThatHold) {
  start(for_purposes({"A", "B", "C"}));
  decide(decided("ana", "granted", 10, "A"));
  decide(decided("ana", "granted", 10, "C"));
  decide(decided("ana", "denied", 10, "B"));
  EXPECT_THAT(event("ana", 11).purposes, ElementsAre("A", "C"));
}

TEST_F(ConsentFilter, AsksForAllPurposesWhereToldTo) {
  start(for_purposes({"A", "B"}, R"({"all_of":["A","B"]})"));
  decide(decided("ana", "granted", 10, "A"));
  EXPECT_EQ(event("ana", 11).reason, "unknown");
  decide(decided("ana", "granted", 10, "B"));
  EXPECT_THAT(event("ana", 11).purposes, ElementsAre("A", "B"));
}

TEST_F(ConsentFilter, TranslatesForeignNamesOfPurposes) {
  start(for_purposes({personalisation}, R"({"purposes":{"personal":"ServicePersonalisation"}})"));
  decide(decided("ana", "granted", 10, "personal"));
  EXPECT_EQ(event("ana", 11).what, verdict::pass);
}

constexpr const char* decisions_metric = "sonder_consent_filter_decisions_total";

TEST_F(ConsentFilter, TranslatesForeignSymbolsOfDecisions) {
  start(for_purposes(
      {personalisation},
      R"({"decisions":{"OPT_IN":"granted","OPT_OUT":"withdrawn","PENDING":"denied"}})"));
  decide(decided("ana", "OPT_IN", 10));
  EXPECT_EQ(event("ana", 11).what, verdict::pass);
  decide(decided("ana", "OPT_OUT", 20));
  EXPECT_EQ(event("ana", 11).reason, "withdrawn");
  decide(decided("ben", "PENDING", 10));
  EXPECT_EQ(event("ben", 11).reason, "denied");
  decide(decided("cleo", "granted", 10));
  EXPECT_EQ(event("cleo", 11).what, verdict::pass) << "our own symbols stay";
  EXPECT_EQ(host_->metric(decisions_metric, "unmapped"), 0);
}

TEST_F(ConsentFilter, DeniesOnASymbolThatNobodyMappedAndCountsIt) {
  start(for_purposes({personalisation}, R"({"decisions":{"OPT_IN":"granted"}})"));
  decide(decided("ana", "OPT_IN", 10));
  for (const std::string symbol : {"OPT_OUT", "opt_in", "GRANTED", "granted ", ""})
    decide(decided("ana", symbol, 20));
  EXPECT_EQ(event("ana", 15).reason, "denied");
  EXPECT_EQ(host_->metric(decisions_metric, "unmapped"), 5);
  EXPECT_EQ(host_->metric(decisions_metric, "denied"), 0);
}

TEST_F(ConsentFilter, WarnsOnceOfUnmappedSymbolsWithoutShowingOne) {
  start();
  decide(decided("ana", "ana@example.org", 10));
  decide(decided("ben", "ben@example.org", 10));
  ASSERT_THAT(host_->log_lines(), SizeIs(1));
  EXPECT_THAT(host_->log_lines()[0], HasSubstr("config \"decisions\""));
  EXPECT_THAT(host_->log_lines()[0], Not(HasSubstr("example.org")));
}

struct wrong_config {
  const char* name;
  const char* json;
  const char* message;
};

class ConsentFilterConfig : public ::testing::TestWithParam<wrong_config> {};

TEST_P(ConsentFilterConfig, IsRefusedByTheNameOfTheOption) {
  try {
    const host started(std::string(SONDER_PLUGINS) + "/consent_filter.so",
                       for_purposes({personalisation}, GetParam().json));
    FAIL() << "not refused";
  } catch (const refused& why) {
    EXPECT_THAT(why.what(), HasSubstr(GetParam().message));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Wrong, ConsentFilterConfig,
    ::testing::Values(
        wrong_config{"unknown_option", R"({"decision":{"OPT_IN":"granted"}})",
                     "/decision: no such property; did you mean \"decisions\"?"},
        wrong_config{
            "unknown_meaning", R"({"decisions":{"OPT_IN":"grantd"}})",
            R"(/decisions/OPT_IN: wants one of "granted", "denied", "withdrawn", "expired"; did you mean "granted"?)"},
        wrong_config{"own_symbol_widened", R"({"decisions":{"withdrawn":"granted"}})",
                     R"(/decisions/withdrawn: wants one of "withdrawn")"},
        wrong_config{"meaning_of_another_type", R"({"decisions":{"OPT_IN":true}})",
                     "/decisions/OPT_IN: "},
        wrong_config{"unknown_form", R"({"key":{"form":"txt"}})",
                     R"(/key/form: wants one of "avro", "text"; did you mean "text"?)"},
        wrong_config{"unknown_part", R"({"key":{"order":["subject","purpose"]}})",
                     R"(/key/order/0: wants one of "subject_id", "purpose")"},
        wrong_config{"one_part", R"({"key":{"order":["purpose"]}})",
                     "/key/order: wants at least 2 entries"},
        wrong_config{"a_part_twice", R"({"key":{"order":["purpose","purpose"]}})",
                     "/key/order/1: is there before"},
        wrong_config{"unknown_key_option", R"({"key":{"form":"text","seperator":"|"}})",
                     "/key/seperator: no such property; did you mean \"separator\"?"},
        wrong_config{"empty_separator", R"({"key":{"form":"text","separator":""}})",
                     "/key/separator: wants at least 1 character"},
        wrong_config{"text_without_separator", R"({"key":{"form":"text"}})",
                     R"(key: form "text" needs "separator")"},
        wrong_config{"separator_without_text", R"({"key":{"separator":"|"}})",
                     R"(key: "separator" is for form "text")"}),
    [](const auto& tested) { return std::string(tested.param.name); });

// ---- Keys ----

constexpr const char* text_key_config =
    R"({"key":{"form":"text","separator":"|"},"purposes":{"personal":"ServicePersonalisation"}})";

input_row removed(const std::string& key, std::int64_t at_ms) {
  input_row row("{}");
  row.event_time_ms = row.timestamp_ms = at_ms;
  row.tombstone = true;
  row.key = key;
  return row;
}

/// A decision whose record says in its key alone whose it is, but for the fields given.
input_row keyed(const std::string& key, const std::string& decision, std::int64_t at_ms,
                const std::string& subject = "null", const std::string& purpose = "null") {
  input_row row(R"({"subject_id":)" + subject + R"(,"purpose":)" + purpose + R"(,"decision":")" +
                decision + R"(","at":)" + std::to_string(at_ms) + R"(,"expires_at":null})");
  row.event_time_ms = row.timestamp_ms = at_ms;
  row.key = key;
  return row;
}

TEST_F(ConsentFilter, FindsSubjectAndPurposeInATextKey) {
  start(for_purposes({personalisation}, text_key_config));
  decide(keyed("ana|personal", "granted", 10));
  EXPECT_EQ(event("ana", 11).what, verdict::pass);
  decide(removed("ana|personal", 20));
  EXPECT_EQ(event("ana", 11).reason, "withdrawn");
  EXPECT_EQ(host_->metric(decisions_metric, "removed"), 1);
}

TEST_F(ConsentFilter, FindsThePurposeFirstWhereTheKeySaysSo) {
  start(for_purposes({personalisation},
                     R"({"key":{"form":"avro","order":["purpose","subject_id"]}})"));
  const auto key = std::string("\x2c") + personalisation + "\x06" + "ana";
  decide(keyed(key, "granted", 10));
  EXPECT_EQ(event("ana", 11).what, verdict::pass);
  decide(removed(key, 20));
  EXPECT_EQ(event("ana", 11).reason, "withdrawn");
}

TEST_F(ConsentFilter, TakesFromTheKeyOnlyWhatTheRecordLeavesOut) {
  start(for_purposes({personalisation}, text_key_config));
  decide(keyed("ana|personal", "granted", 10, R"("ana")"));
  decide(keyed("ben|personal", "granted", 10, "null", R"("ServicePersonalisation")"));
  decide(keyed("no such key", "granted", 10, R"("cleo")", R"("personal")"));
  for (const std::string subject : {"ana", "ben", "cleo"})
    EXPECT_EQ(event(subject, 11).what, verdict::pass) << subject;
}

TEST_F(ConsentFilter, DeadLettersADecisionWhoseKeyIsInDoubt) {
  start(for_purposes({personalisation}, text_key_config));
  auto without_key = keyed("", "granted", 10);
  without_key.key.reset();
  const auto done =
      host_->process("decisions", {keyed("ana", "granted", 10), keyed("ana|", "granted", 10),
                                   keyed("a|na|personal", "granted", 10), without_key,
                                   keyed("ben|personal", "granted", 10, R"("ana")"),
                                   keyed("ana|other", "granted", 10, "null", R"("personal")"),
                                   removed("ana|personal|x", 10),
                                   removed("\x06"
                                           "ana\x04"
                                           "Px",
                                           10)});
  ASSERT_TRUE(done.ok()) << done.message;
  for (const auto& row : done.rows) EXPECT_EQ(row.reason, "bad_decision");
  EXPECT_EQ(host_->metric(decisions_metric, "unreadable"), 8);
  EXPECT_THAT(host_->state("consents"), IsEmpty());
}

TEST_F(ConsentFilter, NeedsTheFieldsWhereNobodySaidHowTheKeyIsMade) {
  start();
  const auto key = std::string(
                       "\x06"
                       "ana"
                       "\x2c") +
                   personalisation;
  const auto done = host_->process("decisions", {keyed(key, "granted", 10)});
  ASSERT_TRUE(done.ok()) << done.message;
  EXPECT_EQ(done.rows[0].reason, "bad_decision");
}

TEST_F(ConsentFilter, KeepsWhatItKnowsInItsStoreAlone) {
  start();
  decide(decided("ana", "granted", 10));
  host_->new_instance();
  EXPECT_EQ(event("ana", 11).what, verdict::pass);
  EXPECT_THAT(host_->state("consents"), SizeIs(1));
}

TEST_F(ConsentFilter, TakesARemovedConsentForAWithdrawnOne) {
  start();
  decide(decided("ana", "granted", 10));
  auto removed = decided("ana", "granted", 20);
  removed.tombstone = true;
  removed.key = std::string(
                    "\x06"
                    "ana"
                    "\x2c") +
                personalisation;
  decide(removed);
  EXPECT_EQ(event("ana", 15).reason, "withdrawn");
}

TEST_F(ConsentFilter, DeadLettersADecisionThatNobodyCanBeFoundFor) {
  start();
  auto removed = decided("ana", "granted", 20);
  removed.tombstone = true;
  removed.key = "no such key";
  const auto done = host_->process(
      "decisions",
      {removed, decided("", "granted", 10), decided("ana", "granted", 10, std::string(2000, 'p'))});
  ASSERT_TRUE(done.ok()) << done.message;
  for (const auto& row : done.rows) EXPECT_EQ(row.reason, "bad_decision");
}

TEST_F(ConsentFilter, DropsAnEventWithoutASubject) {
  start();
  EXPECT_EQ(event("", 11).reason, "no_subject");
  EXPECT_EQ(event(std::string(3000, 's'), 11).reason, "no_subject");
}

TEST_F(ConsentFilter, StopsOnAStoredEntryThatItCannotRead) {
  start();
  decide(decided("ana", "granted", 10));
  const auto entry = host_->state("consents").at(0);
  host_->put_state("consents", entry.first, "\x63garbage");
  input_row row(R"({"subject_id":"ana"})", "ana");
  row.event_time_ms = 11;
  const auto done = host_->process("events", {row});
  EXPECT_EQ(done.status, SONDER_FATAL);
  EXPECT_THAT(done.message, HasSubstr("corrupt or of a newer version"));
}

TEST_F(ConsentFilter, PassesNothingWhenItsStoreFails) {
  start();
  decide(decided("ana", "granted", 10));
  host_->fail_service_call(1);
  input_row row(R"({"subject_id":"ana"})", "ana");
  row.event_time_ms = 11;
  const auto done = host_->process("events", {row});
  EXPECT_EQ(done.status, SONDER_FATAL);
  EXPECT_THAT(done.rows, IsEmpty());
}

TEST_F(ConsentFilter, RefusesAPurposeThatTheFlowDoesNotHave) {
  try {
    start(for_purposes({"A"}, R"({"all_of":["Z"]})"));
    FAIL() << "not refused";
  } catch (const refused& why) {
    EXPECT_THAT(why.what(), HasSubstr("no stage of this flow has purpose \"Z\""));
  }
}

TEST_F(ConsentFilter, CountsDecisionsByKind) {
  start();
  decide(decided("ana", "granted", 10));
  decide(decided("ana", "withdrawn", 20));
  EXPECT_EQ(host_->metric("sonder_consent_filter_decisions_total", "granted"), 1);
  EXPECT_EQ(host_->metric("sonder_consent_filter_decisions_total", "withdrawn"), 1);
  EXPECT_THAT(host_->violations(), IsEmpty());
}

}  // namespace
}  // namespace sonder::testing
