#include "flow/worker_metrics.h"

#include <unistd.h>

#include <chrono>

#include "observe/log.h"

namespace sonder {

worker_metrics::worker_metrics(const task_context& context, metrics& to)
    : context_(context),
      to_(to),
      epoch_(to.histogram_of(metric::epoch_seconds)),
      committed_(to.counter_of(metric::epochs, {"committed"})),
      discarded_(to.counter_of(metric::epochs, {"discarded"})),
      blocked_(to.counter_of(metric::blocked_seconds, {context.flow->options.name})),
      outbox_(to.gauge_of(metric::outbox_bytes)) {
  const auto& flow = *context.flow;
  for (const auto& source : flow.sources) nodes_.push_back(make_node(source.topic.name, "source", {}));
  for (const auto& stage : flow.stages) {
    for (const auto& input : stage.inputs) {
      nodes_.push_back(make_node(stage.options.name, stage.of.inputs[static_cast<std::size_t>(input.port)].name, stage.of.reasons));
    }
    violations_.push_back(&to.counter_of(metric::contract_violations, {stage.of.id, "service"}));
    violations_seen_.emplace_back(static_cast<std::size_t>(flow.partitions), 0);
    auto& counters = plugin_counters_.emplace_back();
    auto& gauges = plugin_gauges_.emplace_back();
    for (const auto& declared : stage.of.metrics) {
      const bool counts = declared.type == manifest_metric_type::counter;
      metric_spec spec{declared.name, counts ? metric_type::counter : metric_type::gauge, declared.unit, declared.help};
      spec.series_max = std::max<std::size_t>(1, declared.label_values.size());
      if (!declared.label.empty()) spec.labels.push_back({declared.label, declared.label_values});
      auto& counter_row = counters.emplace_back();
      auto& gauge_row = gauges.emplace_back();
      if (!to.declare(spec)) continue;  // the start has refused what cannot be declared; another stage of the plugin may have
      if (declared.label.empty()) {
        counts ? counter_row.push_back(&to.counter_of(declared.name)) : gauge_row.push_back(&to.gauge_of(declared.name));
      }
      for (const auto& value : declared.label_values) {
        counts ? counter_row.push_back(&to.counter_of(declared.name, {value}))
               : gauge_row.push_back(&to.gauge_of(declared.name, {value}));
      }
    }
  }
  for (const auto& sink : flow.sinks) nodes_.push_back(make_node(sink.topic.name, "sink", {}));
}

worker_metrics::node worker_metrics::make_node(const std::string& name_of, const std::string& port,
                                               const std::vector<std::string>& reasons) {
  node made{&to_.counter_of(metric::records_in, {name_of, port}),
            &to_.counter_of(metric::records_passed, {name_of, port}),
            &to_.counter_of(metric::records_withheld, {name_of, port}),
            &to_.counter_of(metric::records_emitted, {name_of, port}),
            &to_.counter_of(metric::retries, {name_of}),
            &to_.histogram_of(metric::batch_records, {name_of}),
            &to_.histogram_of(metric::stage_seconds, {name_of}),
            {},
            {},
            "",
            ""};
  made.dropped.resize(host_causes + reasons.size());
  made.dead.resize(host_causes + reasons.size());
  for (std::size_t i = 0; i < reasons.size(); ++i) {
    made.dropped[host_causes + i] = &to_.counter_of(metric::records_dropped, {name_of, port, reasons[i]});
    made.dead[host_causes + i] = &to_.counter_of(metric::records_dead_lettered, {name_of, port, reasons[i]});
  }
  // The host's own causes get their series when they first occur: most never do.
  made.name = name_of;
  made.port = port;
  return made;
}

void worker_metrics::count(const contribution& of, std::int64_t now_ms) {
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    const auto& c = of.counts[i];
    auto& n = nodes_[i];
    n.in->add(static_cast<double>(c.in));
    n.passed->add(static_cast<double>(c.passed));
    n.withheld->add(static_cast<double>(c.withheld));
    n.emitted->add(static_cast<double>(c.emitted));
    n.retries->add(static_cast<double>(c.retries));
    if (c.calls > 0) {
      const auto calls = static_cast<double>(c.calls);
      n.batch->observe(static_cast<double>(c.in) / calls, c.calls);
      n.seconds->observe(static_cast<double>(c.nanoseconds) * 1e-9 / calls, c.calls);
    }
    for (std::size_t r = 0; r < c.dropped.size(); ++r) {
      if (c.dropped[r] == 0) continue;
      if (n.dropped[r] == nullptr) {
        n.dropped[r] = &to_.counter_of(metric::records_dropped, {n.name, n.port, name(static_cast<host_cause>(r))});
      }
      n.dropped[r]->add(static_cast<double>(c.dropped[r]));
    }
    for (std::size_t r = 0; r < c.dead.size(); ++r) {
      if (c.dead[r] == 0) continue;
      if (n.dead[r] == nullptr) {
        n.dead[r] = &to_.counter_of(metric::records_dead_lettered, {n.name, n.port, name(static_cast<host_cause>(r))});
      }
      n.dead[r]->add(static_cast<double>(c.dead[r]));
      if (r < host_causes) {
        to_.counter_of(metric::dead_letters, {name(static_cast<host_cause>(r))}).add(static_cast<double>(c.dead[r]));
      } else {
        to_.counter_of(metric::dead_letters, {"plugin"}).add(static_cast<double>(c.dead[r]));
      }
    }
  }
  blocked_.add(static_cast<double>(of.blocked_ns) * 1e-9);
  if (of.timestamps > 0) {
    const auto mean_ms = static_cast<double>(now_ms) - of.timestamps_ms_sum / static_cast<double>(of.timestamps);
    to_.histogram_of(metric::latency_seconds, {context_.flow->options.name}).observe(mean_ms * 1e-3, of.timestamps);
  }
}

void worker_metrics::epoch_committed(double seconds) {
  epoch_.observe(seconds);
  committed_.add();
}

void worker_metrics::epoch_discarded() { discarded_.add(); }

void worker_metrics::sample(task& t) {
  for (std::size_t s = 0; s < plugin_counters_.size(); ++s) {
    for (const auto& change : t.plugin_metrics(s).series()) {
      if (!change.changed) continue;
      if (change.metric < plugin_counters_[s].size() && change.label_value < plugin_counters_[s][change.metric].size()) {
        plugin_counters_[s][change.metric][change.label_value]->add(change.amount);
      } else if (change.metric < plugin_gauges_[s].size() && change.label_value < plugin_gauges_[s][change.metric].size()) {
        plugin_gauges_[s][change.metric][change.label_value]->set(change.amount);
      }
    }
    t.plugin_metrics(s).clear();
    auto& seen = violations_seen_[s][static_cast<std::size_t>(t.partition())];
    const auto now = t.violations(s);
    if (now > seen) violations_[s]->add(static_cast<double>(now - seen));
    seen = now;
  }
}

void worker_metrics::sample(std::int64_t outbox_bytes, std::uint64_t records_left, std::size_t state_bytes) {
  outbox_.set(static_cast<double>(outbox_bytes));
  to_.gauge_of(metric::source_lag, {context_.flow->options.name}).set(static_cast<double>(records_left));
  to_.gauge_of(metric::store_bytes, {context_.flow->options.name}).set(static_cast<double>(state_bytes));
}

deadline_watch::deadline_watch(std::vector<call_watch*> calls, const worker_options& options)
    : calls_(std::move(calls)), options_(options), thread_([this] { run(); }) {}

deadline_watch::~deadline_watch() {
  {
    std::lock_guard lock(mutex_);
    ending_ = true;
  }
  ended_.notify_all();
  thread_.join();
}

void deadline_watch::run() {
  std::unique_lock lock(mutex_);
  while (!ended_.wait_for(lock, std::chrono::milliseconds(50), [this] { return ending_; })) {
    const auto now = std::chrono::duration_cast<std::chrono::nanoseconds>(
                         std::chrono::steady_clock::now().time_since_epoch()).count();
    for (auto* call : calls_) {
      const auto started = call->started_ns.load(std::memory_order_acquire);
      const auto* stage = call->stage.load(std::memory_order_acquire);
      // Both of one call: another may have begun between the two.
      if (call->started_ns.load(std::memory_order_acquire) != started) continue;
      if (started == 0 || stage == nullptr || now - started < stage->options.deadline_ms * 1'000'000) continue;
      if (options_.readiness) options_.readiness(false, "a call of stage " + stage->options.name + " passed its deadline");
      if (options_.lines != nullptr) {
        options_.lines->write(log_level::error, "a plugin's call passed its deadline; the worker ends, nothing of its epoch is kept",
                              {{"stage", stage->options.name}, {"deadline_ms", stage->options.deadline_ms}});
      }
      _exit(exit_deadline_passed);
    }
  }
}

}  // namespace sonder
