#include "record/column.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "record/columns.h"

namespace sonder {
namespace {

using ::testing::HasSubstr;

field of(type_id id, bool nullable = false) {
  return field{"c", data_type{id}, nullable};
}

field list_of(field item) {
  item.name = "item";
  field f = of(type_id::list);
  f.type.fields.push_back(std::move(item));
  return f;
}

field enum_of(std::vector<std::string> symbols) {
  field f = of(type_id::enumeration);
  f.type.symbols = std::move(symbols);
  return f;
}

field union_of(std::vector<field> branches) {
  field f = of(type_id::dense_union);
  f.type.fields = std::move(branches);
  return f;
}

std::vector<std::string> texts(column& c) {
  std::vector<std::string> out;
  const auto& a = c.lend();
  for (std::int64_t i = 0; i < a.length; ++i)
    out.emplace_back(is_null(a, i) ? "null" : text_at(a, i));
  return out;
}

TEST(Column, HoldsTextsAndNulls) {
  column c(of(type_id::utf8, true));
  ASSERT_TRUE(c.append_text("one"));
  c.append_null();
  ASSERT_TRUE(c.append_text(""));
  EXPECT_THAT(texts(c), testing::ElementsAre("one", "null", ""));
  EXPECT_EQ(c.lend().null_count, 1);
  EXPECT_TRUE(bytes_at(c.lend(), 1).empty()) << "a null is over a zero";
}

TEST(Buffer, IsMadeAsLargeAsItIsToldAtOnceAndDoublesAfterThat) {
  buffer b;
  b.reserve_more(1'000'000);
  EXPECT_GE(b.capacity(), 1'000'000u);
  EXPECT_LT(b.capacity(), 1'200'000u);
  b.set_size(b.capacity());
  const auto before = b.capacity();
  b.append("x", 1);
  EXPECT_GE(b.capacity(), 2 * before);
}

TEST(Column, ClearKeepsItsMemory) {
  column c(of(type_id::utf8, true));
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(c.append_text("some text"));
  const auto held = c.bytes_held();
  c.clear();
  EXPECT_EQ(c.length(), 0);
  EXPECT_EQ(c.bytes_held(), held);
}

TEST(Column, BitsOfManyRowsStayApart) {
  column c(of(type_id::boolean, true));
  for (int i = 0; i < 100; ++i) i % 3 == 0 ? c.append_null() : c.append_bool(i % 2 == 0);
  const auto& a = c.lend();
  const auto* bits = static_cast<const std::uint8_t*>(a.buffers[1]);
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(is_null(a, i), i % 3 == 0) << i;
    ASSERT_EQ(((bits[i >> 3] >> (i & 7)) & 1) != 0, i % 3 != 0 && i % 2 == 0) << i;
  }
  EXPECT_EQ(a.null_count, 34);
}

TEST(Column, TruncateUndoesARowThatFailedHalfWay) {
  field row = of(type_id::record);
  row.type.fields = {list_of(of(type_id::utf8, true)),
                     union_of({of(type_id::int32), of(type_id::utf8)}), of(type_id::boolean, true)};
  column c(row);
  const auto append_whole = [&](const char* text) {
    ASSERT_TRUE(c.child(0).child(0).append_text(text));
    c.child(0).child(0).append_null();
    c.child(0).close_list();
    ASSERT_TRUE(c.child(1).child(1).append_text(text));
    c.child(1).close_union(1);
    c.child(2).append_bool(true);
    c.close_record();
  };
  append_whole("first");
  ASSERT_TRUE(c.child(0).child(0).append_text("lost"));
  c.child(0).close_list();
  c.child(1).child(0).append_int32(7);  // the union's row is not closed yet
  c.truncate(1);
  append_whole("second");
  ASSERT_TRUE(check_array(c.lend(), row, 2));
  const auto& a = c.lend();
  EXPECT_EQ(a.children[0]->children[0]->length, 4);
  EXPECT_EQ(a.children[1]->children[0]->length, 0);
  EXPECT_EQ(text_at(*a.children[1]->children[1], 1), "second");
}

TEST(Column, ARecordsNullIsOverNullsOfItsChildren) {
  field row = of(type_id::record, true);
  row.type.fields = {of(type_id::utf8, true), of(type_id::int64)};
  column c(row);
  c.append_null();
  const auto& a = c.lend();
  EXPECT_TRUE(is_null(a, 0));
  EXPECT_TRUE(is_null(*a.children[0], 0));
  EXPECT_EQ(fixed_values<std::int64_t>(*a.children[1])[0], 0);
}

TEST(Column, AUnionsNullIsItsBranchOfNull) {
  column c(union_of({of(type_id::int32), of(type_id::null)}));
  c.append_null();
  EXPECT_EQ(static_cast<const std::int8_t*>(c.lend().buffers[0])[0], 1);
  column without(union_of({of(type_id::int32), of(type_id::utf8)}));
  without.append_null();
  EXPECT_EQ(static_cast<const std::int8_t*>(without.lend().buffers[0])[0], 0);
}

TEST(Column, GathersRowsAndScattersThemBack) {
  column c(of(type_id::utf8, true));
  for (const char* text : {"a", "b", "c", "d"}) ASSERT_TRUE(c.append_text(text));
  column chosen(of(type_id::utf8, true));
  ASSERT_TRUE(chosen.append_rows(c.lend(), std::vector<std::int32_t>{3, 1}));
  EXPECT_THAT(texts(chosen), testing::ElementsAre("d", "b"));
  column back(of(type_id::utf8, true));
  ASSERT_TRUE(back.append_rows(chosen.lend(), std::vector<std::int32_t>{-1, 1, -1, 0}));
  EXPECT_THAT(texts(back), testing::ElementsAre("null", "b", "null", "d"));
}

/// A random column of the field, rows of every shape.
void fill(column& c, std::mt19937& random, int rows);

void fill_one(column& c, std::mt19937& random) {
  if (c.nullable() && random() % 4 == 0) return c.append_null();
  switch (c.type().id) {
    case type_id::boolean:
      return c.append_bool(random() % 2 == 0);
    case type_id::int32:
    case type_id::enumeration:
      return c.append_int32(static_cast<std::int32_t>(random() % 3));
    case type_id::int64:
      return c.append_int64(static_cast<std::int64_t>(random()));
    case type_id::float64:
      return c.append_float64(1.0 / static_cast<double>(random() % 7 + 1));
    case type_id::utf8:
      ASSERT_TRUE(c.append_text(std::string(random() % 40, 'x')));
      return;
    case type_id::list:
      fill(c.child(0), random, static_cast<int>(random() % 4));
      return c.close_list();
    case type_id::record:
      for (std::size_t i = 0; i < c.children(); ++i) fill_one(c.child(i), random);
      return c.close_record();
    case type_id::dense_union: {
      const auto branch = static_cast<std::int8_t>(random() % c.children());
      fill_one(c.child(static_cast<std::size_t>(branch)), random);
      return c.close_union(branch);
    }
    default:
      c.append_null();
  }
}

void fill(column& c, std::mt19937& random, int rows) {
  for (int i = 0; i < rows; ++i) fill_one(c, random);
}

TEST(Column, GatheringAllRowsInParts_GivesTheSameColumn) {
  const unsigned seed = 20261121;
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  field inner = of(type_id::record, true);
  inner.name = "inner";
  inner.type.fields = {of(type_id::utf8, true), list_of(of(type_id::int64, true)),
                       of(type_id::boolean)};
  field row = of(type_id::record);
  row.type.fields = {
      list_of(inner),
      union_of({of(type_id::null), of(type_id::utf8), list_of(of(type_id::float64))}),
      enum_of({"a", "b", "c"}), of(type_id::int32)};
  for (int round = 0; round < 20; ++round) {
    column c(row);
    fill(c, random, 50);
    ASSERT_TRUE(check_array(c.lend(), row, 50));
    column copy(row);
    for (int i = 0; i < 50; i += 10) {
      // A window into the array, as a slice has it.
      ArrowArray window = c.lend();
      window.offset = i;
      window.length = 10;
      window.null_count = -1;
      ASSERT_TRUE(
          copy.append_rows(window, std::vector<std::int32_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
    }
    ASSERT_TRUE(check_array(copy.lend(), row, 50));
    for (const auto child : {0, 1, 3}) {
      const auto& a = *c.lend().children[child];
      const auto& b = *copy.lend().children[child];
      ASSERT_EQ(a.length, b.length);
      ASSERT_EQ(std::memcmp(a.buffers[1], b.buffers[1], 50 * 4), 0)
          << "offsets or values of child " << child;
    }
  }
}

TEST(Columns, FlattenDepthFirst) {
  field record_field = of(type_id::record);
  record_field.type.fields = {of(type_id::int32), list_of(of(type_id::utf8))};
  const std::vector<field> fields = {of(type_id::int64), record_field, of(type_id::utf8)};
  columns rows(fields);
  ASSERT_EQ(rows.flat_size(), 6u);
  EXPECT_EQ(rows.flat()[1], &rows[1]);
  EXPECT_EQ(rows.flat()[4], &rows[1].child(1).child(0));
  EXPECT_EQ(rows.flat()[5], &rows[2]);
  const columns moved = std::move(rows);
  EXPECT_EQ(moved.find("c"), 0);
  EXPECT_EQ(moved.find("none"), -1);
}

class CheckArray : public testing::Test {
 protected:
  static std::string problem(const ArrowArray& a, const field& f, std::int64_t rows) {
    const auto good = check_array(a, f, rows);
    return good ? "good" : good.error().message;
  }
};

TEST_F(CheckArray, FindsWhatAPluginMayGetWrong) {
  const field f = of(type_id::utf8);
  column c(f);
  ASSERT_TRUE(c.append_text("abc"));
  ASSERT_TRUE(c.append_text("d"));
  ArrowArray a = c.lend();
  EXPECT_EQ(problem(a, f, 2), "good");
  EXPECT_EQ(problem(a, f, 3), "column \"c\": has 2 rows, should have 3");
  a.n_buffers = 2;
  EXPECT_EQ(problem(a, f, 2), "column \"c\": has 2 buffers, its type has 3");
  a = c.lend();
  a.null_count = 1;
  EXPECT_EQ(problem(a, f, 2), "column \"c\": counts nulls and has no validity bitmap");
  a = c.lend();
  a.offset = -1;
  EXPECT_EQ(problem(a, f, 2), "column \"c\": length or offset out of range");
  a = c.lend();
  const std::int32_t falling[] = {0, 3, 1};
  const void* buffers[] = {nullptr, falling, a.buffers[2]};
  a.buffers = buffers;
  EXPECT_EQ(problem(a, f, 2), "column \"c\": its offsets do not rise");
  const std::int32_t rising[] = {0, 1, 2};
  buffers[1] = rising;
  buffers[2] = "\xc3\xa9";
  EXPECT_EQ(problem(a, f, 2), "column \"c\": row 0 is not valid UTF-8")
      << "a character cut between two rows";
  buffers[2] = nullptr;
  EXPECT_EQ(problem(a, f, 2), "column \"c\": its bytes are missing");
}

TEST_F(CheckArray, RefusesANullWhereTheTypeHasNone) {
  column c(of(type_id::int32, true));
  c.append_null();
  EXPECT_EQ(problem(c.lend(), of(type_id::int32), 1),
            "column \"c\": row 0 is null, its type has no null");
}

TEST_F(CheckArray, HoldsEnumerationsToTheirSymbols) {
  const field f = enum_of({"A", "B"});
  column c(f);
  c.append_int32(1);
  EXPECT_EQ(problem(c.lend(), f, 1), "good");
  EXPECT_EQ(problem(c.lend(), enum_of({"B", "A"}), 1),
            "column \"c\": its dictionary is not the declared symbols in their order");
  c.append_int32(2);
  EXPECT_EQ(problem(c.lend(), f, 2), "column \"c\": row 1 has an index beyond its 2 symbols");
  ArrowArray bare = c.lend();
  bare.dictionary = nullptr;
  EXPECT_EQ(problem(bare, f, 2), "column \"c\": its dictionary is missing");
}

TEST_F(CheckArray, HoldsChildrenToWhatTheirParentsPointAt) {
  const field f = list_of(of(type_id::int32));
  column c(f);
  c.child(0).append_int32(1);
  c.close_list();
  ArrowArray a = c.lend();
  ArrowArray child = *a.children[0];
  child.length = 0;
  ArrowArray* children[] = {&child};
  a.children = children;
  EXPECT_EQ(problem(a, f, 1), "column \"c\": child \"item\" has 0 rows, needs 1");
  const field u = union_of({of(type_id::int32), of(type_id::utf8)});
  column d(u);
  d.append_null();
  ArrowArray b = d.lend();
  const std::int8_t wrong_id[] = {2};
  const void* buffers[] = {wrong_id, b.buffers[1]};
  b.buffers = buffers;
  EXPECT_EQ(problem(b, u, 1), "column \"c\": row 0 has a type id beyond its branches");
}

TEST(Type, ExportsAndImportsEveryType) {
  field row = of(type_id::record, true);
  for (int id = 0; id <= static_cast<int>(type_id::dense_union); ++id) {
    field f = of(static_cast<type_id>(id), id % 2 == 1);
    f.name = "f" + std::to_string(id);
    if (f.type.id == type_id::fixed_binary) f.type.size = 16;
    if (f.type.id == type_id::decimal128) f.type.size = 20, f.type.scale = 4;
    if (f.type.id == type_id::list) f.type.fields = {of(type_id::utf8)};
    if (f.type.id == type_id::record || f.type.id == type_id::dense_union)
      f.type.fields = {of(type_id::utf8), of(type_id::int32, true)};
    if (f.type.id == type_id::map) {
      field entries = of(type_id::record);
      entries.type.fields = {of(type_id::utf8), of(type_id::int32)};
      f.type.fields = {entries};
    }
    row.type.fields.push_back(std::move(f));
  }
  ArrowSchema exported;
  export_schema(row, &exported);
  const auto imported = import_schema(exported);
  exported.release(&exported);
  EXPECT_EQ(exported.release, nullptr);
  ASSERT_TRUE(imported) << imported.error().message;
  EXPECT_EQ(*imported, row);
}

TEST(Type, RefusesWhatHasNoColumnTypeByName) {
  ArrowSchema exported;
  export_schema(of(type_id::utf8), &exported);
  for (const char* format : {"U", "vu", "w:x", "d:40,2", "+us:0", "tsn:", "+L", ""}) {
    ArrowSchema changed = exported;
    changed.format = format;
    const auto imported = import_schema(changed);
    ASSERT_FALSE(imported) << format;
    EXPECT_THAT(imported.error().message,
                HasSubstr("field \"c\": Arrow type \"" + std::string(format)));
  }
  exported.release(&exported);
}

TEST(Utf8, KnowsWhatIsWellFormed) {
  const auto valid = [](std::string_view text) {
    return is_utf8(as_bytes(text).data(), text.size());
  };
  EXPECT_TRUE(valid(""));
  EXPECT_TRUE(valid("plain text that is longer than sixteen bytes, twice"));
  EXPECT_TRUE(valid("naïve 日本語 🙂 \xf4\x8f\xbf\xbf"));
  for (const char* text :
       {"\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80", "\xf5", "\xff", "\xc3", "\xe2\x82", "\xf0\x9f\x99", "\xc3\x28",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\xc3"}) {
    EXPECT_FALSE(valid(text)) << text;
  }
}

TEST(Utf8, AgreesWithASlowCheckOnEveryShortSequence) {
  // Decodes one code point the plain way; nothing for what is no UTF-8.
  const auto slow = [](const std::uint8_t* p, std::size_t size) {
    for (std::size_t i = 0; i < size;) {
      const int more = p[i] < 0x80    ? 0
                       : p[i] >= 0xf0 ? 3
                       : p[i] >= 0xe0 ? 2
                       : p[i] >= 0xc0 ? 1
                                      : -1;
      if (more < 0 || p[i] > 0xf7 || i + static_cast<std::size_t>(more) >= size) return false;
      std::uint32_t code = more == 0 ? p[i] : p[i] & (0x3fu >> more);
      for (int k = 1; k <= more; ++k) {
        if ((p[i + static_cast<std::size_t>(k)] & 0xc0) != 0x80) return false;
        code = code << 6 | (p[i + static_cast<std::size_t>(k)] & 0x3f);
      }
      constexpr std::uint32_t least[] = {0, 0x80, 0x800, 0x10000};
      if (code < least[more] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return false;
      i += static_cast<std::size_t>(more) + 1;
    }
    return true;
  };
  const std::uint8_t edges[] = {0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf,
                                0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee,
                                0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff};
  for (const auto a : edges) {
    for (const auto b : edges) {
      for (const auto c : edges) {
        for (const auto d : edges) {
          const std::uint8_t text[] = {a, b, c, d};
          for (std::size_t size = 1; size <= 4; ++size)
            ASSERT_EQ(is_utf8(text, size), slow(text, size))
                << +a << ' ' << +b << ' ' << +c << ' ' << +d;
        }
      }
    }
  }
}

}  // namespace
}  // namespace sonder
