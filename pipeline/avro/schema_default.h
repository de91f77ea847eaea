#pragma once

#include <string_view>

#include "avro/schema.h"

namespace sonder {

/// Whether a JSON text is a default of the schema: of its type and range, a union's of any branch
/// (specification 1.12; 1.11 said the first). `bytes` and `fixed` are strings of code points up to
/// U+00FF.
[[nodiscard]] status check_default(const schema& of, std::string_view json);

}  // namespace sonder
