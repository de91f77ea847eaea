#pragma once

#include <functional>
#include <string>

#include "flow/config.h"
#include "flow/config_yaml.h"

namespace sonder {

/// Reads the `log` section of a flow file, and reports in `document` what is wrong with it. `resolve` makes a path relative
/// to the file's folder absolute.
[[nodiscard]] flow_log_options read_log_section(yaml_document& document, const yaml_value& section,
                                                const std::function<std::string(const std::string&)>& resolve);

/// Reports each secret that the section names and the flow does not have.
void check_log_secrets(yaml_document& document, const yaml_value& section, const flow_options& flow);

/// Reports a `max_poll_interval` that a worker could outlast while it hands its tasks over: then the group throws it out.
void check_log_times(yaml_document& document, const yaml_value& section, const flow_options& flow);

}  // namespace sonder
