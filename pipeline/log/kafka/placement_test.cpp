#include "log/kafka/placement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>

namespace sonder::kafka {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Optional;

// Members "0", "1", ... with what `range` gives them.
std::vector<member_view> group_of(std::int32_t members, std::int32_t tasks) {
  std::vector<member_view> all;
  for (std::int32_t i = 0; i < members; ++i) {
    member_view made{std::to_string(i), {}};
    for (auto task = range_begin(tasks, members, i); task < range_begin(tasks, members, i + 1); ++task) made.tasks.push_back(task);
    all.push_back(std::move(made));
  }
  return all;
}

// What `range` gives member `which` once the members of the bit set `left` have gone.
std::vector<std::int32_t> tasks_after(std::int32_t members, std::int32_t tasks, std::uint32_t left, std::int32_t which) {
  const auto stay = members - std::popcount(left);
  const auto position = which - std::popcount(left & ((1U << which) - 1));
  std::vector<std::int32_t> all;
  for (auto task = range_begin(tasks, stay, position); task < range_begin(tasks, stay, position + 1); ++task) all.push_back(task);
  return all;
}

TEST(Placement, GivesTheFirstBlocksOneTaskMore) {
  EXPECT_THAT(group_of(3, 8)[0].tasks, ElementsAre(0, 1, 2));
  EXPECT_THAT(group_of(3, 8)[1].tasks, ElementsAre(3, 4, 5));
  EXPECT_THAT(group_of(3, 8)[2].tasks, ElementsAre(6, 7));
}

TEST(Placement, OfTwoMembersKeepsTheOthersTasks) {
  EXPECT_THAT(standby_tasks(group_of(2, 4), "0", 4, 1), Optional(ElementsAre(2, 3)));
  EXPECT_THAT(standby_tasks(group_of(2, 4), "1", 4, 1), Optional(ElementsAre(0, 1)));
}

TEST(Placement, KeepsNothingAloneOrWhereNoneAreWanted) {
  EXPECT_THAT(standby_tasks(group_of(1, 4), "0", 4, 3), Optional(IsEmpty()));
  EXPECT_THAT(standby_tasks(group_of(3, 4), "0", 4, 0), Optional(IsEmpty()));
}

// Every group of up to seven members, every number of tasks up to 20, every set of members that may leave.
TEST(Placement, HasACopyWhereverRangeMovesATaskAndNoMoreOfThemThanWanted) {
  for (std::int32_t members = 1; members <= 7; ++members) {
    for (std::int32_t tasks = 1; tasks <= 20; ++tasks) {
      for (std::int32_t replicas = 0; replicas <= 3; ++replicas) {
        SCOPED_TRACE(std::to_string(members) + " members, " + std::to_string(tasks) + " tasks, " + std::to_string(replicas) + " replicas");
        const auto group = group_of(members, tasks);
        std::vector<int> copies(static_cast<std::size_t>(tasks), 0);
        for (std::int32_t which = 0; which < members; ++which) {
          const auto kept = standby_tasks(group, std::to_string(which), tasks, replicas);
          ASSERT_TRUE(kept);
          for (const auto task : *kept) ++copies[static_cast<std::size_t>(task)];
          const auto& own = group[static_cast<std::size_t>(which)].tasks;
          for (std::uint32_t left = 1; left < 1U << members; ++left) {
            if ((left >> which & 1) != 0 || std::popcount(left) > replicas) continue;
            for (const auto task : tasks_after(members, tasks, left, which)) {
              ASSERT_TRUE(std::find(own.begin(), own.end(), task) != own.end() ||
                          std::find(kept->begin(), kept->end(), task) != kept->end())
                  << "member " << which << " has no copy of task " << task << " when " << left << " have left";
            }
          }
        }
        for (const auto count : copies) ASSERT_EQ(count, std::min(replicas, members - 1));
      }
    }
  }
}

TEST(Placement, TakesTheOrderOfMembersFromTheirTasks) {
  auto group = group_of(3, 6);
  group[0].id = "zoe";
  group[1].id = "ana";
  group[2].id = "ben";
  std::swap(group[0], group[2]);
  EXPECT_THAT(standby_tasks(group, "zoe", 6, 1), Optional(ElementsAre(2)));
  EXPECT_THAT(standby_tasks(group, "ben", 6, 1), Optional(ElementsAre(3)));
}

TEST(Placement, KnowsNothingOfAGroupThatSharesOtherwiseOrIsWithoutIt) {
  auto scattered = group_of(2, 4);
  std::swap(scattered[0].tasks[0], scattered[1].tasks[0]);
  EXPECT_EQ(standby_tasks(scattered, "0", 4, 1), std::nullopt);
  EXPECT_EQ(standby_tasks(group_of(2, 4), "other", 4, 1), std::nullopt);
  auto half = group_of(2, 4);
  half[1].tasks.clear();
  EXPECT_EQ(standby_tasks(half, "0", 4, 1), std::nullopt);
}

}  // namespace
}  // namespace sonder::kafka
