#pragma once

#include <cstdint>
#include <deque>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "flow/rows.h"
#include "record/result.h"
#include "state/store.h"

namespace sonder {

/// A row of a stage's input as it is kept: what the host knows of it, its record's own bytes, and the columns that it came with.
struct kept_row {
  std::uint64_t form = 0;        ///< of the columns and the port, as `form_of` says it
  std::string_view topic;        ///< of the flow, that its record came from; empty: from none
  log_record record;
  std::int64_t event_time_ms = 0;
  std::string_view subject;
  std::uint64_t purposes = 0;
  bytes_view columns;            ///< `append_value` of each, in order
};

/// What tells the columns of an input port apart from others: rows that were kept under another form cannot come back.
[[nodiscard]] std::uint64_t form_of(std::string_view port, const std::vector<field>& columns);

/// The bytes of a kept row, into `to`, and back: views into `from`. errc::corrupt if these are no such bytes.
void write_row(const kept_row& row, std::string& to);
[[nodiscard]] result<kept_row> read_row(bytes_view from);

/// What later rows wait for: the subject of a row, else the key of its record. Empty: it stands alone.
[[nodiscard]] std::string_view line_of(const row_space& space, std::int32_t row) noexcept;

/// The rows that one stage of one task was asked to offer again, each with the later rows of its line behind it, in a store of
/// their own, so that they are part of the epoch. Lines are independent of each other; within one, rows come back in order.
/// Confined to the task's strand. How many may wait is the task's to bound.
///
/// Entries: `r` number -> row; `a` number -> attempts and when the next is due, of rows that were tried. Numbers rise, big-endian.
class parked_rows {
 public:
  /// `wait_ms_max`: the longest back-off. What is due later than that was put off by a clock that has gone back since, and is due.
  explicit parked_rows(keyed_store& store, std::int64_t wait_ms_max = INT64_MAX) : store_(store), wait_ms_max_(wait_ms_max) {}

  /// Reads what is committed. Once, before the rest.
  [[nodiscard]] status load();

  [[nodiscard]] bool empty() const noexcept { return lines_of_.empty(); }
  [[nodiscard]] std::size_t rows() const noexcept { return lines_of_.size(); }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  [[nodiscard]] bool waits(std::string_view line) const;
  /// Whether a line is due; cheap.
  [[nodiscard]] bool any_due(std::int64_t now_ms) const noexcept {
    return !by_due_.empty() && (is_due(by_due_.begin()->first, now_ms) || is_due(by_due_.rbegin()->first, now_ms));
  }

  /// Puts a row at the end of its line. It is due when all before it are done with, and at `due_ms` at the earliest.
  [[nodiscard]] status add(std::string_view line, std::string_view row, std::int32_t attempts, std::int64_t due_ms);
  /// A row was tried again in vain.
  [[nodiscard]] status put_off(std::uint64_t number, std::int32_t attempts, std::int64_t due_ms);
  /// The row is done with; the next one of its line is due at once.
  [[nodiscard]] status remove(std::uint64_t number);

  struct place {
    std::uint64_t number = 0;
    std::int32_t attempts = 0;
  };
  /// Up to `most` rows of lines whose first row is due, oldest first, of each line from its first row on.
  void due(std::int64_t now_ms, std::size_t most, std::vector<place>& into) const;
  /// Its bytes, into `to`.
  [[nodiscard]] status read(std::uint64_t number, std::string& to);

 private:
  struct waiting_row {
    std::uint64_t number;
    std::size_t bytes;
    std::int32_t attempts;
    std::int64_t due_ms;
  };
  struct line {
    const std::string* name = nullptr;
    std::deque<waiting_row> rows;
    std::int64_t due_ms = INT64_MAX;  ///< of its first row, as `by_due_` has it
  };
  void append(std::string name, const waiting_row& row);
  void follow_first(line& of);
  [[nodiscard]] bool is_due(std::int64_t due_ms, std::int64_t now_ms) const noexcept {
    return due_ms <= now_ms || due_ms - now_ms > wait_ms_max_;
  }

  keyed_store& store_;
  const std::int64_t wait_ms_max_;
  std::unordered_map<std::string, line> lines_;
  std::unordered_map<std::uint64_t, line*> lines_of_;  ///< per row
  std::uint64_t next_number_ = 0;
  std::size_t bytes_ = 0;
  std::set<std::pair<std::int64_t, line*>> by_due_;
};

/// What `stage_runner::run` does with rows that ask for a later attempt.
struct parking {
  parked_rows* at = nullptr;
  /// Null: rows arrive. Else they come back, each from where it is kept, by its number in the space.
  const std::vector<parked_rows::place>* returning = nullptr;
};

}  // namespace sonder
