#include <CLI/CLI.hpp>
#include <fstream>
#include <iostream>
#include <memory>
#include <sstream>

#include "cli/command.h"
#include "plugin/plugin_call.h"
#include "plugin/trial.h"

namespace sonder::cli {
namespace {

struct try_options {
  std::string plugin;
  std::string config;
  std::string input = "-";
  bool json = true;
  trial_options trial;
};

// `--config` is JSON where it begins like an object, else the name of a file that holds it.
result<std::string> config_text(const std::string& given) {
  const auto first = given.find_first_not_of(" \t\n");
  if (first == std::string::npos) return std::string("{}");
  if (given[first] == '{') return given;
  std::ifstream file(given);
  if (!file)
    return fail(errc::not_found, "--config " + given + ": no such file, and JSON begins with {");
  std::ostringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

int try_plugin(const try_options& options) {
  auto trial = options.trial;
  auto config = config_text(options.config);
  if (!config) return refuse(exit_cannot_start, config.error());
  trial.config_json = std::move(*config);
  std::ifstream file;
  if (options.input != "-") {
    file.open(options.input);
    if (!file)
      return refuse(exit_cannot_start, options.input + ": cannot be read; is the path right?");
  }
  say_after_crash("the rows of the call are lost");
  const auto done =
      run_trial(options.plugin, trial, options.input == "-" ? std::cin : file, std::cout);
  std::cout.flush();
  if (!done)
    return refuse(done.error().code == errc::unavailable ? exit_failed : exit_cannot_start,
                  done.error());
  if (somebody_looks())
    std::cerr << counted(done->rows, "row") << ": " << grouped(done->passed) << " passed, "
              << grouped(done->dropped) << " dropped, " << grouped(done->dead_lettered)
              << " dead-lettered, " << grouped(done->retried) << " asked for another try\n";
  if (done->unreadable == 0) return exit_ok;
  return refuse(exit_findings, counted(done->unreadable, "row") + " could not be read; each line says why");
}

}  // namespace

void add_try(CLI::App& app, chosen_command& chosen) {
  auto* command = app.add_subcommand(
      "try", "Run JSON rows through one plugin: no log, no consent, nothing kept");
  const auto options = std::make_shared<try_options>();
  command->add_option("PLUGIN.so", options->plugin, "The plugin's library")->required();
  command
      ->add_option("--config", options->config,
                   "Its configuration: a JSON object, or a file that holds one")
      ->type_name("JSON|FILE");
  command
      ->add_option("--input", options->input, "JSON lines, one row each (default: standard input)")
      ->type_name("FILE");
  command->add_option("--port", options->trial.port, "Input port (default: the first for events)")
      ->type_name("NAME");
  command->add_option("--purpose", options->trial.purpose, "Purpose that the stage would serve")
      ->type_name("NAME");
  command->add_option("--batch", options->trial.batch_rows, "Rows in one call")
      ->check(CLI::Range(1, 65536));
  command
      ->add_option("--deadline-ms", options->trial.deadline_ms,
                   "A call that takes longer ends the program with exit code 70")
      ->type_name("MS")
      ->check(CLI::Range(10, 3'600'000));
  command->add_flag("--json", options->json,
                    "Accepted for scripts: the answer is always one JSON object a line");
  command->footer(
      "Answers one line a row, in order: {\"row\":0,\"verdict\":\"pass\",\"columns\":{...}}.\n"
      "Exit codes: 0 done, 1 rows could not be read, 2 usage, 3 cannot start, 4 the plugin cannot go on or broke its contract, "
      "70 a call passed its deadline.\n\n"
      "Example:\n  echo '{\"text\":\"I slept well.\"}' | sonder try "
      "build/release/plugins/sentiment.so");
  command->callback([&chosen, options] { chosen = [options] { return try_plugin(*options); }; });
}

}  // namespace sonder::cli
