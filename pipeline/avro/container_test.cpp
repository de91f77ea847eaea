#include "avro/container.h"

#include <gmock/gmock.h>
#include <zlib.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "avro/codec.h"
#include "avro/test_rows.h"

namespace sonder::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr std::string_view row_schema = R"({"type":"record","name":"r","namespace":"n","fields":[
  {"name":"a","type":"string","sonder.privacy":["free_text"]},
  {"name":"t","type":{"type":"long","logicalType":"timestamp-millis"},"default":0},{"name":"i","type":"int"}]})";

class Container : public testing::TestWithParam<container_codec> {
 protected:
  void TearDown() override { fs::remove(file_); }

  void write(int rows, container_codec codec) const {
    const auto s = schema_of(row_schema);
    auto writer = container_writer::create(file_, *s, codec);
    ASSERT_TRUE(writer) << writer.error().message;
    for (int i = 0; i < rows; ++i) {
      const auto body = body_of(
          s, R"({"a":"some text to pack, again and again","t":1,"i":)" + std::to_string(i) + "}");
      const auto done = writer->append(body);
      ASSERT_TRUE(done) << done.error().message;
    }
    const auto done = writer->close();
    ASSERT_TRUE(done) << done.error().message;
  }

  bytes content() const {
    std::ifstream in(file_, std::ios::binary);
    return bytes(std::istreambuf_iterator<char>(in), {});
  }

  const fs::path file_ = fs::path(testing::TempDir()) / "sonder_container_test.avro";
};

/// Reads all rows in steps of `step`; how many, or the message.
std::string read_all(const bytes& file, std::size_t step = 100) {
  auto reader = container_reader::over(file);
  if (!reader) return reader.error().message;
  columns rows(reader->fields());
  std::size_t count = 0;
  for (;;) {
    const auto read = reader->read(step, rows);
    if (!read) return read.error().message;
    if (*read == 0) return std::to_string(count) + " rows";
    count += *read;
    rows.clear();
  }
}

TEST_P(Container, ReadsBackWhatAvroCWrote) {
  write(5000, GetParam());
  auto reader = container_reader::open(file_);
  ASSERT_TRUE(reader) << reader.error().message;
  EXPECT_EQ(reader->codec(), GetParam());
  EXPECT_EQ(to_json(*reader->writer_schema()), to_json(*schema_of(row_schema)))
      << "labels, defaults and logical types are kept";
  EXPECT_EQ(read_all(content()), "5000 rows");
}

INSTANTIATE_TEST_SUITE_P(Codecs, Container,
                         testing::Values(container_codec::null, container_codec::deflate,
                                         container_codec::snappy),
                         [](const auto& of) { return std::string(name(of.param)); });

/// Files that another Avro wrote, one for each codec.
class ContainerOfAnother : public testing::TestWithParam<container_codec> {};

TEST_P(ContainerOfAnother, IsReadRowByRow) {
  const auto* tree = std::getenv("SONDER_SOURCE_DIR");
  ASSERT_NE(tree, nullptr) << "run by ctest, or set SONDER_SOURCE_DIR to the tree";
  auto reader = container_reader::open(fs::path(tree) / "pipeline/avro/corpus/container" / (std::string(name(GetParam())) + ".avro"));
  ASSERT_TRUE(reader) << reader.error().message;
  EXPECT_EQ(reader->codec(), GetParam());
  columns rows(reader->fields());
  EXPECT_EQ(reader->read(10, rows).value_or(0), 3U);
  EXPECT_EQ(rows_of(rows),
            R"({"a":"text text text ","t":null,"l":[1,2,0]})"
            "\n"
            R"({"a":"text text text ","t":1,"l":[1,2,1]})"
            "\n"
            R"({"a":"text text text ","t":null,"l":[1,2,2]})");
  EXPECT_EQ(reader->read(10, rows).value_or(1), 0U) << "then it ends";
}

INSTANTIATE_TEST_SUITE_P(Codecs, ContainerOfAnother,
                         testing::Values(container_codec::null, container_codec::deflate, container_codec::snappy,
                                         container_codec::bzip2, container_codec::xz, container_codec::zstandard),
                         [](const auto& of) { return std::string(name(of.param)); });

TEST_F(Container, SaysWhichCodecsItCannotWrite) {
  for (const auto codec :
       {container_codec::bzip2, container_codec::xz, container_codec::zstandard}) {
    EXPECT_EQ(container_writer::create(file_, *schema_of(row_schema), codec).error().code,
              errc::unsupported);
  }
}

TEST_F(Container, ReadsAsAnotherSchema) {
  write(2, container_codec::deflate);
  auto reader = container_reader::open(file_);
  ASSERT_TRUE(reader->read_as(
      *schema_of(R"({"type":"record","name":"r","fields":[{"name":"i","type":"long"}]})")));
  columns rows(reader->fields());
  EXPECT_EQ(*reader->read(10, rows), 2u);
  EXPECT_EQ(rows_of(rows), "{\"i\":0}\n{\"i\":1}");
}

TEST_F(Container, RefusesEveryTruncationThatIsNotBetweenBlocks) {
  write(20, container_codec::null);
  const auto whole = content();
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const auto said =
        read_all(bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)));
    EXPECT_TRUE(said == "0 rows" || said.find("rows") == std::string::npos) << size << ": " << said;
  }
}

TEST_F(Container, SurvivesAnyChangedByte) {
  for (const auto codec :
       {container_codec::null, container_codec::deflate, container_codec::snappy}) {
    write(3, codec);
    const auto whole = content();
    for (std::size_t i = 0; i < whole.size(); ++i) {
      for (const int flip : {0x01, 0x80, 0xff}) {
        auto changed = whole;
        changed[i] ^= static_cast<std::uint8_t>(flip);
        (void)read_all(changed);
      }
    }
  }
}

TEST_F(Container, SaysWhatIsWrong) {
  write(3, container_codec::snappy);
  auto changed = content();
  EXPECT_EQ(read_all({}), "an empty file is no Avro container file");
  EXPECT_THAT(read_all({'O', 'b', 'j', 2}), HasSubstr("is no Avro container file"));
  changed.back() ^= 1;
  EXPECT_EQ(read_all(changed), "block 1: does not end with the file's marker");
  changed = content();
  changed[changed.size() - 17] ^= 1;
  EXPECT_EQ(read_all(changed), "block 1: the snappy block fails its CRC-32");
}

TEST(Codec, ABombIsStoppedAtTheBound) {
  const bytes zeros(std::size_t{8} << 20);
  bytes packed(std::size_t{1} << 20);
  z_stream z{};
  ASSERT_EQ(deflateInit2(&z, 9, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY), Z_OK);
  z.next_in = const_cast<Bytef*>(zeros.data());
  z.avail_in = static_cast<uInt>(zeros.size());
  z.next_out = packed.data();
  z.avail_out = static_cast<uInt>(packed.size());
  ASSERT_EQ(deflate(&z, Z_FINISH), Z_STREAM_END);
  packed.resize(z.total_out);
  deflateEnd(&z);
  buffer unpacked;
  EXPECT_EQ(unpack_block(container_codec::deflate, packed, 1 << 20, unpacked).error().message,
            "unpacks to more than 1048576 bytes");
  EXPECT_LE(unpacked.capacity(), std::size_t{4} << 20);
  EXPECT_TRUE(unpack_block(container_codec::deflate, packed, 8 << 20, unpacked))
      << "the bound itself is allowed";
}

TEST(Codec, MemoryIsNotGivenForAClaim) {
  bytes snappy = {0x80, 0x80, 0x80, 0x80, 0x08, 0x00};  // claims 2 GiB
  snappy.insert(snappy.end(), 4, 0);
  buffer out;
  EXPECT_EQ(unpack_block(container_codec::snappy, snappy, 1 << 20, out).error().code,
            errc::capacity);
  bytes claims = {0xff, 0xff, 0x3f, 0x00};  // claims 1 MiB and has nothing
  claims.insert(claims.end(), 4, 0);
  EXPECT_EQ(unpack_block(container_codec::snappy, claims, 1 << 20, out).error().code,
            errc::corrupt);
  EXPECT_EQ(out.capacity(), 0u) << "no memory for a claim";
}

TEST(Codec, RubbishIsRefusedByEveryCodec) {
  const bytes rubbish = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
  buffer out;
  for (const auto codec :
       {container_codec::deflate, container_codec::snappy, container_codec::bzip2,
        container_codec::xz, container_codec::zstandard}) {
    EXPECT_FALSE(unpack_block(codec, rubbish, 1 << 20, out)) << name(codec);
    EXPECT_FALSE(unpack_block(codec, {}, 1 << 20, out)) << name(codec);
  }
}

}  // namespace
}  // namespace sonder::test
