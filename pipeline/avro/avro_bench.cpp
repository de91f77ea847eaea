#include <benchmark/benchmark.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>

#include "avro/bench_avro_c.h"
#include "avro/decode_plan.h"
#include "avro/encode_plan.h"
#include "avro/json.h"
#include "avro/wire.h"

// Every allocation of the process is counted, Avro C's too.
extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* old, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);
static std::atomic<std::int64_t> allocations;
void* malloc(std::size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_malloc(size);
}
void* calloc(std::size_t count, std::size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_calloc(count, size);
}
void* realloc(void* old, std::size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_realloc(old, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_memalign(alignment, size);
}
}

namespace sonder {
namespace {

constexpr std::string_view event_schema =
    R"({"type":"record","name":"event","namespace":"sonder.bench","fields":[
  {"name":"event_id","type":{"type":"string","logicalType":"uuid"}},
  {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},
  {"name":"kind","type":{"type":"enum","name":"kind","symbols":["JOURNAL","AFFIRMATION","MEDITATION","EXERCISE"]}},
  {"name":"subject_id","type":"string"},
  {"name":"session","type":"string"},
  {"name":"note","type":["null","string"]},
  {"name":"score","type":"double"},
  {"name":"tags","type":{"type":"array","items":"string"}},
  {"name":"attributes","type":{"type":"map","values":"string"}},
  {"name":"device","type":{"type":"record","name":"device","fields":[
    {"name":"os","type":"string"},{"name":"model","type":"string"},{"name":"build","type":"int"}]}},
  {"name":"duration_s","type":"int"},
  {"name":"locale","type":"string"}]})";

// The same with a field dropped, one added, two in another order and an int widened.
constexpr std::string_view evolved_schema =
    R"({"type":"record","name":"event","namespace":"sonder.bench","fields":[
  {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},
  {"name":"event_id","type":{"type":"string","logicalType":"uuid"}},
  {"name":"kind","type":{"type":"enum","name":"kind","symbols":["JOURNAL","AFFIRMATION","MEDITATION","EXERCISE"]}},
  {"name":"subject_id","type":"string"},
  {"name":"note","type":["null","string"]},
  {"name":"score","type":"double"},
  {"name":"tags","type":{"type":"array","items":"string"}},
  {"name":"attributes","type":{"type":"map","values":"string"}},
  {"name":"device","type":{"type":"record","name":"device","fields":[
    {"name":"os","type":"string"},{"name":"model","type":"string"},{"name":"build","type":"int"}]}},
  {"name":"duration_s","type":"long"},
  {"name":"locale","type":"string"},
  {"name":"channel","type":"string","default":"app"}]})";

constexpr std::string_view event_json =
    R"({"event_id":"7c9e6679-7425-40de-944b-e07fc1f90ae7","at":1795219200000,
  "kind":"MEDITATION","subject_id":"subject-00000000012345","session":"5f0c2f1e9b7d4c3a8e6f7a9b","note":"felt much calmer after the long walk along the river, early this evening",
  "score":0.8125,"tags":["evening","gratitude","breathing"],
  "attributes":{"app_version":"4.12.0","exercise":"body_scan_long","source":"evening_push_reminder","variant":"BB"},
  "device":{"os":"android 15","model":"pixel 9a pro","build":418},"duration_s":1260,"locale":"en-GB"})";

constexpr std::int64_t batch_rows = 256;

struct event {
  schema_ptr schema_of;
  std::vector<std::uint8_t> body;

  event() {
    schema_of = *parse_schema(event_schema);
    columns rows(column_fields(*schema_of));
    if (!json_row_reader(schema_of).append(event_json, rows)) std::abort();
    const auto plan = encode_plan::compile(*schema_of, rows.fields());
    row_encoder encoder(*plan);
    std::vector<const ArrowArray*> arrays;
    for (std::size_t i = 0; i < rows.size(); ++i) arrays.push_back(&rows[i].lend());
    encoder.bind(arrays);
    buffer out;
    if (encoder.encode(0, out)) std::abort();
    body.assign(out.data(), out.data() + out.size());
  }
};

const event& the_event() {
  static const event e;
  return e;
}

/// Counts allocations while it lives and reports them a record.
class allocation_count {
 public:
  explicit allocation_count(benchmark::State& state) : state_(state), before_(allocations.load()) {}
  ~allocation_count() {
    const auto made = static_cast<double>(allocations.load() - before_);
    state_.counters["allocations_per_record"] = made / static_cast<double>(state_.iterations());
    state_.counters["body_bytes"] = static_cast<double>(the_event().body.size());
    state_.SetItemsProcessed(state_.iterations());
  }

 private:
  benchmark::State& state_;
  std::int64_t before_;
};

void fill_once(const decode_plan& plan, columns& into) {
  for (std::int64_t i = 0; i < batch_rows; ++i) {
    if (plan.decode(the_event().body, into)) std::abort();
  }
  into.clear();
}

void decode_with(benchmark::State& state, const decode_plan& plan) {
  columns into(plan.fields());
  fill_once(plan, into);
  const bytes_view body = the_event().body;
  const allocation_count count(state);
  for (auto _ : state) {
    if (into.length() == batch_rows) into.clear();
    if (plan.decode(body, into)) state.SkipWithError("refused");
  }
}

void decode_plan_same(benchmark::State& state) {
  decode_with(state, *decode_plan::compile(*the_event().schema_of, *the_event().schema_of));
}
BENCHMARK(decode_plan_same);

void decode_plan_evolved(benchmark::State& state) {
  decode_with(state, *decode_plan::compile(*the_event().schema_of, **parse_schema(evolved_schema)));
}
BENCHMARK(decode_plan_evolved);

void decode_plan_three_fields(benchmark::State& state) {
  const std::vector<std::string> wanted = {"subject_id", "at", "note"};
  decode_with(state, *decode_plan::compile(*the_event().schema_of, *the_event().schema_of, wanted));
}
BENCHMARK(decode_plan_three_fields);

/// What somebody would write for this one event: the same checks, the same columns, no
/// interpretation.
class hand_written_decoder {
 public:
  explicit hand_written_decoder(columns& into) : c_(into) {}

  bool decode(bytes_view body) {
    at_ = body.data();
    end_ = at_ + body.size();
    const auto before = c_.length();
    if (event_body() && at_ == end_) return true;
    c_.truncate(before);
    return false;
  }

 private:
  bool number(std::int64_t& value) {
    const std::uint8_t* next = read_varint(at_, end_, value);
    if (next == nullptr) return false;
    at_ = next;
    return true;
  }

  bool text(column& c) {
    std::int64_t size;
    if (!number(size)) return false;
    const auto left = static_cast<std::size_t>(end_ - at_);
    if (static_cast<std::uint64_t>(size) > left) return false;
    const auto bytes = static_cast<std::size_t>(size);
    if (bytes > 0x7fffffff - c.values.size()) return false;
    c.values.reserve_more(bytes + copy_slack);
    if (!copy_ascii(at_, bytes, left, c.values.data() + c.values.size()) && !is_utf8(at_, bytes))
      return false;
    at_ += bytes;
    c.values.set_size(c.values.size() + bytes);
    c.offsets.append_value(static_cast<std::int32_t>(c.values.size()));
    c.set_length(c.length() + 1);
    return true;
  }

  bool int64(column& c) {
    std::int64_t value;
    if (!number(value)) return false;
    c.values.append_value(value);
    c.set_length(c.length() + 1);
    return true;
  }

  bool int32(column& c) {
    std::int64_t value;
    if (!number(value) || value != static_cast<std::int32_t>(value)) return false;
    c.values.append_value(static_cast<std::int32_t>(value));
    c.set_length(c.length() + 1);
    return true;
  }

  bool symbol(column& c, std::uint64_t count) {
    std::int64_t value;
    if (!number(value) || static_cast<std::uint64_t>(value) >= count) return false;
    c.values.append_value(static_cast<std::int32_t>(value));
    c.set_length(c.length() + 1);
    return true;
  }

  bool optional_text(column& c) {
    std::int64_t branch;
    if (!number(branch) || static_cast<std::uint64_t>(branch) > 1) return false;
    if (branch == 0) {
      c.append_null();
      return true;
    }
    c.mark(true);
    return text(c);
  }

  bool real(column& c) {
    if (end_ - at_ < 8) return false;
    c.values.append(at_, 8);
    at_ += 8;
    c.set_length(c.length() + 1);
    return true;
  }

  template <class Item>
  bool items(column& c, std::size_t item_bytes_min, Item item) {
    for (;;) {
      std::int64_t count;
      std::int64_t size = -1;
      if (!number(count)) return false;
      if (count == 0) break;
      if (count < 0) {
        if (count == INT64_MIN || !number(size) || size < 0 || size > end_ - at_) return false;
        count = -count;
      }
      if (static_cast<std::uint64_t>(count) > static_cast<std::size_t>(end_ - at_) / item_bytes_min)
        return false;
      const std::uint8_t* const block_end = at_ + size;
      for (; count > 0; --count) {
        if (!item()) return false;
      }
      if (size >= 0 && at_ != block_end) return false;
    }
    c.offsets.append_value(static_cast<std::int32_t>(c.child(0).length()));
    c.set_length(c.length() + 1);
    return true;
  }

  bool event_body() {
    column& tags = c_[7];
    column& attributes = c_[8];
    column& device = c_[9];
    if (!text(c_[0]) || !int64(c_[1]) || !symbol(c_[2], 4) || !text(c_[3]) || !text(c_[4]) ||
        !optional_text(c_[5]) || !real(c_[6])) {
      return false;
    }
    if (!items(tags, 1, [&] { return text(tags.child(0)); })) return false;
    column& entries = attributes.child(0);
    const auto entry = [&] {
      if (!text(entries.child(0)) || !text(entries.child(1))) return false;
      entries.set_length(entries.length() + 1);
      return true;
    };
    if (!items(attributes, 2, entry)) return false;
    if (!text(device.child(0)) || !text(device.child(1)) || !int32(device.child(2))) return false;
    device.set_length(device.length() + 1);
    return int32(c_[10]) && text(c_[11]);
  }

  columns& c_;
  const std::uint8_t* at_ = nullptr;
  const std::uint8_t* end_ = nullptr;
};

void decode_hand_written(benchmark::State& state) {
  columns into(column_fields(*the_event().schema_of));
  hand_written_decoder decoder(into);
  const bytes_view body = the_event().body;
  for (std::int64_t i = 0; i < batch_rows; ++i) {
    if (!decoder.decode(body)) std::abort();
  }
  const allocation_count count(state);
  for (auto _ : state) {
    if (into.length() == batch_rows) into.clear();
    if (!decoder.decode(body)) state.SkipWithError("refused");
  }
}
BENCHMARK(decode_hand_written);

void decode_avro_c(benchmark::State& state) {
  auto* c = bench_avro_c::open(event_schema.data(), event_schema.size());
  const auto& body = the_event().body;
  const allocation_count count(state);
  for (auto _ : state) {
    if (!bench_avro_c::decode(c, body.data(), body.size())) state.SkipWithError("refused");
  }
  bench_avro_c::close(c);
}
BENCHMARK(decode_avro_c);

void encode_plan_same(benchmark::State& state) {
  const auto decoder = decode_plan::compile(*the_event().schema_of, *the_event().schema_of);
  columns rows(decoder->fields());
  for (std::int64_t i = 0; i < batch_rows; ++i) {
    if (decoder->decode(the_event().body, rows)) std::abort();
  }
  std::vector<const ArrowArray*> arrays;
  for (std::size_t i = 0; i < rows.size(); ++i) arrays.push_back(&rows[i].lend());
  const auto plan = encode_plan::compile(*the_event().schema_of, rows.fields());
  row_encoder encoder(*plan);
  encoder.bind(arrays);
  buffer out;
  out.reserve_more(1024 * batch_rows);
  std::int64_t row = 0;
  const allocation_count count(state);
  for (auto _ : state) {
    if (row == batch_rows) {
      row = 0;
      out.clear();
    }
    if (encoder.encode(row++, out)) state.SkipWithError("refused");
  }
}
BENCHMARK(encode_plan_same);

template <auto Encode>
void encode_avro_c(benchmark::State& state) {
  auto* c = bench_avro_c::open(event_schema.data(), event_schema.size());
  const auto& body = the_event().body;
  if (!bench_avro_c::decode(c, body.data(), body.size())) std::abort();
  std::vector<std::uint8_t> out(1024);
  const allocation_count count(state);
  for (auto _ : state) {
    if (Encode(c, out.data(), out.size()) != body.size()) state.SkipWithError("refused");
  }
  bench_avro_c::close(c);
}
BENCHMARK_TEMPLATE(encode_avro_c, bench_avro_c::encode)->Name("encode_avro_c_existing_value");
BENCHMARK_TEMPLATE(encode_avro_c, bench_avro_c::set_and_encode)
    ->Name("encode_avro_c_set_and_encode");

void append_json_row_of_event(benchmark::State& state) {
  const auto schema_of = the_event().schema_of;
  columns rows(column_fields(*schema_of));
  json_row_reader reader(schema_of);
  for (auto _ : state) {
    if (rows.length() == batch_rows) rows.clear();
    if (!reader.append(event_json, rows)) state.SkipWithError("refused");
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(append_json_row_of_event);

}  // namespace
}  // namespace sonder
