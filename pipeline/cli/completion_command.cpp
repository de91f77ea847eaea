#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "cli/command.h"

namespace sonder::cli {
namespace {

// The words that may follow a command: its subcommands and options, from the very table that parses
// them.
std::string words_of(const CLI::App& of) {
  std::string out;
  for (const auto* sub : of.get_subcommands([](const CLI::App*) { return true; }))
    out += sub->get_name() + " ";
  for (const auto* option : of.get_options())
    for (const auto& name : option->get_lnames()) out += "--" + name + " ";
  return out;
}

void print_cases(const CLI::App& of, const std::string& path) {
  std::cout << "    \"" << path << "\") words=\"" << words_of(of) << "\" ;;\n";
  for (const auto* sub : of.get_subcommands([](const CLI::App*) { return true; }))
    print_cases(*sub, path + (path.empty() ? "" : " ") + sub->get_name());
}

int print_bash(const CLI::App& app) {
  std::cout << R"(# bash completion for sonder; load it with: source <(sonder completion bash)
_sonder() {
  local current="${COMP_WORDS[COMP_CWORD]}" path="" word words=""
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$word" in
      -*) ;;
      run|validate|test|inspect|produce|consume|topics|group|reset|schemas|try|demo|version|completion) [ -z "$path" ] && path="$word" ;;
      list|show|check) [ "$path" = schemas ] && path="schemas $word" ;;
      bash) [ "$path" = completion ] && path="completion bash" ;;
    esac
  done
  case "$path" in
)";
  print_cases(app, "");
  std::cout << R"(  esac
  if [[ "$current" == -* || -z "$path" || "$path" == schemas || "$path" == completion ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
  else
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
  fi
}
complete -o filenames -F _sonder sonder
)";
  return exit_ok;
}

}  // namespace

void add_completion(CLI::App& app, chosen_command& chosen) {
  auto* command =
      app.add_subcommand("completion", "Print what a shell needs to complete this program's words");
  command->require_subcommand(1);
  command->footer("Example:\n  source <(sonder completion bash)");
  auto* bash = command->add_subcommand("bash", "For bash");
  bash->footer("Example:\n  source <(sonder completion bash)");
  bash->callback([&chosen, &app] { chosen = [&app] { return print_bash(app); }; });
}

}  // namespace sonder::cli
