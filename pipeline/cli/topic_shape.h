#pragma once

#include <string>
#include <vector>

#include "avro/registry.h"
#include "cli/place.h"
#include "cli/topic_writer.h"

namespace sonder::cli {

/// What a command line says of a topic beside, or instead of, the configuration.
struct shape_options {
  std::string schema;  ///< file
  std::string subject;
  std::string event_time;
  std::vector<std::string> key;
  std::int32_t partitions = 0;  ///< of a topic that does not exist yet; 0: as configured, else 1
  /// A made-up past (demo, cases): where no event time is configured, a timestamp field `at` gives
  /// the record timestamp, as if the record had been appended when it happened.
  bool past = false;
};

/// `; did you mean "..."?`, of the topics that the configuration and the log have; empty if none is
/// near.
[[nodiscard]] std::string nearest_topic(const place& where, log& in, const std::string& topic);

/// The topic's shape: from the configuration, what `given` says instead, and at last the newest
/// schema that the log has registered for it and that can be read; newer ones that cannot are told on standard error. The topic is made if it does not exist; the schema is
/// registered if it is new.
[[nodiscard]] result<record_shape> shape_of(const place& where, log& in, schema_registry& schemas,
                                            const std::string& topic, const shape_options& given);

}  // namespace sonder::cli
