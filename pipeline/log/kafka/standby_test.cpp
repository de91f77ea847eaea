#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>

#include "log/kafka/group_fixture.h"
#include "log/kafka/restore.h"
#include "log/small_disk.h"

extern char** environ;

namespace sonder::kafka {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using ::testing::Pair;
using test::name_of_its_own;

constexpr std::int64_t day_ms = 86'400'000;
constexpr std::int32_t partitions = 4;
using content_map = std::map<std::string, std::string>;

std::int64_t clock_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// A process that joins and answers what it is told, and its output.
class other_process {
 public:
  explicit other_process(const std::vector<std::string>& arguments) {
    std::vector<std::string> words = {std::filesystem::read_symlink("/proc/self/exe").parent_path() / "group_worker"};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (auto& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    int output[2];
    EXPECT_EQ(::pipe(output), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, output[1], STDOUT_FILENO);
    posix_spawn_file_actions_addclose(&actions, output[0]);
    EXPECT_EQ(posix_spawn(&child_, argv[0], &actions, nullptr, argv.data(), environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    ::close(output[1]);
    output_ = output[0];
  }
  ~other_process() {
    kill();
    ::close(output_);
  }
  other_process(const other_process&) = delete;
  other_process& operator=(const other_process&) = delete;

  void wait_until_it_says(const std::string& word) {
    char piece[256];
    while (said_.find(word) == std::string::npos) {
      const auto got = ::read(output_, piece, sizeof piece);
      ASSERT_GT(got, 0) << said_;
      said_.append(piece, static_cast<std::size_t>(got));
    }
  }
  void kill() {
    if (child_ <= 0) return;
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
    child_ = -1;
  }

 private:
  pid_t child_ = -1;
  int output_ = -1;
  std::string said_;
};

class Standby : public ::testing::Test {
 protected:
  /// A worker of this process, with a disk of its own.
  struct worker : watched_member {
    scratch_folder folder;
    std::unique_ptr<local_state> state;
    std::int64_t ahead_ms = 0;
    std::atomic<std::uint64_t> free_bytes{UINT64_MAX};

    ~worker() { leave(); }
    void leave() {
      held.reset();
      tasks.clear();
      state.reset();
    }
    [[nodiscard]] restore_counts counts() const { return held->restored(); }
    [[nodiscard]] bool level(std::int64_t tasks_followed) const {
      const auto now = counts();
      return now.standby_tasks == tasks_followed && now.standby_tasks_level == tasks_followed && now.standby_records_behind == 0;
    }
  };

  void SetUp() override {
    SONDER_NEEDS_BROKER();
    options.standby_replicas = 1;
    kafka = std::make_unique<cluster>();
    group = name_of_its_own("group");
    topic = name_of_its_own("events");
    changelog = changelog_topic(group, "profiles");
    kafka->create_topic(topic, partitions);
    kafka->create_changelog(changelog, partitions);
  }

  void join(worker& w) {
    if (!w.state) {
      auto opened = local_state::in(w.folder.path, {8 << 20, 8 << 20, [&w] { return clock_ms() + w.ahead_ms; },
                                                    [&w] { return w.free_bytes.load(); }});
      ASSERT_TRUE(opened) << opened.error().message;
      w.state = std::move(*opened);
    }
    topic_config found{changelog, partitions, true};
    found.tombstone_ms = day_ms;
    auto joined = join_group(options, {group, {topic}, {"profiles"}, partitions}, {&found, 1}, w.state.get());
    ASSERT_TRUE(joined) << joined.error().message;
    w.held = std::move(*joined);
  }
  // Until each has its half of the tasks, and a copy of the other half.
  void settle(worker& a, worker& b) {
    ASSERT_TRUE(eventually(30s, [&] {
      a.poll();
      b.poll();
      return a.tasks.size() == 2 && b.tasks.size() == 2 && a.all_ready() && b.all_ready() && a.level(2) && b.level(2);
    })) << a.held->waits_for() << "; " << b.held->waits_for();
  }

  content_map content(worker& w, std::int32_t task) {
    content_map all;
    const auto scanned = w.state->scan(group, "profiles", task, {}, [](void* to, bytes_view key, bytes_view value) {
      static_cast<content_map*>(to)->emplace(as_text(key), as_text(value));
      return true;
    }, &all);
    EXPECT_TRUE(scanned) << scanned.error().message;
    return all;
  }

  // What an owner's epochs would have written.
  void write_some(std::int32_t task, int from, int to, content_map& holds) {
    std::vector<change> changes;
    for (int i = from; i < to; ++i) {
      std::string key = "subject-" + std::to_string(i);
      holds[key] = std::to_string(i) + std::string(100, 'v');
      changes.push_back({key, holds[key]});
    }
    kafka->write(changelog, task, changes);
  }

  std::unique_ptr<cluster> kafka;
  kafka_options options = cluster::options();
  std::string group, topic, changelog;
};

TEST_F(Standby, HasTheStateBeforeTheOwnerIsKilledAndRestoresTheTailAlone) {
  scratch_folder theirs;
  other_process owner({options.bootstrap, group, topic, std::to_string(partitions), "profiles", theirs.path});
  owner.wait_until_it_says("assigned 4");
  worker one;
  join(one);
  ASSERT_TRUE(eventually(20s, [&] { return one.poll(), one.tasks.size() == 2 && one.all_ready() && one.level(2); }));
  const std::int32_t first = one.tasks.front() == 0 ? 2 : 0;  // of the other's two
  content_map holds, holds_next;
  write_some(first, 0, 5'000, holds);
  write_some(first + 1, 0, 5'000, holds_next);
  ASSERT_TRUE(eventually(20s, [&] { return one.poll(), one.level(2) && one.counts().standby_records == 10'000; }));
  buffer value;
  EXPECT_FALSE(one.state->get(group, "profiles", first, as_bytes("subject-1"), value)) << "a copy is nobody's to read";
  EXPECT_EQ(kafka->range(changelog, first).second, 5'000) << "a copy writes no changelog";
  EXPECT_EQ(one.counts().records, 0);

  write_some(first, 4'900, 5'050, holds);
  owner.kill();
  ASSERT_TRUE(eventually(20s, [&] { return one.poll(), one.tasks.size() == 4 && one.all_ready(); })) << one.held->waits_for();
  EXPECT_EQ(content(one, first), holds);
  EXPECT_EQ(content(one, first + 1), holds_next);
  EXPECT_LE(one.counts().records, 150) << "what the copies had is read again";
  EXPECT_EQ(one.counts().rebuilt, 0);
  EXPECT_EQ(one.counts().standby_tasks, 0);
}

TEST_F(Standby, SeesNothingOfWhatIsNotCommitted) {
  worker one, two;
  join(one);
  join(two);
  settle(one, two);
  const auto task = two.tasks.front();
  kafka->write(changelog, task, {{"ana", "1"}});
  cluster::transaction open(group + "-writer");
  open.write(changelog, task, {{"ana", "2"}, {"bob", "2"}});
  ASSERT_TRUE(eventually(10s, [&] { return one.poll(), two.poll(), one.counts().standby_records == 1; }));
  std::this_thread::sleep_for(3 * restore_limits::standby_pause);
  EXPECT_EQ(one.counts().standby_records, 1);
  EXPECT_EQ(one.counts().standby_records_behind, 0) << "it waits for nobody's transaction";
  open.abort();
  kafka->write(changelog, task, {{"ben", "3"}});
  two.leave();
  ASSERT_TRUE(eventually(20s, [&] { return one.poll(), one.tasks.size() == 4 && one.all_ready(); })) << one.held->waits_for();
  EXPECT_THAT(content(one, task), ElementsAre(Pair("ana", "1"), Pair("ben", "3")));
}

TEST_F(Standby, GoesOnAfterAKillInTheMiddle) {
  worker owner;
  join(owner);
  ASSERT_TRUE(eventually(20s, [&] { return owner.poll(), owner.tasks.size() == 4 && owner.all_ready(); }));
  content_map holds;
  for (int i = 0; i < 8; ++i) write_some(0, i * 20'000, (i + 1) * 20'000, holds);
  write_some(3, 0, 160'000, holds);
  scratch_folder theirs;
  {
    other_process copies({options.bootstrap, group, topic, std::to_string(partitions), "profiles", theirs.path, "1"});
    std::thread answers([&] { copies.wait_until_it_says("followed"); });
    std::atomic<bool> done{false};
    std::thread watch([&] { answers.join(), done = true; });
    EXPECT_TRUE(eventually(40s, [&] { return owner.poll(), done.load(); }));
    copies.kill();
    watch.join();
  }
  owner.leave();
  worker next;
  std::swap(next.folder.path, theirs.path);
  join(next);
  ASSERT_TRUE(eventually(40s, [&] { return next.poll(), next.tasks.size() == 4 && next.all_ready(); })) << next.held->waits_for();
  EXPECT_EQ(content(next, 0), holds);
  EXPECT_EQ(content(next, 3), holds);
  EXPECT_EQ(next.counts().rebuilt, 0);
}

// A copy that was away for longer than tombstones are kept has keys that were deleted since.
TEST_F(Standby, IsThrownAwayWhereItIsOlderThanHalfTheTombstonesLife) {
  worker one, two;
  join(one);
  join(two);
  settle(one, two);
  const auto task = two.tasks.front();
  kafka->write(changelog, task, {{"ana", "1"}, {"bob", "1"}});
  ASSERT_TRUE(eventually(10s, [&] { return one.poll(), two.poll(), one.counts().standby_records == 2 && one.level(2); }));
  EXPECT_EQ(one.counts().rebuilt, 0);
  one.ahead_ms = day_ms / 2 + 60'000;
  ASSERT_TRUE(eventually(20s, [&] { return one.poll(), two.poll(), one.counts().standby_records == 4; })) << "not built anew";
  // The other task's copy, which is empty, may have its turn later.
  ASSERT_TRUE(eventually(20s, [&] { return one.poll(), two.poll(), one.counts().rebuilt >= 2; })) << "the copies of both tasks";
  EXPECT_EQ(one.counts().rebuilt, 2);
  ASSERT_TRUE(eventually(10s, [&] { return one.poll(), two.poll(), one.level(2); }));
}

// Markers of transactions have the broker's time.
TEST_F(Standby, StandsWhereTheBrokersClockIsAhead) {
  worker one, two;
  one.ahead_ms = -60'000;
  join(one);
  join(two);
  settle(one, two);
  const auto task = two.tasks.front();
  cluster::transaction epochs(group + "-writer");
  for (int i = 0; i < 3; ++i) {
    if (i > 0) epochs.begin();
    epochs.write(changelog, task, {{"ana", std::to_string(i)}, {"bob", "1"}}, clock_ms() - 60'000);
    epochs.commit();
    ASSERT_TRUE(eventually(10s, [&] { return one.poll(), two.poll(), one.counts().standby_records == 2 * (i + 1) && one.level(2); })) << i;
  }
  EXPECT_EQ(one.counts().rebuilt, 0);
  two.leave();
  ASSERT_TRUE(eventually(20s, [&] { return one.poll(), one.tasks.size() == 4 && one.all_ready(); })) << one.held->waits_for();
  EXPECT_THAT(content(one, task), ElementsAre(Pair("ana", "2"), Pair("bob", "1")));
  EXPECT_EQ(one.counts().rebuilt, 0);
}

TEST_F(Standby, StandsWhereAWriterWhoseClockIsAheadHasAborted) {
  worker one, two;
  join(one);
  join(two);
  settle(one, two);
  const auto task = two.tasks.front();
  kafka->write(changelog, task, {{"ana", "1"}});
  ASSERT_TRUE(eventually(10s, [&] { return one.poll(), two.poll(), one.counts().standby_records == 1 && one.level(2); }));
  cluster::transaction ahead(group + "-writer");
  ahead.write(changelog, task, {{"ana", "aborted"}}, clock_ms() + 600'000);
  ahead.abort();
  for (int i = 2; i < 5; ++i) {
    kafka->write(changelog, task, {{"ana", std::to_string(i)}});
    ASSERT_TRUE(eventually(10s, [&] { return one.poll(), two.poll(), one.counts().standby_records == i && one.level(2); })) << i;
  }
  EXPECT_EQ(one.counts().rebuilt, 0);
}

TEST_F(Standby, LeavesRoomForItsOwner) {
  worker one, two;
  join(one);
  join(two);
  settle(one, two);
  one.free_bytes = restore_limits::standby_free_bytes_min - 1;
  content_map holds;
  write_some(two.tasks.front(), 0, 5'000, holds);
  std::this_thread::sleep_for(3 * restore_limits::standby_pause);
  EXPECT_EQ(one.counts().standby_records, 0);
  EXPECT_GT(one.counts().standby_records_behind, 0);
  one.free_bytes = restore_limits::standby_free_bytes_min;
  ASSERT_TRUE(eventually(10s, [&] { return one.poll(), two.poll(), one.counts().standby_records == 5'000 && one.level(2); }));
}

// As a quota does, of which the free space tells nothing.
TEST_F(Standby, ThatFillsTheDiskTriesLessAndLessOften) {
  std::atomic<int> attempts{0};
  options.on_line = [&](int, std::string_view text) { attempts += text.find("the disk is full") != std::string_view::npos ? 1 : 0; };
  worker one, two;
  join(one);
  join(two);
  settle(one, two);
  const auto own = one.tasks.front();
  const auto copied = two.tasks.front();
  std::int64_t next = 0, failures = 0;
  // As an epoch of a worker, and what that does where it fails.
  const auto run_epoch = [&] {
    next = kafka->write(changelog, own, {{"ana", std::to_string(next)}}) + 1;
    const std::string value = std::to_string(next);
    const state_change changed{"profiles", own, as_bytes(std::string_view("ana")), as_bytes(value)};
    const changelog_position reached{"profiles", own, next, clock_ms()};
    const auto done = one.state->applied(group, {&changed, 1}, {&reached, 1});
    if (done) return;
    ++failures;
    EXPECT_EQ(done.error().code, errc::unavailable) << done.error().message;
    ASSERT_TRUE(one.held->restart());
    ASSERT_TRUE(eventually(20s, [&] { return one.poll(), two.poll(), one.all_ready(); })) << one.held->waits_for();
  };
  content_map holds;
  {
    const small_disk disk(2 << 20);
    write_some(copied, 0, 25'000, holds);
    const auto until = steady::now() + 12s;
    while (steady::now() < until) {
      run_epoch();
      one.poll();
      two.poll();
      std::this_thread::sleep_for(20ms);
    }
  }
  EXPECT_GE(attempts, 2) << "the disk was never full";
  EXPECT_LE(attempts, 5);
  EXPECT_LE(failures, attempts);
  ASSERT_TRUE(eventually(60s, [&] { return one.poll(), two.poll(), one.level(2); }));
  run_epoch();
  two.leave();
  ASSERT_TRUE(eventually(20s, [&] { return one.poll(), one.tasks.size() == 4 && one.all_ready(); })) << one.held->waits_for();
  EXPECT_EQ(content(one, copied), holds);
  EXPECT_THAT(content(one, own), ElementsAre(Pair("ana", std::to_string(next))));
}

TEST_F(Standby, IsBuiltAnewWhereTheChangelogIsAnotherOneOfTheSameName) {
  worker one, two;
  join(one);
  join(two);
  settle(one, two);
  const auto task = two.tasks.front();
  for (int i = 0; i < 3; ++i) kafka->write(changelog, task, {{"ana", "old"}, {"old", "old"}});
  ASSERT_TRUE(eventually(10s, [&] { return one.poll(), two.poll(), one.counts().standby_records == 6; }));
  kafka->delete_topic(changelog);
  std::this_thread::sleep_for(500ms);
  kafka->create_changelog(changelog, partitions);
  // As long as the old one was, and longer.
  for (int i = 0; i < 10; ++i) kafka->write(changelog, task, {{"ana", "new"}});
  ASSERT_TRUE(eventually(30s, [&] { return one.poll(), two.poll(), one.counts().standby_records >= 16 && one.level(2); }));
  EXPECT_GE(one.counts().rebuilt, 1);
  const auto before = one.counts().records;
  two.leave();
  ASSERT_TRUE(eventually(30s, [&] { return one.poll(), one.tasks.size() == 4 && one.all_ready(); })) << one.held->waits_for();
  EXPECT_THAT(content(one, task), ElementsAre(Pair("ana", "new")));
  EXPECT_EQ(one.counts().records, before) << "the copy was whole";
}

// Workers come and go while changes are written: a task is now one's own, now a copy, and never both.
TEST_F(Standby, ChangesPlacesWithTheOwnerManyTimes) {
  std::vector<content_map> holds(partitions);
  worker one, two;
  join(one);
  int written = 0;
  const auto write_all = [&] {
    for (std::int32_t task = 0; task < partitions; ++task) write_some(task, written, written + 3'000, holds[static_cast<std::size_t>(task)]);
    written += 2'000;
  };
  for (int round = 0; round < 4; ++round) {
    write_all();
    join(two);
    ASSERT_TRUE(eventually(30s, [&] { return one.poll(), two.poll(), one.tasks.size() == 2 && two.tasks.size() == 2; }));
    write_all();
    if (round % 2 == 0) settle(one, two);
    write_all();
    two.leave();
    ASSERT_TRUE(eventually(30s, [&] { return one.poll(), one.tasks.size() == 4; }));
  }
  ASSERT_TRUE(eventually(30s, [&] { return one.poll(), one.all_ready(); })) << one.held->waits_for();
  for (std::int32_t task = 0; task < partitions; ++task) EXPECT_EQ(content(one, task), holds[static_cast<std::size_t>(task)]) << task;
  EXPECT_EQ(one.counts().rebuilt, 0);
}

TEST_F(Standby, OfOneWorkerIsNone) {
  worker one;
  join(one);
  ASSERT_TRUE(eventually(20s, [&] { return one.poll(), one.tasks.size() == 4 && one.all_ready(); }));
  std::this_thread::sleep_for(1s);
  one.poll();
  EXPECT_EQ(one.counts().standby_tasks, 0);
}

}  // namespace
}  // namespace sonder::kafka
