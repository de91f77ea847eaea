#include "log/kafka/writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include <ostream>

#include "log/kafka/client.h"
#include "log/kafka/topics.h"

// README.md's table of errors, answer by answer: a broker inside librdkafka gives them, where no real one can be made to.

// Read by LeakSanitizer, where it is built in. librdkafka 2.0.2 forgets offsets that it was sending when their transaction failed
// beside them, or when the client ended (its handler of TxnOffsetCommit), so that memory which it takes itself is not looked at here.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() { return "leak:librdkafka.so\n"; }

namespace sonder::kafka {

// Those brokers do not answer how a topic is configured; the linker leads here instead (CMakeLists.txt).
result<topic_config> say_how_configured(topics*, std::string_view topic) asm("__wrap__ZN6sonder5kafka6topics8describeESt17basic_string_viewIcSt11char_traitsIcEE");
result<topic_config> say_how_configured(topics*, std::string_view topic) {
  topic_config config;
  config.name = topic;
  return config;
}

namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;

enum class rpc : std::int16_t {
  produce = 0,
  init_producer_id = 22,
  add_partitions = 24,
  add_offsets = 25,
  end_txn = 26,
  txn_offset_commit = 28,
};

class BrokerInside : public ::testing::Test {
 protected:
  static constexpr std::size_t counted_requests_max = 100;
  static constexpr std::int32_t only_broker = 1;

  void SetUp() override {
    host_ = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), nullptr, 0);
    ASSERT_NE(host_, nullptr);
    cluster_ = rd_kafka_mock_cluster_new(host_, 1);
    ASSERT_NE(cluster_, nullptr);
    ASSERT_EQ(rd_kafka_mock_topic_create(cluster_, "out", 1, 1), RD_KAFKA_RESP_ERR_NO_ERROR);
    options_.bootstrap = rd_kafka_mock_cluster_bootstraps(cluster_);
    options_.instance = "one";
    options_.transaction_timeout = 6s;
    options_.request_timeout = 3s;
    auto asks = client::make(options_, {.role = client_role::query});
    ASSERT_TRUE(asks) << asks.error().message;
    asks_ = std::move(*asks);
    topics_ = std::make_unique<topics>(options_, *asks_);
    writer_ = std::make_unique<writer>(options_, *topics_, [this](std::string_view) { return place_; });
  }
  void TearDown() override {
    writer_.reset();
    topics_.reset();
    asks_.reset();
    if (cluster_ != nullptr) rd_kafka_mock_cluster_destroy(cluster_);
    if (host_ != nullptr) rd_kafka_destroy(host_);
  }

  /// The next requests of this kind are answered like this, later ones well.
  void answer(rpc to, rd_kafka_resp_err_t code, int times = 1, std::chrono::milliseconds after = 0ms) {
    for (int i = 0; i < times; ++i) {
      ASSERT_EQ(rd_kafka_mock_broker_push_request_error_rtts(cluster_, only_broker, static_cast<std::int16_t>(to), 1,
                                                             code, static_cast<int>(after.count())),
                RD_KAFKA_RESP_ERR_NO_ERROR);
    }
  }
  /// All requests of this kind, until `answer_again`.
  void refuse_for_now(rpc to, rd_kafka_resp_err_t code) {
    const std::vector<rd_kafka_resp_err_t> all(1'000, code);
    rd_kafka_mock_push_request_errors_array(cluster_, static_cast<std::int16_t>(to), all.size(), all.data());
  }
  void answer_again(rpc to) { rd_kafka_mock_clear_request_errors(cluster_, static_cast<std::int16_t>(to)); }
  /// From here on `counted` tells how many of them came; after all `answer`s to that kind.
  void count(rpc of) { answer(of, RD_KAFKA_RESP_ERR_NO_ERROR, counted_requests_max); }
  [[nodiscard]] int counted(rpc of) {
    std::size_t left = 0;
    EXPECT_EQ(rd_kafka_mock_broker_error_stack_cnt(cluster_, only_broker, static_cast<std::int16_t>(of), &left), RD_KAFKA_RESP_ERR_NO_ERROR);
    return static_cast<int>(counted_requests_max - left);
  }

  [[nodiscard]] status commit(std::vector<state_change> state = {}) {
    const std::string value = "1";
    const auto bytes = as_bytes(value);
    record_batch_builder batch;
    batch.append(1'700'000'000'000, &bytes, &bytes, {});
    epoch_changes epoch;
    epoch.group = "app";
    epoch.produced.push_back({"out", 0, &batch});
    epoch.consumed.push_back({"out", 0, 1});
    epoch.state = std::move(state);
    std::vector<changelog_position> reached;
    return writer_->commit(epoch, nullptr, reached);
  }
  /// -1: none leads its partition.
  void lead(const char* topic, std::int32_t broker) {
    ASSERT_EQ(rd_kafka_mock_partition_set_leader(cluster_, topic, 0, broker), RD_KAFKA_RESP_ERR_NO_ERROR);
  }
  void make_topic(const char* topic) { ASSERT_EQ(rd_kafka_mock_topic_create(cluster_, topic, 1, 1), RD_KAFKA_RESP_ERR_NO_ERROR); }
  [[nodiscard]] std::int64_t end_of(const char* topic) {
    std::int64_t first = -1;
    std::int64_t end = -1;
    EXPECT_EQ(rd_kafka_query_watermark_offsets(asks_->get(), topic, 0, &first, &end, 5'000), RD_KAFKA_RESP_ERR_NO_ERROR);
    return end;
  }
  [[nodiscard]] std::uint64_t ended(log_figures::transaction_end how) const {
    log_figures now;
    writer_->add_to(now);
    return now.transactions[static_cast<std::size_t>(how)];
  }

  kafka_options options_;
  status place_;  ///< what the group says of this process's place
  std::unique_ptr<writer> writer_;

 private:
  rd_kafka_t* host_ = nullptr;
  rd_kafka_mock_cluster_t* cluster_ = nullptr;
  std::unique_ptr<client> asks_;
  std::unique_ptr<topics> topics_;
};

using end = log_figures::transaction_end;

/// What becomes of an epoch that meets an error.
enum class way {
  goes_on,  ///< the call is made again, and the epoch is committed
  aborted,  ///< it is taken back, and a new producer made
  fatal,    ///< this producer can do no more, not even abort: a new one is made, whose taking over aborts
  fenced,   ///< none is made: the id is another's
};

/// One answer of a broker, and what has to come of it.
struct fault {
  rpc to;
  rd_kafka_resp_err_t code;
  way goes;
  errc becomes = errc::io;  ///< where it does not go on
  end counted_as = end::committed;
  const char* says = "";
};

std::string name_of(const fault& f) {
  const char* to = "";
  switch (f.to) {
    case rpc::produce: to = "Produce"; break;
    case rpc::init_producer_id: to = "InitProducerId"; break;
    case rpc::add_partitions: to = "AddPartitionsToTxn"; break;
    case rpc::add_offsets: to = "AddOffsetsToTxn"; break;
    case rpc::end_txn: to = "EndTxn"; break;
    case rpc::txn_offset_commit: to = "TxnOffsetCommit"; break;
  }
  return to + std::string("_") + rd_kafka_err2name(f.code);
}
void PrintTo(const fault& f, std::ostream* to) { *to << name_of(f); }

class BrokerThatAnswers : public BrokerInside, public testing::WithParamInterface<fault> {};

TEST_F(BrokerInside, WritesNoStateAheadOfOutputsWhereTheyAreNoTransaction) {
  options_.guarantee = kafka_options::guarantee_kind::at_least_once;
  options_.transaction_timeout = 2s;
  constexpr auto changelog = "app.counts-changelog";
  make_topic(changelog);
  const std::string key = "ana";
  const std::string value = "10";
  const std::vector<state_change> state{{"counts", 0, as_bytes(key), as_bytes(value)}};
  ASSERT_TRUE(commit(state));
  EXPECT_EQ(end_of(changelog), 1);
  lead("out", -1);
  EXPECT_FALSE(commit(state));
  EXPECT_EQ(end_of(changelog), 1);
  lead("out", only_broker);
  const auto done = commit(state);
  EXPECT_TRUE(done) << done.error().message;
  EXPECT_EQ(end_of(changelog), 2);
}

TEST_P(BrokerThatAnswers, HasTheEpochEndAsTheTableSays) {
  const auto f = GetParam();
  ASSERT_TRUE(writer_->take_over("app"));
  answer(f.to, f.code);
  count(rpc::init_producer_id);
  if (f.to != rpc::end_txn) count(rpc::end_txn);
  const auto done = commit();
  EXPECT_EQ(ended(f.counted_as), 1U);
  if (f.goes == way::goes_on) {
    EXPECT_TRUE(done) << done.error().message;
  } else {
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, f.becomes) << done.error().message;
    EXPECT_THAT(done.error().message, HasSubstr(f.says));
  }
  const bool another = f.goes == way::aborted || f.goes == way::fatal;
  EXPECT_EQ(counted(rpc::init_producer_id) > 0, another) << "whether a new producer has taken the id over";
  // What has failed before its first request reached the coordinator needs no abort there.
  if (f.to != rpc::end_txn && f.goes != way::aborted && f.code != RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID) {
    EXPECT_EQ(counted(rpc::end_txn), f.goes == way::goes_on ? 1 : 0);
  }
  const auto next = commit();
  EXPECT_EQ(next ? "committed" : name(next.error().code), f.goes == way::fenced ? "fenced" : "committed");
}

constexpr fault goes_on(rpc to, rd_kafka_resp_err_t code) { return {to, code, way::goes_on}; }
constexpr fault aborted(rpc to, rd_kafka_resp_err_t code, errc becomes, end counted_as, const char* says) {
  return {to, code, way::aborted, becomes, counted_as, says};
}
constexpr fault fatal(rpc to, rd_kafka_resp_err_t code, errc becomes, end counted_as, const char* says) {
  return {to, code, way::fatal, becomes, counted_as, says};
}
constexpr fault fenced(rpc to, rd_kafka_resp_err_t code) {
  return {to, code, way::fenced, errc::fenced, end::fenced, "another process has taken over transactional id \"app.one\""};
}
constexpr fault place_taken(rpc to) {
  return {to, RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, way::fenced, errc::fenced, end::fenced, "give each its own log.instance"};
}

INSTANTIATE_TEST_SUITE_P(
    retriable, BrokerThatAnswers,
    testing::Values(goes_on(rpc::add_partitions, RD_KAFKA_RESP_ERR__TRANSPORT),
                    goes_on(rpc::add_partitions, RD_KAFKA_RESP_ERR_NOT_COORDINATOR),
                    goes_on(rpc::add_partitions, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS),
                    goes_on(rpc::add_partitions, RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS),
                    goes_on(rpc::produce, RD_KAFKA_RESP_ERR__TRANSPORT),
                    goes_on(rpc::produce, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION),
                    goes_on(rpc::produce, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS),
                    goes_on(rpc::produce, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT),
                    goes_on(rpc::add_offsets, RD_KAFKA_RESP_ERR__TRANSPORT),
                    goes_on(rpc::add_offsets, RD_KAFKA_RESP_ERR_NOT_COORDINATOR),
                    goes_on(rpc::add_offsets, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS),
                    goes_on(rpc::add_offsets, RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS),
                    goes_on(rpc::txn_offset_commit, RD_KAFKA_RESP_ERR__TRANSPORT),
                    goes_on(rpc::txn_offset_commit, RD_KAFKA_RESP_ERR_NOT_COORDINATOR),
                    goes_on(rpc::txn_offset_commit, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS),
                    goes_on(rpc::end_txn, RD_KAFKA_RESP_ERR__TRANSPORT),
                    goes_on(rpc::end_txn, RD_KAFKA_RESP_ERR_NOT_COORDINATOR),
                    goes_on(rpc::end_txn, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS),
                    goes_on(rpc::end_txn, RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS)),
    [](const auto& of) { return name_of(of.param); });

INSTANTIATE_TEST_SUITE_P(
    abortable, BrokerThatAnswers,
    testing::Values(
        aborted(rpc::add_partitions, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, errc::invalid, end::refused, "kafka-acls"),
        aborted(rpc::add_partitions, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING, errc::io, end::failed, "not currently assigned"),
        aborted(rpc::produce, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, errc::capacity, end::refused, "max.message.bytes"),
        aborted(rpc::produce, RD_KAFKA_RESP_ERR_INVALID_RECORD, errc::invalid, end::refused, "out[0]"),
        aborted(rpc::produce, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, errc::invalid, end::refused, "kafka-acls"),
        aborted(rpc::produce, RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID, errc::io, end::failed, "out[0]"),
        aborted(rpc::add_offsets, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, errc::invalid, end::refused, "read the group"),
        aborted(rpc::add_offsets, RD_KAFKA_RESP_ERR_UNKNOWN, errc::io, end::failed, "Unknown broker error"),
        aborted(rpc::txn_offset_commit, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, errc::invalid, end::refused, "read the group"),
        aborted(rpc::txn_offset_commit, RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, errc::unavailable, end::group_changed, "generation"),
        aborted(rpc::txn_offset_commit, RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID, errc::unavailable, end::group_changed, "member"),
        aborted(rpc::txn_offset_commit, RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS, errc::unavailable, end::group_changed, "rebalance"),
        aborted(rpc::end_txn, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING, errc::io, end::failed, "not currently assigned"),
        aborted(rpc::end_txn, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, errc::unavailable, end::unavailable, "in-sync")),
    [](const auto& of) { return name_of(of.param); });

INSTANTIATE_TEST_SUITE_P(
    fatal, BrokerThatAnswers,
    testing::Values(
        fatal(rpc::add_partitions, RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, errc::invalid, end::refused, "log.guarantee"),
        fatal(rpc::add_partitions, RD_KAFKA_RESP_ERR_INVALID_TXN_STATE, errc::io, end::failed, "invalid state"),
        fatal(rpc::produce, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, errc::io, end::failed, "sequence"),
        fatal(rpc::add_offsets, RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, errc::invalid, end::refused, "log.guarantee"),
        fatal(rpc::add_offsets, RD_KAFKA_RESP_ERR_INVALID_TXN_STATE, errc::io, end::failed, "invalid state"),
        fatal(rpc::txn_offset_commit, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING, errc::io, end::failed, "not currently assigned"),
        fatal(rpc::txn_offset_commit, RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, errc::invalid, end::refused, "kafka-acls"),
        fatal(rpc::end_txn, RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, errc::invalid, end::refused, "log.guarantee"),
        fatal(rpc::end_txn, RD_KAFKA_RESP_ERR_INVALID_TXN_STATE, errc::io, end::failed, "invalid state")),
    [](const auto& of) { return name_of(of.param); });

INSTANTIATE_TEST_SUITE_P(
    fenced, BrokerThatAnswers,
    testing::Values(fenced(rpc::add_partitions, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH),
                    fenced(rpc::add_partitions, RD_KAFKA_RESP_ERR_PRODUCER_FENCED),
                    fenced(rpc::produce, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH),
                    fenced(rpc::add_offsets, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH),
                    fenced(rpc::txn_offset_commit, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH),
                    fenced(rpc::end_txn, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH),
                    fenced(rpc::end_txn, RD_KAFKA_RESP_ERR_PRODUCER_FENCED)),
    [](const auto& of) { return name_of(of.param); });

INSTANTIATE_TEST_SUITE_P(place_taken, BrokerThatAnswers, testing::Values(place_taken(rpc::txn_offset_commit)),
                         [](const auto& of) { return name_of(of.param); });

TEST_F(BrokerInside, LeavesTheIdToItsSuccessorWhereTheGroupSaysThatThereIsOne) {
  ASSERT_TRUE(writer_->take_over("app"));
  answer(rpc::txn_offset_commit, RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID);
  count(rpc::init_producer_id);
  place_ = fail(errc::fenced, "the place is another's");
  for (int epoch = 0; epoch < 2; ++epoch) {
    const auto done = commit();
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, errc::fenced) << done.error().message;
  }
  EXPECT_EQ(counted(rpc::init_producer_id), 0);
}

TEST_F(BrokerInside, LetsTheIdBeTakenOverOnceWhatWasOpenIsSettled) {
  answer(rpc::init_producer_id, RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS, 3);
  answer(rpc::init_producer_id, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS);
  answer(rpc::init_producer_id, RD_KAFKA_RESP_ERR_NOT_COORDINATOR);
  answer(rpc::init_producer_id, RD_KAFKA_RESP_ERR__TRANSPORT);
  const auto done = writer_->take_over("app");
  EXPECT_TRUE(done) << done.error().message;
  EXPECT_TRUE(commit());
}

TEST_F(BrokerInside, SaysWhyTheIdCannotBeTakenOver) {
  for (const auto& [code, says] : {std::pair{RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "log.guarantee"},
                                   {RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT, "transaction.max.timeout.ms"}}) {
    answer(rpc::init_producer_id, code);
    const auto done = writer_->take_over("app");
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, errc::invalid) << done.error().message;
    EXPECT_THAT(done.error().message, AllOf(HasSubstr("transactional id \"app.one\""), HasSubstr(says)));
  }
  EXPECT_TRUE(writer_->take_over("app"));
}

TEST_F(BrokerInside, WaitsForACoordinatorNoLongerThanOneRequestMayTake) {
  answer(rpc::init_producer_id, RD_KAFKA_RESP_ERR_NO_ERROR, 1, 10 * options_.request_timeout);
  const auto began = std::chrono::steady_clock::now();
  const auto done = writer_->take_over("app");
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, errc::unavailable) << done.error().message;
  EXPECT_LT(std::chrono::steady_clock::now() - began, 5 * options_.request_timeout);
  EXPECT_TRUE(writer_->take_over("app"));
}

TEST_F(BrokerInside, TellsBothWhyAnEpochFailedAndWhyNoProducerFollows) {
  ASSERT_TRUE(writer_->take_over("app"));
  answer(rpc::txn_offset_commit, RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION);
  answer(rpc::init_producer_id, RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
  const auto done = commit();
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, errc::unavailable) << done.error().message;
  EXPECT_THAT(done.error().message, AllOf(HasSubstr("generation"), HasSubstr("; then taking over transactional id \"app.one\"")));
  EXPECT_TRUE(commit()) << "the next epoch takes the id";
}

TEST_F(BrokerInside, GivesUpWhatCanBeTriedAgainOnceTheTransactionsTimeIsOver) {
  options_.transaction_timeout = 1'500ms;
  ASSERT_TRUE(writer_->take_over("app"));
  refuse_for_now(rpc::add_offsets, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS);
  count(rpc::init_producer_id);
  const auto began = std::chrono::steady_clock::now();
  const auto done = commit();
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, errc::unavailable) << done.error().message;
  EXPECT_GE(std::chrono::steady_clock::now() - began, options_.transaction_timeout);
  EXPECT_EQ(ended(end::unavailable), 1U);
  EXPECT_EQ(counted(rpc::init_producer_id), 1);
  answer_again(rpc::add_offsets);
  EXPECT_TRUE(commit());
}

// Whether it was committed nobody here knows: kafka_faults_test has the broker that has committed it.
TEST_F(BrokerInside, TakesTheIdAnewWhereTheAnswerToACommitStaysAway) {
  options_.transaction_timeout = 1'500ms;
  ASSERT_TRUE(writer_->take_over("app"));
  answer(rpc::end_txn, RD_KAFKA_RESP_ERR_NO_ERROR, 1, 20 * options_.transaction_timeout);
  count(rpc::init_producer_id);
  const auto done = commit();
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, errc::unavailable) << done.error().message;
  EXPECT_EQ(ended(end::unavailable), 1U);
  EXPECT_EQ(counted(rpc::init_producer_id), 1);
  EXPECT_TRUE(commit());
}

}  // namespace
}  // namespace sonder::kafka
