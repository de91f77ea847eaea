#include <algorithm>

#include "flow/task.h"

namespace sonder {

namespace {

constexpr std::size_t timers_per_step_max = 256;  // of one stage and kind: the rest is due still at the next step

/// Timers come from no record: an empty one, that is there, stands for it.
const log_record nothing{-1, 0, {}, {}, false, true, {}};

/// A space of timers: one row each, of the subject that it was set for, at the time that it was set to.
void fill_space(const std::vector<due_timer>& due, int source, row_space& space, row_base& base) {
  space.source = source;
  for (std::size_t i = 0; i < due.size(); ++i) {
    space.record.push_back(&nothing);
    space.event_time_ms.push_back(due[i].at_ms);
    space.subject.push_back(due[i].subject);
    space.purposes.push_back(0);
    base.rows.push_back(static_cast<std::int32_t>(i));
  }
}

}  // namespace

status task::fire_timers() {
  const auto most = std::min(timers_per_step_max, static_cast<std::size_t>(rows_max_));
  for (std::size_t s = 0; s < stages_.size(); ++s) {
    auto* timers = stages_[s]->services().timers();
    if (timers == nullptr) continue;
    std::vector<due_timer> due;
    SONDER_TRY(timers->due(SONDER_EVENT_TIME, event_time_ms_, most, due));
    SONDER_TRY(timers->due(SONDER_PROCESSING_TIME, now_ms_, most, due));
    if (due.empty()) continue;
    // Gone before they fire, so that a call may set the same timer again.
    for (const auto& timer : due) SONDER_TRY(timers->cancel(timer.subject, timer.timer, timer.tag));
    ++open_->steps;
    // Event time stands still at the end of the sources; a clock goes on for ever, and `--until-idle` does not wait for it.
    if (due.front().kind == SONDER_EVENT_TIME) ++open_->awaited_steps;
    const auto asked = due.size();
    // Before consent is asked for: what is answered stands in this order.
    std::stable_sort(due.begin(), due.end(), [](const auto& a, const auto& b) { return a.timer < b.timer; });
    SONDER_TRY(keep_agreed(s, due));
    open_->timers[s].withheld += asked - due.size();
    if (!due.empty()) SONDER_TRY(fire_stage(s, due));
    memory_.clear();
    if (full()) return {};  // what other stages have due is due still at the next step
  }
  return {};
}

status task::fire_stage(std::size_t stage, std::vector<due_timer>& due) {
  row_space space;
  auto& base = memory_.new_base();
  fill_space(due, flow_.edges[static_cast<std::size_t>(flow_.stages[stage].inputs[0].edge_in)].source, space, base);
  // What the subject agreed to was just asked; emitted rows carry it to the sinks.
  for (std::size_t i = 0; i < due.size(); ++i) space.purposes[i] = timer_purposes_[i];
  const batch_times times{event_time_ms_, now_ms_, INT64_MIN};
  std::vector<emitted_rows> emitted;
  auto counts = open_->counts[context_.layout->stage_input(stage, 0)];
  counts.clear();
  SONDER_TRY(stages_[stage]->fire(due, space, base, times, memory_, counts, emitted));
  const auto given_up = counts.dead[static_cast<std::size_t>(host_cause::plugin_failed)];
  open_->timers[stage].given_up += given_up;
  open_->timers[stage].fired += due.size() - given_up;
  auto& port = open_->counts[context_.layout->stage_input(stage, 0)];
  port.emitted += counts.emitted;
  port.timers_given_up += given_up;
  port.retries += counts.retries;
  port.waited_ns += counts.waited_ns;
  port.batches.add(counts.batches);
  port.durations.add(counts.durations);
  for (const auto& made : emitted) SONDER_TRY(run_emitted(made, space, times));
  return {};
}

/// Asks the consent authority about the subjects of `space`, as for events at its event times, and writes the purposes that hold.
/// `allowed` becomes the rows that it lets pass; all of them, unchanged, where the flow has no authority. `unanswered` those that it
/// fails at.
status task::ask_authority(row_space& space, const row_base& base, std::vector<std::int32_t>& allowed,
                           std::vector<std::int32_t>& unanswered) {
  const auto authority = std::find_if(flow_.stages.begin(), flow_.stages.end(), [](const auto& s) { return s.authority; });
  if (authority == flow_.stages.end()) {
    allowed = base.rows;
    return {};
  }
  const auto a = static_cast<std::size_t>(authority - flow_.stages.begin());
  const auto event = std::find_if(authority->inputs.begin(), authority->inputs.end(), [](const auto& i) { return i.edge_out >= 0; });
  const auto input = static_cast<std::size_t>(event - authority->inputs.begin());
  const auto& edge_in = flow_.edges[static_cast<std::size_t>(event->edge_in)];
  allowed.clear();
  if (edge_in.source < 0) return {};  // it decides about rows that a stage made, which cannot be made up here
  const auto& source = flow_.sources[static_cast<std::size_t>(edge_in.source)];
  space.source = edge_in.source;
  edge_rows rows{&base, {}};
  for (std::size_t c = 0; c < edge_in.columns.size(); ++c) {
    auto& column = memory_.new_column(edge_in.columns[c].of);
    for (std::size_t i = 0; i < base.rows.size(); ++i) {
      if (static_cast<int>(c) == source.subject_slot) {
        if (!column.append_text(space.subject[i])) return fail(errc::capacity, "subjects of one batch pass 2^31-1 bytes");
      } else if (static_cast<int>(c) == source.event_time_slot) {
        const auto at_ms = space.event_time_ms[i];
        column.append_int64(edge_in.columns[c].of.type.id == type_id::timestamp_us ? at_ms * 1000 : at_ms);
      } else {
        column.append_zero();
      }
    }
    rows.slots.push_back({&column.lend(), &base});
  }
  auto counts = open_->counts[context_.layout->stage_input(a, input)];
  edge_rows out;
  std::vector<emitted_rows> emitted;
  SONDER_TRY(stages_[a]->run(input, space, rows, {event_time_ms_, now_ms_, INT64_MIN}, memory_, counts, out, emitted,
                             [&](const row_space&, std::int32_t row, std::string_view) {
                               unanswered.push_back(row);
                               return status{};
                             },
                             nullptr));
  allowed = out.base->rows;
  return {};
}

/// Leaves the timers whose subjects agree to the stage's purpose now: the consent authority is asked as for an event at this
/// moment. Without an authority there is nothing that could allow them, unless the stage has no purpose that needs consent.
status task::keep_agreed(std::size_t stage, std::vector<due_timer>& due) {
  row_space space;
  auto& base = memory_.new_base();
  fill_space(due, -1, space, base);
  for (auto& at_ms : space.event_time_ms) at_ms = now_ms_;
  std::vector<std::int32_t> allowed;
  std::vector<std::int32_t> unanswered;  // of a timer, that is a no: no record is there to bury
  SONDER_TRY(ask_authority(space, base, allowed, unanswered));
  std::vector<due_timer> kept;
  std::vector<std::uint64_t> purposes;
  const auto bit = flow_.stages[stage].purpose_bit;
  for (const auto row : allowed) {
    const auto i = static_cast<std::size_t>(row);
    if (bit >= 0 && (space.purposes[i] >> bit & 1) == 0) continue;
    kept.push_back(std::move(due[i]));
    purposes.push_back(space.purposes[i]);
  }
  due = std::move(kept);
  timer_purposes_ = std::move(purposes);
  return {};
}

}  // namespace sonder
