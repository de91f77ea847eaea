#include "log/kafka/group_change.h"

#include <algorithm>
#include <iterator>

#include "log/kafka/properties.h"

namespace sonder::kafka {
namespace {

constexpr std::size_t named_max = 5;

bool has(std::span<const member_view> members, std::string_view id) {
  return std::any_of(members.begin(), members.end(), [&](const member_view& m) { return m.id == id; });
}

/// Clients of those in `of` that are not in `others`.
std::vector<std::string> missing(std::span<const member_view> of, std::span<const member_view> others) {
  std::vector<std::string> clients;
  for (const auto& one : of) {
    if (!has(others, one.id)) clients.push_back(one.client);
  }
  return clients;
}

void add(std::string& to, const std::vector<std::string>& clients, std::string_view what) {
  if (clients.empty()) return;
  if (!to.empty()) to += "; ";
  for (std::size_t i = 0; i < std::min(clients.size(), named_max); ++i) to += (i == 0 ? "\"" : ", \"") + clients[i] + "\"";
  if (clients.size() > named_max) to += " and " + std::to_string(clients.size() - named_max) + " more";
  to += what;
}

bool any_stranger(const std::vector<std::string>& clients) {
  return std::any_of(clients.begin(), clients.end(), [](const std::string& client) { return !is_worker(client); });
}

}  // namespace

group_change change_between(std::span<const member_view> before, std::span<const member_view> after, std::string_view own) {
  using reason = log_figures::rebalance_reason;
  if (before.empty()) return {reason::unknown, "nobody has told who was in it before"};
  auto left = missing(before, after);
  auto joined = missing(after, before);
  const bool stranger = any_stranger(left) || any_stranger(joined);
  // A member that comes again has another id; with static membership nobody else learned of that at once.
  std::vector<std::string> again;
  for (auto client = joined.begin(); client != joined.end();) {
    const auto gone = std::find(left.begin(), left.end(), *client);
    if (gone == left.end()) {
      ++client;
      continue;
    }
    again.push_back(*client);
    left.erase(gone);
    client = joined.erase(client);
  }
  group_change change;
  add(change.text, left, " left");
  add(change.text, joined, " joined");
  add(change.text, again, " came again");
  if (!has(before, own)) {
    change.reason = reason::rejoined;
  } else if (stranger) {
    change.reason = reason::stranger;
  } else if (!left.empty()) {
    change.reason = reason::left;
  } else if (!joined.empty()) {
    change.reason = reason::joined;
  } else if (!again.empty()) {
    change.reason = reason::restarted;
  } else {
    change.reason = reason::same_members;
    change.text = "no member came or went: topics have changed, or one has asked for it";
  }
  return change;
}

std::vector<member_view> strangers_of(std::span<const member_view> members) {
  std::vector<member_view> found;
  std::copy_if(members.begin(), members.end(), std::back_inserter(found), [](const member_view& m) { return !is_worker(m.client); });
  return found;
}

}  // namespace sonder::kafka
