#include "log/kafka/local_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <random>

#include "log/kafka/restore.h"
#include "log/small_disk.h"

namespace sonder::kafka {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

class LocalState : public ::testing::Test {
 protected:
  LocalState() {
    std::string name = (std::filesystem::temp_directory_path() / "sonder_state_XXXXXX").string();
    folder = ::mkdtemp(name.data());
  }
  ~LocalState() override { std::filesystem::remove_all(folder); }

  std::unique_ptr<local_state> reopen() {
    auto opened = local_state::in(folder, {8 << 20, 4 << 20, [this] { return now; }});
    EXPECT_TRUE(opened) << opened.error().message;
    return opened ? std::move(*opened) : nullptr;
  }

  // A task that begins with an empty changelog.
  static void begin(local_state& state, std::int32_t task, std::string_view store = "profiles") {
    auto loader = state_loader::for_task(state, "flow", store, task);
    ASSERT_TRUE(loader);
    ASSERT_TRUE(loader->finish({0, 0, 0, "cluster"}));
    ASSERT_TRUE(state.open("flow", store, task));
  }

  static status apply(local_state& state, std::int32_t task, std::vector<std::pair<std::string, std::optional<std::string>>> changes,
                      std::int64_t next, std::string_view store = "profiles") {
    std::vector<state_change> all;
    for (const auto& [key, value] : changes)
      all.push_back({store, task, as_bytes(key), value ? std::optional<bytes_view>(as_bytes(*value)) : std::nullopt});
    const changelog_position reached{store, task, next, 1'000 + next};
    return state.applied("flow", all, {&reached, 1});
  }

  static std::map<std::string, std::string> content(local_state& state, std::int32_t task, std::string_view prefix = {},
                                                    std::string_view store = "profiles") {
    std::map<std::string, std::string> all;
    const auto scanned = state.scan("flow", store, task, as_bytes(prefix), [](void* to, bytes_view key, bytes_view value) {
      static_cast<std::map<std::string, std::string>*>(to)->emplace(as_text(key), as_text(value));
      return true;
    }, &all);
    EXPECT_TRUE(scanned) << scanned.error().message;
    return all;
  }

  std::filesystem::path folder;
  std::int64_t now = 1'000'000;
};

TEST_F(LocalState, ReadsWhatWasApplied) {
  auto state = reopen();
  begin(*state, 3);
  ASSERT_TRUE(apply(*state, 3, {{"ana", "1"}, {"bob", "2"}, {"cid", "3"}}, 3));
  ASSERT_TRUE(apply(*state, 3, {{"bob", std::nullopt}, {"ana", "4"}}, 6));
  buffer value;
  EXPECT_EQ(state->get("flow", "profiles", 3, as_bytes("ana"), value), true);
  EXPECT_EQ(as_text({value.data(), value.size()}), "4");
  EXPECT_EQ(state->get("flow", "profiles", 3, as_bytes("bob"), value), false);
  EXPECT_THAT(content(*state, 3), ElementsAre(Pair("ana", "4"), Pair("cid", "3")));
  EXPECT_THAT(content(*state, 3, "c"), ElementsAre(Pair("cid", "3")));
}

TEST_F(LocalState, KeepsTasksAndStoresApart) {
  auto state = reopen();
  begin(*state, 0);
  begin(*state, 1);
  begin(*state, 0, "profile");
  ASSERT_TRUE(apply(*state, 0, {{"ana", "0"}}, 1));
  ASSERT_TRUE(apply(*state, 1, {{"ana", "1"}, {std::string(1, '\xff'), "last"}}, 2));
  ASSERT_TRUE(apply(*state, 0, {{"ana", "other store"}}, 1, "profile"));
  EXPECT_THAT(content(*state, 0), ElementsAre(Pair("ana", "0")));
  EXPECT_THAT(content(*state, 1), ElementsAre(Pair("ana", "1"), Pair("\xff", "last")));
  EXPECT_THAT(content(*state, 1, "\xff"), ElementsAre(Pair("\xff", "last")));
  EXPECT_THAT(content(*state, 0, {}, "profile"), ElementsAre(Pair("ana", "other store")));
  ASSERT_TRUE(state->wipe("flow", "profiles", 0));
  EXPECT_THAT(content(*state, 0), ElementsAre());
  EXPECT_EQ(content(*state, 1).size(), 2u);
  EXPECT_EQ(content(*state, 0, {}, "profile").size(), 1u);
}

TEST_F(LocalState, NeitherReadsNorChangesATaskThatIsNotOpen) {
  auto state = reopen();
  begin(*state, 0);
  buffer value;
  const auto read = state->get("flow", "profiles", 1, as_bytes("ana"), value);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, errc::unavailable);
  EXPECT_THAT(read.error().message, AllOf(HasSubstr("profiles"), HasSubstr("task 1")));
  EXPECT_FALSE(apply(*state, 1, {{"ana", "1"}}, 1));
  state->close("flow", "profiles", 0);
  EXPECT_FALSE(apply(*state, 0, {{"ana", "1"}}, 1));
}

TEST_F(LocalState, RefusesAChangeWithoutItsPlaceInTheChangelogAndAnEpochThatGoesBack) {
  auto state = reopen();
  begin(*state, 0);
  begin(*state, 1);
  ASSERT_TRUE(apply(*state, 0, {{"ana", "1"}}, 10));
  EXPECT_FALSE(apply(*state, 0, {{"ana", "2"}}, 9));
  const changelog_position elsewhere{"profiles", 1, 5, 0};
  const state_change change{"profiles", 0, as_bytes("ana"), as_bytes("3")};
  const auto refused = state->applied("flow", {&change, 1}, {&elsewhere, 1});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, errc::internal);
  EXPECT_THAT(content(*state, 0), ElementsAre(Pair("ana", "1"))) << "in part";
}

TEST_F(LocalState, KeepsContentAndCheckpointOverAReopening) {
  {
    auto state = reopen();
    begin(*state, 0);
    now += 5;
    ASSERT_TRUE(apply(*state, 0, {{"ana", "1"}}, 7));
  }
  auto state = reopen();
  const auto at = state->find_checkpoint("flow", "profiles", 0);
  ASSERT_TRUE(at && *at);
  EXPECT_EQ((*at)->next, 7);
  EXPECT_EQ((*at)->timestamp_max_ms, 1'007);
  EXPECT_EQ((*at)->as_of_ms, 1'007);
  EXPECT_EQ((*at)->cluster_id, "cluster");
  EXPECT_EQ(*state->find_checkpoint("flow", "profiles", 1), std::nullopt);
  EXPECT_EQ(*state->find_checkpoint("other", "profiles", 0), std::nullopt);
  ASSERT_TRUE(state->open("flow", "profiles", 0));
  EXPECT_THAT(content(*state, 0), ElementsAre(Pair("ana", "1")));
}

// The process may stand still between the commit on the brokers and here, for longer than tombstones stay.
TEST_F(LocalState, IsAsOldAsTheRecordsOfItsLastEpoch) {
  auto state = reopen();
  begin(*state, 0);
  const auto written = now + 1'000;
  now += 86'400'000;
  const changelog_position reached{"profiles", 0, 7, written};
  const state_change change{"profiles", 0, as_bytes("ana"), as_bytes("1")};
  ASSERT_TRUE(state->applied("flow", {&change, 1}, {&reached, 1}));
  const auto at = state->find_checkpoint("flow", "profiles", 0);
  ASSERT_TRUE(at && *at);
  EXPECT_EQ((*at)->as_of_ms, written);
}

TEST_F(LocalState, RenewsACheckpointsTimeAlone) {
  auto state = reopen();
  begin(*state, 0);
  ASSERT_TRUE(apply(*state, 0, {{"ana", "1"}}, 7));
  now += 60'000;
  ASSERT_TRUE(state->renew("flow", "profiles", 0));
  const auto at = state->find_checkpoint("flow", "profiles", 0);
  EXPECT_EQ((*at)->next, 7);
  EXPECT_EQ((*at)->as_of_ms, now);
}

TEST_F(LocalState, BelongsToOneProcessAtATime) {
  auto state = reopen();
  const auto second = local_state::in(folder);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, errc::unavailable);
  EXPECT_THAT(second.error().message, AllOf(HasSubstr(folder.string()), HasSubstr(std::to_string(::getpid()))));
  state.reset();
  EXPECT_TRUE(local_state::in(folder));
}

TEST_F(LocalState, WaitsOnAFullDiskAndGoesOnAfterwards) {
  for (const rlim_t file_bytes_max : {0, 1, 100, 5'000, 50'000}) {
    std::filesystem::remove_all(folder);
    auto state = reopen();
    begin(*state, 0);
    ASSERT_TRUE(apply(*state, 0, {{"key", "0"}}, 1));
    std::int64_t n = 1;
    {
      const small_disk disk(file_bytes_max);
      status done;
      while (done && n < 10'000) {
        done = apply(*state, 0, {{"key", std::to_string(n)}}, n + 1);
        if (done) ++n;
      }
      ASSERT_FALSE(done);
      EXPECT_EQ(done.error().code, errc::unavailable);
      EXPECT_THAT(done.error().message, HasSubstr("the disk is full"));
      EXPECT_THAT(done.error().message, HasSubstr("free space, then work goes on by itself"));
      EXPECT_FALSE(apply(*state, 0, {{"key", "never"}}, n + 1));
      // What a restore tries meanwhile, again and again.
      for (int i = 0; i < 3; ++i) {
        if (!state->recover()) continue;
        auto loader = state_loader::for_task(*state, "flow", "profiles", 0);
        if (loader) (void)loader->finish({n, 0, 0, "cluster"});
      }
    }
    ASSERT_TRUE(state->recover());
    ASSERT_TRUE(state->open("flow", "profiles", 0));
    // The write that failed may have reached the disk whole.
    EXPECT_THAT(content(*state, 0), ElementsAre(Pair("key", AnyOf(std::to_string(n - 1), std::to_string(n)))));
    ASSERT_TRUE(apply(*state, 0, {{"key", "after"}}, n + 2));
    EXPECT_THAT(content(*state, 0), ElementsAre(Pair("key", "after")));
  }
}

TEST_F(LocalState, RefusesAFolderOfANewerFormat) {
  reopen().reset();
  std::ofstream(folder / "format") << "sonder-state 2\n";
  const auto refused = local_state::in(folder);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, errc::unsupported);
  EXPECT_THAT(refused.error().message, AllOf(HasSubstr("format 2"), HasSubstr("up to 1"), HasSubstr("newer sonder")));
}

TEST_F(LocalState, RefusesAFolderWithoutItsFormat) {
  reopen().reset();
  std::filesystem::remove(folder / "format");
  const auto refused = local_state::in(folder);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, errc::corrupt);
  EXPECT_THAT(refused.error().message, HasSubstr("rebuilt from its changelogs"));
}

// GoogleTest runs suites of this name first: a fork has none of the threads that RocksDB has started in its parent, and would
// wait for them.
//
// Every value is the checkpoint that it was written with: after a kill they agree, whichever checkpoint is found.
class LocalStateDeathTest : public LocalState {
 protected:
  static constexpr int keys = 500;

  // Epochs on task 0 and a large load on task 1, until the process is killed.
  [[noreturn]] void work() {
    auto state = reopen();
    auto at = state->find_checkpoint("flow", "profiles", 0);
    if (!at || !*at) begin(*state, 0);
    if (!state->open("flow", "profiles", 0)) ::_exit(3);
    at = state->find_checkpoint("flow", "profiles", 0);
    std::int64_t next = (*at)->next;
    const auto loaded = state->find_checkpoint("flow", "profiles", 1);
    std::int64_t load_next = loaded && *loaded ? (*loaded)->next : 0;
    auto loader = state_loader::for_task(*state, "flow", "profiles", 1);
    for (;;) {
      ++next;
      std::vector<std::pair<std::string, std::optional<std::string>>> changes;
      for (int k = 0; k < keys; ++k) changes.push_back({"key" + std::to_string(k), std::to_string(next)});
      if (!apply(*state, 0, std::move(changes), next)) ::_exit(4);
      ++load_next;
      const std::string value = std::to_string(load_next) + std::string(200, '.');
      for (int k = 0; k < keys; ++k) loader->put(as_bytes("key" + std::to_string(k)), as_bytes(value));
      if (!loader->write({load_next, 0, 0, "cluster"})) ::_exit(5);
    }
  }

  // That many keys, of which the first was changed last.
  void check_tail(int records) {
    auto state = reopen();
    const auto at = state->find_checkpoint("flow", "profiles", 0);
    ASSERT_TRUE(at && *at);
    EXPECT_EQ((*at)->next, records + 1);
    ASSERT_TRUE(state->open("flow", "profiles", 0));
    const auto all = content(*state, 0);
    ASSERT_EQ(all.size(), static_cast<std::size_t>(records));
    for (const auto& [key, value] : all) ASSERT_EQ(value, key == "key0" ? "2" : "1") << key;
  }

  void check(local_state& state, std::int32_t task) {
    const auto at = state.find_checkpoint("flow", "profiles", task);
    ASSERT_TRUE(at);
    if (!*at) return;
    ASSERT_TRUE(state.open("flow", "profiles", task));
    const auto all = content(state, task);
    ASSERT_EQ(all.size(), (*at)->next == 0 ? 0u : static_cast<std::size_t>(keys));
    for (const auto& [key, value] : all) ASSERT_EQ(value.substr(0, value.find('.')), std::to_string((*at)->next)) << key;
    state.close("flow", "profiles", task);
  }
};

TEST_F(LocalStateDeathTest, AgreesWithItsCheckpoints) {
  std::mt19937 random(20261121);
  std::int64_t epochs = 0, loads = 0;
  for (int round = 0; round < 12; ++round) {
    const pid_t child = ::fork();
    if (child == 0) work();
    ::usleep(100'000 + random() % 400'000);
    ::kill(child, SIGKILL);
    int how = 0;
    ::waitpid(child, &how, 0);
    ASSERT_TRUE(WIFSIGNALED(how)) << "ended by itself, " << WEXITSTATUS(how);
    // In a process of its own too: RocksDB's threads would not survive the next fork.
    const pid_t reader = ::fork();
    if (reader == 0) {
      auto state = reopen();
      check(*state, 0);
      check(*state, 1);
      const auto first = state->find_checkpoint("flow", "profiles", 0);
      const auto second = state->find_checkpoint("flow", "profiles", 1);
      std::ofstream(folder / "seen") << (*first ? (*first)->next : 0) << ' ' << (*second ? (*second)->next : 0);
      ::_exit(HasFailure() ? 1 : 0);
    }
    ::waitpid(reader, &how, 0);
    ASSERT_TRUE(WIFEXITED(how) && WEXITSTATUS(how) == 0) << "round " << round;
    std::int64_t e = 0, l = 0;
    std::ifstream(folder / "seen") >> e >> l;
    EXPECT_GE(e, epochs) << "an epoch that was applied is gone";
    EXPECT_GE(l, loads);
    epochs = e;
    loads = l;
  }
  EXPECT_GT(epochs, 0);
  EXPECT_GT(loads, 0) << "no load reached the disk";
}

// A restore that was interrupted beside the write-ahead log, and a second one in the same process that brings only the tail.
TEST_F(LocalStateDeathTest, KeepsWhatAnInterruptedRestoreWroteUnderTheCheckpointOfTheNext) {
  const int records = static_cast<int>(restore_limits::small_records_max) + 500;
  const pid_t child = ::fork();
  if (child == 0) {
    auto state = reopen();
    {
      auto first = state_loader::for_task(*state, "flow", "profiles", 0);
      for (int k = 0; k < records; ++k) first->put(as_bytes("key" + std::to_string(k)), as_bytes("1"));
      if (!first->write({records, 0, 0, "cluster"})) ::_exit(3);
    }
    auto second = state_loader::for_task(*state, "flow", "profiles", 0);
    second->put(as_bytes("key0"), as_bytes("2"));
    if (!second->finish({records + 1, 0, 0, "cluster"})) ::_exit(4);
    ::raise(SIGKILL);
  }
  int how = 0;
  ::waitpid(child, &how, 0);
  ASSERT_TRUE(WIFSIGNALED(how)) << "ended by itself, " << WEXITSTATUS(how);
  const pid_t reader = ::fork();
  if (reader == 0) {
    check_tail(records);
    ::_exit(HasFailure() ? 1 : 0);
  }
  ::waitpid(reader, &how, 0);
  ASSERT_TRUE(WIFEXITED(how) && WEXITSTATUS(how) == 0) << "the checkpoint counts what is gone";
}

}  // namespace
}  // namespace sonder::kafka
