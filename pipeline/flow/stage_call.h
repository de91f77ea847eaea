#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "flow/stage_runner.h"

namespace sonder {

/// One run of a stage on one batch: what is lent, what came back. Its memory is kept from batch to batch.
struct stage_runner::call {
  std::size_t input = 0;
  const manifest_input* port = nullptr;
  row_space* space = nullptr;
  const batch_times* times = nullptr;
  batch_memory* memory = nullptr;
  node_counts* counts = nullptr;
  const bury_fn* bury = nullptr;
  std::vector<emitted_rows>* emitted = nullptr;
  const edge_rows* in = nullptr;
  const parking* park = nullptr;                ///< null: rows that ask for a later attempt hold the task

  // What is lent: dense over the allowed rows.
  const row_base* allowed = nullptr;
  std::vector<const ArrowArray*> reads;
  std::vector<std::int64_t> timestamp_ms;
  std::vector<std::int64_t> event_time_ms;
  std::vector<std::uint8_t> tombstone;
  const ArrowArray* key = nullptr;
  const ArrowArray* headers = nullptr;

  // What comes back, for all allowed rows.
  bool all_passed = false;                      ///< one call took them all, and each verdict is to pass
  std::vector<std::uint8_t> verdicts;
  std::vector<std::uint16_t> reasons;
  std::vector<std::uint32_t> retry_after_ms;
  std::vector<std::uint64_t> purposes;
  std::vector<std::uint8_t> cause;              ///< host_cause + 1 of a row that the host gave up on; 0: none
  std::vector<const ArrowArray*> kept;          ///< per write: the column, or null
  std::vector<column*> joined;                  ///< per write: where parts are put together after a failure
  std::vector<std::uint8_t> skipped;            ///< rows that were not offered, since an earlier one of their line waits now
  std::unordered_set<std::string_view> stopped; ///< lines that wait since this batch
  std::vector<std::int32_t> to_park;            ///< rows of the space, ascending

  // Of the call that runs.
  std::vector<ArrowArray> lent_children;
  std::vector<ArrowArray*> lent_pointers;
  std::vector<ArrowArray> columns;
  struct emission {
    std::uint32_t port;
    std::vector<std::int32_t> rows;  // of the call, then of the space
    ArrowArray array;
  };
  std::vector<emission> emissions;
  std::int64_t rows_emitted = 0;
  std::int64_t first = 0;
  std::int64_t count = 0;
  std::string violation;                        ///< what broke the contract, for the operator
  std::string said;                             ///< why the last call failed, as the plugin or the contract has it
  const manifest* of = nullptr;

  instance_services* services = nullptr;

  static std::int32_t emit(void* ctx, std::uint32_t port, const std::int64_t* rows, std::int64_t count, ArrowArray* array) noexcept;
  [[nodiscard]] std::int32_t keep(emission& made, const std::int64_t* source_rows, std::int64_t n);
};

}  // namespace sonder
