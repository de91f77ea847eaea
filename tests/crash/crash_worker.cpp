// One worker process of the crash test: prepares a data folder, runs a flow on it until idle, or dies at a named step of a commit.
//
//   crash_worker prepare FLOW.yaml DATA EVENTS.jsonl CONSENTS.jsonl
//   crash_worker run FLOW.yaml DATA CLOCK [STEP COUNT]   dies by SIGKILL the COUNTth time that a write reaches STEP
//   crash_worker finish FLOW.yaml DATA CLOCK             runs it to the end and tells what there is then: events, outputs, state and
//                                                        offsets as JSON lines, in one order
//
// CLOCK is the time, in ms, at which it starts by its own clock.

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <thread>

#include "avro/decode_plan.h"
#include "avro/encode_plan.h"
#include "avro/framing.h"
#include "avro/json.h"
#include "flow/schema_notes.h"
#include "flow/services.h"
#include "flow/store_names.h"
#include "flow/timers.h"
#include "flow/worker.h"
#include "log/embedded/embedded_log.h"

namespace sonder {
namespace {

template <class T>
T must(result<T> r) {
  if (!r) throw std::runtime_error(r.error().message);
  if constexpr (!std::is_void_v<T>) return std::move(*r);
}

std::shared_ptr<const graph> load_flow(const std::string& path) {
  auto parsed = parse_flow(path, {});
  std::string findings;
  for (const auto& d : parsed.diagnostics) findings += to_string(d) + "\n";
  if (!parsed.options) throw std::runtime_error(findings);
  parsed.options->plugin_dirs.push_back(std::string(std::getenv("SONDER_BUILD_DIR")) + "/plugins");
  parsed.options->plugin_dirs.push_back(std::string(std::getenv("SONDER_BUILD_DIR")) + "/testing_plugins");
  auto checked = check_flow(*parsed.options, true);
  for (const auto& d : checked.diagnostics) findings += to_string(d) + "\n";
  if (checked.flow == nullptr) throw std::runtime_error(findings);
  return checked.flow;
}

std::unique_ptr<embedded_log> open(const std::string& folder, const std::string& step, int count) {
  embedded_options options;
  options.fsync = false;  // a killed process takes nothing from the page cache; power cuts are not tested here
  options.maintenance_interval = std::chrono::milliseconds(0);
  if (!step.empty()) {
    auto left = std::make_shared<std::atomic<int>>(count);
    options.on_step = [left, step](std::string_view at) {
      if (at == step && left->fetch_sub(1) == 1) kill(getpid(), SIGKILL);
    };
  }
  return must(open_embedded_log(folder, std::move(options)));
}

void append(embedded_log& on, schema_registry& schemas, const topic_options& topic, const std::string& file) {
  const auto of = must(load_schema_file(topic.schema));
  const auto id = must(schemas.register_schema(topic.topic + "-value", *of));
  const auto fields = column_fields(*of);
  const auto plan = must(encode_plan::compile(*of, fields));
  json_row_reader reader(of);
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    columns row{fields};
    must(reader.append(line, row));
    std::vector<const ArrowArray*> arrays;
    for (std::size_t i = 0; i < row.size(); ++i) arrays.push_back(&row[i].lend());
    row_encoder encoder(plan);
    encoder.bind(arrays);
    buffer value;
    append_frame(id, value);
    if (encoder.encode(0, value)) throw std::runtime_error("cannot encode a row of " + file);
    const auto subject = bytes_at(*arrays[static_cast<std::size_t>(row.find(topic.subject))], 0);
    const auto at = fixed_values<std::int64_t>(*arrays[static_cast<std::size_t>(row.find("at"))])[0];
    const bytes_view bytes{value.data(), value.size()};
    record_batch_builder batch;
    batch.append(at, &subject, &bytes, {});
    // A topic that is rekeyed has each subject in some partition, by a rule that is not the flow's.
    const auto partition = topic.rekey ? murmur2_partition(subject, 7 * topic.partitions) / 7 : murmur2_partition(subject, topic.partitions);
    const produced_batch produced{topic.topic, partition, &batch};
    must(on.append({&produced, 1}));
  }
}

int prepare(const graph& flow, const std::string& data, const std::string& events, const std::string& consents) {
  auto on = open(data, "", 0);
  auto schemas = must(open_log_registry(*on));
  for (const auto& topic : flow.options.topics) {
    topic_config config;
    config.name = topic.topic;
    config.partitions = topic.partitions;
    config.compacted = topic.compact;
    must(on->create_topic(config));
    if (topic.name == "journal") append(*on, *schemas, topic, events);
    if (topic.name == "consent") append(*on, *schemas, topic, consents);
  }
  return 0;
}

std::function<std::int64_t()> clock_from(std::int64_t start_ms) {
  const auto began = std::chrono::steady_clock::now();
  return [=] {
    return start_ms + std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - began).count();
  };
}

int run(std::shared_ptr<const graph> flow, const std::string& data, std::int64_t clock_ms, const std::string& step, int count) {
  auto on = open(data, step, count);
  worker_options options;
  options.until_idle = true;
  options.clock = clock_from(clock_ms);
  const auto summary = must(run_worker(std::move(flow), *on, options));
  if (!summary.unbalanced.empty()) throw std::runtime_error("counts do not balance at " + summary.unbalanced[0]);
  return 0;
}

/// Whether a timer of the worker's clock is due at `now_ms` and has not fired, as far as epochs are committed.
bool alarm_due(const graph& flow, embedded_log& on, std::int64_t now_ms) {
  std::vector<due_timer> due;
  for (const auto& stage : flow.stages) {
    for (const auto& name : store_names(stage)) {
      for (std::int32_t p = 0; p < flow.partitions && name == stage.options.name + ".~timers"; ++p) {
        keyed_store store(on, flow.options.name, name, p, {});
        must(timer_table(store).due(SONDER_PROCESSING_TIME, now_ms, 1, due));
      }
    }
  }
  return !due.empty();
}

/// Runs until no such timer is due: who leaves when idle does not wait for a clock.
void ring_alarms(std::shared_ptr<const graph> flow, const std::string& data, std::int64_t clock_ms) {
  constexpr auto patience = std::chrono::seconds(60);
  auto on = open(data, "", 0);
  std::atomic<int> stop{0};
  worker_options options;
  options.clock = clock_from(clock_ms);
  options.stop = &stop;
  std::exception_ptr failed;
  std::jthread bell([&] {
    try {
      const auto until = std::chrono::steady_clock::now() + patience;
      while (alarm_due(*flow, *on, clock_ms)) {
        if (std::chrono::steady_clock::now() > until) throw std::runtime_error("a timer that is due does not fire");
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    } catch (...) {
      failed = std::current_exception();
    }
    stop = 1;
  });
  must(run_worker(flow, *on, options));
  bell.join();
  if (failed) std::rethrow_exception(failed);
}

void dump_topic(embedded_log& on, schema_registry& schemas, const topic_options& topic) {
  for (std::int32_t p = 0; p < topic.partitions; ++p) {
    record_block block;
    for (std::int64_t from = 0;; from = block.next_offset) {
      must(on.fetch(topic.topic, p, from, {}, block));
      if (block.records.empty()) break;
      for (const auto& record : block.records) {
        const auto frame = parse_frame(record.value);
        if (!frame) throw std::runtime_error("an output record without a frame");
        const auto writer = must(schemas.by_id(frame->schema_id));
        const auto plan = must(decode_plan::compile(*writer, *writer));
        columns row{plan.fields()};
        if (plan.decode(frame->body, row)) throw std::runtime_error("an output record that cannot be decoded");
        std::vector<const ArrowArray*> arrays;
        for (std::size_t i = 0; i < row.size(); ++i) arrays.push_back(&row[i].lend());
        std::string json;
        append_json_row(plan.fields(), arrays, 0, json);
        std::cout << R"({"topic":")" << topic.name << R"(","partition":)" << p << R"(,"offset":)" << record.offset
                  << R"(,"value":)" << json << "}\n";
      }
    }
  }
}

int dump(const graph& flow, const std::string& data) {
  auto on = open(data, "", 0);
  auto schemas = must(open_log_registry(*on));
  for (const auto& topic : flow.options.topics) {
    if (topic.name != "consent") dump_topic(*on, *schemas, topic);
  }
  for (const auto& stage : flow.stages) {
    for (const auto& name : store_names(stage)) {
      for (std::int32_t p = 0; p < flow.partitions; ++p) {
        must(on->state_scan(
            flow.options.name, name, p, {},
            [](void* ctx, bytes_view key, bytes_view value) {
              const auto hex = [](bytes_view bytes) {
                std::string text;
                for (const auto b : bytes) text += "0123456789abcdef"[b >> 4], text += "0123456789abcdef"[b & 15];
                return text;
              };
              std::cout << R"({"store":")" << *static_cast<const std::string*>(ctx) << R"(","key":")" << hex(key)
                        << R"(","value":")" << hex(value) << "\"}\n";
              return true;
            },
            const_cast<std::string*>(&name)));
      }
    }
  }
  for (const auto& rekey : flow.rekeys) {
    for (const auto next : must(on->committed(flow.options.name, rekey.raw.topic.topic))) {
      std::cout << R"({"consumed":")" << rekey.raw.topic.topic << R"(","next":)" << next << "}\n";
    }
  }
  for (const auto& source : flow.sources) {
    for (const auto next : must(on->committed(flow.options.name, source.topic.topic))) {
      std::cout << R"({"consumed":")" << source.topic.name << R"(","next":)" << next << "}\n";
    }
  }
  return 0;
}

}  // namespace
}  // namespace sonder

int main(int argc, char** argv) {
  using namespace sonder;
  const std::vector<std::string> args(argv + 1, argv + argc);
  try {
    if (args.size() < 4) throw std::runtime_error("usage: crash_worker prepare|run|finish FLOW DATA ...");
    auto flow = load_flow(args[1]);
    if (args[0] == "prepare" && args.size() == 5) return prepare(*flow, args[2], args[3], args[4]);
    const auto clock_ms = std::stoll(args[3]);
    if (args[0] == "run") return run(flow, args[2], clock_ms, args.size() > 5 ? args[4] : "", args.size() > 5 ? std::stoi(args[5]) : 0);
    if (args[0] == "finish") {
      run(flow, args[2], clock_ms, "", 0);
      ring_alarms(flow, args[2], clock_ms);
      return dump(*flow, args[2]);
    }
    throw std::runtime_error("unknown command " + args[0]);
  } catch (const std::exception& e) {
    std::cerr << "crash_worker: " << e.what() << "\n";
    return 1;
  }
}
