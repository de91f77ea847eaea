// The rules of the specification's section "Schema Resolution", one test each.

#include <gmock/gmock.h>

#include "avro/test_rows.h"

namespace sonder::test {
namespace {

using ::testing::HasSubstr;

TEST(Resolution, IntIsPromotedToLongFloatAndDouble) {
  EXPECT_EQ(resolved_value("\"int\"", "\"long\"", "-7"), R"({"v":-7})");
  EXPECT_EQ(resolved_value("\"int\"", "\"float\"", "-7"), R"({"v":-7.0})");
  EXPECT_EQ(resolved_value("\"int\"", "\"double\"", "2147483647"), R"({"v":2147483647.0})");
}

TEST(Resolution, LongIsPromotedToFloatAndDouble) {
  EXPECT_EQ(resolved_value("\"long\"", "\"float\"", "16777216"), R"({"v":16777216.0})");
  EXPECT_EQ(resolved_value("\"long\"", "\"double\"", "4503599627370497"),
            R"({"v":4503599627370497.0})");
}

TEST(Resolution, FloatIsPromotedToDouble) {
  EXPECT_EQ(resolved_value("\"float\"", "\"double\"", "0.5"), R"({"v":0.5})");
}

TEST(Resolution, StringAndBytesAreReadAsEachOther) {
  EXPECT_EQ(resolved_value("\"string\"", "\"bytes\"", "\"\u00e9\""), R"({"v":"\u00c3\u00a9"})");
  EXPECT_EQ(resolved_value("\"bytes\"", "\"string\"", R"("\u00c3\u00a9")"), "{\"v\":\"\u00e9\"}");
}

TEST(Resolution, BytesThatAreNoTextAreRefusedAsString) {
  EXPECT_EQ(resolved_value("\"bytes\"", "\"string\"", R"("\u00ff")"),
            "refused: field \"v\": bad_utf8 at byte 1");
}

TEST(Resolution, NothingIsNarrowed) {
  EXPECT_EQ(
      resolved_value("\"long\"", "\"int\"", "1"),
      "no plan: reading \"r\" as \"r\": field \"v\": the writer's long cannot be read as int");
  EXPECT_THAT(resolved_value("\"double\"", "\"float\"", "1"), HasSubstr("cannot be read"));
  EXPECT_THAT(resolved_value("\"string\"", "\"int\"", "\"1\""), HasSubstr("cannot be read"));
  EXPECT_THAT(resolved_value("\"boolean\"", "\"int\"", "true"), HasSubstr("cannot be read"));
}

constexpr std::string_view two_fields =
    R"({"type":"record","name":"r","fields":[{"name":"a","type":"int"},{"name":"b","type":"string"}]})";

TEST(Resolution, FieldsMayComeInAnotherOrder) {
  EXPECT_EQ(
      resolved(
          two_fields,
          R"({"type":"record","name":"r","fields":[{"name":"b","type":"string"},{"name":"a","type":"int"}]})",
          R"({"a":1,"b":"x"})"),
      R"({"b":"x","a":1})");
}

TEST(Resolution, AFieldThatTheReaderLacksIsSkipped) {
  EXPECT_EQ(resolved(two_fields,
                     R"({"type":"record","name":"r","fields":[{"name":"b","type":"string"}]})",
                     R"({"a":1,"b":"x"})"),
            R"({"b":"x"})");
}

TEST(Resolution, AFieldThatNobodyWantsIsSkipped) {
  EXPECT_EQ(resolved(two_fields, two_fields, R"({"a":1,"b":"x"})", {"b"}), R"({"b":"x"})");
  EXPECT_EQ(resolved(two_fields, two_fields, R"({"a":1,"b":"x"})", {"b", "a"}),
            R"({"b":"x","a":1})");
  EXPECT_THAT(resolved(two_fields, two_fields, R"({"a":1,"b":"x"})", {"c"}),
              HasSubstr("has no field \"c\""));
}

TEST(Resolution, EveryKindOfFieldCanBeSkipped) {
  constexpr std::string_view writer = R"({"type":"record","name":"r","fields":[
    {"name":"n","type":"null"},{"name":"t","type":"boolean"},{"name":"i","type":"int"},{"name":"l","type":"long"},
    {"name":"f","type":"float"},{"name":"d","type":"double"},{"name":"y","type":"bytes"},{"name":"s","type":"string"},
    {"name":"x","type":{"type":"fixed","name":"x2","size":2}},{"name":"e","type":{"type":"enum","name":"e2","symbols":["A"]}},
    {"name":"a","type":{"type":"array","items":"string"}},{"name":"m","type":{"type":"map","values":{"type":"array","items":"int"}}},
    {"name":"u","type":["null","string",{"type":"array","items":"double"}]},
    {"name":"q","type":{"type":"record","name":"q2","fields":[{"name":"z","type":"int"},{"name":"w","type":"float"}]}},
    {"name":"last","type":"int"}]})";
  EXPECT_EQ(
      resolved(
          writer, writer,
          R"({"n":null,"t":true,"i":1,"l":2,"f":1,"d":2,"y":"ab","s":"cd","x":"ef","e":"A","a":["g","hij"],
                         "m":{"k":[1,2,3],"l":[]},"u":[1.5],"q":{"z":1,"w":2},"last":7})",
          {"last"}),
      R"({"last":7})");
}

TEST(Resolution, AFieldThatTheWriterLacksTakesItsDefault) {
  const auto with = [](std::string_view type, std::string_view value) {
    return resolved(R"({"type":"record","name":"r","fields":[]})",
                    record_of(type, R"(,"default":)" + std::string(value)), "{}");
  };
  EXPECT_EQ(with("\"int\"", "3"), R"({"v":3})");
  EXPECT_EQ(with("\"string\"", "\"x\""), R"({"v":"x"})");
  EXPECT_EQ(with("\"bytes\"", R"("\u00ff")"), R"({"v":"\u00ff"})");
  EXPECT_EQ(with(R"({"type":"fixed","name":"f","size":2})", R"("\u0001a")"), R"({"v":"\u0001a"})");
  EXPECT_EQ(with(R"(["null","string"])", "null"), R"({"v":null})");
  EXPECT_EQ(with(R"(["string","null"])", "\"d\""), R"({"v":"d"})");
  EXPECT_EQ(with(R"(["int","string"])", "\"d\""), R"({"v":"d"})");
  EXPECT_EQ(with(R"({"type":"array","items":"int"})", "[1,2]"), R"({"v":[1,2]})");
  EXPECT_EQ(with(R"({"type":"map","values":"int"})", R"({"k":1})"), R"({"v":{"k":1}})");
  EXPECT_EQ(with(R"({"type":"enum","name":"e","symbols":["A","B"]})", "\"B\""), R"({"v":"B"})");
  EXPECT_EQ(
      with(
          R"({"type":"record","name":"q","fields":[{"name":"a","type":"int"},{"name":"b","type":"int","default":5}]})",
          R"({"a":1})"),
      R"({"v":{"a":1,"b":5}})");
  EXPECT_EQ(with(R"({"type":"bytes","logicalType":"decimal","precision":4,"scale":2})",
                 R"("\u0001\u0000")"),
            R"({"v":"2.56"})");
}

TEST(Resolution, AMissingFieldWithoutDefaultIsAnErrorThatNamesIt) {
  EXPECT_EQ(resolved(R"({"type":"record","name":"r","fields":[]})", record_of("\"int\""), "{}"),
            "no plan: reading \"r\" as \"r\": field \"v\": the writer lacks it and it has no "
            "default in \"r\"");
}

TEST(Resolution, AFieldIsFoundByAnAliasOfTheReaders) {
  EXPECT_EQ(
      resolved(
          record_of("\"int\""),
          R"({"type":"record","name":"r","fields":[{"name":"w","type":"long","aliases":["v"]}]})",
          R"({"v":4})"),
      R"({"w":4})");
}

TEST(Resolution, AFieldsOwnNameGoesBeforeAnAlias) {
  EXPECT_EQ(
      resolved(
          two_fields,
          R"({"type":"record","name":"r","fields":[{"name":"b","type":"string","aliases":["a"]},
                         {"name":"a","type":"int"}]})",
          R"({"a":1,"b":"x"})"),
      R"({"b":"x","a":1})");
}

TEST(Resolution, ARecordIsFoundByAnAlias) {
  EXPECT_EQ(
      resolved(
          record_of("\"int\""),
          R"({"type":"record","name":"new","namespace":"n","aliases":["n.r"],"fields":[{"name":"v","type":"int"}]})",
          R"({"v":4})"),
      R"({"v":4})");
}

TEST(Resolution, RecordsOfAnotherNameDoNotMatch) {
  EXPECT_THAT(
      resolved(record_of("\"int\""),
               R"({"type":"record","name":"q","fields":[{"name":"v","type":"int"}]})",
               R"({"v":4})"),
      HasSubstr("the writer's record is \"r\", the reader's \"q\"; give the reader's an alias"));
}

TEST(Resolution, NamespacesAreNotCompared) {
  EXPECT_EQ(
      resolved(
          record_of("\"int\""),
          R"({"type":"record","name":"r","namespace":"elsewhere","fields":[{"name":"v","type":"int"}]})",
          R"({"v":4})"),
      R"({"v":4})");
}

TEST(Resolution, EnumsAreResolvedBySymbol) {
  EXPECT_EQ(
      resolved_value(R"({"type":"enum","name":"e","symbols":["DENY","CONSENT"]})",
                     R"({"type":"enum","name":"e","symbols":["CONSENT","DENY"]})", "\"DENY\""),
      R"({"v":"DENY"})");
}

TEST(Resolution, EnumsOfAnotherNameDoNotMatch) {
  EXPECT_EQ(resolved_value(R"({"type":"enum","name":"e","symbols":["A"]})",
                           R"({"type":"enum","name":"g","symbols":["A"]})", "\"A\""),
            "no plan: reading \"r\" as \"r\": field \"v\": the writer's enum is \"e\", the reader's \"g\"; give the reader's an alias");
}

TEST(Resolution, AnEnumIsFoundByAnAlias) {
  const std::string_view writer = R"({"type":"enum","name":"n.e","symbols":["A","B"]})";
  EXPECT_EQ(resolved_value(writer, R"({"type":"enum","name":"g","aliases":["n.e"],"symbols":["B","A"]})", "\"B\""), R"({"v":"B"})");
  EXPECT_EQ(resolved_value(writer, R"({"type":"enum","name":"m.g","aliases":["x","e"],"symbols":["B","A"]})", "\"A\""), R"({"v":"A"})")
      << "aliases are compared without namespaces, as names are";
}

TEST(Resolution, AnUnknownSymbolReadsAsTheReadersDefault) {
  EXPECT_EQ(
      resolved_value(R"({"type":"enum","name":"e","symbols":["A","NEW"]})",
                     R"({"type":"enum","name":"e","symbols":["OTHER","A"],"default":"OTHER"})",
                     "\"NEW\""),
      R"({"v":"OTHER"})");
}

TEST(Resolution, AnUnknownSymbolWithoutDefaultRefusesOnlyTheRecordsThatHoldIt) {
  const std::string_view writer = R"({"type":"enum","name":"e","symbols":["A","NEW"]})";
  const std::string_view reader = R"({"type":"enum","name":"e","symbols":["A"]})";
  EXPECT_EQ(resolved_value(writer, reader, "\"A\""), R"({"v":"A"})");
  EXPECT_EQ(resolved_value(writer, reader, "\"NEW\""),
            "refused: field \"v\": symbol_not_readable at byte 1");
}

TEST(Resolution, FixedMatchesByNameAndSize) {
  EXPECT_EQ(resolved_value(R"({"type":"fixed","name":"f","size":2})",
                           R"({"type":"fixed","name":"f","size":2})", "\"ab\""),
            R"({"v":"ab"})");
  EXPECT_THAT(resolved_value(R"({"type":"fixed","name":"f","size":2})",
                             R"({"type":"fixed","name":"f","size":3})", "\"ab\""),
              HasSubstr("the writer's fixed has 2 bytes, the reader's 3"));
  EXPECT_THAT(resolved_value(R"({"type":"fixed","name":"f","size":2})",
                             R"({"type":"fixed","name":"g","size":2})", "\"ab\""),
              HasSubstr("the writer's fixed is \"f\", the reader's \"g\"; give the reader's an alias"));
}

TEST(Resolution, AFixedIsFoundByAnAlias) {
  const std::string_view writer = R"({"type":"fixed","name":"f","size":2})";
  EXPECT_EQ(resolved_value(writer, R"({"type":"fixed","name":"g","aliases":["f"],"size":2})", "\"ab\""), R"({"v":"ab"})");
  EXPECT_EQ(resolved_value(writer, R"({"type":"fixed","name":"g","aliases":["f"],"size":3})", "\"ab\""),
            "no plan: reading \"r\" as \"r\": field \"v\": the writer's fixed has 2 bytes, the reader's 3");
}

TEST(Resolution, ItemsOfArraysAndValuesOfMapsAreResolved) {
  EXPECT_EQ(resolved_value(R"({"type":"array","items":"int"})",
                           R"({"type":"array","items":"double"})", "[1,2]"),
            R"({"v":[1.0,2.0]})");
  EXPECT_EQ(resolved_value(R"({"type":"map","values":"int"})", R"({"type":"map","values":"long"})",
                           R"({"a":1,"b":2})"),
            R"({"v":{"a":1,"b":2}})");
  EXPECT_THAT(resolved_value(R"({"type":"array","items":"string"})",
                             R"({"type":"array","items":"int"})", "[]"),
              HasSubstr("field \"v[]\": the writer's string cannot be read as int"));
}

TEST(Resolution, NestedRecordsAreResolved) {
  EXPECT_EQ(
      resolved_value(
          R"({"type":"record","name":"q","fields":[{"name":"a","type":"int"},{"name":"b","type":"int"}]})",
          R"({"type":"record","name":"q","fields":[{"name":"c","type":"string","default":"d"},
                               {"name":"b","type":"long"}]})",
          R"({"a":1,"b":2})"),
      R"({"v":{"c":"d","b":2}})");
}

TEST(Resolution, AWritersUnionIsReadAsATypeThatItsBranchFits) {
  EXPECT_EQ(resolved_value(R"(["null","int"])", "\"long\"", "5"), R"({"v":5})");
  EXPECT_EQ(resolved_value(R"(["null","int"])", "\"long\"", "null"),
            "refused: field \"v\": branch_not_readable at byte 1");
  EXPECT_THAT(resolved_value(R"(["null","string"])", "\"long\"", "null"), HasSubstr("no plan"));
}

TEST(Resolution, ATypeIsReadAsAReadersUnionThatHasIt) {
  EXPECT_EQ(resolved_value("\"int\"", R"(["null","int"])", "5"), R"({"v":5})");
  EXPECT_EQ(resolved_value("\"int\"", R"(["string","long"])", "5"), R"({"v":5})");
  EXPECT_EQ(resolved_value("\"null\"", R"(["string","null"])", "null"), R"({"v":null})");
  EXPECT_THAT(resolved_value("\"boolean\"", R"(["string","long"])", "true"),
              HasSubstr("cannot be read as [string, long]"));
}

TEST(Resolution, AReadersUnionPrefersTheWritersOwnType) {
  EXPECT_EQ(resolved_value("\"int\"", R"(["double","int"])", "5"), R"({"v":5})");
  EXPECT_EQ(resolved_value("\"int\"", R"(["string","double","long"])", "5"), R"({"v":5.0})")
      << "else the first that fits";
}

TEST(Resolution, UnionsAreResolvedBranchByBranch) {
  const std::string_view writer = R"(["null","int","string"])";
  const std::string_view reader = R"(["string","null","double"])";
  EXPECT_EQ(resolved_value(writer, reader, "null"), R"({"v":null})");
  EXPECT_EQ(resolved_value(writer, reader, "3"), R"({"v":3.0})");
  EXPECT_EQ(resolved_value(writer, reader, "\"x\""), R"({"v":"x"})");
}

TEST(Resolution, NullMayMoveInsideAUnion) {
  EXPECT_EQ(resolved_value(R"(["null","string"])", R"(["string","null"])", "\"x\""),
            R"({"v":"x"})");
  EXPECT_EQ(resolved_value(R"(["null","string"])", R"(["string","null"])", "null"),
            R"({"v":null})");
  EXPECT_EQ(resolved_value(R"(["int","null"])", R"(["null","long"])", "9"), R"({"v":9})");
}

TEST(Resolution, AUnionMayGrow) {
  EXPECT_EQ(resolved_value(R"(["null","string"])", R"(["null","string","int"])", "\"x\""),
            R"({"v":"x"})");
  EXPECT_EQ(resolved_value(R"(["null","string","int"])", R"(["null","string"])", "\"x\""),
            R"({"v":"x"})");
  EXPECT_EQ(resolved_value(R"(["null","string","int"])", R"(["null","string"])", "4"),
            "refused: field \"v\": branch_not_readable at byte 1");
}

TEST(Resolution, RecordsInAUnionAreToldApartByName) {
  const std::string a = R"({"type":"record","name":"a","fields":[{"name":"x","type":"int"}]})";
  const std::string b =
      R"({"type":"record","name":"b","fields":[{"name":"x","type":"int"},{"name":"y","type":"int"}]})";
  EXPECT_EQ(resolved_value("[" + a + "," + b + "]", "[" + b + "," + a + "]", R"({"x":1,"y":2})"),
            R"({"v":{"x":1,"y":2}})");
  EXPECT_EQ(resolved_value("[" + a + "," + b + "]", "[" + b + "," + a + "]", R"({"x":1})"),
            R"({"v":{"x":1}})");
}

TEST(Resolution, DecimalsMatchOnlyWithTheSamePrecisionAndScale) {
  const std::string_view four_two =
      R"({"type":"bytes","logicalType":"decimal","precision":4,"scale":2})";
  EXPECT_EQ(resolved_value(four_two, four_two, "\"-12.34\""), R"({"v":"-12.34"})");
  EXPECT_THAT(
      resolved_value(four_two,
                     R"({"type":"bytes","logicalType":"decimal","precision":5,"scale":2})", "1"),
      HasSubstr("the writer's decimal(4,2) cannot be read as decimal(5,2)"));
}

TEST(Resolution, TimesInAnotherUnitAreRefusedRatherThanMisread) {
  EXPECT_THAT(resolved_value(R"({"type":"long","logicalType":"timestamp-millis"})",
                             R"({"type":"long","logicalType":"timestamp-micros"})", "1"),
              HasSubstr("field \"v\": writer and reader count time in different units"));
  EXPECT_EQ(resolved_value(R"({"type":"long","logicalType":"timestamp-millis"})", "\"long\"", "1"),
            R"({"v":1})");
}

TEST(Readability, NamesEveryProblem) {
  const auto writer =
      schema_of(R"({"type":"record","name":"r","fields":[{"name":"a","type":["int","string"]},
    {"name":"e","type":{"type":"enum","name":"e2","symbols":["A","B"]}}]})");
  const auto reader = schema_of(R"({"type":"record","name":"r","fields":[{"name":"a","type":"int"},
    {"name":"e","type":{"type":"enum","name":"e2","symbols":["A"]}},{"name":"n","type":"int"}]})");
  const auto problems = readability_problems(*writer, *reader);
  EXPECT_THAT(problems, testing::ElementsAre(
                            "field \"a\": the writer's string cannot be read as int",
                            "field \"e\": the writer's symbol \"B\" is none of the reader's "
                            "\"e2\", which has no default",
                            "field \"n\": the writer lacks it and it has no default in \"r\""));
}

}  // namespace
}  // namespace sonder::test
