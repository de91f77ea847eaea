#include "flow/worker_metrics.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <span>

#include "flow/store_names.h"
#include "observe/log.h"

namespace sonder {

namespace {

constexpr std::size_t causes_shown_max = 512;  // half of what the metric has room for: the rest is for reasons of plugins

// What each kind of node may bury for by the host's word.
constexpr std::array source_causes = {host_cause::not_framed, host_cause::unknown_schema, host_cause::unreadable_schema,
                                      host_cause::undecodable, host_cause::no_value, host_cause::no_subject,
                                      host_cause::wrong_partition, host_cause::future, host_cause::schema_unanswered};
constexpr std::array rekey_causes = {host_cause::not_framed, host_cause::unknown_schema, host_cause::unreadable_schema,
                                     host_cause::undecodable, host_cause::no_value, host_cause::no_subject,
                                     host_cause::wrong_partition, host_cause::future, host_cause::schema_unanswered,
                                     host_cause::too_large};
constexpr std::array stage_causes = {host_cause::plugin_failed, host_cause::retries_exhausted, host_cause::bad_output,
                                     host_cause::too_large, host_cause::flow_changed};
constexpr std::array sink_causes = {host_cause::missing_value, host_cause::bad_value, host_cause::too_large, host_cause::no_value};

std::span<const host_cause> causes_of(const std::string& port) {
  if (port == "source") return source_causes;
  if (port == "rekey") return rekey_causes;
  if (port == "sink") return sink_causes;
  return stage_causes;
}

}  // namespace

worker_metrics::worker_metrics(const task_context& context, metrics& to)
    : context_(context),
      to_(to),
      epoch_(to.histogram_of(metric::epoch_seconds)),
      rebalance_(to.histogram_of(metric::rebalance_seconds)),
      committed_(to.counter_of(metric::epochs, {"committed"})),
      discarded_(to.counter_of(metric::epochs, {"discarded"})),
      outbox_(to.gauge_of(metric::outbox_bytes)),
      processing_(to.gauge_of(metric::tasks, {"processing"})),
      waiting_(to.gauge_of(metric::tasks, {"waiting"})),
      clients_(*context.on, *context.schemas, to),
      sizes_(*context.flow, *context.on, to) {
  make_nodes();
  show_causes_of_nodes();
  make_gauges();
  for (const auto* event : {"assigned", "revoked", "lost"}) (void)to_.counter_of(metric::rebalances, {event});
}

void worker_metrics::make_nodes() {
  const auto& flow = *context_.flow;
  for (const auto& source : flow.sources) nodes_.push_back(make_node(source.topic.name, "source", {}));
  for (const auto& stage : flow.stages) {
    for (const auto& input : stage.inputs) {
      nodes_.push_back(make_node(stage.options.name, stage.of.inputs[static_cast<std::size_t>(input.port)].name, stage.of.reasons));
    }
    violations_.push_back(&to_.counter_of(metric::contract_violations, {stage.of.id, "service"}));
    module_violations_seen_.push_back(0);
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
      if (!to_.declare(spec)) continue;  // the start has refused what cannot be declared; another stage of the plugin may have
      if (declared.label.empty()) {
        counts ? counter_row.push_back(&to_.counter_of(declared.name)) : gauge_row.push_back(&to_.gauge_of(declared.name));
      }
      for (const auto& value : declared.label_values) {
        counts ? counter_row.push_back(&to_.counter_of(declared.name, {value}))
               : gauge_row.push_back(&to_.gauge_of(declared.name, {value}));
      }
    }
  }
  for (const auto& sink : flow.sinks) nodes_.push_back(make_node(sink.topic.name, "sink", {}));
  for (const auto& rekey : flow.rekeys) nodes_.push_back(make_node(rekey.raw.topic.name, "rekey", {}));
}

void worker_metrics::make_gauges() {
  const auto& flow = *context_.flow;
  const auto add = [&](const std::string& topic, std::string_view role) {
    sources_.push_back({&to_.gauge_of(metric::source_waiting, {topic}), &to_.gauge_of(metric::source_lag, {topic, role}),
                        &to_.gauge_of(metric::source_lag_seconds, {topic, role})});
  };
  for (const auto& source : flow.sources) {
    // An internal topic stands beside the one that it is filled from, under its own name.
    add(source.rekey < 0 ? source.topic.name : source.topic.topic, name(source.topic.role));
  }
  for (const auto& rekey : flow.rekeys) add(rekey.raw.topic.name, "event");
  for (const auto& stage : flow.stages) {
    const auto& name_of = stage.options.name;
    for (const auto& full : store_names(stage)) {
      const auto store = full.substr(name_of.size() + 1);
      stores_.push_back({&to_.gauge_of(metric::store_bytes, {name_of, store, "cache"}),
                         &to_.gauge_of(metric::store_bytes, {name_of, store, "changes"})});
    }
    auto& cells = timers_.emplace_back();
    if (stage.of.timers.empty()) continue;
    cells = {&to_.gauge_of(metric::timers_waiting, {name_of}), &to_.counter_of(metric::timers, {name_of, "fired"}),
             &to_.counter_of(metric::timers, {name_of, "given_up"}), &to_.counter_of(metric::timers, {name_of, "withheld"})};
  }
  for (const auto& sink : flow.sinks) latencies_.push_back(&to_.histogram_of(metric::latency_seconds, {sink.topic.name}));
}

worker_metrics::node worker_metrics::make_node(const std::string& name_of, const std::string& port,
                                               const std::vector<std::string>& reasons) {
  node made{&to_.counter_of(metric::records_in, {name_of, port}),
            &to_.counter_of(metric::records_passed, {name_of, port}),
            &to_.counter_of(metric::records_withheld, {name_of, port}),
            &to_.counter_of(metric::records_emitted, {name_of, port}),
            &to_.counter_of(metric::records_parked, {name_of, port}),
            &to_.counter_of(metric::retries, {name_of}),
            &to_.histogram_of(metric::batch_records, {name_of, port}),
            &to_.histogram_of(metric::stage_seconds, {name_of, port}),
            &to_.counter_of(metric::stage_waiting_seconds, {name_of}),
            port == "source" || port == "rekey" ? &to_.counter_of(metric::records_lost, {name_of, port}) : nullptr,
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
  made.name = name_of;
  made.port = port;
  return made;
}

/// A counter that appears with a figure has no increase yet for those who watch it: the causes that may come are there with 0 from the
/// start. In a flow of very many nodes they appear with their first record, so that sums by node stay apart.
void worker_metrics::show_causes_of_nodes() {
  for (std::size_t i = 0; i < host_causes; ++i) {
    const auto cause = static_cast<host_cause>(i);
    dead_letters_.push_back(cause == host_cause::no_consent ? nullptr : &to_.counter_of(metric::dead_letters, {name(cause)}));
  }
  dead_letters_.push_back(&to_.counter_of(metric::dead_letters, {"plugin"}));
  std::size_t series = 0;
  for (const auto& n : nodes_) series += causes_of(n.port).size();
  if (series > causes_shown_max) return;
  for (auto& n : nodes_) {
    for (const auto cause : causes_of(n.port)) {
      n.dead[static_cast<std::size_t>(cause)] = &to_.counter_of(metric::records_dead_lettered, {n.name, n.port, name(cause)});
    }
  }
}

void worker_metrics::count(const contribution& of, std::int32_t partition, std::int64_t now_ms) {
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    const auto& c = of.counts[i];
    auto& n = nodes_[i];
    n.in->add(static_cast<double>(c.in));
    n.passed->add(static_cast<double>(c.passed));
    n.withheld->add(static_cast<double>(c.withheld));
    n.emitted->add(static_cast<double>(c.emitted));
    n.parked->add(static_cast<double>(c.parked));
    n.retries->add(static_cast<double>(c.retries));
    if (n.lost != nullptr) n.lost->add(static_cast<double>(c.lost));
    n.batch->merge(c.batches.counts(), c.batches.sum());
    n.seconds->merge(c.durations.counts(), c.durations.sum());
    if (c.waited_ns > 0) n.waited->add(static_cast<double>(c.waited_ns) * 1e-9);
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
      auto* total = dead_letters_[std::min(r, host_causes)];
      if (total != nullptr) total->add(static_cast<double>(c.dead[r]));
    }
  }
  for (std::size_t i = 0; i < timers_.size(); ++i) {
    if (timers_[i].waiting == nullptr) continue;
    timers_[i].fired->add(static_cast<double>(of.timers[i].fired));
    timers_[i].given_up->add(static_cast<double>(of.timers[i].given_up));
    timers_[i].withheld->add(static_cast<double>(of.timers[i].withheld));
  }
  for (std::size_t i = 0; i < block_reasons; ++i) {
    if (of.blocked_ns[i] == 0) continue;
    to_.counter_of(metric::blocked_seconds, {std::to_string(partition), name(static_cast<block_reason>(i))})
        .add(static_cast<double>(of.blocked_ns[i]) * 1e-9);
  }
  for (std::size_t i = 0; i < latencies_.size(); ++i) {
    of.ages[i].latencies(now_ms, [&](std::int64_t latency_ms, std::uint64_t records) {
      // A producer's clock may be ahead of ours.
      latencies_[i]->observe(static_cast<double>(std::max<std::int64_t>(0, latency_ms)) * 1e-3, records);
    });
  }
}

void worker_metrics::epoch_committed(double seconds) {
  epoch_.observe(seconds);
  committed_.add();
}

void worker_metrics::epoch_discarded() { discarded_.add(); }

void worker_metrics::rebalanced(group_event::kind what) {
  if (what == group_event::kind::none) return;
  const bool given = what == group_event::kind::assigned;
  to_.counter_of(metric::rebalances, {given ? "assigned" : what == group_event::kind::revoked ? "revoked" : "lost"}).add();
}

void worker_metrics::rebalance_took(double seconds) { rebalance_.observe(seconds); }

void worker_metrics::show_tasks(std::size_t processing, std::size_t waiting) {
  processing_.set(static_cast<double>(processing));
  waiting_.set(static_cast<double>(waiting));
}

void worker_metrics::sample(task& t) {
  count_plugin_metrics(t);
  const auto& flow = *context_.flow;
  auto& figures = tasks_[t.partition()];
  figures.sources.clear();
  figures.stores.clear();
  figures.timers.assign(flow.stages.size(), 0);
  figures.blocked_by = t.blocked_by();
  figures.parked = t.parked();
  for (std::size_t i = 0; i < flow.sources.size(); ++i) figures.sources.push_back(t.backlog(i));
  for (std::size_t i = 0; i < flow.rekeys.size(); ++i) figures.sources.push_back(t.rekey_backlog(i));
  for (std::size_t s = 0; s < flow.stages.size(); ++s) {
    auto& services = t.services(s);
    for (std::size_t i = 0; i < store_names(flow.stages[s]).size(); ++i) figures.stores.push_back(services.store(i));
    if (services.timers() == nullptr) continue;
    // Where the store fails, so does the task's next step, which reports it.
    if (const auto waiting = services.timers()->waiting()) figures.timers[s] = *waiting;
  }
}

void worker_metrics::count_plugin_metrics(task& t) {
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
    auto& of_module = module_violations_seen_[s];
    const auto module_now = context_.modules[s]->services().violations();
    if (module_now > of_module) violations_[s]->add(static_cast<double>(module_now - of_module));
    of_module = module_now;
  }
}

void worker_metrics::publish(std::int64_t outbox_bytes, const std::vector<std::int32_t>& partitions) {
  std::erase_if(tasks_, [&](const auto& one) { return std::find(partitions.begin(), partitions.end(), one.first) == partitions.end(); });
  sizes_.follow(partitions);
  outbox_.set(static_cast<double>(outbox_bytes));
  publish_backlogs(context_.now_ms());
  publish_stages();
}

void worker_metrics::publish_backlogs(std::int64_t now_ms) {
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    double waiting = 0, lag = 0, oldest_s = 0;
    for (const auto& [partition, figures] : tasks_) {
      const auto& behind = figures.sources[i];
      waiting += static_cast<double>(behind.waiting);
      lag += static_cast<double>(behind.records);
      if (behind.records > 0 && behind.oldest_ms) oldest_s = std::max(oldest_s, static_cast<double>(now_ms - *behind.oldest_ms) * 1e-3);
    }
    sources_[i].waiting->set(waiting);
    sources_[i].lag_records->set(lag);
    sources_[i].lag_seconds->set(oldest_s);
  }
}

void worker_metrics::publish_stages() {
  for (std::size_t i = 0; i < stores_.size(); ++i) {
    double cache = 0, changes = 0;
    for (const auto& [partition, figures] : tasks_) {
      cache += static_cast<double>(figures.stores[i].cache_bytes);
      changes += static_cast<double>(figures.stores[i].change_bytes);
    }
    stores_[i].cache->set(cache);
    stores_[i].changes->set(changes);
  }
  for (std::size_t i = 0; i < timers_.size(); ++i) {
    if (timers_[i].waiting == nullptr) continue;
    double waiting = 0;
    for (const auto& [partition, figures] : tasks_) waiting += static_cast<double>(figures.timers[i]);
    timers_[i].waiting->set(waiting);
  }
  double parked = 0;
  for (const auto& [partition, figures] : tasks_) parked += static_cast<double>(figures.parked);
  to_.gauge_of(metric::parked).set(parked);
  for (const auto reason : {block_reason::outbox, block_reason::changes}) {
    const auto blocked = std::count_if(tasks_.begin(), tasks_.end(), [&](const auto& one) { return one.second.blocked_by == reason; });
    to_.gauge_of(metric::blocked_tasks, {name(reason)}).set(static_cast<double>(blocked));
  }
}

deadline_watch::deadline_watch(const worker_options& options) : options_(options), thread_([this] { run(); }) {}

void deadline_watch::add(std::shared_ptr<const call_watch> calls) {
  std::lock_guard lock(mutex_);
  std::erase_if(calls_, [](const auto& one) { return one.use_count() == 1; });
  calls_.push_back(std::move(calls));
}

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
    for (const auto& call : calls_) {
      const auto started = call->started_ns.load(std::memory_order_acquire);
      const auto* stage = call->stage.load(std::memory_order_acquire);
      const auto* function = call->into.load(std::memory_order_acquire);
      // All of one call: another may have begun between the two.
      if (call->started_ns.load(std::memory_order_acquire) != started) continue;
      if (started == 0 || stage == nullptr || now - started < stage->options.deadline_ms * 1'000'000) continue;
      end(*stage, function);
    }
  }
}

void deadline_watch::end(const stage_node& stage, const char* function) const {
  if (options_.readiness) options_.readiness(false, "a call of stage " + stage.options.name + " passed its deadline");
  constexpr auto what = "a plugin's call passed its deadline; the process ends, and what is not committed is not kept";
  const auto plugin = stage.of.id + " " + stage.of.version;
  const auto next = "mend or replace the plugin, or raise stages." + stage.options.name + ".deadline where it needs the time";
  if (options_.lines != nullptr) {
    options_.lines->write(log_level::error, what,
                          {{"stage", stage.options.name}, {"plugin", plugin}, {"call", function},
                           {"deadline_ms", stage.options.deadline_ms}, {"next", next}});
  } else {
    std::fprintf(stderr, "sonder: %s: stage \"%s\", plugin %s, %s, deadline of %lld ms; %s\n", what, stage.options.name.c_str(),
                 plugin.c_str(), function, static_cast<long long>(stage.options.deadline_ms), next.c_str());
  }
  _exit(exit_deadline_passed);
}

}  // namespace sonder
