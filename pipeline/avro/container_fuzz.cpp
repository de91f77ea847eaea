// Any bytes as a container file: an error, or rows. Memory stays below what the codec itself may take and a named multiple of the
// input and its unpacked blocks, which have a bound of their own.

#include <cstdlib>

#include "avro/codec.h"
#include "avro/container.h"
#include "fuzz/allocation_meter.h"
#include "fuzz/planted_bug.h"

namespace {

using sonder::container_codec;

constexpr std::size_t rows_at_once = 64;
/// Offsets, validity and values of all columns, for each byte of the schema and of the blocks.
constexpr std::size_t bytes_per_byte_max = 1024;
/// Files are read in steps of 1 MiB.
constexpr std::size_t bytes_at_start = std::size_t{3} << 20;

/// What a codec takes for itself, whatever the size of its data.
std::size_t codec_bytes_max(container_codec codec) {
  switch (codec) {
    case container_codec::null:
    case container_codec::snappy:
      return 0;
    case container_codec::deflate:
      return std::size_t{64} << 10;
    case container_codec::bzip2:
      return std::size_t{4} << 20;
    case container_codec::xz:
    case container_codec::zstandard:
      return sonder::codec_window_bytes_max + (std::size_t{1} << 20);
  }
  std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  using namespace sonder;
  const std::vector<std::uint8_t> file(bytes, bytes + size);
  const fuzz::allocation_meter meter;
  auto reader = container_reader::over(file);
  meter.require_at_most(bytes_at_start, bytes_per_byte_max, size);
  if (!reader) return 0;
  columns rows(reader->fields());
  constexpr std::size_t rows_max = 100'000;  // a block that unpacks to millions of rows is no bug
  for (std::size_t count = 0; count < rows_max;) {
    const auto read = reader->read(rows_at_once, rows);
    // Twice: a buffer that grows holds its old memory until the bytes have moved.
    if (reader->bytes_held() > 4 * container_reader::block_bytes_max) std::abort();
    meter.require_at_most(bytes_at_start + codec_bytes_max(reader->codec()), bytes_per_byte_max, size + reader->bytes_held());
#ifdef SONDER_PLANT_BUG
    if (reader->codec() == container_codec::snappy && !read) fuzz::planted_bug();
#endif
    if (!read || *read == 0) break;
    count += *read;
    rows.clear();
  }
  return 0;
}
