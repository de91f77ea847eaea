#include "avro/json.h"

#include <gmock/gmock.h>

#include "avro/json_time.h"
#include "avro/test_rows.h"

namespace sonder::test {
namespace {

using ::testing::HasSubstr;

std::string through(std::string_view type, std::string_view value) {
  const auto s = schema_of(record_of(type));
  columns rows(column_fields(*s));
  const auto read = json_row_reader(s).append(R"({"v":)" + std::string(value) + "}", rows);
  if (!read) {
    EXPECT_EQ(rows.length(), 0);
    return read.error().message;
  }
  return rows_of(rows);
}

TEST(Json, TimestampsAreNumbersOrRfc3339) {
  const std::string_view ms = R"({"type":"long","logicalType":"timestamp-millis"})";
  EXPECT_EQ(through(ms, "1795219200123"), R"({"v":1795219200123})");
  EXPECT_EQ(through(ms, "\"2026-11-21T00:00:00.123Z\""), R"({"v":1795219200123})");
  EXPECT_EQ(through(ms, "\"2026-11-21 01:00:00+01:00\""), R"({"v":1795219200000})");
  EXPECT_EQ(through(ms, "\"1969-12-31T23:59:59.9999Z\""), R"({"v":-1})");
  EXPECT_EQ(
      through(ms, "\"2026-02-29T00:00:00Z\""),
      "row: field \"v\": should be milliseconds since 1970 as an int64, or a time as RFC 3339");
  EXPECT_EQ(
      through(ms, "\"2026-11-21T00:00:00\""),
      "row: field \"v\": should be milliseconds since 1970 as an int64, or a time as RFC 3339");
  EXPECT_EQ(through(R"({"type":"int","logicalType":"date"})", "\"2026-11-21\""), R"({"v":20778})");
  EXPECT_EQ(parse_date("2024-02-29"), 19782);
  EXPECT_EQ(parse_date("2023-02-29"), std::nullopt);
}

TEST(Json, BytesAreCodePoints) {
  EXPECT_EQ(through("\"bytes\"", R"("a\u0000\u00ff\"")"), R"({"v":"a\u0000\u00ff\""})");
  EXPECT_EQ(through("\"bytes\"", "\"\u0101\""),
            "row: field \"v\": should be a string of code points up to U+00FF");
}

TEST(Json, DecimalsAreDigits) {
  const std::string_view type =
      R"({"type":"bytes","logicalType":"decimal","precision":5,"scale":2})";
  EXPECT_EQ(through(type, "\"-123.45\""), R"({"v":"-123.45"})");
  EXPECT_EQ(through(type, "1.5"), R"({"v":"1.50"})");
  EXPECT_EQ(through(type, "7"), R"({"v":"7.00"})");
  EXPECT_EQ(through(type, "\"0.010\""), R"({"v":"0.01"})");
  EXPECT_EQ(through(type, "\"1.234\""),
            "row: field \"v\": should be a decimal of 5 digits, 2 of them decimals");
  EXPECT_EQ(through(type, "\"1000\""),
            "row: field \"v\": should be a decimal of 5 digits, 2 of them decimals");
}

TEST(Json, UnionsAreUnwrappedAndAvrosWrappingIsTaken) {
  EXPECT_EQ(through(R"(["null","string"])", R"({"string":"x"})"), R"({"v":"x"})");
  EXPECT_EQ(through(R"(["int","string"])", R"({"string":"x"})"), R"({"v":"x"})");
  EXPECT_EQ(through(R"(["int","double"])", "5000000000"), R"({"v":5e+09})");
  EXPECT_EQ(through(R"(["int","string"])", "true"), "row: field \"v\": should be [int, string]");
}

TEST(Json, NumbersThatJsonLacksAreStrings) {
  EXPECT_EQ(through("\"double\"", "\"NaN\""), R"({"v":"NaN"})");
  EXPECT_EQ(through("\"float\"", "\"-Infinity\""), R"({"v":"-Infinity"})");
  EXPECT_EQ(through("\"double\"", "3"), R"({"v":3.0})");
}

TEST(Json, ErrorsNameTheFieldAndNeverTheValue) {
  EXPECT_EQ(through("\"int\"", "3000000000"), "row: field \"v\": should be int");
  EXPECT_EQ(through("\"int\"", "\"secret\""), "row: field \"v\": should be int");
  EXPECT_EQ(through(R"({"type":"enum","name":"e","symbols":["A","B"]})", "\"secret\""),
            "row: field \"v\": should be one of A, B");
  EXPECT_EQ(through(R"({"type":"array","items":"int"})", "[1,\"x\"]"),
            "row: field \"v\": item 1: should be int");
  EXPECT_EQ(through(R"({"type":"record","name":"q","fields":[{"name":"a","type":"int"}]})", "{}"),
            "row: field \"v\": field \"a\": is missing and has no default; should be int");
}

TEST(Json, UnknownMembersAreRefusedWithTheNearestName) {
  const auto s = schema_of(
      R"({"type":"record","name":"r","fields":[{"name":"subject_id","type":["null","string"]}]})");
  columns rows(column_fields(*s));
  json_row_reader reader(s);
  EXPECT_EQ(reader.append(R"({"subject":"x"})", rows).error().message,
            "row: has a member that \"r\" has no field for");
  EXPECT_EQ(reader.append(R"({"subjectid":"x"})", rows).error().message,
            "row: has a member that \"r\" has no field for; did you mean \"subject_id\"?");
  reader.ignore_unknown(true);
  EXPECT_TRUE(reader.append(R"({"subjectid":"x"})", rows));
  EXPECT_EQ(rows_of(rows), R"({"subject_id":null})");
}

TEST(Json, AMissingFieldTakesItsDefault) {
  const auto s =
      schema_of(R"({"type":"record","name":"r","fields":[{"name":"a","type":"int","default":4},
    {"name":"b","type":["string","null"],"default":"x"},{"name":"c","type":["int","string","null"]}]})");
  columns rows(column_fields(*s));
  ASSERT_TRUE(json_row_reader(s).append("{}", rows));
  EXPECT_EQ(rows_of(rows), R"({"a":4,"b":"x","c":null})");
}

TEST(Json, WhatIsNoObjectIsRefused) {
  const auto s = schema_of(record_of("\"int\""));
  columns rows(column_fields(*s));
  json_row_reader reader(s);
  EXPECT_EQ(reader.append("[]", rows).error().message, "row: should be an object");
  EXPECT_THAT(reader.append("{\"v\":", rows).error().message, HasSubstr("row: no valid JSON"));
  EXPECT_THAT(reader.append("", rows).error().message, HasSubstr("row: no valid JSON"));
  EXPECT_EQ(reader.append(R"({"v":1,"v":2})", rows).error().message,
            "row: field \"v\": is there twice");
}

TEST(Json, AFailedRowLeavesTheRowsBeforeItWhole) {
  const auto s = schema_of(
      R"({"type":"record","name":"r","fields":[{"name":"a","type":{"type":"array","items":["int","string"]}},
    {"name":"b","type":"int"}]})");
  columns rows(column_fields(*s));
  json_row_reader reader(s);
  ASSERT_TRUE(reader.append(R"({"a":[1,"x"],"b":1})", rows));
  ASSERT_FALSE(reader.append(R"({"a":[2,"y",true],"b":1})", rows));
  ASSERT_FALSE(reader.append(R"({"a":["z",3],"b":"no"})", rows));
  ASSERT_TRUE(reader.append(R"({"a":["w"],"b":2})", rows));
  EXPECT_EQ(rows_of(rows), R"({"a":[1,"x"],"b":1})"
                           "\n"
                           R"({"a":["w"],"b":2})");
}

TEST(Json, EscapesText) {
  std::string out;
  append_json_string("a\"\\\n\x01\x7f\u00e9", out);
  EXPECT_EQ(out, "\"a\\\"\\\\\\n\\u0001\\u007f\u00e9\"");
}

}  // namespace
}  // namespace sonder::test
