#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "log/kafka/kafka_log.h"

namespace sonder::kafka {

/// What a client instance is for.
enum class client_role : std::uint8_t {
  reader,       ///< fetches; no group
  query,        ///< asks for offsets, topics, configurations, committed offsets
  watermark,    ///< asks for ends that open transactions have reached: read_uncommitted
  member,       ///< holds a place in the group
  transaction,  ///< produces epochs
  producer,     ///< produces outside epochs
};

struct property {
  std::string name;
  std::string value;
};

/// A property that nobody may set.
struct refusal {
  std::string_view name;
  std::string_view reason;         ///< or where it is said instead
  std::string_view harmless = {};  ///< the one value that may be said all the same; empty: none
};
/// All of them, by librdkafka's names and other names for the same.
[[nodiscard]] std::span<const refusal> refused_properties() noexcept;

/// Whether the properties and secrets of `options` may be set. errc::invalid names the property and
/// the reason.
[[nodiscard]] status check_properties(const kafka_options& options);

/// What an instance for `role` is configured with, in order: our defaults, then what the user says
/// of it, then what may not be otherwise. `group`: for roles that know one. Secrets are not among
/// them.
[[nodiscard]] std::vector<property> properties_for(client_role role, const kafka_options& options,
                                                   std::string_view group);

/// With which `client.id` of every worker begins. A member's is fixed, and ends in its instance if
/// it has one: workers of a group know one another by it.
inline constexpr std::string_view worker_client = "sonder";
[[nodiscard]] std::string client_id(const kafka_options& options, client_role role);
/// Whether a member that calls itself so is a worker of ours.
[[nodiscard]] bool is_worker(std::string_view client) noexcept;

/// Whether librdkafka knows it for this kind of instance: properties of producers mean nothing to
/// consumers.
[[nodiscard]] bool applies_to(std::string_view property, client_role role) noexcept;

}  // namespace sonder::kafka
