#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>

#include "log/kafka/group_fixture.h"

extern char** environ;

namespace sonder::kafka {
namespace {

using namespace testing;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using test::name_of_its_own;

class GroupMember : public ::testing::Test {
 protected:
  void SetUp() override {
    SONDER_NEEDS_BROKER();
    kafka = std::make_unique<cluster>();
    topic = name_of_its_own("events");
    group = name_of_its_own("group");
    kafka->create_topic(topic, 8);
  }

  watched_member join(const kafka_options& o) { return join(o, {group, {topic}, {}, 8}); }
  watched_member join(const kafka_options& o, const group_request& request) {
    watched_member made;
    auto joined = join_group(o, request, {}, nullptr);
    EXPECT_TRUE(joined) << joined.error().message;
    if (joined) made.held = std::move(*joined);
    return made;
  }

  // A process of its own that joins and answers what it is told.
  pid_t start_worker() {
    const std::string program = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "group_worker";
    std::vector<std::string> words = {program, options.bootstrap, group, topic, "8"};
    std::vector<char*> argv;
    for (auto& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    pid_t child = -1;
    EXPECT_EQ(posix_spawn(&child, program.c_str(), nullptr, nullptr, argv.data(), environ), 0);
    return child;
  }

  /// A consumer as any program has one, with the assignor that workers have; served until it goes.
  class plain_consumer {
   public:
    plain_consumer(const std::string& bootstrap, const std::string& group, const std::string& topic) {
      auto* conf = rd_kafka_conf_new();
      for (const auto& [name, value] : {std::pair<std::string, std::string>{"bootstrap.servers", bootstrap},
                                        {"group.id", group},
                                        {"client.id", "console-consumer"},
                                        {"partition.assignment.strategy", "range"}})
        EXPECT_EQ(rd_kafka_conf_set(conf, name.c_str(), value.c_str(), nullptr, 0), RD_KAFKA_CONF_OK);
      under_.reset(rd_kafka_new(RD_KAFKA_CONSUMER, conf, nullptr, 0));
      auto* topics = rd_kafka_topic_partition_list_new(1);
      rd_kafka_topic_partition_list_add(topics, topic.c_str(), RD_KAFKA_PARTITION_UA);
      rd_kafka_subscribe(under_.get(), topics);
      rd_kafka_topic_partition_list_destroy(topics);
    }
    ~plain_consumer() { rd_kafka_consumer_close(under_.get()); }
    plain_consumer(const plain_consumer&) = delete;
    plain_consumer& operator=(const plain_consumer&) = delete;

    [[nodiscard]] int tasks() {
      if (auto* message = rd_kafka_consumer_poll(under_.get(), 20)) rd_kafka_message_destroy(message);
      rd_kafka_topic_partition_list_t* held = nullptr;
      rd_kafka_assignment(under_.get(), &held);
      const int count = held->cnt;
      rd_kafka_topic_partition_list_destroy(held);
      return count;
    }

   private:
    std::unique_ptr<rd_kafka_t, decltype(&rd_kafka_destroy)> under_{nullptr, rd_kafka_destroy};
  };

  using reason = log_figures::rebalance_reason;
  static std::uint64_t count(const watched_member& of, reason why) { return of.held->seen().reasons[static_cast<std::size_t>(why)]; }

  std::unique_ptr<cluster> kafka;
  kafka_options options = cluster::options();
  std::string topic, group;
};

TEST_F(GroupMember, HasAllTasksWhenAlone) {
  auto only = join(options);
  EXPECT_EQ(only.held->waits_for(), "the group's assignment");
  EXPECT_EQ(only.held->metadata(), nullptr);
  ASSERT_TRUE(eventually(20s, [&] { return only.poll(), !only.tasks.empty(); }));
  EXPECT_EQ(only.tasks, all_tasks(8));
  EXPECT_NE(only.held->metadata(), nullptr);
  EXPECT_TRUE(eventually(10s, [&] { return only.all_ready(); }));
  EXPECT_EQ(only.held->waits_for(), "");
}

// As a reset does that finds it is not alone any more.
TEST_F(GroupMember, LeavesThoughItHasNotAnsweredARevocation) {
  auto first = join(options);
  ASSERT_TRUE(eventually(20s, [&] { return first.poll(), first.tasks.size() == 8; }));
  auto second = join(options);
  ASSERT_TRUE(eventually(20s, [&] {
    const auto event = first.held->poll();
    return event && event->what == group_event::kind::revoked;
  }));
  const auto began = std::chrono::steady_clock::now();
  first.held.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - began, 8s);
  EXPECT_TRUE(eventually(20s, [&] { return second.poll(), second.tasks.size() == 8; }));
}

TEST_F(GroupMember, SharesTasksWithASecondAndGetsThemBackWhenItLeaves) {
  auto first = join(options);
  ASSERT_TRUE(eventually(20s, [&] { return first.poll(), first.tasks.size() == 8; }));
  auto second = join(options);
  ASSERT_TRUE(eventually(20s, [&] { return first.poll(), second.poll(), first.tasks.size() == 4 && second.tasks.size() == 4; }));
  std::vector<std::int32_t> together = first.tasks;
  together.insert(together.end(), second.tasks.begin(), second.tasks.end());
  std::sort(together.begin(), together.end());
  EXPECT_EQ(together, all_tasks(8));

  const auto leaving = steady::now();
  second.held.reset();
  ASSERT_TRUE(eventually(20s, [&] { return first.poll(), first.tasks.size() == 8; }));
  EXPECT_LT(steady::now() - leaving, options.session_timeout) << "it left without a word";
  EXPECT_EQ(first.events.size(), 5u) << "assigned, revoked, assigned, revoked, assigned";
}

TEST_F(GroupMember, TakesOverFromAKilledOneWithinItsSession) {
  auto first = join(options);
  ASSERT_TRUE(eventually(20s, [&] { return first.poll(), first.tasks.size() == 8; }));
  const pid_t other = start_worker();
  ASSERT_GT(other, 0);
  ASSERT_TRUE(eventually(20s, [&] { return first.poll(), first.tasks.size() == 4; }));
  ::kill(other, SIGKILL);
  ::waitpid(other, nullptr, 0);
  EXPECT_TRUE(eventually(options.session_timeout + 2s, [&] { return first.poll(), first.tasks.size() == 8; }));
}

TEST_F(GroupMember, HoldsNoMetadataFromARevocationsReleaseToTheNextAssignment) {
  auto first = join(options);
  ASSERT_TRUE(eventually(20s, [&] { return first.poll(), first.tasks.size() == 8; }));
  const auto before = first.held->metadata();
  auto second = join(options);
  result<group_event> told;
  ASSERT_TRUE(eventually(20s, [&] {
    second.poll();
    told = first.held->poll();
    return told && told->what == group_event::kind::revoked;
  }));
  EXPECT_EQ(told->partitions, all_tasks(8));
  EXPECT_EQ(first.held->metadata(), before) << "what was begun under it is committed under it";
  ASSERT_TRUE(first.held->release());
  EXPECT_EQ(first.held->metadata(), nullptr);
  ASSERT_TRUE(eventually(20s, [&] { return first.poll(), second.poll(), first.tasks.size() == 4; }));
  EXPECT_NE(first.held->metadata(), nullptr);
  EXPECT_NE(first.held->metadata(), before);
}

TEST_F(GroupMember, LosesItsTasksWhenItDoesNotPoll) {
  options.session_timeout = 2'000ms;
  options.max_poll_interval = 2'500ms;
  auto one = join(options);
  ASSERT_TRUE(eventually(20s, [&] { return one.poll(), one.tasks.size() == 8; }));
  std::this_thread::sleep_for(4s);
  result<group_event> told;
  ASSERT_TRUE(eventually(5s, [&] {
    told = one.held->poll();
    return told && told->what != group_event::kind::none;
  }));
  EXPECT_EQ(told->what, group_event::kind::lost);
  EXPECT_EQ(one.held->metadata(), nullptr);
  ASSERT_TRUE(one.held->release());
  EXPECT_TRUE(eventually(20s, [&] { return one.poll(), one.tasks.size() == 8; })) << "it joins again";
}

TEST_F(GroupMember, IsToldOfALossWhileItAnswersARevocation) {
  options.session_timeout = 2'000ms;
  options.max_poll_interval = 2'500ms;
  auto slow = join(options);
  ASSERT_TRUE(eventually(20s, [&] { return slow.poll(), slow.tasks.size() == 8; }));
  auto second = join(options);
  result<group_event> told;
  ASSERT_TRUE(eventually(20s, [&] {
    second.poll();
    told = slow.held->poll();
    return told && told->what == group_event::kind::revoked;
  }));
  // It polls, and does not release within the time that the group gives it.
  EXPECT_TRUE(eventually(15s, [&] {
    second.poll();
    told = slow.held->poll();
    return told && told->what == group_event::kind::lost;
  }));
  EXPECT_EQ(slow.held->metadata(), nullptr);
  ASSERT_TRUE(slow.held->release());
  EXPECT_TRUE(eventually(20s, [&] { return slow.poll(), second.poll(), slow.tasks.size() == 4 && second.tasks.size() == 4; }));
}

TEST_F(GroupMember, GivesTheSamePartitionsOfEverySource) {
  const std::string table = name_of_its_own("consent");
  kafka->create_topic(table, 8);
  const group_request request{group, {topic, table}, {}, 8};
  auto first = join(options, request);
  auto second = join(options, request);
  ASSERT_TRUE(eventually(20s, [&] { return first.poll(), second.poll(), first.tasks.size() == 4 && second.tasks.size() == 4; }));
  EXPECT_FALSE(first.ended);
  EXPECT_FALSE(second.ended);
}

TEST_F(GroupMember, IsIdleWhereThereAreMoreMembersThanTasks) {
  const std::string narrow = name_of_its_own("narrow");
  kafka->create_topic(narrow, 1);
  const group_request request{group, {narrow}, {}, 1};
  auto first = join(options, request);
  ASSERT_TRUE(eventually(20s, [&] { return first.poll(), first.tasks.size() == 1; }));
  auto second = join(options, request);
  ASSERT_TRUE(eventually(20s, [&] { return first.poll(), second.poll(), !second.events.empty() && first.events.size() >= 3; }));
  EXPECT_EQ(first.tasks.size() + second.tasks.size(), 1u);
  EXPECT_TRUE(eventually(10s, [&] { return first.held->waits_for().empty() && second.held->waits_for().empty(); }));
}

TEST_F(GroupMember, IsFencedByAnotherWorkerOfTheSameInstance) {
  options.instance = "worker-a";
  options.static_membership = true;
  auto first = join(options);
  ASSERT_TRUE(eventually(20s, [&] { return first.poll(), first.tasks.size() == 8; }));
  auto second = join(options);
  ASSERT_TRUE(eventually(20s, [&] { return second.poll(), first.poll(), first.ended.has_value(); }));
  EXPECT_EQ(first.ended->code, errc::fenced);
  EXPECT_THAT(first.ended->message, AllOf(HasSubstr(group), HasSubstr("worker-a")));
  EXPECT_TRUE(eventually(20s, [&] { return second.poll(), second.tasks.size() == 8; }));
}

TEST_F(GroupMember, KeepsAStaticMembersTasksOverAShortAbsence) {
  options.instance = "worker-a";
  options.static_membership = true;
  options.session_timeout = 6'000ms;
  auto first = join(options);
  auto other_options = options;
  other_options.instance = "worker-b";
  auto other = join(other_options);
  ASSERT_TRUE(eventually(20s, [&] { return first.poll(), other.poll(), first.tasks.size() == 4 && other.tasks.size() == 4; }));
  const auto mine = first.tasks;
  const auto told = other.events.size();
  first.held.reset();
  first = join(options);
  ASSERT_TRUE(eventually(5s, [&] { return first.poll(), other.poll(), !first.tasks.empty(); }));
  EXPECT_EQ(first.tasks, mine);
  EXPECT_EQ(other.events.size(), told) << "the other worker was disturbed";
}

TEST_F(GroupMember, RefusesAGroupOfAnotherApplicationByItsTopics) {
  const std::string foreign = name_of_its_own("orders");
  kafka->create_topic(foreign, 8);
  auto theirs = join(options, {group, {foreign}, {}, 8});
  ASSERT_TRUE(eventually(20s, [&] { return theirs.poll(), theirs.tasks.size() == 8; }));
  auto quick = options;
  quick.session_timeout = 1'000ms;
  const auto refused = join_group(quick, {group, {topic}, {}, 8}, {}, nullptr);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, errc::exists);
  EXPECT_THAT(refused.error().message, AllOf(HasSubstr(group), HasSubstr(foreign), HasSubstr("rename the flow")));
}

TEST_F(GroupMember, WaitsNoLongerForAnotherApplicationOnceItIsAskedToStop) {
  const std::string foreign = name_of_its_own("orders");
  kafka->create_topic(foreign, 8);
  auto theirs = join(options, {group, {foreign}, {}, 8});
  ASSERT_TRUE(eventually(20s, [&] { return theirs.poll(), theirs.tasks.size() == 8; }));
  auto patient = options;
  patient.session_timeout = 60'000ms;
  patient.max_poll_interval = 60'000ms;
  const std::atomic<int> stop{1};
  group_request request{group, {topic}, {}, 8};
  request.stop = &stop;
  const auto began = steady::now();
  const auto given_up = join_group(patient, request, {}, nullptr);
  EXPECT_LT(steady::now() - began, 30s);
  ASSERT_FALSE(given_up);
  EXPECT_EQ(given_up.error().code, errc::cancelled) << given_up.error().message;
}

TEST_F(GroupMember, RefusesAGroupThatAPlainConsumerOfTheSameTopicsIsIn) {
  plain_consumer theirs(options.bootstrap, group, topic);
  ASSERT_TRUE(eventually(20s, [&] { return theirs.tasks() == 8; }));
  auto quick = options;
  quick.session_timeout = 1'000ms;
  const auto refused = join_group(quick, {group, {topic}, {}, 8}, {}, nullptr);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, errc::exists);
  EXPECT_THAT(refused.error().message, AllOf(HasSubstr(group), HasSubstr("\"console-consumer\""), HasSubstr("rename the flow")));
}

TEST_F(GroupMember, TellsOfAPlainConsumerThatJoinsLaterAndOfItsGoing) {
  std::vector<std::string> warnings;
  options.on_line = [&, us = std::this_thread::get_id()](int level, std::string_view text) {
    if (level == 4 && std::this_thread::get_id() == us) warnings.emplace_back(text);
  };
  auto worker = join(options);
  ASSERT_TRUE(eventually(20s, [&] { return worker.poll(), worker.tasks.size() == 8 && count(worker, reason::started) == 1; }));
  EXPECT_EQ(worker.held->seen().strangers, 0);
  {
    plain_consumer theirs(options.bootstrap, group, topic);
    ASSERT_TRUE(eventually(30s, [&] { return worker.poll(), theirs.tasks() > 0 && worker.held->seen().strangers == 1; }));
    EXPECT_EQ(count(worker, reason::stranger), 1u);
    EXPECT_THAT(warnings, ::testing::Contains(AllOf(HasSubstr(group), HasSubstr("\"console-consumer\""), HasSubstr("4 of 8 tasks"))));
    EXPECT_FALSE(worker.ended);
  }
  ASSERT_TRUE(eventually(30s, [&] { return worker.poll(), worker.tasks.size() == 8 && worker.held->seen().strangers == 0; }));
  EXPECT_EQ(count(worker, reason::stranger), 2u);
}

TEST_F(GroupMember, TellsWhatMadeTheGroupBeAssignedAnew) {
  auto other_options = options;
  options.instance = "worker-a";
  other_options.instance = "worker-b";
  std::vector<std::string> lines;
  options.on_line = [&, us = std::this_thread::get_id()](int level, std::string_view text) {
    if (level == 6 && std::this_thread::get_id() == us) lines.emplace_back(text);
  };
  auto first = join(options);
  ASSERT_TRUE(eventually(20s, [&] { return first.poll(), count(first, reason::started) == 1; }));
  auto second = join(other_options);
  ASSERT_TRUE(eventually(20s, [&] { return first.poll(), second.poll(), count(first, reason::joined) == 1; }));
  ASSERT_TRUE(eventually(20s, [&] { return first.poll(), second.poll(), count(second, reason::started) == 1; }));
  second.held.reset();
  ASSERT_TRUE(eventually(20s, [&] { return first.poll(), count(first, reason::left) == 1; }));
  EXPECT_THAT(lines, ::testing::IsSupersetOf({HasSubstr("assigned anew: \"sonder-worker-b\" joined"),
                                              HasSubstr("assigned anew: \"sonder-worker-b\" left")}));
}

TEST_F(GroupMember, RefusesAGroupOfAnotherProtocol) {
  char why[256];
  auto* conf = rd_kafka_conf_new();
  rd_kafka_conf_set(conf, "bootstrap.servers", options.bootstrap.c_str(), nullptr, 0);
  rd_kafka_conf_set(conf, "group.id", group.c_str(), nullptr, 0);
  rd_kafka_conf_set(conf, "partition.assignment.strategy", "roundrobin", nullptr, 0);
  std::unique_ptr<rd_kafka_t, decltype(&rd_kafka_destroy)> theirs(rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why), rd_kafka_destroy);
  ASSERT_NE(theirs, nullptr) << why;
  auto* topics = rd_kafka_topic_partition_list_new(1);
  rd_kafka_topic_partition_list_add(topics, topic.c_str(), RD_KAFKA_PARTITION_UA);
  rd_kafka_subscribe(theirs.get(), topics);
  rd_kafka_topic_partition_list_destroy(topics);
  ASSERT_TRUE(eventually(20s, [&] {
    if (auto* m = rd_kafka_consumer_poll(theirs.get(), 50)) rd_kafka_message_destroy(m);
    rd_kafka_topic_partition_list_t* held = nullptr;
    rd_kafka_assignment(theirs.get(), &held);
    const bool there = held->cnt == 8;
    rd_kafka_topic_partition_list_destroy(held);
    return there;
  }));
  options.session_timeout = 1'000ms;
  const auto refused = join_group(options, {group, {topic}, {}, 8}, {}, nullptr);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, errc::exists);
  EXPECT_THAT(refused.error().message, AllOf(HasSubstr(group), HasSubstr("roundrobin")));
  rd_kafka_consumer_close(theirs.get());
}

TEST_F(GroupMember, RefusesAnotherNumberOfPartitions) {
  const auto refused = join_group(options, {group, {topic}, {}, 6}, {}, nullptr);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, errc::invalid);
  EXPECT_THAT(refused.error().message, AllOf(HasSubstr(topic), HasSubstr("8 partitions"), HasSubstr("6 tasks")));
}

TEST_F(GroupMember, RefusesATopicThatIsNotThere) {
  const auto refused = join_group(options, {group, {"no-such-topic"}, {}, 8}, {}, nullptr);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, errc::not_found);
  EXPECT_THAT(refused.error().message, HasSubstr("no-such-topic"));
}

TEST_F(GroupMember, EndsWhereASourceGetsMorePartitions) {
  options.properties["topic.metadata.refresh.interval.ms"] = "500";
  auto one = join(options);
  ASSERT_TRUE(eventually(20s, [&] { return one.poll(), one.tasks.size() == 8; }));
  kafka->add_partitions(topic, 12);
  ASSERT_TRUE(eventually(20s, [&] { return one.poll(), one.ended.has_value(); }));
  EXPECT_EQ(one.ended->code, errc::invalid);
  EXPECT_THAT(one.ended->message, AllOf(HasSubstr(topic), HasSubstr("more than 8 partitions")));
}

}  // namespace
}  // namespace sonder::kafka
