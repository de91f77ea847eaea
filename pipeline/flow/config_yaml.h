#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "flow/config.h"

namespace sonder {

/// One value of a configuration file, with the place where it stands. Plain data: yaml-cpp's own
/// tree gives no keys' places, allows duplicate keys and has no bound on aliases.
struct yaml_value {
  enum class kind : std::uint8_t { null, scalar, list, map };
  struct member;

  kind is = kind::null;
  int source = 0;  ///< index in `yaml_document::sources`
  int line = 0;
  int column = 0;
  std::string text;    ///< of a scalar
  bool plain = false;  ///< a scalar without quotes, which may be a number or a boolean
  /// A scalar that refers to an environment variable that is not set. It was reported once; whoever
  /// reads it stays silent.
  bool unresolved = false;
  bool from_environment = false;  ///< not to be shown: it may be a secret
  bool secret = false;            ///< stands where secrets do; not to be shown either
  std::vector<yaml_value> items;  ///< of a list
  std::vector<member> members;    ///< of a map, in file order, no key twice

  [[nodiscard]] yaml_value* find(std::string_view key) noexcept;
  [[nodiscard]] const yaml_value* find(std::string_view key) const noexcept;
};

struct yaml_value::member {
  std::string key;
  yaml_value key_at;  ///< a scalar: where the key stands
  yaml_value value;
};

struct yaml_document {
  std::vector<std::string> sources;  ///< file name, then `--set PATH` for each override
  yaml_value root;
  std::vector<diagnostic> diagnostics;

  [[nodiscard]] position place(const yaml_value& of) const {
    return {sources[static_cast<std::size_t>(of.source)], of.line, of.column};
  }
  void report(const yaml_value& at, std::string message) {
    diagnostics.push_back({diagnostic::severity::error, place(at), std::move(message)});
  }
};

/// Reads one YAML document within the bounds of config.h. What is wrong is in the diagnostics; the
/// root then holds what was read before. Tags, merge keys, several documents and keys that are no
/// scalars are refused.
[[nodiscard]] yaml_document read_yaml(std::string_view yaml, const std::string& path);

/// Lays `over` on `base`: maps are merged, anything else is replaced.
void merge_yaml(yaml_value& base, const yaml_value& over);

/// Sets `a.b.0=value` in the document; the value is YAML of one line. Maps on the way are made
/// where they are missing, but an entry of `topics`, `stages` and `sinks` must exist.
void set_yaml(yaml_document& document, const std::string& path, const std::string& value);

/// Replaces `${NAME}`, `${NAME:-default}` and `$$` in all scalars. Names that are not set are
/// reported if `strict`, and mark their scalar as unresolved.
void substitute_environment(yaml_document& document, yaml_value& in, bool strict);

/// The value as JSON text; plain scalars are typed by YAML's core schema. Places of all values by
/// JSON pointer go to `where`.
[[nodiscard]] std::string yaml_to_json(const yaml_document& document, const yaml_value& of,
                                       std::map<std::string, position>& where);

/// File order, each once, at most `diagnostics_max` with a last one that says so.
void tidy_diagnostics(std::vector<diagnostic>& all);

}  // namespace sonder
