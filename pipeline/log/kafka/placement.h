#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sonder::kafka {

/// A member of a group with the tasks that it has, as the group's coordinator tells everybody.
struct member_view {
  std::string id;
  std::vector<std::int32_t> tasks;  ///< ascending
  std::string client = {};          ///< what the process calls itself (client.id)
};

/// The tasks whose state the member `own` keeps copies of, ascending: those that `range` would give it if up to `replicas`
/// members left, whichever they are. Nothing where `own` is not among the members, or where their tasks are not what `range`
/// gives: then nobody knows where a task would move.
///
/// `range` gives each member one block of neighbouring tasks, in an order of members that stays when one leaves. A task that
/// stands in block p of n - k blocks therefore belongs, after any k of n members have left, to one of the members p to p + k:
/// its owner and k others. That holds for fewer leavers too, so a task has `replicas` copies and never one at a wrong place.
[[nodiscard]] std::optional<std::vector<std::int32_t>> standby_tasks(std::span<const member_view> members, std::string_view own,
                                                                     std::int32_t tasks, std::int32_t replicas);

/// The first task of block `position` where `range` makes `members` blocks of `tasks`; that of the one past the last is `tasks`.
[[nodiscard]] std::int32_t range_begin(std::int32_t tasks, std::int32_t members, std::int32_t position);

}  // namespace sonder::kafka
