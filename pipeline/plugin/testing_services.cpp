#include "plugin/testing_services.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string_view>

namespace sonder {
namespace {

std::string owned(sonder_bytes b) {
  return b.size == 0 ? std::string() : std::string(reinterpret_cast<const char*>(b.data), b.size);
}
sonder_bytes lent(const std::string& s) {
  return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()};
}

/// FNV-1a, then splitmix64: good enough for a test's numbers, and the same on every machine.
std::uint64_t mixed(std::uint64_t seed, std::string_view text) {
  std::uint64_t h = seed ^ 0xCBF29CE484222325U;
  for (const unsigned char c : text) h = (h ^ c) * 0x100000001B3U;
  h += 0x9E3779B97F4A7C15U;
  h = (h ^ (h >> 30)) * 0xBF58476D1CE4E5B9U;
  h = (h ^ (h >> 27)) * 0x94D049BB133111EBU;
  return h ^ (h >> 31);
}

}  // namespace

/// The functions behind the service structs; `ctx` is the services object.
struct testing_service_calls {
  static testing_services& self(void* ctx) { return *static_cast<testing_services*>(ctx); }

  static void log_write(void* ctx, std::int32_t, sonder_string message) {
    auto& s = self(ctx);
    if (s.log_lines.size() < testing_services::log_lines_max)
      s.log_lines.emplace_back(message.data, message.size);
  }

  static void metrics_add(void* ctx, std::uint32_t metric, std::uint32_t label_value,
                          double amount) {
    auto& s = self(ctx);
    if (!s.may_serve("metrics/1")) return;
    if (metric >= s.of_.metrics.size())
      return s.violation("metrics/1: no metric " + std::to_string(metric));
    const auto& m = s.of_.metrics[metric];
    if (label_value >= std::max<std::size_t>(m.label_values.size(), 1)) {
      return s.violation("metrics/1: " + m.name + " has no label value " +
                         std::to_string(label_value));
    }
    if (m.type == manifest_metric_type::counter && !(amount >= 0 && std::isfinite(amount))) {
      return s.violation("metrics/1: " + m.name + " is a counter and was given less than 0, or no number");
    }
    s.metric_changes_.push_back({metric, label_value, amount});
  }

  static bool state_usable(testing_services& s, std::uint32_t store, sonder_bytes key) {
    if (!s.may_serve("state/1")) return false;
    if (store >= s.stores.size()) {
      s.violation("state/1: no store " + std::to_string(store));
      return false;
    }
    return key.size <= testing_services::key_bytes_max && s.works();
  }
  static std::int32_t state_get(void* ctx, std::uint32_t store, sonder_bytes key,
                                sonder_bytes* value, std::int32_t* found) {
    auto& s = self(ctx);
    *value = {nullptr, 0};
    *found = 0;
    if (!state_usable(s, store, key)) return SONDER_FATAL;
    const auto at = s.stores[store].find(owned(key));
    if (at == s.stores[store].end()) return SONDER_OK;
    // A copy of its own, so that a view that is kept past the next call is caught by sanitizers.
    s.value_lent_ = std::string(at->second);
    *value = lent(s.value_lent_);
    *found = 1;
    return SONDER_OK;
  }
  /// A store that a table fills is changed by that table's calls alone.
  static bool state_changes(testing_services& s, std::uint32_t store) {
    const auto& of = s.of_.stores[store];
    if (of.filled_by.empty() || s.of_.input(of.filled_by) == s.input_) return true;
    s.violation("state/1: store " + of.name + " is filled by input " + of.filled_by + ", and changed by another call");
    return false;
  }
  static std::int32_t state_put(void* ctx, std::uint32_t store, sonder_bytes key,
                                sonder_bytes value) {
    auto& s = self(ctx);
    if (!state_usable(s, store, key) || value.size > testing_services::value_bytes_max || !state_changes(s, store))
      return SONDER_FATAL;
    s.change(store, owned(key), owned(value));
    return SONDER_OK;
  }
  static std::int32_t state_erase(void* ctx, std::uint32_t store, sonder_bytes key) {
    auto& s = self(ctx);
    if (!state_usable(s, store, key) || !state_changes(s, store)) return SONDER_FATAL;
    s.change(store, owned(key), std::nullopt);
    return SONDER_OK;
  }
  static std::int32_t state_scan(void* ctx, std::uint32_t store, sonder_bytes prefix,
                                 std::int32_t (*visit)(void*, sonder_bytes, sonder_bytes),
                                 void* visit_ctx) {
    auto& s = self(ctx);
    if (!state_usable(s, store, prefix)) return SONDER_FATAL;
    const auto start = owned(prefix);
    // Over a copy: a `visit` that uses the service breaks its contract, and shall not break the
    // test's host.
    const auto entries = s.stores[store];
    for (auto at = entries.lower_bound(start); at != entries.end() && at->first.starts_with(start);
         ++at) {
      if (visit(visit_ctx, lent(at->first), lent(at->second)) != 0) break;
    }
    return SONDER_OK;
  }

  static std::int64_t clock_event(void* ctx) {
    auto& s = self(ctx);
    return s.may_serve("clock/1") ? s.event_time_ms : INT64_MIN;
  }
  static std::int64_t clock_processing(void* ctx) {
    auto& s = self(ctx);
    return s.may_serve("clock/1") ? s.processing_time_ms : 0;
  }

  static bool row_known(testing_services& s, const char* service, std::int64_t row) {
    if (!s.may_serve(service)) return false;
    if (row >= 0 && static_cast<std::size_t>(row) < s.rows_->size()) return true;
    s.violation(std::string(service) + ": no row " + std::to_string(row));
    return false;
  }
  static std::uint64_t random_next(void* ctx, std::int64_t row) {
    auto& s = self(ctx);
    if (!row_known(s, "random/1", row)) return 0;
    const auto& origin = (*s.rows_)[static_cast<std::size_t>(row)];
    const auto draw = s.draws_[static_cast<std::size_t>(row)]++;
    return mixed(mixed(mixed(origin.position, origin.subject), s.of_.version) + draw, s.of_.id);
  }

  static std::int32_t secrets_get(void* ctx, sonder_string name, sonder_bytes* secret) {
    auto& s = self(ctx);
    const std::string wanted(name.data, name.size);
    if (std::find(s.of_.secrets.begin(), s.of_.secrets.end(), wanted) == s.of_.secrets.end()) {
      s.violation("secrets/1: the manifest does not name the secret that was asked for");
      return SONDER_BAD_CONFIG;
    }
    const auto at = s.options_.secrets.find(wanted);
    if (at == s.options_.secrets.end() || !s.works()) return SONDER_BAD_CONFIG;
    *secret = lent(at->second);
    return SONDER_OK;
  }

  static bool timer_usable(testing_services& s, std::int64_t row, std::uint32_t timer) {
    if (!row_known(s, "timer/1", row)) return false;
    if (timer < s.of_.timers.size()) return s.works();
    s.violation("timer/1: no timer " + std::to_string(timer));
    return false;
  }
  static std::int32_t timer_set(void* ctx, std::int64_t row, std::uint32_t timer, std::uint64_t tag,
                                std::int32_t kind, std::int64_t at_ms, sonder_bytes payload) {
    auto& s = self(ctx);
    if (!timer_usable(s, row, timer) || payload.size > testing_services::key_bytes_max)
      return SONDER_FATAL;
    if (kind != SONDER_EVENT_TIME && kind != SONDER_PROCESSING_TIME) return SONDER_FATAL;
    if (!s.timers_before_) s.timers_before_ = s.timers;
    s.timers[{(*s.rows_)[static_cast<std::size_t>(row)].subject, timer, tag}] = {kind, at_ms,
                                                                                 owned(payload)};
    return SONDER_OK;
  }
  static std::int32_t timer_cancel(void* ctx, std::int64_t row, std::uint32_t timer,
                                   std::uint64_t tag) {
    auto& s = self(ctx);
    if (!timer_usable(s, row, timer)) return SONDER_FATAL;
    if (!s.timers_before_) s.timers_before_ = s.timers;
    s.timers.erase({(*s.rows_)[static_cast<std::size_t>(row)].subject, timer, tag});
    return SONDER_OK;
  }

  static std::uint32_t authority_purposes(void* ctx) {
    return static_cast<std::uint32_t>(self(ctx).options_.purposes.size());
  }
  static sonder_string authority_purpose(void* ctx, std::uint32_t bit) {
    auto& s = self(ctx);
    if (bit >= s.options_.purposes.size()) {
      s.violation("consent_authority/1: no purpose " + std::to_string(bit));
      return {nullptr, 0};
    }
    return {s.options_.purposes[bit].data(), s.options_.purposes[bit].size()};
  }
};

testing_services::testing_services(const manifest& of, const testing::host_options& options)
    : stores(of.stores.size()), of_(of), options_(options) {
  using calls = testing_service_calls;
  const std::uint32_t flags = options.trial ? SONDER_HOST_TRIAL : 0;
  module_host_ = {sizeof(sonder_host), SONDER_ABI_MAJOR, SONDER_ABI_MINOR, flags, 0, this,
                  &find_for_module};
  instance_host_ = {sizeof(sonder_host), SONDER_ABI_MAJOR, SONDER_ABI_MINOR, flags, 0, this,
                    &find_for_instance};
  log_ = {sizeof log_, 0, this, &calls::log_write};
  metrics_service_ = {sizeof metrics_service_, 0, this, &calls::metrics_add};
  state_ = {sizeof state_,     0, this, &calls::state_get, &calls::state_put, &calls::state_erase,
            &calls::state_scan};
  clock_ = {sizeof clock_, 0, this, &calls::clock_event, &calls::clock_processing};
  random_ = {sizeof random_, 0, this, &calls::random_next};
  secrets_ = {sizeof secrets_, 0, this, &calls::secrets_get};
  timer_ = {sizeof timer_, 0, this, &calls::timer_set, &calls::timer_cancel};
  authority_ = {sizeof authority_, 0, this, &calls::authority_purposes, &calls::authority_purpose};
}

const void* testing_services::find_for_module(const sonder_host* host, const char* id) {
  const auto& s = *static_cast<const testing_services*>(host->ctx);
  if (!s.of_.asks_for(id)) return nullptr;
  const std::string_view wanted = id;
  if (wanted == "log/1") return &s.log_;
  if (wanted == "secrets/1") return &s.secrets_;
  return nullptr;
}

const void* testing_services::find_for_instance(const sonder_host* host, const char* id) {
  const auto& s = *static_cast<const testing_services*>(host->ctx);
  if (!s.of_.asks_for(id)) return nullptr;
  const std::string_view wanted = id;
  if (wanted == "metrics/1") return &s.metrics_service_;
  if (wanted == "state/1") return &s.state_;
  if (wanted == "clock/1") return &s.clock_;
  if (wanted == "random/1") return &s.random_;
  if (wanted == "timer/1") return &s.timer_;
  if (wanted == "consent_authority/1") return &s.authority_;
  return find_for_module(host, id);
}

bool testing_services::may_serve(const char* service) {
  if (in_call_ && std::this_thread::get_id() == call_thread_) return true;
  violation(std::string(service) + " was used " +
            (in_call_ ? "on another thread than the call's" : "outside of a call"));
  return false;
}

bool testing_services::works() {
  return calls_until_failure_ == 0 || --calls_until_failure_ != 0;
}

void testing_services::violation(std::string what) {
  if (violations.size() < violations_max) violations.push_back(std::move(what));
}

void testing_services::change(std::uint32_t store, std::string key,
                              std::optional<std::string> value) {
  auto& entries = stores[store];
  const auto at = entries.find(key);
  state_changes_.push_back(
      {store, key, at == entries.end() ? std::nullopt : std::optional(at->second)});
  if (value) {
    entries.insert_or_assign(std::move(key), std::move(*value));
  } else if (at != entries.end()) {
    entries.erase(at);
  }
}

void testing_services::begin_call(const std::vector<row_origin>* rows, int input) {
  input_ = input;
  rows_ = rows;
  draws_.assign(rows->size(), 0);
  call_thread_ = std::this_thread::get_id();
  in_call_ = true;
}

void testing_services::end_call(bool keep) {
  in_call_ = false;
  rows_ = nullptr;
  if (keep) {
    for (const auto& c : metric_changes_) {
      auto& value = metrics[{c.metric, c.label_value}];
      value =
          of_.metrics[c.metric].type == manifest_metric_type::gauge ? c.amount : value + c.amount;
    }
  } else {
    for (auto c = state_changes_.rbegin(); c != state_changes_.rend(); ++c) {
      if (c->before) {
        stores[c->store].insert_or_assign(c->key, std::move(*c->before));
      } else {
        stores[c->store].erase(c->key);
      }
    }
    if (timers_before_) timers = std::move(*timers_before_);
  }
  state_changes_.clear();
  metric_changes_.clear();
  timers_before_.reset();
}

}  // namespace sonder
