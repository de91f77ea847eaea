#pragma once

#include <cstddef>
#include <cstdint>

#include "flow/task.h"

namespace sonder {

/// Whether the log still has the offsets that belong to a task's state; before the task is opened, and before any epoch of it.
///
/// State and offsets are committed together, so that state without any offset is that of a group whose offsets are gone: Kafka forgets
/// them some days after the last worker has left, and people delete them. From the beginning on everything would be done, and counted in
/// that state, a second time: errc::corrupt, with the ways out. Under `at_least_once`, where that may come to pass anyway, it is said to
/// the log's lines and passed. A task without state begins, and so does a topic that is new to a flow that has offsets of others.
[[nodiscard]] status check_offsets_kept(const task_context& context, std::int32_t partition);

/// The same of a topic that is forwarded, of which this task reads `partition`, without an offset. It is new, or a new partition; unless
/// the task has taken up what was forwarded before: its own offsets of that came with those of the topic.
[[nodiscard]] status check_forwarded_kept(const graph& flow, log& on, std::size_t rekey, std::int32_t task, std::int32_t partition,
                                          logger* lines);

}  // namespace sonder
