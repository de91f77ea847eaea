#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "record/column.h"

namespace sonder {

struct header_view {
  std::string_view key;
  bytes_view value;
};

/// One record as a log holds it. Views live as long as the block that it was read from.
struct log_record {
  std::int64_t offset = 0;
  std::int64_t timestamp_ms = 0;  ///< Unix epoch, UTC
  bytes_view key;
  bytes_view value;
  bool has_key = false;
  bool has_value = false;  ///< false: a tombstone
  bytes_view headers;      ///< encoded; read with `header_cursor`; empty: none
};

/// Walks the encoded headers of a record: count, then (key length, key, value length, value),
/// lengths as unsigned varints.
class header_cursor {
 public:
  explicit header_cursor(bytes_view encoded) noexcept;
  /// False at the end, or where the encoding is broken.
  [[nodiscard]] bool next(header_view& into) noexcept;

 private:
  const std::uint8_t* at_;
  const std::uint8_t* end_;
  std::uint64_t left_ = 0;
};

void encode_headers(std::span<const header_view> headers, buffer& to);

/// Appends the headers of a record to `to`, `first` before those of `rest`.
void encode_headers_after(const header_view& first, bytes_view rest, buffer& to);
/// Takes the first header off: `first`, and the others as they were, appended to `to`, or nothing
/// where it was the only one. False, and nothing is done, if there is none.
[[nodiscard]] bool take_first_header(bytes_view headers, header_view& first, buffer& to);

/// What stands before the records of a batch: 48 bytes, little endian, in this order after magic
/// 0xB5, version 1, flags and a zero byte; the last field is xxh3 of the records, then of the
/// fields before it seeded with that.
///
/// A batch covers `covered` offsets from its base on, of which `count` still hold a record:
/// compaction leaves gaps, and a batch without any records may stand for a range that was removed.
/// The batches of a partition follow one another without holes, so that a reader can tell removed
/// from missing.
struct batch_header {
  static constexpr std::size_t bytes = 48;
  static constexpr std::uint8_t flag_append_time =
      1;  ///< all records have timestamp `base_timestamp_ms`

  std::uint8_t flags = 0;
  std::uint32_t count = 0;
  std::uint32_t covered = 0;
  std::uint32_t body_bytes = 0;
  std::int64_t base_timestamp_ms = 0;
  std::int64_t max_timestamp_ms = 0;
  /// When the tombstones in this batch may go, set when compaction first meets them; 0: not set.
  std::int64_t tombstone_deadline_ms = 0;
  std::uint64_t checksum = 0;
};

/// Makes header and checksum of `batch`, at least a header long, fit its bytes: for fuzzing what
/// lies behind them.
void seal_batch(std::span<std::uint8_t> batch) noexcept;

/// The header of a stored batch, lengths checked, checksum not.
[[nodiscard]] result<batch_header> read_batch_header(bytes_view batch);

/// Records for one partition in the log's own batch form, built by appending; base offset is given
/// when it is stored.
///
/// After the header, for each record: flags (1 has key, 2 has value, 4 has headers, 8 has a gap),
/// the gap (offsets left out since the record before; unsigned varint; only with its flag), the
/// timestamp's difference to the record before (zigzag varint; the first one's to the header's
/// base), then key, value and headers, each with an unsigned varint length. Keeps its memory over
/// `clear()`. Not thread-safe.
class record_batch_builder {
 public:
  /// The records of finished bytes that came from elsewhere, everything checked: broken bytes are
  /// errc::corrupt.
  [[nodiscard]] static result<record_batch_builder> adopt(bytes_view batch);

  void clear() noexcept;
  [[nodiscard]] std::int32_t count() const noexcept { return count_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return body_.size(); }
  /// Offsets that the batch will take up: its records, and gaps before them.
  [[nodiscard]] std::int64_t covered() const noexcept { return next_delta_; }
  [[nodiscard]] std::size_t largest_record_bytes() const noexcept { return largest_record_bytes_; }
  [[nodiscard]] bool all_have_keys() const noexcept { return all_have_keys_; }

  void append(std::int64_t timestamp_ms, const bytes_view* key, const bytes_view* value,
              bytes_view headers);
  /// As `append`, with an explicit offset delta, at least `covered()` (for rewriting after
  /// compaction).
  void append_at(std::int64_t offset_delta, std::int64_t timestamp_ms, const bytes_view* key,
                 const bytes_view* value, bytes_view headers);
  /// As `append`, with the value that `make(buffer&)` puts behind what it is given: it is made
  /// where it stays. Where `make` answers false nothing is appended.
  template <class Make>
  bool append_made(std::int64_t timestamp_ms, const bytes_view* key, bytes_view headers,
                   Make make) {
    const std::size_t before = body_.size();
    const std::size_t value_at = begin_made(timestamp_ms, key, headers.size());
    if (!make(body_)) [[unlikely]] {
      body_.set_size(before);
      return false;
    }
    end_made(value_at, timestamp_ms, key, headers);
    return true;
  }
  /// All records of `other` after this one's, without decoding them.
  void append_all(const record_batch_builder& other);
  /// Covers the offsets before `offset_delta` without records.
  void cover_to(std::int64_t offset_delta) noexcept;

  /// The finished bytes, header included; valid until the next change.
  [[nodiscard]] bytes_view finish() SONDER_LIFETIME_BOUND { return finish(std::nullopt, 0); }
  /// As `finish()`, with one timestamp for all records, and the deadline of the header.
  [[nodiscard]] bytes_view finish(std::optional<std::int64_t> append_time_ms,
                                  std::int64_t tombstone_deadline_ms) SONDER_LIFETIME_BOUND;

 private:
  std::uint8_t* begin_record(std::int64_t gap, std::int64_t timestamp_ms, std::uint8_t flags,
                             std::size_t payload_max);
  std::size_t begin_made(std::int64_t timestamp_ms, const bytes_view* key,
                         std::size_t headers_bytes);
  void end_made(std::size_t value_at, std::int64_t timestamp_ms, const bytes_view* key,
                bytes_view headers);
  std::uint8_t* put_head(std::int64_t gap, std::int64_t timestamp_ms, std::uint8_t flags,
                         std::size_t payload_max);
  void note_time(std::int64_t timestamp_ms) noexcept;
  void note_record(std::int64_t offset_delta, std::size_t payload, bool keyed) noexcept;

  buffer body_;  // room for the header, then the records
  std::int32_t count_ = 0;
  bool all_have_keys_ = true;
  std::int64_t next_delta_ = 0;
  std::int64_t after_last_record_ = 0;  // at most next_delta_: the rest is covered without records
  std::int64_t base_timestamp_ms_ = 0;
  std::int64_t last_timestamp_ms_ = 0;
  std::int64_t max_timestamp_ms_ = 0;
  std::size_t largest_record_bytes_ = 0;
  std::size_t value_size_bytes_ =
      2;  // of the last made value's length: as many are left for the next
};

/// Fetched records of one partition with the memory behind them. Keeps it over `clear()`. Not
/// thread-safe.
struct record_block {
  std::vector<log_record> records;
  std::int64_t next_offset = 0;  ///< where the next fetch goes on, also over gaps
  /// Offsets from where the fetch began, before the first record, that retention had removed; those of markers count.
  std::int64_t removed = 0;
  buffer memory;

  void clear() noexcept {
    records.clear();
    memory.clear();
    removed = 0;
  }
};

/// How much of a batch to read: at least one record, if there is one.
struct read_limits {
  std::size_t records_max = SIZE_MAX;
  std::size_t bytes_max = SIZE_MAX;  ///< of encoded records
};

/// Appends the records of one stored batch whose offset is at least `from` to `into.records`,
/// viewing `batch`, whose bytes must stay, and sets `into.next_offset`. Everything is checked:
/// broken bytes are errc::corrupt, and add nothing.
[[nodiscard]] status read_batch(bytes_view batch, std::int64_t base_offset, std::int64_t from,
                                record_block& into, const read_limits& limits = {});

}  // namespace sonder
