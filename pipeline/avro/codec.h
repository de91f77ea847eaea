#pragma once

#include <cstddef>

#include "avro/container.h"
#include "record/column.h"

namespace sonder {

/// The largest dictionary or window that data may ask of its codec before a byte is unpacked. A block is never larger than half of it.
inline constexpr std::size_t codec_window_bytes_max = std::size_t{128} << 20;

/// Unpacks one block of a container file into `to` (cleared first), at most `bytes_max` bytes of
/// it. Input is hostile: what claims more than it has, or grows beyond the bound, is an error. For
/// `null`, `to` stays empty and the block is its own content.
[[nodiscard]] status unpack_block(container_codec codec, bytes_view packed, std::size_t bytes_max,
                                  buffer& to);

}  // namespace sonder
