#include "flow/kept_offsets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "flow/flow_rig.h"
#include "flow/forwarding_log_rig.h"
#include "flow/reset_plan.h"

// A log that has forgotten where a group was, as brokers do some days after its last worker has left.
namespace sonder {
namespace {

using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

/// Until the next commit.
class forgetful_log final : public forwarding_log {
 public:
  forgetful_log(log& behind, std::set<std::string> topics) : forwarding_log(behind), topics_(std::move(topics)) {}
  result<std::vector<std::int64_t>> committed(std::string_view group, std::string_view topic) override {
    auto known = forwarding_log::committed(group, topic);
    if (known && topics_.contains(std::string(topic))) std::fill(known->begin(), known->end(), -1);
    return known;
  }
  status commit(const epoch_changes& epoch) override {
    auto done = forwarding_log::commit(epoch);
    if (done) topics_.clear();
    return done;
  }
  status reset(const group_reset& to) override {
    reset_to = to.offsets;
    return {};
  }
  std::vector<reset_offset> reset_to;

 private:
  std::set<std::string> topics_;
};

class KeptOffsets : public testing::Test {
 protected:
  KeptOffsets() {
    rig.file("event.avsc", plain_event_schema);
    rig.file("counted.avsc", counted_schema);
  }
  void flow(const std::string& events = "partitions: 1") {
    rig.flow("flow: t\nlog: {kind: embedded, dir: data}\ndead_letter: none\ntopics:\n"
             "  events: {schema: event.avsc, subject: subject_id, event_time: at, " + events + "}\n"
             "  out: {schema: counted.avsc, partitions: 1, carries: [behaviour, quasi_identifier]}\n"
             "stages:\n  tally: {plugin: counter, in: {events: events}}\nsinks:\n  out: tally.out\n");
  }
  void count_two() {
    rig.give("events", {event("e1", "ana", 1'000), event("e2", "ana", 2'000)});
    rig.run();
    ASSERT_THAT(rig.records("out"), ElementsAre(HasSubstr(R"("count":1)"), HasSubstr(R"("count":2)")));
  }
  [[nodiscard]] std::string refusal(log& on) {
    const auto ended = rig.try_run_on(on);
    return ended ? "" : ended.error().message;
  }

  flow_rig rig;
};

TEST_F(KeptOffsets, RefusesToCountOnStateWhoseOffsetsAreGone) {
  flow();
  count_two();
  forgetful_log on(rig.on(), {"events"});
  EXPECT_THAT(refusal(on), AllOf(HasSubstr("flow.yaml:5:"), HasSubstr(R"(group "t" has no committed offset of topic "events", partition 0)"),
                                 HasSubstr("its state is there (store \"tally.counts\")"), HasSubstr("`sonder reset --to earliest`")));
  EXPECT_THAT(rig.records("out"), SizeIs(2));
  rig.run();
  EXPECT_THAT(rig.records("out"), SizeIs(2)) << "the log has them again";
}

TEST_F(KeptOffsets, BeginsWhereNoStateIsLeftEither) {
  flow();
  rig.give("events", {event("e1", "ana", 1'000)});
  forgetful_log fresh(rig.on(), {"events"});
  EXPECT_EQ(refusal(fresh), "");
  const auto target = parse_reset_target({"earliest"});
  const auto plan = plan_reset(rig.checked(), rig.on(), *target, false);
  ASSERT_TRUE(plan);
  ASSERT_TRUE(carry_out(*plan, rig.checked(), rig.on()));
  forgetful_log emptied(rig.on(), {"events"});
  EXPECT_EQ(refusal(emptied), "");
  EXPECT_THAT(rig.records("out"), AllOf(SizeIs(2), Each(HasSubstr(R"("event_id":"e1","count":1)"))));
}

TEST_F(KeptOffsets, BeginsATopicThatIsNewToTheFlow) {
  flow();
  count_two();
  rig.flow("flow: t\nlog: {kind: embedded, dir: data}\ndead_letter: none\ntopics:\n"
           "  items: {schema: event.avsc, subject: subject_id, event_time: at, partitions: 1}\n"
           "  events: {schema: event.avsc, subject: subject_id, event_time: at, partitions: 1}\n"
           "  out: {schema: counted.avsc, partitions: 1, carries: [behaviour, quasi_identifier]}\n"
           "  other: {schema: event.avsc, partitions: 1, carries: [behaviour, quasi_identifier]}\n"
           "stages:\n  tally: {plugin: counter, in: {events: events}}\n  through: {plugin: passthrough, in: {in: items}}\n"
           "sinks:\n  out: tally.out\n  other: through.out\n");
  rig.give("items", {event("i1", "ana", 1'000)});
  rig.run();
  EXPECT_THAT(rig.records("other"), SizeIs(1));
  EXPECT_THAT(rig.records("out"), SizeIs(2));
}

TEST_F(KeptOffsets, RefusesToForwardAgainWhatItHasTakenUp) {
  flow("key: event_id, partitions: 3, rekey: true");
  count_two();
  forgetful_log on(rig.on(), {"events"});
  EXPECT_THAT(refusal(on), AllOf(HasSubstr(R"(no committed offset of topic "events")"),
                                 HasSubstr(R"(it has taken up what it forwarded from there (topic "t.events-rekey"))")));
  EXPECT_THAT(rig.records("out"), SizeIs(2));
}

TEST_F(KeptOffsets, GoesOnUnderAtLeastOnceWhereStateMayBeAheadOfThem) {
  flow();
  count_two();
  graph changed = rig.checked();
  changed.options.log.kafka.exactly_once = false;
  forgetful_log on(rig.on(), {"events"});
  rig.options().until_idle = true;
  const auto ended = run_worker(std::make_shared<const graph>(changed), on, rig.options());
  ASSERT_TRUE(ended) << ended.error().message;
  EXPECT_THAT(rig.records("out"), SizeIs(4));
}

// The way out that the refusal names: where state stays, the place must be committed, the first offset too.
TEST_F(KeptOffsets, AreMadeAnewByAResetThatKeepsTheState) {
  flow();
  count_two();
  forgetful_log on(rig.on(), {"events"});
  const auto earliest = parse_reset_target({"earliest"});
  auto plan = plan_reset(rig.checked(), on, *earliest, true);
  ASSERT_TRUE(plan);
  EXPECT_THAT(plan->cleared, IsEmpty());
  ASSERT_TRUE(carry_out(*plan, rig.checked(), on));
  ASSERT_THAT(on.reset_to, SizeIs(1));
  EXPECT_EQ(on.reset_to[0].next, 0);

  const auto time = parse_reset_target({"1970-01-01T00:00:02Z"});
  plan = plan_reset(rig.checked(), on, *time, false);
  ASSERT_TRUE(plan);
  EXPECT_THAT(plan->cleared, IsEmpty());
  ASSERT_THAT(plan->moves, SizeIs(1));
  EXPECT_EQ(plan->moves[0].to, 1);
}

}  // namespace
}  // namespace sonder
