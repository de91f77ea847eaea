#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "avro/json.h"
#include "plugin/lent_pages.h"
#include "plugin/library.h"
#include "plugin/testing_services.h"
#include "record/columns.h"
#include "sonder/testing/host.h"

namespace sonder {

/// A row that was chosen for a call: what was offered, and the number that its random numbers start
/// from.
struct offered_row {
  const testing::input_row* row = nullptr;
  std::uint64_t position = 0;
};

/// Rows of one input port of a plugin under test, read from JSON into columns and lent from pages
/// of their own. One thread.
class offered_batch {
 public:
  explicit offered_batch(const manifest_input& port);
  ~offered_batch();
  offered_batch(const offered_batch&) = delete;
  offered_batch& operator=(const offered_batch&) = delete;

  void clear();
  /// Reads one row; the batch is as before where that fails. `event_time_ms` stands in for what the
  /// row does not say.
  [[nodiscard]] status append(const testing::input_row& row, std::int64_t event_time_ms);
  [[nodiscard]] std::int64_t rows() const noexcept {
    return static_cast<std::int64_t>(event_times_.size());
  }
  [[nodiscard]] std::int64_t greatest_event_time_ms() const;

  /// The batch in its pages, read-only, until `take_back`.
  [[nodiscard]] const sonder_batch* lend(std::uint32_t port, bool cancelled);
  void take_back() { pages_.take_back(); }

 private:
  [[nodiscard]] status append_headers(const testing::input_row& row);

  const manifest_input& port_;
  json_row_reader reader_;
  columns reads_;
  field record_;  ///< of all reads
  field header_field_;
  column key_;
  column headers_;
  std::vector<std::int64_t> timestamps_;
  std::vector<std::int64_t> event_times_;
  std::vector<std::uint8_t> tombstones_;
  ArrowSchema schema_{};
  lent_pages pages_;
};

/// What one call made, until it is known whether it counts: the output struct and its arrays,
/// checked and turned into outcomes. Releases every array that was handed over, and counts those
/// that do not say so. One thread.
class call_output {
 public:
  static constexpr std::size_t emitted_rows_max = 1'000'000;

  /// `writes` is null for timers. All outlive this object.
  call_output(const manifest& of, const std::vector<manifest_field>* writes, std::int64_t rows,
              bool authority, testing_services& services, const std::vector<std::string>& purposes);
  ~call_output();
  call_output(const call_output&) = delete;
  call_output& operator=(const call_output&) = delete;

  [[nodiscard]] sonder_output* raw() noexcept { return &raw_; }
  /// Turns it all into outcomes, or says what breaks the contract.
  [[nodiscard]] status read(testing::call_outcome& into);
  /// Releases the columns; nothing can be read after it.
  void release_all();
  [[nodiscard]] std::uint64_t not_released() const noexcept { return not_released_; }

 private:
  static std::int32_t emit(void* ctx, std::uint32_t port, const std::int64_t* source_rows,
                           std::int64_t count, ArrowArray* array);
  [[nodiscard]] status take_emitted(std::uint32_t port, const std::int64_t* source_rows,
                                    std::int64_t count, const ArrowArray& array);
  [[nodiscard]] status check_columns() const;
  [[nodiscard]] status read_row(std::int64_t row, testing::row_outcome& into) const;
  void append_columns(std::int64_t row, std::string& to) const;
  void release(ArrowArray& array);

  const manifest& of_;
  const std::vector<manifest_field>* writes_;
  std::int64_t rows_;
  testing_services& services_;
  const std::vector<std::string>& purposes_;
  std::vector<std::uint8_t> verdicts_;
  std::vector<std::uint16_t> reasons_;
  std::vector<std::uint32_t> retry_after_ms_;
  std::vector<ArrowArray> columns_;
  std::vector<std::uint64_t> purpose_mask_;
  std::vector<testing::emitted_row> emitted_;
  status emit_failure_;
  std::uint64_t not_released_ = 0;
  sonder_output raw_{};
};

}  // namespace sonder
