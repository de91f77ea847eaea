#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>

#include "avro/codec.h"
#include "avro/container.h"
#include "avro/container_header.h"
#include "avro/wire.h"
#include "record/number_of.h"

namespace sonder {

namespace {

constexpr std::pair<std::string_view, container_codec> codecs[] = {
    {"null", container_codec::null},     {"deflate", container_codec::deflate},
    {"snappy", container_codec::snappy}, {"bzip2", container_codec::bzip2},
    {"xz", container_codec::xz},         {"zstandard", container_codec::zstandard},
};

tl::unexpected<error> ends_early(std::string_view where) {
  return fail(errc::corrupt, "the file ends inside " + std::string(where));
}

status read_exactly(std::FILE* from, std::size_t size, buffer& to, std::string_view where) {
  // In steps, so that a size that the file does not have costs no memory.
  constexpr std::size_t step_bytes = 1 << 20;
  while (size > 0) {
    const std::size_t step = std::min(size, step_bytes);
    to.reserve_more(step);
    if (std::fread(to.data() + to.size(), 1, step, from) != step) return ends_early(where);
    to.set_size(to.size() + step);
    size -= step;
  }
  return {};
}

result<std::int64_t> read_long(std::FILE* from, std::string_view where) {
  std::uint8_t bytes[varint_bytes_max];
  std::size_t size = 0;
  do {
    const int byte = std::fgetc(from);
    if (byte == EOF) return ends_early(where);
    bytes[size++] = static_cast<std::uint8_t>(byte);
  } while (bytes[size - 1] >= 0x80 && size < sizeof bytes);
  std::int64_t value;
  if (read_varint(bytes, bytes + size, value) == nullptr)
    return fail(errc::corrupt, "a number of " + std::string(where) + " is damaged");
  return value;
}

result<std::string> read_text(std::FILE* from, std::size_t& bytes_left, std::string_view where) {
  auto size = read_long(from, where);
  if (!size) return tl::unexpected(size.error());
  if (*size < 0 || static_cast<std::uint64_t>(*size) > bytes_left) {
    return fail(errc::capacity, std::string(where) + " is longer than " +
                                    std::to_string(container_reader::header_bytes_max) + " bytes");
  }
  bytes_left -= static_cast<std::size_t>(*size);
  buffer text;
  if (auto read = read_exactly(from, static_cast<std::size_t>(*size), text, where); !read)
    return tl::unexpected(read.error());
  return std::string(as_text({text.data(), text.size()}));
}

status read_entry(std::FILE* from, std::size_t& bytes_left, container_header& to) {
  if (bytes_left < 2)
    return fail(errc::capacity, "the header is longer than " +
                                    std::to_string(container_reader::header_bytes_max) + " bytes");
  bytes_left -= 2;
  auto key = read_text(from, bytes_left, "the header");
  if (!key) return tl::unexpected(key.error());
  auto value = read_text(from, bytes_left, "the header");
  if (!value) return tl::unexpected(value.error());
  if (*key == "avro.schema")
    to.schema_json = *std::move(value);
  else if (*key == "avro.codec")
    to.codec = *std::move(value);
  return {};
}

}  // namespace

result<container_header> read_container_header(std::FILE* from) {
  container_header to;
  std::uint8_t magic[4];
  if (std::fread(magic, 1, sizeof magic, from) != sizeof magic ||
      std::memcmp(magic, "Obj\1", 4) != 0) {
    return fail(errc::invalid, "is no Avro container file (it should begin with \"Obj\" and 1)");
  }
  std::size_t bytes_left = container_reader::header_bytes_max;
  for (;;) {
    auto count = read_long(from, "the header");
    if (!count) return tl::unexpected(count.error());
    if (*count == 0) break;
    if (*count < 0) {
      auto size = read_long(from, "the header");
      if (!size) return tl::unexpected(size.error());
      count = *count == INT64_MIN ? INT64_MAX : -*count;
    }
    for (std::int64_t i = 0; i < *count; ++i) {
      if (auto read = read_entry(from, bytes_left, to); !read) return tl::unexpected(read.error());
    }
  }
  if (std::fread(to.sync, 1, sizeof to.sync, from) != sizeof to.sync)
    return ends_early("the header");
  return to;
}

std::string_view name(container_codec codec) noexcept {
  for (const auto& [text, known] : codecs) {
    if (known == codec) return text;
  }
  return "unknown";
}

result<container_codec> parse_container_codec(std::string_view text) {
  for (const auto& [known, codec] : codecs) {
    if (known == text) return codec;
  }
  return fail(errc::unsupported,
              "unknown codec; known are null, deflate, snappy, bzip2, xz, zstandard");
}

struct container_reader::state {
  /// Records that take no byte, in one block: a few bytes could otherwise ask for rows without end.
  static constexpr std::int64_t empty_records_max = 1 << 16;

  struct close_file {
    void operator()(std::FILE* f) const { std::fclose(f); }
  };
  std::unique_ptr<std::FILE, close_file> file;
  container_header header;
  container_codec codec = container_codec::null;
  schema_ptr writer;
  std::optional<decode_plan> plan;

  buffer packed;
  buffer unpacked;
  bytes_view rest;                ///< of the block
  std::int64_t records_left = 0;  ///< in the block
  std::uint64_t block = 0;        ///< its number, from 1
  bool ended = false;

  status open_header();
  status next_block();
  result<std::size_t> read(std::size_t rows_max, columns& into);
};

status container_reader::state::open_header() {
  auto read = read_container_header(file.get());
  if (!read) return tl::unexpected(read.error());
  header = *std::move(read);
  auto known = parse_container_codec(header.codec);
  if (!known) return tl::unexpected(known.error());
  codec = *known;
  auto parsed = parse_schema(header.schema_json);
  if (!parsed) return tl::unexpected(parsed.error().at("the header"));
  writer = *std::move(parsed);
  auto compiled = decode_plan::compile(*writer, *writer);
  if (!compiled) return tl::unexpected(compiled.error());
  plan = *std::move(compiled);
  return {};
}

status container_reader::state::next_block() {
  const int first = std::fgetc(file.get());
  if (first == EOF) {
    if (std::ferror(file.get()) != 0) return fail(errc::io, "the file cannot be read");
    ended = true;
    return {};
  }
  std::ungetc(first, file.get());
  ++block;
  auto count = read_long(file.get(), "a block");
  if (!count) return tl::unexpected(count.error());
  auto size = read_long(file.get(), "a block");
  if (!size) return tl::unexpected(size.error());
  if (*count < 0 || *size < 0) return fail(errc::corrupt, "its count or size is negative");
  if (static_cast<std::uint64_t>(*size) > block_bytes_max) {
    return fail(errc::capacity, "is larger than " + std::to_string(block_bytes_max) + " bytes");
  }
  packed.clear();
  SONDER_TRY(read_exactly(file.get(), static_cast<std::size_t>(*size), packed, "a block"));
  std::uint8_t sync[sizeof header.sync];
  if (std::fread(sync, 1, sizeof sync, file.get()) != sizeof sync) return ends_early("a block");
  if (std::memcmp(sync, header.sync, sizeof sync) != 0)
    return fail(errc::corrupt, "does not end with the file's marker");
  SONDER_TRY(unpack_block(codec, {packed.data(), packed.size()}, block_bytes_max, unpacked));
  const buffer& content = codec == container_codec::null ? packed : unpacked;
  rest = {content.data(), content.size()};
  records_left = *count;
  if (records_left >
      std::max<std::int64_t>(static_cast<std::int64_t>(rest.size()), empty_records_max)) {
    return fail(errc::corrupt, "counts more records than it has bytes");
  }
  return {};
}

result<std::size_t> container_reader::state::read(std::size_t rows_max, columns& into) {
  std::size_t rows = 0;
  while (rows < rows_max && !ended) {
    if (records_left == 0) {
      if (!rest.empty()) return fail(errc::corrupt, "has bytes after its last record");
      if (auto next = next_block(); !next) return tl::unexpected(next.error());
      continue;
    }
    std::size_t used = 0;
    if (const auto e = plan->decode_first(rest, into, used)) {
      return fail(errc::corrupt, number_of(records_left, "record") + " before its end: " + plan->describe(e));
    }
    rest = rest.subspan(used);
    --records_left;
    ++rows;
  }
  return rows;
}

container_reader::container_reader(std::unique_ptr<state> s) : state_(std::move(s)) {}
container_reader::container_reader(container_reader&&) noexcept = default;
container_reader& container_reader::operator=(container_reader&&) noexcept = default;
container_reader::~container_reader() = default;

result<container_reader> container_reader::open(const std::filesystem::path& file) {
  auto s = std::make_unique<state>();
  s->file.reset(std::fopen(file.c_str(), "rb"));
  if (!s->file)
    return fail(errc::io, file.string() + ": cannot be opened: " + std::strerror(errno));
  if (auto read = s->open_header(); !read) return tl::unexpected(read.error().at(file.string()));
  return container_reader(std::move(s));
}

result<container_reader> container_reader::over(bytes_view bytes) {
  if (bytes.empty()) return fail(errc::invalid, "an empty file is no Avro container file");
  auto s = std::make_unique<state>();
  s->file.reset(::fmemopen(const_cast<std::uint8_t*>(bytes.data()), bytes.size(), "rb"));
  if (!s->file) return fail(errc::internal, "bytes cannot be read as a file");
  if (auto read = s->open_header(); !read) return tl::unexpected(read.error());
  return container_reader(std::move(s));
}

const schema_ptr& container_reader::writer_schema() const noexcept {
  return state_->writer;
}
container_codec container_reader::codec() const noexcept {
  return state_->codec;
}

status container_reader::read_as(const schema& reader, std::span<const std::string> wanted) {
  auto plan = decode_plan::compile(*state_->writer, reader, wanted);
  if (!plan) return tl::unexpected(plan.error());
  state_->plan = *std::move(plan);
  return {};
}

std::size_t container_reader::bytes_held() const noexcept {
  return state_->packed.capacity() + state_->unpacked.capacity();
}

const std::vector<field>& container_reader::fields() const noexcept {
  return state_->plan->fields();
}

result<std::size_t> container_reader::read(std::size_t rows_max, columns& into) {
  auto rows = state_->read(rows_max, into);
  if (rows) return rows;
  state_->ended = true;
  return tl::unexpected(rows.error().at("block " + std::to_string(state_->block)));
}

}  // namespace sonder
