#pragma once

#include <memory>
#include <string>
#include <vector>

#include "flow/graph.h"
#include "flow/parked_rows.h"
#include "flow/store_names.h"
#include "log/log.h"

namespace sonder {

/// How much of parked rows is kept in memory and may be changed in one epoch. A parked row holds its record and all its columns; it
/// is read once again, so that a cache of many is of no use.
inline constexpr store_limits parked_limits{1 << 20, 48 << 20};

/// Stages that `flow` has not and that the log has a store of parked rows for: it had them under these names before.
[[nodiscard]] result<std::vector<std::string>> stages_left_behind(log& on, const graph& flow);

/// What is parked in one task for a stage that the flow has no more. Confined to the task's strand.
class left_parking {
 public:
  /// With what is committed.
  [[nodiscard]] static result<std::unique_ptr<left_parking>> open(log& on, const std::string& flow, const std::string& stage,
                                                                  std::int32_t partition);

  [[nodiscard]] const std::string& stage() const noexcept { return stage_; }
  [[nodiscard]] std::size_t rows() const noexcept { return rows_.rows(); }
  /// Up to `most` of them, oldest first.
  void next(std::size_t most, std::vector<parked_rows::place>& into) const { rows_.due(INT64_MAX, most, into); }
  /// Views into `bytes`.
  [[nodiscard]] result<kept_row> read(const parked_rows::place& at, std::string& bytes);
  [[nodiscard]] status remove(const parked_rows::place& at) { return rows_.remove(at.number); }

  void seal(std::vector<state_change>& to) { store_.seal(to); }
  void committed() { store_.committed(); }

 private:
  left_parking(log& on, const std::string& flow, const std::string& stage, std::int32_t partition);
  std::string stage_;
  keyed_store store_;
  parked_rows rows_;
};

}  // namespace sonder
