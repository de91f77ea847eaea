#include "log/record_batch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "log/record_walk.h"

namespace sonder {
namespace {

struct given_record {
  std::int64_t offset = 0;
  std::int64_t timestamp_ms = 0;
  std::optional<std::string> key, value;
  std::string headers;

  bool operator==(const given_record&) const = default;
};

std::ostream& operator<<(std::ostream& to, const given_record& r) {
  return to << r.offset << " @" << r.timestamp_ms << " " << r.key.value_or("-") << "="
            << r.value.value_or("-");
}

void add(record_batch_builder& to, const given_record& r) {
  const bytes_view key = r.key ? as_bytes(*r.key) : bytes_view{};
  const bytes_view value = r.value ? as_bytes(*r.value) : bytes_view{};
  to.append_at(r.offset, r.timestamp_ms, r.key ? &key : nullptr, r.value ? &value : nullptr,
               as_bytes(r.headers));
}

result<std::vector<given_record>> read_all(bytes_view batch, std::int64_t base = 0,
                                           std::int64_t from = 0, read_limits limits = {}) {
  record_block block;
  const auto done = read_batch(batch, base, from, block, limits);
  if (!done) return tl::unexpected<error>(done.error());
  std::vector<given_record> all;
  for (const auto& r : block.records) {
    all.push_back({r.offset, r.timestamp_ms,
                   r.has_key ? std::optional<std::string>(as_text(r.key)) : std::nullopt,
                   r.has_value ? std::optional<std::string>(as_text(r.value)) : std::nullopt,
                   std::string(as_text(r.headers))});
  }
  return all;
}

std::vector<given_record> random_records(std::mt19937_64& random, bool gaps) {
  std::vector<given_record> all;
  std::int64_t offset = 0;
  for (auto left = random() % 20; left > 0; --left) {
    if (gaps) offset += static_cast<std::int64_t>(random() % 3 == 0 ? random() % 1000 : 0);
    given_record r{offset++,
                   static_cast<std::int64_t>(
                       random() % 5 == 0 ? random() : 1'700'000'000'000 + random() % 1000),
                   {},
                   {},
                   {}};
    if (random() % 4 != 0) r.key = std::string(random() % 20, 'k');
    if (random() % 4 != 0) r.value = std::string(random() % 200, 'v');
    if (random() % 4 == 0) {
      buffer headers;
      const std::string header_value(random() % 30, 'h');
      const header_view header{"trace", as_bytes(header_value)};
      encode_headers({&header, 1}, headers);
      r.headers = as_text({headers.data(), headers.size()});
    }
    all.push_back(std::move(r));
  }
  return all;
}

TEST(RecordBatch, ReadsBackWhatWasAppended) {
  record_batch_builder builder;
  const given_record first{0, 1000, "ana", "calm", ""}, tombstone{1, 900, "ben", std::nullopt, ""},
      bare{2, 1100, std::nullopt, "", ""};
  for (const auto& r : {first, tombstone, bare}) add(builder, r);
  const auto read = read_all(builder.finish());
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_THAT(*read, testing::ElementsAre(first, tombstone, bare));
  EXPECT_EQ(read_batch_header(builder.finish())->max_timestamp_ms, 1100);
  EXPECT_FALSE(builder.all_have_keys());
}

TEST(RecordBatch, ReadsBackRandomRecordsAndTheirConcatenation) {
  for (unsigned seed = 1; seed <= 500; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    record_batch_builder whole;
    std::vector<given_record> expected;
    std::int64_t base = 0;
    for (int part = 0; part < 3; ++part) {
      auto records = random_records(random, seed % 2 == 0);
      record_batch_builder builder;
      for (const auto& r : records) add(builder, r);
      if (seed % 5 == 0) builder.cover_to(builder.covered() + 3);
      const auto read = read_all(builder.finish());
      ASSERT_TRUE(read) << read.error().message;
      ASSERT_EQ(*read, records);
      whole.append_all(builder);
      for (auto r : records) {
        r.offset += base;
        expected.push_back(r);
      }
      base += builder.covered();
    }
    const auto read = read_all(whole.finish());
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(*read, expected);
    const auto adopted = record_batch_builder::adopt(whole.finish());
    ASSERT_TRUE(adopted);
    record_batch_builder again = std::move(const_cast<record_batch_builder&>(*adopted));
    EXPECT_TRUE(std::ranges::equal(again.finish(), whole.finish()));
  }
}

TEST(RecordBatch, IsWalkedByWhoHasBuiltIt) {
  std::mt19937_64 random(11);
  for (int round = 0; round < 200; ++round) {
    const auto given = random_records(random, round % 2 == 0);
    record_batch_builder builder;
    for (const auto& r : given) add(builder, r);
    std::vector<given_record> walked;
    record_walk walk(builder.finish());
    for (log_record r; walk.next(r);) {
      walked.push_back({r.offset, r.timestamp_ms,
                        r.has_key ? std::optional<std::string>(as_text(r.key)) : std::nullopt,
                        r.has_value ? std::optional<std::string>(as_text(r.value)) : std::nullopt,
                        std::string(as_text(r.headers))});
    }
    EXPECT_EQ(walked, given) << "round " << round;
  }
}

// Values of which the length takes one to three bytes, in any order, with some that are given up.
TEST(RecordBatch, AMadeValueLeavesTheBytesOfAnAppendedOneAndARefusedOneNone) {
  for (unsigned seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    record_batch_builder appended, made;
    for (const auto& r : random_records(random, false)) {
      const std::string text(random() % (std::size_t{1} << random() % 16), 'v');
      const bytes_view key = r.key ? as_bytes(*r.key) : bytes_view{};
      const bytes_view value = as_bytes(text);
      const auto* const key_or_none = r.key ? &key : nullptr;
      const bool refused = random() % 4 == 0;
      const bool counts =
          made.append_made(r.timestamp_ms, key_or_none, as_bytes(r.headers), [&](buffer& behind) {
            behind.append(value.data(), value.size());
            return !refused;
          });
      EXPECT_EQ(counts, !refused);
      if (!refused) appended.append(r.timestamp_ms, key_or_none, &value, as_bytes(r.headers));
      ASSERT_EQ(made.bytes(), appended.bytes());
    }
    EXPECT_EQ(made.largest_record_bytes(), appended.largest_record_bytes());
    EXPECT_EQ(made.all_have_keys(), appended.all_have_keys());
    EXPECT_TRUE(std::ranges::equal(made.finish(), appended.finish()));
  }
}

TEST(RecordBatch, KeepsOffsetsOverGapsAndSkipsWhatIsBeforeFrom) {
  record_batch_builder builder;
  const given_record second{2, 5, "a", "1", ""}, sixth{6, 5, "b", "2", ""};
  add(builder, second);
  add(builder, sixth);
  builder.cover_to(10);
  record_block block;
  ASSERT_TRUE(read_batch(builder.finish(), 100, 103, block));
  ASSERT_EQ(block.records.size(), 1u);
  EXPECT_EQ(block.records[0].offset, 106);
  EXPECT_EQ(block.next_offset, 110);
}

TEST(RecordBatch, StopsAtLimitsButGivesOneRecordAtLeast) {
  record_batch_builder builder;
  for (int i = 0; i < 10; ++i) add(builder, {i, 0, "k", std::string(100, 'v'), ""});
  record_block block;
  ASSERT_TRUE(read_batch(builder.finish(), 0, 2, block, {.records_max = 3}));
  EXPECT_EQ(block.records.size(), 3u);
  EXPECT_EQ(block.next_offset, 5);
  block.clear();
  ASSERT_TRUE(read_batch(builder.finish(), 0, 2, block, {.bytes_max = 250}));
  EXPECT_EQ(block.records.size(), 2u);
  block.clear();
  ASSERT_TRUE(read_batch(builder.finish(), 0, 9, block, {.bytes_max = 1}));
  EXPECT_EQ(block.records.size(), 1u);
  EXPECT_EQ(block.next_offset, 10);
}

TEST(RecordBatch, GivesAllRecordsTheAppendTime) {
  record_batch_builder builder;
  add(builder, {0, 17, "k", "v", ""});
  add(builder, {1, 90'000, "k", "v", ""});
  const auto read = read_all(builder.finish(5555, 0));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ((*read)[0].timestamp_ms, 5555);
  EXPECT_EQ((*read)[1].timestamp_ms, 5555);
}

TEST(RecordBatch, RefusesEveryTruncationAndEveryBitFlip) {
  std::mt19937_64 random(7);
  record_batch_builder builder;
  for (const auto& r : random_records(random, true)) add(builder, r);
  const bytes_view good = builder.finish();
  for (std::size_t size = 0; size < good.size(); ++size) {
    EXPECT_FALSE(read_all(good.first(size))) << "of " << size << " bytes";
  }
  std::vector<std::uint8_t> bytes(good.begin(), good.end());
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
    EXPECT_FALSE(read_all(bytes)) << "bit " << bit;
    bytes[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
  }
  bytes.push_back(0);
  EXPECT_FALSE(read_all(bytes)) << "with a byte too many";
}

TEST(RecordBatch, NamesANewerVersion) {
  record_batch_builder builder;
  add(builder, {0, 0, "k", "v", ""});
  const bytes_view good = builder.finish();
  std::vector<std::uint8_t> bytes(good.begin(), good.end());
  bytes[1] = 9;
  const auto read = read_all(bytes);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, errc::unsupported);
  EXPECT_EQ(read.error().message,
            "record batch: version 9 is newer than this program, which knows 1");
}

TEST(RecordBatch, PutsAHeaderBeforeOthersAndTakesItOffAgain) {
  buffer given;
  const header_view headers[] = {{"a", as_bytes("1")}, {"b", as_bytes("")}};
  encode_headers(headers, given);
  const bytes_view others{given.data(), given.size()};
  for (const auto& rest : {others, bytes_view{}}) {
    buffer all;
    all.append("x", 1);
    encode_headers_after({"first", as_bytes("0")}, rest, all);
    header_view first;
    buffer left;
    ASSERT_TRUE(take_first_header({all.data() + 1, all.size() - 1}, first, left));
    EXPECT_EQ(first.key, "first");
    EXPECT_EQ(as_text(first.value), "0");
    EXPECT_EQ(as_text({left.data(), left.size()}), as_text(rest));
  }
  header_view first;
  buffer left;
  EXPECT_FALSE(take_first_header({}, first, left));
  for (std::size_t size = 0; size < 4; ++size)
    EXPECT_FALSE(take_first_header(others.first(size), first, left)) << size;
  EXPECT_EQ(left.size(), 0U);
}

TEST(RecordBatch, WalksHeaders) {
  buffer encoded;
  const header_view headers[] = {{"a", as_bytes("1")}, {"b", as_bytes("")}, {"a", as_bytes("2")}};
  encode_headers(headers, encoded);
  header_cursor cursor({encoded.data(), encoded.size()});
  header_view header;
  std::vector<std::pair<std::string, std::string>> walked;
  while (cursor.next(header)) walked.emplace_back(header.key, as_text(header.value));
  EXPECT_THAT(walked, testing::ElementsAre(testing::Pair("a", "1"), testing::Pair("b", ""),
                                           testing::Pair("a", "2")));

  // Cut anywhere, it ends without reading beyond.
  for (std::size_t size = 0; size < encoded.size(); ++size) {
    const std::vector<std::uint8_t> cut(encoded.data(), encoded.data() + size);
    header_cursor broken(cut);
    int count = 0;
    while (broken.next(header)) ++count;
    EXPECT_LT(count, 3);
  }
}

TEST(RecordBatch, KeepsItsMemoryOverClear) {
  record_batch_builder builder;
  add(builder, {0, 5, "k", "v", ""});
  builder.clear();
  EXPECT_EQ(builder.count(), 0);
  EXPECT_EQ(builder.bytes(), 0u);
  add(builder, {0, 7, "x", "y", ""});
  const auto read = read_all(builder.finish());
  ASSERT_TRUE(read);
  EXPECT_THAT(*read, testing::ElementsAre(given_record{0, 7, "x", "y", ""}));
}

}  // namespace
}  // namespace sonder
