#include "flow/contribution.h"

#include <gtest/gtest.h>

namespace sonder {
namespace {

constexpr std::size_t spared = 100;

TEST(RecentUse, KeepsWhatIsNeededNowAndThen) {
  recent_use of;
  for (int round = 0; round < 100; ++round) {
    EXPECT_FALSE(of.outgrew(1'000'000, spared));
    for (int i = 0; i < 3; ++i) EXPECT_FALSE(of.outgrew(10, spared));
  }
}

TEST(RecentUse, GivesBackWhatABurstTookOnceItIsOver) {
  recent_use of;
  EXPECT_FALSE(of.outgrew(1'000'000, spared));
  int times = 0;
  while (!of.outgrew(1000, spared)) ASSERT_LT(++times, 20);
  for (int round = 0; round < 100; ++round) EXPECT_FALSE(of.outgrew(1000, spared)) << "it was given back once";
  EXPECT_FALSE(of.outgrew(1'000'000, spared));
}

TEST(RecentUse, SparesWhatIsLittle) {
  recent_use of;
  EXPECT_FALSE(of.outgrew(spared, spared));
  for (int round = 0; round < 100; ++round) EXPECT_FALSE(of.outgrew(0, spared));
}

}  // namespace
}  // namespace sonder
