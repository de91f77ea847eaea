#include "log/internal_names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <utility>

namespace sonder {
namespace {

using testing::IsEmpty;

/// Letters are few, so that what differs only in where a "-" belongs comes often.
std::string any_name(std::mt19937& random) {
  std::string name;
  for (auto left = 1 + random() % 4; left > 0; --left) name += "ab-_"[random() % 4];
  return name;
}

TEST(InternalNames, OfNoTwoGroupsAreOne) {
  constexpr unsigned seed = 4;
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  std::map<std::string, std::pair<std::string, std::string>> rekeyed, logged;
  for (int i = 0; i < 50'000; ++i) {
    const std::pair forwarded(any_name(random), any_name(random));
    EXPECT_EQ(rekeyed.try_emplace(rekey_topic(forwarded.first, forwarded.second), forwarded).first->second, forwarded);
    const std::pair kept(any_name(random), any_name(random) + "." + (random() % 2 == 0 ? "~parked" : "counts"));
    EXPECT_EQ(logged.try_emplace(changelog_topic(kept.first, kept.second), kept).first->second, kept);
  }
  EXPECT_NE(rekey_topic("a", "b-c"), rekey_topic("a-b", "c"));
}

TEST(InternalNames, TellTheStoreOfAGroupsOwnChangelogsAlone) {
  for (const std::string store : {"tally.counts", "the-tally.counts", "hoard-2.~parked", "-.~timers"}) {
    EXPECT_EQ(store_of_changelog("my-flow", changelog_topic("my-flow", store)), store);
    EXPECT_THAT(store_of_changelog("my", changelog_topic("my-flow", store)), IsEmpty());
    EXPECT_THAT(store_of_changelog("my-flow-2", changelog_topic("my-flow", store)), IsEmpty());
  }
  for (const auto* topic : {"my-flow", "my-flow.", "my-flow.-changelog", "my-flow.counts-changelog", "my-flow.tally.counts", "-changelog", ""})
    EXPECT_THAT(store_of_changelog("my-flow", topic), IsEmpty()) << topic;
}

}  // namespace
}  // namespace sonder
