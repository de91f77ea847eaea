#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include "cli/command.h"
#include "plugin/config_schema.h"
#include "plugin/plugin_call.h"

namespace {

constexpr auto footer =
    R"(Exit codes: 0 done; 1 done, with findings; 2 wrong usage; 3 cannot start; 4 failed; 70 a plugin call passed its deadline.

Example:
  sonder validate config/quickstart.yaml)";

/// A descriptor that the caller closed would be given to the next file that is opened, and what is printed would go into it.
void fill_closed_descriptors() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (::fcntl(fd, F_GETFD) == -1 && errno == EBADF) static_cast<void>(::open("/dev/null", O_RDWR));  // the lowest free number
  }
}

/// The names, with their dashes, of the options of the command that stands in the line; of the program itself without one.
std::vector<std::string> options_of(const CLI::App& app) {
  const auto chosen = app.get_subcommands();
  if (!chosen.empty()) return options_of(*chosen.front());
  std::vector<std::string> names;
  for (const auto* option : app.get_options()) {
    for (const auto& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

/// Of `ExtrasError`: the first argument that nobody expected, with the nearest option or subcommand.
std::string nearest_argument(const CLI::App& app) {
  for (const auto& argument : app.remaining(true)) {
    if (argument.starts_with("-")) return sonder::did_you_mean(argument.substr(0, argument.find('=')), options_of(app));
    std::vector<std::string> names;
    const auto chosen = app.get_subcommands();
    std::string all;
    for (const auto* command : (chosen.empty() ? app : *chosen.front()).get_subcommands({})) {
      names.push_back(command->get_name());
      all += (all.empty() ? "" : ", ") + names.back();
    }
    const auto nearest = sonder::did_you_mean(argument, names);
    return nearest.empty() && !all.empty() ? "; \"" + argument + "\" is none of: " + all : nearest;
  }
  return {};
}

/// The exit code, unless what was printed went nowhere.
int written(int code) {
  if (!std::cout.flush() && code <= sonder::cli::exit_findings)
    return sonder::cli::refuse(sonder::cli::exit_failed, "standard output cannot be written; is its disk full?");
  return code;
}

/// `help COMMAND` is `COMMAND --help`. As CLI11 takes them: the last first.
std::vector<std::string> arguments_of(int argc, char** argv) {
  std::vector<std::string> all(argv + std::min(argc, 1), argv + argc);
  if (!all.empty() && all.front() == "help") {
    all.erase(all.begin());
    all.emplace_back("--help");
  }
  std::reverse(all.begin(), all.end());
  return all;
}

int parse_and_run(int argc, char** argv) {
  CLI::App app{
      "Sonder: a stream processor for personal text that keeps consent, as workers beside your "
      "topics.",
      "sonder"};
  app.footer(footer);
  app.require_subcommand(1);
  app.set_version_flag("--version", sonder::cli::version_line());
  app.get_formatter()->column_width(34);
  sonder::cli::chosen_command chosen;
  sonder::cli::add_run(app, chosen);
  sonder::cli::add_validate(app, chosen);
  sonder::cli::add_test(app, chosen);
  sonder::cli::add_inspect(app, chosen);
  sonder::cli::add_produce(app, chosen);
  sonder::cli::add_consume(app, chosen);
  sonder::cli::add_topics(app, chosen);
  sonder::cli::add_group(app, chosen);
  sonder::cli::add_reset(app, chosen);
  sonder::cli::add_schemas(app, chosen);
  sonder::cli::add_try(app, chosen);
  sonder::cli::add_demo(app, chosen);
  sonder::cli::add_version(app, chosen);
  sonder::cli::add_completion(app, chosen);
  auto arguments = arguments_of(argc, argv);
  if (!arguments.empty() && !arguments.back().starts_with("-")) {
    const auto& first = arguments.back();
    std::vector<std::string> there;
    for (const auto* command : app.get_subcommands({})) there.push_back(command->get_name());
    if (std::find(there.begin(), there.end(), first) == there.end())
      return sonder::cli::refuse(sonder::cli::exit_usage,
                                 "there is no command \"" + first + "\"" + sonder::did_you_mean(first, there) + "; see sonder --help");
  }
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::ParseError& e) {
    if (const auto nearest = nearest_argument(app); e.get_exit_code() != 0 && !nearest.empty())
      return sonder::cli::refuse(sonder::cli::exit_usage, e.what() + nearest);
    // CLI11 has codes of its own from 100 on; a caller of this program needs to know only that it
    // was the command line.
    return written(app.exit(e) == 0 ? sonder::cli::exit_ok : sonder::cli::exit_usage);
  }
  return written(chosen());
}

}  // namespace

int main(int argc, char** argv) {
  fill_closed_descriptors();
  std::ios::sync_with_stdio(false);
  sonder::say_last_words();
  // Past a limit on file sizes a write fails with EFBIG then, and is reported like a full disk.
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    return parse_and_run(argc, argv);
  } catch (const std::exception& e) {
    // Libraries throw at start (memory, threads, locale); the work itself answers by value.
    return sonder::cli::refuse(sonder::cli::exit_failed, e.what());
  }
}
