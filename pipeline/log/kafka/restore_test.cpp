#include "log/kafka/restore.h"

#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <random>

#include "log/kafka/changelog_reader.h"
#include "log/kafka/group_fixture.h"

extern char** environ;

namespace sonder::kafka {
namespace {

using namespace testing;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using test::name_of_its_own;

constexpr std::int64_t day_ms = 86'400'000;
using content_map = std::map<std::string, std::string>;

class Restore : public ::testing::Test {
 protected:
  static constexpr std::int32_t partitions = 4;

  void SetUp() override {
    SONDER_NEEDS_BROKER();
    kafka = std::make_unique<cluster>();
    group = name_of_its_own("group");
    topic = name_of_its_own("events");
    changelog = changelog_topic(group, "profiles");
    kafka->create_topic(topic, partitions);
    kafka->create_changelog(changelog, partitions);
    folder = std::make_unique<scratch_folder>();
  }
  void TearDown() override { leave(); }

  std::int64_t now() const {
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count() + ahead_ms;
  }

  void join() {
    if (!state) {
      auto opened = local_state::in(folder->path, {8 << 20, 8 << 20, [this] { return now(); }});
      ASSERT_TRUE(opened) << opened.error().message;
      state = std::move(*opened);
    }
    topic_config found;
    found.name = changelog;
    found.partitions = partitions;
    found.compacted = true;
    found.tombstone_ms = day_ms;
    auto joined = join_group(options, {group, {topic}, {"profiles"}, partitions}, {&found, 1}, state.get());
    ASSERT_TRUE(joined) << joined.error().message;
    one.held = std::move(*joined);
    ASSERT_TRUE(eventually(20s, [&] { return one.poll(), one.tasks.size() == static_cast<std::size_t>(partitions); }));
  }
  void join_and_restore() {
    join();
    ASSERT_FALSE(HasFatalFailure());
    ASSERT_TRUE(eventually(30s, [&] { return one.poll(), one.all_ready(); })) << one.held->waits_for();
  }
  void leave() {
    one.held.reset();
    one.tasks.clear();
    state.reset();
  }

  content_map content(std::int32_t task) {
    content_map all;
    const auto scanned = state->scan(group, "profiles", task, {}, [](void* to, bytes_view key, bytes_view value) {
      static_cast<content_map*>(to)->emplace(as_text(key), as_text(value));
      return true;
    }, &all);
    EXPECT_TRUE(scanned) << scanned.error().message;
    return all;
  }

  // Writes random changes to the changelog of a task; what it then holds.
  void write_some(std::int32_t task, int count, content_map& holds) {
    std::vector<change> changes;
    for (int i = 0; i < count; ++i) {
      std::string key = "subject-" + std::to_string(random() % 300);
      if (random() % 4 == 0) {
        holds.erase(key);
        changes.push_back({key, std::nullopt});
      } else {
        holds[key] = std::to_string(random());
        changes.push_back({key, holds[key]});
      }
    }
    kafka->write(changelog, task, changes);
  }

  // Whether no record of the task's changelog deletes anything any more.
  bool tombstone_gone() {
    struct looking final : changelog_reader::sink {
      bool found = false;
      void take(const changelog_reader::record& r) override { found = found || !r.has_value; }
      status pause(std::int64_t) override { return {}; }
      bool cancelled() const override { return false; }
      void note(std::string) override {}
    } sees;
    auto reader = changelog_reader::over(options).value();
    const auto range = reader->range(changelog, 0).value();
    EXPECT_TRUE(reader->read(changelog, 0, range.first, range.end, sees));
    return !sees.found;
  }

  // As the log does after a commit.
  void apply(std::int32_t task, const std::vector<change>& changes) {
    const auto last = kafka->write(changelog, task, changes);
    std::vector<state_change> all;
    for (const auto& [key, value] : changes)
      all.push_back({"profiles", task, as_bytes(key), value ? std::optional<bytes_view>(as_bytes(*value)) : std::nullopt});
    const changelog_position reached{"profiles", task, last + 1, now()};
    const auto applied = state->applied(group, all, {&reached, 1});
    ASSERT_TRUE(applied) << applied.error().message;
  }

  std::unique_ptr<cluster> kafka;
  kafka_options options = cluster::options();
  std::string group, topic, changelog;
  std::unique_ptr<scratch_folder> folder;
  std::unique_ptr<local_state> state;
  watched_member one;
  std::int64_t ahead_ms = 0;
  std::mt19937 random{20261121};
};

TEST_F(Restore, FromNothingAndFromACheckpointEndsAlike) {
  std::vector<content_map> holds(partitions);
  for (std::int32_t task = 0; task < partitions; ++task) write_some(task, 2'000, holds[task]);
  join_and_restore();
  for (std::int32_t task = 0; task < partitions; ++task) EXPECT_EQ(content(task), holds[task]) << task;
  EXPECT_EQ(one.held->restored().records, 2'000 * partitions);
  EXPECT_EQ(one.held->restored().rebuilt, 0);
  leave();

  for (std::int32_t task = 0; task < partitions; ++task) write_some(task, 100, holds[task]);
  join_and_restore();
  for (std::int32_t task = 0; task < partitions; ++task) EXPECT_EQ(content(task), holds[task]) << task;
  EXPECT_EQ(one.held->restored().records, 100 * partitions) << "what was on disk is read again";
  leave();

  scratch_folder other;
  std::swap(folder->path, other.path);
  join_and_restore();
  for (std::int32_t task = 0; task < partitions; ++task) EXPECT_EQ(content(task), holds[task]) << task;
}

TEST_F(Restore, ReadsNothingWhereTheCheckpointIsTheEnd) {
  join_and_restore();
  for (int i = 0; i < 50; ++i) apply(1, {{"ana", std::to_string(i)}, {"bob", std::nullopt}});
  leave();
  join_and_restore();
  EXPECT_EQ(one.held->restored().records, 0);
  EXPECT_THAT(content(1), ElementsAre(Pair("ana", "49")));
}

TEST_F(Restore, EndsWhereTheLastOffsetIsAMarker) {
  {
    cluster::transaction epoch(group + "-writer");
    epoch.write(changelog, 0, {{"ana", "1"}});
    epoch.commit();
    epoch.begin();
    epoch.write(changelog, 1, {{"bob", "never"}});
    epoch.abort();
  }
  join_and_restore();
  EXPECT_THAT(content(0), ElementsAre(Pair("ana", "1")));
  EXPECT_TRUE(content(1).empty());
  EXPECT_EQ(state->find_checkpoint(group, "profiles", 0).value()->next, 2) << "a record and a marker";
  EXPECT_EQ(state->find_checkpoint(group, "profiles", 1).value()->next, 2);
}

TEST_F(Restore, IsNotTakenForAnotherTopicsAfterAnAbortedTransaction) {
  join_and_restore();
  apply(0, {{"ana", "1"}});
  leave();
  {
    cluster::transaction epoch(group + "-writer");
    epoch.write(changelog, 0, {{"ana", "never"}});
    epoch.abort();
  }
  join_and_restore();
  leave();
  join_and_restore();
  EXPECT_EQ(one.held->restored().rebuilt, 0);
  EXPECT_THAT(content(0), ElementsAre(Pair("ana", "1")));
}

TEST_F(Restore, WaitsForTheEndOfADeadProcessesTransactionAndHoldsNoOtherTaskBack) {
  auto dead = std::make_unique<cluster::transaction>(group + "-dead", 3'000ms);
  kafka->write(changelog, 2, {{"ana", "1"}, {"bob", "1"}});
  dead->write(changelog, 2, {{"ana", "never"}, {"bob", std::nullopt}});
  dead.reset();
  join();
  ASSERT_TRUE(eventually(2s, [&] {
    one.poll();
    return *one.held->ready(0) && *one.held->ready(1) && *one.held->ready(3);
  })) << one.held->waits_for();
  EXPECT_FALSE(*one.held->ready(2)) << "ready before it was decided";
  ASSERT_TRUE(eventually(2s, [&] { return one.poll(), one.held->waits_for().find("open transaction") != std::string::npos; }));
  EXPECT_THAT(one.held->waits_for(), HasSubstr("state of task 2: 50 % of 4"));
  buffer value;
  EXPECT_FALSE(state->get(group, "profiles", 2, as_bytes("ana"), value));
  EXPECT_TRUE(eventually(20s, [&] { return one.poll(), one.all_ready(); })) << one.held->waits_for();
  EXPECT_THAT(content(2), ElementsAre(Pair("ana", "1"), Pair("bob", "1")));
}

TEST_F(Restore, SeesATransactionThatIsCommittedWhileItWaits) {
  kafka->write(changelog, 2, {{"ana", "1"}});
  cluster::transaction slow(group + "-slow");
  slow.write(changelog, 2, {{"ana", "2"}});
  join();
  ASSERT_TRUE(eventually(5s, [&] { return one.poll(), one.held->waits_for().find("open transaction") != std::string::npos; }));
  slow.commit();
  EXPECT_TRUE(eventually(10s, [&] { return one.poll(), one.all_ready(); })) << one.held->waits_for();
  EXPECT_THAT(content(2), ElementsAre(Pair("ana", "2")));
}

TEST_F(Restore, WaitsForCommittedOffsetsThatATransactionStillHolds) {
  cluster::transaction slow(group + "-slow");
  slow.offset(group, topic, 3, 42);
  join();
  ASSERT_TRUE(eventually(5s, [&] { return one.poll(), *one.held->ready(0) && *one.held->ready(1) && *one.held->ready(2); }));
  EXPECT_FALSE(*one.held->ready(3));
  ASSERT_TRUE(eventually(2s, [&] { return one.poll(), one.held->waits_for().find("transaction") != std::string::npos; }));
  EXPECT_THAT(one.held->waits_for(), HasSubstr("committed offsets of task 3"));
  // What such an epoch wrote to the changelog counts too: its markers may come later than the offsets' own.
  slow.write(changelog, 3, {{"ana", "1"}});
  slow.commit();
  ASSERT_TRUE(eventually(10s, [&] { return one.poll(), one.all_ready(); })) << one.held->waits_for();
  EXPECT_THAT(content(3), ElementsAre(Pair("ana", "1")));
}

TEST_F(Restore, TakesTheOffsetsAsTheyWereWhereTheTransactionThatHeldThemIsAborted) {
  {
    cluster::transaction before(group + "-before");
    before.offset(group, topic, 3, 7);
    before.write(changelog, 3, {{"ana", "1"}});
    before.commit();
  }
  cluster::transaction slow(group + "-slow");
  slow.offset(group, topic, 3, 42);
  slow.write(changelog, 3, {{"ana", "never"}});
  join();
  ASSERT_TRUE(eventually(5s, [&] { return one.poll(), *one.held->ready(0) && *one.held->ready(1) && *one.held->ready(2); }));
  ASSERT_TRUE(eventually(2s, [&] { return one.poll(), one.held->waits_for().find("committed offsets of task 3") != std::string::npos; }));
  EXPECT_EQ(one.held->restored().tasks_waiting, 1) << "the others go on";
  EXPECT_FALSE(*one.held->ready(3));
  slow.abort();
  ASSERT_TRUE(eventually(10s, [&] { return one.poll(), one.all_ready(); })) << one.held->waits_for();
  EXPECT_THAT(content(3), ElementsAre(Pair("ana", "1")));
}

// The transaction of a process that was killed: nobody ends it but the broker.
TEST_F(Restore, WaitsForTheBrokerToEndTheTransactionOfADeadProcessThatHoldsOffsets) {
  auto dead = std::make_unique<cluster::transaction>(group + "-dead", 3'000ms);
  dead->offset(group, topic, 3, 42);
  dead.reset();
  join();
  ASSERT_TRUE(eventually(2s, [&] { return one.poll(), *one.held->ready(0) && *one.held->ready(1) && *one.held->ready(2); }));
  EXPECT_FALSE(*one.held->ready(3));
  EXPECT_TRUE(eventually(20s, [&] { return one.poll(), one.all_ready(); })) << one.held->waits_for();
}

TEST_F(Restore, RollsForwardAfterAFailedCommit) {
  join_and_restore();
  apply(0, {{"ana", "1"}});
  // Committed, as it turned out; the log never heard of it.
  kafka->write(changelog, 0, {{"ana", "2"}, {"bob", "2"}});
  ASSERT_TRUE(one.held->restart());
  buffer value;
  ASSERT_TRUE(eventually(10s, [&] { return one.poll(), one.all_ready(); }));
  EXPECT_THAT(content(0), ElementsAre(Pair("ana", "2"), Pair("bob", "2")));
  apply(0, {{"ana", "3"}});
  EXPECT_EQ(content(0)["ana"], "3");
}

TEST_F(Restore, RebuildsWhereTheTopicIsAnotherOneOfTheSameName) {
  join_and_restore();
  for (int i = 0; i < 3; ++i) apply(0, {{"ana", "old"}, {"old", "old"}});
  leave();
  kafka->delete_topic(changelog);
  std::this_thread::sleep_for(500ms);
  kafka->create_changelog(changelog, partitions);
  // As long as the old one was, and longer.
  for (int i = 0; i < 10; ++i) kafka->write(changelog, 0, {{"ana", "new"}});
  join_and_restore();
  EXPECT_THAT(content(0), ElementsAre(Pair("ana", "new")));
  EXPECT_EQ(one.held->restored().rebuilt, 1) << "task 0 alone: the others' were empty, and are";
}

TEST_F(Restore, RebuildsWhereTheTopicIsShorterThanTheCheckpoint) {
  join_and_restore();
  for (int i = 0; i < 3; ++i) apply(0, {{"old", "old"}});
  leave();
  kafka->delete_topic(changelog);
  std::this_thread::sleep_for(500ms);
  kafka->create_changelog(changelog, partitions);
  kafka->write(changelog, 0, {{"ana", "new"}});
  join_and_restore();
  EXPECT_THAT(content(0), ElementsAre(Pair("ana", "new")));
  EXPECT_EQ(one.held->restored().rebuilt, 1);
}

TEST_F(Restore, RebuildsWhatIsOlderThanHalfTheTombstonesLife) {
  join_and_restore();
  apply(0, {{"ana", "1"}});
  leave();
  ahead_ms = day_ms / 2 - 60'000;
  join_and_restore();
  EXPECT_EQ(one.held->restored().rebuilt, 0);
  leave();
  ahead_ms += day_ms / 2 + 60'000;
  join_and_restore();
  EXPECT_EQ(one.held->restored().rebuilt, partitions);
  EXPECT_THAT(content(0), ElementsAre(Pair("ana", "1")));
}

TEST_F(Restore, RebuildsWhatAClockThatRanAheadHasDated) {
  ahead_ms = day_ms;
  join_and_restore();
  leave();
  ahead_ms = day_ms - 60'000;  // as a clock is set right
  join_and_restore();
  EXPECT_EQ(one.held->restored().rebuilt, 0);
  leave();
  ahead_ms = 0;  // how old it is nobody can tell
  join_and_restore();
  EXPECT_EQ(one.held->restored().rebuilt, partitions);
}

// The compaction that would resurrect a key: a state on disk has it, and its tombstone has come and gone since.
TEST_F(Restore, KeepsADeletedKeyDeletedAfterCompactionHasTakenItsTombstone) {
  kafka->delete_topic(changelog);
  std::this_thread::sleep_for(500ms);
  kafka->create_topic(changelog, partitions, {{"cleanup.policy", "compact"}, {"segment.ms", "100"}, {"min.cleanable.dirty.ratio", "0.001"},
                                              {"delete.retention.ms", "100"}, {"max.compaction.lag.ms", "100"}});
  join_and_restore();
  apply(0, {{"ana", "1"}, {"bob", "1"}});
  leave();
  kafka->write(changelog, 0, {{"ana", std::nullopt}});
  const auto low_records = [&] {
    // Segments roll, and the cleaner runs, as records come.
    std::this_thread::sleep_for(300ms);
    kafka->write(changelog, 0, {{"tick", "1"}});
    return tombstone_gone();
  };
  if (!eventually(120s, low_records)) {
    ASSERT_FALSE(sonder::test::broker::of_this_run().ours)
        << "ops/kafka's broker did not compact within two minutes";
    GTEST_SKIP()
        << "NOT RUN: the broker that SONDER_KAFKA names did not compact within two minutes";
  }
  ahead_ms = day_ms;  // its checkpoint is older than half of what the topic says
  join_and_restore();
  EXPECT_THAT(content(0), ElementsAre(Pair("bob", "1"), Pair("tick", "1")));
}

TEST_F(Restore, IsTakenUpAgainByTheNextProcessAfterAKill) {
  content_map holds;
  for (int i = 0; i < 10; ++i) {
    std::vector<change> changes;
    for (int k = 0; k < 20'000; ++k) {
      std::string key = "subject-" + std::to_string(i * 20'000 + k);
      changes.push_back({key, std::string(100, static_cast<char>('a' + i))});
      holds[key] = *changes.back().second;
    }
    kafka->write(changelog, 0, changes);
  }
  const std::string program = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "group_worker";
  std::vector<std::string> words = {program, options.bootstrap, group, topic, std::to_string(partitions), "profiles", folder->path};
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  int output[2];
  ASSERT_EQ(::pipe(output), 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, output[1], STDOUT_FILENO);
  pid_t child = -1;
  ASSERT_EQ(posix_spawn(&child, program.c_str(), &actions, nullptr, argv.data(), environ), 0);
  posix_spawn_file_actions_destroy(&actions);
  ::close(output[1]);
  std::string said;
  char piece[256];
  while (said.find("restored") == std::string::npos) {
    const auto got = ::read(output[0], piece, sizeof piece);
    ASSERT_GT(got, 0) << said;
    said.append(piece, static_cast<std::size_t>(got));
  }
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ::close(output[0]);
  join_and_restore();
  EXPECT_EQ(content(0), holds);
  EXPECT_EQ(one.held->restored().rebuilt, 0);
}

TEST_F(Restore, TakesStateAlongToAnotherWorkerAndCatchesUpWhereItComesBack) {
  join_and_restore();
  for (std::int32_t task = 0; task < partitions; ++task) apply(task, {{"who", "first"}});
  scratch_folder elsewhere;
  auto their_state = local_state::in(elsewhere.path);
  ASSERT_TRUE(their_state);
  topic_config found{changelog, partitions, true};
  watched_member two;
  two.held = join_group(options, {group, {topic}, {"profiles"}, partitions}, {&found, 1}, their_state->get()).value();
  ASSERT_TRUE(eventually(20s, [&] {
    one.poll();
    two.poll();
    return one.tasks.size() == 2 && two.tasks.size() == 2 && one.all_ready() && two.all_ready();
  }));
  buffer value;
  const auto moved = two.tasks.front();
  ASSERT_EQ((*their_state)->get(group, "profiles", moved, as_bytes("who"), value), true);
  EXPECT_FALSE(state->get(group, "profiles", moved, as_bytes("who"), value)) << "not its own any more";
  kafka->write(changelog, moved, {{"who", "second"}});
  two.held.reset();
  ASSERT_TRUE(eventually(20s, [&] { return one.poll(), one.tasks.size() == 4 && one.all_ready(); }));
  EXPECT_THAT(content(moved), ElementsAre(Pair("who", "second")));
  EXPECT_EQ(one.held->restored().rebuilt, 0);
}

TEST_F(Restore, SaysWhichChangelogIsMissing) {
  kafka->delete_topic(changelog);
  std::this_thread::sleep_for(500ms);
  join();
  EXPECT_TRUE(eventually(10s, [&] { return one.poll(), one.held->waits_for().find(changelog) != std::string::npos; }))
      << one.held->waits_for();
}

}  // namespace
}  // namespace sonder::kafka
