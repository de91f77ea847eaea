#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "flow/contribution.h"
#include "flow/source_reader.h"

namespace sonder {

/// What an internal topic keeps of a record beside value and headers: its first header, `sonder.rekey`. The record's key is the
/// subject there, and its timestamp the log's.
struct forwarded_record {
  std::int32_t partition = 0;  ///< where it was in the topic that it comes from
  std::int64_t offset = 0;
  std::int64_t timestamp_ms = 0;
  bool has_key = false;
  bytes_view key;
};
/// Where a task begins to read the internal topic of `source`, whose next offset was committed as `next` (-1: none was): there. Unless
/// retention has taken copies that nobody had read: that is errc::corrupt with the next step, or said to `lines` and passed over,
/// as the flow says.
[[nodiscard]] result<std::int64_t> first_kept(const graph& flow, const source_node& source, log& on, std::int32_t partition,
                                              std::int64_t next, logger* lines);
/// Room that headers need at most beyond what they were, once the first one is taken off.
inline constexpr std::size_t headers_overhead = 10;
/// False if the header is another one. Views in `into` are into the header.
[[nodiscard]] bool read_forwarded(const header_view& first, forwarded_record& into) noexcept;

/// Forwards, in one task, the records of topics that are not keyed by their subject to internal topics that are: as they were, in
/// the task's epoch with the offsets that they used up. So the order of a subject's records in one partition stays, and each comes
/// once. A topic's partition is read by the task whose number is the partition's modulo the number of tasks.
///
/// Confined to the task's strand.
class rekeyer {
 public:
  /// From the committed offsets on.
  [[nodiscard]] static result<std::unique_ptr<rekeyer>> open(const graph& flow, log& on, schema_registry& schemas,
                                                             const counts_layout& layout, std::int32_t task, logger* lines);

  using bury_fn = std::function<status(const record_place& at, const log_record& record, std::string_view cause)>;
  /// Forwards one batch of the next partition that has records. Records without a subject that can be read are buried.
  [[nodiscard]] status forward(std::int32_t rows_max, std::int64_t now_ms, contribution& to, const bury_fn& bury);
  /// Notes the offsets in a contribution that is about to be sealed.
  void seal(contribution& to);
  /// A position has moved over what holds no record, since offsets were noted; of feedback topics only if they are asked for.
  [[nodiscard]] bool passed_markers(bool of_feedback_too) const noexcept;
  /// As of a source.
  [[nodiscard]] std::uint64_t take_lost(std::size_t rekey) noexcept;
  /// Records between the positions and the ends, but for those of feedback topics, whose ends are looked at only if they are asked for.
  [[nodiscard]] result<std::int64_t> lag(bool look_at_feedback);
  [[nodiscard]] source_backlog backlog(std::size_t rekey) const noexcept;

 private:
  struct reading {
    std::size_t rekey;
    source_reader of;
    std::size_t inner_bytes_max;  ///< of one record of the internal topic
    std::int64_t sealed_next;     ///< as last noted, or as committed
  };
  rekeyer(const graph& flow, const counts_layout& layout) : flow_(flow), layout_(layout) {}
  [[nodiscard]] result<bool> forward_from(reading& from, std::int32_t rows_max, std::int64_t now_ms, contribution& to, const bury_fn& bury);
  [[nodiscard]] result<bool> append(const reading& from, const log_record& record, std::string_view subject, contribution& to);

  const graph& flow_;
  const counts_layout& layout_;
  std::vector<std::unique_ptr<reading>> readings_;
  std::size_t next_ = 0;
  row_space space_;
  buffer header_;
  buffer headers_;
};

/// Whether the group has taken up all that its workers forwarded to partitions other than `owned`, ascending: what a worker waits
/// for before it leaves as idle.
[[nodiscard]] result<bool> others_took_up(const graph& flow, log& on, std::span<const std::int32_t> owned);

}  // namespace sonder
