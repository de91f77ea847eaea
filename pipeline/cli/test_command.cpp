#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/case_file.h"
#include "cli/case_run.h"
#include "cli/command.h"

namespace sonder::cli {
namespace {

struct test_options {
  std::vector<std::string> paths;
  std::string only;
  bool json = false;
  bool quiet = false;
};

// A folder stands for the YAML files in it, by name.
result<std::vector<std::string>> files_of(const std::vector<std::string>& paths) {
  std::vector<std::string> out;
  for (const auto& path : paths) {
    if (!std::filesystem::is_directory(path)) {
      out.push_back(path);
      continue;
    }
    std::vector<std::string> inside;
    for (const auto& entry : std::filesystem::directory_iterator(path))
      if (entry.path().extension() == ".yaml") inside.push_back(entry.path().string());
    if (inside.empty()) return fail(errc::not_found, path + ": holds no .yaml file");
    std::sort(inside.begin(), inside.end());
    out.insert(out.end(), inside.begin(), inside.end());
  }
  return out;
}

void report(const flow_case& of, const std::vector<std::string>& differences,
            const test_options& options) {
  if (options.json) {
    std::cout << nlohmann::ordered_json{{"case", of.name},
                                        {"file", of.file},
                                        {"line", of.line},
                                        {"passed", differences.empty()},
                                        {"differences", differences}}
                     .dump()
              << std::endl;
  } else if (!differences.empty() || !options.quiet) {
    std::cout << (differences.empty() ? "ok    " : "FAILED ") << of.file << ":" << of.line << ": "
              << of.name << '\n';
    for (const auto& difference : differences) std::cout << "      " << difference << '\n';
  }
}

int run_cases(const test_options& options) {
  const auto files = files_of(options.paths);
  if (!files) return refuse(exit_cannot_start, files.error());
  std::size_t run = 0, failed = 0;
  for (const auto& file : *files) {
    const auto cases = read_cases(file);
    if (!cases) return refuse(exit_cannot_start, cases.error());
    for (const auto& one : *cases) {
      if (one.name.find(options.only) == std::string::npos) continue;
      const auto differences = run_case(one);
      if (!differences) return refuse(exit_cannot_start, differences.error());
      report(one, *differences, options);
      ++run;
      if (!differences->empty()) ++failed;
    }
  }
  if (run == 0)
    return refuse(exit_cannot_start, "no case has \"" + options.only + "\" in its name");
  if (!options.json && !options.quiet)
    std::cout << run - failed << " of " << run << (run == 1 ? " case passed\n" : " cases passed\n");
  return failed == 0 ? exit_ok : exit_findings;
}

}  // namespace

void add_test(CLI::App& app, chosen_command& chosen) {
  auto* command =
      app.add_subcommand("test", "Run cases: events in, and what must come out, as text");
  const auto options = std::make_shared<test_options>();
  command->add_option("CASES", options->paths, "YAML files, or folders of them")->required();
  command->add_option("--only", options->only, "Only cases with this in their name")
      ->type_name("TEXT");
  command->add_flag("--json", options->json, "One JSON object a case and line");
  command->add_flag("--quiet", options->quiet, "Only what failed");
  command->footer(
      "Each case runs through the real worker on a log of its own, with fixed secrets. Exit code 1 "
      "if one failed, 70 if a plugin's call passed its deadline.\n\n"
      "Example:\n  sonder test config/cases");
  command->callback([&chosen, options] { chosen = [options] { return run_cases(*options); }; });
}

}  // namespace sonder::cli
