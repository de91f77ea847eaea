// What the host costs per record between decode and encode: empty stages, batches of 256, a tenth of the rows refused.
// The log is memory that hands out one block again and again, so that only the host is timed.

#include <benchmark/benchmark.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>

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

void run_flow(benchmark::State& state, const std::string& stages, const std::string& last) {
  bench_flow of(stages, last);
  endless_log endless(of.values, INT64_MAX);
  task_context context;
  must(start_tasks(context, std::make_shared<const graph>(of.rig.checked()), endless, *of.schemas, of.rig.options()));
  const auto one = must(task::create(context, 0));
  std::int64_t steps = 0;
  for (auto _ : state) {
    if (must(one->step()) != step_outcome::progressed) throw std::runtime_error("nothing to do");
    if (++steps % 64 == 0) {
      one->seal();
      one->committed();
    }
  }
  state.SetItemsProcessed(state.iterations() * 256);
}

/// What remains if the host is taken away: the same plans over the same records and columns.
void decode_and_encode(benchmark::State& state) {
  bench_flow of("  a: {plugin: passthrough, in: {in: events}}\n", "a.out");
  std::vector<std::string> wanted;
  for (const auto& f : of.out_schema->fields) wanted.push_back(f.name);
  const auto decode = must(decode_plan::compile(*of.event_schema, *of.event_schema, wanted));
  const auto encode = must(encode_plan::compile(*of.out_schema, decode.fields()));
  columns rows{decode.fields()};
  row_encoder encoder(encode);
  record_batch_builder batch;
  buffer value;
  std::size_t at = 0;
  std::int64_t batches = 0;
  for (auto _ : state) {
    rows.clear();
    for (int i = 0; i < 256; ++i) {
      if (decode.decode(parse_frame(as_bytes(of.values[at]))->body, rows)) throw std::runtime_error("cannot decode");
      at = (at + 1) % of.values.size();
    }
    std::vector<const ArrowArray*> arrays;
    for (std::size_t i = 0; i < rows.size(); ++i) arrays.push_back(&rows[i].lend());
    encoder.bind(arrays);
    for (int i = 0; i < 256; ++i) {
      // As many as the flow's sink gets: a tenth is refused there.
      if (i % 10 == 9 && state.range(0) == 1) continue;
      value.clear();
      append_frame(1, value);
      if (encoder.encode(i, value)) throw std::runtime_error("cannot encode");
      const bytes_view bytes{value.data(), value.size()};
      const auto key = bytes_at(*arrays[0], i);
      batch.append(1, &key, &bytes, {});
    }
    if (++batches % 64 == 0) batch.clear();
  }
  state.SetItemsProcessed(state.iterations() * 256);
}
BENCHMARK(decode_and_encode)->Arg(0)->Arg(1)->ArgName("a_tenth_refused");

void one_empty_stage(benchmark::State& state) {
  run_flow(state, "  a: {plugin: passthrough, in: {in: events}}\n", "a.out");
}
BENCHMARK(one_empty_stage);

void three_empty_stages(benchmark::State& state) {
  run_flow(state,
           "  a: {plugin: passthrough, in: {in: events}}\n  b: {plugin: passthrough, in: {in: a.out}}\n"
           "  c: {plugin: passthrough, in: {in: b.out}}\n",
           "c.out");
}
BENCHMARK(three_empty_stages);

void three_stages_of_which_one_refuses_a_tenth(benchmark::State& state) {
  run_flow(state,
           "  a: {plugin: passthrough, in: {in: events}}\n  b: {plugin: dropper, in: {in: a.out}, config: {every: 10}}\n"
           "  c: {plugin: passthrough, in: {in: b.out}}\n",
           "c.out");
}
BENCHMARK(three_stages_of_which_one_refuses_a_tenth);

}  // namespace
}  // namespace sonder
