#include "consent_state.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <random>
#include <vector>

namespace sonder::consent {
namespace {

constexpr std::int64_t never = decision::never;

decision grant(std::int64_t at, std::int64_t logged, std::int64_t expires = never) {
  return {decision_kind::granted, at, logged, expires};
}
decision withdrawal(std::int64_t at, std::int64_t logged) {
  return {decision_kind::withdrawn, at, logged};
}

consent_state state_of(const std::vector<decision>& decisions) {
  consent_state state;
  for (const auto& each : decisions) state.apply(each);
  return state;
}

TEST(ConsentState, AnswersUnknownWithoutAnyDecision) {
  EXPECT_EQ(consent_state().decide(5), outcome::unknown);
}

TEST(ConsentState, PassesOnlyEventsAfterTheGrant) {
  const auto state = state_of({grant(10, 10)});
  EXPECT_EQ(state.decide(9), outcome::before_grant);
  EXPECT_EQ(state.decide(10), outcome::before_grant);
  EXPECT_EQ(state.decide(11), outcome::passes);
}

TEST(ConsentState, CountsAGrantFromTheLaterOfItsTimes) {
  EXPECT_EQ(state_of({grant(10, 20)}).decide(15), outcome::before_grant);
  EXPECT_EQ(state_of({grant(20, 10)}).decide(15), outcome::before_grant);
}

TEST(ConsentState, RefusesWhateverTheTimeOfTheEventOnceWithdrawn) {
  const auto state = state_of({grant(10, 10), withdrawal(20, 20)});
  EXPECT_EQ(state.decide(15), outcome::withdrawn);
  EXPECT_EQ(state.decide(25), outcome::withdrawn);
}

TEST(ConsentState, DoesNotPassAnEventFromBeforeAWithdrawalThatANewGrantFollowed) {
  const auto state = state_of({grant(10, 10), withdrawal(20, 20), grant(30, 30)});
  EXPECT_EQ(state.decide(15), outcome::before_grant);
  EXPECT_EQ(state.decide(31), outcome::passes);
}

TEST(ConsentState, ARepeatedGrantKeepsTheRunUnbroken) {
  EXPECT_EQ(state_of({grant(10, 10), grant(20, 20)}).decide(15), outcome::passes);
}

TEST(ConsentState, AGrantLoggedAgainAfterAWithdrawalRevivesNothing) {
  EXPECT_EQ(state_of({grant(10, 10), withdrawal(20, 20), grant(10, 30)}).decide(40),
            outcome::withdrawn);
}

TEST(ConsentState, ACopyOfAGrantFromAFastClockRevivesNothing) {
  EXPECT_EQ(state_of({grant(21, 10), withdrawal(20, 20), grant(21, 30)}).decide(40),
            outcome::withdrawn);
}

TEST(ConsentState, AWithdrawalFromASlowClockStillWithdraws) {
  EXPECT_EQ(state_of({grant(10, 10), withdrawal(5, 12)}).decide(20), outcome::withdrawn);
}

TEST(ConsentState, AWithdrawalFromAFastClockDoesNotBlockANewGrantForEver) {
  EXPECT_EQ(state_of({grant(10, 10), withdrawal(1'000'000, 12), grant(20, 20)}).decide(30),
            outcome::passes);
}

TEST(ConsentState, NamesTheKindOfTheLatestRefusal) {
  EXPECT_EQ(state_of({{decision_kind::denied, 10, 10}}).decide(20), outcome::denied);
  EXPECT_EQ(
      state_of({{decision_kind::denied, 10, 10}, {decision_kind::expired, 15, 15}}).decide(20),
      outcome::expired);
}

TEST(ConsentState, AGrantEndsWhenItExpires) {
  const auto state = state_of({grant(10, 10, 20)});
  EXPECT_EQ(state.decide(19), outcome::passes);
  EXPECT_EQ(state.decide(20), outcome::expired);
}

TEST(ConsentState, AGapBetweenTwoGrantsBreaksTheRun) {
  const auto state = state_of({grant(10, 10, 20), grant(25, 25)});
  EXPECT_EQ(state.decide(15), outcome::before_grant);
  EXPECT_EQ(state.decide(26), outcome::passes);
}

TEST(ConsentState, ANewerGrantWithAnEndReplacesOneWithout) {
  const auto state = state_of({grant(10, 10), grant(20, 20, 30)});
  EXPECT_EQ(state.decide(25), outcome::passes);
  EXPECT_EQ(state.decide(30), outcome::expired);
}

TEST(ConsentState, ANewerGrantWithoutAnEndReplacesOneWithAnEnd) {
  EXPECT_EQ(state_of({grant(10, 10, 30), grant(20, 20)}).decide(40), outcome::passes);
}

TEST(ConsentState, StaysBoundedAndKeepsTheRunOverManyRenewals) {
  consent_state state;
  for (std::int64_t at = 0; at < 1000; ++at) state.apply(grant(at * 10, at * 10, at * 10 + 100));
  std::vector<std::uint8_t> stored(consent_state::bytes_max);
  EXPECT_LE(state.store(stored), consent_state::bytes_max);
  EXPECT_EQ(state.decide(9995), outcome::passes);
  EXPECT_EQ(state.decide(10095), outcome::expired);
}

TEST(ConsentState, LoadsWhatItStored) {
  for (const auto& state : {state_of({}), state_of({grant(10, 11, 50), grant(12, 12)}),
                            state_of({grant(10, 10), withdrawal(20, 22), grant(30, 31)}),
                            state_of({{decision_kind::denied, -5, 3}})}) {
    std::vector<std::uint8_t> stored(consent_state::bytes_max);
    stored.resize(state.store(stored));
    const auto loaded = consent_state::load(stored);
    ASSERT_TRUE(loaded.has_value());
    EXPECT_EQ(*loaded, state);
  }
}

TEST(ConsentState, RefusesStoredBytesThatAreNotItsOwn) {
  std::vector<std::uint8_t> stored(consent_state::bytes_max);
  stored.resize(state_of({grant(10, 10), withdrawal(5, 5)}).store(stored));
  auto newer = stored;
  newer[0] = consent_state::version + 1;
  EXPECT_FALSE(consent_state::load(newer).has_value());
  for (std::size_t size = 0; size < stored.size(); ++size) {
    EXPECT_FALSE(consent_state::load(std::span(stored).first(size)).has_value()) << size;
  }
  stored.push_back(0);
  EXPECT_FALSE(consent_state::load(stored).has_value());
}

// ---- The rule against an oracle that keeps every decision and follows the definition word by word
// -----------------------

bool oracle_passes(const std::vector<decision>& all, std::int64_t event) {
  std::vector<decision> refusals;
  std::vector<decision> grants;
  for (const auto& each : all)
    (each.kind == decision_kind::granted ? grants : refusals).push_back(each);
  // A grant logged more than once was logged first.
  for (auto& each : grants) {
    for (const auto& copy : grants) {
      if (copy.at_ms == each.at_ms && copy.expires_at_ms == each.expires_at_ms)
        each.logged_ms = std::min(each.logged_ms, copy.logged_ms);
    }
  }
  const auto outlives = [&](const decision& given) {
    for (const auto& refusal : refusals) {
      if (given.at_ms <= std::min(refusal.at_ms, refusal.logged_ms) ||
          given.logged_ms <= refusal.logged_ms)
        return false;
      for (const auto& other : grants) {
        if (other.logged_ms <= refusal.logged_ms && given.at_ms <= other.at_ms) return false;
      }
    }
    return true;
  };
  std::vector<decision> alive;
  for (const auto& each : grants) {
    if (outlives(each)) alive.push_back(each);
  }
  if (alive.empty()) return false;
  const auto from = [](const decision& d) { return std::max(d.at_ms, d.logged_ms); };
  // Each moment from the event to the newest grant must be covered, the event's own too.
  std::int64_t newest = from(alive[0]);
  for (const auto& each : alive) newest = std::max(newest, from(each));
  const auto covered = [&](std::int64_t moment) {
    return std::any_of(alive.begin(), alive.end(), [&](const decision& d) {
      return from(d) < moment && (moment <= d.expires_at_ms);
    });
  };
  for (std::int64_t moment = event; moment <= newest; ++moment) {
    if (!covered(moment)) return false;
  }
  for (const auto& each : alive) {
    const bool over = std::any_of(alive.begin(), alive.end(), [&](const decision& d) {
      return std::min(d.at_ms, d.logged_ms) > from(each);
    });
    if (!over && event >= each.expires_at_ms) return false;
  }
  return true;
}

class ConsentProperty : public testing::Test {
 protected:
  ConsentProperty() {
    if (const char* given = std::getenv("SONDER_SEED"))
      seed_ = static_cast<std::uint32_t>(std::strtoul(given, nullptr, 10));
    if (const char* given = std::getenv("SONDER_CASES")) cases_ = std::atoi(given);
    random_.seed(seed_);
    RecordProperty("seed", std::to_string(seed_));
  }
  std::int64_t pick(std::int64_t low, std::int64_t high) {
    return std::uniform_int_distribution<std::int64_t>(low, high)(random_);
  }

  std::vector<decision> history(std::int64_t size) {
    std::vector<decision> all;
    for (std::int64_t i = 0; i < size; ++i) {
      if (!all.empty() && pick(0, 5) == 0) {  // a copy, logged later
        all.push_back(
            all[static_cast<std::size_t>(pick(0, static_cast<std::int64_t>(all.size()) - 1))]);
        all.back().logged_ms += pick(0, 15);
        continue;
      }
      const std::int64_t at = pick(0, 40);
      const std::int64_t skew = pick(0, 2) == 0 ? pick(-12, 12) : 0;
      const bool grants = pick(0, 2) != 0;
      all.push_back({grants ? decision_kind::granted : static_cast<decision_kind>(pick(1, 3)), at,
                     at + skew, grants && pick(0, 2) == 0 ? at + pick(-2, 25) : never});
    }
    return all;
  }

  std::uint32_t seed_ = 20261121;
  int cases_ = 20000;
  std::mt19937 random_;
};

TEST_F(ConsentProperty, DecidesAsTheOracleInWhateverOrderDecisionsCome) {
  for (int i = 0; i < cases_; ++i) {
    auto all = history(pick(0, consent_state::grants_max));
    const auto first = state_of(all);
    for (std::int64_t event = -15; event <= 70; ++event) {
      ASSERT_EQ(first.decide(event) == outcome::passes, oracle_passes(all, event))
          << "seed " << seed_ << " case " << i << " event " << event;
    }
    for (int order = 0; order < 3; ++order) {
      std::shuffle(all.begin(), all.end(), random_);
      all.push_back(all.empty() ? decision{} : all.front());  // and one of them twice
      if (all.size() == 1) break;
      const auto again = state_of(all);
      all.pop_back();
      for (std::int64_t event = -15; event <= 70; ++event) {
        ASSERT_EQ(first.decide(event), again.decide(event))
            << "seed " << seed_ << " case " << i << " event " << event;
      }
    }
  }
}

TEST_F(ConsentProperty, NeverPassesMoreThanTheOracleHoweverManyGrantsThereAre) {
  for (int i = 0; i < cases_ / 10; ++i) {
    const auto all = history(pick(consent_state::grants_max, 60));
    const auto state = state_of(all);
    for (std::int64_t event = -15; event <= 70; ++event) {
      if (state.decide(event) == outcome::passes) {
        ASSERT_TRUE(oracle_passes(all, event))
            << "seed " << seed_ << " case " << i << " event " << event;
      }
    }
  }
}

// A copy of a refusal may refuse a grant together with the end that this grant had set; grants
// without ends show that it refuses and never allows.
TEST_F(ConsentProperty, ACopyOfADecisionNeverWidens) {
  for (int i = 0; i < cases_; ++i) {
    auto all = history(pick(1, consent_state::grants_max));
    decision copy =
        all[static_cast<std::size_t>(pick(0, static_cast<std::int64_t>(all.size()) - 1))];
    if (copy.kind != decision_kind::granted) {
      for (auto& each : all) each.expires_at_ms = never;
    }
    const auto before = state_of(all);
    copy.logged_ms += pick(0, 30);
    auto after = before;
    after.apply(copy);
    for (std::int64_t event = -15; event <= 70; ++event) {
      if (after.decide(event) == outcome::passes) {
        ASSERT_EQ(before.decide(event), outcome::passes)
            << "seed " << seed_ << " case " << i << " event " << event;
      }
    }
  }
}

// ---- Keys
// ----------------------------------------------------------------------------------------------------------------

TEST(StoreKey, DividesSubjectAndPurposeWithoutAmbiguity) {
  std::vector<std::uint8_t> a;
  std::vector<std::uint8_t> b;
  store_key("ab", "c", a);
  store_key("a", "bc", b);
  EXPECT_NE(a, b);
}

}  // namespace
}  // namespace sonder::consent
