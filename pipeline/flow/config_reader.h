#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "flow/config_yaml.h"

namespace sonder {

/// Reads the members of one map by name, and reports each that has the wrong form where it stands.
/// A member that is missing or was reported leaves its target as it was. `finish` reports the keys
/// that nobody asked for.
class map_reader {
 public:
  /// `what` names the map in messages: `topic "journal"`; `at` is where it is named, such as its
  /// key. A value that is no map is reported at once and reads as empty.
  map_reader(yaml_document& document, const yaml_value& of, const yaml_value& at, std::string what);

  /// Where the values that were read stand go to `where`, by key.
  void note_places(std::map<std::string, position>& where) { where_ = &where; }

  /// The member, or null; an explicit null counts as missing.
  const yaml_value* take(const std::string& key);
  void text(const std::string& key, std::string& to);
  void boolean(const std::string& key, bool& to);
  void whole(const std::string& key, std::int64_t min, std::int64_t max, std::int32_t& to);
  /// `100ms`, `2s`, `5m`, `1h`, `7d`, in milliseconds.
  void duration(const std::string& key, std::int64_t min_ms, std::int64_t max_ms,
                std::int64_t& to_ms);
  /// `64MiB`, `10MB`, `4096`, in bytes.
  void size(const std::string& key, std::int64_t min, std::int64_t max, std::int64_t& to);
  void one_of(const std::string& key, const std::vector<std::string>& choices, std::string& to);
  /// A list of texts; one text alone is a list of one.
  void texts(const std::string& key, std::vector<std::string>& to);
  /// Reports it unless `take` or another reader has found the key; `why` says what it is.
  void require(const std::string& key, const std::string& why);
  void finish();

  void complain(const yaml_value& at, std::string message) {
    document_.report(at, std::move(message));
  }
  [[nodiscard]] const yaml_value& of() const noexcept { return of_; }

 private:
  [[nodiscard]] std::string member_of(const std::string& key) const;
  void wrong(const yaml_value& at, const std::string& key, const std::string& expected);
  std::optional<std::string> scalar(const std::string& key, const std::string& expected);

  yaml_document& document_;
  const yaml_value& of_;
  const yaml_value& at_;
  std::string what_;
  std::vector<std::string> known_;
  std::map<std::string, position>* where_ = nullptr;
};

/// How a value is called in messages: `"many"`, `a list`, `nothing`. Never what came from the
/// environment, nor what stands where secrets do.
[[nodiscard]] std::string found(const yaml_value& v);

/// A number with a unit from a table, in the unit of factor 1; nothing if it is none or too large.
struct unit {
  std::string_view name;
  std::int64_t factor;
};
[[nodiscard]] std::optional<std::int64_t> parse_with_unit(std::string_view text,
                                                          const std::vector<unit>& units);
[[nodiscard]] std::optional<std::int64_t> parse_duration_ms(std::string_view text);
[[nodiscard]] std::optional<std::int64_t> parse_size_bytes(std::string_view text);

}  // namespace sonder
