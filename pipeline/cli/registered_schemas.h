#pragma once

#include <iosfwd>
#include <string>

#include "avro/registry.h"

namespace sonder::cli {

/// The newest schema of a subject that can be read; null if the subject has none. Newer ones that cannot be read are told on `said`,
/// a line each with the reason. errc::unsupported: it has some, and none can be read.
[[nodiscard]] result<schema_ptr> newest_schema(schema_registry& schemas, const std::string& subject, std::ostream& said);

/// Every version of every subject on `out`, as a table or as one JSON object a line; one that cannot be read has no `schema` and no
/// `fields`, and its reason is told on `said`. Answers how many those are.
[[nodiscard]] result<std::size_t> list_schemas(schema_registry& schemas, bool as_json, std::ostream& out, std::ostream& said);

}  // namespace sonder::cli
