#include "avro/codec.h"

#include <bzlib.h>
#include <lzma.h>
#include <snappy-c.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>

namespace sonder {

namespace {

constexpr std::size_t step_bytes = 64 << 10;

tl::unexpected<error> damaged(std::string_view codec) {
  return fail(errc::corrupt, "the " + std::string(codec) + " data is damaged");
}

tl::unexpected<error> too_large(std::size_t bytes_max) {
  return fail(errc::capacity, "unpacks to more than " + std::to_string(bytes_max) + " bytes");
}

/// Room for the next step of a streaming codec; 0 once the bound is reached, with one byte over to
/// notice it.
std::size_t make_room(buffer& to, std::size_t bytes_max) {
  const std::size_t room = std::min(step_bytes, bytes_max + 1 - to.size());
  to.reserve_more(room);
  return room;
}

status unpack_deflate(bytes_view packed, std::size_t bytes_max, buffer& to) {
  z_stream z{};
  if (inflateInit2(&z, -15) != Z_OK)
    return fail(errc::internal, "zlib does not start");  // raw: no zlib header
  z.next_in = const_cast<Bytef*>(packed.data());
  z.avail_in = static_cast<uInt>(packed.size());
  int step = Z_OK;
  while (step == Z_OK && to.size() <= bytes_max) {
    const std::size_t room = make_room(to, bytes_max);
    z.next_out = to.data() + to.size();
    z.avail_out = static_cast<uInt>(room);
    step = inflate(&z, Z_NO_FLUSH);
    to.set_size(to.size() + room - z.avail_out);
  }
  inflateEnd(&z);
  if (to.size() > bytes_max) return too_large(bytes_max);
  return step == Z_STREAM_END ? status() : damaged("deflate");
}

status unpack_bzip2(bytes_view packed, std::size_t bytes_max, buffer& to) {
  bz_stream z{};
  if (BZ2_bzDecompressInit(&z, 0, 0) != BZ_OK) return fail(errc::internal, "bzip2 does not start");
  z.next_in = const_cast<char*>(reinterpret_cast<const char*>(packed.data()));
  z.avail_in = static_cast<unsigned>(packed.size());
  int step = BZ_OK;
  bool moved = true;
  while (step == BZ_OK && moved && to.size() <= bytes_max) {
    const std::size_t room = make_room(to, bytes_max);
    const auto in_before = z.avail_in;
    z.next_out = reinterpret_cast<char*>(to.data() + to.size());
    z.avail_out = static_cast<unsigned>(room);
    step = BZ2_bzDecompress(&z);
    to.set_size(to.size() + room - z.avail_out);
    moved = z.avail_in != in_before ||
            z.avail_out != room;  // bzip2 says OK for ever on input that ends early
  }
  BZ2_bzDecompressEnd(&z);
  if (to.size() > bytes_max) return too_large(bytes_max);
  return step == BZ_STREAM_END ? status() : damaged("bzip2");
}

status unpack_xz(bytes_view packed, std::size_t bytes_max, buffer& to) {
  // A dictionary as large as a header may claim would be memory for nothing.
  lzma_stream z = LZMA_STREAM_INIT;
  if (lzma_stream_decoder(&z, codec_window_bytes_max, 0) != LZMA_OK)
    return fail(errc::internal, "xz does not start");
  z.next_in = packed.data();
  z.avail_in = packed.size();
  lzma_ret step = LZMA_OK;
  while (step == LZMA_OK && to.size() <= bytes_max) {
    const std::size_t room = make_room(to, bytes_max);
    z.next_out = to.data() + to.size();
    z.avail_out = room;
    step = lzma_code(&z, LZMA_FINISH);
    to.set_size(to.size() + room - z.avail_out);
  }
  lzma_end(&z);
  if (to.size() > bytes_max) return too_large(bytes_max);
  if (step == LZMA_MEMLIMIT_ERROR)
    return fail(errc::capacity, "the xz data wants more memory than is given");
  return step == LZMA_STREAM_END ? status() : damaged("xz");
}

status unpack_zstandard(bytes_view packed, std::size_t bytes_max, buffer& to) {
  constexpr int window_log_max = 27;
  static_assert(std::size_t{1} << window_log_max == codec_window_bytes_max);
  ZSTD_DStream* z = ZSTD_createDStream();
  if (z == nullptr) return fail(errc::internal, "zstandard does not start");
  ZSTD_DCtx_setParameter(z, ZSTD_d_windowLogMax, window_log_max);
  ZSTD_inBuffer in{packed.data(), packed.size(), 0};
  std::size_t step = 1;
  bool moved = true;
  while (step != 0 && !ZSTD_isError(step) && moved && to.size() <= bytes_max) {
    const std::size_t room = make_room(to, bytes_max);
    ZSTD_outBuffer out{to.data() + to.size(), room, 0};
    const auto in_before = in.pos;
    step = ZSTD_decompressStream(z, &out, &in);
    to.set_size(to.size() + out.pos);
    moved = in.pos != in_before || out.pos != 0;
  }
  ZSTD_freeDStream(z);
  if (to.size() > bytes_max) return too_large(bytes_max);
  return step == 0 && in.pos == in.size ? status() : damaged("zstandard");
}

status unpack_snappy(bytes_view packed, std::size_t bytes_max, buffer& to) {
  constexpr std::size_t check_bytes = 4;  // a big-endian CRC-32 of the content follows it
  if (packed.size() < check_bytes) return damaged("snappy");
  const auto body = packed.first(packed.size() - check_bytes);
  const char* from = reinterpret_cast<const char*>(body.data());
  std::size_t size = 0;
  if (snappy_uncompressed_length(from, body.size(), &size) != SNAPPY_OK) return damaged("snappy");
  if (size > bytes_max) return too_large(bytes_max);
  // Checked before memory is given: a few bytes may claim any length.
  if (snappy_validate_compressed_buffer(from, body.size()) != SNAPPY_OK) return damaged("snappy");
  to.reserve_more(std::max<std::size_t>(size, 1));
  if (snappy_uncompress(from, body.size(), reinterpret_cast<char*>(to.data()), &size) != SNAPPY_OK)
    return damaged("snappy");
  to.set_size(size);
  const auto tail = packed.last(check_bytes);
  const std::uint32_t expected =
      static_cast<std::uint32_t>(tail[0]) << 24 | static_cast<std::uint32_t>(tail[1]) << 16 |
      static_cast<std::uint32_t>(tail[2]) << 8 | static_cast<std::uint32_t>(tail[3]);
  if (crc32(0, to.data(), static_cast<uInt>(size)) != expected)
    return fail(errc::corrupt, "the snappy block fails its CRC-32");
  return {};
}

}  // namespace

status unpack_block(container_codec codec, bytes_view packed, std::size_t bytes_max, buffer& to) {
  to.clear();
  switch (codec) {
    case container_codec::null:
      return {};
    case container_codec::deflate:
      return unpack_deflate(packed, bytes_max, to);
    case container_codec::snappy:
      return unpack_snappy(packed, bytes_max, to);
    case container_codec::bzip2:
      return unpack_bzip2(packed, bytes_max, to);
    case container_codec::xz:
      return unpack_xz(packed, bytes_max, to);
    case container_codec::zstandard:
      return unpack_zstandard(packed, bytes_max, to);
  }
  return fail(errc::unsupported, "unknown codec");
}

}  // namespace sonder
