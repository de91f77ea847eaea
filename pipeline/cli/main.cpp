#include <CLI/CLI.hpp>
#include <algorithm>
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

int parse_and_run(int argc, char** argv) {
  CLI::App app{
      "Sonder: a stream processor for personal text that keeps consent, as workers beside your "
      "topics.",
      "sonder"};
  app.footer(footer);
  app.require_subcommand(1);
  app.get_formatter()->column_width(34);
  sonder::cli::chosen_command chosen;
  sonder::cli::add_run(app, chosen);
  sonder::cli::add_validate(app, chosen);
  sonder::cli::add_test(app, chosen);
  sonder::cli::add_inspect(app, chosen);
  sonder::cli::add_produce(app, chosen);
  sonder::cli::add_consume(app, chosen);
  sonder::cli::add_topics(app, chosen);
  sonder::cli::add_schemas(app, chosen);
  sonder::cli::add_try(app, chosen);
  sonder::cli::add_demo(app, chosen);
  sonder::cli::add_version(app, chosen);
  sonder::cli::add_completion(app, chosen);
  if (argc > 1 && argv[1][0] != '-') {
    std::vector<std::string> there;
    for (const auto* command : app.get_subcommands({})) there.push_back(command->get_name());
    if (std::find(there.begin(), there.end(), argv[1]) == there.end())
      return sonder::cli::refuse(sonder::cli::exit_usage,
                                 "there is no command \"" + std::string(argv[1]) + "\"" +
                                     sonder::did_you_mean(argv[1], there) + "; see sonder --help");
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    // CLI11 has codes of its own from 100 on; a caller of this program needs to know only that it
    // was the command line.
    return app.exit(e) == 0 ? sonder::cli::exit_ok : sonder::cli::exit_usage;
  }
  return chosen();
}

}  // namespace

int main(int argc, char** argv) {
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
