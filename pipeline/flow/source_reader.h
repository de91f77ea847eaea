#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "avro/decode_plan.h"
#include "avro/registry.h"
#include "flow/counts.h"
#include "flow/graph.h"
#include "flow/rows.h"
#include "log/log.h"
#include "record/columns.h"

namespace sonder {

class logger;

/// Called for a record that ends as a dead letter before it became a row.
using bury_record_fn = std::function<status(int source, const log_record& record, std::string_view cause)>;

/// How far a task is behind one source.
struct source_backlog {
  std::int64_t records = 0;             ///< from the position to the end that was last asked for
  std::size_t waiting = 0;              ///< of these, fetched already
  std::optional<std::int64_t> oldest_ms;  ///< timestamp of the record at the position; of the one before it, where it is not fetched
};

/// Why a record cannot become a row.
struct source_refusal {
  host_cause cause = host_cause::undecodable;
  decode_error wrong;  ///< of `undecodable`
};

/// One source topic in one task: fetches records of its partition and decodes them into columns.
/// The first record that is refused for each cause, and each reason that its bytes are undecodable for, leaves a line in the log: where it is and what is wrong with it, in the
/// schema's words and never the record's.
/// Confined to the task's strand.
class source_reader {
 public:
  source_reader(const graph& flow, int source, log& from, schema_registry& schemas, std::int32_t partition,
                logger* lines);

  /// Where the next record is taken up; -1 as long as `seek` was not called.
  [[nodiscard]] std::int64_t next_offset() const noexcept;
  void seek(std::int64_t offset);

  /// Fetches when nothing is waiting. True if a record waits now.
  [[nodiscard]] result<bool> fill(const fetch_limits& limits, bool& fetched);
  /// Of the record that waits.
  [[nodiscard]] std::int64_t head_timestamp_ms() const noexcept { return block_.records[at_].timestamp_ms; }
  [[nodiscard]] std::size_t waiting() const noexcept { return block_.records.size() - at_; }
  /// The stable end of the partition.
  [[nodiscard]] result<std::int64_t> end_offset();
  [[nodiscard]] source_backlog backlog() const noexcept;

  /// Takes up to `rows_max` waiting records with a timestamp of at most `until_ms`: rows of `space`, columns of the topic's edge.
  /// Records that cannot become rows are buried and counted. Views last until the next call of `take` or `fill`.
  [[nodiscard]] status take(std::int32_t rows_max, std::int64_t until_ms, std::int64_t now_ms, row_space& space, node_counts& counts,
                            const bury_record_fn& bury);
  /// The last `take` ended before a record whose schema the registry cannot tell now.
  [[nodiscard]] bool awaits_schema() const noexcept { return awaits_schema_; }
  [[nodiscard]] columns& decoded() noexcept { return columns_; }

 private:
  struct writer_plan {
    std::int32_t schema_id = -1;
    std::shared_ptr<const decode_plan> plan;
    host_cause refused = host_cause::unknown_schema;  ///< why there is no plan
    std::string because;                              ///< of `unreadable_schema`: what the reader cannot take
  };
  [[nodiscard]] result<const writer_plan*> plan_for(std::int32_t schema_id);
  [[nodiscard]] const decode_plan* usual_plan(const log_record& record, bytes_view& body) const noexcept;
  [[nodiscard]] status decode(const log_record& record, std::optional<source_refusal>& refused);
  void warn_once(const log_record& record, const source_refusal& refused);

  const graph& flow_;
  const source_node& node_;
  int source_;
  log& from_;
  schema_registry& schemas_;
  std::int32_t partition_;
  record_block block_;
  std::size_t at_ = 0;
  std::int64_t next_offset_ = -1;
  std::int64_t end_seen_ = 0;
  std::vector<std::shared_ptr<writer_plan>> plans_;
  const writer_plan* last_ = nullptr;  ///< the plan of the last record: nearly always that of the next
  writer_plan unknown_;  ///< of an id that the registry may yet learn
  bool awaits_schema_ = false;
  columns columns_;
  logger* lines_;                          ///< may be null
  std::array<bool, host_causes> told_{};                     ///< causes that have left their line
  std::array<bool, decode_reasons> told_undecodable_{};      ///< and reasons
};

}  // namespace sonder
