#include "avro/schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "avro/test_rows.h"

namespace sonder::test {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string problem_of(std::string_view json) {
  const auto parsed = parse_schema(json);
  return parsed ? "parses" : parsed.error().message;
}

constexpr std::string_view entry = R"({
  "type": "record", "name": "entry", "namespace": "sonder.journal", "doc": "One entry.", "aliases": ["old"],
  "sonder.privacy": {"purposes": ["a"]}, "fields": [
    {"name": "text", "type": "string", "doc": "What was written.", "sonder.privacy": ["free_text"], "order": "ignore"},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}, "default": 0},
    {"name": "mood", "type": ["null", {"type": "enum", "name": "mood", "symbols": ["LOW", "HIGH"], "default": "LOW"}],
     "default": null, "aliases": ["feeling"]},
    {"name": "before", "type": ["null", "mood"], "default": null}]})";

TEST(Schema, KeepsNamesDocsAliasesDefaultsAndLabels) {
  const auto s = schema_of(entry);
  EXPECT_EQ(s->full_name(), "sonder.journal.entry");
  EXPECT_EQ(s->doc, "One entry.");
  EXPECT_THAT(s->aliases, testing::ElementsAre("sonder.journal.old"));
  EXPECT_EQ(*s->attribute("sonder.privacy"), R"({"purposes":["a"]})");
  const auto* text = s->find_field("text");
  EXPECT_EQ(*text->attribute("sonder.privacy"), R"(["free_text"])");
  EXPECT_EQ(text->attribute("other"), nullptr);
  EXPECT_EQ(text->order, sort_order::ignore);
  EXPECT_EQ(*s->find_field("at")->default_json, "0");
  EXPECT_EQ(s->find_field("at")->type->logical, logical_type::timestamp_millis);
  EXPECT_EQ(s->find_field("mood")->type->branches[1], s->find_field("before")->type->branches[1]);
}

TEST(Schema, FullJsonReadsBackAsItself) {
  const auto s = schema_of(entry);
  const std::string json = to_json(*s);
  EXPECT_EQ(to_json(*schema_of(json)), json);
  EXPECT_EQ(to_json(*schema_of(to_pretty_json(*s))), json);
  EXPECT_THAT(json, HasSubstr(R"("sonder.privacy":["free_text"])"));
  EXPECT_THAT(json, HasSubstr(R"("default":null)"));
}

TEST(Schema, FullJsonTellsLabelsApartThatTheCanonicalFormDrops) {
  const auto a = schema_of(record_of("\"int\"", R"(,"sonder.privacy":["pseudonym"])"));
  const auto b = schema_of(record_of("\"int\""));
  EXPECT_NE(to_json(*a), to_json(*b));
  EXPECT_EQ(canonical_form(*a), canonical_form(*b));
}

TEST(Schema, FullJsonDoesNotDependOnTheOrderOfKeys) {
  EXPECT_EQ(to_json(*schema_of(R"({"b":1,"name":"f","size":2,"a":2,"type":"fixed"})")),
            to_json(*schema_of(R"({"type":"fixed","name":"f","size":2,"a":2,"b":1})")));
}

TEST(Schema, CanonicalFormAndFingerprintAreTheSpecifications) {
  EXPECT_EQ(canonical_form(*schema_of("\"null\"")), "\"null\"");
  EXPECT_EQ(fingerprint(*schema_of("\"null\"")),
            7195948357588979594u);  // from the specification's own test data
  EXPECT_EQ(fingerprint(*schema_of(R"({"type":"fixed","name":"foo","size":15})")),
            1756455273707447556u);
  EXPECT_EQ(
      canonical_form(*schema_of(entry)),
      R"({"name":"sonder.journal.entry","type":"record","fields":[{"name":"text","type":"string"},)"
      R"({"name":"at","type":"long"},{"name":"mood","type":["null",{"name":"sonder.journal.mood","type":"enum",)"
      R"("symbols":["LOW","HIGH"]}]},{"name":"before","type":["null","sonder.journal.mood"]}]})");
}

TEST(Schema, FragmentsParseWithAndWithoutQuotes) {
  EXPECT_EQ(schema_of("string")->type, avro_type::string);
  EXPECT_EQ(schema_of(" \"string\" ")->type, avro_type::string);
  EXPECT_EQ(to_string(*schema_of(R"({"type":"map","values":"double"})")), "map<double>");
  EXPECT_EQ(to_string(*schema_of(R"(["null","string"])")), "[null, string]");
}

TEST(Schema, ALogicalTypeThatDoesNotFitIsKeptAsAnAttribute) {
  const auto s = schema_of(R"({"type":"string","logicalType":"timestamp-millis"})");
  EXPECT_EQ(s->logical, logical_type::none);
  EXPECT_EQ(*s->attribute("logicalType"), "\"timestamp-millis\"");
  EXPECT_EQ(
      schema_of(R"({"type":"bytes","logicalType":"decimal","precision":2,"scale":3})")->logical,
      logical_type::none);
  EXPECT_EQ(
      schema_of(R"({"type":"fixed","name":"f","size":1,"logicalType":"decimal","precision":3})")
          ->logical,
      logical_type::none);
  EXPECT_EQ(
      schema_of(R"({"type":"fixed","name":"f","size":1,"logicalType":"decimal","precision":2})")
          ->logical,
      logical_type::decimal);
}

TEST(Schema, RefusesARecursiveSchemaByName) {
  EXPECT_EQ(
      problem_of(
          R"({"type":"record","name":"node","namespace":"x","fields":[{"name":"next","type":["null","node"]}]})"),
      "schema: field \"next\" of \"x.node\": schema \"x.node\" contains itself; columns cannot "
      "hold a recursive schema");
}

TEST(Schema, RefusesWhatIsWrongAndSaysWhere) {
  EXPECT_THAT(problem_of("{"), StartsWith("schema: no valid JSON at byte 2"));
  EXPECT_THAT(problem_of(" \n"), StartsWith("schema: is empty"));
  EXPECT_THAT(problem_of("{\"type\":1e999}"), StartsWith("schema: holds a number beyond"));
  EXPECT_EQ(problem_of("\"strin\""), "schema: unknown type \"strin\"");
  EXPECT_EQ(problem_of("7"), "schema: a schema is a string, an array or an object");
  EXPECT_EQ(problem_of(R"({"name":"x"})"), "schema: a schema object has no \"type\"");
  EXPECT_EQ(problem_of(R"({"type":"array"})"), "schema: array has no \"items\"");
  EXPECT_EQ(problem_of(R"({"type":"fixed","name":"f","size":-1})"),
            "schema: fixed \"f\" has no \"size\" from 0 to 1048576");
  EXPECT_EQ(problem_of(R"({"type":"enum","name":"e","symbols":["A","A"]})"),
            "schema: enum \"e\" has the symbol \"A\" twice");
  EXPECT_EQ(problem_of(R"({"type":"enum","name":"e","symbols":["a-b"]})"),
            "schema: enum \"e\": a symbol is no valid name");
  EXPECT_EQ(problem_of(R"({"type":"enum","name":"e","symbols":["A"],"default":"B"})"),
            "schema: enum \"e\": its default is none of its symbols");
  EXPECT_EQ(problem_of(R"(["null","null"])"), "schema: a union has two branches of type \"null\"");
  EXPECT_EQ(problem_of(R"(["null",["int"]])"), "schema: a union directly inside a union");
  EXPECT_EQ(problem_of("[]"), "schema: a union has no branches");
  EXPECT_EQ(problem_of(R"({"type":"record","name":"1","fields":[]})"),
            "schema: \"1\" is no valid name");
  EXPECT_EQ(problem_of(R"({"type":"record","name":"string","fields":[]})"),
            "schema: \"string\" is the name of a primitive type");
  EXPECT_EQ(
      problem_of(
          R"({"type":"record","name":"r","fields":[{"name":"a","type":"int"},{"name":"a","type":"int"}]})"),
      "schema: record \"r\" has two fields \"a\"");
  EXPECT_EQ(
      problem_of(
          R"({"type":"record","name":"r","fields":[{"name":"a","type":{"type":"record","name":"r","fields":[]}}]})"),
      "schema: field \"a\" of \"r\": the name \"r\" is defined twice");
}

TEST(Schema, ChecksDefaults) {
  const auto with = [](std::string_view type, std::string_view value) {
    return problem_of(record_of(type, R"(,"default":)" + std::string(value)));
  };
  EXPECT_EQ(with("\"int\"", "2147483648"),
            "schema: field \"v\" of \"r\": default: is no value of type int");
  EXPECT_EQ(with("\"int\"", "1.5"),
            "schema: field \"v\" of \"r\": default: is no value of type int");
  EXPECT_EQ(with("\"string\"", "null"),
            "schema: field \"v\" of \"r\": default: is no value of type string");
  EXPECT_EQ(with("\"bytes\"", "\"\u0101\""),
            "schema: field \"v\" of \"r\": default: is no value of type bytes");
  EXPECT_EQ(with(R"({"type":"enum","name":"e","symbols":["A"]})", "\"B\""),
            "schema: field \"v\" of \"r\": default: is no value of type e");
  EXPECT_EQ(with(R"(["null","int"])", "\"x\""),
            "schema: field \"v\" of \"r\": default: is no value of type [null, int]");
  EXPECT_EQ(with(R"(["null","int"])", "5"), "parses") << "1.12 lets a default be of any branch";
  EXPECT_EQ(with("\"long\"", "-9223372036854775808"), "parses");
  EXPECT_EQ(with("\"double\"", "\"NaN\""), "parses");
}

TEST(Schema, BoundsDepthAndSize) {
  std::string deep = "\"int\"";
  for (std::size_t i = 0; i < schema_depth_max - 1; ++i)
    deep = R"({"type":"array","items":)" + deep + "}";
  EXPECT_EQ(problem_of(deep), "parses");
  deep = R"({"type":"array","items":)" + deep + "}";
  EXPECT_THAT(problem_of(deep), HasSubstr("nested deeper than 32 levels"));
  EXPECT_THAT(problem_of(std::string(200'000, '[')), HasSubstr("nested deeper"));
  EXPECT_THAT(problem_of(std::string(schema_bytes_max + 1, ' ')), HasSubstr("longer than"));
}

TEST(Schema, BoundsWhatRepeatedUsesMultiply) {
  std::string fields =
      R"({"name":"f0","type":{"type":"record","name":"r0","fields":[{"name":"a","type":"int"}]}})";
  for (int i = 1; i < 20; ++i) {
    const auto n = std::to_string(i);
    const auto before = std::to_string(i - 1);
    fields += R"(,{"name":"f)" + n + R"(","type":{"type":"record","name":"r)" + n +
              R"(","fields":[{"name":"a","type":"r)" + before + R"("},{"name":"b","type":"r)" +
              before + R"("}]}})";
  }
  EXPECT_THAT(problem_of(R"({"type":"record","name":"all","fields":[)" + fields + "]}"),
              HasSubstr("more than 4096 nodes"));
}

TEST(Schema, MapsToColumns) {
  const auto s =
      schema_of(R"({"type":"record","name":"r","fields":[{"name":"a","type":["null","string"]},
    {"name":"b","type":["int","string","null"]},{"name":"c","type":{"type":"enum","name":"e","symbols":["X","Y"]}},
    {"name":"d","type":{"type":"map","values":{"type":"array","items":"long"}}},
    {"name":"e","type":{"type":"long","logicalType":"timestamp-millis"}},
    {"name":"f","type":{"type":"fixed","name":"f16","size":16,"logicalType":"uuid"}},
    {"name":"g","type":{"type":"bytes","logicalType":"decimal","precision":40}}]})");
  EXPECT_EQ(to_string(column_field(*s, "x").type),
            "record{a:string?,b:union<int32,string,null>,c:enum{X,Y},d:map<list<int64>>,e:"
            "timestamp_ms,f:fixed(16),g:binary}");
}

TEST(Schema, ANullNamespaceInsideANamespacedRecordSurvives) {
  const auto s = schema_of(
      R"({"type":"record","name":"r","namespace":"n","fields":[{"name":"a","type":{"type":"fixed","name":"f","namespace":"","size":1}}]})");
  EXPECT_EQ(s->fields[0].type->full_name(), "f");
  EXPECT_EQ(schema_of(to_json(*s))->fields[0].type->full_name(), "f");
}

TEST(Schema, AvroCAgreesOnAnOrdinarySchema) {
  EXPECT_TRUE(cross_check_with_avro_c(entry));
  EXPECT_FALSE(cross_check_with_avro_c("{\"type\":\"nothing\"}"));
}

}  // namespace
}  // namespace sonder::test
