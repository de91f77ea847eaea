#include "flow/start_wait.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <vector>

namespace sonder {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class StartWait : public testing::Test {
 protected:
  StartWait() {
    options.stop = &asked;
    options.readiness = [this](bool ready, const std::string& why) {
      EXPECT_FALSE(ready);
      told.push_back(why);
    };
  }
  /// Says that it is not there `times` times, and then `then`.
  [[nodiscard]] std::function<status()> away(int times, status then = {}) {
    return [this, times, then]() -> status { return ++attempts > times ? then : fail(errc::unavailable, "no answer"); };
  }

  std::atomic<int> asked{0};
  worker_options options;
  std::vector<std::string> told;
  int attempts = 0;
};

TEST_F(StartWait, TriesAgainAndSaysWhatItWaitsFor) {
  start_wait waits(options, -1);
  EXPECT_TRUE(waits.until_there("the registry", away(2)));
  EXPECT_EQ(attempts, 3);
  EXPECT_THAT(told, ElementsAre("starts: waits for the registry", "starts: waits for the registry: no answer",
                                "starts: waits for the registry: no answer"));
}

TEST_F(StartWait, EndsWithWhatCannotBeWaitedFor) {
  start_wait waits(options, -1);
  const auto refused = waits.until_there("the registry", away(1, fail(errc::invalid, "refuses the credentials")));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, errc::invalid);
  EXPECT_EQ(attempts, 2);
}

TEST_F(StartWait, LastsAsLongAsItsPatience) {
  start_wait waits(options, 400);
  const auto over = waits.until_there("the registry", away(1'000));
  ASSERT_FALSE(over);
  EXPECT_EQ(over.error().code, errc::unavailable);
  EXPECT_THAT(over.error().message, HasSubstr("no answer"));
  EXPECT_THAT(attempts, testing::AllOf(testing::Ge(2), testing::Le(3)));
}

TEST_F(StartWait, IsNoneOfARunThatEndsByItself) {
  options.until_idle = true;
  start_wait waits(options, -1);
  EXPECT_FALSE(waits.until_there("the registry", away(1)));
  EXPECT_EQ(attempts, 1);
  start_wait patient(options, 60'000);
  EXPECT_TRUE(patient.until_there("the registry", away(2)));
}

TEST_F(StartWait, EndsWhereItIsAskedTo) {
  start_wait waits(options, -1);
  const auto left = waits.until_there("the registry", [&]() -> status {
    asked = 1;
    return fail(errc::unavailable, "no answer");
  });
  ASSERT_FALSE(left);
  EXPECT_EQ(left.error().code, errc::cancelled);
}

}  // namespace
}  // namespace sonder
