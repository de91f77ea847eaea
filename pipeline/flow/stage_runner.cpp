#include "flow/stage_runner.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <exception>
#include <new>
#include <thread>

#include "flow/stage_call.h"
#include "observe/log.h"
#include "plugin/library.h"
#include "plugin/plugin_call.h"

namespace sonder {

namespace {

constexpr std::int64_t emitted_rows_max = 65'536;  // of one call
constexpr std::int64_t sleep_slice_ms = 20;        // how long a stop waits for a back-off

// What a call came to, beside the status that the plugin answered.
constexpr std::int32_t answered_nonsense = -1;  // outside the contract: a status or an array that cannot be
constexpr std::int32_t asks_for_retry = -2;     // OK, but some row is to be offered again
constexpr std::int32_t host_failed = -3;        // the disk, under a service
constexpr std::int32_t does_not_fit = -4;       // into what a store may hold uncommitted

std::int64_t steady_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Whether every byte is zero: a memcmp against itself, which is many bytes at a time.
bool all_zero(const std::uint8_t* from, std::size_t size) noexcept {
  return size == 0 || (from[0] == 0 && std::memcmp(from, from + 1, size - 1) == 0);
}
static_assert(SONDER_PASS == 0);

void release(ArrowArray& array) {
  if (array.release != nullptr) array.release(&array);
  array.release = nullptr;
}

/// What a plugin said of a call that failed: one line of UTF-8, whatever it wrote.
std::string message_of(const sonder_error& e) { return read_answer(SONDER_FATAL, e).message; }

/// Lends a lent array again, from row `first` on.
ArrowArray slice(const ArrowArray& from, std::int64_t first, std::int64_t count) {
  auto part = from;
  part.offset += first;
  part.length = count;
  part.null_count = from.null_count == 0 ? 0 : -1;
  return part;
}

field as_record(std::string name, const std::vector<manifest_field>& fields) {
  field record;
  record.name = std::move(name);
  record.type.id = type_id::record;
  for (const auto& f : fields) {
    record.type.fields.push_back(f.column);
    record.type.fields.back().name = f.name;
  }
  return record;
}

}  // namespace

// ---- The module -------------------------------------------------------------------------------------------------------

stage_module::stage_module(const stage_node& stage, std::shared_ptr<const secret_box> secrets, logger* lines, call_watch& calls)
    : stage_(stage),
      calls_(calls),
      whose_("stage \"" + stage.options.name + "\": plugin " + stage.of.id + " " + stage.of.version + " (" + stage.library->path() + ")"),
      services_(stage, std::move(secrets), lines, whose_.c_str()) {}

result<std::unique_ptr<stage_module>> stage_module::create(const stage_node& stage, std::shared_ptr<const secret_box> secrets,
                                                           logger* lines, call_watch& calls) {
  std::unique_ptr<stage_module> made(new stage_module(stage, std::move(secrets), lines, calls));
  sonder_module_args args{};
  args.struct_size = sizeof args;
  args.stage = {stage.options.name.data(), stage.options.name.size()};
  args.config_json = {stage.config_json.data(), stage.config_json.size()};
  args.purpose = {stage.options.purpose.data(), stage.options.purpose.size()};
  auto error = empty_error();
  const auto answer = [&] {
    const plugin_call inside(made->whose());
    const watched_call timed(calls, stage, "module_create");
    return made->table().module_create(&made->services_.host(), &args, &made->module_, &error);
  }();
  if (answer == SONDER_OK) return made;
  made->module_ = nullptr;
  return fail(answer == SONDER_BAD_CONFIG ? errc::invalid : errc::plugin,
              to_string(stage.options.at) + ": stage \"" + stage.options.name + "\": plugin " + stage.of.id +
                  " does not start: " + message_of(error));
}

stage_module::~stage_module() {
  if (module_ == nullptr) return;
  const plugin_call inside(whose());
  const watched_call timed(calls_, stage_, "module_destroy");
  table().module_destroy(module_);
}

const sonder_plugin& stage_module::table() const noexcept { return stage_.library->calls(); }

// ---- One call ---------------------------------------------------------------------------------------------------------

std::int32_t stage_runner::call::emit(void* ctx, std::uint32_t port, const std::int64_t* rows, std::int64_t count,
                                      ArrowArray* array) noexcept {
  auto& c = *static_cast<call*>(ctx);
  // On another thread, or after the call, nothing of `c` may be touched.
  if (!c.services->allowed()) {
    release(*array);
    return SONDER_FATAL;
  }
  emission made{port, {}, *array};
  array->release = nullptr;
  try {
    return c.keep(made, rows, count);
  } catch (const std::bad_alloc&) {
    c.services->broke("no memory left");
  } catch (const std::exception&) {
    c.services->broke("a library threw");
  }
  release(made.array);
  return SONDER_FATAL;
}

std::int32_t stage_runner::call::keep(emission& made, const std::int64_t* source_rows, std::int64_t n) {
  auto& c = *this;
  const auto refuse = [&](std::string why) {
    release(made.array);
    if (c.violation.empty()) c.violation = std::move(why);
    return SONDER_FATAL;
  };
  if (made.port >= c.of->outputs.size() || !c.of->outputs[made.port].emitted) return refuse("emit: no such emitting output");
  if (n < 0 || n > emitted_rows_max - c.rows_emitted) return refuse("emit: more than 65536 rows in one call");
  const auto& output = c.of->outputs[made.port];
  if (auto ok = check_array(made.array, as_record(output.name, output.emits), n); !ok) {
    return refuse("emit: " + ok.error().message);
  }
  made.rows.reserve(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) {
    if (source_rows[i] < 0 || source_rows[i] >= c.count) return refuse("emit: a source row outside the batch");
    made.rows.push_back(c.allowed->rows[static_cast<std::size_t>(c.first + source_rows[i])]);
  }
  c.emissions.push_back(std::move(made));
  c.rows_emitted += n;
  return SONDER_OK;
}

// ---- The runner -------------------------------------------------------------------------------------------------------

result<std::unique_ptr<stage_runner>> stage_runner::create(const graph& flow, const stage_module& module, log& on,
                                                           std::int32_t partition, const stop_signs& stop, call_watch& calls) {
  std::unique_ptr<stage_runner> made(new stage_runner(flow, module, on, partition, stop, calls));
  if (auto ok = made->make_instance(); !ok) return tl::unexpected(ok.error());
  if (auto ok = made->services_.parked().load(); !ok) return tl::unexpected(ok.error());
  return made;
}

stage_runner::stage_runner(const graph& flow, const stage_module& module, log& on, std::int32_t partition,
                           const stop_signs& stop, call_watch& calls)
    : flow_(flow),
      module_(module),
      stage_(module.stage()),
      stop_(stop),
      calls_(calls),
      services_(flow, stage_, module.services(), on, partition),
      call_(std::make_unique<call>()) {
  for (const auto& input : stage_.inputs) {
    const auto& port = stage_.of.inputs[static_cast<std::size_t>(input.port)];
    schemas_.emplace_back();
    export_schema(as_record("", port.reads), &schemas_.back());
    const auto& edge_in = flow.edges[static_cast<std::size_t>(input.edge_in)];
    std::vector<field> columns;
    for (const auto& column : edge_in.columns) columns.push_back(column.of);
    // A kept row says what its subject agreed to in bits, and the flow says what each bit means.
    auto form = port.name;
    for (const auto& purpose : flow.purposes) form += "\n" + purpose;
    forms_.push_back(form_of(form, columns));
  }
  call_->of = &stage_.of;
  call_->services = &services_;
}

stage_runner::~stage_runner() {
  destroy_instance();
  for (auto& schema : schemas_) {
    if (schema.release != nullptr) schema.release(&schema);
  }
}

void stage_runner::destroy_instance() noexcept {
  if (instance_ == nullptr) return;
  const plugin_call inside(module_.whose());
  const watched_call timed(calls_, stage_, "instance_destroy");
  module_.table().instance_destroy(instance_);
  instance_ = nullptr;
}

status stage_runner::make_instance() {
  destroy_instance();
  auto error = empty_error();
  const auto answer = [&] {
    const plugin_call inside(module_.whose());
    const watched_call timed(calls_, stage_, "instance_create");
    return module_.table().instance_create(module_.get(), &services_.host(), &instance_, &error);
  }();
  if (answer == SONDER_OK) return {};
  instance_ = nullptr;
  return fail(errc::plugin, "stage \"" + stage_.options.name + "\": plugin " + stage_.of.id +
                                     " makes no instance: " + message_of(error));
}

status stage_runner::lend(call& c) {
  const auto& rows = c.allowed->rows;
  const auto& asked = c.port->reserved;
  c.timestamp_ms.clear();
  c.event_time_ms.clear();
  c.tombstone.clear();
  c.key = c.headers = nullptr;
  const bool any = asked.timestamp || asked.event_time || asked.tombstone;
  for (std::size_t i = 0; any && i < rows.size(); ++i) {
    const auto row = rows[i];
    const auto r = static_cast<std::size_t>(row);
    if (asked.timestamp) c.timestamp_ms.push_back(c.space->record_of(row).timestamp_ms);
    if (asked.event_time) c.event_time_ms.push_back(c.space->event_time_ms[r]);
    if (asked.tombstone) c.tombstone.push_back(c.space->record_of(row).has_value ? 0 : 1);
  }
  if (asked.key) {
    auto& keys = c.memory->new_column({"key", {type_id::binary}, true});
    for (const auto row : rows) {
      const auto& record = c.space->record_of(row);
      if (!record.has_key) {
        keys.append_null();
      } else if (!keys.append_bytes(record.key)) {
        return fail(errc::capacity, "the keys of one batch pass 2^31-1 bytes; lower batch_rows");
      }
    }
    c.key = &keys.lend();
  }
  if (asked.headers) {
    data_type entry{type_id::record};
    entry.fields = {{"key", {type_id::utf8}, false}, {"value", {type_id::binary}, true}};
    data_type map{type_id::map};
    map.fields = {{"entries", entry, false}};
    auto& headers = c.memory->new_column({"headers", map, false});
    for (const auto row : rows) {
      header_cursor cursor(c.space->record_of(row).headers);
      header_view header;
      while (cursor.next(header)) {
        auto& entries = headers.child(0);
        if (!is_utf8(reinterpret_cast<const std::uint8_t*>(header.key.data()), header.key.size())) continue;
        if (!entries.child(0).append_text(header.key) || !entries.child(1).append_bytes(header.value)) {
          return fail(errc::capacity, "the headers of one batch pass 2^31-1 bytes; lower batch_rows");
        }
        entries.close_record();
      }
      headers.close_list();
    }
    c.headers = &headers.lend();
  }
  return {};
}

status stage_runner::run(std::size_t input, row_space& space, edge_rows& in, const batch_times& times, batch_memory& memory,
                         node_counts& counts, edge_rows& out, std::vector<emitted_rows>& emitted, const bury_fn& bury,
                         const parking* park) {
  auto& c = *call_;
  const auto& wiring = stage_.inputs[input];
  c.in = &in;
  c.park = wiring.edge_out < 0 ? nullptr : park;
  c.stopped.clear();
  c.to_park.clear();
  c.input = input;
  c.port = &stage_.of.inputs[static_cast<std::size_t>(wiring.port)];
  c.space = &space;
  c.times = &times;
  c.memory = &memory;
  c.counts = &counts;
  c.bury = &bury;
  c.emitted = &emitted;

  const auto& arrived = without_waiting(c, *in.base);
  const row_base* allowed = &arrived;
  if (stage_.purpose_bit >= 0 && wiring.edge_out >= 0) {
    allowed = &agreed_rows(arrived, space, std::uint64_t{1} << stage_.purpose_bit, memory);
  }
  c.allowed = allowed;
  const auto n = allowed->rows.size();
  // Each call fills what it answers with.
  c.verdicts.resize(n);
  c.reasons.resize(n);
  c.retry_after_ms.resize(n);
  c.purposes.resize(stage_.authority ? n : 0);
  c.cause.assign(n, 0);
  c.skipped.assign(n, 0);
  c.all_passed = false;
  c.kept.assign(c.port->writes.size(), nullptr);
  c.joined.assign(c.port->writes.size(), nullptr);
  if (n > 0) {
    c.reads.clear();
    for (std::size_t i = 0; i < wiring.reads.size(); ++i) {
      const auto& read = c.port->reads[i];
      if (wiring.reads[i] < 0) {
        c.reads.push_back(&null_column(*allowed, read.column, memory));
        continue;
      }
      const auto& had = flow_.edges[static_cast<std::size_t>(wiring.edge_in)].columns[static_cast<std::size_t>(wiring.reads[i])].of;
      const bool spelled_out = reads_symbols(had, read.column);
      auto column = column_over(in, wiring.reads[i], *allowed, spelled_out ? had : read.column, memory);
      if (column && spelled_out) column = symbols_as_text(**column, memory);
      if (!column) return tl::unexpected(column.error());
      c.reads.push_back(*column);
    }
    SONDER_TRY(lend(c));
    SONDER_TRY(run_range(c, 0, static_cast<std::int64_t>(n), true));
    SONDER_TRY(settle(c, *allowed));
  }
  out = in;
  const auto& settled = hold_back(c, arrived);
  if (wiring.edge_out < 0) {
    counts.passed += n - static_cast<std::size_t>(std::count_if(c.verdicts.begin(), c.verdicts.end(),
                                                                [](auto v) { return v != SONDER_PASS; }));
    return {};
  }
  SONDER_TRY(forget_settled(c, settled));
  SONDER_TRY(park_rows(c));
  return pass_on(c, settled, out);
}

/// One call into the plugin, under the eyes of the deadline watch, counted with its rows and its time.
template <class Call>
std::int32_t stage_runner::watched(call& c, const char* function, Call into_plugin) {
  const auto began_ns = steady_ns();
  calls_.begin(stage_, function, began_ns);
  const auto answer = [&] {
    const plugin_call inside(module_.whose());
    return into_plugin();
  }();
  calls_.end();
  c.counts->batches.observe(static_cast<double>(c.count));
  c.counts->durations.observe(static_cast<double>(steady_ns() - began_ns) * 1e-9);
  return answer;
}

/// Waits before a call is made again. False if the worker stops.
bool stage_runner::back_off(call& c, std::int64_t ms) const {
  const auto began_ns = steady_ns();
  const bool go_on = sleep_ms(ms);
  c.counts->waited_ns += static_cast<std::uint64_t>(steady_ns() - began_ns);
  return go_on;
}

std::int32_t stage_runner::call_once(call& c, std::int64_t first, std::int64_t count, sonder_error& error) {
  c.first = first;
  c.count = count;
  c.rows_emitted = 0;
  c.violation.clear();
  c.lent_children.clear();
  c.lent_pointers.clear();
  for (const auto* read : c.reads) c.lent_children.push_back(slice(*read, first, count));
  auto& pointers = c.lent_pointers;
  for (auto& child : c.lent_children) pointers.push_back(&child);
  const void* no_validity[1] = {nullptr};
  ArrowArray root{count,           0,       0, 1, static_cast<std::int64_t>(pointers.size()), no_validity,
                  pointers.data(), nullptr, nullptr, nullptr};
  ArrowArray key{}, headers{};
  if (c.key != nullptr) key = slice(*c.key, first, count);
  if (c.headers != nullptr) headers = slice(*c.headers, first, count);

  const auto f = static_cast<std::size_t>(first);
  const auto n = static_cast<std::size_t>(count);
  std::fill_n(c.verdicts.begin() + first, n, SONDER_PASS);
  std::fill_n(c.reasons.begin() + first, n, 0);
  std::fill_n(c.retry_after_ms.begin() + first, n, 0);
  if (stage_.authority) std::fill_n(c.purposes.begin() + first, n, 0);
  c.columns.assign(c.port->writes.size(), ArrowArray{});

  sonder_batch batch{sizeof batch,
                     static_cast<std::uint32_t>(stage_.inputs[c.input].port),
                     count,
                     &schemas_[c.input],
                     &root,
                     c.timestamp_ms.empty() ? nullptr : c.timestamp_ms.data() + f,
                     c.event_time_ms.empty() ? nullptr : c.event_time_ms.data() + f,
                     c.tombstone.empty() ? nullptr : c.tombstone.data() + f,
                     c.key == nullptr ? nullptr : &key,
                     c.headers == nullptr ? nullptr : &headers,
                     c.times->watermark_ms,
                     &stop_.cancel};
  sonder_output output{sizeof output,
                       static_cast<std::uint32_t>(c.columns.size()),
                       c.verdicts.data() + f,
                       c.reasons.data() + f,
                       c.retry_after_ms.data() + f,
                       c.columns.data(),
                       stage_.authority ? c.purposes.data() + f : nullptr,
                       &call::emit,
                       &c};
  const auto violations = services_.violations();
  services_.begin_call(stage_.inputs[c.input].port, *c.space, c.allowed->rows.data() + f, count, c.times->event_time_ms, c.times->processing_time_ms);
  auto answer = watched(c, "process", [&] { return module_.table().process(instance_, &batch, &output, &error); });

  answer = judge(c, answer, violations);
  const bool all_pass = all_zero(c.verdicts.data() + f, n);
  if (answer == SONDER_OK) {
    if (auto ok = check_output(c, count, all_pass); !ok) {
      c.violation = ok.error().message;
      answer = answered_nonsense;
    }
  }
  const auto asks = [&](std::uint8_t v) { return v == SONDER_RETRY_ROW; };
  if (answer == SONDER_OK && !all_pass && std::any_of(c.verdicts.begin() + first, c.verdicts.begin() + first + count, asks)) {
    if (c.park == nullptr || overtaken(c)) {
      answer = asks_for_retry;
    } else {
      note_retries(c);
    }
  }
  services_.end_call(answer == SONDER_OK);
  if (answer != SONDER_OK) drop_output(c);
  c.all_passed = answer == SONDER_OK && all_pass && n == c.verdicts.size();
  return answer;
}

/// What a call came to: what it answered, unless a service failed under it or it broke the contract. A call that broke a limit
/// answers FATAL, as the contract asks; yet it is the rows that are at fault then, not the instance.
std::int32_t stage_runner::judge(call& c, std::int32_t answer, std::uint64_t violations_before) {
  const auto& failure = services_.failure();
  if (!failure && failure.error().code != errc::capacity) return host_failed;
  if (!failure && !buries_what_does_not_fit_) return does_not_fit;
  if (answer == SONDER_CANCELLED && stop_.cancel != 0) return answer;
  if (answer < SONDER_OK || answer >= SONDER_CANCELLED) {
    c.violation = "status " + std::to_string(answer) + " is none of sonder_status, or none that was asked for";
  } else if (c.violation.empty() && (!failure || services_.violations() != violations_before)) {
    c.violation = "a service was called against its contract, or a store's limit was passed";
  }
  return c.violation.empty() ? answer : answered_nonsense;
}

status stage_runner::check_output(const call& c, std::int64_t count, bool all_pass) const {
  for (std::int64_t i = c.first; !all_pass && i < c.first + count; ++i) {
    const auto verdict = c.verdicts[static_cast<std::size_t>(i)];
    if (verdict == SONDER_PASS) continue;
    if (verdict > SONDER_RETRY_ROW) return fail(errc::invalid, "verdict " + std::to_string(verdict) + " is none of sonder_verdict");
    const bool reasoned = verdict == SONDER_DROP || verdict == SONDER_DEAD_LETTER;
    if (reasoned && c.reasons[static_cast<std::size_t>(i)] >= stage_.of.reasons.size()) {
      return fail(errc::invalid, "reason " + std::to_string(c.reasons[static_cast<std::size_t>(i)]) +
                                     " is not declared; the manifest has " + std::to_string(stage_.of.reasons.size()));
    }
  }
  for (std::size_t w = 0; w < c.columns.size(); ++w) {
    const auto& write = c.port->writes[w];
    if (c.columns[w].release == nullptr) {
      if (!write.column.nullable) return fail(errc::invalid, "column \"" + write.name + "\" is missing and its type has no null");
      continue;
    }
    // Entries of rows that do not pass are ignored: they may be null in any column.
    auto allowed = write.column;
    allowed.nullable = allowed.nullable || !all_pass;
    if (auto ok = check_array(c.columns[w], allowed, count); !ok) {
      return ok;
    }
    for (std::int64_t i = 0; !all_pass && !write.column.nullable && i < count; ++i) {
      if (c.verdicts[static_cast<std::size_t>(c.first + i)] == SONDER_PASS && is_null(c.columns[w], i)) {
        return fail(errc::invalid, "column \"" + write.name + "\": null in a row that passes, and its type has no null");
      }
    }
  }
  return {};
}

void stage_runner::drop_output(call& c) {
  for (auto& column : c.columns) release(column);
  for (auto& emission : c.emissions) release(emission.array);
  c.emissions.clear();
}

bool stage_runner::sleep_ms(std::int64_t ms) const {
  while (ms > 0) {
    if (stop_.stopping.load(std::memory_order_relaxed)) return false;
    const auto slice_ms = std::min(ms, sleep_slice_ms);
    std::this_thread::sleep_for(std::chrono::milliseconds(slice_ms));
    ms -= slice_ms;
  }
  return true;
}

template <class Call>
std::int32_t stage_runner::with_retries(call& c, sonder_error& error, Call once) {
  auto back_off_ms = stage_.options.retry_ms;
  for (std::int32_t attempt = 1;; ++attempt) {
    error = empty_error();
    const auto answer = once(error);
    if (answer != SONDER_RETRY) return answer;
    if (attempt >= stage_.options.attempts_max) return SONDER_RETRY;
    ++c.counts->retries;
    const auto wait_ms = std::clamp<std::int64_t>(error.retry_after_ms, back_off_ms, stage_.options.retry_ms_max);
    if (!back_off(c, wait_ms)) return SONDER_CANCELLED;
    back_off_ms = std::min(back_off_ms * 2, stage_.options.retry_ms_max);
  }
}

/// Calls with back-off, and once more with a new instance where the first one is lost. Fails where the task cannot go on.
template <class Call>
result<std::int32_t> stage_runner::answer_of(call& c, Call once) {
  sonder_error error = empty_error();
  auto answer = with_retries(c, error, once);
  if (answer != SONDER_OK) c.said = answer == answered_nonsense ? c.violation : message_of(error);
  if (answer == SONDER_FATAL && !remade_) {
    remade_ = true;
    if (auto ok = make_instance(); !ok) return tl::unexpected(ok.error());
    answer = with_retries(c, error, once);
  }
  if (answer == SONDER_OK) return answer;
  const std::string where = "stage \"" + stage_.options.name + "\": plugin " + stage_.of.id;
  switch (answer) {
    case SONDER_CANCELLED:
      return fail(errc::cancelled, where + " gave up because the worker stops");
    case host_failed:
    case does_not_fit:
      return fail(services_.failure().error().code, where + ": " + services_.failure().error().message);
    case SONDER_FATAL:
    case SONDER_BAD_CONFIG:
      // Nothing may pass a stage that cannot run (design section 5): the worker ends rather than go around it.
      return fail(errc::plugin, where + " cannot go on: " + message_of(error));
    default:
      return answer;
  }
}

/// Rows whose line has come to wait in an earlier part of the batch are left out, since they may not overtake it.
status stage_runner::run_range(call& c, std::int64_t first, std::int64_t count, bool whole) {
  const auto end = first + count;
  const auto waits = [&](std::int64_t i) {
    return !c.stopped.empty() && c.stopped.contains(line_of(*c.space, c.allowed->rows[static_cast<std::size_t>(i)]));
  };
  while (first < end) {
    if (waits(first)) {
      c.skipped[static_cast<std::size_t>(first)] = 1;
      c.verdicts[static_cast<std::size_t>(first)] = SONDER_RETRY_ROW;
      c.columns.assign(c.port->writes.size(), ArrowArray{});
      SONDER_TRY(keep_columns(c, first++, 1, false));
      continue;
    }
    auto next = c.stopped.empty() ? end : first + 1;
    while (next < end && !waits(next)) ++next;
    SONDER_TRY(run_segment(c, first, next - first, whole && next - first == count));
    first = next;
  }
  return {};
}

status stage_runner::run_segment(call& c, std::int64_t first, std::int64_t count, bool whole) {
  const auto once = [&](sonder_error& error) { return call_once(c, first, count, error); };
  auto answer = answer_of(c, once);
  if (!answer) return tl::unexpected(answer.error());
  auto back_off_ms = stage_.options.retry_ms;
  for (std::int32_t attempt = 1; *answer == asks_for_retry && count == 1 && attempt < stage_.options.attempts_max; ++attempt) {
    ++c.counts->retries;
    const auto wanted = static_cast<std::int64_t>(c.retry_after_ms[static_cast<std::size_t>(first)]);
    if (!back_off(c, std::clamp(wanted, back_off_ms, stage_.options.retry_ms_max))) {
      return fail(errc::cancelled, "stage \"" + stage_.options.name + "\" gave up a row's retries because the worker stops");
    }
    back_off_ms = std::min(back_off_ms * 2, stage_.options.retry_ms_max);
    answer = answer_of(c, once);
    if (!answer) return tl::unexpected(answer.error());
  }
  if (*answer == SONDER_OK) return keep_columns(c, first, count, whole);
  if (count == 1) {
    const bool exhausted = *answer == SONDER_RETRY || *answer == asks_for_retry;
    const auto cause = exhausted                        ? host_cause::retries_exhausted
                       : *answer == answered_nonsense ? host_cause::bad_output
                                                      : host_cause::plugin_failed;
    c.cause[static_cast<std::size_t>(first)] = static_cast<std::uint8_t>(cause) + 1;
    warn_once(cause, c.said);
    return keep_columns(c, first, 1, whole);
  }
  SONDER_TRY(run_range(c, first, count / 2, false));
  return run_range(c, first + count / 2, count - count / 2, false);
}

/// The first row of each cause leaves a line in the log, with the reason in full; counts tell how many there were.
void stage_runner::warn_once(host_cause cause, const std::string& why) {
  auto& told = told_[static_cast<std::size_t>(cause)];
  auto* lines = module_.services().lines();
  if (told || lines == nullptr) return;
  told = true;
  lines->write(log_level::warning, "a plugin's row is dead-lettered; further ones of this cause are only counted",
               {{"stage", stage_.options.name}, {"plugin", stage_.of.id}, {"cause", name(cause)}, {"because", why}});
}

/// Takes over the columns and rows of a call that counts. Parts of a batch are put together row after row; a row that was given
/// up holds null in each.
status stage_runner::keep_columns(call& c, std::int64_t first, std::int64_t count, bool whole) {
  const bool given_up = c.cause[static_cast<std::size_t>(first)] != 0;
  for (std::size_t w = 0; w < c.columns.size(); ++w) {
    if (whole && !given_up) {
      c.kept[w] = c.columns[w].release == nullptr ? nullptr : &c.memory->own(c.columns[w]);
      continue;
    }
    if (c.joined[w] == nullptr) {
      auto nullable = c.port->writes[w].column;
      nullable.nullable = true;
      c.joined[w] = &c.memory->new_column(nullable);
    }
    for (std::int64_t i = 0; i < count; ++i) {
      if (c.columns[w].release == nullptr) {
        c.joined[w]->append_null();
      } else if (!c.joined[w]->append_from(c.columns[w], i)) {
        return fail(errc::capacity, "a column of one batch passes 2^31-1 bytes; lower batch_rows");
      }
    }
    release(c.columns[w]);
    c.kept[w] = &c.joined[w]->lend();
  }
  keep_emissions(c);
  return {};
}

void stage_runner::keep_emissions(call& c) {
  for (auto& emission : c.emissions) {
    c.counts->emitted += emission.rows.size();
    const auto edge = stage_.emit_edges[emission.port];
    if (edge < 0 || emission.rows.empty()) {
      release(emission.array);
      continue;
    }
    c.emitted->push_back({edge, std::move(emission.rows), &c.memory->own(emission.array)});
  }
  c.emissions.clear();
}

std::int32_t stage_runner::fire_once(call& c, const std::vector<due_timer>& due, std::size_t first, std::size_t count,
                                     sonder_error& error) {
  c.first = static_cast<std::int64_t>(first);
  c.count = static_cast<std::int64_t>(count);
  c.rows_emitted = 0;
  c.violation.clear();
  c.columns.clear();
  std::vector<std::int64_t> at_ms;
  std::vector<std::uint64_t> tags;
  std::vector<sonder_bytes> payloads;
  for (std::size_t i = first; i < first + count; ++i) {
    at_ms.push_back(due[i].at_ms);
    tags.push_back(due[i].tag);
    payloads.push_back({as_bytes(due[i].payload).data(), due[i].payload.size()});
  }
  const sonder_due_timers fired{sizeof fired, due[first].timer, c.count, at_ms.data(), tags.data(), payloads.data()};
  std::vector<std::uint8_t> verdicts(count, SONDER_PASS);
  std::vector<std::uint16_t> no_reasons(count, 0);
  std::vector<std::uint32_t> no_retries(count, 0);
  sonder_output output{sizeof output, 0, verdicts.data(), no_reasons.data(), no_retries.data(), nullptr, nullptr, &call::emit, &c};
  const auto violations = services_.violations();
  services_.begin_call(-1, *c.space, c.allowed->rows.data() + first, c.count, c.times->event_time_ms, c.times->processing_time_ms);
  auto answer = watched(c, "fire", [&] { return module_.table().fire(instance_, &fired, &output, &error); });
  answer = judge(c, answer, violations);
  services_.end_call(answer == SONDER_OK);
  answer == SONDER_OK ? keep_emissions(c) : drop_output(c);
  return answer;
}

status stage_runner::fire(const std::vector<due_timer>& due, row_space& space, const row_base& base, const batch_times& times,
                          batch_memory& memory, node_counts& counts, std::vector<emitted_rows>& emitted) {
  auto& c = *call_;
  c.space = &space;
  c.times = &times;
  c.memory = &memory;
  c.counts = &counts;
  c.emitted = &emitted;
  c.allowed = &base;
  for (std::size_t first = 0; first < due.size();) {
    // One call a run of the same declared timer.
    std::size_t count = 1;
    while (first + count < due.size() && due[first + count].timer == due[first].timer) ++count;
    const auto fired = [&](std::size_t from, std::size_t n) {
      return answer_of(c, [&, from, n](sonder_error& error) { return fire_once(c, due, from, n, error); });
    };
    const auto answer = fired(first, count);
    if (!answer) return tl::unexpected(answer.error());
    for (std::size_t i = first; *answer != SONDER_OK && i < first + count; ++i) {
      const auto alone = fired(i, 1);
      if (!alone) return tl::unexpected(alone.error());
      if (*alone != SONDER_OK) counts.bury(host_cause::plugin_failed);
    }
    first += count;
  }
  return {};
}

/// Counts verdicts, buries dead letters, and writes the purposes that a consent authority allowed.
status stage_runner::settle(call& c, const row_base& allowed) {
  if (c.all_passed && !stage_.authority) return {};
  for (std::size_t i = 0; i < allowed.rows.size(); ++i) {
    if ((c.verdicts[i] | c.cause[i]) == 0 && !stage_.authority) continue;
    const auto row = allowed.rows[i];
    if (c.cause[i] != 0) {
      c.verdicts[i] = SONDER_DEAD_LETTER;
      const auto cause = static_cast<host_cause>(c.cause[i] - 1);
      c.counts->bury(cause);
      SONDER_TRY((*c.bury)(*c.space, row, name(cause)));
    } else if (c.verdicts[i] == SONDER_DROP) {
      ++c.counts->dropped[host_causes + c.reasons[i]];
    } else if (c.verdicts[i] == SONDER_DEAD_LETTER) {
      ++c.counts->dead[host_causes + c.reasons[i]];
      SONDER_TRY((*c.bury)(*c.space, row, stage_.of.reasons[c.reasons[i]]));
    } else if (stage_.authority && c.verdicts[i] == SONDER_PASS) {
      c.space->purposes[static_cast<std::size_t>(row)] = c.purposes[i];
    }
  }
  return {};
}

/// `base`: the rows that this batch settles.
status stage_runner::pass_on(call& c, const row_base& base, edge_rows& out) {
  const auto& wiring = stage_.inputs[c.input];
  const auto& allowed = *c.allowed;
  out.base = &base;
  if (!c.all_passed && !all_zero(c.verdicts.data(), c.verdicts.size())) {
    auto& left = c.memory->new_base();
    left.rows.resize(base.rows.size());
    std::size_t kept = 0;
    std::size_t at = 0;
    for (const auto row : base.rows) {
      while (at < allowed.rows.size() && allowed.rows[at] < row) ++at;
      const bool offered = at < allowed.rows.size() && allowed.rows[at] == row;
      left.rows[kept] = row;
      kept += !offered || c.verdicts[at] == SONDER_PASS ? 1 : 0;
    }
    left.rows.resize(kept);
    out.base = &left;
  }
  c.counts->passed += out.base->rows.size();
  for (std::size_t w = 0; w < wiring.writes.size(); ++w) {
    const auto place = static_cast<std::size_t>(wiring.writes[w]);
    if (out.slots.size() <= place) out.slots.resize(place + 1);
    out.slots[place] = {c.kept[w], &allowed};
  }
  return stage_.authority ? withhold_fields(c, out) : status{};
}

}  // namespace sonder
