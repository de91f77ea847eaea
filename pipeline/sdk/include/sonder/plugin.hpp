// sonder/plugin.hpp: the C++20 form of sonder/plugin.h. Header only; needs nothing but the standard
// library.
//
// A plugin is two classes and one line:
//
//   namespace sp = sonder::plugin;
//   struct my_module {                                     // shared by threads, immutable after
//   create
//     static sp::result<std::unique_ptr<my_module>> create(const sp::host&, const
//     sp::module_args&);
//   };
//   struct my_instance {                                   // one per task (or thread), never two
//   calls at a time
//     static sp::result<std::unique_ptr<my_instance>> create(const my_module&, const sp::host&);
//     sp::status process(const sp::batch&, sp::output&);
//     sp::status fire(const sp::due_timers&, sp::output&); // only if the manifest declares timers
//   };
//   SONDER_PLUGIN(my_module, my_instance)
//
// A module may also have `sp::status migrate(const sp::old_entry&, const sp::replace_entry&)
// const`.
//
// ERRORS. Say what went wrong by returning a `status`, or by throwing: no exception leaves the
// library.
//   failed, contract_error   the status that they carry, FATAL
//   std::bad_alloc           RETRY
//   anything else            BAD_RECORDS out of process and fire (the host bisects to the row),
//   FATAL out of the rest
// The text of a status and `what()` of an exception reach the operator's log. They are trusted to
// hold nothing of a record: never throw or return a message made from a row.
//
// LENDING. Views (columns, text, bytes, state values) live until the call returns; state values
// until the next state call.
#ifndef SONDER_PLUGIN_HPP
#define SONDER_PLUGIN_HPP

#include <algorithm>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "sonder/plugin.h"
#include "sonder/plugin_columns.hpp"

namespace sonder::plugin {

// ---- What a call answers
// ---------------------------------------------------------------------------------------------

/// A code of plugin.h with a message for operators. Default: OK.
class [[nodiscard]] status {
 public:
  status() = default;
  status(std::int32_t code, std::string message, std::uint32_t retry_after_ms = 0)
      : code_(code), retry_after_ms_(retry_after_ms), message_(std::move(message)) {}

  static status ok() { return {}; }
  static status retry(std::uint32_t after_ms, std::string why) {
    return {SONDER_RETRY, std::move(why), after_ms};
  }
  static status bad_records(std::string why) { return {SONDER_BAD_RECORDS, std::move(why)}; }
  static status fatal(std::string why) { return {SONDER_FATAL, std::move(why)}; }
  /// From the create functions: name the property and what to do.
  static status bad_config(std::string why) { return {SONDER_BAD_CONFIG, std::move(why)}; }
  static status cancelled() { return {SONDER_CANCELLED, "cancelled by the host"}; }

  [[nodiscard]] bool is_ok() const { return code_ == SONDER_OK; }
  [[nodiscard]] std::int32_t code() const { return code_; }
  [[nodiscard]] std::uint32_t retry_after_ms() const { return retry_after_ms_; }
  [[nodiscard]] const std::string& message() const { return message_; }

 private:
  std::int32_t code_ = SONDER_OK;  // a number, as it crosses the boundary
  std::uint32_t retry_after_ms_ = 0;
  std::string message_;
};

/// A value, or the status that says why there is none.
template <class T>
class [[nodiscard]] result {
 public:
  result(T value)
      : either_(std::in_place_index<0>, std::move(value)) {}  // NOLINT: implicit by intent
  result(status why) : either_(std::in_place_index<1>, std::move(why)) {  // NOLINT
    if (std::get<1>(either_).is_ok())
      either_.template emplace<1>(SONDER_FATAL, "an OK status without a value");
  }
  template <class U>
  requires(std::convertible_to<U&&, T> && !std::same_as<std::remove_cvref_t<U>, T> &&
           !std::same_as<std::remove_cvref_t<U>, status> &&
           !std::same_as<std::remove_cvref_t<U>, result>) result(U&& value)
      : either_(std::in_place_index<0>, std::forward<U>(value)) {}  // NOLINT

  [[nodiscard]] bool has_value() const { return either_.index() == 0; }
  explicit operator bool() const { return has_value(); }
  [[nodiscard]] T& value() { return std::get<0>(either_); }
  [[nodiscard]] const T& value() const { return std::get<0>(either_); }
  T& operator*() { return value(); }
  const T& operator*() const { return value(); }
  T* operator->() { return &value(); }
  [[nodiscard]] const status& why() const { return std::get<1>(either_); }

 private:
  std::variant<T, status> either_;
};

/// A status, thrown: what a service that failed answers, and what a plugin may throw.
class failed : public std::runtime_error {
 public:
  explicit failed(status why) : std::runtime_error(why.message()), why_(std::move(why)) {}
  [[nodiscard]] const status& why() const { return why_; }

 private:
  status why_;
};

// ---- Services
// --------------------------------------------------------------------------------------------------------

/// Log lines, bounded by the host. Never anything of a record. Does nothing where log/1 is not
/// granted.
class log {
 public:
  log() = default;
  explicit log(const sonder_log_service* service) : service_(service) {}
  void debug(std::string_view message) const { write(SONDER_LOG_DEBUG, message); }
  void info(std::string_view message) const { write(SONDER_LOG_INFO, message); }
  void warning(std::string_view message) const { write(SONDER_LOG_WARNING, message); }
  void error(std::string_view message) const { write(SONDER_LOG_ERROR, message); }

 private:
  void write(std::int32_t level, std::string_view message) const {
    if (service_ != nullptr)
      service_->write(service_->ctx, level, {message.data(), message.size()});
  }
  const sonder_log_service* service_ = nullptr;
};

/// The metrics of the manifest by index. Does nothing where metrics/1 is not granted.
class metrics {
 public:
  metrics() = default;
  explicit metrics(const sonder_metrics_service* service) : service_(service) {}
  /// Counter: adds `amount` >= 0. `label_value`: the index of the declared value, 0 for a metric
  /// without label.
  void add(std::uint32_t metric, double amount = 1, std::uint32_t label_value = 0) const {
    if (service_ != nullptr) service_->add(service_->ctx, metric, label_value, amount);
  }
  /// Gauge: the value from now on.
  void set(std::uint32_t metric, double value, std::uint32_t label_value = 0) const {
    add(metric, value, label_value);
  }

 private:
  const sonder_metrics_service* service_ = nullptr;
};

/// One store of the manifest. Every function throws `failed` (FATAL) where the host refuses.
class store {
 public:
  store() = default;
  store(const sonder_state_service* service, std::uint32_t index)
      : service_(service), index_(index) {}

  /// The newest value; the view lives until the next call of any store.
  [[nodiscard]] std::optional<bytes_view> get(bytes_view key) const {
    sonder_bytes value{};
    std::int32_t found = 0;
    check(service_->get(service_->ctx, index_, raw(key), &value, &found), "get");
    if (found == 0) return std::nullopt;
    return bytes_view{value.data, value.size};
  }
  [[nodiscard]] std::optional<std::string_view> get(std::string_view key) const {
    const auto value = get(as_bytes(key));
    if (!value) return std::nullopt;
    return as_text(*value);
  }
  void put(bytes_view key, bytes_view value) const {
    check(service_->put(service_->ctx, index_, raw(key), raw(value)), "put");
  }
  void put(std::string_view key, std::string_view value) const {
    put(as_bytes(key), as_bytes(value));
  }
  void erase(bytes_view key) const {
    check(service_->erase(service_->ctx, index_, raw(key)), "erase");
  }
  void erase(std::string_view key) const { erase(as_bytes(key)); }

  /// Calls `visit(key, value)` for each entry under `prefix`, by ascending key, while it returns
  /// true. `visit` must not use a store. What it throws leaves `scan`.
  template <std::invocable<bytes_view, bytes_view> Visit>
  void scan(bytes_view prefix, Visit visit) const {
    struct frame {
      Visit& visit;
      std::exception_ptr thrown;
    } frame{visit, nullptr};
    const auto answer = service_->scan(
        service_->ctx, index_, raw(prefix),
        [](void* ctx, sonder_bytes key, sonder_bytes value) -> std::int32_t {
          auto& f = *static_cast<struct frame*>(ctx);
          try {
            return f.visit(bytes_view{key.data, key.size}, bytes_view{value.data, value.size}) ? 0
                                                                                               : 1;
          } catch (...) {
            f.thrown = std::current_exception();
            return 1;
          }
        },
        &frame);
    if (frame.thrown) std::rethrow_exception(frame.thrown);
    check(answer, "scan");
  }

 private:
  static sonder_bytes raw(bytes_view b) { return {b.data(), b.size()}; }
  static void check(std::int32_t answer, const char* what) {
    if (answer != SONDER_OK) {
      throw failed({static_cast<sonder_status>(answer), std::string("state/1 refused ") + what});
    }
  }
  const sonder_state_service* service_ = nullptr;
  std::uint32_t index_ = 0;
};

class clock {
 public:
  explicit clock(const sonder_clock_service* service = nullptr) : service_(service) {}
  /// The task's: the greatest event time merged so far; INT64_MIN before any.
  [[nodiscard]] std::int64_t event_time_ms() const {
    return service_->event_time_ms(service_->ctx);
  }
  [[nodiscard]] std::int64_t processing_time_ms() const {
    return service_->processing_time_ms(service_->ctx);
  }

 private:
  const sonder_clock_service* service_;
};

/// The same numbers for the same row on every replay.
class random {
 public:
  explicit random(const sonder_random_service* service = nullptr) : service_(service) {}
  [[nodiscard]] std::uint64_t next(std::int64_t row) const {
    return service_->next(service_->ctx, row);
  }
  /// Uniform in [0, 1), 53 bits.
  [[nodiscard]] double uniform(std::int64_t row) const {
    return static_cast<double>(next(row) >> 11) * 0x1.0p-53;
  }

 private:
  const sonder_random_service* service_;
};

/// The timers of the manifest by index; one per (subject of the row, timer, tag).
class timers {
 public:
  explicit timers(const sonder_timer_service* service = nullptr) : service_(service) {}
  void set(std::int64_t row, std::uint32_t timer, std::uint64_t tag, sonder_time_kind kind,
           std::int64_t at_ms, bytes_view payload = {}) const {
    check(service_->set(service_->ctx, row, timer, tag, kind, at_ms,
                        {payload.data(), payload.size()}));
  }
  void cancel(std::int64_t row, std::uint32_t timer, std::uint64_t tag) const {
    check(service_->cancel(service_->ctx, row, timer, tag));
  }

 private:
  static void check(std::int32_t answer) {
    if (answer != SONDER_OK) throw failed({static_cast<sonder_status>(answer), "timer/1 refused"});
  }
  const sonder_timer_service* service_;
};

/// The purposes of the flow, each with its bit in `output::set_purposes`.
class consent_authority {
 public:
  explicit consent_authority(const sonder_consent_authority_service* service = nullptr)
      : service_(service) {}
  [[nodiscard]] std::uint32_t purposes() const { return service_->purposes(service_->ctx); }
  /// Lives as long as the process.
  [[nodiscard]] std::string_view purpose(std::uint32_t bit) const {
    const auto s = service_->purpose(service_->ctx, bit);
    return {s.data, s.size};
  }

 private:
  const sonder_consent_authority_service* service_;
};

/// The host as a module or an instance sees it; a pointer, copy it freely. The instance's outlives
/// the instance.
class host {
 public:
  explicit host(const sonder_host* raw) : raw_(raw) {}

  /// `sonder try` and the testing host: a plugin that needs a secret may make one up for this run.
  [[nodiscard]] bool trial() const { return (raw_->flags & SONDER_HOST_TRIAL) != 0; }
  [[nodiscard]] bool offers(const char* id) const { return raw_->service(raw_, id) != nullptr; }

  [[nodiscard]] plugin::log log() const { return plugin::log(find<sonder_log_service>("log/1")); }
  [[nodiscard]] plugin::metrics metrics() const {
    return plugin::metrics(find<sonder_metrics_service>("metrics/1"));
  }

  // These throw `failed` (FATAL) where the host does not grant the service.
  [[nodiscard]] plugin::store store(std::uint32_t index) const {
    return {need<sonder_state_service>("state/1"), index};
  }
  [[nodiscard]] plugin::clock clock() const {
    return plugin::clock(need<sonder_clock_service>("clock/1"));
  }
  [[nodiscard]] plugin::random random() const {
    return plugin::random(need<sonder_random_service>("random/1"));
  }
  [[nodiscard]] plugin::timers timers() const {
    return plugin::timers(need<sonder_timer_service>("timer/1"));
  }
  [[nodiscard]] plugin::consent_authority consent_authority() const {
    return plugin::consent_authority(need<sonder_consent_authority_service>("consent_authority/1"));
  }

  /// The secret of that name, or nothing where none is configured. Copy it; wipe the copy when
  /// done.
  [[nodiscard]] std::optional<bytes_view> secret(std::string_view name) const {
    const auto* service = find<sonder_secrets_service>("secrets/1");
    sonder_bytes secret{};
    if (service == nullptr ||
        service->get(service->ctx, {name.data(), name.size()}, &secret) != SONDER_OK) {
      return std::nullopt;
    }
    return bytes_view{secret.data, secret.size};
  }

  [[nodiscard]] const sonder_host* raw() const { return raw_; }

 private:
  template <class T>
  [[nodiscard]] const T* find(const char* id) const {
    return static_cast<const T*>(raw_->service(raw_, id));
  }
  template <class T>
  [[nodiscard]] const T* need(const char* id) const {
    const auto* service = find<T>(id);
    if (service == nullptr) {
      throw failed(status::fatal(std::string("the host does not grant ") + id +
                                 "; ask for it under \"services\""));
    }
    return service;
  }
  const sonder_host* raw_;
};

struct module_args {
  std::string_view stage;
  std::string_view config_json;  ///< valid under the manifest's `config`, defaults filled in
  std::string_view purpose;
};

// ---- Calls
// -----------------------------------------------------------------------------------------------------------

/// Rows of one input port. Reads are found by their index in the manifest; asking for another type
/// than the declared one throws `contract_error`.
class batch {
 public:
  explicit batch(const sonder_batch& raw)
      : raw_(raw),
        all_(raw.array != nullptr && raw.schema != nullptr ? column_view(*raw.array, *raw.schema)
                                                           : column_view()) {}

  [[nodiscard]] std::uint32_t port() const { return raw_.port; }
  [[nodiscard]] std::int64_t rows() const { return raw_.rows; }
  /// True when the call should give up: return `status::cancelled()`. Cheap; ask every few hundred
  /// rows.
  [[nodiscard]] bool cancelled() const { return raw_.cancelled != nullptr && *raw_.cancelled != 0; }
  [[nodiscard]] std::int64_t watermark_ms() const { return raw_.watermark_ms; }

  [[nodiscard]] column_view column(std::size_t read) const { return all_.child(read); }
  [[nodiscard]] text_column text(std::size_t read) const { return text_column(column(read)); }
  [[nodiscard]] binary_column binary(std::size_t read) const { return binary_column(column(read)); }
  [[nodiscard]] bool_column boolean(std::size_t read) const { return bool_column(column(read)); }
  [[nodiscard]] int32_column int32(std::size_t read) const { return int32_column(column(read)); }
  [[nodiscard]] int64_column int64(std::size_t read) const {
    return int64_column(column(read));
  }  ///< timestamps too
  [[nodiscard]] float32_column float32(std::size_t read) const {
    return float32_column(column(read));
  }
  [[nodiscard]] float64_column float64(std::size_t read) const {
    return float64_column(column(read));
  }
  [[nodiscard]] enum_column enumeration(std::size_t read) const {
    return enum_column(column(read));
  }
  [[nodiscard]] list_column list(std::size_t read) const { return list_column(column(read)); }
  [[nodiscard]] map_column map(std::size_t read) const { return map_column(column(read)); }
  [[nodiscard]] record_column record(std::size_t read) const { return record_column(column(read)); }
  [[nodiscard]] union_column dense_union(std::size_t read) const {
    return union_column(column(read));
  }

  // Reserved columns; empty (or a column without rows) unless the port lists them under `reserved`.
  [[nodiscard]] std::span<const std::int64_t> timestamps_ms() const {
    return span(raw_.timestamp_ms);
  }
  [[nodiscard]] std::span<const std::int64_t> event_times_ms() const {
    return span(raw_.event_time_ms);
  }
  [[nodiscard]] std::span<const std::uint8_t> tombstones() const { return span(raw_.tombstone); }
  [[nodiscard]] binary_column keys() const { return binary_column::of_reserved(raw_.key); }
  [[nodiscard]] header_column headers() const { return header_column(raw_.headers); }

  [[nodiscard]] const sonder_batch& raw() const { return raw_; }

 private:
  template <class T>
  [[nodiscard]] std::span<const T> span(const T* first) const {
    return first == nullptr ? std::span<const T>()
                            : std::span<const T>(first, static_cast<std::size_t>(raw_.rows));
  }
  const sonder_batch& raw_;
  column_view all_;
};

/// Timers that are due, oldest first.
class due_timers {
 public:
  explicit due_timers(const sonder_due_timers& raw) : raw_(raw) {}
  [[nodiscard]] std::uint32_t timer() const { return raw_.timer; }
  [[nodiscard]] std::int64_t rows() const { return raw_.rows; }
  [[nodiscard]] std::int64_t at_ms(std::int64_t row) const { return raw_.at_ms[row]; }
  [[nodiscard]] std::uint64_t tag(std::int64_t row) const { return raw_.tags[row]; }
  [[nodiscard]] bytes_view payload(std::int64_t row) const {
    return {raw_.payloads[row].data, static_cast<std::size_t>(raw_.payloads[row].size)};
  }

 private:
  const sonder_due_timers& raw_;
};

/// What the call makes. Every row passes unless it is said otherwise. Reasons and writes are
/// indices in the manifest.
class output {
 public:
  explicit output(sonder_output& raw) : raw_(raw) {}

  void drop(std::int64_t row, std::uint16_t reason) { judge(row, SONDER_DROP, reason); }
  void dead_letter(std::int64_t row, std::uint16_t reason) {
    judge(row, SONDER_DEAD_LETTER, reason);
  }
  void retry(std::int64_t row, std::uint32_t after_ms) {
    raw_.verdicts[row] = SONDER_RETRY_ROW;
    raw_.retry_after_ms[row] = after_ms;
  }
  void pass(std::int64_t row) { judge(row, SONDER_PASS, 0); }
  [[nodiscard]] sonder_verdict verdict(std::int64_t row) const {
    return static_cast<sonder_verdict>(raw_.verdicts[row]);
  }

  /// Hands the column over as write `write` of the port. It must have as many rows as the batch;
  /// setting a write twice keeps the later one.
  template <class Builder>
  void set(std::uint32_t write, column<Builder>& made) {
    if (write >= raw_.columns_count)
      throw contract_error("output::set: the port has no such write");
    auto& slot = raw_.columns[write];
    if (slot.release != nullptr) slot.release(&slot);
    made.hand_over(slot);
  }

  /// Emits the rows of `made` on output port `port`; row i comes from row `source_rows[i]` of the
  /// batch. Throws `failed` where the host refuses.
  template <class... Fields>
  void emit(std::uint32_t port, std::span<const std::int64_t> source_rows,
            column<build::record<Fields...>>& made) {
    if (made.builder().length() != static_cast<std::int64_t>(source_rows.size())) {
      throw contract_error("output::emit: one source row for each emitted row");
    }
    if (source_rows.empty()) return;
    ArrowArray array{};
    made.hand_over(array);
    const auto answer = raw_.emit(raw_.ctx, port, source_rows.data(),
                                  static_cast<std::int64_t>(source_rows.size()), &array);
    if (answer != SONDER_OK) {
      throw failed({static_cast<sonder_status>(answer),
                    "the host refused emitted rows: a limit or their declared shape"});
    }
  }

  /// Only for the stage that holds consent_authority/1: the purposes that the row's subject agreed
  /// to, as bits.
  void set_purposes(std::int64_t row, std::uint64_t mask) {
    if (raw_.purpose_mask == nullptr)
      throw contract_error("output::set_purposes needs consent_authority/1");
    raw_.purpose_mask[row] = mask;
  }

  [[nodiscard]] sonder_output& raw() { return raw_; }

 private:
  void judge(std::int64_t row, sonder_verdict verdict, std::uint16_t reason) {
    raw_.verdicts[row] = static_cast<std::uint8_t>(verdict);
    raw_.reasons[row] = reason;
  }
  sonder_output& raw_;
};

/// An entry of a store that an older version of the plugin wrote.
struct old_entry {
  std::uint32_t store;
  std::uint32_t from_version;
  bytes_view key;
  bytes_view value;
};

/// Writes the entry's current form; an entry for which it is never called is dropped.
class replace_entry {
 public:
  replace_entry(void (*replace)(void*, sonder_bytes, sonder_bytes), void* ctx)
      : replace_(replace), ctx_(ctx) {}
  void operator()(bytes_view key, bytes_view value) const {
    replace_(ctx_, {key.data(), key.size()}, {value.data(), value.size()});
  }

 private:
  void (*replace_)(void*, sonder_bytes, sonder_bytes);
  void* ctx_;
};

// ---- From here on: how the C table is made; plugins do not use it directly
// -------------------------------------------

namespace detail {

inline std::int32_t answer(sonder_error* error, std::int32_t code, std::string_view message,
                           std::uint32_t retry_after_ms = 0) noexcept {
  if (error != nullptr && code != SONDER_OK) {
    error->retry_after_ms = retry_after_ms;
    auto size = std::min(message.size(), sizeof error->message - 1);
    // Never cut a UTF-8 sequence in two.
    while (size < message.size() && size > 0 &&
           (static_cast<unsigned char>(message[size]) & 0xC0) == 0x80)
      --size;
    std::memcpy(error->message, message.data(), size);
    error->message[size] = 0;
  }
  return code;
}

inline std::int32_t answer(sonder_error* error, const status& s) noexcept {
  return answer(error, s.code(), s.message(), s.retry_after_ms());
}

/// Runs `body`, which answers a status, and turns whatever it throws into one; see ERRORS above.
template <class Body>
std::int32_t guarded(sonder_error* error, sonder_status unknown, Body body) noexcept {
  constexpr std::uint32_t memory_retry_ms = 1000;
  try {
    return answer(error, body());
  } catch (const failed& e) {
    return answer(error, e.why());
  } catch (const contract_error& e) {
    return answer(error, SONDER_FATAL, e.what());
  } catch (const std::bad_alloc&) {
    return answer(error, SONDER_RETRY, "out of memory", memory_retry_ms);
  } catch (const std::exception& e) {
    return answer(error, unknown, e.what());
  } catch (...) {
    return answer(error, unknown, "an exception that is not a std::exception");
  }
}

template <class Instance>
concept fires = requires(Instance& i, const due_timers& due, output& out) {
  { i.fire(due, out) } -> std::same_as<status>;
};

template <class Module>
concept migrates = requires(const Module& m, const old_entry& entry, const replace_entry& replace) {
  { m.migrate(entry, replace) } -> std::same_as<status>;
};

inline std::string_view view(sonder_string s) {
  return {s.data, static_cast<std::size_t>(s.size)};
}

template <class Module, class Instance>
struct table {
  static std::int32_t module_create(const sonder_host* raw, const sonder_module_args* args,
                                    void** made, sonder_error* error) {
    return guarded(error, SONDER_FATAL, [&]() -> status {
      auto created = Module::create(
          host(raw), module_args{view(args->stage), view(args->config_json), view(args->purpose)});
      if (!created) return created.why();
      *made = created->release();
      return {};
    });
  }
  static void module_destroy(void* module) { delete static_cast<Module*>(module); }

  static std::int32_t instance_create(void* module, const sonder_host* raw, void** made,
                                      sonder_error* error) {
    return guarded(error, SONDER_FATAL, [&]() -> status {
      auto created = Instance::create(*static_cast<const Module*>(module), host(raw));
      if (!created) return created.why();
      *made = created->release();
      return {};
    });
  }
  static void instance_destroy(void* instance) { delete static_cast<Instance*>(instance); }

  static std::int32_t process(void* instance, const sonder_batch* in, sonder_output* out,
                              sonder_error* error) {
    return guarded(error, SONDER_BAD_RECORDS, [&]() -> status {
      output made(*out);
      return static_cast<Instance*>(instance)->process(batch(*in), made);
    });
  }
  static std::int32_t fire(void* instance, const sonder_due_timers* due, sonder_output* out,
                           sonder_error* error) {
    return guarded(error, SONDER_BAD_RECORDS, [&]() -> status {
      output made(*out);
      return static_cast<Instance*>(instance)->fire(due_timers(*due), made);
    });
  }
  static std::int32_t migrate(void* module, std::uint32_t store, std::uint32_t from,
                              sonder_bytes key, sonder_bytes value,
                              void (*replace)(void*, sonder_bytes, sonder_bytes), void* ctx,
                              sonder_error* error) {
    return guarded(error, SONDER_FATAL, [&]() -> status {
      return static_cast<const Module*>(module)->migrate(
          old_entry{store,
                    from,
                    {key.data, static_cast<std::size_t>(key.size)},
                    {value.data, static_cast<std::size_t>(value.size)}},
          replace_entry(replace, ctx));
    });
  }

  static const sonder_plugin* get() noexcept {
    static constexpr sonder_plugin made = [] {
      sonder_plugin t{};
      t.struct_size = sizeof(sonder_plugin);
      t.abi_major = SONDER_ABI_MAJOR;
      t.abi_minor = SONDER_ABI_MINOR;
      t.module_create = &table::module_create;
      t.module_destroy = &table::module_destroy;
      t.instance_create = &table::instance_create;
      t.instance_destroy = &table::instance_destroy;
      t.process = &table::process;
      if constexpr (fires<Instance>) t.fire = &table::fire;
      if constexpr (migrates<Module>) t.migrate = &table::migrate;
      return t;
    }();
    return &made;
  }
};

}  // namespace detail
}  // namespace sonder::plugin

/// Defines the one exported function. Once per library, at file scope, outside any namespace.
#define SONDER_PLUGIN(module_type, instance_type)                              \
  extern "C" SONDER_EXPORT const sonder_plugin* sonder_plugin_entry(void) {    \
    return ::sonder::plugin::detail::table<module_type, instance_type>::get(); \
  }

#endif
