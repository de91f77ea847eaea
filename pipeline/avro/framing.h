#pragma once

#include <bit>
#include <cstdint>
#include <optional>

#include "record/column.h"

namespace sonder {

/// Confluent's wire format: a zero byte, the schema's id as a big-endian int32, the Avro body.
struct framed {
  std::int32_t schema_id = 0;
  bytes_view body;
};

inline constexpr std::size_t frame_size = 5;

/// Nothing where the bytes are no frame: too short, another first byte, or a negative id.
[[nodiscard]] inline std::optional<framed> parse_frame(bytes_view message) noexcept {
  if (message.size() < frame_size || message[0] != 0 || message[1] > 0x7f) return std::nullopt;
  const auto id =
      static_cast<std::uint32_t>(message[1]) << 24 | static_cast<std::uint32_t>(message[2]) << 16 |
      static_cast<std::uint32_t>(message[3]) << 8 | static_cast<std::uint32_t>(message[4]);
  return framed{static_cast<std::int32_t>(id), message.subspan(frame_size)};
}

/// Appends the five bytes before a body. `schema_id` is not negative.
inline void append_frame(std::int32_t schema_id, buffer& to) {
  // As one word: five bytes stored one by one and read back as words make the processor wait.
  static_assert(std::endian::native == std::endian::little);
  const std::uint64_t head =
      std::uint64_t{__builtin_bswap32(static_cast<std::uint32_t>(schema_id))} << 8;
  to.append(&head, frame_size);
}

}  // namespace sonder
