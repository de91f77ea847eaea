#pragma once

#include <cstddef>

#include "avro/container.h"
#include "record/column.h"

namespace sonder {

/// Unpacks one block of a container file into `to` (cleared first), at most `bytes_max` bytes of
/// it. Input is hostile: what claims more than it has, or grows beyond the bound, is an error. For
/// `null`, `to` stays empty and the block is its own content.
[[nodiscard]] status unpack_block(container_codec codec, bytes_view packed, std::size_t bytes_max,
                                  buffer& to);

}  // namespace sonder
