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
#include "flow/global_table.h"
#include "flow/graph.h"
#include "flow/lost_records.h"
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

/// Where reading begins that has got as far as `committed`: there. -1, where it never began: with the oldest record kept, so that what
/// is committed before any of it is read tells that nothing of it was missed.
[[nodiscard]] result<std::int64_t> begin_at(log& on, std::string_view topic, std::int32_t partition, std::int64_t committed);

/// Where a record stands in the log: of one that was forwarded, where it stood before.
struct record_place {
  std::string_view topic;
  std::int32_t partition = 0;
  std::int64_t offset = 0;
};

/// One source topic in one task: fetches records of its partition and decodes them into columns.
/// The first record that is refused for each cause, and each reason that its bytes are undecodable for, leaves a line in the log: where it is and what is wrong with it, in the
/// schema's words and never the record's.
/// Confined to the task's strand.
class source_reader {
 public:
  source_reader(const graph& flow, int source, log& from, schema_registry& schemas, std::int32_t partition,
                logger* lines);
  /// Of a topic that is forwarded.
  source_reader(const graph& flow, const rekey_node& rekey, log& from, schema_registry& schemas, std::int32_t partition,
                logger* lines);
  /// Of a global table: its offsets are the copy's sequence numbers. Rows that cannot be used are buried only where `buries` says so:
  /// every task reads them.
  using buries_fn = std::function<bool(const global_table::place& at)>;
  source_reader(const graph& flow, int source, log& from, schema_registry& schemas, std::int32_t partition,
                logger* lines, global_table& copy, buries_fn buries);

  /// Where the next record is taken up; -1 as long as `seek` was not called.
  [[nodiscard]] std::int64_t next_offset() const noexcept;
  /// `fresh`: nothing of it was ever taken up, so that what retention has taken before is not missed.
  void seek(std::int64_t offset, bool fresh = false);
  /// Where `lost` allows it: offsets that retention took before they were read, since the last call.
  [[nodiscard]] std::uint64_t take_lost() noexcept { return copy_ != nullptr ? copy_->take_lost() : lost_.take(); }
  void count_lost(std::int64_t gone) noexcept { lost_.count(gone); }

  /// Fetches when nothing is waiting. True if a record waits now. errc::corrupt: records are lost, and the flow does not go on then.
  [[nodiscard]] result<bool> fill(const fetch_limits& limits, bool& fetched);
  /// Of the record that waits.
  [[nodiscard]] std::int64_t head_timestamp_ms() const noexcept { return block_.records[at_].timestamp_ms; }
  [[nodiscard]] std::size_t waiting() const noexcept { return block_.records.size() - at_; }
  /// The stable end of the partition.
  [[nodiscard]] result<std::int64_t> end_offset();
  /// One past all that is or will be committed in the partition by what was committed before the call (`log::newest`).
  [[nodiscard]] result<std::int64_t> newest() { return from_.newest(node_.topic.topic, partition_); }
  [[nodiscard]] std::int32_t partition() const noexcept { return partition_; }
  [[nodiscard]] source_backlog backlog() const noexcept;
  /// Of a global table, once all of the copy is taken up: how far that is in, which may be further than its last record. True where it
  /// was not known.
  bool reach(const std::vector<std::int64_t>& there) noexcept;
  /// Of a global table: per partition, one past the last record that was taken up, or what was reached.
  [[nodiscard]] const std::vector<std::int64_t>& reached() const noexcept { return reached_; }
  /// False for a record of a global table for which another task answers, or for which this one did before.
  [[nodiscard]] bool buries(const log_record& record) const;
  /// Of a record of this source: one that was fetched, or a copy.
  [[nodiscard]] record_place place_of(const log_record& record) const noexcept;

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
  source_reader(const graph& flow, const source_node& node, int source, log& from, schema_registry& schemas, std::int32_t partition,
                logger* lines);
  void bring_back();
  [[nodiscard]] result<const writer_plan*> plan_for(std::int32_t schema_id);
  [[nodiscard]] const decode_plan* usual_plan(const log_record& record, bytes_view& body) const noexcept;
  [[nodiscard]] status decode(const log_record& record, std::optional<source_refusal>& refused);
  void read_keys();
  [[nodiscard]] std::optional<host_cause> check_tombstone(const log_record& record);
  void warn_once(const log_record& record, const source_refusal& refused);

  const graph& flow_;
  const source_node& node_;
  int source_;
  log& from_;
  schema_registry& schemas_;
  std::int32_t partition_;
  std::unique_ptr<global_table::reader> copy_;  ///< null where it reads the log
  buries_fn buries_;
  std::vector<std::int64_t> reached_;
  record_block block_;
  std::vector<global_table::place> origins_;  ///< of the block's records, where they were forwarded, or in a global table's topic
  buffer headers_;                            ///< of the same, as they were before
  std::size_t at_ = 0;
  std::int64_t next_offset_ = -1;
  bool fresh_ = false;  ///< until something of it is read
  lost_records lost_;
  std::int64_t end_seen_ = 0;
  std::vector<std::shared_ptr<writer_plan>> plans_;
  const writer_plan* last_ = nullptr;  ///< the plan of the last record: nearly always that of the next
  writer_plan unknown_;  ///< of an id that the registry may yet learn
  bool awaits_schema_ = false;
  columns columns_;
  /// Of a table whose flow says what its keys are made of: how the subject is read from them. Null where a key is the subject.
  std::unique_ptr<const decode_plan> key_plan_;
  columns key_columns_;
  bool keys_tell_subject_ = false;
  logger* lines_;                          ///< may be null
  std::array<bool, host_causes> told_{};                     ///< causes that have left their line
  std::array<bool, decode_reasons> told_undecodable_{};      ///< and reasons
};

}  // namespace sonder
