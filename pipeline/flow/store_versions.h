#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "flow/task.h"

namespace sonder {

/// How far a task's stores have come.
struct stores_step {
  bool current = false;               ///< each is as its plugin reads it: the task may be opened
  std::optional<error> not_committed; ///< an epoch of the migration: as with any other, all tasks go back to what is committed
};

/// Brings the stores of one task to the versions that the plugins declare, for about `at_most`; called again until it says `current`.
/// On the control thread, before the task is opened. Entries are turned by a module that is made for it, so that no call of another
/// task runs on it; each call of it is in the context's `calls`.
///
/// Which version a store is in is noted with the stage's parked rows, in the epoch that makes it so, and goes where they go: over
/// restarts, to other workers, into standby copies. A store without a note is in version 1, or empty.
///
/// A migration takes an epoch for each 4 MiB and each 65,536 entries that it reads or moves (fewer where the log takes less), and one
/// more. Its note says how far it is; killed midway it goes on from there, with the same plugin. Entries whose new key is still to be
/// read as an old one are set aside and moved at the end.
///
/// errc::unsupported: the state is of a later version, half-way to another one, or nothing here can turn it. errc::plugin: it says that
/// it cannot. errc::unavailable: the log may answer later.
[[nodiscard]] result<stores_step> bring_stores_up(const task_context& context, std::int32_t partition, std::chrono::milliseconds at_most);

}  // namespace sonder
