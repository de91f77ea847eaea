#pragma once

#include <memory>

#include "avro/registry.h"
#include "log/log.h"

namespace sonder {

/// The registry's index in the log's own notes, so that a schema's id and the records that carry it live in one database.
/// `on` outlives it.
[[nodiscard]] std::unique_ptr<schema_index> make_log_index(log& on);

/// The log's registry.
[[nodiscard]] result<std::unique_ptr<indexed_registry>> open_log_registry(log& on);

}  // namespace sonder
