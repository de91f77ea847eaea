#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "flow/flow_rig.h"
#include "flow/forwarding_log_rig.h"

// What a worker does when its group takes its tasks away, by a group that does as a test says.
namespace sonder {
namespace {

using std::chrono::milliseconds;
using steady = std::chrono::steady_clock;
using testing::IsEmpty;
using testing::SizeIs;

/// What a test asks of the group, and when the worker gave its tasks back.
struct group_script {
  std::atomic<int> take_away{0};  ///< 1: revoked, 2: lost; taken back to 0 by the worker's look
  std::atomic<int> assigned{0};
  std::atomic<int> released{0};
};

class scripted_member final : public group_member {
 public:
  explicit scripted_member(group_script& script) : script_(script) {}

  result<group_event> poll() override {
    group_event event;
    event.why = "the test says so";
    if (leaving_) return group_event{};
    if (!holding_) {
      holding_ = true;
      ++script_.assigned;
      event.what = group_event::kind::assigned;
    } else if (const auto how = script_.take_away.exchange(0); how != 0) {
      leaving_ = true;
      event.what = how == 1 ? group_event::kind::revoked : group_event::kind::lost;
    } else {
      return group_event{};
    }
    event.partitions = {0};
    return event;
  }
  status release() override {
    leaving_ = holding_ = false;
    ++script_.released;
    return {};
  }
  result<bool> ready(std::int32_t) override { return true; }
  status restart() override { return {}; }
  std::string waits_for() const override { return {}; }

 private:
  group_script& script_;
  bool holding_ = false, leaving_ = false;
};

/// The embedded log, with a group of the test's own.
class grouped_log final : public log {
 public:
  grouped_log(log& under, group_script& script) : under_(under), script_(script) {}

  result<std::unique_ptr<group_member>> join(const group_request&) override { return std::make_unique<scripted_member>(script_); }
  status create_topic(const topic_config& topic) override { return under_.create_topic(topic); }
  result<topic_config> describe(std::string_view topic) override { return under_.describe(topic); }
  result<std::vector<topic_config>> topics() override { return under_.topics(); }
  result<offset_range> offsets(std::string_view topic, std::int32_t partition) override { return under_.offsets(topic, partition); }
  result<std::int64_t> offset_at(std::string_view topic, std::int32_t partition, std::int64_t timestamp_ms) override {
    return under_.offset_at(topic, partition, timestamp_ms);
  }
  status fetch(std::string_view topic, std::int32_t partition, std::int64_t from, const fetch_limits& limits,
               record_block& into) override {
    return under_.fetch(topic, partition, from, limits, into);
  }
  status append(std::span<const produced_batch> batches) override { return under_.append(batches); }
  result<std::vector<std::int64_t>> committed(std::string_view group, std::string_view topic) override {
    return under_.committed(group, topic);
  }
  status commit(const epoch_changes& epoch) override { return under_.commit(epoch); }
  result<bool> state_get(std::string_view group, std::string_view store, std::int32_t partition, bytes_view key,
                         buffer& value) override {
    return under_.state_get(group, store, partition, key, value);
  }
  status state_scan(std::string_view group, std::string_view store, std::int32_t partition, bytes_view prefix, state_visitor visit,
                    void* ctx) override {
    return under_.state_scan(group, store, partition, prefix, visit, ctx);
  }
  void wait_for_records(std::uint64_t& seen, milliseconds at_most) override { under_.wait_for_records(seen, at_most); }
  result<std::optional<std::string>> note(std::string_view name) override { return under_.note(name); }
  status set_note(std::string_view name, std::string_view value) override { return under_.set_note(name, value); }

 private:
  log& under_;
  group_script& script_;
};

std::string event(const std::string& id, std::int64_t at, const std::string& text) {
  return R"({"event_id":")" + id + R"(","subject_id":"ana","at":)" + std::to_string(at) + R"(,"text":")" + text + "\"}";
}

class FlowRebalance : public testing::Test {
 protected:
  FlowRebalance() {
    rig.file("event.avsc", plain_event_schema);
    rig.file("lengths.avsc",
             R"({"type":"record","name":"lengths","fields":[{"name":"length","type":"long","sonder.privacy":{"categories":[]}}]})");
  }

  void flow(const std::string& how) {
    const char* root = std::getenv("SONDER_SOURCE_DIR");
    rig.flow("flow: t\nlog: {kind: embedded, dir: data}\ntopics:\n"
             "  events: {schema: event.avsc, subject: subject_id, event_time: at, partitions: 1}\n"
             "  out: {schema: lengths.avsc, partitions: 1, carries: [behaviour, quasi_identifier]}\n"
             "  dead_letter: {schema: " + std::string(root == nullptr ? "." : root) + "/schemas/dead_letter.avsc, partitions: 1}\n"
             "stages:\n  bad: {plugin: misbehaving, in: {texts: events}, attempts_max: 9, retry: 1m, retry_max: 1m, config: {how: " + how +
             ", when: poison}}\n"
             "sinks:\n  out: bad.out\nrun: {commit_interval: 5ms, batch_rows: 1}\n");
  }
  static void await(const std::function<bool()>& claim) {
    const auto until = steady::now() + std::chrono::seconds(20);
    while (!claim() && steady::now() < until) std::this_thread::sleep_for(milliseconds(2));
    EXPECT_TRUE(claim());
  }

  // Takes the tasks away while the stage waits for its next attempt; how long the worker kept them then.
  milliseconds time_to_give_back(int how) {
    std::atomic<int> stop{0};
    rig.options().stop = &stop;
    rig.options().until_idle = false;
    grouped_log grouped(rig.on(), script);
    result<run_summary> ended;
    std::thread worker([&] { ended = rig.try_run_on(grouped); });
    await([&] { return rig.on().committed("t", "events").value().at(0) == 1; });
    rig.give("events", {event("e2", 2, "poison"), event("e3", 3, "ok")});
    std::this_thread::sleep_for(milliseconds(300));
    const auto asked = steady::now();
    script.take_away = how;
    await([&] { return script.released == 1; });
    const auto took = std::chrono::duration_cast<milliseconds>(steady::now() - asked);
    await([&] { return script.assigned == 2; });
    std::this_thread::sleep_for(milliseconds(100));
    stop = 1;
    worker.join();
    rig.options().stop = nullptr;
    rig.options().until_idle = true;
    if (!ended) throw std::runtime_error(ended.error().message);
    EXPECT_THAT(ended->unbalanced, IsEmpty());
    return took;
  }

  flow_rig rig;
  group_script script;
};

TEST_F(FlowRebalance, EndsABackOffWhenItsTasksAreRevokedAndKeepsWhatWasFinished) {
  flow("retry");
  rig.give("events", {event("e1", 1, "ok")});
  EXPECT_LT(time_to_give_back(1), std::chrono::seconds(5)) << "the stage's minute was waited for";
  EXPECT_EQ(rig.on().committed("t", "events").value().at(0), 1) << "of what waits nothing counts";
  EXPECT_THAT(rig.records("out"), SizeIs(1));
  flow("not");
  rig.run();
  EXPECT_THAT(rig.records("out"), SizeIs(3));
  EXPECT_THAT(rig.dead_letters(), IsEmpty());
}

TEST_F(FlowRebalance, EndsABackOffWhenItsTasksAreLost) {
  flow("retry");
  rig.give("events", {event("e1", 1, "ok")});
  EXPECT_LT(time_to_give_back(2), std::chrono::seconds(5));
  EXPECT_EQ(rig.on().committed("t", "events").value().at(0), 1);
  flow("not");
  rig.run();
  EXPECT_THAT(rig.records("out"), SizeIs(3));
}

/// Its commits do not come back while they are held.
class held_log final : public forwarding_log {
 public:
  using forwarding_log::forwarding_log;
  status fetch(std::string_view topic, std::int32_t partition, std::int64_t from, const fetch_limits& limits,
               record_block& into) override {
    auto done = forwarding_log::fetch(topic, partition, from, limits, into);
    if (done && topic == "events" && !into.records.empty()) fetched = true;
    return done;
  }
  status commit(const epoch_changes& epoch) override {
    while (held) std::this_thread::sleep_for(milliseconds(2));
    return forwarding_log::commit(epoch);
  }
  std::atomic<bool> held{false}, fetched{false};
};

TEST_F(FlowRebalance, ADrainSaysWhetherItWaitsForACallOrForTheLog) {
  flow("linger");
  std::atomic<int> stop{0};
  std::mutex mutex;
  std::vector<std::string> said;
  rig.options().stop = &stop;
  rig.options().until_idle = false;
  rig.options().readiness = [&](bool, const std::string& why) {
    const std::lock_guard lock(mutex);
    said.push_back(why);
  };
  const auto has_said = [&](const std::string& text) {
    const std::lock_guard lock(mutex);
    return std::any_of(said.begin(), said.end(), [&](const auto& one) { return one.find(text) != std::string::npos; });
  };
  rig.give("events", {event("e1", 1, "poison")});
  held_log log(rig.on());
  log.held = true;
  result<run_summary> ended;
  std::thread worker([&] { ended = rig.try_run_on(log); });
  await([&] { return log.fetched.load(); });
  std::this_thread::sleep_for(milliseconds(100));
  stop = 1;
  await([&] { return has_said("draining, waits for a plugin's call, of stage \"bad\" in task 0"); });
  await([&] { return has_said("draining, waits for the log to commit what is finished"); });
  log.held = false;
  worker.join();
  ASSERT_TRUE(ended) << ended.error().message;
  EXPECT_THAT(rig.records("out"), SizeIs(1));
}

}  // namespace
}  // namespace sonder
