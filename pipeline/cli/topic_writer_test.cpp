#include "cli/topic_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "avro/json.h"
#include "cli/place.h"
#include "cli/record_reader.h"
#include "cli/topic_shape.h"
#include "flow/schema_notes.h"
#include "log/embedded/embedded_log.h"

namespace sonder::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr auto consent_schema = R"({"type":"record","name":"consent","fields":[
  {"name":"subject_id","type":"string"},
  {"name":"purpose","type":"string"},
  {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}}]})";

struct TopicWriter : ::testing::Test {
  std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("sonder_writer_" + std::to_string(::getpid()));
  std::unique_ptr<embedded_log> on;
  std::unique_ptr<indexed_registry> schemas;
  schema_ptr of = parse_schema(consent_schema).value();

  void SetUp() override {
    embedded_options options;
    options.fsync = false;
    auto opened = open_embedded_log(folder, options);
    ASSERT_TRUE(opened) << opened.error().message;
    on = std::move(*opened);
    auto registry = open_log_registry(*on);
    ASSERT_TRUE(registry) << registry.error().message;
    schemas = std::move(*registry);
  }
  void TearDown() override {
    schemas.reset();
    on.reset();
    std::filesystem::remove_all(folder);
  }

  record_shape shape(std::vector<std::string> key, std::int32_t partitions) {
    EXPECT_TRUE(on->create_topic({.name = "t", .partitions = partitions}));
    const auto id = schemas->register_schema(value_subject("t"), *of);
    EXPECT_TRUE(id);
    return {"t", partitions, of, *id, "subject_id", "at", std::move(key)};
  }

  status write(record_shape how, const std::vector<std::string>& json_rows) {
    columns rows(column_fields(*of));
    json_row_reader reader(of);
    for (const auto& json : json_rows) SONDER_TRY(reader.append(json, rows));
    auto writer = topic_writer::create(*on, std::move(how), rows.fields());
    if (!writer) return tl::unexpected(writer.error());
    SONDER_TRY((*writer)->write(rows));
    return (*writer)->flush();
  }

  std::vector<std::string> printed(std::int32_t partition, schema_ptr key_of = nullptr) {
    value_reader values(*schemas, nullptr);
    record_printer printer("t", values, std::move(key_of));
    record_block block;
    EXPECT_TRUE(on->fetch("t", partition, 0, {}, block));
    std::vector<std::string> out;
    for (const auto& record : block.records) printer.print(partition, record, out.emplace_back());
    return out;
  }
};

TEST_F(TopicWriter, KeysByOneFieldAsItsTextAndTakesTheTimeFromTheEvent) {
  ASSERT_TRUE(write(shape({"subject_id"}, 1), {R"({"subject_id":"ana","purpose":"p","at":1500})"}));
  EXPECT_THAT(printed(0),
              ElementsAre("{\"topic\":\"t\",\"partition\":0,\"offset\":0,\"timestamp_ms\":1500,"
                          "\"key\":\"ana\",\"headers\":{},"
                          "\"value\":{\"subject_id\":\"ana\",\"purpose\":\"p\",\"at\":1500}}\n"));
}

TEST_F(TopicWriter, KeysBySeveralFieldsAsAvroThatThePrinterReads) {
  ASSERT_TRUE(
      write(shape({"subject_id", "purpose"}, 1), {R"({"subject_id":"ana","purpose":"p","at":1})"}));
  EXPECT_THAT(printed(0, key_schema(*of, {"subject_id", "purpose"})),
              ElementsAre(HasSubstr(R"("key":{"subject_id":"ana","purpose":"p"})")));
  EXPECT_THAT(printed(0), ElementsAre(HasSubstr(R"("key":{"base64":"BmFuYQJw"})")));
}

TEST_F(TopicWriter, PutsARecordWhereKafkaWouldPutItsSubjectWhateverTheKey) {
  ASSERT_TRUE(
      write(shape({"subject_id", "purpose"}, 4), {R"({"subject_id":"ana","purpose":"p","at":1})",
                                                  R"({"subject_id":"ana","purpose":"q","at":2})"}));
  EXPECT_EQ(printed(murmur2_partition(as_bytes("ana"), 4)).size(), 2U);
}

TEST_F(TopicWriter, WritesATombstoneBesideItsRecordAndRefusesOneWithoutAPlace) {
  const auto tombstone = [&](record_shape how) -> status {
    columns rows(column_fields(*of));
    json_row_reader reader(of);
    SONDER_TRY(reader.append(R"({"subject_id":"ana","purpose":"p","at":1500})", rows));
    SONDER_TRY(reader.append(R"({"subject_id":"ana","purpose":"","at":0})", rows));
    auto writer = topic_writer::create(*on, std::move(how), rows.fields());
    if (!writer) return tl::unexpected(writer.error());
    const std::uint8_t marks[] = {0, 1};
    SONDER_TRY((*writer)->write(rows, marks));
    return (*writer)->flush();
  };
  ASSERT_TRUE(tombstone(shape({"subject_id"}, 4)));
  EXPECT_THAT(printed(murmur2_partition(as_bytes("ana"), 4)),
              ElementsAre(HasSubstr(R"("key":"ana","headers":{},"value":{)"), HasSubstr(R"("key":"ana","headers":{},"value":null})")));
  const auto refused = tombstone({"t", 4, of, 1, "subject_id", "at", {"purpose"}});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message,
            "topic \"t\", record 2: a tombstone has only the key, and the partition comes from field \"subject_id\", which is no "
            "part of it");
}

TEST_F(TopicWriter, NamesAFieldThatTheSchemaLacks) {
  auto how = shape({"subject_id"}, 1);
  how.event_time = "when";
  const auto done = write(how, {});
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().message, "event time field \"when\" is not in the schema");
}

TEST_F(TopicWriter, PrintsAValueThatItCannotReadAsAnError) {
  (void)shape({}, 1);
  record_batch_builder batch;
  const auto key = as_bytes("k");
  const auto value = as_bytes("not a frame");
  batch.append(7, &key, &value, {});
  const produced_batch batches[] = {{"t", 0, &batch}};
  ASSERT_TRUE(on->append(batches));
  EXPECT_THAT(
      printed(0),
      ElementsAre(HasSubstr(R"("value":null,"error":"the value has no Confluent frame"})")));
}

TEST_F(TopicWriter, SaysThatATopicNeedsASchema) {
  const auto done = shape_of({}, *on, *schemas, "unknown", {});
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().message,
              HasSubstr("topic \"unknown\" has no schema that this log knows"));
}

}  // namespace
}  // namespace sonder::cli
