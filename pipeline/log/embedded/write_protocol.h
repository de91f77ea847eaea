#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "log/log.h"

namespace sonder::embedded {

/// What other processes ask of the worker that holds a data folder, over its Unix socket. Numbers
/// are little endian; a name is a u16 length and its bytes.
///
///     frame    = u32 length of what follows (1 to `request_bytes_max`), body
///     request  = u8 version (1), u8 operation, fields
///       1 append        u32 count (1 to `batches_max`), then each: name of the topic, u32
///       partition, u32 length, a finished batch 2 create topic  name, u32 partitions, u8 flags (1
///       compacted, 2 append time), i64 retention_ms, i64 retention_bytes,
///                       i64 tombstone_ms, u32 record_bytes_max
///       3 set note      name, u32 length, value
///     response = u8 outcome (0 done, else 1 + errc), message
///
/// One response follows each request, in order. Done means durable. Requests come from other
/// programs and are checked in full; what fits no rule ends the connection after its response.
struct write_limits {
  static constexpr std::size_t request_bytes_max = 68 << 20;
  static constexpr std::size_t response_bytes_max = 4 << 10;
  static constexpr std::uint32_t batches_max = 4096;
  static constexpr std::size_t connections_max = 16;
  static constexpr std::size_t buffered_bytes_max =
      160 << 20;  ///< requests being received, of all connections
};
inline constexpr std::uint8_t write_protocol_version = 1;

struct append_request {
  struct part {
    std::string topic;
    std::int32_t partition = 0;
    record_batch_builder records;
  };
  std::vector<part> parts;
};
struct create_topic_request {
  topic_config topic;
};
struct set_note_request {
  std::string name;
  std::string value;
};
using write_request = std::variant<append_request, create_topic_request, set_note_request>;

[[nodiscard]] result<write_request> parse_request(bytes_view body);
[[nodiscard]] status run_request(write_request& request, log& on);

/// Whole frames, length first.
[[nodiscard]] result<std::string> encode_append(std::span<const produced_batch> batches);
[[nodiscard]] std::string encode_create_topic(const topic_config& topic);
[[nodiscard]] std::string encode_set_note(std::string_view name, std::string_view value);
[[nodiscard]] std::string encode_response(const status& outcome);
[[nodiscard]] status parse_response(bytes_view body);

}  // namespace sonder::embedded
