#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "cli/allocator.h"
#include "cli/command.h"
#include "sonder/plugin.h"

namespace sonder::cli {

namespace {

const std::string abi = std::to_string(SONDER_ABI_MAJOR) + "." + std::to_string(SONDER_ABI_MINOR);

}  // namespace

std::string version_line() {
  return "sonder " SONDER_VERSION ", plugin ABI " + abi;
}

void add_version(CLI::App& app, chosen_command& chosen) {
  auto* command = app.add_subcommand("version", "Say which program this is");
  const auto json = std::make_shared<bool>(false);
  command->add_flag("--json", *json, "As one JSON object");
  command->footer("Example:\n  sonder version --json");
  command->callback([&chosen, json] {
    chosen = [json] {
      if (*json)
        std::cout << R"({"version":")" << SONDER_VERSION << R"(","abi":")" << abi << R"(","allocator":")" << allocator_name() << "\"}\n";
      else
        std::cout << version_line() << '\n';
      return exit_ok;
    };
  });
}

}  // namespace sonder::cli
