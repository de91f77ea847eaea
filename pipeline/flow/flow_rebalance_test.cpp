#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
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
  std::vector<std::int32_t> tasks{0};
  std::size_t epoch_records = SIZE_MAX;  ///< that the log takes at once
  std::atomic<int> commit_takes_ms{0};
  std::array<std::atomic<bool>, 3> taken_up{};  ///< of each task, its first record
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
    event.partitions = script_.tasks;
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
    if (topic == "events" && from > 0) script_.taken_up.at(static_cast<std::size_t>(partition)) = true;
    return under_.fetch(topic, partition, from, limits, into);
  }
  epoch_limits limits() const noexcept override { return {.bytes_max = SIZE_MAX, .records_max = script_.epoch_records}; }
  status append(std::span<const produced_batch> batches) override { return under_.append(batches); }
  result<std::vector<std::int64_t>> committed(std::string_view group, std::string_view topic) override {
    return under_.committed(group, topic);
  }
  status commit(const epoch_changes& epoch) override {
    std::this_thread::sleep_for(milliseconds(script_.commit_takes_ms));
    return under_.commit(epoch);
  }
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

  void flow(const std::string& how, int partitions = 1, const std::string& commit_interval = "5ms") {
    rig.flow("flow: t\nlog: {kind: embedded, dir: data}\ntopics:\n"
             "  events: {schema: event.avsc, subject: subject_id, event_time: at, partitions: " + std::to_string(partitions) + "}\n"
             "  out: {schema: lengths.avsc, partitions: " + std::to_string(partitions) + ", carries: [behaviour, quasi_identifier]}\n"
             "  dead_letter: {schema: " + shipped_schemas() + "/dead_letter.avsc, partitions: 1}\n"
             "stages:\n  bad: {plugin: misbehaving, in: {texts: events}, attempts_max: 9, retry: 1m, retry_max: 1m, config: {how: " + how +
             ", when: poison}}\n"
             "sinks:\n  out: bad.out\nrun: {commit_interval: " + commit_interval + ", batch_rows: 1}\n");
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

// The group would throw it out, and others would have its tasks while it commits for them.
TEST_F(FlowRebalance, BeginsNoEpochOfARevocationPastTheTimeThatTheGroupWaits) {
  flow("not", 3, "1m");
  for (int subject = 0; subject < 30; ++subject)
    rig.give("events", {R"({"event_id":"e","subject_id":"s)" + std::to_string(subject) + R"(","at":1,"text":"ok"})"});
  script.tasks = {0, 1, 2};
  script.epoch_records = 1;
  script.commit_takes_ms = 400;
  const auto hasty = std::make_shared<graph>(rig.checked());
  hasty->options.log.kafka.transaction_timeout_ms = 500;
  std::atomic<int> stop{0};
  rig.options().stop = &stop;
  rig.options().until_idle = false;
  grouped_log grouped(rig.on(), script);
  result<run_summary> ended;
  std::thread worker([&] { ended = run_worker(hasty, grouped, rig.options()); });
  await([&] { return std::all_of(script.taken_up.begin(), script.taken_up.end(), [](const auto& one) { return one.load(); }); });
  script.take_away = 1;
  await([&] { return script.released == 1; });
  const auto at_release = rig.on().committed("t", "events").value();
  const auto handed_on = std::count_if(at_release.begin(), at_release.end(), [](std::int64_t next) { return next > 0; });
  EXPECT_GE(handed_on, 1);
  EXPECT_LT(handed_on, 3) << "the third began after 800 ms, with 500 to begin in";
  script.commit_takes_ms = 0;
  await([&] { return script.assigned == 2; });
  stop = 1;
  worker.join();
  ASSERT_TRUE(ended) << ended.error().message;
  rig.options().stop = nullptr;
  rig.options().until_idle = true;
  rig.run();
  std::size_t out = 0;
  for (std::int32_t p = 0; p < 3; ++p) out += rig.raw("out", p).size();
  EXPECT_EQ(out, 30U) << "each once";
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
