#include <algorithm>
#include <optional>
#include <utility>

#include "plugin/config_schema.h"
#include "plugin/plugin_call.h"
#include "plugin/testing_calls.h"
#include "plugin/testing_deadline.h"
#include "sonder/testing/host.h"

namespace sonder::testing {
namespace {

constexpr std::size_t purposes_max = 64;
constexpr int timer_rounds_max = 1000;

template <class T>
T or_refuse(result<T> made) {
  if (!made) throw refused(made.error().message);
  return std::move(*made);
}

std::string checked(const std::string& path, const manifest& of, const std::string& config_json) {
  const auto schema = or_refuse(config_schema::parse(of.config_schema_json));
  auto made = schema.check(config_json);
  if (made.problems.empty()) return std::move(made.json);
  std::string all;
  for (const auto& p : made.problems) {
    all += (all.empty() ? "" : "\n") + path + ": config" + p.pointer + ": " + p.message;
  }
  throw refused(all);
}

std::string position_text(std::size_t row) {
  return "row " + std::to_string(row);
}

}  // namespace

struct host::parts {
  parts(const std::string& path, host_options of)
      : options(std::move(of)),
        library(or_refuse(plugin_library::load(path))),
        declared(library->declared()),
        whose("plugin " + declared.id + " " + declared.version + " (" + path + ")"),
        services(declared, options),
        deadline(whose, options.deadline_ms) {
    if (options.purposes.size() > purposes_max) throw refused("at most 64 purposes");
    config_json = checked(path, declared, options.config_json);
    for (const auto& port : declared.inputs)
      batches.push_back(std::make_unique<offered_batch>(port));
    make_module();
    try {
      make_instance();
    } catch (...) {  // this object's destructor does not run then
      library->calls().module_destroy(module);
      throw;
    }
  }
  ~parts() {
    const inside_plugin inside(*this);
    if (instance != nullptr) library->calls().instance_destroy(instance);
    if (module != nullptr) library->calls().module_destroy(module);
  }

  void make_module() {
    const auto view = [](const std::string& s) { return sonder_string{s.data(), s.size()}; };
    const sonder_module_args args{sizeof args, 0, view(options.stage), view(config_json),
                                  view(options.purpose)};
    auto error = empty_error();
    const inside_plugin inside(*this);
    const auto answer =
        library->calls().module_create(services.module_host(), &args, &module, &error);
    if (answer == SONDER_OK) return;
    module = nullptr;
    throw refused(library->path() + ": " + read_answer(answer, error).message);
  }

  void make_instance() {
    static const std::vector<testing_services::row_origin> no_rows;
    const inside_plugin inside(*this);
    if (instance != nullptr) library->calls().instance_destroy(instance);
    instance = nullptr;
    auto error = empty_error();
    services.begin_call(&no_rows, -1);
    const auto answer =
        library->calls().instance_create(module, services.instance_host(), &instance, &error);
    services.end_call(answer == SONDER_OK);
    if (answer == SONDER_OK) return;
    instance = nullptr;
    throw refused(library->path() + ": " + read_answer(answer, error).message);
  }

  std::size_t port(std::string_view name) const {
    const auto index = declared.input(name);
    if (index >= 0) return static_cast<std::size_t>(index);
    std::vector<std::string> known;
    for (const auto& in : declared.inputs) known.push_back(in.name);
    throw refused("plugin \"" + declared.id + "\" has no input \"" + std::string(name) + "\"" +
                  did_you_mean(name, known));
  }

  std::size_t store(std::string_view name) const {
    for (std::size_t i = 0; i < declared.stores.size(); ++i) {
      if (declared.stores[i].name == name) return i;
    }
    throw refused("plugin \"" + declared.id + "\" has no store \"" + std::string(name) + "\"");
  }

  /// Runs `body`, which calls the plugin, as one savepoint.
  template <class Body>
  call_outcome savepoint(int input, const std::vector<testing_services::row_origin>& origins,
                         call_output& output, Body body) {
    call_outcome made;
    auto error = empty_error();
    services.begin_call(&origins, input);
    const auto said = [&] {
      const inside_plugin inside(*this);
      return body(error);
    }();
    const auto answer = read_answer(said, error);
    made.status = answer.status;
    made.message = answer.message;
    made.retry_after_ms = answer.retry_after_ms;
    if (made.status == SONDER_BAD_CONFIG)
      made.status = SONDER_FATAL;  // only the create functions may say so
    if (made.ok()) {
      if (auto read = output.read(made); !read) {
        made = {};
        made.status = SONDER_FATAL;
        made.message = "broke the contract: " + read.error().message;
      }
    }
    services.end_call(made.ok());
    return made;
  }

  /// One call on what stands in the port's batch.
  call_outcome call(std::size_t at, const std::vector<testing_services::row_origin>& origins) {
    auto& batch = *batches[at];
    const bool authority = declared.asks_for("consent_authority/1");
    call_output output(declared, &declared.inputs[at].writes, batch.rows(), authority, services,
                       options.purposes);
    const auto event_time_before = services.event_time_ms;
    services.event_time_ms = std::max(services.event_time_ms, batch.greatest_event_time_ms());
    const auto* lent =
        batch.lend(static_cast<std::uint32_t>(at), std::exchange(cancel_next, false));
    auto made = savepoint(static_cast<int>(at), origins, output, [&](sonder_error& error) {
      const auto answer = library->calls().process(instance, lent, output.raw(), &error);
      // Ahead of any look at the columns: they may not be views of what was lent.
      batch.take_back();
      return answer;
    });
    if (!made.ok()) services.event_time_ms = event_time_before;
    output.release_all();
    not_released += output.not_released();
    return made;
  }

  /// Reads rows into the port's batch. Throws `refused` for one that cannot be read.
  void fill(std::size_t at, std::span<const offered_row> rows) {
    auto& batch = *batches[at];
    batch.clear();
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (auto read = batch.append(*rows[i].row, row_time()); !read) {
        throw refused(read.error().at(position_text(i)).message);
      }
    }
  }
  std::int64_t row_time() const {
    return services.event_time_ms == INT64_MIN ? services.processing_time_ms
                                               : services.event_time_ms;
  }

  static std::vector<testing_services::row_origin> origins(std::span<const offered_row> rows) {
    std::vector<testing_services::row_origin> made;
    for (const auto& r : rows) made.push_back({r.row->subject, r.position});
    return made;
  }

  call_outcome run_chunk(std::size_t at, std::span<const input_row> rows);
  call_outcome run_range(std::size_t at, std::span<const offered_row> rows, bool filled);
  call_outcome fire_due();
  call_outcome fire(std::uint32_t timer, const std::vector<testing_services::timer_key>& keys);

  /// Around each call of the plugin: whose it is, and since when it runs.
  struct inside_plugin {
    explicit inside_plugin(parts& of) : call(of.whose.c_str()), time(of.deadline) {}
    plugin_call call;
    testing_deadline::running time;
  };

  host_options options;
  std::shared_ptr<const plugin_library> library;
  const manifest& declared;
  std::string whose;
  testing_services services;
  testing_deadline deadline;
  std::string config_json;
  std::vector<std::unique_ptr<offered_batch>> batches;
  void* module = nullptr;
  void* instance = nullptr;
  bool cancel_next = false;
  std::uint64_t position_next = 0;
  std::uint64_t not_released = 0;
};

host::host(const std::string& plugin_path, host_options options)
    : self_(std::make_unique<parts>(plugin_path, std::move(options))) {}
host::~host() = default;

call_outcome host::process(std::string_view port, std::span<const input_row> rows) {
  if (rows.empty()) return {};
  const auto at = self_->port(port);
  std::vector<offered_row> offered;
  for (const auto& row : rows) offered.push_back({&row, self_->position_next + offered.size()});
  self_->fill(at, offered);
  auto made = self_->call(at, parts::origins(offered));
  if (made.ok()) self_->position_next += rows.size();
  return made;
}

// ---- As a flow would ----

namespace {

/// Appends what `later` made of the next rows; row numbers go on.
void append(call_outcome& all, call_outcome&& later) {
  const auto rows_before = static_cast<std::int64_t>(all.rows.size());
  for (auto& row : later.rows) all.rows.push_back(std::move(row));
  for (auto& e : later.emitted) {
    e.source_row += rows_before;
    all.emitted.push_back(std::move(e));
  }
  all.status = later.status;
  all.message = std::move(later.message);
}

row_outcome dead(std::string reason, std::string message) {
  row_outcome made;
  made.what = verdict::dead_letter;
  made.reason = std::move(reason);
  made.message = std::move(message);
  return made;
}

}  // namespace

call_outcome host::parts::run_range(std::size_t at, std::span<const offered_row> rows,
                                    bool filled) {
  if (rows.empty()) return {};
  if (!filled) fill(at, rows);
  const auto of_rows = origins(rows);
  auto made = call(at, of_rows);
  for (int attempt = 1; made.status == SONDER_RETRY && attempt < attempts_max; ++attempt)
    made = call(at, of_rows);
  if (made.status == SONDER_FATAL) {
    make_instance();
    made = call(at, of_rows);
  }
  if (made.status != SONDER_BAD_RECORDS && made.status != SONDER_RETRY) return made;
  if (rows.size() == 1) {
    call_outcome one;
    one.rows.push_back(dead("bad_records", made.message));
    return one;
  }
  const auto half = rows.size() / 2;
  auto all = run_range(at, rows.first(half), false);
  if (all.ok()) append(all, run_range(at, rows.subspan(half), false));
  return all;
}

call_outcome host::parts::run_chunk(std::size_t at, std::span<const input_row> rows) {
  auto& batch = *batches[at];
  batch.clear();
  std::vector<offered_row> offered;
  std::vector<std::size_t> place;  // of each offered row among all
  std::vector<row_outcome> outcomes(rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (auto read = batch.append(rows[i], row_time()); read) {
      offered.push_back({&rows[i], position_next + i});
      place.push_back(i);
    } else {
      outcomes[i] = dead("unreadable", read.error().message);
    }
  }
  position_next += rows.size();
  auto made = run_range(at, offered, true);
  const auto done = made.rows.size();
  for (std::size_t i = 0; i < done; ++i) outcomes[place[i]] = std::move(made.rows[i]);
  if (!made.ok()) outcomes.resize(done == 0 ? 0 : place[done - 1] + 1);
  for (auto& e : made.emitted)
    e.source_row = static_cast<std::int64_t>(place[static_cast<std::size_t>(e.source_row)]);
  made.rows = std::move(outcomes);
  return made;
}

call_outcome host::run(std::string_view port, std::span<const input_row> rows,
                       std::int32_t batch_rows) {
  const auto at = self_->port(port);
  const auto step = static_cast<std::size_t>(std::max(batch_rows, 1));
  call_outcome all;
  while (!rows.empty() && all.ok()) {
    const auto count = std::min(step, rows.size());
    append(all, self_->run_chunk(at, rows.first(count)));
    rows = rows.subspan(count);
  }
  return all;
}

// ---- Time ----

void host::set_processing_time_ms(std::int64_t to) {
  self_->services.processing_time_ms = to;
}
std::int64_t host::event_time_ms() const {
  return self_->services.event_time_ms;
}
std::int64_t host::processing_time_ms() const {
  return self_->services.processing_time_ms;
}
std::size_t host::timers_waiting() const {
  return self_->services.timers.size();
}

call_outcome host::advance_event_time_ms(std::int64_t to) {
  self_->services.event_time_ms = std::max(self_->services.event_time_ms, to);
  return self_->fire_due();
}
call_outcome host::advance_processing_time_ms(std::int64_t to) {
  self_->services.processing_time_ms = std::max(self_->services.processing_time_ms, to);
  return self_->fire_due();
}

call_outcome host::parts::fire_due() {
  call_outcome all;
  // A timer may set the next one, due as well; the rounds are bounded, since it could do so for
  // ever.
  for (int round = 0; round < timer_rounds_max; ++round) {
    std::vector<testing_services::timer_key> due;
    for (const auto& [key, value] : services.timers) {
      const auto now =
          value.kind == SONDER_EVENT_TIME ? services.event_time_ms : services.processing_time_ms;
      if (value.at_ms <= now) due.push_back(key);
    }
    if (due.empty()) return all;
    std::stable_sort(due.begin(), due.end(), [&](const auto& a, const auto& b) {
      return services.timers.at(a).at_ms < services.timers.at(b).at_ms;
    });
    // One call is about one declared timer: the oldest, and those of its kind that follow it.
    const auto end = std::find_if(due.begin(), due.end(),
                                  [&](const auto& k) { return k.timer != due.front().timer; });
    append(all, fire(due.front().timer, {due.begin(), end}));
    if (!all.ok()) return all;
  }
  throw refused("timers set each other for ever");
}

call_outcome host::parts::fire(std::uint32_t timer,
                               const std::vector<testing_services::timer_key>& keys) {
  std::vector<std::int64_t> at_ms;
  std::vector<std::uint64_t> tags;
  std::vector<std::string> payloads;
  std::vector<sonder_bytes> payload_views;
  std::vector<testing_services::row_origin> of_rows;
  const auto before = services.timers;
  for (const auto& key : keys) {
    const auto& value = services.timers.at(key);
    at_ms.push_back(value.at_ms);
    tags.push_back(key.tag);
    payloads.push_back(value.payload);
    of_rows.push_back({key.subject, key.tag});
    services.timers.erase(key);
  }
  for (const auto& p : payloads)
    payload_views.push_back({reinterpret_cast<const std::uint8_t*>(p.data()), p.size()});
  const auto rows = static_cast<std::int64_t>(keys.size());
  const sonder_due_timers due{sizeof due,   timer,       rows,
                              at_ms.data(), tags.data(), payload_views.data()};
  call_output output(declared, nullptr, rows, false, services, options.purposes);
  auto made = savepoint(-1, of_rows, output, [&](sonder_error& error) {
    return library->calls().fire(instance, &due, output.raw(), &error);
  });
  output.release_all();
  not_released += output.not_released();
  if (!made.ok()) services.timers = before;
  return made;
}

// ---- Faults, state, metrics ----

void host::fail_service_call(std::uint64_t n) {
  self_->services.fail_after(n);
}
void host::cancel_next_call() {
  self_->cancel_next = true;
}
void host::new_instance() {
  self_->make_instance();
}

std::vector<std::pair<std::string, std::string>> host::state(std::string_view store) const {
  const auto& entries = self_->services.stores[self_->store(store)];
  return {entries.begin(), entries.end()};
}

void host::put_state(std::string_view store, std::string_view key, std::string_view value) {
  self_->services.stores[self_->store(store)].insert_or_assign(std::string(key),
                                                               std::string(value));
}

void host::migrate(std::string_view store, std::uint32_t from) {
  const auto at = self_->store(store);
  const auto& calls = self_->library->calls();
  if (calls.migrate == nullptr) throw refused("plugin \"" + plugin_id() + "\" has no migrate");
  std::map<std::string, std::string, std::less<>> migrated;
  const auto raw = [](const std::string& s) {
    return sonder_bytes{reinterpret_cast<const std::uint8_t*>(s.data()), s.size()};
  };
  const auto replace = [](void* ctx, sonder_bytes key, sonder_bytes value) {
    const auto text = [](sonder_bytes b) {
      return std::string(as_text({b.data, static_cast<std::size_t>(b.size)}));
    };
    static_cast<decltype(migrated)*>(ctx)->insert_or_assign(text(key), text(value));
  };
  for (const auto& [key, value] : self_->services.stores[at]) {
    auto error = empty_error();
    const auto answer = calls.migrate(self_->module, static_cast<std::uint32_t>(at), from, raw(key),
                                      raw(value), replace, &migrated, &error);
    if (answer != SONDER_OK) throw refused("migrate: " + read_answer(answer, error).message);
  }
  self_->services.stores[at] = std::move(migrated);
}

std::vector<metric_value> host::metrics() const {
  std::vector<metric_value> made;
  for (const auto& [key, value] : self_->services.metrics) {
    const auto& m = self_->declared.metrics[key.first];
    made.push_back({m.name, m.label_values.empty() ? "" : m.label_values[key.second], value});
  }
  return made;
}

double host::metric(std::string_view name, std::string_view label) const {
  for (const auto& m : metrics()) {
    if (m.name == name && m.label == label) return m.value;
  }
  return 0;
}

const std::vector<std::string>& host::log_lines() const {
  return self_->services.log_lines;
}
const std::vector<std::string>& host::violations() const {
  return self_->services.violations;
}
std::uint64_t host::arrays_not_released() const {
  return self_->not_released;
}
std::string host::plugin_id() const {
  return self_->declared.id;
}

std::vector<std::string> host::event_ports() const {
  std::vector<std::string> made;
  for (const auto& in : self_->declared.inputs) {
    if (in.role == input_role::event) made.push_back(in.name);
  }
  return made;
}

}  // namespace sonder::testing
