#include "flow/patient_registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <nlohmann/json.hpp>
#include <thread>

#include "avro/confluent_registry.h"
#include "avro/framing.h"
#include "avro/registry_server_rig.h"
#include "flow/flow_rig.h"
#include "observe/metrics.h"

namespace sonder {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

/// Answers for what it was given; while it is `down`, for nothing.
class moody_registry final : public schema_registry {
 public:
  bool down = false;
  int asked = 0;
  std::function<void()> takes;  ///< what happens while it is asked; may be empty
  std::map<std::int32_t, schema_ptr> known;

  result<std::int32_t> register_schema(std::string_view, const schema&) override { return 1; }
  result<std::int32_t> id_of(const schema&) override { return 1; }
  result<schema_ptr> by_id(std::int32_t id) override {
    ++asked;
    if (takes) takes();
    if (down) return fail(errc::unavailable, "nobody answers");
    if (const auto found = known.find(id); found != known.end()) return found->second;
    return fail(errc::not_found, "there is none");
  }
  result<std::vector<std::pair<std::int32_t, schema_ptr>>> versions(std::string_view) override { return {}; }
  result<std::vector<std::string>> subjects() override { return {}; }
};

class PatientRegistry : public testing::Test {
 protected:
  [[nodiscard]] patient_registry patient(bool stops) {
    return patient_registry(behind, {.wait = 10s, .stops = stops, .name = "http://r", .now = [this] { return now; }});
  }
  errc code_of(patient_registry& of, std::int32_t id) {
    const auto found = of.by_id(id);
    return found ? errc::internal : found.error().code;
  }
  /// Asks each second, as a task does that waits.
  void keep_asking(patient_registry& of, std::int32_t id, int seconds) {
    for (int i = 0; i < seconds; ++i) {
      EXPECT_EQ(code_of(of, id), errc::unavailable) << "after " << i << " s";
      now += 1s;
    }
  }
  moody_registry behind;
  patient_registry::clock::time_point now{std::chrono::hours(1)};
};

TEST_F(PatientRegistry, WaitsForAnUnknownSchemaAndThenGivesItUp) {
  auto patience = patient(false);
  behind.down = true;
  EXPECT_EQ(code_of(patience, 7), errc::unavailable);
  EXPECT_THAT(patience.waits_for(), HasSubstr("registry http://r: schema 7, which is not known here: nobody answers"));
  EXPECT_FALSE(patience.given_up(7));
  now += 1s;
  keep_asking(patience, 7, 9);
  EXPECT_EQ(code_of(patience, 7), errc::not_found);
  EXPECT_TRUE(patience.given_up(7));
  EXPECT_THAT(patience.waits_for(), IsEmpty());
  EXPECT_EQ(code_of(patience, 8), errc::not_found) << "who is silent for everybody is not waited for anew by each";
  behind.down = false;
  EXPECT_EQ(code_of(patience, 7), errc::not_found);
  EXPECT_FALSE(patience.given_up(7)) << "the registry has said itself that there is none";
}

TEST_F(PatientRegistry, StopsWhereThatIsAskedFor) {
  auto patience = patient(true);
  behind.down = true;
  keep_asking(patience, 7, 10);
  const auto ended = patience.by_id(7);
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().code, errc::io);
  EXPECT_THAT(ended.error().message, HasSubstr("registry http://r has not answered for 10 s, and records wait for schema 7"));
}

TEST_F(PatientRegistry, AnAnswerEndsTheWaitOfThatSchemaAlone) {
  auto patience = patient(false);
  behind.down = true;
  keep_asking(patience, 7, 9);
  behind.down = false;
  EXPECT_EQ(code_of(patience, 8), errc::not_found);
  behind.down = true;
  now += 1s;
  EXPECT_EQ(code_of(patience, 7), errc::not_found) << "10 s have gone since it was first asked for";
  EXPECT_TRUE(patience.given_up(7));
  EXPECT_EQ(code_of(patience, 9), errc::unavailable);
}

TEST_F(PatientRegistry, CountsNoTimeInWhichNobodyAsked) {
  auto patience = patient(true);
  behind.down = true;
  keep_asking(patience, 7, 3);
  now += std::chrono::hours(1);
  keep_asking(patience, 8, 5);  // another one's first question, long after the last of the first
  keep_asking(patience, 7, 5);
  EXPECT_EQ(code_of(patience, 7), errc::io) << "nobody has had an answer for 10 s of asking";
}

TEST_F(PatientRegistry, TakesUpWhatItHadGivenUpOnceItIsAskedForAnew) {
  auto patience = patient(false);
  behind.down = true;
  keep_asking(patience, 7, 10);
  EXPECT_EQ(code_of(patience, 7), errc::not_found);
  now += std::chrono::hours(1);
  keep_asking(patience, 7, 10);
  EXPECT_EQ(code_of(patience, 7), errc::not_found);
}

TEST_F(PatientRegistry, CountsTheTimeThatAQuestionTakes) {
  auto patience = patient(true);
  behind.down = true;
  behind.takes = [this] { now += 6s; };
  EXPECT_EQ(code_of(patience, 7), errc::unavailable);
  now += 1s;
  EXPECT_EQ(code_of(patience, 7), errc::io) << "13 s since the first one began";
}

TEST_F(PatientRegistry, AsksNoMoreOftenThanItsPause) {
  auto patience = patient(false);
  behind.down = true;
  for (int i = 0; i < 100; ++i) EXPECT_EQ(code_of(patience, 7), errc::unavailable);
  EXPECT_EQ(behind.asked, 1);
  now += patient_registry::ask_again;
  EXPECT_EQ(code_of(patience, 7), errc::unavailable);
  EXPECT_EQ(behind.asked, 2);
}

/// A worker beside a registry of Confluent's protocol that goes away.
class WorkerWithoutRegistry : public testing::Test {
 protected:
  WorkerWithoutRegistry() : server([this](const test::registry_server::request& asked) { return answer(asked); }) {
    rig.file("event.avsc", plain_event_schema);
    rig.flow("flow: t\nlog: {kind: embedded, dir: data}\ntopics:\n"
             "  events: {schema: event.avsc, subject: subject_id, event_time: at, partitions: 1}\n"
             "  out: {schema: event.avsc, partitions: 1, carries: [behaviour, quasi_identifier]}\n"
             "  dead_letter: {schema: " + shipped_schemas() + "/dead_letter.avsc, partitions: 1}\n"
             "stages:\n  through: {plugin: passthrough, in: {in: events}}\nsinks:\n  out: through.out\n"
             "run: {commit_interval: 5ms}\n");
    confluent_options how;
    how.url = server.url();
    how.attempts_max = 1;
    how.wait_max = 200ms;
    registry = std::move(*confluent_registry::open(how));
    rig.options().schemas = registry.get();
  }

  test::registry_server::answer answer(const test::registry_server::request& asked) {
    const std::lock_guard lock(mutex);
    if (down) return {503, "", {}};
    const auto told = [](const json& what) { return test::registry_server::answer{200, what.dump(), {}}; };
    if (asked.path.starts_with("/schemas/ids/")) {
      const auto id = std::stoul(asked.path.substr(13));
      if (id >= 1 && id <= texts.size()) return told({{"schema", texts[id - 1]}});
      if (id == recursive_id) return told({{"schema", recursive}});
      return {404, R"({"error_code":40403,"message":"none"})", {}};
    }
    if (holds_recursive && asked.path.ends_with("/events-value/versions") && asked.method == "GET") return told({1});
    if (asked.path.ends_with("/events-value/versions/1")) return told({{"id", recursive_id}, {"schema", recursive}});
    if (asked.method == "GET") return {404, R"({"error_code":40401,"message":"none"})", {}};
    const auto text = json::parse(asked.body)["schema"].get<std::string>();
    const auto found = std::find(texts.begin(), texts.end(), text);
    if (found == texts.end() && !asked.path.ends_with("/versions")) return {404, R"({"error_code":40403,"message":"none"})", {}};
    if (found == texts.end()) texts.push_back(text);
    return told({{"id", std::find(texts.begin(), texts.end(), text) - texts.begin() + 1}});
  }
  void set_down(bool to) {
    const std::lock_guard lock(mutex);
    down = to;
  }

  static std::string text_of(const std::string& text) { return std::string(1, static_cast<char>(2 * text.size())) + text; }
  /// `id` 1: the flow's own schema; others have one field more.
  void give(std::int32_t id, const std::string& event) {
    buffer frame;
    append_frame(id, frame);
    auto value = std::string(as_text({frame.data(), frame.size()})) + text_of(event) + text_of("ana") + '\2' + text_of("t");
    if (id != 1) value += text_of("more");
    rig.give_raw("events", 0, "ana", value);
  }
  /// A new version that somebody else has registered.
  std::int32_t add_version() {
    std::string text = plain_event_schema;
    text.insert(text.rfind(']'), R"(,{"name":"more","type":"string","sonder.privacy":{"categories":[]}})");
    const std::lock_guard lock(mutex);
    texts.push_back(text);
    return static_cast<std::int32_t>(texts.size());
  }
  [[nodiscard]] result<run_summary> run(std::chrono::milliseconds wait, bool stops) {
    auto flow = std::make_shared<graph>(rig.checked());
    flow->options.log.kafka.registry.unknown_schema_wait_ms = wait.count();
    flow->options.log.kafka.registry.unknown_schema_stops = stops;
    return run_worker(flow, rig.on(), rig.options());
  }
  /// Known before, unknown, known after, while the registry goes away as soon as the worker knows its own.
  void give_all() {
    ASSERT_TRUE(run(1s, true));  // registers
    const auto id = add_version();
    set_down(true);
    give(1, "e1");
    give(id, "e2");
    give(1, "e3");
  }

  /// What a worker shows of the topic's lag, once it is at least that much; the last that it showed where it never is.
  double lag_of(std::string_view topic, std::string_view role, double at_least) {
    metrics shown;
    std::atomic<int> stop{0};
    rig.options().observe = &shown;
    rig.options().stop = &stop;
    rig.options().until_idle = false;
    double lag = 0;
    std::thread looks([&] {
      for (int i = 0; i < 1'000 && lag < at_least; ++i) {
        std::this_thread::sleep_for(10ms);
        lag = shown.value_of(metric::source_lag, {topic, role});
      }
      stop = 1;
    });
    const auto ended = run(60s, false);
    looks.join();
    rig.options().observe = nullptr;
    rig.options().stop = nullptr;
    EXPECT_TRUE(ended) << ended.error().message;
    return lag;
  }

  /// A table of three records, the second of which has a schema that is not known here.
  void give_table(const std::string& role) {
    const auto text_field = [](const std::string& name) { return R"({"name":")" + name + R"(","type":"string","sonder.privacy":{"categories":[]}})"; };
    rig.file("item.avsc", R"({"type":"record","name":"item","fields":[)" + text_field("id") + "," + text_field("title") + "]}");
    rig.file("found.avsc", R"({"type":"record","name":"found","fields":[)" + text_field("event_id") + "," + text_field("title") +
                               R"(,{"name":"times","type":"long","sonder.privacy":{"categories":[]}}]})");
    rig.flow("flow: t\nlog: {kind: embedded, dir: data}\ntopics:\n"
             "  events: {schema: event.avsc, subject: subject_id, event_time: at, partitions: 1}\n"
             "  items: {schema: item.avsc, key: id, partitions: 1, role: " + role + ", compact: true}\n"
             "  out: {schema: found.avsc, key: event_id, partitions: 1, carries: [behaviour, quasi_identifier]}\n"
             "  dead_letter: {schema: " + shipped_schemas() + "/dead_letter.avsc, partitions: 1}\n"
             "stages:\n  look: {plugin: lookup, in: {events: events, items: items}}\nsinks:\n  out: look.out\nrun: {commit_interval: 5ms}\n");
    ASSERT_TRUE(run(1s, true)) << rig.findings();  // registers
    const auto id_of = [&](const std::string& name) {
      const std::lock_guard lock(mutex);
      const auto found = std::find_if(texts.begin(), texts.end(), [&](const auto& text) { return text.find("\"" + name + "\"") != std::string::npos; });
      return static_cast<std::int32_t>(found - texts.begin() + 1);
    };
    const auto give_item = [&](std::int32_t schema_id, const std::string& id) {
      buffer frame;
      append_frame(schema_id, frame);
      rig.give_raw("items", 0, id, std::string(as_text({frame.data(), frame.size()})) + text_of(id) + text_of("one"));
    };
    give_item(id_of("item"), "a");
    give_item(999, "b");
    give_item(id_of("item"), "c");
  }

  static constexpr unsigned long recursive_id = 99;
  static constexpr auto recursive = R"({"type":"record","name":"event","fields":[{"name":"more","type":["null","event"]}]})";

  std::mutex mutex;
  bool down = false;                // guarded by mutex
  bool holds_recursive = false;     // as the first version for the events' topic; set before the run
  std::vector<std::string> texts;   // guarded by mutex; index + 1 = id
  test::registry_server server;
  std::unique_ptr<confluent_registry> registry;
  flow_rig rig;
};

TEST_F(WorkerWithoutRegistry, GoesOnWithKnownSchemasAndWithTheOthersOnceItIsBack) {
  give_all();
  std::string said;
  rig.options().readiness = [&](bool ready, const std::string& why) {
    if (!ready && said.find("not known here") == std::string::npos) said = why;
  };
  std::thread mender([&] {
    for (int i = 0; i < 500 && rig.raw("out", 0).empty(); ++i) std::this_thread::sleep_for(10ms);
    EXPECT_THAT(rig.raw("out", 0), SizeIs(1)) << "what lies before the unknown one does not wait for it";
    std::this_thread::sleep_for(300ms);
    set_down(false);
  });
  const auto ended = run(60s, true);
  mender.join();
  ASSERT_TRUE(ended) << ended.error().message;
  EXPECT_THAT(ended->unbalanced, IsEmpty());
  EXPECT_THAT(rig.raw("out", 0), SizeIs(3));
  EXPECT_THAT(rig.raw("dead_letter", 0), IsEmpty());
  EXPECT_THAT(said, HasSubstr("which is not known here"));
}

TEST_F(WorkerWithoutRegistry, BuriesWhatHasWaitedLongEnoughAndGoesOn) {
  give_all();
  const auto ended = run(400ms, false);
  ASSERT_TRUE(ended) << ended.error().message;
  EXPECT_THAT(ended->unbalanced, IsEmpty());
  EXPECT_EQ(ended->ports.at(0).dead_lettered, (std::map<std::string, std::uint64_t>{{"schema_unanswered", 1}}));
  EXPECT_THAT(rig.raw("out", 0), SizeIs(2));
}

TEST_F(WorkerWithoutRegistry, CountsWhatWaitsInAGlobalTableAsItsLag) {
  give_table("global");
  set_down(true);
  EXPECT_EQ(lag_of("items", "global", 2), 2) << "the record that waits for its schema, and the one behind it";
}

TEST_F(WorkerWithoutRegistry, CountsWhatWaitsInATableAsItsLag) {
  give_table("table");
  set_down(true);
  EXPECT_EQ(lag_of("items", "table", 2), 2) << "also with no event that it would hold up";
}

TEST_F(WorkerWithoutRegistry, CountsWhatWaitsInAFeedbackTopicAsItsLag) {
  rig.flow("flow: t\nlog: {kind: embedded, dir: data}\ntopics:\n"
           "  events: {schema: event.avsc, subject: subject_id, event_time: at, partitions: 1, feedback: true}\n"
           "  dead_letter: {schema: " + shipped_schemas() + "/dead_letter.avsc, partitions: 1}\n"
           "stages:\n  through: {plugin: passthrough, in: {in: events}}\nsinks:\n  events: through.out\n");
  ASSERT_TRUE(run(1s, true)) << rig.findings();  // registers
  const auto id = add_version();
  set_down(true);
  for (int i = 0; i < 5'000; ++i) give(id, "e");
  EXPECT_EQ(lag_of("events", "event", 5'000), 5'000) << "more than is fetched at once";
}

TEST_F(WorkerWithoutRegistry, BuriesARecordOfAGlobalTableThatLiesBehindOneWhichWasApplied) {
  give_table("global");
  give(1, "e1");  // waits for the table
  set_down(true);
  const auto ended = run(400ms, false);
  ASSERT_TRUE(ended) << ended.error().message;
  ASSERT_THAT(rig.raw("dead_letter", 0), SizeIs(1));
  EXPECT_THAT(as_text(rig.raw("dead_letter", 0)[0].value), AllOf(HasSubstr("schema_unanswered"), HasSubstr("items")));
  EXPECT_THAT(rig.raw("out", 0), SizeIs(1));
  set_down(false);
  give(1, "e2");
  ASSERT_TRUE(run(400ms, false));
  EXPECT_THAT(rig.raw("out", 0), SizeIs(2));
  EXPECT_THAT(rig.raw("dead_letter", 0), SizeIs(1)) << "it is buried once, over all runs";
}

TEST_F(WorkerWithoutRegistry, StopsAndGoesOnFromThereWhenItIsStartedAgain) {
  give_all();
  const auto stopped = run(400ms, true);
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, errc::io);
  EXPECT_THAT(stopped.error().message, HasSubstr("see to the registry, then start it again"));
  EXPECT_THAT(rig.raw("dead_letter", 0), IsEmpty());
  set_down(false);
  const auto ended = run(400ms, true);
  ASSERT_TRUE(ended) << ended.error().message;
  EXPECT_THAT(rig.raw("out", 0), SizeIs(3));
}

TEST_F(WorkerWithoutRegistry, IsNotStartedWhereASchemaThatCannotBeReadMayLabelMore) {
  holds_recursive = true;
  const auto refused = run(1s, true);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, errc::invalid);
  EXPECT_THAT(refused.error().message,
              HasSubstr("topic \"events\": field \"event_id\": schema 99 of the registry cannot be read, so that its "
                        "label is not known; register the flow's schema under subject \"events-value\" first"));
}

TEST_F(WorkerWithoutRegistry, MayBeForbiddenToAddSchemas) {
  confluent_options how;
  how.url = server.url();
  how.auto_register = false;
  auto reads_only = std::move(*confluent_registry::open(how));
  rig.options().schemas = reads_only.get();
  const auto refused = run(1s, true);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, errc::not_found);
  EXPECT_THAT(refused.error().message, HasSubstr("subject \"events-value\" does not have schema \"event\"; register it there, or let "
                                                 "this program do it (`register: true`)"));
  EXPECT_THAT(texts, IsEmpty());
}

}  // namespace
}  // namespace sonder
