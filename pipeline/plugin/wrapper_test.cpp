// The C++ wrapper of the SDK, held against the host's own idea of columns.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "avro/json.h"
#include "avro/schema.h"
#include "record/column.h"
#include "record/columns.h"
#include "sonder/plugin.hpp"

namespace sonder {
namespace {

namespace sp = sonder::plugin;
using ::testing::ElementsAre;

field field_of(const char* schema) {
  return column_field(**parse_schema(schema), "c");
}

/// All rows of an array as the host reads them; releases it.
std::vector<std::string> rows_of(ArrowArray& array, const char* schema) {
  const auto of = field_of(schema);
  const auto fits = check_array(array, of, array.length);
  EXPECT_TRUE(fits.has_value()) << (fits ? "" : fits.error().message);
  std::vector<std::string> rows;
  for (std::int64_t row = 0; fits && row < array.length; ++row) {
    rows.emplace_back();
    append_json(of, array, row, rows.back());
  }
  array.release(&array);
  EXPECT_EQ(array.release, nullptr);
  return rows;
}

template <class Builder>
std::vector<std::string> handed_over(sp::column<Builder>& made, const char* schema) {
  ArrowArray array{};
  made.hand_over(array);
  return rows_of(array, schema);
}

TEST(Builders, MakeColumnsOfPlainTypes) {
  sp::column<sp::build::utf8> texts;
  auto& t = texts.start();
  t.append("one");
  t.append_null();
  t.put("tw");
  t.put("o");
  t.end_row();
  EXPECT_THAT(handed_over(texts, R"(["null","string"])"),
              ElementsAre(R"("one")", "null", R"("two")"));

  sp::column<sp::build::int64> longs;
  auto& l = longs.start();
  for (int i = 0; i < 20; ++i) i == 9 ? l.append_null() : l.append(i);
  EXPECT_EQ(handed_over(longs, R"(["null","long"])")[9], "null");

  sp::column<sp::build::boolean> truths;
  auto& b = truths.start();
  for (int i = 0; i < 11; ++i) b.append(i % 3 == 0);
  const auto got = handed_over(truths, R"("boolean")");
  for (int i = 0; i < 11; ++i)
    EXPECT_EQ(got[static_cast<std::size_t>(i)], i % 3 == 0 ? "true" : "false");

  sp::column<sp::build::float64> empty;
  empty.start();
  EXPECT_TRUE(handed_over(empty, R"("double")").empty());
}

TEST(Builders, MakeColumnsOfNestedTypes) {
  sp::column<sp::build::map<sp::build::float64>> maps;
  auto& m = maps.start();
  m.entry("joy").append(0.5);
  m.entry("awe").append(0.25);
  m.close();
  m.append_null();
  m.close();
  EXPECT_THAT(handed_over(maps, R"(["null",{"type":"map","values":"double"}])"),
              ElementsAre(R"({"joy":0.5,"awe":0.25})", "null", "{}"));

  sp::column<sp::build::list<sp::build::record<sp::build::utf8, sp::build::int32>>> spans;
  auto& s = spans.start();
  s.close();
  for (int i = 0; i < 2; ++i) {
    s.values().get<0>().append("EMAIL");
    s.values().get<1>().append(i);
    s.values().close();
  }
  s.close();
  EXPECT_THAT(
      handed_over(spans, R"({"type":"array","items":{"type":"record","name":"span","fields":[
                                    {"name":"kind","type":"string"},{"name":"at","type":"int"}]}})"),
      ElementsAre("[]", R"([{"kind":"EMAIL","at":0},{"kind":"EMAIL","at":1}])"));

  static constexpr std::string_view symbols[] = {"LOW", "HIGH"};
  sp::column<sp::build::enumeration> moods{sp::build::enumeration(symbols)};
  auto& e = moods.start();
  e.append(1);
  e.append_null();
  e.append(0);
  EXPECT_THAT(
      handed_over(moods, R"(["null",{"type":"enum","name":"mood","symbols":["LOW","HIGH"]}])"),
      ElementsAre(R"("HIGH")", "null", R"("LOW")"));
}

TEST(Builders, UseTheSameMemoryOverAndOver) {
  sp::column<sp::build::utf8> texts;
  const void* first = nullptr;
  for (int batch = 0; batch < 10; ++batch) {
    texts.start().append(std::string(1000, 'x'));
    ArrowArray array{};
    texts.hand_over(array);
    if (batch == 0) first = array.buffers[2];
    EXPECT_EQ(array.buffers[2], first);
    array.release(&array);
  }
}

TEST(Builders, LendFreshMemoryWhileTheHostHoldsTheLast) {
  sp::column<sp::build::utf8> texts;
  texts.start().append("first");
  ArrowArray first{};
  texts.hand_over(first);
  texts.start().append("other");
  ArrowArray second{};
  texts.hand_over(second);
  EXPECT_EQ(text_at(first, 0), "first");
  EXPECT_EQ(text_at(second, 0), "other");
  first.release(&first);
  second.release(&second);
}

TEST(Builders, OutliveTheInstanceWhoseColumnTheyMade) {
  ArrowArray array{};
  {
    sp::column<sp::build::utf8> texts;
    texts.start().append("still here");
    texts.hand_over(array);
  }
  EXPECT_EQ(text_at(array, 0), "still here");
  std::thread([&] { array.release(&array); }).join();
  EXPECT_EQ(array.release, nullptr);
}

TEST(Builders, LetAChildBeMovedOutAsArrowAllows) {
  sp::column<sp::build::list<sp::build::utf8>> lists;
  lists.start().values().append("kept");
  lists.builder().close();
  ArrowArray list{};
  lists.hand_over(list);
  ArrowArray child = *list.children[0];
  list.children[0]->release = nullptr;
  list.release(&list);
  lists.start().values().append("overwritten?");
  EXPECT_EQ(text_at(child, 0), "kept");
  child.release(&child);
}

TEST(Builders, RefuseARecordWithAFieldTooFew) {
  sp::column<sp::build::record<sp::build::utf8, sp::build::int64>> records;
  auto& r = records.start();
  r.get<0>().append("half");
  EXPECT_THROW(r.close(), sp::contract_error);
  sp::column<sp::build::utf8> unstarted;
  ArrowArray array{};
  EXPECT_THROW(unstarted.hand_over(array), sp::contract_error);
}

// ---- Readers, on columns that the host made ----

class Readers : public ::testing::Test {
 protected:
  Readers()
      : schema_(*parse_schema(R"({"type":"record","name":"r","fields":[
          {"name":"text","type":["null","string"]}, {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},
          {"name":"on","type":"boolean"}, {"name":"mood","type":{"type":"enum","name":"m","symbols":["LOW","HIGH"]}},
          {"name":"tags","type":{"type":"array","items":"string"}}, {"name":"scores","type":{"type":"map","values":"double"}},
          {"name":"who","type":{"type":"record","name":"w","fields":[{"name":"age","type":"int"}]}},
          {"name":"any","type":["string","long"]}]})")),
        columns_(column_fields(*schema_)) {
    json_row_reader reader(schema_);
    for (
        const char* row :
        {R"({"text":"a","at":5,"on":true,"mood":"HIGH","tags":["x","y"],"scores":{"joy":0.5},"who":{"age":7},"any":"s"})",
         R"({"text":null,"at":6,"on":false,"mood":"LOW","tags":[],"scores":{},"who":{"age":8},"any":9})"}) {
      const auto read = reader.append(row, columns_);
      EXPECT_TRUE(read.has_value()) << (read ? "" : read.error().message);
    }
    field all{"", data_type{type_id::record, 0, 0, {}, columns_.fields()}, false};
    export_schema(all, &arrow_schema_);
    for (std::size_t i = 0; i < columns_.size(); ++i) arrays_.push_back(columns_[i].lend());
    for (auto& a : arrays_) children_.push_back(&a);
    top_.length = 2;
    top_.n_buffers = 1;
    top_.buffers = buffers_;
    top_.n_children = static_cast<std::int64_t>(children_.size());
    top_.children = children_.data();
    raw_.struct_size = sizeof raw_;
    raw_.rows = 2;
    raw_.schema = &arrow_schema_;
    raw_.array = &top_;
  }
  ~Readers() override { arrow_schema_.release(&arrow_schema_); }

  schema_ptr schema_;
  columns columns_;
  ArrowSchema arrow_schema_{};
  std::vector<ArrowArray> arrays_;
  std::vector<ArrowArray*> children_;
  const void* buffers_[1] = {nullptr};
  ArrowArray top_{};
  sonder_batch raw_{};
};

TEST_F(Readers, SeeEveryTypeOfColumn) {
  const sp::batch batch(raw_);
  const auto text = batch.text(0);
  EXPECT_EQ(text[0], "a");
  EXPECT_FALSE(text.is_null(0));
  EXPECT_TRUE(text.is_null(1));
  EXPECT_THAT(batch.int64(1).values(), ElementsAre(5, 6));
  EXPECT_TRUE(batch.boolean(2)[0] && !batch.boolean(2)[1]);
  EXPECT_EQ(batch.enumeration(3)[0], "HIGH");
  EXPECT_EQ(batch.enumeration(3).index(1), 0);
  const auto tags = batch.list(4);
  const sp::text_column tag(tags.values());
  EXPECT_EQ(tags[0].size(), 2);
  EXPECT_EQ(tag[tags[0].end - 1], "y");
  EXPECT_EQ(tags[1].size(), 0);
  const auto scores = batch.map(5);
  EXPECT_EQ(scores.keys()[scores[0].begin], "joy");
  EXPECT_EQ(sp::float64_column(scores.values())[scores[0].begin], 0.5);
  EXPECT_EQ(sp::int32_column(batch.record(6).field("age"))[1], 8);
  const auto any = batch.dense_union(7);
  EXPECT_EQ(sp::text_column(any.child(any.branch(0)))[any.row_of_branch(0)], "s");
  EXPECT_EQ(sp::int64_column(any.child(any.branch(1)))[any.row_of_branch(1)], 9);
}

TEST_F(Readers, CountFromTheOffsetsOfArrayAndParent) {
  top_.offset = 1;
  top_.length = 1;
  raw_.rows = 1;
  const sp::batch batch(raw_);
  EXPECT_TRUE(batch.text(0).is_null(0));
  EXPECT_EQ(batch.int64(1)[0], 6);
  EXPECT_FALSE(batch.boolean(2)[0]);
  EXPECT_EQ(sp::int32_column(batch.record(6).field("age"))[0], 8);
}

TEST_F(Readers, RefuseAnotherTypeThanTheDeclaredOne) {
  const sp::batch batch(raw_);
  EXPECT_THROW(static_cast<void>(batch.int64(0)), sp::contract_error);
  EXPECT_THROW(static_cast<void>(batch.text(1)), sp::contract_error);
  EXPECT_THROW(static_cast<void>(batch.column(8)), sp::contract_error);
  EXPECT_THROW(static_cast<void>(batch.record(6).field("size")), sp::contract_error);
}

TEST(Answers, CutALongMessageBetweenCharacters) {
  sonder_error error{};
  std::string message(246, 'a');
  message += "\xC3\xA4\xC3\xA4";
  EXPECT_EQ(sp::detail::answer(&error, sp::status::fatal(message)), SONDER_FATAL);
  EXPECT_EQ(std::string(error.message), std::string(246, 'a'));
}

}  // namespace
}  // namespace sonder
