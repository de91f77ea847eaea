#include "flow/coordinator.h"

#include <algorithm>
#include <exception>
#include <thread>

#include "flow/kept_offsets.h"
#include "flow/patient_registry.h"
#include "flow/services.h"
#include "flow/start_wait.h"
#include "flow/store_names.h"
#include "flow/store_versions.h"
#include "flow/topic_watch.h"
#include "flow/worker_metrics.h"
#include "observe/log.h"
#include "record/number_of.h"

namespace sonder {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::int32_t steps_before_yield = 16;      // batches of one task before others have their turn
constexpr auto running_step_wait = milliseconds(20); // how long a closing epoch waits for batches that run
constexpr auto poll_wait = milliseconds(10);
constexpr std::int32_t discards_in_a_row_max = 5;    // where the log does not say that it may work later
constexpr auto back_off_first = milliseconds(50);
constexpr auto back_off_max = milliseconds(2'000);
constexpr auto give_up_wait = milliseconds(1'000);   // how long calls have to answer a cancellation
constexpr auto migration_turn = milliseconds(1'000);  // of stores, before the group is asked again
constexpr auto report_interval = milliseconds(100);
constexpr std::size_t ends_turns = 5;                // reports in which every task's end is asked for once
constexpr auto ends_again = milliseconds(500);       // after a question for them that the log did not answer
constexpr auto drain_told_interval = milliseconds(200);
constexpr auto waits_told_interval = std::chrono::seconds(5);

double seconds_since(steady_clock::time_point from) {
  return std::chrono::duration<double>(steady_clock::now() - from).count();
}

group_request request_of(const task_context& context) {
  const auto& flow = *context.flow;
  group_request request;
  request.group = flow.options.name;
  request.partitions = flow.partitions;
  for (const auto& source : flow.sources) {
    if (source.topic.role != topic_role::global) request.topics.push_back(source.topic.topic);
  }
  for (const auto& rekey : flow.rekeys) request.beside.emplace_back(rekey.raw.topic.topic, rekey.raw.topic.partitions);
  for (const auto& stage : flow.stages) {
    for (auto& name : store_names(stage)) request.stores.push_back(std::move(name));
  }
  for (const auto& stage : context.stages_left_behind) request.stores.push_back(parked_store_of(stage));
  return request;
}

}  // namespace

coordinator::coordinator(task_context& context, executor& on, const worker_options& options, worker_metrics* observe,
                         deadline_watch& deadlines)
    : context_(context), executor_(on), options_(options), observe_(observe), deadlines_(deadlines), counts_(context.layout->make()) {}

coordinator::~coordinator() { executor_.wait(); }

int coordinator::asked_to_stop() const noexcept {
  return options_.stop == nullptr ? 0 : options_.stop->load(std::memory_order_relaxed);
}

/// What the group gave or took since the last look, and tasks whose state has come meanwhile.
status coordinator::follow_group() {
  // No step of the tasks that go on meanwhile touches the stores of one that is not open yet.
  if (not_migrated_) return discard(*std::exchange(not_migrated_, std::nullopt));
  auto event = member_->poll();
  if (!event) return tl::unexpected(event.error());
  switch (event->what) {
    case group_event::kind::none:
      break;
    case group_event::kind::assigned:
      waiting_ = event->partitions;
      assigned_ = true;
      if (observe_ != nullptr) observe_->rebalanced(event->what);
      if (options_.lines != nullptr) {
        options_.lines->write(log_level::info, "tasks are assigned",
                              {{"tasks", static_cast<std::int64_t>(waiting_.size())}, {"because", event->why}});
      }
      break;
    case group_event::kind::revoked:
    case group_event::kind::lost:
      SONDER_TRY(let_go(*event));
      break;
  }
  return open_ready_tasks();
}

status coordinator::open_ready_tasks() {
  std::vector<std::int32_t> still;
  bool answered = true;  // a question that the log does not answer costs a timeout: the other tasks come after the next poll
  for (const auto partition : waiting_) {
    if (!answered) {
      still.push_back(partition);
      continue;
    }
    auto ready = member_->ready(partition);
    if (!ready) return tl::unexpected(ready.error());
    if (!*ready) {
      still.push_back(partition);
      continue;
    }
    const auto smaller = smaller_.find(partition);
    auto kept = check_offsets_kept(context_, partition);
    if (!kept && kept.error().code != errc::unavailable) return kept;
    if (!kept) {
      still.push_back(partition);
      answered = false;
      continue;
    }
    auto stores = bring_stores_up(context_, partition, migration_turn);
    if (!stores && stores.error().code != errc::unavailable) return tl::unexpected(stores.error());
    if (!stores || !stores->current) {
      if (stores) not_migrated_ = std::move(stores->not_committed);
      still.push_back(partition);
      answered = false;
      continue;
    }
    auto calls = std::make_shared<call_watch>();
    deadlines_.add(calls);
    auto made = task::create(context_, partition, smaller == smaller_.end() ? 0 : smaller->second, std::move(calls));
    if (!made && made.error().code != errc::unavailable) return tl::unexpected(made.error());
    if (!made) {
      still.push_back(partition);
      answered = false;
      continue;
    }
    if (smaller != smaller_.end()) smaller_.erase(smaller);
    tasks_.emplace_back(std::move(*made));
    schedule(tasks_.back());
  }
  waiting_ = std::move(still);
  return {};
}

/// The group takes all tasks back. Revoked: running batches finish within `drain_max` or are cancelled, and what is finished is
/// committed once. Lost: others may have the tasks already, so nothing is.
status coordinator::let_go(const group_event& event) {
  const bool revoked = event.what == group_event::kind::revoked;
  const auto began = steady_clock::now();
  rebalance_began_ = began;
  if (observe_ != nullptr) observe_->rebalanced(event.what);
  if (options_.readiness) options_.readiness(false, "its tasks are handed over");
  context_.stop.stopping.store(true, std::memory_order_relaxed);
  if (!revoked) context_.stop.cancel = 1;
  if (!wait_for_running(revoked ? milliseconds(context_.flow->options.drain_ms_max) : give_up_wait)) {
    context_.stop.cancel = 1;
    (void)wait_for_running(give_up_wait);  // what still runs is retired below, and never committed
  }
  status kept;
  // The group waits for all of it: an epoch is begun only as long as one may take (check_log_times reckons with that and one more).
  const auto until = steady_clock::now() + milliseconds(context_.flow->options.log.kafka.transaction_timeout_ms);
  for (int part = 0; revoked && kept && part < 2; ++part) {  // a task that was sealed already has a second part
    if (part > 0 && steady_clock::now() > until) break;
    if (auto done = commit_collected(until); !done) kept = tl::unexpected(done.error());
  }
  if (!kept) ++epochs_discarded_;
  if (options_.lines != nullptr) {
    options_.lines->write(kept ? log_level::info : log_level::warning,
                          revoked ? "tasks are revoked" : "tasks are lost; what was not committed is thrown away",
                          {{"tasks", static_cast<std::int64_t>(tasks_.size() + waiting_.size())},
                           {"because", kept ? event.why : event.why + "; " + kept.error().message},
                           {"seconds", seconds_since(began)}});
  }
  retire_tasks();
  waiting_.clear();
  assigned_ = false;
  discards_in_a_row_ = 0;
  context_.stop.cancel = 0;
  context_.stop.stopping.store(false, std::memory_order_relaxed);
  return member_->release();
}

/// A task whose step still runs ends with it: the work holds it, takes no further step, and seals nothing.
void coordinator::retire_tasks() {
  for (auto& t : tasks_) delayed_by(t->partition(), "");
  for (auto& t : tasks_) t->retired.store(true, std::memory_order_release);
  tasks_.clear();
  lags_.clear();
}

/// True once no task is in a step. No new one is begun meanwhile only if `stop.stopping` is set.
bool coordinator::wait_for_running(milliseconds at_most) {
  const auto until = steady_clock::now() + at_most;
  for (auto& t : tasks_) {
    while (!t->try_own()) {
      if (steady_clock::now() > until || asked_to_stop() > 1) return false;
      std::this_thread::sleep_for(milliseconds(1));
    }
    t->disown();
  }
  return true;
}

/// What tasks are at that have not come to rest: a plugin's call, or else their own work, which asks the log.
std::string coordinator::running_steps() {
  std::string text;
  std::size_t others = 0;
  for (auto& t : tasks_) {
    if (t->try_own()) {
      t->disown();
      continue;
    }
    const auto& call = *t->watch();
    const auto* stage = call.started_ns.load(std::memory_order_acquire) == 0 ? nullptr : call.stage.load(std::memory_order_acquire);
    if (!text.empty()) {
      ++others;
    } else if (stage != nullptr) {
      text = "a plugin's call, of stage \"" + stage->options.name + "\" in task " + std::to_string(t->partition());
    } else {
      text = "task " + std::to_string(t->partition()) + ", which is in no plugin's call: for the log, or for a batch to end";
    }
  }
  return others == 0 ? text : text + ", and " + std::to_string(others) + (others == 1 ? " more task" : " more tasks");
}

/// Says when what keeps the worker from its work changes; `/readyz` and the log have it.
void coordinator::tell_readiness() {
  std::string now;
  if (!assigned_ || !waiting_.empty()) now = member_->waits_for();
  if (now.empty() && !assigned_) now = "its group's assignment";
  if (now.empty() && !waiting_.empty()) now = "state of " + number_of(waiting_.size(), "task");
  if (now.empty()) now = delay();
  if (now.empty()) now = unanswered_;
  if (now.empty() && context_.patience != nullptr) now = context_.patience->waits_for();
  if (now.empty()) now = tables_awaited();
  if (now.empty()) tell_rebalance();
  const bool changed = now.empty() != waits_for_.empty() || last_report_ == started_;
  if (!changed && (now == waits_for_ || steady_clock::now() - waits_told_ < waits_told_interval)) return;
  waits_for_ = now;
  waits_told_ = steady_clock::now();
  if (options_.readiness) options_.readiness(now.empty(), now.empty() ? "" : "waits for " + now);
  if (options_.lines != nullptr && !now.empty()) options_.lines->write(log_level::info, "worker waits", {{"for", now}});
}

/// Events of a task wait until its tables have been applied to where they ended when it was opened.
std::string coordinator::tables_awaited() const {
  std::size_t behind = 0;
  for (const auto& t : tasks_) behind += t->tables_applied() ? 0 : 1;
  if (behind == 0) return {};
  std::string text = "tables of " + std::to_string(behind) + (behind == 1 ? " task" : " tasks") + " to be read to their end";
  const char* between = ": ";
  for (const auto& source : context_.flow->sources) {
    if (source.topic.role != topic_role::table) continue;
    text += between + source.topic.name;
    between = ", ";
  }
  return text;
}

void coordinator::tell_rebalance() {
  if (!rebalance_began_) return;
  const auto took = seconds_since(*rebalance_began_);
  rebalance_began_.reset();
  if (observe_ != nullptr) observe_->rebalance_took(took);
}

void coordinator::schedule(const std::shared_ptr<task>& t) {
  if (context_.stop.stopping.load(std::memory_order_relaxed) || t->retired.load(std::memory_order_acquire) || !t->try_own()) return;
  executor_.submit([this, t] {
    // A library that throws, or memory that ran out, ends the worker: with the task half-way, nothing else is right.
    try {
      run_task(t);
    } catch (const std::exception& e) {
      fail_with({errc::internal, std::string("a step of a task threw: ") + e.what()});
    }
  });
}

/// One turn of a task, on a thread of the pool that owns it.
void coordinator::run_task(const std::shared_ptr<task>& t) {
  const auto may_go_on = [&] {
    return !context_.stop.stopping.load(std::memory_order_relaxed) && !t->retired.load(std::memory_order_acquire);
  };
  bool more = true;
  for (std::int32_t i = 0; more && i < steps_before_yield && may_go_on(); ++i) {
    auto outcome = t->step();
    if (!outcome && outcome.error().code == errc::unavailable) {
      // The log may answer later: the step is done again then, from what is committed.
      if (!t->retired.load(std::memory_order_acquire)) delayed_by(t->partition(), outcome.error().message);
      t->disown();
      return;
    }
    if (!outcome) {
      // Given up because tasks are let go: it starts again from what is committed, or goes with its assignment.
      if (outcome.error().code != errc::cancelled && !t->retired.load(std::memory_order_acquire)) fail_with(outcome.error());
      t->disown();
      return;
    }
    more = *outcome == step_outcome::progressed;
    if (delayed_.load(std::memory_order_relaxed)) delayed_by(t->partition(), "");
    if (more) batches_.fetch_add(1, std::memory_order_relaxed);
    if (t->seal_asked.load(std::memory_order_acquire)) t->seal();
  }
  t->disown();
  if (more) schedule(t);
}

void coordinator::delayed_by(std::int32_t partition, const std::string& why) {
  std::lock_guard lock(failure_mutex_);
  if (why.empty()) {
    delays_.erase(partition);
  } else {
    delays_[partition] = why;
  }
  delayed_.store(!delays_.empty(), std::memory_order_relaxed);
}

std::string coordinator::delay() {
  std::lock_guard lock(failure_mutex_);
  if (delays_.empty()) return {};
  const auto& [partition, why] = *delays_.begin();
  if (partition == every_task) return why;
  const auto others = delays_.size() - 1;
  return "task " + std::to_string(partition) + ": " + why + (others == 0 ? "" : ", and " + std::to_string(others) + " more tasks");
}

void coordinator::schedule_all() {
  for (auto& t : tasks_) schedule(t);
}

void coordinator::fail_with(error e) {
  std::lock_guard lock(failure_mutex_);
  if (failure_ == nullptr) failure_ = std::make_unique<error>(std::move(e));
}

bool coordinator::failed() {
  std::lock_guard lock(failure_mutex_);
  return failure_ != nullptr;
}

/// Tasks at rest are sealed here; running ones are asked to seal at the end of their batch. Those that take longer than
/// `running_step_wait` go into the next epoch: a closing epoch never waits for a slow call.
void coordinator::collect(std::vector<task*>& sealed) {
  std::vector<task*> asked;
  for (auto& t : tasks_) {
    if (t->try_own()) {
      t->seal();
      t->disown();
    } else {
      t->seal_asked.store(true, std::memory_order_release);
      asked.push_back(t.get());
    }
  }
  const auto until = steady_clock::now() + running_step_wait;
  for (auto* t : asked) {
    while (t->seal_asked.load(std::memory_order_acquire) && steady_clock::now() < until && !failed()) {
      if (t->try_own()) {
        t->seal();
        t->disown();
      } else {
        std::this_thread::sleep_for(std::chrono::microseconds(500));
      }
    }
  }
  for (auto& t : tasks_) {
    if (t->sealed() != nullptr) sealed.push_back(t.get());
  }
}

result<bool> coordinator::commit_epoch() {
  auto done = commit_collected();
  if (done) {
    if (*done) schedule_all();
    return done;
  }
  SONDER_TRY(discard(done.error()));
  return true;
}

result<bool> coordinator::commit_collected(steady_clock::time_point until) {
  auto began = steady_clock::now();
  last_commit_ = began;
  // What the last commit wrote is taken in first, so that a task's layers never pile up.
  std::vector<task*> sealed;
  collect(sealed);
  if (sealed.empty()) {
    // What failed has nothing left to try again with: its records have gone.
    if (waiting_.empty() && began - discarded_at_ > back_off_max) delayed_by(every_task, "");
    return false;
  }
  for (std::span<task* const> left(sealed); !left.empty();) {
    const auto count = tasks_that_fit(left);
    SONDER_TRY(commit_epoch_of(left.first(count), began));
    left = left.subspan(count);
    began = steady_clock::now();
    if (!left.empty() && began > until)
      return fail(errc::unavailable, "no time is left for the epochs of " + std::to_string(left.size()) + " more tasks, which run again");
  }
  // Only once all parts are in: one that always fails must come to its end.
  discards_in_a_row_ = 0;
  one_by_one_ = false;
  return true;
}

/// How many of the first tasks make an epoch that the log takes; at least one.
std::size_t coordinator::tasks_that_fit(std::span<task* const> sealed) const {
  const auto limits = context_.on->limits();
  std::size_t bytes = 0;
  std::size_t records = 0;
  std::size_t count = 0;
  for (; count < sealed.size(); ++count) {
    bytes += sealed[count]->sealed()->epoch_bytes();
    records += sealed[count]->sealed()->epoch_records();
    if (count > 0 && (one_by_one_ || bytes > limits.bytes_max || records > limits.records_max)) break;
  }
  return count;
}

status coordinator::commit_epoch_of(std::span<task* const> sealed, steady_clock::time_point began) {
  std::this_thread::sleep_until(log_settled());  // where one follows the other: parts of an epoch, and those of an end
  epoch_changes epoch;
  epoch.group = context_.flow->options.name;
  for (auto* t : sealed) t->sealed()->add_to(epoch, *context_.flow, t->partition());
  if (auto done = context_.on->commit(epoch); !done) {
    too_large_.clear();
    for (auto* t : sealed) too_large_.emplace_back(t->partition(), t->sealed()->rows_max);
    return done;
  }
  committed_at_ = steady_clock::now();
  delayed_by(every_task, "");
  ++epochs_committed_;
  const auto now_ms = context_.now_ms();
  for (auto* t : sealed) {
    count(*t->sealed());
    if (observe_ != nullptr) observe_->count(*t->sealed(), t->partition(), now_ms);
    t->committed();
  }
  if (observe_ != nullptr) observe_->epoch_committed(seconds_since(began));
  return {};
}

/// The log has refused an epoch for its size: the same again would be refused again. Epochs of one task each come first, then batches
/// of half the rows, each alone in its epoch. What is left of a row that alone is too much is for people to decide.
status coordinator::make_smaller(const error& why) {
  if (too_large_.size() > 1) {
    one_by_one_ = true;
    return {};
  }
  const auto [partition, rows] = too_large_.front();
  if (rows > 1) {
    smaller_[partition] = rows / 2;
    return {};
  }
  return fail(errc::capacity, "task " + std::to_string(partition) + " of flow \"" + context_.flow->options.name +
                                  "\": the log takes no epoch of one row's outputs and state alone: " + why.message);
}

void coordinator::count(const contribution& of) {
  for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i].add(of.counts[i]);
  records_in_ += of.records_in;
  records_out_ += of.records_out;
}

/// The epoch did not come about: everything uncommitted of every task is thrown away, and they start again from what is.
status coordinator::discard(const error& why) {
  ++epochs_discarded_;
  ++discards_in_a_row_;
  discarded_at_ = steady_clock::now();
  if (observe_ != nullptr) observe_->epoch_discarded();
  if (options_.lines != nullptr) {
    options_.lines->write(log_level::warning, "an epoch could not be committed and is run again", {{"because", why.message}});
  }
  if (why.code == errc::fenced) return tl::unexpected(why);
  if (why.code == errc::capacity) SONDER_TRY(make_smaller(why));
  if (why.code != errc::unavailable && why.code != errc::capacity && discards_in_a_row_ > discards_in_a_row_max) return tl::unexpected(why);
  delayed_by(every_task, why.message);
  context_.stop.stopping.store(true, std::memory_order_relaxed);
  (void)wait_for_running(give_up_wait);  // what runs longer is retired, and never committed
  for (auto& t : tasks_) waiting_.push_back(t->partition());
  std::sort(waiting_.begin(), waiting_.end());
  retire_tasks();
  context_.stop.stopping.store(false, std::memory_order_relaxed);
  // The log is well where it refuses a size.
  const auto patience = why.code == errc::capacity ? milliseconds(0) : back_off_max;
  const auto until = steady_clock::now() + std::min(back_off_first * (1 << std::min(discards_in_a_row_, 6)), patience);
  while (steady_clock::now() < until && asked_to_stop() == 0) std::this_thread::sleep_for(milliseconds(10));
  SONDER_TRY(member_->restart());
  return open_ready_tasks();
}

/// Idle: every task at rest, at the end of its sources, with nothing uncommitted that is worth waiting for.
result<coordinator::rest> coordinator::at_rest() {
  if (!assigned_ || !waiting_.empty()) return rest::busy;
  // While tasks take up batches there is no need to wait for one that can be looked at: that would wake this thread ten
  // thousand times a second, on a processor that a task could use.
  if (const auto batches = batches_.load(std::memory_order_relaxed); batches != batches_seen_) {
    batches_seen_ = batches;
    return rest::busy;
  }
  auto found = rest::idle;
  for (auto& t : tasks_) {
    // A task that looks whether there is something new is at rest again in a moment.
    const auto until = steady_clock::now() + running_step_wait;
    while (!t->try_own()) {
      if (steady_clock::now() > until) return rest::busy;
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
    if (!t->settled()) found = rest::uncommitted;
    auto left = t->lag(true);
    t->disown();
    if (!left && left.error().code == errc::unavailable) return rest::busy;
    if (!left) return tl::unexpected(left.error());
    if (*left > 0) return rest::busy;
  }
  if (found != rest::idle || context_.flow->rekeys.empty()) return found;
  std::vector<std::int32_t> owned;
  for (const auto& t : tasks_) owned.push_back(t->partition());
  std::sort(owned.begin(), owned.end());
  auto taken = others_took_up(*context_.flow, *context_.on, owned);
  if (!taken && taken.error().code == errc::unavailable) return rest::busy;
  if (!taken) return tl::unexpected(taken.error());
  return *taken ? rest::idle : rest::busy;
}

/// How far tasks are behind, of some of them: asking a log for an end can cost a journey, and an epoch would wait behind all of those.
void coordinator::look_at_ends(bool all) {
  const auto now = steady_clock::now();
  if (tasks_.empty() || (!all && now < ask_ends_from_)) return;
  const auto looks = all ? tasks_.size() : (tasks_.size() + ends_turns - 1) / ends_turns;
  for (std::size_t i = 0; i < looks; ++i) {
    const auto& t = tasks_[next_end_++ % tasks_.size()];
    if (!t->try_own()) continue;
    auto lag = t->lag(false);
    t->disown();
    if (observe_ == nullptr) schedule(t);  // else `report` does, once it has looked at it: one that runs cannot be looked at
    if (!lag) {
      // The log does not answer: asking for the others would take as long each.
      unanswered_ = lag.error().message;
      ask_ends_from_ = steady_clock::now() + ends_again;
      return;
    }
    lags_[t->partition()] = static_cast<std::uint64_t>(*lag);
  }
  unanswered_.clear();
}

void coordinator::report(bool force) {
  const auto now = steady_clock::now();
  if (!force && now - last_report_ < report_interval) return;
  last_report_ = now;
  look_at_ends(force);
  std::uint64_t left = 0;
  std::vector<std::int32_t> owned;
  for (auto& t : tasks_) {
    owned.push_back(t->partition());
    if (const auto known = lags_.find(t->partition()); known != lags_.end()) left += known->second;
    if (observe_ == nullptr || !t->try_own()) continue;
    if (!t->half_way()) observe_->sample(*t);
    t->disown();
    schedule(t);
  }
  if (observe_ != nullptr) {
    observe_->publish(context_.uncommitted_bytes.load(std::memory_order_relaxed), owned);
    const auto applied = std::count_if(tasks_.begin(), tasks_.end(), [](const auto& t) { return t->tables_applied(); });
    observe_->show_tasks(static_cast<std::size_t>(applied), waiting_.size() + tasks_.size() - static_cast<std::size_t>(applied));
  }
  if (options_.progress) options_.progress({records_in_, records_out_, left, seconds_since(started_)});
}

/// From when on the log takes the next epoch without delay.
steady_clock::time_point coordinator::log_settled() const {
  return committed_at_ + std::min(context_.on->limits().settles_in, milliseconds(context_.flow->options.commit_interval_ms) / 2);
}

/// When the open epoch closes: in its time, sooner where it is full, later where the log needs a moment after the last one.
steady_clock::time_point coordinator::epoch_due() const {
  const bool outbox_full = context_.uncommitted_bytes.load(std::memory_order_relaxed) * 2 > context_.flow->options.outbox_bytes_max;
  const bool task_full = context_.epoch_full.load(std::memory_order_relaxed);
  const auto in_its_time = last_commit_ + milliseconds(context_.flow->options.commit_interval_ms);
  return outbox_full || task_full ? log_settled() : std::max(log_settled(), in_its_time);
}

status coordinator::loop(run_summary& summary) {
  std::uint64_t seen = 0;
  const topic_watch topics(*context_.flow, *context_.on, options_.topics_looked_at);
  for (;;) {
    const auto asked = asked_to_stop();
    if (asked > 0) {
      summary.stopped_because = "signal";
      if (asked == 1) return drain();
      context_.stop.cancel = 1;
      return {};
    }
    if (failed()) return {};
    if (auto changed = topics.changed()) return tl::unexpected(std::move(*changed));
    SONDER_TRY(follow_group());
    tell_readiness();
    if (steady_clock::now() >= epoch_due()) {
      context_.epoch_full.store(false, std::memory_order_relaxed);
      auto done = commit_epoch();
      if (!done) return tl::unexpected(done.error());
    }
    report(false);
    if (options_.until_idle) {
      auto found = at_rest();
      if (!found) return tl::unexpected(found.error());
      if (*found == rest::idle) {
        summary.stopped_because = "idle";
        return {};
      }
      if (*found == rest::uncommitted) {
        auto done = commit_epoch();
        if (!done) return tl::unexpected(done.error());
        continue;
      }
    }
    const auto left = std::chrono::duration_cast<milliseconds>(epoch_due() - steady_clock::now());
    context_.on->wait_for_records(seen, std::clamp(left, milliseconds(1), milliseconds(poll_wait)));
    schedule_all();
  }
}

/// Running batches finish, within a bound; what they made is committed; nothing new is taken up.
status coordinator::drain() {
  if (options_.readiness) options_.readiness(false, "draining");
  context_.stop.stopping.store(true, std::memory_order_relaxed);
  const auto until = steady_clock::now() + milliseconds(context_.flow->options.drain_ms_max);
  while (!wait_for_running(std::clamp(std::chrono::duration_cast<milliseconds>(until - steady_clock::now()), milliseconds(1), drain_told_interval))) {
    if (asked_to_stop() > 1) return {};
    if (options_.readiness) options_.readiness(false, "draining, waits for " + running_steps());
    if (steady_clock::now() >= until) context_.stop.cancel = 1;
  }
  if (options_.readiness) options_.readiness(false, "draining, waits for the log to commit what is finished");
  for (int part = 0; part < 2; ++part) {  // a task that was sealed already when the epoch closed has a second part
    auto done = commit_collected();
    if (!done) return tl::unexpected(done.error());
  }
  return {};
}

status coordinator::join() {
  start_wait waits(options_, context_.flow->options.start_patience_ms);
  return waits.until_there("its place in its group", [&]() -> status {
    auto request = request_of(context_);
    request.stop = options_.stop;
    auto joined = context_.on->join(request);
    if (!joined) return tl::unexpected(std::move(joined).error());
    member_ = std::move(*joined);
    return {};
  });
}

status coordinator::run(run_summary& summary) {
  started_ = last_commit_ = last_report_ = steady_clock::now();
  rebalance_began_ = started_;
  auto ended = join();
  if (ended) {
    ended = loop(summary);
  } else if (ended.error().code == errc::cancelled) {
    summary.stopped_because = "signal";
    ended = status();
  }
  context_.stop.stopping.store(true, std::memory_order_relaxed);
  const auto leaves = [&](const std::string& waits_for) {
    if (options_.readiness) options_.readiness(false, waits_for.empty() ? "stopped" : "stopped, waits for " + waits_for);
  };
  leaves(running_steps());
  executor_.wait();
  leaves("the log to tell how far it goes");
  report(true);
  retire_tasks();
  leaves("its group to let it go");
  member_.reset();
  leaves("");
  {
    std::lock_guard lock(failure_mutex_);
    if (failure_ != nullptr && failure_->code != errc::cancelled) ended = tl::unexpected(*failure_);
  }
  summary.flow = context_.flow->options.name;
  summary.ports = context_.layout->named(counts_, summary.unbalanced);
  summary.records_in = records_in_;
  summary.records_out = records_out_;
  summary.epochs_committed = epochs_committed_;
  summary.epochs_discarded = epochs_discarded_;
  summary.seconds = seconds_since(started_);
  if (!ended) summary.stopped_because = ended.error().message;
  return ended;
}

}  // namespace sonder
