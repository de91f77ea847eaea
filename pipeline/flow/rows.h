#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string_view>
#include <vector>

#include "log/record_batch.h"
#include "record/column.h"
#include "record/result.h"

namespace sonder {

/// What the host keeps of rows that entered together, beside their columns: one entry a row, in the order of their arrival.
/// No plugin and no sink sees it but through the reserved columns. Keeps its memory over `clear()`.
///
/// Records and subjects are views into the fetched block and its columns: they live as long as the batch.
struct row_space {
  int source = -1;  ///< node of the graph that the rows came from
  std::vector<const log_record*> record;
  std::vector<std::int64_t> event_time_ms;
  std::vector<std::string_view> subject;
  std::vector<std::uint64_t> purposes;  ///< what the consent authority allowed, a bit each; 0 until it ran

  [[nodiscard]] std::int32_t rows() const noexcept { return static_cast<std::int32_t>(record.size()); }
  [[nodiscard]] const log_record& record_of(std::int32_t row) const noexcept { return *record[static_cast<std::size_t>(row)]; }
  void clear() noexcept;
  /// Appends row `row` of `from`, as it is there.
  void append_from(const row_space& from, std::int32_t row);
};

/// A choice of rows of one space, ascending. Columns are dense over one of these: entry i belongs to row `rows[i]`.
struct row_base {
  std::vector<std::int32_t> rows;
};

/// A column of the rows on an edge, dense over `base`. Rows of the edge that the base lacks read as null: they were withheld
/// from the stage that made the column.
struct slot {
  const ArrowArray* array = nullptr;  ///< null: null for every row
  const row_base* base = nullptr;
};

/// The rows on one edge of the graph while one batch passes.
struct edge_rows {
  const row_base* base = nullptr;
  std::vector<slot> slots;
};

/// Bases and arrays that live until the end of one batch. Confined to a task. Keeps its memory over `clear()`.
class batch_memory {
 public:
  batch_memory() = default;
  batch_memory(const batch_memory&) = delete;
  batch_memory& operator=(const batch_memory&) = delete;
  ~batch_memory() { clear(); }

  /// An empty base; its address stays until `clear()`.
  [[nodiscard]] row_base& new_base();
  /// Takes over an array that a plugin made: released by `clear()`.
  [[nodiscard]] const ArrowArray& own(ArrowArray& made);
  /// A column that keeps its memory, for gathered values of type `of`.
  [[nodiscard]] column& new_column(const field& of);
  void clear() noexcept;

 private:
  struct pooled_column {
    field of;
    std::unique_ptr<column> memory;
    bool used = false;
  };
  std::deque<row_base> bases_;
  std::size_t bases_used_ = 0;
  std::deque<ArrowArray> owned_;
  std::vector<pooled_column> columns_;
};

/// The column in place `index` of `rows` over `base`, some of its rows: lent as it is where it is dense over them already, else
/// gathered into `memory`, with null (over zero) for rows that it lacks. Where `base` is all of `rows`, the slot is replaced by what
/// was gathered, so that the next reader finds it dense; a choice among the rows never replaces it. errc::capacity if the gathered
/// values pass 2^31-1 bytes.
[[nodiscard]] result<const ArrowArray*> column_over(edge_rows& rows, int index, const row_base& base, const field& of,
                                                    batch_memory& memory);
/// The symbols of an enumeration column as text, null where it is null. errc::capacity as above.
[[nodiscard]] result<const ArrowArray*> symbols_as_text(const ArrowArray& enumeration, batch_memory& memory);
/// Takes the values of the column in place `index` away from the rows that are not allowed for all of `needs`: they read as null
/// from here on, and what was theirs is in no array of `rows`.
[[nodiscard]] status withhold_column(edge_rows& rows, int index, std::uint64_t needs, const row_space& space, const field& of,
                                     batch_memory& memory);
/// A column of nulls over `base`, for a field that the flow has not.
[[nodiscard]] const ArrowArray& null_column(const row_base& base, const field& of, batch_memory& memory);

/// The rows of `base` whose subjects agree to all of `needs`: `base` itself where all do.
[[nodiscard]] const row_base& agreed_rows(const row_base& base, const row_space& space, std::uint64_t needs, batch_memory& memory);

}  // namespace sonder
