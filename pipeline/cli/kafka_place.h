#pragma once

#include <functional>
#include <string_view>

#include "cli/place.h"
#include "flow/config.h"
#include "record/result.h"

namespace sonder::cli {

enum class kafka_use {
  worker,   ///< runs the flow: has state of its own in `log.dir`, and a name that lives as long as that
  command,  ///< reads or appends and leaves
  admin,    ///< looks at a group, or resets it: little is fetched ahead, and one transaction may take all of a group's state
};

/// The log on Kafka and the schema registry that a flow names, with their secrets. `lines` gets what the Kafka client has to
/// say: syslog's level and text; empty: only what is an error, on standard error.
[[nodiscard]] result<opened_log> open_on_kafka(const flow_options& flow, kafka_use use,
                                               std::function<void(int, std::string_view)> lines = {});

}  // namespace sonder::cli
