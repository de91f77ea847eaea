#include "flow/topic_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "flow/flow_rig.h"
#include "flow/forwarding_log_rig.h"

namespace sonder {
namespace {

using testing::AllOf;
using testing::HasSubstr;

/// Somebody adds partitions to a topic, once the worker has asked for the second time.
class growing_log final : public forwarding_log {
 public:
  growing_log(log& behind, std::string topic) : forwarding_log(behind), topic_(std::move(topic)) {}
  result<std::int32_t> partition_count(std::string_view topic) override {
    auto count = forwarding_log::partition_count(topic);
    if (!count || topic != topic_) return count;
    const auto asked = ++asked_;
    if (asked == 1) return fail(errc::unavailable, "no answer");
    return asked == 2 ? *count : *count + 2;
  }

 private:
  const std::string topic_;
  std::atomic<int> asked_{0};
};

class TopicWatch : public testing::TestWithParam<const char*> {
 protected:
  TopicWatch() {
    rig.file("event.avsc", plain_event_schema);
    rig.file("item.avsc", R"({"type":"record","name":"item","fields":[
      {"name":"id","type":"string","sonder.privacy":{"categories":[]}},
      {"name":"title","type":"string","sonder.privacy":{"categories":[]}}]})");
    rig.flow("flow: t\nlog: {kind: embedded, dir: data}\ndead_letter: none\ntopics:\n"
             "  raw: {schema: event.avsc, subject: subject_id, key: event_id, event_time: at, rekey: true, partitions: 3}\n"
             "  items: {schema: item.avsc, key: id, role: global, partitions: 3}\n"
             "  out: {schema: event.avsc, partitions: 3, carries: [behaviour, quasi_identifier]}\n"
             "stages:\n  it: {plugin: passthrough, in: {in: raw}}\n  look: {plugin: lookup, in: {events: it.out, items: items}}\n"
             "sinks:\n  out: it.out\n");
    rig.give("raw", {});
    rig.options().until_idle = false;
    rig.options().topics_looked_at = std::chrono::milliseconds(5);
  }
  flow_rig rig;
};

TEST_P(TopicWatch, EndsAWorkerWhoseTopicHasMorePartitionsThanItKnows) {
  ASSERT_THAT(rig.findings(), testing::Not(HasSubstr("error")));
  growing_log on(rig.on(), GetParam());
  const auto ended = run_worker(std::make_shared<const graph>(rig.checked()), on, rig.options());
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().code, errc::exists);
  EXPECT_THAT(ended.error().message, AllOf(HasSubstr("flow.yaml:"), HasSubstr("topic \"" + std::string(GetParam()) + "\" has partitions 5 instead of 3"),
                                           HasSubstr("set `partitions: 5`")));
}

INSTANTIATE_TEST_SUITE_P(OfEachKind, TopicWatch, testing::Values("raw", "items", "out"), [](const auto& of) { return std::string(of.param); });

}  // namespace
}  // namespace sonder
