#include "avro/registry.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "avro/compatibility.h"
#include "avro/framing.h"
#include "avro/test_rows.h"

namespace sonder::test {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class folder : public testing::Test {
 protected:
  void SetUp() override { fs::create_directories(path_); }
  void TearDown() override { fs::remove_all(path_); }
  void write(const std::string& name, std::string_view text) const {
    std::ofstream(path_ / name) << text;
  }

  const fs::path path_ = fs::path(testing::TempDir()) /
                         (std::string("sonder_registry_") +
                          testing::UnitTest::GetInstance()->current_test_info()->name());
};

std::unique_ptr<indexed_registry> open(std::unique_ptr<schema_index> index) {
  auto registry = indexed_registry::open(std::move(index));
  EXPECT_TRUE(registry) << registry.error().message;
  return registry ? *std::move(registry) : nullptr;
}

TEST(Registry, GivesOneIdToEqualSchemasAndAnotherToOtherLabels) {
  const auto registry = open(make_memory_index());
  const auto plain = schema_of(record_of("\"int\""));
  const auto labelled = schema_of(record_of("\"int\"", R"(,"sonder.privacy":["pseudonym"])"));
  EXPECT_EQ(*registry->register_schema("a", *plain), 1);
  EXPECT_EQ(*registry->register_schema("a", *plain), 1);
  EXPECT_EQ(*registry->register_schema("b", *plain), 1);
  EXPECT_EQ(*registry->register_schema("a", *labelled), 2);
  EXPECT_EQ(*registry->id_of(*labelled), 2);
  EXPECT_EQ(to_json(**registry->by_id(2)), to_json(*labelled));
  EXPECT_EQ(registry->versions("a")->size(), 2u);
  EXPECT_EQ(registry->versions("b")->size(), 1u);
  EXPECT_THAT(*registry->subjects(), ElementsAre("a", "b"));
}

TEST(Registry, SaysWhatItDoesNotKnow) {
  const auto registry = open(make_memory_index());
  EXPECT_EQ(registry->by_id(7).error().message, "no schema has the id 7");
  EXPECT_EQ(registry->by_id(7).error().code, errc::not_found);
  EXPECT_EQ(registry->id_of(*schema_of("\"int\"")).error().code, errc::not_found);
  EXPECT_TRUE(registry->versions("nobody")->empty());
}

using FolderRegistry = folder;

TEST_F(FolderRegistry, KeepsIdsOverARestart) {
  write("journal.avsc", record_of("\"int\""));
  write("consent.avsc", record_of("\"string\""));
  write("notes.txt", "no schema");
  {
    const auto registry = open(make_file_index(path_ / "ids.jsonl"));
    EXPECT_EQ(*registry->register_folder(path_), 2u);
  }
  write("journal.avsc", record_of("\"long\""));
  const auto registry = open(make_file_index(path_ / "ids.jsonl"));
  EXPECT_EQ(*registry->register_folder(path_), 2u);
  EXPECT_EQ(*registry->id_of(*schema_of(record_of("\"string\""))), 1);
  EXPECT_EQ(*registry->id_of(*schema_of(record_of("\"int\""))), 2);
  EXPECT_EQ(*registry->id_of(*schema_of(record_of("\"long\""))), 3);
  EXPECT_EQ(registry->versions("journal")->size(), 2u);
}

TEST_F(FolderRegistry, SeesWhatAnotherProcessRegistered) {
  const auto one = open(make_file_index(path_ / "ids.jsonl"));
  const auto two = open(make_file_index(path_ / "ids.jsonl"));
  EXPECT_EQ(*one->register_schema("a", *schema_of("\"int\"")), 1);
  EXPECT_EQ(*two->register_schema("a", *schema_of("\"long\"")), 2);
  EXPECT_EQ((*one->by_id(2))->type, avro_type::int64);
}

TEST_F(FolderRegistry, ForgetsALineThatACrashCutOff) {
  {
    EXPECT_EQ(
        *open(make_file_index(path_ / "ids.jsonl"))->register_schema("a", *schema_of("\"int\"")),
        1);
  }
  std::ofstream(path_ / "ids.jsonl", std::ios::app) << R"({"id":2,"schema":"\"lo)";
  const auto registry = open(make_file_index(path_ / "ids.jsonl"));
  EXPECT_EQ(*registry->register_schema("a", *schema_of("\"string\"")), 2);
  EXPECT_EQ((*open(make_file_index(path_ / "ids.jsonl"))->by_id(2))->type, avro_type::string);
}

TEST_F(FolderRegistry, ADamagedIndexIsAnErrorThatNamesTheLine) {
  write("ids.jsonl", "{\"id\":1}\n");
  EXPECT_THAT(indexed_registry::open(make_file_index(path_ / "ids.jsonl")).error().message,
              HasSubstr("ids.jsonl:1: is no entry of a schema index"));
}

TEST_F(FolderRegistry, ASchemaFileThatDoesNotParseIsNamed) {
  write("bad.avsc", R"({"type":"record","name":"r"})");
  const auto registry = open(make_memory_index());
  EXPECT_THAT(registry->register_folder(path_).error().message,
              HasSubstr("bad.avsc: schema: record \"r\" has no array of \"fields\""));
}

TEST(Registry, IsSafeFromManyThreads) {
  const auto registry = open(make_memory_index());
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i) {
        const auto s =
            parse_schema(R"({"type":"fixed","name":"f","size":)" + std::to_string(i) + "}");
        const auto id = registry->register_schema("s", **s);
        if (!id || (*registry->by_id(*id))->size != i) ADD_FAILURE();
      }
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(registry->versions("s")->size(), 20u);
}

TEST(Framing, ReadsBackWhatItWrites) {
  buffer out;
  append_frame(0x01020304, out);
  out.append("body", 4);
  const auto parsed = parse_frame({out.data(), out.size()});
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->schema_id, 0x01020304);
  EXPECT_EQ(as_text(parsed->body), "body");
}

TEST(Framing, RefusesWhatIsNoFrame) {
  EXPECT_FALSE(parse_frame({}));
  EXPECT_FALSE(parse_frame(bytes{0, 0, 0, 1}));
  EXPECT_FALSE(parse_frame(bytes{1, 0, 0, 0, 1}));
  EXPECT_FALSE(parse_frame(bytes{0, 0x80, 0, 0, 1})) << "ids are not negative";
  EXPECT_TRUE(parse_frame(bytes{0, 0, 0, 0, 1}));
}

TEST(Compatibility, NamesDirectionVersionAndField) {
  const auto v1 = schema_of(record_of("\"int\""));
  const auto v2 = schema_of(record_of("\"long\""));
  const auto v3 = schema_of(
      R"({"type":"record","name":"r","fields":[{"name":"v","type":"long"},{"name":"w","type":"int"}]})");
  const std::vector<schema_ptr> versions = {v1, v2};
  EXPECT_THAT(check_compatibility(*v3, versions, compatibility::forward), IsEmpty());
  EXPECT_THAT(check_compatibility(*v3, versions, compatibility::backward),
              ElementsAre("BACKWARD with version 2: field \"w\": the writer lacks it and it has no "
                          "default in \"r\""));
  EXPECT_THAT(
      check_compatibility(*v3, versions, compatibility::forward_transitive),
      ElementsAre("FORWARD with version 1: field \"v\": the writer's long cannot be read as int"));
  EXPECT_EQ(check_compatibility(*v3, versions, compatibility::full_transitive).size(), 3u);
  EXPECT_THAT(check_compatibility(*v3, versions, compatibility::none), IsEmpty());
  EXPECT_THAT(check_compatibility(*v3, {}, compatibility::full), IsEmpty());
}

TEST(Compatibility, NamesReadBack) {
  EXPECT_EQ(*parse_compatibility("backward_transitive"), compatibility::backward_transitive);
  EXPECT_EQ(name(compatibility::full), "FULL");
  EXPECT_THAT(parse_compatibility("both").error().message,
              HasSubstr("expected one of NONE, BACKWARD"));
}

}  // namespace
}  // namespace sonder::test
