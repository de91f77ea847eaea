#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "record/result.h"

namespace sonder {

inline constexpr std::size_t config_schema_depth_max = 16;
inline constexpr std::size_t config_bytes_max = std::size_t{1} << 20;
inline constexpr std::size_t config_problems_max = 32;  ///< reported of one configuration

/// One thing that is wrong in a configuration. `pointer` is a JSON pointer (RFC 6901) to the value
/// it is about; for a property that is missing, to the object that should have it. A caller that
/// read YAML maps it to file, line and column.
struct config_problem {
  std::string pointer;
  std::string message;  ///< holds no value of the configuration, which may be secret; names of
                        ///< properties only
};

struct checked_config {
  std::string json;  ///< with defaults filled in; only meaningful if there is no problem
  std::vector<config_problem> problems;
};

/// The JSON Schema of a plugin's configuration, in the subset of draft 2020-12 that manifests may
/// use: type, properties, required, additionalProperties (a boolean or a schema), enum, const,
/// default, minimum, maximum, exclusiveMinimum, exclusiveMaximum, minLength, maxLength, pattern,
/// items, minItems, maxItems, uniqueItems, minProperties, maxProperties; title, description,
/// examples and $schema mean nothing to a check. Immutable, shared between threads.
class config_schema {
 public:
  /// Refuses, by JSON pointer, keywords outside of the subset (with the nearest name), malformed
  /// ones, and defaults that the schema itself would refuse.
  [[nodiscard]] static result<config_schema> parse(std::string_view schema_json);

  /// All that is wrong, in document order, at most `config_problems_max`. Defaults are filled in at
  /// every depth where the enclosing object is there. `config_json` that is no JSON is one problem
  /// at pointer "".
  [[nodiscard]] checked_config check(std::string_view config_json) const;

  struct node;

 private:
  explicit config_schema(std::shared_ptr<const node> root) : root_(std::move(root)) {}
  std::shared_ptr<const node> root_;
};

/// `; did you mean "name"?`, where a candidate is near enough to be what was meant, else empty.
[[nodiscard]] std::string did_you_mean(std::string_view word,
                                       const std::vector<std::string>& candidates);

}  // namespace sonder
