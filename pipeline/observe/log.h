#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <variant>

#include "record/result.h"

namespace sonder {

class counter;

enum class log_level : std::uint8_t { debug, info, warning, error };
[[nodiscard]] std::string_view name(log_level level) noexcept;
[[nodiscard]] result<log_level> parse_log_level(std::string_view name);

/// One named value beside a log line. Names and values are of the program and its configuration (a
/// stage, a topic, an offset, a count), never of a record.
struct log_field {
  std::string_view name;
  std::variant<std::int64_t, double, bool, std::string_view> value;
};

enum class log_form : std::uint8_t {
  automatic,  ///< text on a terminal, JSON lines otherwise
  text,
  json,
};

struct log_options {
  log_level at_least = log_level::info;
  log_form form = log_form::automatic;
  double lines_per_second_max = 100;  ///< sustained; errors included
  double burst_lines_max = 200;
  std::string file;  ///< empty: standard error
};

/// The structured log of a process: one line an event, `message` fixed text, values as fields.
///
///     log.write(log_level::warning, "stage is retried", {{"stage", name}, {"attempt", 2}});
///     12:04:55.120 warning stage is retried stage=sentiment attempt=2
///     {"at":"2026-11-21T12:04:55.120Z","level":"warning","message":"stage is
///     retried","stage":"sentiment","attempt":2}
///
/// Thread-safe. Bounded: a line has at most `line_bytes_max` bytes of message and as many of each
/// value; beyond the rate lines are counted, and the next line that gets through says how many were
/// left out. Writing never fails the caller.
class logger {
 public:
  static constexpr std::size_t line_bytes_max = 1024;

  /// An error only if the file cannot be opened.
  [[nodiscard]] static result<std::unique_ptr<logger>> open(const log_options& options);
  ~logger();
  logger(const logger&) = delete;
  logger& operator=(const logger&) = delete;

  void write(log_level level, std::string_view message,
             std::initializer_list<log_field> fields = {}) noexcept;
  [[nodiscard]] bool wants(log_level level) const noexcept;

  /// Where lines left out are counted from now on; `of` outlives this.
  void count_suppressed(counter& of) noexcept;

 private:
  struct parts;
  explicit logger(std::unique_ptr<parts> p);
  std::unique_ptr<parts> parts_;
};

}  // namespace sonder
