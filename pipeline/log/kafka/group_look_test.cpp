#include "log/kafka/group_look.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sonder::kafka {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Optional;

using bytes = std::vector<std::uint8_t>;

// Version 0; "journal" with partitions 7 and 2, "consent" with 3; no user data.
const bytes two_topics = {0, 0, 0,   0,   0,   2,   0,   7,   'j', 'o', 'u', 'r', 'n', 'a', 'l', 0, 0, 0, 2, 0, 0, 0, 7, 0,   0,  0,
                          2, 0, 7,   'c', 'o', 'n', 's', 'e', 'n', 't', 0,   0,   0,   1,   0,   0, 0, 3, 255, 255, 255, 255};

TEST(TasksInAssignment, AreThePartitionsOfTheTopic) {
  EXPECT_THAT(tasks_in_assignment(two_topics, "journal"), Optional(ElementsAre(2, 7)));
  EXPECT_THAT(tasks_in_assignment(two_topics, "consent"), Optional(ElementsAre(3)));
  EXPECT_THAT(tasks_in_assignment(two_topics, "other"), Optional(IsEmpty()));
}

TEST(TasksInAssignment, OfAMemberWithoutAnyAreNone) {
  EXPECT_THAT(tasks_in_assignment({}, "journal"), Optional(IsEmpty()));
}

TEST(TasksInAssignment, AreNotReadOutOfBytesThatEndTooEarly) {
  constexpr std::size_t user_data = 4;
  for (std::size_t size = 1; size < two_topics.size() - user_data; ++size)
    EXPECT_EQ(tasks_in_assignment(bytes_view(two_topics).first(size), "journal"), std::nullopt) << size;
}

TEST(TasksInAssignment, AreNotReadPastCountsThatLie) {
  EXPECT_EQ(tasks_in_assignment(bytes{0, 0, 255, 255, 255, 255, 0, 1, 'a', 255, 255, 255, 255}, "a"), std::nullopt);
}

TEST(GroupLook, SaysThatNobodyAnswersAndMayBeAskedAgain) {
  kafka_options options;
  options.bootstrap = "127.0.0.1:1";
  auto asked = client::make(options, {.role = client_role::query});
  ASSERT_TRUE(asked) << asked.error().message;
  group_look look(**asked, "group", "journal");
  for (int i = 0; i < 2; ++i) {
    look.ask();
    std::optional<result<std::vector<member_view>>> told;
    const auto until = std::chrono::steady_clock::now() + 20s;
    while (!told && std::chrono::steady_clock::now() < until) {
      EXPECT_TRUE(look.asking());
      told = look.answer();
      std::this_thread::sleep_for(10ms);
    }
    ASSERT_TRUE(told);
    ASSERT_FALSE(*told);
    EXPECT_EQ(told->error().code, errc::unavailable) << told->error().message;
    EXPECT_FALSE(look.asking());
  }
}

TEST(GroupLook, TellsNothingOfAQuestionThatIsForgotten) {
  kafka_options options;
  options.bootstrap = "127.0.0.1:1";
  auto asked = client::make(options, {.role = client_role::query});
  ASSERT_TRUE(asked) << asked.error().message;
  group_look look(**asked, "group", "journal");
  look.ask();
  look.forget();
  EXPECT_FALSE(look.asking());
  std::this_thread::sleep_for(group_look::answer_max + 200ms);
  EXPECT_FALSE(look.answer());
}

}  // namespace
}  // namespace sonder::kafka
