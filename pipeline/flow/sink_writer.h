#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "avro/encode_plan.h"
#include "avro/registry.h"
#include "flow/contribution.h"
#include "flow/dead_letter_seal.h"
#include "flow/graph.h"
#include "flow/rows.h"
#include "flow/source_reader.h"
#include "flow/stage_runner.h"

namespace sonder {

/// Key, value and headers that a topic takes in one record; what the log puts around them is left out. Where the topic may not be
/// looked at, the log's own check has to do.
[[nodiscard]] std::size_t record_bytes_max_of(log& on, const std::string& topic);

/// What all tasks share of one sink: its plans and the id of its schema. Immutable.
struct sink_plan {
  std::unique_ptr<const encode_plan> value;
  std::unique_ptr<const encode_plan> key;  ///< where the key is not the bytes of one field
  std::vector<int> value_slots;            ///< slots of the edge that `value` takes, in its order
  std::int32_t schema_id = -1;
  std::string schema_json;                 ///< where original bytes may be forwarded: the full JSON of its schema
  std::size_t record_bytes_max = 0;        ///< key, value and headers

  [[nodiscard]] static result<std::shared_ptr<const sink_plan>> compile(const graph& flow, const sink_node& sink,
                                                                        schema_registry& schemas, std::size_t record_bytes_max);
};

/// One sink in one task: encodes rows into the task's contribution. Confined to the task's strand.
class sink_writer {
 public:
  sink_writer(const graph& flow, std::size_t sink, std::shared_ptr<const sink_plan> plan, schema_registry& schemas, std::int32_t partition);

  /// Rows whose subject has not agreed to the sink's purpose are dropped; rows that the schema has no place for are buried.
  [[nodiscard]] status write(const row_space& space, edge_rows& in, batch_memory& memory, contribution& to, node_counts& counts,
                             const bury_fn& bury);
  /// Encoded headers for all records from here on whose own are not forwarded: how far the global tables were read that decide on
  /// them. To stay as they are until the next call.
  void set_headers(bytes_view headers) noexcept { headers_ = headers; }

 private:
  [[nodiscard]] status bind(edge_rows& in, const row_base& base, batch_memory& memory);
  [[nodiscard]] const row_base& find_rows(const edge_rows& in, const row_base& base);
  [[nodiscard]] std::optional<host_cause> make_key(std::int64_t row, const log_record& origin);
  [[nodiscard]] std::optional<host_cause> append_value(std::int64_t row, const log_record& origin, buffer& to);
  [[nodiscard]] bool may_forward(const log_record& origin);
  [[nodiscard]] bool is_own_schema(std::int32_t schema_id);
  [[nodiscard]] std::int32_t partition_of(std::int64_t row) const;
  [[nodiscard]] std::int64_t timestamp_ms(std::int64_t row, std::int64_t event_time_ms) const;

  const graph& flow_;
  const sink_node& node_;
  std::size_t sink_;
  std::shared_ptr<const sink_plan> plan_;
  schema_registry& schemas_;
  std::int32_t partition_;
  bool of_table_;  ///< its rows come straight from a table
  row_encoder value_encoder_;
  std::unique_ptr<row_encoder> key_encoder_;
  std::vector<const ArrowArray*> value_arrays_;
  std::vector<const ArrowArray*> key_arrays_;
  enum class key_from { nothing, record, field, fields } key_from_ = key_from::nothing;
  std::vector<std::int32_t> found_;  ///< where each row stands in the columns that are bound
  const ArrowArray* subjects_ = nullptr;
  const ArrowArray* times_ = nullptr;
  bytes_view key_;      ///< of the row at hand: in its column, its record or `key_made_`
  buffer key_made_;
  /// A writer's schema by its id, and whether it is the sink's own.
  struct known_schema {
    std::int32_t id = -1;
    bool own = false;
  };
  std::vector<known_schema> known_;
  known_schema last_;  ///< of the last record: nearly always that of the next
  bytes_view headers_;
  int subject_slot_ = -1;
  int time_slot_ = -1;
  bool time_in_micros_ = false;
};

/// The dead-letter topic in one task. With a quarantine key the original bytes travel sealed (XChaCha20-Poly1305, libsodium);
/// without one only their position and hash do. Nothing personal stands in any other field. Confined to the strand.
class dead_letter_writer {
 public:
  [[nodiscard]] static result<std::unique_ptr<dead_letter_writer>> create(const graph& flow, schema_registry& schemas,
                                                                          const secret_box& secrets, std::int32_t partition, std::size_t record_bytes_max);

  struct letter {
    record_place at;  ///< where an operator finds it; of a timer's row no topic
    const log_record* record = nullptr;
    std::string_view stage;
    std::string_view cause;
  };
  [[nodiscard]] status write(const letter& of, std::int64_t now_ms, contribution& to);

 private:
  dead_letter_writer(const graph& flow, const topic_options& topic, std::int32_t partition, std::size_t record_bytes_max);
  void fill(const letter& of, std::int64_t now_ms, bool with_bytes);
  [[nodiscard]] status encode();

  const graph& flow_;
  const topic_options& topic_;
  std::int32_t partition_;
  std::size_t record_bytes_max_;
  std::shared_ptr<const encode_plan> plan_;
  std::unique_ptr<row_encoder> encoder_;
  std::int32_t schema_id_ = -1;
  std::vector<field> fields_;
  std::vector<column> columns_;
  std::unique_ptr<const dead_letter_seal> seal_;  ///< null without a quarantine key
  buffer plain_;
  buffer sealed_;
  buffer encoded_;
};

}  // namespace sonder
