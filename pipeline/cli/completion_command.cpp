#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <memory>
#include <string_view>

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

// By the word that help has for its value.
bool is_file(const CLI::Option& option) {
  constexpr std::string_view of_files[] = {"FILE", "DIR", "CONFIG", "CASES", "PLUGIN", ".avsc"};
  const auto word = option.get_positional() ? option.get_name(true) : option.get_type_name();
  return std::any_of(std::begin(of_files), std::end(of_files), [&](auto one) { return word.find(one) != std::string::npos; });
}

// The options after which a value stands, and of those the ones after which it is a file. `here`: a file may stand by itself.
struct places_of_values {
  std::string values, files, here;
};

places_of_values places_in(const CLI::App& of) {
  places_of_values out;
  for (const auto* option : of.get_options()) {
    if (option->get_positional() && is_file(*option)) out.here = "yes";
    if (option->get_items_expected_max() == 0) continue;  // a flag
    for (const auto& name : option->get_lnames()) {
      out.values += " --" + name;
      if (is_file(*option)) out.files += " --" + name;
    }
  }
  return out;
}

void print_cases(const CLI::App& of, const std::string& path) {
  const auto places = places_in(of);
  std::cout << "    \"" << path << "\") words=\"" << words_of(of) << "\" values=\"" << places.values << " \" files=\"" << places.files
            << " \" here=\"" << places.here << "\" ;;\n";
  for (const auto* sub : of.get_subcommands([](const CLI::App*) { return true; }))
    print_cases(*sub, path + (path.empty() ? "" : " ") + sub->get_name());
}

int print_bash(const CLI::App& app) {
  std::cout << R"(# bash completion for sonder; load it with: source <(sonder completion bash)
_sonder() {
  local current="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" path="" word words="" values="" files="" here=""
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
  COMPREPLY=()
  if [[ "$before" == -* && "$values" == *" $before "* ]]; then
    [[ "$files" == *" $before "* ]] && mapfile -t COMPREPLY < <(compgen -f -- "$current")
  elif [[ "$current" == -* || -z "$here" ]]; then
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
