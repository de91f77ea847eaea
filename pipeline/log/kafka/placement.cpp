#include "log/kafka/placement.h"

#include <algorithm>

namespace sonder::kafka {
namespace {

// Members without tasks are the last ones: there are more members than tasks.
std::vector<const member_view*> by_place(std::span<const member_view> members) {
  std::vector<const member_view*> order;
  for (const auto& member : members) order.push_back(&member);
  std::sort(order.begin(), order.end(), [](const member_view* a, const member_view* b) {
    if (a->tasks.empty() != b->tasks.empty()) return b->tasks.empty();
    if (!a->tasks.empty() && a->tasks.front() != b->tasks.front()) return a->tasks.front() < b->tasks.front();
    return a->id < b->id;
  });
  return order;
}

bool is_block(const std::vector<std::int32_t>& tasks, std::int32_t begin, std::int32_t end) {
  if (tasks.size() != static_cast<std::size_t>(end - begin)) return false;
  for (const auto task : tasks) {
    if (task != begin++) return false;
  }
  return true;
}

}  // namespace

// The first `tasks % members` blocks have one task more.
std::int32_t range_begin(std::int32_t tasks, std::int32_t members, std::int32_t position) {
  return tasks / members * position + std::min(position, tasks % members);
}

std::optional<std::vector<std::int32_t>> standby_tasks(std::span<const member_view> members, std::string_view own,
                                                       std::int32_t tasks, std::int32_t replicas) {
  const auto order = by_place(members);
  const auto count = static_cast<std::int32_t>(order.size());
  std::int32_t mine = -1;
  for (std::int32_t i = 0; i < count; ++i) {
    if (order[static_cast<std::size_t>(i)]->id == own) mine = i;
    if (!is_block(order[static_cast<std::size_t>(i)]->tasks, range_begin(tasks, count, i), range_begin(tasks, count, i + 1)))
      return std::nullopt;
  }
  if (mine < 0) return std::nullopt;
  // One member at least stays.
  const auto leavers = std::clamp(replicas, 0, count - 1);
  const auto blocks = count - leavers;
  const auto begin = range_begin(tasks, blocks, std::clamp(mine - leavers, 0, blocks));
  const auto end = range_begin(tasks, blocks, std::min(mine + 1, blocks));
  std::vector<std::int32_t> copies;
  for (auto task = begin; task < end; ++task) {
    if (!std::binary_search(order[static_cast<std::size_t>(mine)]->tasks.begin(), order[static_cast<std::size_t>(mine)]->tasks.end(), task))
      copies.push_back(task);
  }
  return copies;
}

}  // namespace sonder::kafka
