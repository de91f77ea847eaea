#include "flow/reset_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "flow/flow_rig.h"

namespace sonder {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// Two tasks; consent from a table, and a stage that numbers each subject's events out of its store.
class ResetPlan : public testing::Test {
 protected:
  explicit ResetPlan(const std::string& events = "partitions: 2") {
    rig.file("event.avsc", plain_event_schema);
    rig.file("counted.avsc", counted_of_subject_schema);
    rig.flow("flow: t\nlog: {kind: embedded, dir: data}\ntopics:\n"
             "  events: {schema: event.avsc, subject: subject_id, event_time: at, " + events + "}\n"
             "  consent: {schema: " + shipped_schemas() + "/consent.avsc, subject: subject_id, key: [subject_id, purpose], event_time: at, "
             "role: table, partitions: 2}\n"
             "  out: {schema: counted.avsc, partitions: 1, purpose: ServicePersonalisation, carries: [behaviour, quasi_identifier]}\n"
             "  dead_letter: {schema: " + shipped_schemas() + "/dead_letter.avsc, partitions: 1}\n"
             "stages:\n"
             "  consent: {plugin: consent_filter, in: {events: events, decisions: consent}}\n"
             "  tally: {plugin: counter, in: {events: consent.allowed}, purpose: ServicePersonalisation}\n"
             "sinks:\n  out: tally.out\n");
    rig.give("consent", {decision("ana", "granted", 10), decision("ben", "granted", 10), decision("cleo", "granted", 10)});
    rig.give("events", {event("e1", "ana", 1'000), event("e2", "ana", 2'000), event("e3", "ben", 3'000), event("e4", "cleo", 4'000),
                        event("e5", "ana", 5'000)});
    rig.run();
    first = rig.records("out");
  }

  [[nodiscard]] reset_plan plan(const std::vector<std::string>& to, bool keep_state = false) {
    const auto target = parse_reset_target(to);
    EXPECT_TRUE(target) << target.error().message;
    auto made = plan_reset(rig.checked(), rig.on(), *target, keep_state);
    EXPECT_TRUE(made) << made.error().message;
    return made ? std::move(*made) : reset_plan{};
  }
  [[nodiscard]] std::string refusal(const std::vector<std::string>& to) {
    const auto target = parse_reset_target(to);
    if (!target) return target.error().message;
    const auto made = plan_reset(rig.checked(), rig.on(), *target, false);
    return made ? "" : made.error().message;
  }
  void do_it(const reset_plan& what) {
    const auto done = carry_out(what, rig.checked(), rig.on());
    ASSERT_TRUE(done) << done.error().message;
  }
  /// What a run adds to `out`.
  [[nodiscard]] std::vector<std::string> added() {
    auto before = rig.records("out");
    rig.run();
    auto after = rig.records("out");
    std::vector<std::string> news;
    std::set_difference(after.begin(), after.end(), before.begin(), before.end(), std::back_inserter(news));
    return news;
  }
  [[nodiscard]] std::int64_t entries(const reset_plan& of) const {
    std::int64_t sum = 0;
    for (const auto& one : of.cleared) sum += one.size.entries;
    return sum;
  }

  flow_rig rig;
  std::vector<std::string> first;
};

TEST_F(ResetPlan, FromTheBeginningARunMakesWhatAFreshOneMade) {
  ASSERT_EQ(first.size(), 5U);
  const auto back = plan({"earliest"});
  EXPECT_EQ(back.records_again, 5);
  EXPECT_GT(entries(back), 0);
  EXPECT_THAT(back.notes, Contains(HasSubstr("written to \"out\" stays")));
  do_it(back);
  EXPECT_EQ(added(), first);
}

/// The same events, keyed by their own ids.
class ResetPlanOfForwarded : public ResetPlan {
 protected:
  ResetPlanOfForwarded() : ResetPlan("key: event_id, partitions: 3, rekey: true") {}
};

TEST_F(ResetPlanOfForwarded, MovesTheTopicThatTheyComeFrom) {
  ASSERT_EQ(first.size(), 5U);
  const auto back = plan({"earliest"});
  EXPECT_EQ(back.records_again, 5);
  do_it(back);
  EXPECT_EQ(added(), first) << "each event once more, none of them from the copies of before";
  EXPECT_THAT(refusal({"t.events-rekey:0:0"}), HasSubstr("is the flow's own"));
}

TEST_F(ResetPlanOfForwarded, TakesStateBackFromEveryTask) {
  const auto back = plan({"1970-01-01T00:00:05Z"});
  EXPECT_EQ(back.records_again, 1);
  std::set<std::int32_t> tasks;
  for (const auto& one : back.cleared) tasks.insert(one.task);
  EXPECT_EQ(tasks.size(), 2U);
  EXPECT_THAT(refusal({"events:0:0"}), HasSubstr("its tasks move together"));
}

TEST_F(ResetPlanOfForwarded, LosesNoCopyThatNobodyHasTakenUp) {
  record_batch_builder copy;
  const auto value = as_bytes(std::string_view("a copy"));
  copy.append(1'000, &value, &value, {});
  const produced_batch waiting{"t.events-rekey", 0, &copy};
  ASSERT_TRUE(rig.on().append({&waiting, 1}));
  EXPECT_THAT(refusal({"1970-01-01T00:00:02Z"}), HasSubstr("holds 1 offsets that the flow wrote for itself and has not taken up"));
  EXPECT_THAT(refusal({"earliest"}), IsEmpty());
}

TEST_F(ResetPlan, IsNotDoneWhereTheFlowHasRunSinceItWasWorkedOut) {
  const auto back = plan({"earliest"});
  rig.give("events", {event("e6", "ana", 6'000)});
  rig.run();
  const auto late = carry_out(back, rig.checked(), rig.on());
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, errc::unavailable);
  EXPECT_THAT(late.error().message, HasSubstr("has moved since this reset was worked out"));
  do_it(plan({"earliest"}));
  EXPECT_EQ(added().size(), 6U);
}

TEST_F(ResetPlan, IsDoneAgainWithoutHarm) {
  do_it(plan({"earliest"}));
  const auto again = plan({"earliest"});
  EXPECT_EQ(again.records_again, 0);
  EXPECT_EQ(entries(again), 0);
  EXPECT_THAT(again.moves, IsEmpty());
  do_it(again);
  EXPECT_THAT(added().size() + first.size(), 10U);
}

TEST_F(ResetPlan, ToATimeTablesBeginAnewAndStateIsThatOfTheEventsFromThereOn) {
  const auto back = plan({"1970-01-01T00:00:02Z"});
  EXPECT_EQ(back.records_again, 4);
  const auto tables = std::count_if(back.moves.begin(), back.moves.end(), [](const auto& m) { return m.is == flow_input::kind::table; });
  EXPECT_EQ(tables, 2);
  EXPECT_THAT(back.notes, Contains(HasSubstr("\"events\" is not read again from its beginning")));
  do_it(back);
  rig.run();
  const auto all = rig.records("out");
  EXPECT_EQ(all.size(), 9U);
  EXPECT_EQ(std::count_if(all.begin(), all.end(), [](const auto& r) { return r.find("\"count\":3") != std::string::npos; }), 1) << "e5 was the third, and is the second now";
}

TEST_F(ResetPlan, ForwardKeepsStateAndSkipsNoDecision) {
  rig.give("events", {event("e6", "ana", 6'000), event("e7", "ana", 7'000)});
  rig.give("consent", {decision("ben", "withdrawn", 6'000)});
  const auto on = plan({"latest"});
  EXPECT_EQ(on.records_skipped, 2);
  EXPECT_THAT(on.cleared, IsEmpty());
  ASSERT_EQ(on.moves.size(), 1U);
  EXPECT_EQ(on.moves[0].topic, "events");
  do_it(on);
  rig.give("events", {event("e8", "ana", 8'000), event("e9", "ben", 9'000)});
  EXPECT_THAT(added(), ElementsAre(HasSubstr("\"count\":4")));
}

TEST_F(ResetPlan, OfOnePartitionLeavesTheOtherTasksAlone) {
  const auto partition = murmur2_partition(as_bytes(std::string("ana")), 2);
  const auto back = plan({"events:" + std::to_string(partition) + ":1"});
  for (const auto& one : back.cleared) EXPECT_EQ(one.task, partition);
  for (const auto& move : back.moves) EXPECT_EQ(move.partition, partition);
}

TEST_F(ResetPlan, WithItsStateKeptSaysThatRecordsCountTwice) {
  const auto back = plan({"earliest"}, true);
  EXPECT_THAT(back.cleared, IsEmpty());
  EXPECT_THAT(back.notes, Contains(HasSubstr("counts in it a second time")));
  do_it(back);
  rig.run();
  EXPECT_THAT(rig.records("out"), Contains(HasSubstr("\"count\":6")));
}

TEST_F(ResetPlan, SaysWhatCannotBe) {
  EXPECT_THAT(refusal({"yesterday"}), HasSubstr("--to yesterday: must be earliest, latest, a time"));
  EXPECT_THAT(refusal({"journal:0:1"}), HasSubstr("--to journal: no topic that the flow reads; it reads \"consent\", \"events\""));
  EXPECT_THAT(refusal({"consent:0:0"}), HasSubstr("is a table; those follow the event topics"));
  EXPECT_THAT(refusal({"events:2:0"}), HasSubstr("has 2 partitions, no partition 2"));
  EXPECT_THAT(refusal({"events:0:77"}), HasSubstr("has offsets 0 to"));
  EXPECT_THAT(refusal({"events:0:1", "latest"}), HasSubstr("--to latest: must be"));
  EXPECT_THAT(refusal({"events:0:99999999999999999999"}), HasSubstr("must be earliest"));
}

}  // namespace
}  // namespace sonder
