#include "flow/state_sizes.h"

#include "flow/store_names.h"

namespace sonder {

state_sizes::state_sizes(const graph& flow, log& of, metrics& to) : group_(flow.options.name), log_(of) {
  for (const auto& stage : flow.stages) {
    const auto& name = stage.options.name;
    for (auto& store : store_names(stage)) {
      const auto short_name = store.substr(name.size() + 1);
      stores_.push_back({std::move(store), &to.gauge_of(metric::store_disk_bytes, {name, short_name}),
                         &to.gauge_of(metric::changelog_records, {name, short_name})});
    }
  }
  thread_ = std::thread([this] { run(); });
}

state_sizes::~state_sizes() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void state_sizes::follow(const std::vector<std::int32_t>& partitions) {
  {
    const std::lock_guard lock(mutex_);
    if (partitions == partitions_) return;
    partitions_ = partitions;
    news_ = true;
  }
  changed_.notify_all();
}

bool state_sizes::ending() {
  const std::lock_guard lock(mutex_);
  return ending_;
}

void state_sizes::run() {
  std::unique_lock lock(mutex_);
  while (!ending_) {
    changed_.wait_for(lock, look_again, [this] { return ending_ || news_; });
    news_ = false;
    const auto partitions = partitions_;
    lock.unlock();
    look(partitions);
    lock.lock();
  }
}

void state_sizes::look(const std::vector<std::int32_t>& partitions) {
  for (auto& each : stores_) {
    if (ending()) return;
    // Who cannot be asked now is asked again soon; what is wrong shows where it is in the way.
    const auto takes = log_.footprint_of_state(group_, each.store, partitions);
    if (!takes) continue;
    each.disk->set(static_cast<double>(takes->disk_bytes));
    each.changelog->set(static_cast<double>(takes->changelog_offsets));
  }
}

}  // namespace sonder
