#include "state/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <random>

#include "log/embedded/embedded_log.h"
#include "state/allocation_count.h"
#include "state/entry_table.h"

namespace sonder {
namespace {

// "word 17": names for many keys.
std::string numbered(std::string_view word, std::size_t number) {
  std::string name(word);
  return name.append(" ").append(std::to_string(number));
}

using entries = std::map<std::string, std::string>;
using testing::ElementsAre;
using testing::Pair;

class KeyedStore : public testing::Test {
 protected:
  KeyedStore() {
    std::string name = (std::filesystem::temp_directory_path() / "sonder-store-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    open_log();
  }
  ~KeyedStore() override {
    log_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  void open_log() {
    log_.reset();
    auto opened = open_embedded_log(folder_, {.fsync = false, .maintenance_interval = {}});
    ASSERT_TRUE(opened) << opened.error().message;
    log_ = std::move(*opened);
  }
  [[nodiscard]] keyed_store store(store_limits limits = {}) {
    return keyed_store(*log_, "app", "profile", 3, limits);
  }

  void commit(const std::vector<state_change>& changes) {
    epoch_changes epoch;
    epoch.group = "app";
    epoch.state = changes;
    const auto done = log_->commit(epoch);
    ASSERT_TRUE(done) << done.error().message;
  }
  void seal_and_commit(keyed_store& s) {
    std::vector<state_change> changes;
    s.seal(changes);
    commit(changes);
    s.committed();
  }

  std::filesystem::path folder_;
  std::unique_ptr<embedded_log> log_;
};

std::optional<std::string> value_of(keyed_store& s, std::string_view key) {
  bytes_view value;
  const auto there = s.get(as_bytes(key), &value);
  EXPECT_TRUE(there) << there.error().message;
  return there && *there ? std::optional<std::string>(as_text(value)) : std::nullopt;
}

void put(keyed_store& s, std::string_view key, std::string_view value) {
  const auto done = s.put(as_bytes(key), as_bytes(value));
  ASSERT_TRUE(done) << done.error().message;
}

void erase(keyed_store& s, std::string_view key) {
  ASSERT_TRUE(s.erase(as_bytes(key)));
}

std::vector<std::pair<std::string, std::string>> scan_of(keyed_store& s, std::string_view prefix,
                                                         std::size_t entries_max = SIZE_MAX) {
  struct collected {
    std::vector<std::pair<std::string, std::string>> found;
    std::size_t entries_max;
  } c{{}, entries_max};
  const auto done = s.scan(
      as_bytes(prefix),
      [](void* ctx, bytes_view key, bytes_view value) {
        auto& to = *static_cast<collected*>(ctx);
        to.found.emplace_back(as_text(key), as_text(value));
        return to.found.size() < to.entries_max;
      },
      &c);
  EXPECT_TRUE(done) << done.error().message;
  return c.found;
}

TEST_F(KeyedStore, ReadsBackWhatTheOpenEpochWrote) {
  auto s = store();
  EXPECT_EQ(value_of(s, "ana"), std::nullopt);
  put(s, "ana", "calm");
  put(s, "ben", "");
  EXPECT_EQ(value_of(s, "ana"), "calm");
  EXPECT_EQ(value_of(s, "ben"), "");
  erase(s, "ana");
  EXPECT_EQ(value_of(s, "ana"), std::nullopt);
}

TEST_F(KeyedStore, KeepsCommittedEntriesOverAReopenAndForgetsOthers) {
  {
    auto s = store();
    put(s, "ana", "calm");
    put(s, "ben", "glad");
    seal_and_commit(s);
    erase(s, "ben");
    seal_and_commit(s);
    put(s, "ana", "never committed");
  }
  open_log();
  auto s = store();
  EXPECT_EQ(value_of(s, "ana"), "calm");
  EXPECT_EQ(value_of(s, "ben"), std::nullopt);
}

TEST_F(KeyedStore, SeesTwoSealedEpochsUnderTheOpenOne) {
  auto s = store();
  std::vector<state_change> first, second;
  put(s, "k", "1");
  put(s, "only first", "x");
  s.seal(first);
  put(s, "k", "2");
  s.seal(second);
  EXPECT_EQ(value_of(s, "k"), "2");
  put(s, "k", "3");
  EXPECT_EQ(value_of(s, "k"), "3");
  EXPECT_EQ(value_of(s, "only first"), "x");
  commit(first);
  s.committed();
  commit(second);
  s.committed();
  EXPECT_EQ(value_of(s, "k"), "3");
  EXPECT_EQ(value_of(s, "only first"), "x");
}

TEST_F(KeyedStore, RollsBackToTheMarkOnly) {
  auto s = store();
  put(s, "kept", "before");
  put(s, "changed", "before");
  s.mark();
  put(s, "changed", "after");
  put(s, "changed", "after, and much longer than it was");
  put(s, "new", "after");
  erase(s, "kept");
  s.roll_back();
  EXPECT_EQ(value_of(s, "kept"), "before");
  EXPECT_EQ(value_of(s, "changed"), "before");
  EXPECT_EQ(value_of(s, "new"), std::nullopt);
}

TEST_F(KeyedStore, ScansAllLayersAndTheDatabaseInKeyOrder) {
  auto s = store();
  put(s, "p/1", "db");
  put(s, "p/3", "db");
  put(s, "p/4", "db");
  put(s, "q", "other prefix");
  seal_and_commit(s);
  std::vector<state_change> sealed;
  put(s, "p/2", "sealed");
  put(s, "p/3", "sealed");
  s.seal(sealed);
  erase(s, "p/4");
  put(s, "p/3", "open");
  put(s, "p/5", "open");
  EXPECT_THAT(scan_of(s, "p/"), ElementsAre(Pair("p/1", "db"), Pair("p/2", "sealed"),
                                            Pair("p/3", "open"), Pair("p/5", "open")));
  EXPECT_THAT(scan_of(s, "p/", 2), ElementsAre(Pair("p/1", "db"), Pair("p/2", "sealed")));
  EXPECT_THAT(scan_of(s, "r"), ElementsAre());
}

TEST_F(KeyedStore, ScansPrefixesOfHighBytes) {
  auto s = store();
  const std::string high = "\xff\xff";
  put(s, high + "a", "1");
  seal_and_commit(s);
  put(s, high, "2");
  EXPECT_THAT(scan_of(s, high), ElementsAre(Pair(high, "2"), Pair(high + "a", "1")));
}

TEST_F(KeyedStore, SaysCapacityWhenAnEpochGrowsBeyondItsBound) {
  auto s = store({.cache_bytes_max = 1 << 20, .overlay_bytes_max = 16 << 10});
  const std::string value(100, 'v');
  status done;
  int written = 0;
  for (; done && written < 1000; ++written)
    done = s.put(as_bytes(numbered("key", written)), as_bytes(value));
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, errc::capacity);
  EXPECT_THAT(done.error().message, testing::HasSubstr("close the epoch first"));
  EXPECT_GT(written, 60);
  EXPECT_LE(s.overlay_bytes(), 16u << 10);
  seal_and_commit(s);
  put(s, "key 0", "goes on");
  EXPECT_EQ(value_of(s, "key 0"), "goes on");
}

TEST(EntryArena, KeepsItsBlocksOverClearUpToABound) {
  entry_arena arena;
  const auto fill = [&](int count) {
    for (int i = 0; i < count; ++i) (void)arena.make(as_bytes("key"), 1000);
  };
  fill(100);
  const auto small = arena.bytes_held();
  arena.clear();
  EXPECT_EQ(arena.bytes_held(), small);
  EXPECT_EQ(arena.bytes(), 0u);
  fill(10'000);
  EXPECT_GT(arena.bytes_held(), 10'000'000u);
  arena.clear();
  EXPECT_EQ(arena.bytes_held(), entry_arena::kept_bytes_max);
  (void)arena.make(as_bytes("key"), 2 * entry_arena::kept_bytes_max);
  EXPECT_GT(arena.bytes_held(), 2 * entry_arena::kept_bytes_max);
  arena.clear();
  EXPECT_LE(arena.bytes_held(), entry_arena::kept_bytes_max);
}

TEST(EntryTable, GivesBackWhatALargeEpochNeededOnceASmallOneIsOver) {
  entry_table table;
  entry_arena arena;
  const auto fill = [&](int count) {
    for (int i = 0; i < count; ++i) {
      const auto key = numbered("key", i);
      table.set(static_cast<std::uint64_t>(i) * 0x9E3779B97F4A7C15, arena.make(as_bytes(key), 8));
    }
  };
  fill(20'000);
  const auto large = table.bytes();
  table.clear();
  EXPECT_EQ(table.bytes(), large) << "the next epoch may be as large";
  fill(10);
  table.clear();
  EXPECT_LT(table.bytes(), large / 8);
  fill(10);
  EXPECT_EQ(table.size(), 10u);
}

TEST_F(KeyedStore, NeedsTwoBlocksForAKeyHoweverOftenCallsChangeIt) {
  auto s = store({.cache_bytes_max = 1 << 20, .overlay_bytes_max = 4 << 10});
  for (int call = 0; call < 100'000; ++call) {
    s.mark();
    put(s, "counter", std::to_string(1'000'000 + call));
  }
  EXPECT_EQ(value_of(s, "counter"), "1099999");
}

TEST_F(KeyedStore, KeepsItsTablesOverEpochsOfOneSize) {
  auto s = store();
  std::vector<std::string> keys;
  for (int i = 0; i < 3'000; ++i) keys.push_back(numbered("key", i));
  const auto fill = [&] {
    bool right = true;
    for (const auto& key : keys)
      right = right && s.put(as_bytes(key), as_bytes("12345678")).has_value();
    return right;
  };
  for (int i = 0; i < 4; ++i) {  // until every layer has been the open one
    ASSERT_TRUE(fill());
    std::vector<state_change> changes;
    s.seal(changes);
    s.committed();
  }
  const std::uint64_t before = allocations_of_this_thread();
  EXPECT_TRUE(fill());
  EXPECT_LT(allocations_of_this_thread() - before, 4u);
}

TEST_F(KeyedStore, AllocatesNothingWhereItsCacheHits) {
  auto s = store();
  for (int i = 0; i < 1000; ++i) put(s, numbered("key", i), std::string(50, 'v'));
  seal_and_commit(s);
  const std::string present = numbered("key", 7), absent = numbered("nobody", 7);
  EXPECT_EQ(value_of(s, absent), std::nullopt);
  put(s, present, "warm");
  s.mark();
  put(s, present, "warm too");
  bytes_view value;
  const std::uint64_t before = allocations_of_this_thread();
  bool right = true;
  for (int call = 0; call < 1000; ++call) {
    s.mark();
    right = right && *s.get(as_bytes(present), &value) && !*s.get(as_bytes(absent), &value);
    right = right && s.put(as_bytes(present), as_bytes("hot")).has_value();
    if (call % 10 == 0) s.roll_back();
  }
  EXPECT_EQ(allocations_of_this_thread() - before, 0u);
  EXPECT_TRUE(right);
}

TEST_F(KeyedStore, KeepsItsCacheWithinItsBound) {
  auto s = store({.cache_bytes_max = 64 << 10, .overlay_bytes_max = 1 << 20});
  for (int epoch = 0; epoch < 10; ++epoch) {
    for (int i = 0; i < 1000; ++i) put(s, numbered("key", epoch * 1000 + i), std::string(50, 'v'));
    seal_and_commit(s);
    EXPECT_LE(s.cache_bytes(), 64u << 10);
  }
  for (int i = 0; i < 10'000; i += 97)
    EXPECT_EQ(value_of(s, numbered("key", i)), std::string(50, 'v'));
  for (int i = 0; i < 10'000; ++i) EXPECT_EQ(value_of(s, numbered("absent", i)), std::nullopt);
  EXPECT_LE(s.cache_bytes(), 64u << 10);
}

TEST_F(KeyedStore, ReadsValuesThatAreTooLargeForItsCache) {
  auto s = store({.cache_bytes_max = 1 << 10, .overlay_bytes_max = 1 << 20});
  const std::string large(100'000, 'v');
  put(s, "large", large);
  seal_and_commit(s);
  EXPECT_EQ(value_of(s, "large"), large);
  EXPECT_EQ(value_of(s, std::string(2000, 'k')), std::nullopt);
}

// Everything a store does, at random, against a map with copies for savepoints and epochs.
class StoreModel {
 public:
  explicit StoreModel(unsigned seed) : random_(seed) {}
  std::string key() { return std::string(1, 'k').append(std::to_string(random_() % 40)); }
  std::string value() {
    return std::string(random_() % 60, static_cast<char>('a' + random_() % 26));
  }
  unsigned operator()(unsigned below) { return random_() % below; }

  entries now, at_mark, durable;
  std::vector<std::pair<std::vector<state_change>, entries>> sealed;

 private:
  std::mt19937 random_;
};

TEST_F(KeyedStore, BehavesAsAMapWouldUnderRandomOperations) {
  const char* given = std::getenv("SONDER_TEST_SEEDS");
  const unsigned seeds = given != nullptr ? static_cast<unsigned>(std::atoi(given)) : 20;
  for (unsigned seed = 1; seed <= seeds; ++seed) {
    SCOPED_TRACE(numbered("seed", seed));
    StoreModel model(seed);
    const store_limits limits{.cache_bytes_max =
                                  seed % 3 == 0 ? std::size_t{2000} : std::size_t{1 << 20}};
    const std::string name = std::string("store").append(std::to_string(seed));
    auto s = std::make_unique<keyed_store>(*log_, "app", name, 0, limits);
    for (int step = 0; step < 3000; ++step) {
      const unsigned what = model(100);
      if (what < 35) {
        const auto key = model.key(), value = model.value();
        put(*s, key, value);
        model.now[key] = value;
      } else if (what < 45) {
        const auto key = model.key();
        erase(*s, key);
        model.now.erase(key);
      } else if (what < 75) {
        const auto key = model.key();
        const auto expected = model.now.find(key);
        ASSERT_EQ(value_of(*s, key),
                  expected != model.now.end() ? std::optional(expected->second) : std::nullopt)
            << step;
      } else if (what < 83) {
        s->mark();
        model.at_mark = model.now;
      } else if (what < 88) {
        s->roll_back();
        model.now = model.at_mark;
      } else if (what < 92) {
        const auto prefix = model(2) == 0 ? std::string("k1") : std::string("k");
        std::vector<std::pair<std::string, std::string>> expected;
        for (const auto& e : model.now) {
          if (e.first.starts_with(prefix)) expected.push_back(e);
        }
        ASSERT_EQ(scan_of(*s, prefix), expected) << step;
      } else if (what < 95 && model.sealed.size() < 2) {
        auto& [changes, after] = model.sealed.emplace_back();
        s->seal(changes);
        after = model.at_mark = model.now;
      } else if (what < 98 && !model.sealed.empty()) {
        commit(model.sealed.front().first);
        s->committed();
        model.durable = model.sealed.front().second;
        model.sealed.erase(model.sealed.begin());
      } else if (what == 99) {
        s.reset();
        if (model(12) == 0) open_log();
        s = std::make_unique<keyed_store>(*log_, "app", name, 0, limits);
        model.sealed.clear();
        model.now = model.at_mark = model.durable;
      }
    }
  }
}

TEST_F(KeyedStore, OutsideOfTheDatabaseNeverAsksIt) {
  auto kept = store();
  ASSERT_TRUE(kept.put(as_bytes("ana"), as_bytes("of the database")));
  seal_and_commit(kept);
  auto s = store({.cache_bytes_max = 0,
                  .in_database = false});  // of the same name, where the log would find something
  bytes_view value;
  const auto absent = s.get(as_bytes("ana"), &value);
  ASSERT_TRUE(absent) << absent.error().message;
  EXPECT_FALSE(*absent);
  ASSERT_TRUE(s.put(as_bytes("bo"), as_bytes("here")));
  const auto there = s.get(as_bytes("bo"), &value);
  ASSERT_TRUE(there && *there);
  EXPECT_EQ(as_text(value), "here");
  std::vector<std::string> keys;
  const auto visit = [](void* to, bytes_view key, bytes_view) {
    static_cast<std::vector<std::string>*>(to)->emplace_back(as_text(key));
    return true;
  };
  ASSERT_TRUE(s.scan({}, visit, &keys));
  EXPECT_THAT(keys, ElementsAre("bo"));
}

}  // namespace
}  // namespace sonder
