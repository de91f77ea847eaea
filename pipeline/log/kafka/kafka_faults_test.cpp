#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include <atomic>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <sstream>
#include <thread>

#include "log/kafka/kafka_fixture.h"
#include "log/kafka/losing_proxy.h"

extern char** environ;

namespace sonder {
namespace {

using testing::AllOf;
using testing::AnyOf;
using testing::ElementsAreArray;
using testing::HasSubstr;
using testing::Not;

/// What a command prints; it must succeed.
std::string printed_by(const std::string& command) {
  std::string text;
  FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) throw std::runtime_error("cannot run " + command);
  char part[512];
  while (std::fgets(part, sizeof part, pipe) != nullptr) text += part;
  if (::pclose(pipe) != 0) throw std::runtime_error(command + " failed: " + text);
  return text;
}

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream in(text);
  return {std::istream_iterator<std::string>(in), {}};
}

/// A broker of this test's own, to be killed.
class own_broker {
 public:
  explicit own_broker(const std::string& choices = "", const std::string& suffix = "")
      : name_(name_in_this_build() + suffix) {
    run("wipe");  // what a run that was killed has left
    run("start", choices);
    address_ = words_of(run("address")).at(0);
  }
  ~own_broker() { static_cast<void>(std::system((call("wipe") + " >/dev/null 2>&1").c_str())); }
  own_broker(const own_broker&) = delete;
  own_broker& operator=(const own_broker&) = delete;

  [[nodiscard]] const std::string& address() const { return address_; }
  std::string run(const std::string& command, const std::string& choices = "") {
    return printed_by(call(command) + " " + choices);
  }
  void kill() {
    for (const auto& pid : words_of(run("pids")))
      ::kill(static_cast<pid_t>(std::stol(pid)), SIGKILL);
  }
  [[nodiscard]] std::vector<pid_t> pids() {
    std::vector<pid_t> all;
    for (const auto& pid : words_of(run("pids"))) all.push_back(static_cast<pid_t>(std::stol(pid)));
    return all;
  }

 private:
  static std::string name_in_this_build() {
    const char* build = std::getenv("SONDER_BUILD_DIR");
    return "faults-" +
           (build == nullptr ? "by_hand" : std::filesystem::path(build).filename().string());
  }
  // With SONDER_KAFKA set, ops/kafka would leave every broker alone.
  [[nodiscard]] std::string call(const std::string& command) const {
    const char* root = std::getenv("SONDER_SOURCE_DIR");
    return "env -u SONDER_KAFKA " + std::string(root == nullptr ? "." : root) + "/ops/kafka " +
           command + " --name " + name_;
  }
  std::string name_;
  std::string address_;
};

/// One for all tests that only kill it.
own_broker& mortal() {
  static own_broker mine("", "-plain");
  return mine;
}

class kafka_faults_test : public kafka_log_test {
 protected:
  /// `0 0=0`, `2 1=1` and so on: one record and one marker an epoch; only the records are compared.
  static std::vector<std::string> values(const std::vector<std::string>& lines) {
    std::vector<std::string> all;
    for (const auto& line : lines) all.push_back(line.substr(line.find('=') + 1));
    return all;
  }
  static std::vector<std::string> numbers(int count) {
    std::vector<std::string> all;
    for (int i = 0; i < count; ++i) all.push_back(std::to_string(i));
    return all;
  }

  /// How the worker ended: its exit code, or the negative signal.
  int worker(const std::string& in, const std::string& out, int epochs,
             const std::string& step = "", int nth = 0) {
    const std::string program =
        std::filesystem::read_symlink("/proc/self/exe").parent_path() / "commit_worker";
    std::vector<std::string> words = {
        program, options().bootstrap, group_, in, out, folder_ / "worker", std::to_string(epochs)};
    if (nth != 0) words.insert(words.end(), {step, std::to_string(nth)});
    std::vector<char*> argv;
    for (auto& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    pid_t child = -1;
    if (posix_spawn(&child, program.c_str(), nullptr, nullptr, argv.data(), environ) != 0)
      return -1000;
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
  }

  /// Epochs 0 to `count` by the same rules as the worker's, in this process.
  void write_epochs(log& on, const std::string& in, const std::string& out, int count,
                    std::vector<std::string>& errors) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(90);
    while (std::chrono::steady_clock::now() < until) {
      const auto committed = on.committed(group_, in);
      if (!committed) {
        errors.push_back(committed.error().message);
        continue;
      }
      for (auto n = std::max<std::int64_t>(committed->at(0), 0);; ++n) {
        if (n >= count) return;
        const auto done = commit(on, in, n + 1, out, {{"k", std::to_string(n)}});
        if (done) continue;
        errors.push_back(done.error().message);
        EXPECT_THAT(done.error().code, AnyOf(errc::unavailable, errc::io)) << done.error().message;
        break;
      }
    }
    ADD_FAILURE() << "not done in time; last: " << (errors.empty() ? "" : errors.back());
  }
};

class kafka_kill_points_test : public kafka_faults_test,
                               public testing::WithParamInterface<const char*> {};

TEST_P(kafka_kill_points_test, LeavesAnEpochWholeOrNotAtAll) {
  const auto in = topic("in");
  const auto out = topic("out");
  EXPECT_EQ(worker(in, out, 6, GetParam(), 3), -SIGKILL);
  EXPECT_EQ(worker(in, out, 6), 0);
  EXPECT_THAT(values(read_some(*log_, out, 6)), ElementsAreArray(numbers(6)));
}

INSTANTIATE_TEST_SUITE_P(steps, kafka_kill_points_test,
                         testing::Values("begin", "begun", "produced", "offsets_sent", "flushed",
                                         "committed"),
                         [](const auto& of) { return std::string(of.param); });

class kafka_broker_death_test : public kafka_faults_test,
                                public testing::WithParamInterface<const char*> {};

TEST_P(kafka_broker_death_test, WritesEveryEpochOnceThoughTheBrokerDiesInACommit) {
  auto& mine = mortal();
  auto with = options();
  with.bootstrap = mine.address();
  std::thread reviver;
  int epoch = 0;
  const std::string at = GetParam();
  with.on_step = [&](std::string_view step) {
    if (step == "begin") ++epoch;
    const bool now = at == "commit" ? step == "flushed" : step == at;
    if (epoch != 5 || !now || reviver.joinable()) return;
    const auto pids = mine.pids();
    // While the commit is under way, or before the call that follows this step.
    const auto kill_all = [pids] {
      for (const auto pid : pids) ::kill(pid, SIGKILL);
    };
    if (at != "commit") kill_all();
    reviver = std::thread([&mine, kill_all] {
      kill_all();
      mine.run("start");
    });
  };
  log_ = open(with);
  const auto in = topic("in");
  const auto out = topic("out");
  std::vector<std::string> errors;
  write_epochs(*log_, in, out, 12, errors);
  ASSERT_TRUE(reviver.joinable());
  reviver.join();
  EXPECT_THAT(values(read_some(*log_, out, 12)), ElementsAreArray(numbers(12)))
      << testing::PrintToString(errors);
}

INSTANTIATE_TEST_SUITE_P(steps, kafka_broker_death_test,
                         testing::Values("begun", "produced", "offsets_sent", "flushed", "commit"),
                         [](const auto& of) { return std::string(of.param); });

TEST_F(kafka_faults_test, GoesOnWhereTheBrokerWasAwayForLongerThanACommitMayTake) {
  auto& mine = mortal();
  auto with = options();
  with.bootstrap = mine.address();
  with.transaction_timeout = std::chrono::milliseconds(1'500);
  with.request_timeout = std::chrono::milliseconds(2'000);
  log_ = open(with);
  const auto in = topic("in");
  const auto out = topic("out");
  must(commit(*log_, in, 1, out, {{"k", "0"}}));
  mine.kill();
  const auto away = commit(*log_, in, 2, out, {{"k", "1"}});
  ASSERT_FALSE(away);
  EXPECT_THAT(away.error().code, AnyOf(errc::unavailable, errc::io)) << away.error().message;
  mine.run("start");
  std::vector<std::string> errors;
  write_epochs(*log_, in, out, 3, errors);
  EXPECT_THAT(values(read_some(*log_, out, 3)), ElementsAreArray(numbers(3)));
}

/// Nobody here can tell whether the commit was: its request was lost on the way, or only the answer.
class kafka_unknown_outcome_test : public kafka_faults_test, public testing::WithParamInterface<test::losing_proxy::lost> {};

TEST_P(kafka_unknown_outcome_test, OfACommitIsFoundOutBeforeAnythingElseIsDone) {
  constexpr std::int16_t end_txn = 26;
  const auto ports = words_of(mortal().run("proxied"));
  test::losing_proxy way(static_cast<std::uint16_t>(std::stoi(ports.at(0))), static_cast<std::uint16_t>(std::stoi(ports.at(1))));
  auto with = options();
  with.bootstrap = "127.0.0.1:" + ports[0];
  with.transaction_timeout = std::chrono::milliseconds(3'000);
  log_ = open(with);
  const auto in = topic("in");
  const auto out = topic("out");
  must(commit(*log_, in, 1, out, {{"k", "0"}}));
  way.lose_next(end_txn, GetParam());
  const auto unknown = commit(*log_, in, 2, out, {{"k", "1"}});
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, errc::unavailable) << unknown.error().message;
  ASSERT_TRUE(way.has_lost());
  const bool was_committed = GetParam() == test::losing_proxy::lost::answer;
  EXPECT_THAT(must(log_->committed(group_, in)), testing::ElementsAre(was_committed ? 2 : 1));
  std::vector<std::string> errors;
  write_epochs(*log_, in, out, 4, errors);
  EXPECT_THAT(values(read_some(*log_, out, 4)), ElementsAreArray(numbers(4)));
  EXPECT_THAT(errors, testing::IsEmpty());
  log_.reset();  // while there is a way to the broker
}

INSTANTIATE_TEST_SUITE_P(lost, kafka_unknown_outcome_test,
                         testing::Values(test::losing_proxy::lost::request, test::losing_proxy::lost::answer),
                         [](const auto& of) { return of.param == test::losing_proxy::lost::answer ? "answer" : "request"; });

TEST_F(kafka_faults_test, ReadsOnAfterTheBrokerWasKilled) {
  auto& mine = mortal();
  auto with = options();
  with.bootstrap = mine.address();
  log_ = open(with);
  const auto in = topic("in");
  append(*log_, in, 0, {{"a", "1"}});
  EXPECT_EQ(read_to_end(*log_, in).size(), 1u);
  mine.kill();
  mine.run("start");
  append(*log_, in, 0, {{"b", "2"}});
  EXPECT_THAT(values(read_to_end(*log_, in, 0, 1)), testing::ElementsAre("2"));
}

TEST_F(kafka_faults_test, RestoresAllOfAStoreThoughTheBrokerIsKilledInTheMiddle) {
  constexpr int keys_of_an_epoch = 20'000;
  constexpr int epochs = 20;
  auto& mine = mortal();
  auto with = options();
  with.bootstrap = mine.address();
  log_ = open(with);
  const auto in = topic("in");
  const group_request request{.group = group_, .topics = {in}, .stores = {"sums"}, .partitions = 1};
  const auto joined = [&](log& on, const std::function<void(group_member&)>& meanwhile) {
    auto member = must(on.join(request));
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(90);
    bool assigned = false;
    while (!assigned || !must(member->ready(0))) {
      if (std::chrono::steady_clock::now() > until) throw std::runtime_error("not restored: " + member->waits_for());
      const auto told = must(member->poll());
      if (told.what == group_event::kind::assigned) assigned = true;
      if (told.what == group_event::kind::revoked || told.what == group_event::kind::lost) {
        assigned = false;
        must(member->release());
      }
      meanwhile(*member);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return member;
  };
  auto member = joined(*log_, [](group_member&) {});
  const std::string value(100, 'v');
  for (int e = 0; e < epochs; ++e) {
    std::vector<std::string> keys;
    for (int k = 0; k < keys_of_an_epoch; ++k) keys.push_back("subject-" + std::to_string(e * keys_of_an_epoch + k));
    epoch_changes epoch;
    epoch.group = group_;
    epoch.consumed.push_back({in, 0, e + 1});
    for (const auto& key : keys) epoch.state.push_back({"sums", 0, as_bytes(key), as_bytes(value)});
    must(log_->commit(epoch));
  }
  member.reset();
  log_.reset();

  auto elsewhere = with;
  elsewhere.state_dir = folder_ / "empty";
  log_ = open(elsewhere);
  bool killed = false;
  std::thread reviver;
  member = joined(*log_, [&](group_member& of) {
    if (killed || of.waits_for().find("state of task 0: ") == std::string::npos || of.waits_for().find(": 0 %") != std::string::npos) return;
    killed = true;
    mine.kill();
    reviver = std::thread([&mine] { mine.run("start"); });
  });
  ASSERT_TRUE(killed) << "it was done before the broker could be killed";
  reviver.join();
  std::int64_t found = 0;
  must(log_->state_scan(group_, "sums", 0, {}, [](void* count, bytes_view, bytes_view) {
    ++*static_cast<std::int64_t*>(count);
    return true;
  }, &found));
  EXPECT_EQ(found, keys_of_an_epoch * epochs);
  member.reset();
}

/// A broker with TLS, SASL and authorisation; what `ops/kafka secured` says of it.
class kafka_secured_test : public kafka_log_test {
 protected:
  static own_broker& brokers() {
    static own_broker mine("--secure", "-secure");
    return mine;
  }
  void SetUp() override {
    SONDER_NEEDS_BROKER();
    auto& mine = brokers();
    std::map<std::string, std::string> of;
    std::istringstream lines(mine.run("secured"));
    for (std::string name, value; lines >> name >> value;) of[name] = value;
    address_ = of.at("address");
    authority_ = of.at("ca");
    for (const char* user : {"admin", "guest"})
      std::getline(std::ifstream(of.at(user)) >> std::ws, passwords_[user]);
    inside_ = mine.address();
  }

  [[nodiscard]] kafka_options as(const std::string& user) const {
    kafka_options made;
    made.bootstrap = address_;
    made.instance = "one";
    made.properties = {{"security.protocol", "SASL_SSL"},
                       {"sasl.mechanisms", "PLAIN"},
                       {"sasl.username", user},
                       {"ssl.ca.location", authority_}};
    made.secrets = {{"sasl.password", passwords_.at(user)}};
    return made;
  }

  std::string address_, inside_, authority_;
  std::map<std::string, std::string> passwords_;
};

TEST_F(kafka_secured_test, WritesAndReadsWithTlsAndSasl) {
  log_ = open(as("admin"));
  const auto in = topic("in");
  group_ = test::name_of_its_own("app");
  must(commit(*log_, in, 1, in, {{"a", "1"}}));
  EXPECT_THAT(read_to_end(*log_, in), testing::ElementsAre("0 a=1"));
}

TEST_F(kafka_secured_test, SaysThatThePasswordIsRefusedAndNeverWhichOneItWas) {
  auto wrong = as("admin");
  wrong.secrets["sasl.password"] = "hunter2";
  std::string lines;
  std::mutex mutex;
  wrong.on_line = [&](int, std::string_view text) {
    const std::lock_guard lock(mutex);
    lines.append(text).append("\n");
  };
  const auto opened = open_kafka_log(wrong);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, errc::invalid);
  EXPECT_THAT(opened.error().message, AllOf(HasSubstr("refuses this client"),
                                            HasSubstr("uthentication"), HasSubstr("log.secrets")));
  EXPECT_THAT(opened.error().message + lines, Not(HasSubstr("hunter2")));
}

TEST_F(kafka_secured_test, SaysThatTheCertificateIsNotTrusted) {
  auto untrusting = as("admin");
  untrusting.properties.erase("ssl.ca.location");
  const auto opened = open_kafka_log(untrusting);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, errc::invalid);
  EXPECT_THAT(opened.error().message, HasSubstr("ssl."));
}

/// One who may do what each test lets him, and no more.
class kafka_refused_test : public kafka_secured_test {
 protected:
  void SetUp() override {
    kafka_secured_test::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    log_ = open(as("admin"));
    group_ = test::name_of_its_own("app");
    in_ = topic("in");
    append(*log_, in_, 0, {{"a", "1"}});
    // The first group of a cluster waits until the topic of all offsets is made; limits.md says
    // what becomes of a commit then.
    must(log_->committed(group_, in_));
  }

  /// What kafka-acls would, by the plain listener, where everybody may.
  void let_guest(rd_kafka_AclOperation_t what, rd_kafka_ResourceType_t on,
                 const std::string& name) {
    auto* conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", inside_.c_str(), nullptr, 0);
    auto* rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, nullptr, 0);
    auto* acl =
        rd_kafka_AclBinding_new(on, name.c_str(), RD_KAFKA_RESOURCE_PATTERN_LITERAL, "User:guest",
                                "*", what, RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW, nullptr, 0);
    auto* answers = rd_kafka_queue_new(rk);
    rd_kafka_CreateAcls(rk, &acl, 1, nullptr, answers);
    auto* answer = rd_kafka_queue_poll(answers, 20'000);
    ASSERT_NE(answer, nullptr);
    std::size_t count = 0;
    const auto* all =
        rd_kafka_CreateAcls_result_acls(rd_kafka_event_CreateAcls_result(answer), &count);
    ASSERT_EQ(count, 1u);
    EXPECT_EQ(rd_kafka_acl_result_error(all[0]), nullptr);
    rd_kafka_event_destroy(answer);
    rd_kafka_queue_destroy(answers);
    rd_kafka_AclBinding_destroy(acl);
    rd_kafka_destroy(rk);
  }
  // Of transactional ids librdkafka 2.0.2 knows no rights.
  void let_guest_write_with(const std::string& transactional_id) {
    brokers().run(
        "tool",
        "AclCommand --add --allow-principal User:guest --operation Write --transactional-id " +
            transactional_id);
  }
  [[nodiscard]] std::string id() const { return group_ + ".one"; }
  [[nodiscard]] std::string the_topic(const std::string& name) const {
    return "topic \"" + name + "\" at " + address_;
  }

  /// Without the " (after 12 ms)" that librdkafka adds to some.
  static std::string without_time(std::string message) {
    const auto from = message.find(" (after ");
    const auto to = message.find("ms)", from);
    return to == std::string::npos ? message : message.erase(from, to + 3 - from);
  }

  /// That it is refused as `invalid` with `says`; what was allowed before reaches a broker a moment
  /// later.
  template <class Call>
  static void expect_refused(const Call& call, const std::string& says) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    for (;;) {
      const auto done = call();
      const auto said = done ? "" : without_time(done.error().message);
      if (!done && done.error().code == errc::invalid && said == says) return;
      if (std::chrono::steady_clock::now() < until) {
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
        continue;
      }
      ASSERT_FALSE(done) << "was not refused";
      EXPECT_EQ(done.error().code, errc::invalid);
      EXPECT_EQ(said, says);
      return;
    }
  }
  std::string in_;
  static constexpr auto rights_of_topic =
      "; let this user read, write and describe the topic and its configuration, and create it if "
      "it shall (kafka-acls)";
  static constexpr auto rights_of_group = "; let this user read the group (kafka-acls)";
};

TEST_F(kafka_refused_test, SaysWhatToLetAUserReadAndDescribe) {
  auto with = as("guest");
  with.request_timeout = std::chrono::seconds(3);  // that of a group waits so long
  const auto guest = open(with);
  expect_refused(
      [&] {
        record_block block;
        return guest->fetch(in_, 0, 0, {}, block);
      },
      the_topic(in_) + ": Broker: Topic authorization failed" + rights_of_topic);
  expect_refused([&] { return guest->describe(in_); },
                 the_topic(in_) + ": Broker: Topic authorization failed" + rights_of_topic);
  let_guest(RD_KAFKA_ACL_OPERATION_READ, RD_KAFKA_RESOURCE_TOPIC, in_);
  expect_refused([&] { return guest->describe(in_); },
                 the_topic(in_) + ": Broker: Topic authorization failed" + rights_of_topic);
  expect_refused([&] { return guest->committed(group_, in_); },
                 "asking what group \"" + group_ + "\" has committed of topic \"" + in_ +
                     "\": Broker: Group authorization failed" + rights_of_group);
}

TEST_F(kafka_refused_test, SaysWhatToLetAUserWrite) {
  const auto out = topic("out");
  const auto guest = open(as("guest"));
  let_guest(RD_KAFKA_ACL_OPERATION_DESCRIBE, RD_KAFKA_RESOURCE_TOPIC, out);
  auto batch = batch_of({{"a", "1"}});
  const produced_batch produced{out, 0, &batch};
  expect_refused(
      [&] {
        return guest->append({&produced, 1});
      },
      "writing records: Failed to acquire idempotence PID from broker sasl_ssl://" + address_ +
          "/1: Broker: Cluster authorization failed; let this user write to its topics, or "
          "idempotently to the cluster, and create topics if it shall (kafka-acls)");
  let_guest(RD_KAFKA_ACL_OPERATION_WRITE, RD_KAFKA_RESOURCE_TOPIC, test::name_of_its_own("other"));
  expect_refused(
      [&] {
        return guest->append({&produced, 1});
      },
      "writing to " + out + "[0]: Broker: Topic authorization failed" + rights_of_topic);
}

TEST_F(kafka_refused_test, SaysWhatToLetAUserMake) {
  const auto guest = open(as("guest"));
  const auto name = test::name_of_its_own("made");
  expect_refused([&] { return guest->create_topic({.name = name}); },
                 the_topic(name) + ": Broker: Topic authorization failed" + rights_of_topic);
  let_guest(RD_KAFKA_ACL_OPERATION_DESCRIBE, RD_KAFKA_RESOURCE_TOPIC, name);
  expect_refused([&] { return guest->create_topic({.name = name}); },
                 "making " + the_topic(name) + ": Authorization failed." + rights_of_topic);
}

TEST_F(kafka_refused_test, SaysWhatToLetAUserDoForEpochs) {
  const auto out = topic("out");
  const auto guest = open(as("guest"));
  let_guest(RD_KAFKA_ACL_OPERATION_READ, RD_KAFKA_RESOURCE_TOPIC, in_);
  let_guest(RD_KAFKA_ACL_OPERATION_DESCRIBE, RD_KAFKA_RESOURCE_TOPIC, out);
  const auto one = [&] { return commit(*guest, in_, 1, out, {{"k", "v"}}); };
  expect_refused(one, "taking over transactional id \"" + id() +
                          "\": Failed to find transaction coordinator: sasl_ssl://" + address_ +
                          "/1: Broker: Transactional Id authorization failed: Transactional Id "
                          "authorization failed.; let this user write with the transactional id "
                          "(kafka-acls), or set log.guarantee: at_least_once");
  let_guest_write_with(id());
  expect_refused(one,
                 "committing the offsets of an epoch: Failed to add offsets to transaction on "
                 "broker TxnCoordinator/1: Broker: Group authorization failed" +
                     std::string(rights_of_group));
  let_guest(RD_KAFKA_ACL_OPERATION_READ, RD_KAFKA_RESOURCE_GROUP, group_);
  // Found while offsets are sent, or after: what was being done differs.
  expect_refused(
      [&]() -> status {
        auto done = one();
        if (done) return done;
        auto why = done.error();
        why.message.erase(0, why.message.find(": ") + 2);
        return tl::unexpected(std::move(why));
      },
      std::string("Failed to add partition(s) to transaction on broker TxnCoordinator/1: Broker: "
                  "Topic authorization failed") +
          rights_of_topic);
  let_guest(RD_KAFKA_ACL_OPERATION_WRITE, RD_KAFKA_RESOURCE_TOPIC, out);
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  auto done = one();
  while (!done && std::chrono::steady_clock::now() < until) done = one();
  EXPECT_TRUE(done) << done.error().message;
  EXPECT_THAT(read_to_end(*log_, out), testing::ElementsAre("0 k=v"));
}

TEST_F(kafka_refused_test, SaysWhatToLetAUserDoToJoinAGroup) {
  const auto guest = open(as("guest"));
  let_guest(RD_KAFKA_ACL_OPERATION_READ, RD_KAFKA_RESOURCE_TOPIC, in_);
  let_guest_write_with(id());
  expect_refused(
      [&]() -> status {
        auto member =
            guest->join({.group = group_, .topics = {in_}, .stores = {}, .partitions = 1});
        if (!member) return tl::unexpected(member.error());
        for (int i = 0; i < 500; ++i) {
          const auto told = (*member)->poll();
          if (!told) return tl::unexpected(told.error());
          std::this_thread::sleep_for(std::chrono::milliseconds(20));
        }
        return {};
      },
      "group \"" + group_ + "\": FindCoordinator response error: Group authorization failed." +
          rights_of_group);
}

}  // namespace
}  // namespace sonder
