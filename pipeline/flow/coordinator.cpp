#include "flow/coordinator.h"

#include <algorithm>
#include <thread>

#include "flow/worker_metrics.h"
#include "observe/log.h"

namespace sonder {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::int32_t steps_before_yield = 16;      // batches of one task before others have their turn
constexpr auto running_step_wait = milliseconds(20); // how long a closing epoch waits for batches that run
constexpr auto poll_wait = milliseconds(10);
constexpr std::int32_t discards_in_a_row_max = 5;
constexpr auto report_interval = milliseconds(100);

double seconds_since(steady_clock::time_point from) {
  return std::chrono::duration<double>(steady_clock::now() - from).count();
}

}  // namespace

coordinator::coordinator(task_context& context, executor& on, const worker_options& options, worker_metrics* observe)
    : context_(context), executor_(on), options_(options), observe_(observe), counts_(context.layout->make()) {}

coordinator::~coordinator() { executor_.wait(); }

status coordinator::start() {
  for (std::int32_t p = 0; p < context_.flow->partitions; ++p) {
    auto made = task::create(context_, p);
    if (!made) return tl::unexpected(made.error());
    tasks_.push_back(std::move(*made));
  }
  return {};
}

std::vector<call_watch*> coordinator::calls() {
  std::vector<call_watch*> all;
  for (auto& t : tasks_) all.push_back(&t->watch());
  return all;
}

void coordinator::schedule(task& t) {
  if (context_.stop.stopping.load(std::memory_order_relaxed) || !t.try_own()) return;
  executor_.submit([this, &t] { run_task(t); });
}

/// One turn of a task, on a thread of the pool that owns it.
void coordinator::run_task(task& t) {
  bool more = true;
  for (std::int32_t i = 0; more && i < steps_before_yield && !context_.stop.stopping.load(std::memory_order_relaxed); ++i) {
    auto outcome = t.step();
    if (!outcome) {
      fail_with(outcome.error());
      t.disown();
      return;
    }
    more = *outcome == step_outcome::progressed;
    if (t.seal_asked.load(std::memory_order_acquire)) t.seal();
  }
  t.disown();
  if (more) schedule(t);
}

void coordinator::schedule_all() {
  for (auto& t : tasks_) schedule(*t);
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
        std::this_thread::sleep_for(std::chrono::microseconds(100));
      }
    }
  }
  for (auto& t : tasks_) {
    if (t->sealed() != nullptr) sealed.push_back(t.get());
  }
}

result<bool> coordinator::commit_epoch() {
  const auto began = steady_clock::now();
  last_commit_ = began;
  // What the last commit wrote is taken in first, so that a task's layers never pile up.
  std::vector<task*> sealed;
  collect(sealed);
  if (sealed.empty()) return false;
  epoch_changes epoch;
  epoch.group = context_.flow->options.name;
  for (auto* t : sealed) t->sealed()->add_to(epoch, *context_.flow, t->partition());
  if (auto ok = context_.on->commit(epoch); !ok) {
    SONDER_TRY(discard(ok.error()));
    return true;
  }
  discards_in_a_row_ = 0;
  ++epochs_committed_;
  const auto now_ms = context_.now_ms();
  for (auto* t : sealed) {
    count(*t->sealed());
    if (observe_ != nullptr) observe_->count(*t->sealed(), now_ms);
    t->committed();
  }
  if (observe_ != nullptr) observe_->epoch_committed(seconds_since(began));
  schedule_all();
  return true;
}

void coordinator::count(const contribution& of) {
  for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i].add(of.counts[i]);
  records_in_ += of.records_in;
  records_out_ += of.records_out;
}

/// The epoch did not come about: everything uncommitted of every task is thrown away, and they start again from what is.
status coordinator::discard(const error& why) {
  ++epochs_discarded_;
  if (observe_ != nullptr) observe_->epoch_discarded();
  if (options_.lines != nullptr) {
    options_.lines->write(log_level::warning, "an epoch could not be committed and is run again", {{"because", why.message}});
  }
  if (why.code == errc::fenced || ++discards_in_a_row_ > discards_in_a_row_max) return tl::unexpected(why);
  for (auto& t : tasks_) {
    while (!t->try_own()) std::this_thread::sleep_for(std::chrono::microseconds(200));
    auto ok = t->reset();
    t->disown();
    if (!ok) return ok;
  }
  std::this_thread::sleep_for(milliseconds(50) * (1 << std::min(discards_in_a_row_, 5)));
  schedule_all();
  return {};
}

/// True if every task is at rest, at the end of its sources, with nothing uncommitted that is worth waiting for.
result<bool> coordinator::idle() {
  for (auto& t : tasks_) {
    // A task that looks whether there is something new is at rest again in a moment.
    const auto until = steady_clock::now() + running_step_wait;
    while (!t->try_own()) {
      if (steady_clock::now() > until) return false;
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
    const bool clean = t->settled();
    auto left = t->lag(true);
    t->disown();
    if (!left) return tl::unexpected(left.error());
    if (!clean || *left > 0) return false;
  }
  return true;
}

void coordinator::report(bool force) {
  if (!force && steady_clock::now() - last_report_ < report_interval) return;
  last_report_ = steady_clock::now();
  std::uint64_t left = 0;
  std::size_t state_bytes = 0;
  for (auto& t : tasks_) {
    if (!t->try_own()) continue;
    if (auto lag = t->lag(false)) left += static_cast<std::uint64_t>(*lag);
    state_bytes += t->state_bytes();
    if (observe_ != nullptr) observe_->sample(*t);
    t->disown();
    schedule(*t);
  }
  if (observe_ != nullptr) observe_->sample(context_.uncommitted_bytes.load(std::memory_order_relaxed), left, state_bytes);
  if (options_.progress) options_.progress({records_in_, records_out_, left, seconds_since(started_)});
}

status coordinator::loop(run_summary& summary) {
  std::uint64_t seen = 0;
  const auto interval = milliseconds(context_.flow->options.commit_interval_ms);
  schedule_all();
  for (;;) {
    const auto asked = options_.stop == nullptr ? 0 : options_.stop->load(std::memory_order_relaxed);
    if (asked > 0) {
      summary.stopped_because = "signal";
      if (asked == 1) return drain();
      context_.stop.cancel = 1;
      return {};
    }
    if (failed()) return {};
    const bool outbox_full = context_.uncommitted_bytes.load(std::memory_order_relaxed) * 2 > context_.flow->options.outbox_bytes_max;
    const bool task_full = context_.epoch_full.exchange(false, std::memory_order_relaxed);
    if (outbox_full || task_full || steady_clock::now() - last_commit_ >= interval) {
      auto done = commit_epoch();
      if (!done) return tl::unexpected(done.error());
    }
    report(false);
    if (options_.until_idle) {
      auto at_rest = idle();
      if (!at_rest) return tl::unexpected(at_rest.error());
      if (*at_rest) {
        summary.stopped_because = "idle";
        return {};
      }
    }
    const auto left = interval - std::chrono::duration_cast<milliseconds>(steady_clock::now() - last_commit_);
    context_.on->wait_for_records(seen, std::clamp(left, milliseconds(1), milliseconds(poll_wait)));
    schedule_all();
  }
}

/// Running batches finish, within a bound; what they made is committed; nothing new is taken up.
status coordinator::drain() {
  if (options_.readiness) options_.readiness(false, "draining");
  context_.stop.stopping.store(true, std::memory_order_relaxed);
  const auto until = steady_clock::now() + milliseconds(context_.flow->options.drain_ms_max);
  for (auto& t : tasks_) {
    while (!t->try_own()) {
      const bool again = options_.stop->load(std::memory_order_relaxed) > 1;
      if (again || steady_clock::now() > until) {
        context_.stop.cancel = 1;
        if (again) return {};
      }
      std::this_thread::sleep_for(milliseconds(1));
    }
    t->disown();
  }
  auto done = commit_epoch();
  if (!done) return tl::unexpected(done.error());
  // A task that was sealed already when the epoch closed has a second part.
  done = commit_epoch();
  return done ? status{} : status(tl::unexpected(done.error()));
}

status coordinator::run(run_summary& summary) {
  started_ = last_commit_ = last_report_ = steady_clock::now();
  if (options_.readiness) options_.readiness(true, "");
  auto ended = loop(summary);
  context_.stop.stopping.store(true, std::memory_order_relaxed);
  if (options_.readiness) options_.readiness(false, "stopped");
  executor_.wait();
  report(true);
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
