#include <algorithm>

#include "flow/row_bytes.h"
#include "flow/stage_call.h"

namespace sonder {

namespace {

std::size_t index_of(const row_base& base, std::int32_t row) {
  const auto at = std::lower_bound(base.rows.begin(), base.rows.end(), row);
  return at != base.rows.end() && *at == row ? static_cast<std::size_t>(at - base.rows.begin()) : base.rows.size();
}

}  // namespace

int stage_runner::input_of_form(std::uint64_t form) const noexcept {
  const auto at = std::find(forms_.begin(), forms_.end(), form);
  return at == forms_.end() ? -1 : static_cast<int>(at - forms_.begin());
}

/// The rows that may go on, without those whose line waits already: these are noted to be parked behind it.
const row_base& stage_runner::without_waiting(call& c, const row_base& base) {
  if (c.park == nullptr || c.park->returning != nullptr || c.park->at->empty()) return base;
  auto& kept = c.memory->new_base();
  for (const auto row : base.rows) {
    (c.park->at->waits(line_of(*c.space, row)) ? c.to_park : kept.rows).push_back(row);
  }
  return c.to_park.empty() ? base : kept;
}

/// Whether a row that asks for a later attempt has had all.
bool stage_runner::exhausted(const call& c, std::int64_t i) const {
  const auto row = static_cast<std::size_t>(c.allowed->rows[static_cast<std::size_t>(i)]);
  const auto before = c.park->returning == nullptr ? 0 : (*c.park->returning)[row].attempts;
  return before + 1 >= stage_.options.attempts_max;
}

/// Whether the call that has just returned handled a row whose line waits since an earlier row of the call: it must be undone.
bool stage_runner::overtaken(const call& c) const {
  std::unordered_set<std::string_view> waiting;
  for (auto i = c.first; i < c.first + c.count; ++i) {
    const auto line = line_of(*c.space, c.allowed->rows[static_cast<std::size_t>(i)]);
    const bool asks = c.verdicts[static_cast<std::size_t>(i)] == SONDER_RETRY_ROW && !exhausted(c, i);
    if (asks && !line.empty()) waiting.insert(line);
    if (!asks && waiting.contains(line)) return true;
  }
  return false;
}

/// Of the call that has just returned: rows to give up, and lines that wait from now on.
void stage_runner::note_retries(call& c) {
  for (auto i = c.first; i < c.first + c.count; ++i) {
    const auto at = static_cast<std::size_t>(i);
    if (c.verdicts[at] != SONDER_RETRY_ROW) continue;
    if (exhausted(c, i)) {
      c.cause[at] = static_cast<std::uint8_t>(host_cause::retries_exhausted) + 1;
      warn_once(host_cause::retries_exhausted, "it asks for a later attempt still after attempts_max");
    } else if (const auto line = line_of(*c.space, c.allowed->rows[at]); !line.empty()) {
      c.stopped.insert(line);
    }
  }
}

/// The rows that this batch settles, counted: those of `base` but for the ones that wait. A row that is withheld from the stage
/// may not overtake its line either.
const row_base& stage_runner::hold_back(call& c, const row_base& base) {
  const auto& allowed = c.allowed->rows;
  const auto asks = [](std::uint8_t v) { return v == SONDER_RETRY_ROW; };
  const row_base* settled = &base;
  std::size_t offered_settled = allowed.size();
  if (!c.all_passed && std::any_of(c.verdicts.begin(), c.verdicts.end(), asks)) {
    auto& chosen = c.memory->new_base();
    std::unordered_set<std::string_view> waiting;
    offered_settled = 0;
    std::size_t at = 0;
    for (const auto row : base.rows) {
      while (at < allowed.size() && allowed[at] < row) ++at;
      const bool offered = at < allowed.size() && allowed[at] == row;
      const auto line = line_of(*c.space, row);
      const bool asking = offered && asks(c.verdicts[at]);
      if (asking && !line.empty()) waiting.insert(line);
      if (asking || waiting.contains(line)) {
        c.to_park.push_back(row);
      } else {
        chosen.rows.push_back(row);
        if (offered) ++offered_settled;
      }
    }
    settled = &chosen;
  }
  c.counts->in += settled->rows.size();
  c.counts->withheld += settled->rows.size() - offered_settled;
  return *settled;
}

/// Rows that came back and are settled are not kept any longer.
status stage_runner::forget_settled(call& c, const row_base& settled) {
  if (c.park == nullptr || c.park->returning == nullptr) return {};
  for (const auto row : settled.rows) SONDER_TRY(c.park->at->remove((*c.park->returning)[static_cast<std::size_t>(row)].number));
  return {};
}

std::int64_t stage_runner::due_ms(const call& c, std::int64_t i, std::int32_t attempts) const {
  const auto& o = stage_.options;
  auto back_off_ms = std::min(o.retry_ms, o.retry_ms_max);
  for (std::int32_t a = 1; a < attempts && back_off_ms < o.retry_ms_max; ++a) back_off_ms = std::min(back_off_ms * 2, o.retry_ms_max);
  const auto wanted = static_cast<std::int64_t>(c.retry_after_ms[static_cast<std::size_t>(i)]);
  return c.times->processing_time_ms + std::min(std::max(wanted, back_off_ms), o.retry_ms_max);
}

/// The row as it came to this stage, with the columns of its edge.
void stage_runner::pack(const call& c, std::int32_t row, std::string& to) const {
  const auto& wiring = stage_.inputs[c.input];
  const auto& edge_in = flow_.edges[static_cast<std::size_t>(wiring.edge_in)];
  std::string columns;
  for (std::size_t i = 0; i < edge_in.columns.size(); ++i) {
    const auto* from = i < c.in->slots.size() ? &c.in->slots[i] : nullptr;
    const bool there = from != nullptr && from->array != nullptr;
    const auto at = there ? index_of(*from->base, row) : 0;
    if (there && at < from->base->rows.size()) {
      append_value(*from->array, static_cast<std::int64_t>(at), edge_in.columns[i].of.type, columns);
    } else {
      columns.push_back('\0');
    }
  }
  const auto r = static_cast<std::size_t>(row);
  kept_row kept;
  kept.form = forms_[c.input];
  if (c.space->source >= 0) kept.topic = flow_.sources[static_cast<std::size_t>(c.space->source)].topic.name;
  kept.record = c.space->record_of(row);
  kept.event_time_ms = c.space->event_time_ms[r];
  kept.subject = c.space->subject[r];
  kept.purposes = c.space->purposes[r];
  kept.columns = as_bytes(columns);
  to.clear();
  write_row(kept, to);
}

/// What was decided holds from here on: later stages and sinks find null in fields that a row's subject has not agreed to give.
status stage_runner::withhold_fields(const call& c, edge_rows& out) const {
  const auto& columns = flow_.edges[static_cast<std::size_t>(stage_.inputs[c.input].edge_out)].columns;
  for (std::size_t i = 0; i < columns.size() && i < out.slots.size(); ++i) {
    if (columns[i].needs == 0) continue;
    SONDER_TRY(withhold_column(out, static_cast<int>(i), columns[i].needs, *c.space, columns[i].of, *c.memory));
  }
  return {};
}

status stage_runner::park_rows(call& c) {
  if (c.to_park.empty()) return {};
  std::sort(c.to_park.begin(), c.to_park.end());
  std::string bytes;
  for (const auto row : c.to_park) {
    const auto line = line_of(*c.space, row);
    const auto i = index_of(*c.allowed, row);
    const bool tried = i < c.allowed->rows.size() && c.skipped[i] == 0;
    const auto* was = c.park->returning == nullptr ? nullptr : &(*c.park->returning)[static_cast<std::size_t>(row)];
    const auto attempts = (was == nullptr ? 0 : was->attempts) + 1;
    const auto due = tried ? due_ms(c, static_cast<std::int64_t>(i), attempts) : c.times->processing_time_ms;
    if (was == nullptr) {
      pack(c, row, bytes);
      auto ok = c.park->at->add(line, bytes, tried ? attempts : 0, due);
      if (!ok && ok.error().code == errc::capacity && buries_what_does_not_fit_) {
        ++c.counts->in;
        c.counts->bury(host_cause::too_large);
        SONDER_TRY((*c.bury)(*c.space, row, name(host_cause::too_large)));
        continue;
      }
      SONDER_TRY(ok);
      ++c.counts->parked;
    } else if (tried) {
      ++c.counts->retries;
      SONDER_TRY(c.park->at->put_off(was->number, attempts, due));
    }
  }
  return {};
}

}  // namespace sonder
