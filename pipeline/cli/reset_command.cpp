#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/place.h"
#include "flow/graph.h"
#include "flow/reset_plan.h"
#include "record/number_of.h"

namespace sonder::cli {
namespace {

struct reset_options {
  place_options where;
  std::vector<std::string> to;
  bool execute = false;
  bool dry_run = false;  ///< what it is without `execute`, for those who like to say so
  bool keep_state = false;
  bool json = false;
};

std::uint64_t shown(std::int64_t number) {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(0, number));
}

/// Stores by name, over their tasks.
std::vector<reset_clearing> summed(const std::vector<reset_clearing>& of) {
  std::vector<reset_clearing> all;
  for (const auto& one : of) {
    if (all.empty() || all.back().store != one.store) all.push_back({one.store, 0, {}});
    ++all.back().task;  // how many
    all.back().size.entries += one.size.entries;
    all.back().size.bytes += one.size.bytes;
  }
  return all;
}

bool changes_something(const reset_plan& plan) {
  return !plan.moves.empty() || std::any_of(plan.cleared.begin(), plan.cleared.end(), [](const auto& one) { return one.size.entries > 0; });
}

void print_text(const reset_plan& plan, bool done) {
  if (!changes_something(plan)) {
    std::cout << "nothing to change: offsets and state are there already\n";
    return;
  }
  text_table moves({"topic", "kind", "partition", "from", "to", "read again", "skipped"});
  for (const auto& m : plan.moves) {
    moves.add({m.topic, std::string(name(m.is)), std::to_string(m.partition), grouped(shown(m.from)), grouped(shown(m.to)),
               grouped(shown(m.from - m.to)), grouped(shown(m.to - m.from))});
  }
  if (!plan.moves.empty()) std::cout << moves.text() << '\n';
  if (!plan.cleared.empty()) {
    text_table stores({"store cleared", "tasks", "entries", "bytes"});
    for (const auto& one : summed(plan.cleared))
      stores.add({one.store, std::to_string(one.task), grouped(shown(one.size.entries)), grouped(shown(one.size.bytes))});
    std::cout << stores.text() << '\n';
  }
  for (const auto& note : plan.notes) std::cout << "note: " << note << '\n';
  std::cout << (done ? "done\n" : "nothing was changed: --execute does it\n");
}

void print_json(const graph& flow, const reset_plan& plan, const group_state& who, bool done) {
  nlohmann::ordered_json out{{"group", flow.options.name}, {"executed", done}, {"workers", nlohmann::json::array()}};
  for (const auto& one : who.members) out["workers"].push_back(one.client);
  auto& offsets = out["offsets"] = nlohmann::json::array();
  for (const auto& m : plan.moves) {
    offsets.push_back({{"topic", m.topic}, {"kind", name(m.is)}, {"partition", m.partition}, {"from", m.from}, {"to", m.to},
                       {"records_again", shown(m.from - m.to)}, {"records_skipped", shown(m.to - m.from)}});
  }
  auto& cleared = out["cleared"] = nlohmann::json::array();
  for (const auto& one : plan.cleared)
    cleared.push_back({{"store", one.store}, {"task", one.task}, {"entries", one.size.entries}, {"bytes", one.size.bytes}});
  out["records_again"] = plan.records_again;
  out["records_skipped"] = plan.records_skipped;
  out["notes"] = plan.notes;
  std::cout << out.dump() << '\n';
}

/// A worker that is there is named before anything is worked out.
int refuse_workers(const group_state& who, const std::string& group) {
  std::string text = "group \"" + group + "\" has " + number_of(who.members.size(), "worker");
  const char* between = ": ";
  for (const auto& one : who.members) {
    text += between + one.client + " at " + one.host;
    between = ", ";
  }
  return refuse(exit_failed, text + "; stop them first (one that was killed stays for log.session_timeout)");
}

/// Whether a worker of the group has ever committed where it is. What cannot be asked is not complained about here.
bool has_run(const graph& flow, log& on) {
  for (const auto& input : inputs_of(flow)) {
    const auto committed = on.committed(flow.options.name, input.topic);
    if (!committed || std::any_of(committed->begin(), committed->end(), [](std::int64_t offset) { return offset >= 0; })) return true;
  }
  return false;
}

/// As people would type it again, but for the configuration's place, which is nobody else's business.
std::string asked_for(const reset_options& options) {
  std::string words = "--to";
  for (const auto& word : options.to) words += " " + word;
  return options.keep_state ? words + " --keep-state" : words;
}

int reset_group(const reset_options& options) {
  const auto target = parse_reset_target(options.to);
  if (!target) return refuse(exit_usage, target.error());
  const auto where = find_place(options.where);
  if (!where) return refuse(exit_cannot_start, where.error());
  const auto checked = check_flow(*where->flow, false);
  for (const auto& d : checked.diagnostics) {
    if (d.level == diagnostic::severity::error) std::cerr << to_string(d) << '\n';
  }
  if (checked.flow == nullptr) return exit_cannot_start;
  const auto& flow = *checked.flow;
  const auto on = open_to_administer(flow.options, options.execute);
  if (!on) {
    // An embedded log that is to be changed is held by the worker that is in the way.
    const bool held = options.execute && flow.options.log.kind != "kafka" && on.error().code == errc::unavailable;
    return refuse(held ? exit_failed : exit_cannot_start, on.error());
  }
  const auto who = (*on)->describe_group(flow.options.name);
  if (!who) return refuse(exit_failed, who.error());
  if (options.execute && !who->members.empty()) return refuse_workers(*who, flow.options.name);
  if (options.execute) {
    // One that was killed holds the offsets back with its transaction, until another process has its transactional id.
    if (const auto settled = (*on)->commit({.group = flow.options.name}); !settled) return refuse(exit_failed, settled.error());
  }
  const auto plan = plan_reset(flow, **on, *target, options.keep_state);
  if (!plan) return refuse(plan.error().code == errc::invalid ? exit_usage : exit_failed, plan.error());
  if (!options.json && !has_run(flow, **on)) {
    std::cerr << "sonder: warning: group \"" << flow.options.name
              << "\" has committed nothing yet and begins at the beginning anyway; is its name right?\n";
  }
  if (options.execute) {
    if (const auto done = carry_out(*plan, flow, **on, asked_for(options)); !done) return refuse(exit_failed, done.error());
  }
  options.json ? print_json(flow, *plan, *who, options.execute) : print_text(*plan, options.execute);
  if (!options.execute && !who->members.empty() && !options.json)
    std::cout << "while workers run (" << who->members.size() << "), --execute is refused\n";
  return exit_ok;
}

}  // namespace

void add_reset(CLI::App& app, chosen_command& chosen) {
  auto* command = app.add_subcommand("reset", "Move a flow to another place of its input, its state along");
  const auto options = std::make_shared<reset_options>();
  add_flow_place(*command, options->where);
  command->add_option("--to", options->to, "earliest, latest, a time (2026-11-21T12:30:00Z), or TOPIC:PARTITION:OFFSET ...")
      ->type_name("PLACE")
      ->required();
  auto* execute = command->add_flag("--execute", options->execute, "Do it; without, the plan is shown and nothing changes");
  command->add_flag("--dry-run", options->dry_run, "Show the plan only: what happens without --execute")->excludes(execute);
  command->add_flag("--keep-state", options->keep_state, "Leave stores and tables as they are, though what is read again counts twice then");
  command->add_flag("--json", options->json, "One JSON object");
  command->footer(
      "A task that goes back loses its state (stores, timers, parked rows) and reads its tables anew, since both hold what came later; one that "
      "goes forward keeps them. Results that are written stay. No worker may run. What was cut off is finished by the same command; until then workers refuse its tasks.\n\n"
      "Example:\n  sonder reset config/quickstart.yaml --to earliest");
  command->callback([&chosen, options] { chosen = [options] { return reset_group(*options); }; });
}

}  // namespace sonder::cli
