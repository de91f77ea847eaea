#include "flow/task.h"

#include <algorithm>
#include <chrono>
#include <numeric>

namespace sonder {

namespace {

constexpr fetch_limits event_fetch{4096, 2 << 20};
constexpr fetch_limits table_fetch{4096, 1 << 20};
constexpr std::size_t open_bytes_max = 16 << 20;  // of one task's outputs: a log takes only so much for one partition at once
constexpr std::int32_t table_batches_per_step = 16;
constexpr std::chrono::hours offsets_beside_interval(12);  // far below the seven days that brokers keep them by default

std::int64_t steady_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// One batch decoded or encoded: its rows, and the time since `began_ns`.
void observe_batch(node_counts& counts, std::uint64_t rows, std::int64_t began_ns) {
  counts.batches.observe(static_cast<double>(rows));
  counts.durations.observe(static_cast<double>(steady_ns() - began_ns) * 1e-9);
}

bool is_table(const source_node& source) { return source.topic.role == topic_role::table; }
bool is_event(const source_node& source) { return source.topic.role == topic_role::event; }
bool is_global(const source_node& source) { return source.topic.role == topic_role::global; }

}  // namespace

result<std::unique_ptr<task>> task::create(task_context& context, std::int32_t partition, std::int32_t alone_rows,
                                           std::shared_ptr<call_watch> calls) {
  std::unique_ptr<task> made(new task(context, partition, std::move(calls)));
  if (alone_rows > 0) {
    made->alone_ = true;
    made->rows_max_ = std::min(made->rows_max_, alone_rows);
  }
  if (auto ok = made->open(); !ok) return tl::unexpected(ok.error());
  return made;
}

task::task(task_context& context, std::int32_t partition, std::shared_ptr<call_watch> calls)
    : context_(context),
      flow_(*context.flow),
      partition_(partition),
      watch_(std::move(calls)),
      open_(std::make_unique<contribution>(flow_, *context.layout)),
      other_(std::make_unique<contribution>(flow_, *context.layout)),
      rows_max_(flow_.options.batch_rows),
      work_(flow_.edges.size()) {
  for (const auto& stage : flow_.stages) published_.emplace_back(stage.of);
}

task::~task() {
  context_.uncommitted_bytes.fetch_sub(static_cast<std::int64_t>(open_->bytes + other_->bytes), std::memory_order_relaxed);
}

/// Everything that is thrown away with a discarded epoch is made here.
status task::open() {
  sources_.clear();
  stages_.clear();
  sinks_.clear();
  globals_.clear();
  globals_there_ = globals_behind_ = false;
  sealed_next_.assign(flow_.sources.size(), -1);
  offsets_beside_at_.reset();
  for (std::size_t i = 0; i < flow_.sources.size(); ++i) {
    if (is_global(flow_.sources[i])) {
      SONDER_TRY(open_global(i));
      continue;
    }
    auto reader = std::make_unique<source_reader>(flow_, static_cast<int>(i), *context_.on, *context_.schemas, partition_, context_.lines);
    auto committed = context_.on->committed_of(flow_.options.name, flow_.sources[i].topic.topic, partition_);
    if (!committed) return tl::unexpected(committed.error());
    auto from = flow_.sources[i].rekey >= 0
                    ? first_kept(flow_, flow_.sources[i], *context_.on, partition_, *committed, context_.lines)
                    : begin_at(*context_.on, flow_.sources[i].topic.topic, partition_, *committed);
    if (!from) return tl::unexpected(from.error());
    reader->seek(*from, *committed < 0);
    sealed_next_[i] = flow_.sources[i].rekey >= 0 ? std::max<std::int64_t>(0, *committed) : *from;
    if (flow_.sources[i].rekey >= 0) reader->count_lost(*from - sealed_next_[i]);
    sources_.push_back(std::move(reader));
  }
  rekeyer_.reset();
  if (!flow_.rekeys.empty()) {
    auto forwards = rekeyer::open(flow_, *context_.on, *context_.schemas, *context_.layout, partition_, context_.lines);
    if (!forwards) return tl::unexpected(forwards.error());
    rekeyer_ = std::move(*forwards);
  }
  for (const auto& module : context_.modules) {
    auto runner = stage_runner::create(flow_, *module, *context_.on, partition_, context_.stop, *watch_);
    if (!runner) return tl::unexpected(runner.error());
    stages_.push_back(std::move(*runner));
    keeps_timers_ = keeps_timers_ || stages_.back()->services().timers() != nullptr;
  }
  for (std::size_t i = 0; i < context_.sinks.size(); ++i) {
    sinks_.push_back(std::make_unique<sink_writer>(flow_, i, context_.sinks[i], *context_.schemas, partition_));
  }
  auto letters = dead_letter_writer::create(flow_, *context_.schemas, *context_.secrets, partition_,
                                            context_.dead_letter_bytes_max);
  if (!letters) return tl::unexpected(letters.error());
  dead_letters_ = std::move(*letters);
  event_time_ms_ = event_time_kept_ms_ = INT64_MIN;
  if (!stages_.empty()) {
    auto kept = stages_.front()->services().kept_event_time_ms();
    if (!kept) return tl::unexpected(kept.error());
    event_time_ms_ = event_time_kept_ms_ = *kept;
  }
  table_ends_.clear();
  failed_ = false;
  return open_left_behind();
}

status task::reset() {
  context_.uncommitted_bytes.fetch_sub(static_cast<std::int64_t>(open_->bytes), std::memory_order_relaxed);
  context_.uncommitted_bytes.fetch_sub(static_cast<std::int64_t>(other_->bytes), std::memory_order_relaxed);
  sealed_.store(nullptr, std::memory_order_release);
  committed_.store(false, std::memory_order_release);
  seal_asked.store(false, std::memory_order_release);
  open_->clear();
  other_->clear();
  memory_.clear();
  return open();
}

void task::take_in_commit() {
  if (!committed_.load(std::memory_order_acquire)) return;
  for (auto& stage : stages_) stage->services().committed();
  for (auto& left : left_behind_) left->committed();
  if (rows_max_ == flow_.options.batch_rows) alone_ = false;
  context_.uncommitted_bytes.fetch_sub(static_cast<std::int64_t>(other_->bytes), std::memory_order_relaxed);
  other_->clear();
  // In this order: the other way round, `sealed()` would for a moment show what is committed already, and it would be committed
  // again.
  sealed_.store(nullptr, std::memory_order_release);
  committed_.store(false, std::memory_order_release);
}

void task::seal() {
  seal_asked.store(false, std::memory_order_relaxed);
  take_in_commit();
  if (failed_ || sealed_.load(std::memory_order_relaxed) != nullptr) return;
  const bool beside = offsets_beside_are_due();
  if (beside) ++open_->steps;
  if (open_->empty() && !passed_markers(true)) return;
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    if (!is_global(flow_.sources[i])) sealed_next_[i] = open_->next_offsets[i] = sources_[i]->next_offset();
  }
  seal_globals(beside);
  if (rekeyer_ != nullptr) rekeyer_->seal(*open_);
  keep_event_time();
  for (std::size_t i = 0; i < stages_.size(); ++i) {
    stages_[i]->services().seal(open_->state);
    published_[i].take(stages_[i]->services().metrics());
  }
  for (auto& left : left_behind_) left->seal(open_->state);
  std::swap(open_, other_);
  sealed_.store(other_.get(), std::memory_order_release);
}

/// The next offset of a topic has moved over what holds no record. That is committed too: retention may take all of a topic that
/// stands still, and what it takes behind a committed offset looks like a loss when the task is opened again. Records move it as well,
/// which those of a cycle do without end.
bool task::passed_markers(bool of_feedback_too) const noexcept {
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    if (is_global(flow_.sources[i]) || (flow_.sources[i].topic.feedback && !of_feedback_too)) continue;
    if (sources_[i]->next_offset() > sealed_next_[i]) return true;
  }
  return rekeyer_ != nullptr && rekeyer_->passed_markers(of_feedback_too);
}

/// What retention took is behind the task now: that is committed, whether or not a record follows, and counted with that.
void task::count_lost() {
  const auto add = [&](std::size_t node, std::uint64_t lost) {
    if (lost == 0) return;
    open_->counts[node].lost += lost;
    ++open_->steps;
    ++open_->awaited_steps;
  };
  for (std::size_t i = 0; i < sources_.size(); ++i) add(context_.layout->source(i), sources_[i]->take_lost());
  if (rekeyer_ == nullptr) return;
  for (std::size_t r = 0; r < flow_.rekeys.size(); ++r) add(context_.layout->rekey(r), rekeyer_->take_lost(r));
}

/// A group's offsets of topics that its members do not subscribe to, which are those that are forwarded and whole tables, expire on
/// Kafka some days after their last commit, whatever else the group commits (KIP-211; offsets.retention.minutes): they are committed
/// again where nothing has moved them. A clock is read here once an epoch.
bool task::offsets_beside_are_due() {
  if (rekeyer_ == nullptr && globals_.empty()) return false;
  const auto now = std::chrono::steady_clock::now();
  if (offsets_beside_at_ && now - *offsets_beside_at_ < offsets_beside_interval) return false;
  if (!globals_.empty() && !globals_there_) return false;
  offsets_beside_at_ = now;
  return true;
}

/// Event time never goes back, over a restart neither: timers would come late, and the clock that plugins read would differ.
void task::keep_event_time() {
  if (stages_.empty() || event_time_ms_ == event_time_kept_ms_) return;
  // Where a store is full of the epoch's changes, the next epoch keeps it.
  if (stages_.front()->services().keep_event_time_ms(event_time_ms_)) event_time_kept_ms_ = event_time_ms_;
}

result<std::int64_t> task::lag(bool tables) {
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    if ((is_table(flow_.sources[i]) && !tables) || is_global(flow_.sources[i])) continue;
    const bool feedback = flow_.sources[i].topic.feedback;
    if (feedback && tables) continue;
    auto end = sources_[i]->end_offset();
    // What any task has forwarded and committed is waited for, shown or not.
    if (end && tables && flow_.sources[i].rekey >= 0) end = sources_[i]->newest();
    if (!end) return tl::unexpected(end.error());
    if (!feedback) sum += std::max<std::int64_t>(0, *end - sources_[i]->next_offset());
  }
  if (rekeyer_ == nullptr) return sum;
  auto raw = rekeyer_->lag(!tables);
  if (!raw) return tl::unexpected(raw.error());
  return sum + *raw;
}

std::uint64_t task::violations(std::size_t stage) const noexcept {
  const auto& services = stages_[stage]->services();
  return services.violations() + services.metric_violations();
}

/// The open contribution should be committed before more goes into it. After a batch that did not fit, each stands alone in its
/// epoch until batches have their size again.
bool task::full() const noexcept {
  if (open_->bytes > open_bytes_max || ((alone_ || rows_max_ < flow_.options.batch_rows) && !open_->empty())) return true;
  return std::any_of(stages_.begin(), stages_.end(), [](const auto& stage) { return stage->services().full(); });
}

result<step_outcome> task::step() {
  take_in_commit();
  if (failed_) {
    // What is sealed is whole, and decides from where the task starts again.
    if (sealed_.load(std::memory_order_relaxed) != nullptr) return step_outcome::blocked;
    if (auto ok = reset(); !ok) return tl::unexpected(ok.error());
  }
  const bool no_room = full();
  if (no_room) context_.epoch_full.store(true, std::memory_order_relaxed);
  const bool outbox_full = context_.uncommitted_bytes.load(std::memory_order_relaxed) > flow_.options.outbox_bytes_max;
  note_block(outbox_full ? block_reason::outbox : no_room ? block_reason::changes : block_reason::none);
  if (blocked_by_ != block_reason::none) return step_outcome::blocked;
  const auto bytes_before = open_->bytes;
  const bool smallest = rows_max_ == 1 && open_->empty();
  for (auto& stage : stages_) stage->bury_what_does_not_fit(smallest);
  open_->takes_all = smallest;
  open_->rows_max = std::max(open_->rows_max, rows_max_);
  auto outcome = advance();
  if (outcome) count_lost();
  context_.uncommitted_bytes.fetch_add(static_cast<std::int64_t>(open_->bytes - bytes_before), std::memory_order_relaxed);
  if (outcome) {
    if (*outcome == step_outcome::progressed) {
      rows_max_ = std::min(flow_.options.batch_rows, rows_max_ + std::max(1, rows_max_ / 8));
    }
    return outcome;
  }
  failed_ = true;
  if (outcome.error().code != errc::capacity || smallest) return outcome;
  rows_max_ = std::max(1, rows_max_ / 2);
  return step_outcome::progressed;
}

void task::note_block(block_reason why) {
  if (why == blocked_by_) return;
  const auto now_ns = steady_ns();
  if (blocked_by_ != block_reason::none) {
    open_->blocked_ns[static_cast<std::size_t>(blocked_by_)] += static_cast<std::uint64_t>(now_ns - blocked_since_ns_);
  }
  blocked_by_ = why;
  blocked_since_ns_ = now_ns;
}

result<step_outcome> task::advance() {
  now_ms_ = context_.now_ms();
  const auto steps_before = open_->steps;
  if (std::any_of(left_behind_.begin(), left_behind_.end(), [](const auto& left) { return left->rows() > 0; })) {
    if (auto ok = bury_left_behind(); !ok) return tl::unexpected(ok.error());
    return step_outcome::progressed;
  }
  if (!globals_.empty()) {
    auto applied = apply_globals();
    if (!applied) return tl::unexpected(applied.error());
    if (*applied == tables_are::behind) return step_outcome::progressed;
    if (*applied == tables_are::awaited) return open_->steps == steps_before ? step_outcome::idle : step_outcome::progressed;
  }
  // Where as many rows are parked as may be, nothing new is taken up: what is parked is tried on.
  const auto room = parking_room();
  if (rekeyer_ != nullptr && room > 0 && table_ends_.empty()) {
    // One batch for each that is taken up, and none while nothing is: what is forwarded does not run ahead of the stages.
    const auto bury_raw = [&](const record_place& at, const log_record& record, std::string_view cause) {
      return bury(at, record, "rekey", cause);
    };
    SONDER_TRY(rekeyer_->forward(rows_max_, now_ms_, *open_, bury_raw));
    if (full()) return step_outcome::progressed;
  }

  // Events first, then tables up to the end that is asked for after that: a decision that stood before an event was polled is
  // applied before the event is (design section 3, Merging). That may take several steps, in which no event is polled.
  const bool parked_due = std::any_of(stages_.begin(), stages_.end(),
                                      [&](const auto& stage) { return stage->services().parked().any_due(now_ms_); });
  bool fetched = false;
  bool waiting = false;
  for (std::size_t i = 0; i < sources_.size() && room > 0; ++i) {
    if (!is_event(flow_.sources[i])) continue;
    if (table_ends_.empty()) {
      if (auto has = sources_[i]->fill(event_fetch, fetched); !has) return tl::unexpected(has.error());
    }
    waiting = waiting || sources_[i]->waiting() > 0;
  }
  const bool decides = fetched || parked_due || keeps_timers_ || !table_ends_.empty() || !tables_applied_.load(std::memory_order_relaxed);
  if (decides || !waiting) {
    auto applied = decides ? apply_tables() : follow_tables();
    if (!applied) return tl::unexpected(applied.error());
    if (*applied == tables_are::awaited) return open_->steps == steps_before ? step_outcome::idle : step_outcome::progressed;
    if (*applied == tables_are::behind || full()) return step_outcome::progressed;
  }
  if (parked_due) {
    if (auto ok = return_parked(); !ok) return tl::unexpected(ok.error());
    if (full()) return step_outcome::progressed;
  }
  if (waiting) {
    // The event with the lowest timestamp is next; a port with nothing waiting stood at its end just now, and counts as idle.
    std::size_t next = sources_.size();
    std::int64_t until_ms = INT64_MAX;
    for (std::size_t i = 0; i < sources_.size(); ++i) {
      if (!is_event(flow_.sources[i]) || sources_[i]->waiting() == 0) continue;
      const auto head = sources_[i]->head_timestamp_ms();
      if (next == sources_.size() || head < sources_[next]->head_timestamp_ms()) {
        if (next != sources_.size()) until_ms = std::min(until_ms, sources_[next]->head_timestamp_ms());
        next = i;
      } else {
        until_ms = std::min(until_ms, head);
      }
    }
    const auto rows_max = static_cast<std::int32_t>(std::min<std::int64_t>(rows_max_, room));
    if (auto ok = run_batch(next, rows_max, until_ms); !ok) return tl::unexpected(ok.error());
  }
  if (waiting && full()) return step_outcome::progressed;
  if (room > 0) {
    if (auto ok = fire_timers(); !ok) return tl::unexpected(ok.error());
  }
  return open_->steps == steps_before ? step_outcome::idle : step_outcome::progressed;
}

/// Up to the ends, or as far as one step goes: a table can be larger than an epoch may be, and what the log has at its end need not
/// be here yet. No event is decided before all of it is applied.
result<task::tables_are> task::apply_tables() {
  if (table_ends_.empty()) {
    for (std::size_t i = 0; i < sources_.size(); ++i) {
      auto end = is_table(flow_.sources[i]) ? sources_[i]->end_offset() : result<std::int64_t>(-1);
      if (!end) return tl::unexpected(end.error());
      table_ends_.push_back(*end);
    }
  }
  std::int32_t batches = 0;
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    while (sources_[i]->next_offset() < table_ends_[i]) {
      if (batches == table_batches_per_step || (batches > 0 && full())) return tables_are::behind;
      const auto before = sources_[i]->next_offset();
      bool fetched = false;
      auto has = sources_[i]->fill(table_fetch, fetched);
      if (!has) return tl::unexpected(has.error());
      if (*has) {
        if (auto ok = run_batch(i, rows_max_, INT64_MAX); !ok) return tl::unexpected(ok.error());
        if (sources_[i]->next_offset() == before) return tables_are::awaited;  // for a schema
        ++batches;
      } else if (sources_[i]->next_offset() == before) {
        return tables_are::awaited;
      }
    }
  }
  table_ends_.clear();
  tables_applied_.store(true, std::memory_order_relaxed);
  return tables_are::applied;
}

/// While there is nothing to decide: what has come of the tables. To ask where they end would cost a journey at every look.
result<task::tables_are> task::follow_tables() {
  std::int32_t batches = 0;
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    if (!is_table(flow_.sources[i])) continue;
    for (bool fetched = false;; ++batches) {
      if (batches == table_batches_per_step || (batches > 0 && full())) return tables_are::behind;
      const auto before = sources_[i]->next_offset();
      auto has = sources_[i]->fill(table_fetch, fetched);
      if (!has) return tl::unexpected(has.error());
      if (!*has) break;
      if (auto ok = run_batch(i, rows_max_, INT64_MAX); !ok) return tl::unexpected(ok.error());
      if (sources_[i]->next_offset() == before) return tables_are::awaited;  // for a schema
    }
  }
  return tables_are::applied;
}

status task::run_batch(std::size_t source, std::int32_t rows_max, std::int64_t until_ms) {
  const auto& node = flow_.sources[source];
  auto& counts = open_->counts[context_.layout->source(source)];
  const auto in_before = counts.in;
  const auto began_ns = steady_ns();
  SONDER_TRY(sources_[source]->take(rows_max, until_ms, now_ms_, space_, counts,
                                    [&](int from, const log_record& record, std::string_view cause) {
                                      return bury(from, record, "source", cause);
                                    }));
  if (sources_[source]->awaits_schema() && counts.in == in_before) return {};
  observe_batch(counts, counts.in - in_before, began_ns);
  ++open_->steps;
  if (!node.topic.feedback && !is_global(node)) ++open_->awaited_steps;
  if (is_event(node)) {
    if (node.rekey < 0) open_->records_in += counts.in - in_before;
    auto newest_ms = event_time_ms_;
    for (const auto t : space_.event_time_ms) newest_ms = std::max(newest_ms, t);
    event_time_ms_ = newest_ms;
  }
  if (space_.rows() > 0) {
    auto& rows = work_[static_cast<std::size_t>(node.edge_out)];
    auto& all = memory_.new_base();
    all.rows.resize(static_cast<std::size_t>(space_.rows()));
    std::iota(all.rows.begin(), all.rows.end(), 0);
    rows.base = &all;
    rows.slots.clear();
    auto& decoded = sources_[source]->decoded();
    for (std::size_t c = 0; c < decoded.size(); ++c) rows.slots.push_back({&decoded[c].lend(), &all});
    SONDER_TRY(run_edge(node.edge_out, space_, rows, {event_time_ms_, now_ms_, INT64_MIN}));
  }
  memory_.clear();
  return {};
}

status task::run_edge(int edge, row_space& space, edge_rows& rows, const batch_times& times) {
  const auto e = static_cast<std::size_t>(edge);
  // Rows whose consent could not be asked again hold the task instead of being put aside.
  const bool may_return = context_.consent_can_be_asked || !flow_.edges[e].consented;
  for (const auto& [stage, input] : context_.stage_inputs[e]) {
    const auto s = static_cast<std::size_t>(stage);
    auto* parked = may_return ? &stages_[s]->services().parked() : nullptr;
    SONDER_TRY(run_stage(s, static_cast<std::size_t>(input), space, rows, times, {parked, nullptr}));
  }
  for (const auto sink : context_.sinks_of[e]) {
    const auto s = static_cast<std::size_t>(sink);
    auto& counts = open_->counts[context_.layout->sink(s)];
    const auto began_ns = steady_ns();
    SONDER_TRY(sinks_[s]->write(space, rows, memory_, *open_, counts,
                                [&](const row_space& from, std::int32_t row, std::string_view cause) {
                                  return bury(from.source, from.record_of(row), flow_.sinks[s].topic.name, cause);
                                }));
    observe_batch(counts, rows.base->rows.size(), began_ns);
  }
  return {};
}

status task::run_stage(std::size_t stage, std::size_t input, row_space& space, edge_rows& rows, const batch_times& times,
                       const parking& park) {
  const auto& wiring = flow_.stages[stage].inputs[input];
  edge_rows none;
  auto& out = wiring.edge_out < 0 ? none : work_[static_cast<std::size_t>(wiring.edge_out)];
  std::vector<emitted_rows> emitted;
  const auto bury_row = [&](const row_space& from, std::int32_t row, std::string_view cause) {
    return bury(from.source, from.record_of(row), flow_.stages[stage].options.name, cause);
  };
  SONDER_TRY(stages_[stage]->run(input, space, rows, times, memory_, open_->counts[context_.layout->stage_input(stage, input)], out,
                                 emitted, bury_row, park.at == nullptr ? nullptr : &park));
  if (wiring.edge_out >= 0 && !out.base->rows.empty()) SONDER_TRY(run_edge(wiring.edge_out, space, out, times));
  for (const auto& made : emitted) SONDER_TRY(run_emitted(made, space, times));
  return {};
}

/// Emitted rows are a space of their own: each inherits subject, consent and position of the row that it came from.
status task::run_emitted(const emitted_rows& rows, const row_space& from, const batch_times& times) {
  row_space space;
  space.source = from.source;
  auto& all = memory_.new_base();
  for (std::size_t i = 0; i < rows.source_rows.size(); ++i) {
    space.append_from(from, rows.source_rows[i]);
    all.rows.push_back(static_cast<std::int32_t>(i));
  }
  auto& work = work_[static_cast<std::size_t>(rows.edge)];
  work.base = &all;
  work.slots.clear();
  std::vector<ArrowArray> children;
  for (std::int64_t c = 0; c < rows.array->n_children; ++c) {
    children.push_back(*rows.array->children[c]);
    children.back().offset += rows.array->offset;
    children.back().length = rows.array->length;
  }
  for (const auto& child : children) work.slots.push_back({&child, &all});
  return run_edge(rows.edge, space, work, times);
}

status task::bury(int source, const log_record& record, std::string_view stage, std::string_view cause) {
  if (source >= 0 && !sources_[static_cast<std::size_t>(source)]->buries(record)) return {};
  // A timer's rows that stand behind emitted ones come from no topic.
  const auto at = source < 0 ? record_place{{}, partition_, record.offset} : sources_[static_cast<std::size_t>(source)]->place_of(record);
  return bury(at, record, stage, cause);
}

status task::bury(const record_place& at, const log_record& record, std::string_view stage, std::string_view cause) {
  if (dead_letters_ == nullptr) {
    const auto topic = at.topic.empty() ? std::string("a timer") : std::string(at.topic);
    return fail(errc::invalid, topic + "[" + std::to_string(at.partition) + "]@" + std::to_string(at.offset) + ", " + std::string(stage) +
                                   ": " + std::string(cause) +
                                   "; the flow has no dead-letter topic, so it stops: add one or mend the record");
  }
  return dead_letters_->write({at, &record, stage, cause}, now_ms_, *open_);
}

}  // namespace sonder
