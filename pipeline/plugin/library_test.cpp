#include "plugin/library.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <vector>

namespace sonder {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string plugin(const std::string& name) {
  return std::string(SONDER_TESTING_PLUGINS) + "/" + name + ".so";
}

/// A copy of a test plugin in which `from` became `to`, of the same length.
std::string patched(const std::string& name, std::string_view from, std::string_view to) {
  std::ifstream in(plugin(name), std::ios::binary);
  std::string bytes(std::istreambuf_iterator<char>(in), {});
  const auto at = bytes.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  EXPECT_EQ(from.size(), to.size());
  bytes.replace(at, from.size(), to);
  const auto path = ::testing::TempDir() + "sonder_library_test.so";
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
  return path;
}

TEST(PluginLibrary, LoadsAndGivesManifestAndTable) {
  const auto loaded = plugin_library::load(plugin("counter"));
  ASSERT_TRUE(loaded.has_value()) << loaded.error().message;
  EXPECT_EQ((*loaded)->declared().id, "counter");
  EXPECT_NE((*loaded)->calls().process, nullptr);
  EXPECT_NE((*loaded)->calls().migrate, nullptr);
  const auto quiet = plugin_library::load(plugin("passthrough"));
  ASSERT_TRUE(quiet.has_value());
  EXPECT_EQ((*quiet)->calls().fire, nullptr);
}

TEST(PluginLibrary, RefusesAnotherAbiBeforeItsCodeRuns) {
  const auto path =
      patched("passthrough", R"("major": 1, "minor": 0)", R"("major": 2, "minor": 1)");
  const auto loaded = plugin_library::load(path);
  ASSERT_FALSE(loaded.has_value());
  EXPECT_EQ(loaded.error().code, errc::unsupported);
  EXPECT_EQ(loaded.error().message, path +
                                        ": built for sonder ABI 2.1, this host offers 1.0; rebuild "
                                        "against sonder 1.x or use a newer host");
}

TEST(PluginLibrary, RefusesWhatIsNoPlugin) {
  EXPECT_THAT(plugin_library::load("no/such.so").error().message, StartsWith("no/such.so: "));
  EXPECT_THAT(plugin_library::load("/").error().message, EndsWith("not a regular file"));
  const auto path = patched("passthrough", ".sonder_manifest", ".sonder_monifest");
  EXPECT_EQ(plugin_library::load(path).error().message,
            path +
                ": has no section .sonder_manifest, so it is no Sonder plugin; build it with "
                "sonder_plugin() of the SDK");
}

TEST(PluginLibrary, NamesThePropertyOfAManifestThatIsWrong) {
  const auto path = patched("passthrough", R"("role": "event")", R"("role": "evnet")");
  EXPECT_EQ(plugin_library::load(path).error().message,
            path + ": /inputs/0/role: wants one of \"event\", \"table\"; did you mean \"event\"?");
}

// ---- Negotiation, on tables as older and newer headers would make them ----

class Negotiation : public ::testing::Test {
 protected:
  Negotiation() {
    const auto loaded = plugin_library::load(plugin("passthrough"));
    declared = (*loaded)->declared();
    table = (*loaded)->calls();
  }
  std::string refusal() { return negotiate(&table, declared, agreed).error().message; }

  manifest declared;
  sonder_plugin table{};
  sonder_plugin agreed{};
};

TEST_F(Negotiation, TakesATableOfItsOwnSize) {
  ASSERT_TRUE(negotiate(&table, declared, agreed).has_value());
  EXPECT_EQ(agreed.process, table.process);
}

TEST_F(Negotiation, IgnoresWhatALongerTableHasMore) {
  std::vector<std::uint8_t> longer(sizeof table + 64, 0xEE);
  table.struct_size = static_cast<std::uint32_t>(longer.size());
  std::memcpy(longer.data(), &table, sizeof table);
  ASSERT_TRUE(negotiate(reinterpret_cast<const sonder_plugin*>(longer.data()), declared, agreed)
                  .has_value());
  EXPECT_EQ(agreed.process, table.process);
}

TEST_F(Negotiation, RefusesATableThatIsShorterThanTheFirstOne) {
  table.struct_size = offsetof(sonder_plugin, process);
  EXPECT_EQ(refusal(),
            "struct_size of its table is 40, sonder 1.0 has 64; set it to sizeof(sonder_plugin)");
}

TEST_F(Negotiation, NamesWhatATableLacks) {
  table.process = nullptr;
  EXPECT_EQ(refusal(), "its table lacks process");
  EXPECT_EQ(negotiate(nullptr, declared, agreed).error().message,
            "sonder_plugin_entry answered no table");
}

TEST_F(Negotiation, RefusesTimersWithoutFire) {
  declared.timers = {"expiry"};
  EXPECT_EQ(refusal(), "its table lacks fire, and its manifest declares timers");
}

TEST_F(Negotiation, RefusesATableOfAnotherVersionThanTheManifest) {
  table.abi_minor = 3;
  EXPECT_EQ(
      refusal(),
      "its manifest says sonder ABI 1.0, its table 1.3; rebuild it with one version of sonder");
}

// ---- Answers ----

TEST(ReadAnswer, MakesEveryMessageSafeToShow) {
  auto said = empty_error();
  std::memset(said.message, 'x', sizeof said.message);
  EXPECT_EQ(read_answer(SONDER_FATAL, said).message.size(), sizeof said.message);
  std::strcpy(said.message, "a\nb\x1b[2J");
  EXPECT_EQ(read_answer(SONDER_FATAL, said).message, "a b [2J");
  std::strcpy(said.message, "\xff\xfe");
  EXPECT_EQ(read_answer(SONDER_FATAL, said).message, "(its message is not UTF-8)");
  said.message[0] = 0;
  EXPECT_EQ(read_answer(SONDER_RETRY, said).message, "(without a message)");
}

TEST(ReadAnswer, TakesAnUnknownStatusForTheWorst) {
  EXPECT_EQ(read_answer(-1, empty_error()).status, SONDER_FATAL);
  EXPECT_EQ(read_answer(6, empty_error()).message, "answered the unknown status 6");
  EXPECT_EQ(read_answer(SONDER_OK, empty_error()).message, "");
}

}  // namespace
}  // namespace sonder
