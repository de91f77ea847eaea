#include "log/kafka/group_change.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sonder::kafka {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using reason = log_figures::rebalance_reason;

const member_view ana{"a-1", {0, 1}, "sonder-a"};
const member_view ben{"b-1", {2, 3}, "sonder-b"};
const member_view ben_again{"b-2", {2, 3}, "sonder-b"};
const member_view cleo{"c-1", {4}, "sonder"};
const member_view console{"console-1", {5}, "console-consumer"};

group_change change(const std::vector<member_view>& before, const std::vector<member_view>& after) {
  return change_between(before, after, "a-1");
}

TEST(GroupChange, IsAWorkerThatJoined) {
  const auto seen = change({ana}, {ana, ben});
  EXPECT_EQ(seen.reason, reason::joined);
  EXPECT_EQ(seen.text, "\"sonder-b\" joined");
}

TEST(GroupChange, IsAWorkerThatLeftThoughAnotherJoinedToo) {
  const auto seen = change({ana, ben}, {ana, cleo});
  EXPECT_EQ(seen.reason, reason::left);
  EXPECT_EQ(seen.text, "\"sonder-b\" left; \"sonder\" joined");
}

TEST(GroupChange, IsAWorkerThatWasStartedAgain) {
  const auto seen = change({ana, ben}, {ana, ben_again});
  EXPECT_EQ(seen.reason, reason::restarted);
  EXPECT_EQ(seen.text, "\"sonder-b\" came again");
}

TEST(GroupChange, IsThisWorkerThatCameBack) {
  EXPECT_EQ(change_between(std::vector{ana, ben}, std::vector{ben, member_view{"a-2", {0}, "sonder-a"}}, "a-2").reason, reason::rejoined);
}

TEST(GroupChange, IsAStrangerThatCameOrWent) {
  EXPECT_EQ(change({ana, ben}, {ana, console}).reason, reason::stranger);
  EXPECT_EQ(change({ana, console}, {ana}).reason, reason::stranger);
}

TEST(GroupChange, IsNoneOfItsMembersWhereTheyAreTheSame) {
  EXPECT_EQ(change({ana, ben}, {ben, ana}).reason, reason::same_members);
}

TEST(GroupChange, IsNotKnownWithoutAViewBefore) {
  EXPECT_EQ(change({}, {ana, ben}).reason, reason::unknown);
}

TEST(GroupChange, NamesAFewOfMany) {
  std::vector<member_view> many{ana};
  for (int i = 0; i < 9; ++i) many.push_back({"m-" + std::to_string(i), {}, "sonder-" + std::to_string(i)});
  EXPECT_THAT(change({ana}, many).text, AllOf(HasSubstr("\"sonder-4\" and 4 more joined"), ::testing::Not(HasSubstr("sonder-5"))));
}

TEST(Strangers, AreThoseWhoseClientIsNoWorker) {
  EXPECT_THAT(strangers_of(std::vector{ana, ben, cleo}), IsEmpty());
  EXPECT_THAT(strangers_of(std::vector{ana, console, member_view{"s-1", {}, "sonderling"}, member_view{"e-1", {}, ""}}), SizeIs(3));
}

}  // namespace
}  // namespace sonder::kafka
