#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "log/kafka/placement.h"
#include "log/operations.h"

namespace sonder::kafka {

/// What made a group be assigned anew.
struct group_change {
  log_figures::rebalance_reason reason = log_figures::rebalance_reason::unknown;
  std::string text;  ///< for the log: names the members by what they call themselves, a few of them
};

/// As far as the members before and after tell, of whom `own` is one; `before` empty: nobody knows them. Where several things have
/// happened, the reason is the first of: this worker came back, a stranger came or went, a worker left, joined, was started again.
[[nodiscard]] group_change change_between(std::span<const member_view> before, std::span<const member_view> after, std::string_view own);

/// Those that are no workers of ours: plain consumers, which hold tasks that nobody processes then.
[[nodiscard]] std::vector<member_view> strangers_of(std::span<const member_view> members);

}  // namespace sonder::kafka
