#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "avro/encode_plan.h"
#include "avro/schema.h"
#include "log/log.h"
#include "record/columns.h"
#include "record/result.h"

namespace sonder::cli {

/// How rows become records of one topic.
struct record_shape {
  std::string topic;  ///< in the log
  std::int32_t partitions = 1;
  schema_ptr of;                ///< of the value
  std::int32_t schema_id = -1;  ///< -1: bare bodies
  std::string subject;          ///< field that partitions; empty: the key does, or nothing
  std::string event_time;       ///< field that becomes the record timestamp; empty: the clock
  std::vector<std::string>
      key;  ///< one string field: its raw UTF-8; several: their Avro, one after the other
};

/// Appends rows to a topic, each in the partition of its subject, as Kafka's default partitioner
/// would put it.
///
/// One thread. Collects at most `pending_bytes_max` before it appends; `flush` appends the rest,
/// durable on return.
class topic_writer {
 public:
  static constexpr std::size_t pending_bytes_max = std::size_t{4} << 20;

  /// `rows` are the columns that `write` will be given.
  [[nodiscard]] static result<std::unique_ptr<topic_writer>> create(log& to, record_shape shape,
                                                                    const std::vector<field>& rows);
  ~topic_writer();
  topic_writer(const topic_writer&) = delete;
  topic_writer& operator=(const topic_writer&) = delete;

  /// All rows, in order; those with a 1 in `tombstones` (empty: none) as a key without value, at
  /// the time of the clock. An error names the row and the field; rows before it may have been
  /// appended.
  [[nodiscard]] status write(columns& rows, std::span<const std::uint8_t> tombstones = {});
  [[nodiscard]] status flush();
  [[nodiscard]] std::uint64_t records() const noexcept;
  /// Those of them that the log has said it holds.
  [[nodiscard]] std::uint64_t appended() const noexcept;

 private:
  struct parts;
  explicit topic_writer(std::unique_ptr<parts> p);
  std::unique_ptr<parts> parts_;
};

}  // namespace sonder::cli
