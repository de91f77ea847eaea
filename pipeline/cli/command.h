#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "record/result.h"

namespace CLI {
class App;
}

namespace sonder::cli {

/// Exit codes of every command (README.md has the table). `run` also has `exit_deadline_passed` of
/// flow/worker.h.
inline constexpr int exit_ok = 0;
inline constexpr int exit_findings =
    1;  ///< done, and what was asked about does not hold: errors found, a case failed
inline constexpr int exit_usage = 2;  ///< the command line cannot be
inline constexpr int exit_cannot_start =
    3;  ///< a file, folder, topic, plugin or port that is needed cannot be had
inline constexpr int exit_failed = 4;  ///< began, and ended with an error; what was committed stays

/// What the chosen command does; answers the exit code. Set while the command line is parsed,
/// called after.
using chosen_command = std::function<int()>;

// One per file, <name>_command.cpp. Each adds its subcommand with its options, help and example.
void add_run(CLI::App& app, chosen_command& chosen);
void add_validate(CLI::App& app, chosen_command& chosen);
void add_test(CLI::App& app, chosen_command& chosen);
void add_inspect(CLI::App& app, chosen_command& chosen);
void add_produce(CLI::App& app, chosen_command& chosen);
void add_consume(CLI::App& app, chosen_command& chosen);
void add_topics(CLI::App& app, chosen_command& chosen);
void add_group(CLI::App& app, chosen_command& chosen);
void add_reset(CLI::App& app, chosen_command& chosen);
void add_schemas(CLI::App& app, chosen_command& chosen);
void add_try(CLI::App& app, chosen_command& chosen);
void add_demo(CLI::App& app, chosen_command& chosen);
void add_version(CLI::App& app, chosen_command& chosen);
void add_completion(CLI::App& app, chosen_command& chosen);

/// `sonder 1.2.3, plugin ABI 1.0`
[[nodiscard]] std::string version_line();

/// Says what went wrong on standard error and answers `code`.
int refuse(int code, const error& e);
int refuse(int code, std::string_view message);

/// True if standard error is a terminal, where progress may be shown.
[[nodiscard]] bool somebody_looks();

/// One line on standard error that is written over; absent unless somebody looks and `quiet` is
/// false.
class progress_line {
 public:
  explicit progress_line(bool quiet);
  ~progress_line();  ///< leaves a clean line behind
  progress_line(const progress_line&) = delete;
  progress_line& operator=(const progress_line&) = delete;
  void show(const std::string& text);
  void clear();
  [[nodiscard]] bool shown() const noexcept { return on_; }

 private:
  bool on_;
  bool dirty_ = false;
};

/// The whole number with thin groups as people read it: 1,234,567.
[[nodiscard]] std::string grouped(std::uint64_t number);
/// The same with what it counts, named in the singular: `1 record`, `2,000 records`.
[[nodiscard]] std::string counted(std::uint64_t number, const std::string& one);

/// Columns of a table that line up; numbers to the right.
class text_table {
 public:
  explicit text_table(std::vector<std::string> head);
  void add(std::vector<std::string> row);
  [[nodiscard]] std::string text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace sonder::cli
