#include "flow/services.h"

#include <sodium.h>
#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <iterator>
#include <new>

#include "flow/left_behind.h"
#include "flow/store_names.h"
#include "observe/log.h"
#include "plugin/plugin_call.h"

namespace sonder {

namespace {

constexpr std::size_t key_bytes_max = 4096;
constexpr std::size_t value_bytes_max = 1 << 20;
constexpr std::size_t secret_bytes_max = 64 << 10;
// Of one store's changes, after which the epoch is to end; one batch more may come. Of a table that is read at a start each task has
// this twice, beside what the log makes of it on its way: with 4 MiB a worker's peak was 25 to 30 MiB higher, and no sooner there.
constexpr std::size_t epoch_changes_bytes = store_limits{}.overlay_bytes_max / 8;
constexpr const char* no_memory_left = "no memory left";
constexpr std::string_view event_time_key = "e";
constexpr store_limits rebuilt_limits{0, 256 << 20, false};  // of one task

std::string_view text(sonder_string s) { return {s.data, static_cast<std::size_t>(s.size)}; }
bytes_view bytes(sonder_bytes b) { return {b.data, static_cast<std::size_t>(b.size)}; }

bool asked_for(const manifest& of, std::string_view service) {
  return std::find(of.services.begin(), of.services.end(), service) != of.services.end();
}

result<std::string> read_secret(const std::string& name, const secret_options& from) {
  std::string secret;
  if (!from.environment.empty()) {
    const char* value = std::getenv(from.environment.c_str());
    if (value == nullptr) {
      return fail(errc::not_found, to_string(from.at) + ": secret \"" + name + "\": the environment has no " +
                                       from.environment + "; set it");
    }
    secret = value;
  } else {
    std::ifstream in(from.file, std::ios::binary);
    if (!in) {
      return fail(errc::not_found, to_string(from.at) + ": secret \"" + name + "\": cannot read " + from.file +
                                       "; make the file, for example with: head -c 32 /dev/urandom > FILE");
    }
    secret.assign(std::istreambuf_iterator<char>(in), {});
  }
  if (secret.empty() || secret.size() > secret_bytes_max) {
    return fail(errc::invalid, to_string(from.at) + ": secret \"" + name + "\" is empty or larger than 64 KiB");
  }
  return secret;
}

}  // namespace

result<std::shared_ptr<const secret_box>> secret_box::read(const flow_options& flow) {
  auto box = std::make_shared<secret_box>();
  for (const auto& [name, from] : flow.secrets) {
    auto secret = read_secret(name, from);
    if (!secret) return tl::unexpected(secret.error());
    box->secrets_.emplace(name, std::move(*secret));
  }
  return box;
}

secret_box::~secret_box() {
  for (auto& [name, secret] : secrets_) sodium_memzero(secret.data(), secret.size());
}

const std::string* secret_box::find(std::string_view name) const {
  const auto it = secrets_.find(name);
  return it == secrets_.end() ? nullptr : &it->second;
}

metric_changes::metric_changes(const manifest& of) {
  for (std::uint32_t m = 0; m < of.metrics.size(); ++m) {
    const auto& declared = of.metrics[m];
    first_.push_back(static_cast<std::uint32_t>(series_.size()));
    const auto values = std::max<std::size_t>(1, declared.label_values.size());
    for (std::uint32_t v = 0; v < values; ++v) series_.push_back({m, v, declared.type == manifest_metric_type::gauge, false, 0});
  }
  first_.push_back(static_cast<std::uint32_t>(series_.size()));
}

void metric_changes::apply(metric_change& to, double amount) noexcept {
  to.amount = to.gauge ? amount : to.amount + amount;
  to.changed = true;
}

bool metric_changes::add(std::uint32_t metric, std::uint32_t label_value, double amount) noexcept {
  if (metric + std::size_t{1} >= first_.size() || label_value >= first_[metric + 1] - first_[metric]) return false;
  auto& series = series_[first_[metric] + label_value];
  if (!series.gauge && !(amount >= 0 && std::isfinite(amount))) return false;
  apply(series, amount);
  return true;
}

void metric_changes::take(metric_changes& later) noexcept {
  for (std::size_t i = 0; i < series_.size(); ++i) {
    if (later.series_[i].changed) apply(series_[i], later.series_[i].amount);
  }
  later.clear();
}

void metric_changes::clear() noexcept {
  for (auto& one : series_) {
    one.amount = 0;
    one.changed = false;
  }
}

module_services::module_services(const stage_node& stage, std::shared_ptr<const secret_box> secrets, logger* lines, const char* whose)
    : stage_(stage), secrets_(std::move(secrets)), lines_(lines), whose_(whose) {
  log_ = {sizeof log_, 0, this, &module_services::write};
  secret_service_ = {sizeof secret_service_, 0, this, &module_services::get_secret};
  host_ = {sizeof host_, SONDER_ABI_MAJOR, SONDER_ABI_MINOR, 0, 0, this, &module_services::find};
}

bool module_services::allowed() const noexcept {
  if (plugin_call::is_inside(whose_)) return true;
  violations_.fetch_add(1, std::memory_order_relaxed);
  return false;
}

void module_services::write(void* ctx, std::int32_t level, sonder_string message) noexcept {
  const auto& self = *static_cast<module_services*>(ctx);
  if (!self.allowed() || self.lines_ == nullptr) return;
  const auto known = std::clamp<std::int32_t>(level, SONDER_LOG_DEBUG, SONDER_LOG_ERROR);
  try {
    self.lines_->write(static_cast<log_level>(known), "plugin says",
                       {{"stage", self.stage_.options.name}, {"text", text(message)}});
  } catch (const std::exception&) {
    // A line that cannot be written is left out: the contract has no answer for it.
  }
}

std::int32_t module_services::get_secret(void* ctx, sonder_string name, sonder_bytes* secret) noexcept {
  const auto& self = *static_cast<module_services*>(ctx);
  if (!self.allowed()) return SONDER_BAD_CONFIG;
  const auto& declared = self.stage_.of.secrets;
  if (std::find(declared.begin(), declared.end(), text(name)) == declared.end()) return SONDER_BAD_CONFIG;
  const auto* found = self.secrets_->find(text(name));
  if (found == nullptr) return SONDER_BAD_CONFIG;
  *secret = {reinterpret_cast<const std::uint8_t*>(found->data()), found->size()};
  return SONDER_OK;
}

const void* module_services::find(const sonder_host* host, const char* id) {
  auto& self = *static_cast<module_services*>(host->ctx);
  const std::string_view wanted = id;
  if (wanted == "log/1") return &self.log_;
  if (wanted == "secrets/1" && asked_for(self.stage_.of, wanted)) return &self.secret_service_;
  return nullptr;
}

/// The C side of the services. Each entry checks that it is called inside a call, on its thread, and lets nothing be thrown out of it.
struct service_calls {
  static instance_services& self(void* ctx) { return *static_cast<instance_services*>(ctx); }

  /// What `body` answers; FATAL where it throws.
  template <class Body>
  static std::int32_t guarded(instance_services& s, Body body) noexcept {
    try {
      return body();
    } catch (const std::bad_alloc&) {
      s.broke(no_memory_left);
    } catch (const std::exception&) {
      s.broke("a library threw");
    }
    return SONDER_FATAL;
  }

  static keyed_store* store(instance_services& s, std::uint32_t index) {
    if (!s.allowed()) return nullptr;
    if (index < s.by_index_.size()) return s.by_index_[index];
    ++s.violations_;
    return nullptr;
  }
  static std::int32_t said(instance_services& s, status answer) {
    if (answer) return SONDER_OK;
    s.failure_ = std::move(answer);
    return SONDER_FATAL;
  }
  static bool key_fits(instance_services& s, sonder_bytes key) {
    if (key.size <= key_bytes_max) return true;
    ++s.violations_;
    return false;
  }

  static std::int32_t get(void* ctx, std::uint32_t store_index, sonder_bytes key, sonder_bytes* value, std::int32_t* found) {
    auto& s = self(ctx);
    auto* from = store(s, store_index);
    if (from == nullptr || !key_fits(s, key)) return SONDER_FATAL;
    bytes_view view;
    return guarded(s, [&]() -> std::int32_t {
      auto answer = from->get(bytes(key), &view);
      if (!answer) return said(s, tl::unexpected(answer.error()));
      *found = *answer ? 1 : 0;
      *value = {view.data(), view.size()};
      return SONDER_OK;
    });
  }
  static std::int32_t put(void* ctx, std::uint32_t store_index, sonder_bytes key, sonder_bytes value) {
    auto& s = self(ctx);
    auto* to = store(s, store_index);
    if (to == nullptr || !key_fits(s, key)) return SONDER_FATAL;
    if (value.size > value_bytes_max || !s.may_change(store_index)) {
      ++s.violations_;
      return SONDER_FATAL;
    }
    return guarded(s, [&] { return said(s, to->put(bytes(key), bytes(value))); });
  }
  static std::int32_t erase(void* ctx, std::uint32_t store_index, sonder_bytes key) {
    auto& s = self(ctx);
    auto* to = store(s, store_index);
    if (to == nullptr || !key_fits(s, key)) return SONDER_FATAL;
    if (!s.may_change(store_index)) {
      ++s.violations_;
      return SONDER_FATAL;
    }
    return guarded(s, [&] { return said(s, to->erase(bytes(key))); });
  }

  struct visit {
    std::int32_t (*call)(void*, sonder_bytes, sonder_bytes);
    void* ctx;
  };
  static bool forward(void* ctx, bytes_view key, bytes_view value) {
    const auto& v = *static_cast<visit*>(ctx);
    return v.call(v.ctx, {key.data(), key.size()}, {value.data(), value.size()}) == 0;
  }
  static std::int32_t scan(void* ctx, std::uint32_t store_index, sonder_bytes prefix,
                           std::int32_t (*call)(void*, sonder_bytes, sonder_bytes), void* call_ctx) {
    auto& s = self(ctx);
    auto* from = store(s, store_index);
    if (from == nullptr) return SONDER_FATAL;
    visit v{call, call_ctx};
    return guarded(s, [&] { return said(s, from->scan(bytes(prefix), &forward, &v)); });
  }

  static void add(void* ctx, std::uint32_t metric, std::uint32_t label_value, double amount) {
    auto& s = self(ctx);
    if (!s.allowed()) return;
    if (!s.call_metrics_.add(metric, label_value, amount)) ++s.metric_violations_;
  }
  static std::int64_t event_time(void* ctx) {
    auto& s = self(ctx);
    return s.allowed() ? s.event_time_ms_ : INT64_MIN;
  }
  static std::int64_t processing_time(void* ctx) {
    auto& s = self(ctx);
    return s.allowed() ? s.processing_time_ms_ : 0;
  }

  /// A counter-based generator: hash of (subject, position, plugin version, how many before). Other rows change nothing.
  static std::uint64_t next(void* ctx, std::int64_t row) {
    auto& s = self(ctx);
    if (!s.allowed()) return 0;
    if (row < 0 || row >= s.row_count_) {
      ++s.violations_;
      return 0;
    }
    const auto r = static_cast<std::size_t>(s.rows_[row]);
    const auto rows = static_cast<std::size_t>(s.row_count_);
    const auto room = guarded(s, [&]() -> std::int32_t {
      if (s.draws_.size() < rows) s.draws_.resize(rows);
      return SONDER_OK;
    });
    if (room != SONDER_OK) return 0;
    const auto subject = s.space_->subject[r];
    const std::uint64_t parts[4] = {XXH3_64bits(subject.data(), subject.size()),
                                    static_cast<std::uint64_t>(s.space_->record[r]->offset),
                                    static_cast<std::uint64_t>(s.space_->source + 1),
                                    s.draws_[static_cast<std::size_t>(row)]++};
    return XXH3_64bits_withSeed(parts, sizeof parts, s.version_hash_);
  }
  /// The subject of a row of the call, or null after counting the violation.
  static const std::string_view* subject_of(instance_services& s, std::int64_t row, std::uint32_t timer) {
    if (!s.allowed()) return nullptr;
    if (row >= 0 && row < s.row_count_ && timer < s.stage_.of.timers.size()) {
      const auto* subject = &s.space_->subject[static_cast<std::size_t>(s.rows_[row])];
      if (!subject->empty()) return subject;
    }
    ++s.violations_;
    return nullptr;
  }
  static std::int32_t set_timer(void* ctx, std::int64_t row, std::uint32_t timer, std::uint64_t tag, std::int32_t kind,
                                std::int64_t at_ms, sonder_bytes payload) {
    auto& s = self(ctx);
    const auto* subject = subject_of(s, row, timer);
    if (subject == nullptr) return SONDER_FATAL;
    // The subject is a part of the timer's key.
    if (subject->size() > key_bytes_max || (kind != SONDER_EVENT_TIME && kind != SONDER_PROCESSING_TIME) || payload.size > timer_table::payload_bytes_max) {
      ++s.violations_;
      return SONDER_FATAL;
    }
    return guarded(s, [&] {
      return said(s, s.timers_->set({std::string(*subject), timer, tag, kind, at_ms, std::string(as_text(bytes(payload)))}));
    });
  }
  static std::int32_t cancel_timer(void* ctx, std::int64_t row, std::uint32_t timer, std::uint64_t tag) {
    auto& s = self(ctx);
    const auto* subject = subject_of(s, row, timer);
    if (subject == nullptr) return SONDER_FATAL;
    return guarded(s, [&] { return said(s, s.timers_->cancel(*subject, timer, tag)); });
  }
  // Fixed for the life of the process, and wanted while an instance is made: any call into the plugin will do.
  static std::uint32_t purposes(void* ctx) {
    const auto& s = self(ctx);
    return s.module_.allowed() ? static_cast<std::uint32_t>(s.flow_.purposes.size()) : 0;
  }
  static sonder_string purpose(void* ctx, std::uint32_t bit) {
    const auto& s = self(ctx);
    const auto& names = s.flow_.purposes;
    if (!s.module_.allowed() || bit >= names.size()) return {nullptr, 0};
    return {names[bit].data(), names[bit].size()};
  }

  static const void* find(const sonder_host* host, const char* id) {
    auto& s = self(host->ctx);
    const std::string_view wanted = id;
    if (wanted == "log/1" || wanted == "secrets/1") return s.module_.host().service(&s.module_.host(), id);
    if (!asked_for(s.stage_.of, wanted)) return nullptr;
    if (wanted == "metrics/1") return &s.metrics_service_;
    if (wanted == "timer/1" && s.timers_ != nullptr) return &s.timer_service_;
    if (wanted == "state/1" && !s.stage_.of.stores.empty()) return &s.state_service_;
    if (wanted == "clock/1") return &s.clock_service_;
    if (wanted == "random/1") return &s.random_service_;
    if (wanted == "consent_authority/1" && s.stage_.authority) return &s.authority_service_;
    return nullptr;
  }
};

instance_services::instance_services(const graph& flow, const stage_node& stage, const module_services& module, log& on,
                                     std::int32_t partition)
    : flow_(flow), stage_(stage), module_(module), metrics_(stage.of), call_metrics_(stage.of) {
  const auto names = store_names(stage);
  for (const auto& name : names) {
    stores_.push_back(std::make_unique<keyed_store>(on, flow.options.name, name, partition,
                                                    &name == &names.back() ? parked_limits : store_limits{}));
  }
  std::size_t kept = 0;
  for (std::size_t i = 0; i < stage.of.stores.size(); ++i) {
    if (!stage.is_rebuilt(i)) {
      by_index_.push_back(stores_[kept++].get());
      continue;
    }
    rebuilt_.push_back(std::make_unique<keyed_store>(on, flow.options.name, stage.options.name + ".~" + stage.of.stores[i].name, partition,
                                                     rebuilt_limits));
    by_index_.push_back(rebuilt_.back().get());
  }
  parked_ = std::make_unique<parked_rows>(*stores_.back(), stage.options.retry_ms_max);
  if (!stage.of.timers.empty()) timers_ = std::make_unique<timer_table>(*stores_[stores_.size() - 2]);
  const auto version = stage.options.name + "\n" + stage.of.id + "\n" + stage.of.version;
  version_hash_ = XXH3_64bits(version.data(), version.size());
  metrics_service_ = {sizeof metrics_service_, 0, this, &service_calls::add};
  state_service_ = {sizeof state_service_, 0, this, &service_calls::get, &service_calls::put, &service_calls::erase,
                    &service_calls::scan};
  clock_service_ = {sizeof clock_service_, 0, this, &service_calls::event_time, &service_calls::processing_time};
  random_service_ = {sizeof random_service_, 0, this, &service_calls::next};
  timer_service_ = {sizeof timer_service_, 0, this, &service_calls::set_timer, &service_calls::cancel_timer};
  authority_service_ = {sizeof authority_service_, 0, this, &service_calls::purposes, &service_calls::purpose};
  host_ = {sizeof host_, SONDER_ABI_MAJOR, SONDER_ABI_MINOR, 0, 0, this, &service_calls::find};
}

/// What a global table fills is filled anew at each start; what it does not, is not: a call on its rows, which every task has, changes
/// nothing else.
bool instance_services::may_change(std::uint32_t store) const noexcept {
  const auto& filled_by = stage_.of.stores[store].filled_by;
  const auto port = input_ < 0 ? std::string_view() : std::string_view(stage_.of.inputs[static_cast<std::size_t>(input_)].name);
  if (!filled_by.empty()) return filled_by == port;
  return std::none_of(stage_.of.stores.begin(), stage_.of.stores.end(), [&](const auto& s) {
    return s.filled_by == port && stage_.is_rebuilt(static_cast<std::size_t>(&s - stage_.of.stores.data()));
  });
}

bool instance_services::allowed() noexcept {
  if (std::this_thread::get_id() == call_thread_.load(std::memory_order_relaxed)) return true;
  violations_.fetch_add(1, std::memory_order_relaxed);
  return false;
}

void instance_services::begin_call(int input, const row_space& space, const std::int32_t* rows, std::int64_t count,
                                   std::int64_t event_time_ms, std::int64_t processing_time_ms) {
  input_ = input;
  space_ = &space;
  rows_ = rows;
  row_count_ = count;
  event_time_ms_ = event_time_ms;
  processing_time_ms_ = processing_time_ms;
  draws_.clear();
  failure_ = status{};
  for (auto& store : stores_) store->mark();
  for (auto& store : rebuilt_) store->mark();
  if (timers_ != nullptr) timers_->mark();
  call_thread_.store(std::this_thread::get_id(), std::memory_order_relaxed);
}

void instance_services::end_call(bool keep) {
  call_thread_.store({}, std::memory_order_relaxed);
  if (keep) {
    metrics_.take(call_metrics_);
    return;
  }
  call_metrics_.clear();
  for (auto& store : stores_) store->roll_back();
  for (auto& store : rebuilt_) store->roll_back();
  if (timers_ != nullptr) timers_->roll_back();
}

status instance_services::keep_event_time_ms(std::int64_t at_ms) {
  return stores_.back()->put(as_bytes(event_time_key), {reinterpret_cast<const std::uint8_t*>(&at_ms), sizeof at_ms});
}

result<std::int64_t> instance_services::kept_event_time_ms() {
  bytes_view kept;
  auto found = stores_.back()->get(as_bytes(event_time_key), &kept);
  if (!found) return tl::unexpected(found.error());
  std::int64_t at_ms = INT64_MIN;
  if (*found && kept.size() != sizeof at_ms) return fail(errc::corrupt, "a task's event time is not a time");
  if (*found) std::memcpy(&at_ms, kept.data(), sizeof at_ms);
  return at_ms;
}

void instance_services::seal(std::vector<state_change>& to) {
  for (auto& store : stores_) store->seal(to);
}

void instance_services::committed() {
  for (auto& store : stores_) store->committed();
}

bool instance_services::full() const noexcept {
  return std::any_of(stores_.begin(), stores_.end(),
                     [](const auto& store) { return store->overlay_bytes() > epoch_changes_bytes; });
}

store_figures instance_services::store(std::size_t i) const noexcept {
  return {stores_[i]->cache_bytes(), stores_[i]->overlay_bytes()};
}

}  // namespace sonder
