#include <algorithm>
#include <deque>

#include "flow/row_bytes.h"
#include "flow/task.h"
#include "observe/log.h"

namespace sonder {

std::size_t task::parked() const noexcept {
  std::size_t sum = 0;
  for (const auto& stage : stages_) sum += stage->services().parked().rows();
  for (const auto& left : left_behind_) sum += left->rows();
  return sum;
}

/// Rows that are parked for a stage that the flow has no more would wait for ever: they are refused, unless they are to be given up.
status task::open_left_behind() {
  left_behind_.clear();
  for (const auto& stage : context_.stages_left_behind) {
    auto left = left_parking::open(*context_.on, flow_.options.name, stage, partition_);
    if (!left) return tl::unexpected(left.error());
    const auto rows = (*left)->rows();
    if (rows == 0) continue;
    const auto& given_up = flow_.options.bury_parked_of;
    if (std::find(given_up.begin(), given_up.end(), stage) == given_up.end()) {
      return fail(errc::invalid, flow_.options.file + ": rows wait for stage \"" + stage + "\", which the flow has no more (task " +
                                     std::to_string(partition_) + ": " + std::to_string(rows) + " of them); start it with the stage under " +
                                     "that name until none waits, or give them up as dead letters with run: {bury_parked_of: [" + stage + "]}");
    }
    if (context_.lines != nullptr) {
      context_.lines->write(log_level::warning, "rows that wait for a stage of a former flow are given up as dead letters",
                            {{"stage", stage}, {"partition", static_cast<std::int64_t>(partition_)}, {"rows", static_cast<std::int64_t>(rows)}});
    }
    left_behind_.push_back(std::move(*left));
  }
  return {};
}

/// As many at once as a batch has rows.
status task::bury_left_behind() {
  ++open_->steps;
  ++open_->awaited_steps;
  std::string bytes;
  for (auto& left : left_behind_) {
    std::vector<parked_rows::place> places;
    left->next(static_cast<std::size_t>(rows_max_), places);
    for (const auto& place : places) {
      auto row = left->read(place, bytes);
      if (!row) return tl::unexpected(row.error());
      const auto source = std::find_if(flow_.sources.begin(), flow_.sources.end(), [&](const auto& s) { return s.topic.name == row->topic; });
      SONDER_TRY(bury(source == flow_.sources.end() ? -1 : static_cast<int>(source - flow_.sources.begin()), row->record,
                      left->stage(), name(host_cause::flow_changed)));
      SONDER_TRY(left->remove(place));
    }
    if (!places.empty()) return {};
  }
  return {};
}

/// How many more rows may be parked. One batch may pass the limit by what it emits; nothing is taken up then until there is room.
std::int64_t task::parking_room() const noexcept {
  std::size_t bytes = 0;
  for (const auto& stage : stages_) bytes += stage->services().parked().bytes();
  if (bytes >= static_cast<std::size_t>(flow_.options.parked_bytes_max)) return 0;
  return std::max<std::int64_t>(0, flow_.options.parked_rows_max - static_cast<std::int64_t>(parked()));
}

status task::return_parked() {
  // While there is no room, only what can put nothing more aside further on comes back: the rows of the last stage that has any.
  std::size_t first = 0;
  for (std::size_t s = 0; parking_room() == 0 && s < stages_.size(); ++s) {
    if (stages_[s]->services().parked().rows() > 0) first = s;
  }
  for (std::size_t s = first; s < stages_.size(); ++s) {
    auto& parked = stages_[s]->services().parked();
    if (!parked.any_due(now_ms_)) continue;
    std::vector<parked_rows::place> due;
    parked.due(now_ms_, static_cast<std::size_t>(rows_max_), due);
    ++open_->steps;
    ++open_->awaited_steps;
    SONDER_TRY(return_rows(s, due));
    memory_.clear();
    if (full()) return {};  // what other stages have due is due still at the next step
  }
  return {};
}

/// Runs the stage on rows that are due: the first ones that have their input and topic in common. The rest is due still.
status task::return_rows(std::size_t stage, std::vector<parked_rows::place>& due) {
  auto& parked = stages_[stage]->services().parked();
  std::deque<std::string> bytes;
  std::vector<parked_rows::place> places;
  std::deque<kept_row> kept;
  for (const auto& place : due) {
    SONDER_TRY(parked.read(place.number, bytes.emplace_back()));
    auto row = read_row(as_bytes(bytes.back()));
    if (!row) return tl::unexpected(row.error());
    if (!kept.empty() && (row->form != kept.front().form || row->topic != kept.front().topic)) break;
    if (stages_[stage]->input_of_form(row->form) < 0) {
      if (kept.empty()) return bury_strangers(stage, place, *row);
      break;
    }
    kept.push_back(*row);
    places.push_back(place);
  }
  const auto input = stages_[stage]->input_of_form(kept.front().form);
  const auto source = std::find_if(flow_.sources.begin(), flow_.sources.end(),
                                   [&](const auto& s) { return s.topic.name == kept.front().topic; });
  row_space space;
  space.source = source == flow_.sources.end() ? -1 : static_cast<int>(source - flow_.sources.begin());
  auto& all = memory_.new_base();
  for (const auto& row : kept) {
    all.rows.push_back(space.rows());
    space.record.push_back(&row.record);
    space.event_time_ms.push_back(row.event_time_ms);
    space.subject.push_back(row.subject);
    space.purposes.push_back(row.purposes);
  }
  const auto& edge_in = flow_.edges[static_cast<std::size_t>(flow_.stages[stage].inputs[static_cast<std::size_t>(input)].edge_in)];
  edge_rows rows{&all, {}};
  std::vector<column*> columns;
  for (const auto& column : edge_in.columns) {
    auto nullable = column.of;
    nullable.nullable = true;
    columns.push_back(&memory_.new_column(nullable));
  }
  for (const auto& row : kept) {
    auto from = row.columns;
    for (std::size_t c = 0; c < columns.size(); ++c) SONDER_TRY(take_value(from, edge_in.columns[c].of.type, *columns[c]));
  }
  for (auto* column : columns) rows.slots.push_back({&column->lend(), &all});
  auto& agreed = memory_.new_base();
  agreed.rows = all.rows;
  if (edge_in.consented) SONDER_TRY(drop_disagreed(stage, input, space, places, agreed));
  rows.base = &agreed;
  for (std::size_t c = 0; c < columns.size() && edge_in.consented; ++c) {
    const auto& column = edge_in.columns[c];
    if (column.needs != 0) SONDER_TRY(withhold_column(rows, static_cast<int>(c), column.needs, space, column.of, memory_));
  }
  if (agreed.rows.empty()) return {};
  return run_stage(stage, static_cast<std::size_t>(input), space, rows, {event_time_ms_, now_ms_, INT64_MIN}, {&parked, &places});
}

/// A row that the stage, as it is now, has no input for: its record goes where it can be seen and given again.
status task::bury_strangers(std::size_t stage, const parked_rows::place& at, const kept_row& row) {
  auto& counts = open_->counts[context_.layout->stage_input(stage, 0)];
  ++counts.in;
  counts.bury(host_cause::flow_changed);
  const auto source = std::find_if(flow_.sources.begin(), flow_.sources.end(), [&](const auto& s) { return s.topic.name == row.topic; });
  SONDER_TRY(bury(source == flow_.sources.end() ? -1 : static_cast<int>(source - flow_.sources.begin()), row.record,
                  flow_.stages[stage].options.name, name(host_cause::flow_changed)));
  return stages_[stage]->services().parked().remove(at.number);
}

/// What was agreed to when the row was parked may not hold any longer. It is asked as for the row's own event, so that it can only
/// narrow: a grant that came later, or again after a withdrawal, allows nothing more.
status task::drop_disagreed(std::size_t stage, int input, row_space& space, std::vector<parked_rows::place>& places, row_base& base) {
  auto asked = space;
  std::fill(asked.purposes.begin(), asked.purposes.end(), 0);
  std::vector<std::int32_t> allowed;
  std::vector<std::int32_t> unanswered;
  SONDER_TRY(ask_authority(asked, base, allowed, unanswered));
  auto& counts = open_->counts[context_.layout->stage_input(stage, static_cast<std::size_t>(input))];
  std::size_t at = 0;
  for (const auto row : base.rows) {
    const auto r = static_cast<std::size_t>(row);
    if (at < allowed.size() && allowed[at] == row) {
      ++at;
      space.purposes[r] &= asked.purposes[r];
      continue;
    }
    ++counts.in;
    if (std::find(unanswered.begin(), unanswered.end(), row) == unanswered.end()) {
      counts.drop(host_cause::no_consent);
    } else {
      counts.bury(host_cause::plugin_failed);
      SONDER_TRY(bury(space.source, *space.record[r], flow_.stages[stage].options.name, name(host_cause::plugin_failed)));
    }
    SONDER_TRY(stages_[stage]->services().parked().remove(places[r].number));
  }
  base.rows = std::move(allowed);
  return {};
}

}  // namespace sonder
