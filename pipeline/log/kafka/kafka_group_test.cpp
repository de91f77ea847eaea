#include <sys/wait.h>

#include <atomic>
#include <cstdlib>
#include <future>
#include <thread>

#include "log/kafka/kafka_fixture.h"
#include "log/kafka/member.h"

namespace sonder {
namespace {

using testing::AnyOf;
using testing::ElementsAre;
using testing::HasSubstr;

/// A worker as a flow is one: joined, with tasks, their state and their epochs.
class kafka_group_test : public kafka_log_test {
 protected:
  void SetUp() override {
    kafka_log_test::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    in_ = topic("in");
    out_ = topic("out");
  }

  [[nodiscard]] group_request request() const {
    return {.group = group_, .topics = {in_}, .stores = {"sums"}, .partitions = 1};
  }

  /// Joins, and waits until the only task is at hand.
  [[nodiscard]] std::unique_ptr<group_member> join(log& on) const {
    auto member = must(on.join(request()));
    await([&] { return must(member->poll()).what == group_event::kind::assigned; },
          "an assignment");
    await([&] { return must(member->ready(0)); }, "the task's state");
    return member;
  }
  static void await(const std::function<bool()>& claim, const char* what) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(40);
    while (!claim()) {
      if (std::chrono::steady_clock::now() > until)
        throw std::runtime_error(std::string("no end of waiting for ") + what);
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }

  [[nodiscard]] status change(log& on, std::int64_t next, const std::string& key,
                              std::optional<std::string> value) const {
    epoch_changes epoch;
    epoch.group = group_;
    epoch.consumed.push_back({in_, 0, next});
    epoch.state.push_back(
        {"sums", 0, as_bytes(key), value ? std::optional(as_bytes(*value)) : std::nullopt});
    return on.commit(epoch);
  }
  [[nodiscard]] std::optional<std::string> state_of(log& on, const std::string& key) const {
    buffer value;
    if (!must(on.state_get(group_, "sums", 0, as_bytes(key), value))) return std::nullopt;
    return std::string(as_text({value.data(), value.size()}));
  }

  std::string in_, out_;
};

TEST_F(kafka_group_test, KeepsStateWithItsEpochs) {
  auto member = join(*log_);
  must(change(*log_, 1, "ana", "1"));
  must(change(*log_, 2, "ben", "2"));
  must(change(*log_, 3, "ben", std::nullopt));
  EXPECT_EQ(state_of(*log_, "ana"), "1");
  EXPECT_EQ(state_of(*log_, "ben"), std::nullopt);
  EXPECT_THAT(must(log_->committed(group_, in_)), ElementsAre(3));
}

TEST_F(kafka_group_test, HasItsStateAgainAfterARestart) {
  join(*log_).reset();
  auto member = join(*log_);
  must(change(*log_, 1, "ana", "1"));
  member.reset();
  log_.reset();
  log_ = open(options());
  member = join(*log_);
  EXPECT_EQ(state_of(*log_, "ana"), "1");
}

TEST_F(kafka_group_test, HandsItsStateToAWorkerElsewhere) {
  auto member = join(*log_);
  must(change(*log_, 1, "ana", "1"));
  must(change(*log_, 2, "ben", "2"));
  must(change(*log_, 3, "ana", std::nullopt));
  member.reset();
  const auto elsewhere = open(options("two"));
  member = join(*elsewhere);
  EXPECT_EQ(state_of(*elsewhere, "ana"), std::nullopt);
  EXPECT_EQ(state_of(*elsewhere, "ben"), "2");
  member.reset();
}

TEST_F(kafka_group_test, ForgetsAnEpochThatItsGroupNoLongerTakes) {
  auto with = options("slow");
  with.session_timeout = with.max_poll_interval = std::chrono::milliseconds(2'000);
  const auto slow = open(with);
  auto late = join(*slow);
  must(change(*slow, 1, "ana", "kept"));
  // Nobody polls for the slow one, until its place is another's.
  auto member = join(*log_);
  must(change(*log_, 2, "ana", "by the successor"));
  const auto done = change(*slow, 7, "ana", "by the one who lost it");
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, errc::unavailable) << done.error().message;
  EXPECT_THAT(must(log_->committed(group_, in_)), ElementsAre(2));
  EXPECT_EQ(state_of(*log_, "ana"), "by the successor");
}

// As when an instance's name is given to a worker of another flow's transactional id, or a tool joins under it.
TEST_F(kafka_group_test, EndsTheWorkerWhosePlaceInTheGroupAnotherMemberOfItsInstanceHas) {
  auto with = options();
  with.static_membership = true;
  log_.reset();
  log_ = open(with);
  auto member = join(*log_);
  must(change(*log_, 1, "ana", "1"));
  // Joins without a producer: it takes the place in the group, and not the transactional id.
  auto usurper = must(kafka::join_group(with, {.group = group_, .topics = {in_}, .stores = {}, .partitions = 1}, {}, nullptr));
  await([&] { return must(usurper->poll()).what == group_event::kind::assigned; }, "the place of the instance");
  const auto done = change(*log_, 2, "ana", "2");
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, errc::fenced) << done.error().message;
  EXPECT_THAT(done.error().message, HasSubstr("log.instance"));
  EXPECT_EQ(state_of(*log_, "ana"), "1");
  usurper.reset();
  EXPECT_THAT(must(log_->committed(group_, in_)), ElementsAre(1));
}

TEST_F(kafka_group_test, LeavesOneOfTwoWorkersOfOneInstanceWithFoldersOfTheirOwn) {
  auto with = options();
  with.static_membership = true;
  log_.reset();
  log_ = open(with);
  auto member = join(*log_);
  must(change(*log_, 1, "ana", "1"));
  with.state_dir = folder_ / "elsewhere";
  const auto other = open(with);
  auto others = join(*other);
  EXPECT_EQ(state_of(*other, "ana"), "1");
  must(change(*other, 2, "ana", "2"));
  const auto done = change(*log_, 3, "ana", "3");
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, errc::fenced) << done.error().message;
  EXPECT_THAT(done.error().message, HasSubstr("log.instance"));
  await([&] {
    const auto told = member->poll();
    return !told && told.error().code == errc::fenced;
  }, "the end of the first");
  must(change(*other, 3, "ana", "4"));
  EXPECT_EQ(state_of(*other, "ana"), "4");
  EXPECT_THAT(must(other->committed(group_, in_)), ElementsAre(3));
  others.reset();
}

/// Stops for so long at one step of a commit that its instance has a successor, on another machine, when it goes on.
class kafka_stopped_test : public kafka_group_test {
 protected:
  static constexpr auto timeout = std::chrono::milliseconds(2'000);

  void SetUp() override {
    kafka_group_test::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    in_ = topic("wide", 2);
  }
  [[nodiscard]] group_request both() const { return {.group = group_, .topics = {in_}, .stores = {"sums"}, .partitions = 2}; }
  [[nodiscard]] kafka_options quick(bool static_membership) const {
    auto made = options();
    made.static_membership = static_membership;
    made.transaction_timeout = timeout;
    made.session_timeout = made.max_poll_interval = std::chrono::milliseconds(3'000);
    return made;
  }
  [[nodiscard]] kafka_options elsewhere(kafka_options of) const {
    of.on_step = nullptr;
    of.state_dir = folder_ / "elsewhere";
    return of;
  }
  /// Does what its group says.
  struct worker {
    std::unique_ptr<log> on;
    std::unique_ptr<group_member> place;
    std::vector<std::int32_t> tasks;
    std::optional<error> ended;

    void poll() {
      auto told = place->poll();
      if (!told) {
        ended = told.error();
      } else if (told->what == group_event::kind::assigned) {
        tasks = told->partitions;
      } else if (told->what != group_event::kind::none) {
        tasks.clear();
        must(place->release());
      }
    }
  };
  /// The commit that comes next once `armed_` stops at `step` until `go_on_`.
  void stop_at(kafka_options& with, std::string step) {
    with.on_step = [this, step = std::move(step)](std::string_view now) {
      if (now != step || !armed_.exchange(false)) return;
      stopped_ = true;
      while (!go_on_) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    };
  }
  [[nodiscard]] status commit_one(worker& by, std::int32_t task, std::int64_t next) const {
    epoch_changes epoch;
    epoch.group = group_;
    epoch.consumed.push_back({in_, task, next});
    epoch.state.push_back({"sums", task, as_bytes(std::string_view("ana")), as_bytes(std::string_view("1"))});
    return by.on->commit(epoch);
  }
  /// Commits until the answer is not errc::unavailable; tasks come and go meanwhile.
  [[nodiscard]] status settled(worker& by, worker* beside, std::int64_t next) const {
    status done;
    await([&] {
      by.poll();
      if (beside != nullptr) beside->poll();
      if (by.ended) return done = tl::unexpected<error>(*by.ended), true;
      if (by.tasks.empty() || !must(by.place->ready(by.tasks.front()))) return false;
      done = commit_one(by, by.tasks.front(), next);
      return done || done.error().code != errc::unavailable;
    }, "a commit that is decided");
    return done;
  }
  void be_succeeded(bool static_membership, const std::string& step);

  std::atomic<bool> armed_{false}, stopped_{false}, go_on_{false};
};

void kafka_stopped_test::be_succeeded(bool static_membership, const std::string& step) {
  auto with = quick(static_membership);
  stop_at(with, step);
  log_.reset();
  worker first{open(with), nullptr, {}, {}};
  first.place = must(first.on->join(both()));
  await([&] { return first.poll(), first.tasks.size() == 2 && must(first.place->ready(0)) && must(first.place->ready(1)); }, "the tasks");
  must(commit_one(first, 0, 1));
  armed_ = true;
  const auto began = std::chrono::steady_clock::now();
  auto outcome = std::async(std::launch::async, [&] { return commit_one(first, 0, 2); });
  await([&] { return stopped_.load(); }, "the stop");

  worker second{open(elsewhere(with)), nullptr, {}, {}};
  second.place = must(second.on->join(both()));
  must(settled(second, nullptr, 5));
  std::this_thread::sleep_until(began + timeout + std::chrono::milliseconds(200));  // past what tells a take-over from a timeout
  go_on_ = true;
  await([&] { return second.poll(), outcome.wait_for(std::chrono::milliseconds(0)) == std::future_status::ready; }, "the stopped commit");
  const auto late = outcome.get();
  ASSERT_FALSE(late);
  must(settled(second, nullptr, 6));

  const auto ended = settled(first, &second, 3);
  ASSERT_FALSE(ended) << "two workers of one instance go on side by side";
  EXPECT_EQ(ended.error().code, errc::fenced) << ended.error().message;
  EXPECT_THAT(ended.error().message, HasSubstr("log.instance"));
  first.place.reset();
  first.on.reset();
  must(settled(second, nullptr, 7));
  EXPECT_FALSE(second.ended);
  EXPECT_EQ(must(second.on->committed(group_, in_)).at(static_cast<std::size_t>(second.tasks.front())), 7);
}

TEST_F(kafka_stopped_test, EndsAndLeavesItsSuccessorAloneWhereTheGroupKnowsItsInstance) {
  be_succeeded(true, "offsets_sent");
}

TEST_F(kafka_stopped_test, EndsAndLeavesItsSuccessorAloneWhereTheGroupDoesNotKnowItsInstance) {
  be_succeeded(false, "offsets_sent");
}

TEST_F(kafka_stopped_test, EndsAndLeavesItsSuccessorAloneWhenItStoppedBeforeItsOffsetsWereSent) {
  be_succeeded(true, "produced");
}

// Nobody has taken its place: it goes on by itself.
TEST_F(kafka_stopped_test, GoesOnWhereItHasNoSuccessor) {
  auto with = quick(true);
  with.session_timeout = with.max_poll_interval = std::chrono::milliseconds(30'000);
  stop_at(with, "offsets_sent");
  log_.reset();
  worker only{open(with), nullptr, {}, {}};
  only.place = must(only.on->join(both()));
  await([&] { return only.poll(), only.tasks.size() == 2 && must(only.place->ready(0)); }, "the tasks");
  armed_ = true;
  auto outcome = std::async(std::launch::async, [&] { return commit_one(only, 0, 2); });
  await([&] { return stopped_.load(); }, "the stop");
  // The broker looks for such transactions every ten seconds.
  std::this_thread::sleep_for(timeout);
  go_on_ = true;
  (void)outcome.get();
  must(settled(only, nullptr, 3));
  EXPECT_FALSE(only.ended);
}

TEST_F(kafka_group_test, CommitsOffsetsOfItsGroupWithoutTransactions) {
  auto with = options();
  with.guarantee = kafka_options::guarantee_kind::at_least_once;
  log_.reset();
  log_ = open(with);
  auto member = join(*log_);
  must(change(*log_, 4, "ana", "1"));
  EXPECT_THAT(must(log_->committed(group_, in_)), ElementsAre(4));
  EXPECT_EQ(state_of(*log_, "ana"), "1");
  must(member->release());
  const auto done = change(*log_, 5, "ana", "2");
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, errc::unavailable);
  EXPECT_THAT(done.error().message, HasSubstr("taken this worker's tasks away"));
}

TEST_F(kafka_group_test, BeginsNoTransactionWhereItHoldsNoAssignment) {
  int begun = 0;
  auto with = options();
  with.on_step = [&](std::string_view step) { begun += step == "begin" ? 1 : 0; };
  log_.reset();
  log_ = open(with);
  auto member = join(*log_);
  must(change(*log_, 1, "ana", "1"));
  must(member->release());
  const auto done = change(*log_, 2, "ana", "2");
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, errc::unavailable) << done.error().message;
  EXPECT_THAT(done.error().message, HasSubstr("taken this worker's tasks away"));
  EXPECT_EQ(begun, 1);
  EXPECT_THAT(must(log_->committed(group_, in_)), ElementsAre(1));
}

TEST_F(kafka_group_test, RefusesASecondMembershipOfOneProcess) {
  auto member = join(*log_);
  const auto second = log_->join(request());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, errc::invalid);
}

TEST_F(kafka_group_test, LeavesTheWorkerAloneThatHasItsFolder) {
  auto member = join(*log_);
  const auto by_mistake = open(options());
  const auto refused = by_mistake->join(request());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, errc::exists) << "no worker waits for it";
  EXPECT_THAT(refused.error().message, HasSubstr("has it already"));
  must(change(*log_, 1, "ana", "1"));
  EXPECT_EQ(state_of(*log_, "ana"), "1");
}

TEST_F(kafka_group_test, TellsWhatItHasCommittedOfOnePartition) {
  const auto wide = topic("wide", 2);
  epoch_changes epoch;
  epoch.group = group_;
  epoch.consumed.push_back({wide, 1, 7});
  must(log_->commit(epoch));
  EXPECT_EQ(must(log_->committed_of(group_, wide, 1)), 7);
  EXPECT_EQ(must(log_->committed_of(group_, wide, 0)), -1);
  EXPECT_EQ(must(log_->committed_of(group_, wide, 2)), -1) << "there is no such partition";
}

TEST_F(kafka_group_test, ResetsOffsetsAndStateSoThatAnOldDiskHasNothingOfItEither) {
  append(*log_, in_, 0, {{"a", "1"}, {"a", "2"}, {"b", "3"}});
  {
    auto member = join(*log_);
    must(change(*log_, 2, "a", "kept"));
    must(change(*log_, 3, "b", "kept"));
    must(change(*log_, 3, "gone", "1"));
    must(change(*log_, 3, "gone", std::nullopt));
  }
  auto tool = open(options(""));
  const auto before = must(tool->size_of_state(group_, "sums", 0));
  EXPECT_EQ(before.entries, 2);
  EXPECT_EQ(before.bytes, 10);
  const group_reset back{group_, {in_}, 1, {{in_, 0, 1}}, {{"sums", 0}}};
  must(tool->reset(back));
  EXPECT_THAT(must(tool->committed(group_, in_)), ElementsAre(1));
  EXPECT_EQ(must(tool->size_of_state(group_, "sums", 0)).entries, 0);
  must(tool->reset(back));  // what was cut off in the middle is done again like this
  EXPECT_THAT(must(tool->committed(group_, in_)), ElementsAre(1));
  log_ = open(options());  // on the old disk
  auto member = join(*log_);
  EXPECT_EQ(state_of(*log_, "a"), std::nullopt);
  EXPECT_EQ(state_of(*log_, "b"), std::nullopt);
}

TEST_F(kafka_group_test, ResetsWithoutTransactionsWhereAtLeastOnceIsEnough) {
  append(*log_, in_, 0, {{"a", "1"}, {"a", "2"}});
  auto plain = options();
  plain.guarantee = kafka_options::guarantee_kind::at_least_once;
  log_ = open(plain);
  {
    auto member = join(*log_);
    must(change(*log_, 2, "a", "kept"));
  }
  plain.instance.clear();
  auto tool = open(plain);
  must(tool->reset({group_, {in_}, 1, {{in_, 0, 0}}, {{"sums", 0}}}));
  EXPECT_THAT(must(tool->committed(group_, in_)), ElementsAre(0));
  EXPECT_EQ(must(tool->size_of_state(group_, "sums", 0)).entries, 0);
}

/// A reset of more entries than it takes away at once, in a process that is killed.
class kafka_reset_test : public kafka_group_test {
 protected:
  static constexpr int entries = 1'000;

  void SetUp() override {
    kafka_group_test::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    append(*log_, in_, 0, {{"a", "1"}, {"a", "2"}, {"b", "3"}, {"b", "4"}});
    work(*log_, 3);
  }
  /// A worker that leaves `entries` in the store.
  void work(log& on, std::int64_t next) {
    auto member = join(on);
    std::vector<std::string> keys;
    for (int i = 0; i < entries; ++i) keys.push_back("subject-" + std::to_string(i));
    epoch_changes epoch;
    epoch.group = group_;
    epoch.consumed.push_back({in_, 0, next});
    for (const auto& key : keys) epoch.state.push_back({"sums", 0, as_bytes(key), as_bytes("value")});
    must(on.commit(epoch));
  }
  /// Its exit code, or minus the signal that ended it.
  [[nodiscard]] int reset(const std::string& entries_at_once, const std::string& guarantee, const std::string& dies_at = "") const {
    const auto program = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "reset_worker";
    const auto line = "exec " + program.string() + " " + test::broker::of_this_run().kafka + " " + group_ + " " + in_ + " " + entries_at_once +
                      " " + guarantee + " " + dies_at;
    const int ended = std::system(("sh -c '" + line + "'").c_str());
    return WIFSIGNALED(ended) ? -WTERMSIG(ended) : WEXITSTATUS(ended) > 128 ? 128 - WEXITSTATUS(ended) : WEXITSTATUS(ended);
  }
  void await_nobody() {
    const auto tool = open(options(""));
    await([&] { return must(tool->describe_group(group_)).members.empty(); }, "the end of the killed one's session");
  }
  /// What a worker that starts now is told; empty: it has its task.
  [[nodiscard]] std::string start(kafka_options with) const {
    const auto on = open(std::move(with));
    auto member = must(on->join(request()));
    std::string told;
    await([&] {
      if (const auto event = member->poll(); !event) return told = event.error().message, true;
      const auto ready = member->ready(0);
      if (!ready && ready.error().code == errc::internal) return false;  // not this worker's yet
      if (!ready) told = std::string(name(ready.error().code)) + ": " + ready.error().message;
      return !ready || *ready;
    }, "the task, or why it cannot be had");
    return told;
  }
  [[nodiscard]] std::int64_t entries_left() {
    const auto tool = open(options(""));
    return must(tool->size_of_state(group_, "sums", 0)).entries;
  }
  [[nodiscard]] std::int64_t stands() {
    const auto tool = open(options(""));
    return must(tool->committed(group_, in_)).at(0);
  }
};

TEST_F(kafka_reset_test, OfManyTransactionsKeepsWorkersAwayWhereItWasKilledAndIsFinishedByTheNext) {
  log_.reset();
  for (const auto* dies_at : {"committed 1", "begun 3", "flushed 2", "committed 3"}) {
    EXPECT_EQ(reset("100", "exactly_once", dies_at), -SIGKILL);
    await_nobody();
  }
  EXPECT_EQ(reset("100", "exactly_once", "committed 1"), -SIGKILL);
  await_nobody();
  const auto left = entries_left();
  EXPECT_LT(left, entries);
  EXPECT_EQ(stands(), 3) << "offsets move last";
  EXPECT_THAT(start(options()), testing::AllOf(HasSubstr("invalid: "), HasSubstr("task 0: a reset (--to earliest) was begun at 20"),
                                               HasSubstr("sonder reset CONFIG --to earliest --execute")));
  EXPECT_EQ(reset("100", "exactly_once"), 0);
  EXPECT_EQ(entries_left(), 0);
  EXPECT_EQ(stands(), 1);
  EXPECT_EQ(start(options()), "");
}

TEST_F(kafka_reset_test, OfOneTransactionLeavesAllAsItWasWhereItWasKilled) {
  log_.reset();
  EXPECT_EQ(reset("100000", "exactly_once", "flushed 1"), -SIGKILL);
  await_nobody();
  EXPECT_EQ(start(options()), "");
  EXPECT_EQ(entries_left(), entries);
  EXPECT_EQ(reset("100000", "exactly_once"), 0);
  EXPECT_EQ(stands(), 1);
  EXPECT_EQ(entries_left(), 0);
}

TEST_F(kafka_reset_test, WithoutTransactionsMarksWhatItBegins) {
  log_.reset();
  EXPECT_EQ(reset("100000", "at_least_once", "flushed 1"), -SIGKILL);
  await_nobody();
  auto plain = options();
  plain.guarantee = kafka_options::guarantee_kind::at_least_once;
  EXPECT_THAT(start(plain), HasSubstr("a reset (--to earliest) was begun at"));
  EXPECT_EQ(reset("100000", "at_least_once"), 0);
  EXPECT_EQ(start(plain), "");
  EXPECT_EQ(stands(), 1);
}

TEST_F(kafka_reset_test, LeavesNoStateBehindThatAnUnfinishedOneHasBegunToTake) {
  log_.reset();
  EXPECT_EQ(reset("300", "exactly_once", "committed 1"), -SIGKILL);
  await_nobody();
  const auto tool = open(options(""));
  const auto forward = tool->reset({group_, {in_}, 1, {{in_, 0, 4}}, {}});
  ASSERT_FALSE(forward);
  EXPECT_EQ(forward.error().code, errc::invalid);
  EXPECT_THAT(forward.error().message, HasSubstr("--to earliest"));
  EXPECT_EQ(stands(), 3);
}

TEST_F(kafka_reset_test, IsRefusedWhereAWorkerHasRunSinceItWasWorkedOut) {
  log_.reset();
  const auto tool = open(options(""));
  const auto late = tool->reset({group_, {in_}, 1, {{in_, 0, 1}}, {{"sums", 0}}, {{in_, 0, 2}}});
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, errc::unavailable);
  EXPECT_THAT(late.error().message, testing::AllOf(HasSubstr("stood at 2"), HasSubstr("stands at 3 by now"), HasSubstr("Nothing is changed")));
  EXPECT_EQ(entries_left(), entries);
  must(tool->reset({group_, {in_}, 1, {{in_, 0, 1}}, {{"sums", 0}}, {{in_, 0, 3}}}));
  EXPECT_EQ(stands(), 1);
}

TEST_F(kafka_group_test, TellsWhoIsThereAndRefusesAResetMeanwhile) {
  auto member = join(*log_);
  auto tool = open(options(""));
  const auto seen = must(tool->describe_group(group_));
  EXPECT_EQ(seen.state, "Stable");
  ASSERT_EQ(seen.members.size(), 1U);
  EXPECT_THAT(seen.members[0].client, HasSubstr("one"));
  EXPECT_THAT(seen.members[0].tasks, ElementsAre(0));
  const auto refused = tool->reset({group_, {in_}, 1, {{in_, 0, 0}}, {}});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, errc::unavailable);
  EXPECT_THAT(refused.error().message, HasSubstr("\"sonder-one\" at 127.0.0.1"));
  member.reset();
  EXPECT_THAT(must(tool->describe_group(group_)).members, testing::IsEmpty());
}

TEST_F(kafka_group_test, CountsEpochsByWhatBecameOfThem) {
  auto member = join(*log_);
  must(change(*log_, 1, "a", "1"));
  const auto count = [&](log_figures::transaction_end how) { return log_->figures().transactions[static_cast<std::size_t>(how)]; };
  EXPECT_EQ(count(log_figures::transaction_end::committed), 1U);
  EXPECT_EQ(log_->figures().transaction, log_figures::transaction_state::idle);
  EXPECT_EQ(log_->figures().restored_tasks, 1);
  EXPECT_EQ(log_->figures().tasks_restoring, 0);
  auto successor = open(options());
  must(successor->commit({.group = group_, .consumed = {}}));
  const auto refused = change(*log_, 2, "a", "2");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, errc::fenced);
  EXPECT_EQ(count(log_figures::transaction_end::fenced), 1U);
  EXPECT_EQ(count(log_figures::transaction_end::committed), 1U);
}

}  // namespace
}  // namespace sonder
