// What the host costs per record between decode and encode: empty stages, batches of 256, a tenth of the rows refused.
// The log is memory that hands out one block again and again, so that only the host is timed.

#include <benchmark/benchmark.h>
#include <time.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <vector>

#include "avro/decode_plan.h"
#include "avro/encode_plan.h"
#include "avro/framing.h"
#include "avro/json.h"
#include "flow/endless_log_rig.h"
#include "flow/flow_rig.h"
#include "flow/task.h"

namespace sonder {
namespace {

constexpr std::int64_t block_records = 1024;

template <class T>
T must(result<T> r) {
  if (!r) throw std::runtime_error(r.error().message);
  if constexpr (!std::is_void_v<T>) return std::move(*r);
}

constexpr auto event_fields = R"(
  {"name":"event_id","type":"string","sonder.privacy":{"categories":[]}},
  {"name":"subject_id","type":"string","sonder.privacy":{"categories":[]}},
  {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"},"sonder.privacy":{"categories":[]}},
  {"name":"text","type":"string","sonder.privacy":{"categories":[]}},
  {"name":"locale","type":"string","sonder.privacy":{"categories":[]}},
  {"name":"country","type":["null","string"],"default":null,"sonder.privacy":{"categories":[]}},
  {"name":"age","type":["null","int"],"default":null,"sonder.privacy":{"categories":[]}},
  {"name":"mood","type":["null","int"],"default":null,"sonder.privacy":{"categories":[]}},
  {"name":"duration_ms","type":"long","sonder.privacy":{"categories":[]}},
  {"name":"session_id","type":"string","sonder.privacy":{"categories":[]}})";

std::string event_json(std::int64_t i) {
  return R"({"event_id":"3f2c8a54-5d51-4c0e-9a4b-)" + std::to_string(100'000'000'000 + i) + R"(","subject_id":"subject","at":)" +
         std::to_string(1'790'000'000'000 + i) +
         R"(,"text":"I slept badly and the morning was long, but a friend called and we walked by the river until it got dark, which helped a lot.",)"
         R"("locale":"en-GB","country":"GB","age":34,"mood":3,"duration_ms":183000,"session_id":"0d9c4c1e-70d3-4f0e-8b0a-1c2d3e4f5a6b"})";
}

struct bench_flow {
  explicit bench_flow(const std::string& stages, const std::string& last) {
    rig.file("event.avsc", std::string(R"({"type":"record","name":"event","fields":[)") + event_fields +
                               R"(,{"name":"unused","type":"int","sonder.privacy":{"categories":[]}}]})");
    rig.file("out.avsc", std::string(R"({"type":"record","name":"out","fields":[)") + event_fields + "]}");
    rig.flow("flow: bench\nlog: {kind: embedded, dir: data}\ndead_letter: none\ntopics:\n"
             "  events: {schema: event.avsc, event_time: at, partitions: 1}\n"
             "  out: {schema: out.avsc, key: event_id, partitions: 1}\n"
             "stages:\n" + stages + "sinks:\n  out: " + last + "\n");
    schemas = must(indexed_registry::open(make_memory_index()));
    const auto of = must(load_schema_file(rig.checked().options.topics[0].schema));
    const auto id = must(schemas->register_schema("events-value", *of));
    const auto fields = column_fields(*of);
    columns rows{fields};
    json_row_reader reader(of);
    for (std::int64_t i = 0; i < block_records; ++i) {
      auto json = event_json(i);
      json.insert(json.size() - 1, R"(,"unused":1)");
      must(reader.append(json, rows));
    }
    const auto plan = must(encode_plan::compile(*of, fields));
    row_encoder encoder(plan);
    std::vector<const ArrowArray*> arrays;
    for (std::size_t i = 0; i < rows.size(); ++i) arrays.push_back(&rows[i].lend());
    encoder.bind(arrays);
    for (std::int64_t i = 0; i < block_records; ++i) {
      buffer value;
      append_frame(id, value);
      if (encoder.encode(i, value)) throw std::runtime_error("cannot encode");
      values.emplace_back(as_text({value.data(), value.size()}));
    }
    event_schema = of;
    out_schema = must(load_schema_file(rig.checked().options.topics[1].schema));
  }

  flow_rig rig;
  std::unique_ptr<indexed_registry> schemas;
  std::vector<std::string> values;
  schema_ptr event_schema, out_schema;
};

constexpr int batch_records = 256;
constexpr int epoch_batches = 64;
constexpr auto one_stage = "  a: {plugin: passthrough, in: {in: events}}\n";
constexpr auto three_stages =
    "  a: {plugin: passthrough, in: {in: events}}\n  b: {plugin: passthrough, in: {in: a.out}}\n"
    "  c: {plugin: passthrough, in: {in: b.out}}\n";
constexpr auto three_of_which_one_refuses =
    "  a: {plugin: passthrough, in: {in: events}}\n  b: {plugin: dropper, in: {in: a.out}, config: {every: 10}}\n"
    "  c: {plugin: passthrough, in: {in: b.out}}\n";

/// The host with some stages, a batch at a time.
class hosted {
 public:
  hosted(const std::string& stages, const std::string& last) : of_(stages, last), endless_(of_.values, INT64_MAX) {
    must(start_tasks(context_, std::make_shared<const graph>(of_.rig.checked()), endless_, *of_.schemas, of_.rig.options()));
    task_ = must(task::create(context_, 0));
  }

  void batch() {
    if (must(task_->step()) != step_outcome::progressed) throw std::runtime_error("nothing to do");
    if (++steps_ % epoch_batches == 0) {
      task_->seal();
      task_->committed();
    }
  }

 private:
  bench_flow of_;
  endless_log endless_;
  task_context context_;
  decltype(must(task::create(context_, 0))) task_;
  std::int64_t steps_ = 0;
};

/// What remains if the host is taken away: the same plans over the same records and columns.
class unhosted {
 public:
  explicit unhosted(bool a_tenth_refused) : of_(one_stage, "a.out"), a_tenth_refused_(a_tenth_refused) {}

  void batch() {
    rows_.clear();
    for (int i = 0; i < batch_records; ++i) {
      if (decode_.decode(parse_frame(as_bytes(of_.values[at_]))->body, rows_)) throw std::runtime_error("cannot decode");
      at_ = (at_ + 1) % of_.values.size();
    }
    std::vector<const ArrowArray*> arrays;
    for (std::size_t i = 0; i < rows_.size(); ++i) arrays.push_back(&rows_[i].lend());
    encoder_.bind(arrays);
    for (int i = 0; i < batch_records; ++i) {
      // As many as the flow's sink gets: a tenth is refused there.
      if (i % 10 == 9 && a_tenth_refused_) continue;
      value_.clear();
      append_frame(1, value_);
      if (encoder_.encode(i, value_)) throw std::runtime_error("cannot encode");
      const bytes_view bytes{value_.data(), value_.size()};
      const auto key = bytes_at(*arrays[0], i);
      made_.append(1, &key, &bytes, {});
    }
    if (++batches_ % epoch_batches == 0) made_.clear();
  }

 private:
  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const auto& f : of_.out_schema->fields) all.push_back(f.name);
    return all;
  }

  bench_flow of_;
  bool a_tenth_refused_;
  decode_plan decode_ = must(decode_plan::compile(*of_.event_schema, *of_.event_schema, names()));
  encode_plan encode_ = must(encode_plan::compile(*of_.out_schema, decode_.fields()));
  columns rows_{decode_.fields()};
  row_encoder encoder_{encode_};
  record_batch_builder made_;
  buffer value_;
  std::size_t at_ = 0;
  std::int64_t batches_ = 0;
};

template <class Runner>
void run(benchmark::State& state, Runner&& runner) {
  for (auto _ : state) runner.batch();
  state.SetItemsProcessed(state.iterations() * batch_records);
}

void decode_and_encode(benchmark::State& state) { run(state, unhosted(state.range(0) == 1)); }
BENCHMARK(decode_and_encode)->Arg(0)->Arg(1)->ArgName("a_tenth_refused");

void one_empty_stage(benchmark::State& state) { run(state, hosted(one_stage, "a.out")); }
BENCHMARK(one_empty_stage);

void three_empty_stages(benchmark::State& state) { run(state, hosted(three_stages, "c.out")); }
BENCHMARK(three_empty_stages);

void three_stages_of_which_one_refuses_a_tenth(benchmark::State& state) {
  run(state, hosted(three_of_which_one_refuses, "c.out"));
}
BENCHMARK(three_stages_of_which_one_refuses_a_tenth);

/// Nanoseconds of CPU a record of one epoch's batches: all of it happens on this thread.
double epoch_of(auto& runner) {
  const auto cpu = [] {
    timespec at{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
    return static_cast<double>(at.tv_sec) * 1e9 + static_cast<double>(at.tv_nsec);
  };
  const auto from = cpu();
  for (int i = 0; i < epoch_batches; ++i) runner.batch();
  return (cpu() - from) / (epoch_batches * batch_records);
}

double median(std::vector<double>& of) {
  const auto middle = of.begin() + static_cast<std::ptrdiff_t>(of.size() / 2);
  std::nth_element(of.begin(), middle, of.end());
  return *middle;
}

/// What the host adds is a tenth of what decode and encode take, less than a shared machine's speed changes by from second to
/// second. So all take turns, an epoch each, 2 ms apart, and the differences within a turn count: their medians.
void host_in_turns(benchmark::State& state) {
  unhosted bare(false), bare_of_less(true);
  hosted one(one_stage, "a.out"), three(three_stages, "c.out"), refusing(three_of_which_one_refuses, "c.out");
  std::vector<double> host, host_refusing, boundary;
  for (auto _ : state) {
    const auto alone = epoch_of(bare);
    const auto with_three = epoch_of(three);
    const auto with_one = epoch_of(one);
    host.push_back(with_three - alone);
    boundary.push_back((with_three - with_one) / 2);
    const auto with_refusing = epoch_of(refusing);
    host_refusing.push_back(with_refusing - epoch_of(bare_of_less));
  }
  state.counters["host_ns"] = median(host);
  state.counters["host_refusing_ns"] = median(host_refusing);
  state.counters["boundary_ns"] = median(boundary);
}
BENCHMARK(host_in_turns)->Unit(benchmark::kMillisecond)->MinTime(3);

}  // namespace
}  // namespace sonder
