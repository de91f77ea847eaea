#pragma once

#include <string>
#include <string_view>

namespace sonder {

// Names of what a group has in the log for itself. Groups, a flow's topics and stages are made of letters, digits, "_" and "-": a "."
// behind each keeps the names of any two groups apart, whatever "-" is in them.

/// The topic to which records of `topic` (its name in the flow) are copied by subject: `<group>.<topic>-rekey`.
[[nodiscard]] std::string rekey_topic(std::string_view group, std::string_view topic);

/// The changelog of a group's store: `<group>.<stage>.<store>-changelog`, with "-" for the "~" of the host's own stores, since no
/// topic's name holds it and no plugin's store begins with "-".
[[nodiscard]] std::string changelog_topic(std::string_view group, std::string_view store);
/// The store of the group that a topic is the changelog of; empty where it is none.
[[nodiscard]] std::string store_of_changelog(std::string_view group, std::string_view topic);

}  // namespace sonder
