#include "flow/patient_registry.h"

#include <algorithm>

namespace sonder {

result<schema_ptr> patient_registry::by_id(std::int32_t id) {
  const auto began = now();
  {
    // Records behind one that waits come here as often as its task looks again.
    const std::lock_guard lock(mutex_);
    const auto known = waits_.find(id);
    if (known != waits_.end() && !known->second.over && began - known->second.asked < ask_again)
      return tl::unexpected(known->second.last);
  }
  auto found = behind_.by_id(id);
  if (!found && found.error().code == errc::unavailable) return unanswered(id, began, std::move(found).error());
  const std::lock_guard lock(mutex_);
  waits_.erase(id);
  silent_since_.reset();
  return found;
}

result<schema_ptr> patient_registry::unanswered(std::int32_t id, clock::time_point began, error why) {
  const std::lock_guard lock(mutex_);
  const auto at = now();
  if (!silent_since_ || began - asked_ > unasked_max) silent_since_ = began;
  asked_ = at;
  if (waits_.size() >= ids_max && !waits_.contains(id)) waits_.clear();
  auto& of = waits_.try_emplace(id, waiting{began, at, {}, false}).first->second;
  if (began - of.asked > unasked_max) of = {began, at, {}, false};
  of.asked = at;
  const auto waited = at - std::min(of.since, *silent_since_);
  if (waited < options_.wait) {
    of.last = {errc::unavailable, "schema " + std::to_string(id) + ", which is not known here: " + why.message};
    return tl::unexpected(of.last);
  }
  of.over = true;
  const auto seconds = std::to_string(std::chrono::duration_cast<std::chrono::seconds>(waited).count());
  if (options_.stops) {
    return fail(errc::io, "registry " + options_.name + " has not answered for " + seconds + " s, and records wait for schema " +
                              std::to_string(id) + " (" + why.message +
                              "); the worker stops, nothing is lost: see to the registry, then start it again "
                              "(log.registry.unknown_schema_wait, and `then: dead_letter` to go on without such records)");
  }
  return fail(errc::not_found, "schema " + std::to_string(id) + ": the registry has not answered for " + seconds + " s");
}

bool patient_registry::given_up(std::int32_t id) const {
  const std::lock_guard lock(mutex_);
  const auto known = waits_.find(id);
  return known != waits_.end() && known->second.over;
}

std::string patient_registry::waits_for() const {
  const std::lock_guard lock(mutex_);
  for (const auto& [id, of] : waits_) {
    // Who still waits has asked just now.
    if (!of.over && now() - of.asked < 8 * ask_again) return "registry " + options_.name + ": " + of.last.message;
  }
  return {};
}

}  // namespace sonder
