#include "flow/log_metrics.h"

namespace sonder {
namespace {

template <class Number>
void count_up(counter& to, Number now, Number& seen) {
  if (now <= seen) return;
  to.add(static_cast<double>(now - seen));
  seen = now;
}

}  // namespace

log_metrics::log_metrics(const log& of, const schema_registry& schemas, metrics& to)
    : log_(of),
      schemas_(schemas),
      transaction_seconds_(to.gauge_of(metric::transaction_seconds)),
      strangers_(to.gauge_of(metric::group_strangers)),
      restoring_(to.gauge_of(metric::restoring_tasks)),
      restored_tasks_(to.counter_of(metric::restored_tasks)),
      restored_records_(to.counter_of(metric::restored_records)),
      restored_bytes_(to.counter_of(metric::restored_bytes)),
      remaining_(to.gauge_of(metric::restore_remaining)),
      rebuilt_(to.counter_of(metric::restore_rebuilt)),
      standby_tasks_(to.gauge_of(metric::standby_tasks)),
      standby_behind_(to.gauge_of(metric::standby_behind)),
      requests_(to.counter_of(metric::registry_requests)),
      failures_(to.counter_of(metric::registry_failures)),
      open_(to.gauge_of(metric::registry_open)) {
  for (std::size_t i = 0; i < states_.size(); ++i)
    states_[i] = &to.gauge_of(metric::transaction_state, {name(static_cast<log_figures::transaction_state>(i))});
  for (std::size_t i = 0; i < ends_.size(); ++i)
    ends_[i] = &to.counter_of(metric::transactions, {name(static_cast<log_figures::transaction_end>(i))});
  for (std::size_t i = 0; i < reasons_.size(); ++i)
    reasons_[i] = &to.counter_of(metric::rebalance_reasons, {name(static_cast<log_figures::rebalance_reason>(i))});
  for (std::size_t i = 0; i < connections_.size(); ++i) {
    const auto client = name(static_cast<log_figures::connection>(i));
    connections_[i] = &to.counter_of(metric::broker_connections_failed, {client});
    errors_[i] = &to.counter_of(metric::broker_errors, {client});
  }
  refreshed_ = to.before_exposing([this] { refresh(); });
}

void log_metrics::refresh() {
  const auto now = log_.figures();
  const auto registry = schemas_.figures();
  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < states_.size(); ++i) states_[i]->set(static_cast<std::size_t>(now.transaction) == i ? 1 : 0);
  transaction_seconds_.set(now.transaction_seconds);
  for (std::size_t i = 0; i < ends_.size(); ++i) count_up(*ends_[i], now.transactions[i], seen_.transactions[i]);
  for (std::size_t i = 0; i < reasons_.size(); ++i) count_up(*reasons_[i], now.rebalance_reasons[i], seen_.rebalance_reasons[i]);
  strangers_.set(static_cast<double>(now.group_strangers));
  restoring_.set(static_cast<double>(now.tasks_restoring));
  remaining_.set(static_cast<double>(now.restore_remaining));
  count_up(restored_tasks_, now.restored_tasks, seen_.restored_tasks);
  count_up(restored_records_, now.restored_records, seen_.restored_records);
  count_up(restored_bytes_, now.restored_bytes, seen_.restored_bytes);
  count_up(rebuilt_, now.restore_rebuilt, seen_.restore_rebuilt);
  standby_tasks_.set(static_cast<double>(now.standby_tasks));
  standby_behind_.set(static_cast<double>(now.standby_records_behind));
  for (std::size_t i = 0; i < connections_.size(); ++i) {
    count_up(*connections_[i], now.connections_failed[i], seen_.connections_failed[i]);
    count_up(*errors_[i], now.client_errors[i], seen_.client_errors[i]);
  }
  count_up(requests_, registry.requests, registry_seen_.requests);
  count_up(failures_, registry.failures, registry_seen_.failures);
  open_.set(registry.open ? 1 : 0);
}

}  // namespace sonder
