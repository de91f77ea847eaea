#pragma once

#include <array>
#include <memory>
#include <mutex>
#include <vector>

#include "avro/registry.h"
#include "log/log.h"
#include "observe/metrics.h"

namespace sonder {

/// Shows what the clients of the log and of the registry do and have done, as of each scrape: transactions, restores, connections,
/// requests. Asks from the scrape's thread, so that what blocks the worker's own is seen; both outlive it.
class log_metrics {
 public:
  log_metrics(const log& of, const schema_registry& schemas, metrics& to);
  log_metrics(const log_metrics&) = delete;
  log_metrics& operator=(const log_metrics&) = delete;

 private:
  template <class Count>
  using cells = std::array<counter*, static_cast<std::size_t>(Count::count)>;

  void refresh();

  const log& log_;
  const schema_registry& schemas_;
  std::array<gauge*, static_cast<std::size_t>(log_figures::transaction_state::count)> states_{};
  gauge& transaction_seconds_;
  cells<log_figures::transaction_end> ends_{};
  cells<log_figures::rebalance_reason> reasons_{};
  gauge& strangers_;
  gauge& restoring_;
  counter& restored_tasks_;
  counter& restored_records_;
  counter& restored_bytes_;
  gauge& remaining_;
  counter& rebuilt_;
  gauge& standby_tasks_;
  gauge& standby_behind_;
  cells<log_figures::connection> connections_{};
  cells<log_figures::connection> errors_{};
  counter& requests_;
  counter& failures_;
  gauge& open_;
  std::mutex mutex_;
  log_figures seen_;             ///< what the counters hold; guarded by mutex_
  registry_figures registry_seen_;
  std::shared_ptr<void> refreshed_;  ///< last: gone before what it shows
};

}  // namespace sonder
