#pragma once

#include <cstdint>

#include "log/record_batch.h"

namespace sonder {

/// Walks the records of a batch that this process has built, oldest first, with offsets from 0.
/// Only its header is looked at, and nothing is checked against it: bytes from elsewhere are for
/// `read_batch`. Views live as long as the bytes.
class record_walk {
 public:
  /// `finished`: what `record_batch_builder::finish` gave.
  explicit record_walk(bytes_view finished) noexcept;
  /// False at the end.
  [[nodiscard]] bool next(log_record& into) noexcept;

 private:
  const std::uint8_t* at_;
  const std::uint8_t* end_;
  std::int64_t next_offset_ = 0;
  std::int64_t timestamp_ms_ = 0;
};

}  // namespace sonder
