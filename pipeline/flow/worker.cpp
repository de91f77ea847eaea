#include "flow/worker.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <set>
#include <thread>

#include "flow/coordinator.h"
#include "flow/executor.h"
#include "flow/patient_registry.h"
#include "flow/registered_labels.h"
#include "flow/schema_notes.h"
#include "flow/start_wait.h"
#include "flow/worker_metrics.h"
#include "observe/log.h"

namespace sonder {

topic_config as_topic_config(const topic_options& of) {
  topic_config config;
  config.name = of.topic;
  config.partitions = of.partitions;
  config.compacted = of.compact;
  config.log_append_time = of.log_append_time;
  config.retention_ms = of.retention_ms;
  config.retention_bytes = of.retention_bytes;
  return config;
}

namespace {

status prepare_topics(const graph& flow, log& on) {
  for (const auto& topic : flow.options.topics) {
    if (auto ok = on.create_topic(as_topic_config(topic)); !ok) return tl::unexpected(ok.error().at(to_string(topic.at)));
  }
  for (const auto& rekey : flow.rekeys) {
    const auto& inner = flow.sources[static_cast<std::size_t>(rekey.source)].topic;
    if (auto ok = on.create_topic(as_topic_config(inner)); !ok) return tl::unexpected(ok.error().at(to_string(inner.at)));
  }
  return {};
}

/// Schemas of all topics stand in the registry before the first record, so that producers find their ids.
status register_schemas(const graph& flow, schema_registry& schemas) {
  for (const auto& source : flow.sources) {
    if (source.topic.bare) continue;
    const auto& named = source.rekey < 0 ? source : flow.rekeys[static_cast<std::size_t>(source.rekey)].raw;
    const auto subject = named.topic.topic + "-value";
    const auto known = schemas.versions_and_unreadable(subject);
    if (!known) return tl::unexpected(known.error());
    SONDER_TRY(check_registered_labels(named, *known));
    auto id = schemas.register_schema(subject, *source.schema_of);
    if (!id) return tl::unexpected(id.error());
  }
  return {};
}

void wire(task_context& context) {
  const auto& flow = *context.flow;
  context.stage_inputs.resize(flow.edges.size());
  context.sinks_of.resize(flow.edges.size());
  for (std::size_t s = 0; s < flow.stages.size(); ++s) {
    for (std::size_t i = 0; i < flow.stages[s].inputs.size(); ++i) {
      context.stage_inputs[static_cast<std::size_t>(flow.stages[s].inputs[i].edge_in)].emplace_back(s, i);
    }
  }
  for (std::size_t i = 0; i < flow.sinks.size(); ++i) {
    context.sinks_of[static_cast<std::size_t>(flow.sinks[i].edge_in)].push_back(static_cast<int>(i));
  }
}

/// A timer's subject is asked for consent again when it fires, a parked row's when it comes back. No event is there then, only the
/// subject and the time: an authority that reads more than these, or not straight from a topic, cannot be asked.
bool consent_can_be_asked(const graph& flow) {
  for (const auto& authority : flow.stages) {
    if (!authority.authority) continue;
    for (const auto& input : authority.inputs) {
      if (input.edge_out < 0) continue;
      const auto source = flow.edges[static_cast<std::size_t>(input.edge_in)].source;
      const auto* from = source < 0 ? nullptr : &flow.sources[static_cast<std::size_t>(source)];
      bool enough = from != nullptr && from->edge_out == input.edge_in;
      for (const auto slot : input.reads) {
        enough = enough && (slot < 0 || slot == from->subject_slot || slot == from->event_time_slot);
      }
      if (!enough) return false;
    }
  }
  return true;
}

status check_timers(const task_context& context, const stage_node& stage) {
  if (stage.of.timers.empty() || context.consent_can_be_asked) return {};
  return fail(errc::unsupported, to_string(stage.options.at) + ": stage \"" + stage.options.name +
                                     "\" sets timers, but the consent authority cannot be asked when they fire: it reads more than "
                                     "subject and event time, or not from a topic");
}

status make_modules(task_context& context, logger* lines) {
  for (const auto& stage : context.flow->stages) {
    SONDER_TRY(check_timers(context, stage));
    auto module = stage_module::create(stage, context.secrets, lines, *context.calls);
    if (!module) return tl::unexpected(module.error());
    context.modules.push_back(std::move(*module));
  }
  for (const auto& sink : context.flow->sinks) {
    auto plan = sink_plan::compile(*context.flow, sink, *context.schemas, record_bytes_max_of(*context.on, sink.topic.topic));
    if (!plan) return tl::unexpected(plan.error());
    context.sinks.push_back(std::move(*plan));
  }
  return {};
}

std::int64_t system_now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::unique_ptr<executor> make_executor(const graph& flow, bool plain) {
  const auto cores = static_cast<std::int32_t>(std::max(1U, std::thread::hardware_concurrency()));
  // On Kafka an eighth of a task's time goes into asking where its tables end, which holds its thread: measured with two cores, the
  // third thread makes a tenth more records a second.
  const auto that_wait = flow.options.log.kind == "kafka" ? std::max(1, cores / 4) : 0;
  const auto threads = flow.options.threads > 0 ? flow.options.threads : cores + that_wait;
  return plain ? make_plain_executor(threads) : make_tbb_executor(threads);
}

/// Asked to stop before there was anything to do is no failure.
result<run_summary> left_early(const graph& flow, error why) {
  if (why.code != errc::cancelled) return tl::unexpected(std::move(why));
  run_summary summary;
  summary.flow = flow.options.name;
  summary.stopped_because = "signal";
  return summary;
}

}  // namespace

status start_tasks(task_context& context, std::shared_ptr<const graph> flow, log& on, schema_registry& schemas,
                   const worker_options& options) {
  auto secrets = secret_box::read(flow->options);
  if (!secrets) return tl::unexpected(secrets.error());
  context.flow = std::move(flow);
  context.on = &on;
  context.schemas = &schemas;
  context.secrets = *secrets;
  context.lines = options.lines;
  context.layout = std::make_unique<const counts_layout>(*context.flow);
  context.now_ms = options.clock ? options.clock : std::function<std::int64_t()>(&system_now_ms);
  wire(context);
  for (const auto& source : context.flow->sources) {
    const bool global = source.topic.role == topic_role::global;
    context.globals.push_back(global ? std::make_unique<global_table>(on, source.topic, options.lines) : nullptr);
  }
  context.consent_can_be_asked = consent_can_be_asked(*context.flow);
  auto left = stages_left_behind(on, *context.flow);
  if (!left) return tl::unexpected(left.error());
  context.stages_left_behind = std::move(*left);
  for (const auto& topic : context.flow->options.topics) {
    if (topic.name == context.flow->options.dead_letter) context.dead_letter_bytes_max = record_bytes_max_of(on, topic.topic);
  }
  return make_modules(context, options.lines);
}

result<run_summary> run_worker(std::shared_ptr<const graph> flow, log& on, const worker_options& options) {
  start_wait waits(options, flow->options.start_patience_ms);
  if (auto there = waits.until_there("the log's topics", [&] { return prepare_topics(*flow, on); }); !there)
    return left_early(*flow, std::move(there).error());
  std::unique_ptr<schema_registry> of_the_log;
  auto* schemas = options.schemas;
  if (schemas == nullptr) {
    auto opened = open_log_registry(on);
    if (!opened) return tl::unexpected(opened.error());
    of_the_log = std::move(*opened);
    schemas = of_the_log.get();
  }
  const auto& registry = flow->options.log.kafka.registry;
  patient_registry patience(*schemas, {std::chrono::milliseconds(registry.unknown_schema_wait_ms), registry.unknown_schema_stops, registry.url, {}});
  deadline_watch deadlines(options);  // ends after the last module is destroyed
  std::optional<task_context> context_of_tasks;
  const auto prepare = [&]() -> status {
    SONDER_TRY(register_schemas(*flow, *schemas));
    auto& made = context_of_tasks.emplace();
    deadlines.add(made.calls);
    if (options.schemas != nullptr) made.patience = &patience;
    return start_tasks(made, flow, on, options.schemas != nullptr ? patience : *schemas, options);
  };
  if (auto there = waits.until_there("the schema registry", prepare); !there) return left_early(*flow, std::move(there).error());
  auto& context = *context_of_tasks;

  std::unique_ptr<worker_metrics> observe;
  if (options.observe != nullptr) observe = std::make_unique<worker_metrics>(context, *options.observe);
  const auto pool = make_executor(*flow, options.plain_threads);
  coordinator tasks(context, *pool, options, observe.get(), deadlines);
  if (options.lines != nullptr) {
    options.lines->write(log_level::info, "worker runs",
                         {{"flow", flow->options.name},
                          {"tasks", static_cast<std::int64_t>(flow->partitions)},
                          {"stages", static_cast<std::int64_t>(flow->stages.size())}});
  }
  run_summary summary;
  const auto ended = tasks.run(summary);
  if (options.lines != nullptr) {
    options.lines->write(ended ? log_level::info : log_level::error, "worker ends",
                         {{"flow", flow->options.name},
                          {"because", ended ? summary.stopped_because : ended.error().message},
                          {"records_in", static_cast<std::int64_t>(summary.records_in)},
                          {"records_out", static_cast<std::int64_t>(summary.records_out)},
                          {"epochs_committed", static_cast<std::int64_t>(summary.epochs_committed)}});
  }
  if (!ended) return tl::unexpected(ended.error());
  return summary;
}

}  // namespace sonder
