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
