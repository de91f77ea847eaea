// Decoding of hostile and of ordinary bytes, without a schema change.

#include <gmock/gmock.h>

#include "avro/test_allocations.h"
#include "avro/test_rows.h"

namespace sonder::test {
namespace {

constexpr std::string_view everything = R"({"type":"record","name":"r","fields":[
  {"name":"id","type":"string"},{"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},
  {"name":"n","type":"null"},{"name":"b","type":"boolean"},{"name":"i","type":"int"},{"name":"f","type":"float"},
  {"name":"d","type":"double"},{"name":"y","type":"bytes"},{"name":"x","type":{"type":"fixed","name":"x3","size":3}},
  {"name":"e","type":{"type":"enum","name":"e2","symbols":["A","B","C"]}},
  {"name":"t","type":["null","string"]},{"name":"w","type":["double","null"]},
  {"name":"u","type":["int","string",{"type":"array","items":"int"},"null"]},
  {"name":"tags","type":{"type":"array","items":["null","string"]}},
  {"name":"m","type":{"type":"map","values":{"type":"array","items":"long"}}},
  {"name":"q","type":["null",{"type":"record","name":"q2","fields":[
    {"name":"a","type":"string"},{"name":"z","type":{"type":"array","items":{"type":"record","name":"p","fields":[
      {"name":"k","type":"int"},{"name":"v","type":["null","boolean"]}]}}}]}]},
  {"name":"dec","type":{"type":"bytes","logicalType":"decimal","precision":10,"scale":3}},
  {"name":"decf","type":{"type":"fixed","name":"d4","size":4,"logicalType":"decimal","precision":9,"scale":0}},
  {"name":"day","type":{"type":"int","logicalType":"date"}}]})";

constexpr std::string_view full_row =
    R"({"id":"é1","at":1795219200123,"n":null,"b":true,"i":-5,"f":1.5,"d":-2.25,"y":"\u0000\u00ff","x":"abc","e":"C","t":"some text that is longer than thirty-two bytes of course","w":null,"u":[1,2],"tags":["x",null,"yz"],"m":{"k":[1,-1],"l":[]},"q":{"a":"in","z":[{"k":1,"v":true},{"k":2,"v":null}]},"dec":"-1234567.890","decf":"-999999999","day":20778})";
constexpr std::string_view small_row =
    R"({"id":"","at":0,"n":null,"b":false,"i":0,"f":0.0,"d":0.0,"y":"","x":"   ","e":"A","t":null,"w":0.5,"u":"s","tags":[],"m":{},"q":null,"dec":"0.000","decf":"0","day":-1})";

TEST(Decode, GivesBackWhatWasEncodedForEveryType) {
  const auto s = schema_of(everything);
  const auto plan = decode_plan::compile(*s, *s);
  columns rows(plan->fields());
  for (const auto row : {full_row, small_row, full_row})
    ASSERT_FALSE(plan->decode(body_of(s, row), rows));
  EXPECT_EQ(rows_of(rows),
            std::string(full_row) + "\n" + std::string(small_row) + "\n" + std::string(full_row));
}

TEST(Decode, RefusesEveryTruncationAndLeavesTheRowsBefore) {
  const auto s = schema_of(everything);
  const auto plan = decode_plan::compile(*s, *s);
  const auto body = body_of(s, full_row);
  columns rows(plan->fields());
  ASSERT_FALSE(plan->decode(body, rows));
  for (std::size_t size = 0; size < body.size(); ++size) {
    const bytes cut(body.begin(), body.begin() + static_cast<std::ptrdiff_t>(size));
    ASSERT_TRUE(plan->decode(cut, rows)) << size;
    ASSERT_EQ(rows.length(), 1);
  }
  ASSERT_FALSE(plan->decode(body, rows));
  EXPECT_EQ(rows_of(rows), std::string(full_row) + "\n" + std::string(full_row));
}

TEST(Decode, SurvivesEveryChangeOfOneByte) {
  const auto s = schema_of(everything);
  const auto plan = decode_plan::compile(*s, *s);
  const auto body = body_of(s, full_row);
  columns rows(plan->fields());
  for (std::size_t i = 0; i < body.size(); ++i) {
    for (int value = 0; value < 256; ++value) {
      bytes changed = body;
      changed[i] = static_cast<std::uint8_t>(value);
      rows.clear();
      if (!plan->decode(changed, rows)) rows_of(rows);
      ASSERT_LE(rows.length(), 1);
    }
  }
}

TEST(Decode, RefusesBytesThatAreLeftOver) {
  const auto s = schema_of(record_of("\"int\""));
  EXPECT_EQ(decoded(*s, *s, {2, 0}), "refused: record: trailing_bytes at byte 1");
}

TEST(Decode, ReadsARecordWithoutFields) {
  const auto s = schema_of(R"({"type":"record","name":"r","fields":[]})");
  EXPECT_EQ(decoded(*s, *s, {}), "");
  EXPECT_EQ(decoded(*schema_of(record_of("\"int\"")), *s, {2}), "");
}

struct hostile {
  std::string name;
  std::string type;
  bytes body;
  std::string refusal;
};
void PrintTo(const hostile& h, std::ostream* out) {
  *out << h.name;
}

class Hostile : public testing::TestWithParam<hostile> {};

TEST_P(Hostile, IsRefusedWithItsReason) {
  const auto s = schema_of(record_of(GetParam().type));
  EXPECT_EQ(decoded(*s, *s, GetParam().body), "refused: " + GetParam().refusal);
}

const bytes count_of_2_to_40 = {0x80, 0x80, 0x80, 0x80, 0x80, 0x40};
const bytes smallest_long = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01};
const bytes minus_2_to_62_and_size_1 = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                        0xff, 0xff, 0x7f, 0x02, 0x00};

INSTANTIATE_TEST_SUITE_P(
    Bytes, Hostile,
    testing::Values(
        hostile{"empty", "\"int\"", {}, "field \"v\": truncated at byte 0"},
        hostile{"unfinished_varint", "\"long\"", {0x80, 0x80}, "field \"v\": truncated at byte 0"},
        hostile{"varint_of_eleven_bytes", "\"long\"", bytes(11, 0x80),
                "field \"v\": bad_varint at byte 0"},
        hostile{"varint_beyond_64_bits",
                "\"long\"",
                {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02},
                "field \"v\": bad_varint at byte 0"},
        hostile{"long_for_an_int",
                "\"int\"",
                {0x80, 0x80, 0x80, 0x80, 0x10},
                "field \"v\": bad_varint at byte 0"},
        hostile{"string_longer_than_the_rest",
                "\"string\"",
                {0x08, 'a'},
                "field \"v\": length_out_of_range at byte 1"},
        hostile{"string_of_2_to_39", "\"string\"", count_of_2_to_40,
                "field \"v\": length_out_of_range at byte 6"},
        hostile{"string_of_negative_length",
                "\"string\"",
                {0x01},
                "field \"v\": length_out_of_range at byte 1"},
        hostile{"boolean_of_two", "\"boolean\"", {0x02}, "field \"v\": bad_boolean at byte 0"},
        hostile{"enum_beyond",
                R"({"type":"enum","name":"e","symbols":["A","B"]})",
                {0x04},
                "field \"v\": bad_enum at byte 1"},
        hostile{"enum_negative",
                R"({"type":"enum","name":"e","symbols":["A","B"]})",
                {0x01},
                "field \"v\": bad_enum at byte 1"},
        hostile{
            "union_beyond", R"(["null","int"])", {0x04}, "field \"v\": bad_union_branch at byte 1"},
        hostile{"union_negative",
                R"(["null","int"])",
                {0x01},
                "field \"v\": bad_union_branch at byte 1"},
        hostile{"dense_union_beyond",
                R"(["null","int","string"])",
                {0x06},
                "field \"v\": bad_union_branch at byte 1"},
        hostile{
            "utf8_overlong", "\"string\"", {0x04, 0xc0, 0x80}, "field \"v\": bad_utf8 at byte 1"},
        hostile{"utf8_surrogate",
                "\"string\"",
                {0x06, 0xed, 0xa0, 0x80},
                "field \"v\": bad_utf8 at byte 1"},
        hostile{"utf8_cut", "\"string\"", {0x04, 'a', 0xc3}, "field \"v\": bad_utf8 at byte 1"},
        hostile{"utf8_in_a_key",
                R"({"type":"map","values":"int"})",
                {0x02, 0x02, 0xff, 0x02, 0x00},
                "field \"v[]\": bad_utf8 at byte 2"},
        hostile{"array_of_2_to_39_ints", R"({"type":"array","items":"int"})", count_of_2_to_40,
                "field \"v[]\": bad_block at byte 6"},
        hostile{"array_of_2_to_39_nulls", R"({"type":"array","items":"null"})", count_of_2_to_40,
                "field \"v[]\": too_many_items at byte 6"},
        hostile{"array_of_nulls_in_many_blocks",
                R"({"type":"array","items":"null"})",
                {0x80, 0x40, 0x80, 0x40, 0x00},
                "field \"v[]\": too_many_items at byte 4"},
        hostile{"block_count_of_int64_min", R"({"type":"array","items":"int"})", smallest_long,
                "field \"v[]\": bad_block at byte 10"},
        hostile{"negative_count_beyond_its_size", R"({"type":"array","items":"int"})",
                minus_2_to_62_and_size_1, "field \"v[]\": bad_block at byte 10"},
        hostile{"block_size_beyond_the_rest",
                R"({"type":"array","items":"int"})",
                {0x01, 0x20, 0x02, 0x00},
                "field \"v[]\": bad_block at byte 2"},
        hostile{"block_size_that_is_wrong",
                R"({"type":"array","items":"int"})",
                {0x01, 0x04, 0x02, 0x00},
                "field \"v[]\": bad_block at byte 3"},
        hostile{"negative_block_size",
                R"({"type":"array","items":"int"})",
                {0x01, 0x01, 0x02, 0x00},
                "field \"v[]\": bad_block at byte 2"},
        hostile{"decimal_of_too_many_digits",
                R"({"type":"bytes","logicalType":"decimal","precision":2})",
                {0x02, 0x64},
                "field \"v\": bad_decimal at byte 1"},
        hostile{"decimal_of_no_bytes",
                R"({"type":"bytes","logicalType":"decimal","precision":2})",
                {0x00},
                "field \"v\": bad_decimal at byte 1"},
        hostile{"decimal_of_17_bytes",
                R"({"type":"bytes","logicalType":"decimal","precision":38})",
                {0x22, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
                "field \"v\": bad_decimal at byte 1"},
        hostile{"fixed_cut",
                R"({"type":"fixed","name":"f","size":4})",
                {1, 2, 3},
                "field \"v\": truncated at byte 0"}),
    [](const auto& of) { return of.param.name; });

TEST(Decode, TakesBlocksWithASizeAndSeveralBlocks) {
  const auto s = schema_of(record_of(R"({"type":"array","items":"int"})"));
  EXPECT_EQ(decoded(*s, *s, {0x03, 0x04, 0x02, 0x04, 0x02, 0x06, 0x00}), R"({"v":[1,2,3]})");
}

TEST(Decode, PassesOverSizedBlocksThatNobodyWants) {
  const auto s = schema_of(
      R"({"type":"record","name":"r","fields":[{"name":"a","type":{"type":"array","items":"string"}},
    {"name":"b","type":"int"}]})");
  EXPECT_EQ(decoded(*s, *s, {0x01, 0x04, 0x02, 'x', 0x02, 0x02, 'y', 0x00, 0x0a}, {"b"}),
            R"({"b":5})");
  EXPECT_EQ(decoded(*s, *s, {0x01, 0x20, 0x02, 'x', 0x00, 0x0a}, {"b"}),
            "refused: field \"a\": bad_block at byte 2");
  EXPECT_EQ(decoded(*s, *s, count_of_2_to_40, {"b"}), "refused: field \"a\": bad_block at byte 6");
}

TEST(Decode, AllocatesNothingPerRecordOnceColumnsHaveGrown) {
  const auto s = schema_of(everything);
  const auto plan = decode_plan::compile(*s, *s);
  const auto full = body_of(s, full_row);
  const auto small = body_of(s, small_row);
  columns rows(plan->fields());
  const auto fill = [&] {
    rows.clear();
    for (int i = 0; i < 100; ++i) {
      if (plan->decode(full, rows) || plan->decode(small, rows)) ADD_FAILURE();
      if (!plan->decode({full.data(), full.size() - 1}, rows)) ADD_FAILURE();
    }
  };
  fill();
  const auto before = allocations_made();
  fill();
  EXPECT_EQ(allocations_made(), before);
}

TEST(Encode, AllocatesNothingPerRecordOnceItsBufferHasGrown) {
  const auto s = schema_of(everything);
  columns rows(column_fields(*s));
  json_row_reader reader(s);
  ASSERT_TRUE(reader.append(full_row, rows));
  ASSERT_TRUE(reader.append(small_row, rows));
  const auto plan = encode_plan::compile(*s, rows.fields());
  row_encoder encoder(*plan);
  const auto arrays = lend_all(rows);
  buffer out;
  const auto write = [&] {
    out.clear();
    encoder.bind(arrays);
    if (encoder.encode(0, out) || encoder.encode(1, out)) ADD_FAILURE();
  };
  write();
  const auto before = allocations_made();
  write();
  EXPECT_EQ(allocations_made(), before);
}

TEST(Decode, MemoryIsAMultipleOfTheBytesForASchemaThatMultipliesThem) {
  const auto s =
      schema_of(record_of(R"({"type":"array","items":{"type":"array","items":"null"}})"));
  const auto plan = decode_plan::compile(*s, *s);
  columns rows(plan->fields());
  bytes body = {0x80, 0x10};  // 1024 arrays
  for (int i = 0; i < 1024; ++i)
    body.insert(body.end(), {0x0c, 0x00});  // of six nulls each: 6144 in all
  body.push_back(0);
  EXPECT_EQ(plan->describe(plan->decode(body, rows)),
            "field \"v[][]\": too_many_items at byte 1367");
}

}  // namespace
}  // namespace sonder::test
