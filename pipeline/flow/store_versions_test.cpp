#include "flow/store_versions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "flow/flow_rig.h"
#include "flow/forwarding_log_rig.h"
#include "observe/log.h"

// State that an earlier version of a plugin wrote, found by a later one, and the other way round.
namespace sonder {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

std::string four(int number) { return std::to_string(10'000 + number).substr(1); }

/// Takes so few changes at once, and so many epochs; then another has taken over, as after a kill.
class mortal_log final : public forwarding_log {
 public:
  mortal_log(log& behind, int epochs, errc then) : forwarding_log(behind), epochs_(epochs), then_(then) {}
  epoch_limits limits() const noexcept override { return {.records_max = 32}; }
  status commit(const epoch_changes& epoch) override {
    if (epochs_-- == 0) return fail(then_, "the log goes away");
    ++taken;
    return forwarding_log::commit(epoch);
  }
  int taken = 0;

 private:
  int epochs_;
  errc then_;
};

class StoreVersions : public testing::Test {
 protected:
  StoreVersions() {
    rig.file("event.avsc", plain_event_schema);
    rig.file("counted.avsc", counted_schema);
  }
  void flow(const std::string& plugin, const std::string& port, const std::string& schema = "event.avsc", const std::string& more = "") {
    rig.flow(
        "flow: t\nlog: {kind: embedded, dir: data}\ndead_letter: none\ntopics:\n"
        "  events: {schema: event.avsc, subject: subject_id, event_time: at, partitions: 1}\n"
        "  out: {schema: " +
        schema +
        ", partitions: 1, carries: [behaviour, quasi_identifier]}\n"
        "stages:\n  it: {plugin: " +
        plugin + ", in: {" + port + ": events}" + more + "}\nsinks:\n  out: it.out\n");
  }
  /// As an epoch of an earlier plugin left it.
  void write(const std::string& store, const std::map<std::string, std::string>& entries) {
    rig.give("events", {});
    epoch_changes epoch;
    epoch.group = "t";
    epoch.consumed.push_back({"events", 0, 0});
    for (const auto& [key, value] : entries) epoch.state.push_back({store, 0, as_bytes(key), as_bytes(value)});
    ASSERT_TRUE(rig.on().commit(epoch));
  }
  std::map<std::string, std::string> read(const std::string& store, const std::string& prefix = "") {
    std::map<std::string, std::string> found;
    const auto visit = [](void* ctx, bytes_view key, bytes_view value) {
      static_cast<std::map<std::string, std::string>*>(ctx)->emplace(as_text(key), as_text(value));
      return true;
    };
    EXPECT_TRUE(rig.on().state_scan("t", store, 0, as_bytes(prefix), visit, &found));
    return found;
  }
  /// Entries of version 1, and what they are in version 2.
  void keep(int entries) {
    std::map<std::string, std::string> old;
    for (int i = 0; i < entries; ++i) {
      old[four(i)] = four(i);
      if (i > 0) turned[four(i + 1)] = "+" + four(i);
    }
    write("it.kept", old);
  }

  flow_rig rig;
  std::map<std::string, std::string> turned;
};

TEST_F(StoreVersions, MigrateWhatAnEarlierVersionWroteBeforeTheFirstRow) {
  flow("counter", "events", "counted.avsc");
  write("it.counts", {{"ana", "#5"}});
  rig.give("events", {event("e1", "ana", 1)});
  rig.run();
  EXPECT_THAT(rig.records("out"), ElementsAre(R"({"event_id":"e1","count":6})"));
  rig.give("events", {event("e2", "ana", 2)});
  rig.run();
  EXPECT_THAT(rig.records("out"), testing::Contains(R"({"event_id":"e2","count":7})"));
}

TEST_F(StoreVersions, MigrateKeysThatMoveToWhereOldOnesAre) {
  flow("keeper", "texts");
  keep(100);
  rig.give("events", {event("e1", "ana", 1)});
  mortal_log on(rig.on(), -1, errc::fenced);
  ASSERT_TRUE(rig.try_run_on(on));
  EXPECT_EQ(read("it.kept"), turned);
  EXPECT_THAT(read("it.~parked", "m"), IsEmpty());
  EXPECT_LE(on.taken, 100 / 8 * 3);
}

TEST_F(StoreVersions, GoOnWithAMigrationThatWasKilledAnywhere) {
  flow("keeper", "texts");
  keep(40);
  rig.give("events", {event("e1", "ana", 1)});
  int kills = 0;
  for (bool done = false; !done; ++kills) {
    mortal_log on(rig.on(), kills == 0 ? 0 : 1, errc::fenced);
    done = rig.try_run_on(on).has_value();
    if (!done) {
      EXPECT_THAT(rig.records("out"), IsEmpty());
    }
    rig.reopen();
    ASSERT_LT(kills, 100);
  }
  EXPECT_GT(kills, 5);
  EXPECT_EQ(read("it.kept"), turned);
  EXPECT_THAT(rig.records("out"), SizeIs(1));
}

TEST_F(StoreVersions, MigrateAgainWhatCouldNotBeCommitted) {
  flow("keeper", "texts");
  keep(40);
  rig.give("events", {event("e1", "ana", 1)});
  mortal_log on(rig.on(), 2, errc::io);
  const auto summary = rig.try_run_on(on);
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_EQ(summary->epochs_discarded, 1U);
  EXPECT_EQ(read("it.kept"), turned);
}

TEST_F(StoreVersions, RefuseStateOfALaterVersion) {
  flow("keeper", "texts");
  rig.give("events", {event("e1", "ana", 1)});
  rig.run();
  const auto note = read("it.~parked", "v");
  ASSERT_THAT(note, SizeIs(1));
  flow("hoarder", "texts");
  write("it.~parked", {{"vhoard", note.at("vkept")}});
  rig.give("events", {event("e2", "ana", 2)});
  const auto ended = rig.try_run();
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().code, errc::unsupported);
  EXPECT_THAT(ended.error().message,
              HasSubstr("stage \"it\": store \"hoard\" of task 0 is in version 2, and plugin hoarder 1.0.0 only knows version 1; install the "
                        "plugin whose manifest has version 2 of the store, or take the state away: sonder reset"));
}

TEST_F(StoreVersions, RefuseAStoreThatIsHalfWayToAnotherVersion) {
  flow("keeper", "texts");
  keep(40);
  rig.give("events", {event("e1", "ana", 1)});
  mortal_log on(rig.on(), 2, errc::fenced);
  ASSERT_FALSE(rig.try_run_on(on));
  auto note = read("it.~parked", "v").at("vkept");
  flow("hoarder", "texts");
  write("it.~parked", {{"vhoard", note}});
  const auto ended = rig.try_run();
  ASSERT_FALSE(ended);
  EXPECT_THAT(ended.error().message, HasSubstr("is half-way from version 1 to 2, and plugin hoarder 1.0.0 has version 1"));
}

TEST_F(StoreVersions, SayWhenThePluginCannotTurnAnEntry) {
  flow("keeper", "texts");
  write("it.kept", {{"bad", "x"}});
  rig.give("events", {event("e1", "ana", 1)});
  const auto ended = rig.try_run();
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().code, errc::plugin);
  EXPECT_THAT(ended.error().message, HasSubstr("plugin keeper cannot turn an entry of version 1 into version 2: no entry of version 1"));
  EXPECT_EQ(read("it.kept"), (std::map<std::string, std::string>{{"bad", "x"}}));
  EXPECT_THAT(read("it.~parked", "v"), IsEmpty());
}

TEST_F(StoreVersions, EndTheProcessWhereMigrateDoesNotComeBackInTime) {
  flow("keeper", "texts", "event.avsc", ", deadline: 100ms");
  write("it.kept", {{"slow", "x"}});
  log_options how;
  how.form = log_form::json;
  const auto lines = std::move(*logger::open(how));
  rig.options().lines = lines.get();
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_EXIT((void)rig.try_run(), testing::ExitedWithCode(exit_deadline_passed),
              "a plugin's call passed its deadline; the process ends, and what is not committed is not kept.*\"stage\":\"it\"");
}

TEST_F(StoreVersions, AreNotMigratedWhereEntriesAndTheirNoteAreNotOne) {
  flow("keeper", "texts");
  keep(3);
  auto unsure = std::make_shared<graph>(rig.checked());
  unsure->options.log.kafka.exactly_once = false;
  const auto refused = run_worker(unsure, rig.on(), rig.options());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, errc::unsupported);
  EXPECT_THAT(
      refused.error().message,
      HasSubstr("is in version 1, and can be migrated to 2 only where entries and note are one: stop all workers, run the flow once with "
                "exactly_once (sonder run CONFIG --set log.guarantee=exactly_once --until-idle), then as before; or install the plugin"));
  EXPECT_THAT(read("it.~parked", "v"), IsEmpty());
  EXPECT_THAT(read("it.kept"), SizeIs(3));
  ASSERT_TRUE(rig.try_run()) << "what the message says";
  EXPECT_EQ(read("it.kept"), turned);
  EXPECT_TRUE(run_worker(unsure, rig.on(), rig.options()));
}

TEST_F(StoreVersions, RefuseToGuessWhereThePluginHasNoMigrate) {
  flow("settler", "texts");
  write("it.kept", {{"0001", "0001"}});
  const auto ended = rig.try_run();
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().code, errc::unsupported);
  EXPECT_THAT(ended.error().message, HasSubstr("is in version 1, and plugin settler 2.0.0 has version 2 and no `migrate`; install the plugin whose"));
}

}  // namespace
}  // namespace sonder
