#include "observe/metrics.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <list>
#include <map>
#include <mutex>
#include <sstream>
#include <unordered_map>

namespace sonder {

histogram::histogram(std::span<const double> upper_bounds)
    : upper_bounds_(upper_bounds),
      counts_(std::make_unique<std::atomic<std::uint64_t>[]>(upper_bounds.size() + 1)) {}

void histogram::observe(double value, std::uint64_t times) noexcept {
  const auto bucket =
      std::lower_bound(upper_bounds_.begin(), upper_bounds_.end(), value) - upper_bounds_.begin();
  counts_[static_cast<std::size_t>(bucket)].fetch_add(times, std::memory_order_relaxed);
  sum_.fetch_add(value * static_cast<double>(times), std::memory_order_relaxed);
}

void histogram::merge(std::span<const std::uint64_t> counts, double sum) noexcept {
  for (std::size_t i = 0; i < counts.size() && i < buckets(); ++i) {
    if (counts[i] > 0) counts_[i].fetch_add(counts[i], std::memory_order_relaxed);
  }
  sum_.fetch_add(sum, std::memory_order_relaxed);
}

namespace {

const auto process_start = std::chrono::system_clock::now();

[[noreturn]] void broken_contract(std::string_view what, std::string_view name) {
  std::fprintf(stderr, "sonder: defect: metric \"%.*s\": %.*s\n", static_cast<int>(name.size()),
               name.data(), static_cast<int>(what.size()), what.data());
  std::abort();
}

bool is_metric_name(std::string_view name) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; };
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  if (name.empty() || name.size() > 128 || !letter(name[0])) return false;
  return std::all_of(name.begin(), name.end(), [&](char c) { return letter(c) || digit(c); });
}

status check_labels(const metric_spec& spec) {
  for (const auto& label : spec.labels) {
    if (!is_metric_name(label.name) || label.name == "le" || label.name.starts_with("__"))
      return fail(errc::invalid,
                  "metric \"" + spec.name + "\": label \"" + label.name +
                      "\" is no Prometheus label name; use small letters, digits and _");
    for (const auto& value : label.values)
      if (value.size() > metrics::label_bytes_max)
        return fail(errc::invalid, "metric \"" + spec.name + "\": a value of label \"" +
                                       label.name + "\" is longer than " +
                                       std::to_string(metrics::label_bytes_max) + " bytes");
  }
  return {};
}

// What `promtool check metrics` would say, at the place where it can still be repaired.
status check_spec(const metric_spec& spec) {
  if (!is_metric_name(spec.name))
    return fail(errc::invalid, "metric \"" + spec.name +
                                   "\" is no Prometheus name; use small letters, digits and _");
  const bool total = spec.name.ends_with("_total");
  if (spec.type == metric_type::counter && !total)
    return fail(errc::invalid,
                "metric \"" + spec.name + "\" is a counter; its name must end with \"_total\"");
  if (spec.type != metric_type::counter && total)
    return fail(errc::invalid,
                "metric \"" + spec.name + "\" ends with \"_total\", which is for counters");
  for (const std::string_view suffix : {"_count", "_sum", "_bucket"})
    if (spec.name.ends_with(suffix))
      return fail(errc::invalid, "metric \"" + spec.name + "\" ends with \"" + std::string(suffix) +
                                     "\", which is for the parts of a histogram");
  if (spec.help.empty())
    return fail(errc::invalid, "metric \"" + spec.name + "\" has no help text");
  if (spec.type == metric_type::histogram &&
      !std::is_sorted(spec.buckets.begin(), spec.buckets.end()))
    return fail(errc::invalid, "metric \"" + spec.name + "\": its buckets do not rise");
  return check_labels(spec);
}

bool same(const metric_spec& a, const metric_spec& b) {
  if (a.name != b.name || a.type != b.type || a.unit != b.unit ||
      a.labels.size() != b.labels.size())
    return false;
  for (std::size_t i = 0; i < a.labels.size(); ++i)
    if (a.labels[i].name != b.labels[i].name || a.labels[i].values != b.labels[i].values)
      return false;
  return a.buckets == b.buckets;
}

using label_set = std::vector<std::string>;

template <class Cell>
struct series {
  std::map<int, Cell*> slots;
};

// One metric with its label sets.
struct family {
  metric_spec spec;
  std::map<label_set, std::map<int, counter*>> counters;
  std::map<label_set, std::map<int, gauge*>> gauges;
  std::map<label_set, std::map<int, histogram*>> histograms;
};

// The label set under which `values` are counted: themselves, or all `other` where the bound is
// reached. A histogram's `le` and Prometheus' own labels cannot collide, since the specification
// fixes the names.
template <class Map>
label_set bounded(const family& of, const Map& there, metrics::label_values values) {
  label_set set;
  for (const auto value : values) set.emplace_back(value.substr(0, metrics::label_bytes_max));
  for (std::size_t i = 0; i < set.size(); ++i) {
    const auto& allowed = of.spec.labels[i].values;
    if (!allowed.empty() && std::find(allowed.begin(), allowed.end(), set[i]) == allowed.end())
      set[i] = "other";
  }
  if (there.contains(set) || there.size() < of.spec.series_max) return set;
  return label_set(set.size(), "other");
}

prometheus::ClientMetric labelled(const family& of, const label_set& set) {
  prometheus::ClientMetric m;
  for (std::size_t i = 0; i < set.size(); ++i) m.label.push_back({of.spec.labels[i].name, set[i]});
  return m;
}

template <class Cell>
double total(const std::map<int, Cell*>& slots) {
  double sum = 0;
  for (const auto& [slot, cell] : slots) sum += cell->value();
  return sum;
}

prometheus::ClientMetric::Histogram total(const metric_spec& spec,
                                          const std::map<int, histogram*>& slots) {
  prometheus::ClientMetric::Histogram h;
  for (std::size_t i = 0; i <= spec.buckets.size(); ++i) {
    for (const auto& [slot, cell] : slots) h.sample_count += cell->count(i);
    if (i < spec.buckets.size()) h.bucket.push_back({h.sample_count, spec.buckets[i]});
  }
  for (const auto& [slot, cell] : slots) h.sample_sum += cell->sum();
  return h;
}

prometheus::MetricFamily collect(const family& of) {
  prometheus::MetricFamily out;
  out.name = of.spec.name;
  out.help = of.spec.help;
  if (of.spec.type == metric_type::counter) {
    out.type = prometheus::MetricType::Counter;
    for (const auto& [set, slots] : of.counters) {
      out.metric.push_back(labelled(of, set));
      out.metric.back().counter.value = total(slots);
    }
  } else if (of.spec.type == metric_type::gauge) {
    out.type = prometheus::MetricType::Gauge;
    for (const auto& [set, slots] : of.gauges) {
      out.metric.push_back(labelled(of, set));
      out.metric.back().gauge.value = total(slots);
    }
  } else {
    out.type = prometheus::MetricType::Histogram;
    for (const auto& [set, slots] : of.histograms) {
      out.metric.push_back(labelled(of, set));
      out.metric.back().histogram = total(of.spec, slots);
    }
  }
  return out;
}

prometheus::MetricFamily process_value(std::string name, std::string help,
                                       prometheus::MetricType type, double value) {
  prometheus::MetricFamily out{std::move(name), std::move(help), type, {}};
  prometheus::ClientMetric m;
  m.counter.value = value;
  m.gauge.value = value;
  out.metric.push_back(m);
  return out;
}

// The two figures of the process that alerts need, under the names that every Prometheus client
// gives them.
void collect_process(std::vector<prometheus::MetricFamily>& out) {
  std::ifstream statm("/proc/self/statm");
  std::int64_t pages = 0;
  std::int64_t resident = 0;
  if (statm >> pages >> resident)
    out.push_back(process_value(
        "process_resident_memory_bytes", "Resident memory size.", prometheus::MetricType::Gauge,
        static_cast<double>(resident) * static_cast<double>(::sysconf(_SC_PAGESIZE))));
  rusage used{};
  if (::getrusage(RUSAGE_SELF, &used) == 0) {
    const auto seconds = [](const timeval& t) {
      return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
    };
    out.push_back(process_value("process_cpu_seconds_total", "User and system CPU time spent.",
                                prometheus::MetricType::Counter,
                                seconds(used.ru_utime) + seconds(used.ru_stime)));
  }
  out.push_back(process_value("process_start_time_seconds", "Start time of the process since unix epoch in seconds.",
                              prometheus::MetricType::Gauge, std::chrono::duration<double>(process_start.time_since_epoch()).count()));
}

}  // namespace

struct metrics::parts {
  std::mutex refreshing;
  std::list<std::function<void()>> refreshers;  // guarded by refreshing
  mutable std::mutex mutex;
  std::deque<family> families;  // in order of declaration; never moved
  std::unordered_map<std::string, family*> by_name;
  std::deque<counter> counters;
  std::deque<gauge> gauges;
  std::deque<histogram> histograms;

  void add(const metric_spec& spec) {
    by_name[spec.name] = &families.emplace_back(family{spec, {}, {}, {}});
  }

  family& get(std::string_view name, std::size_t labels, metric_type type) {
    const auto at = by_name.find(std::string(name));
    if (at == by_name.end()) broken_contract("is not in the specification", name);
    if (at->second->spec.labels.size() != labels)
      broken_contract("has another number of labels", name);
    if (at->second->spec.type != type) broken_contract("has another type", name);
    return *at->second;
  }
};

metrics::metrics() : parts_(std::make_unique<parts>()) {
  for (const auto& spec : metric_specification()) parts_->add(spec);
}

metrics::~metrics() = default;

status metrics::declare(const metric_spec& spec) {
  SONDER_TRY(check_spec(spec));
  if (spec.series_max > series_per_plugin_metric_max)
    return fail(errc::capacity, "metric \"" + spec.name + "\" may have " +
                                    std::to_string(spec.series_max) + " label sets, more than " +
                                    std::to_string(series_per_plugin_metric_max));
  const std::lock_guard lock(parts_->mutex);
  if (const auto at = parts_->by_name.find(spec.name); at != parts_->by_name.end()) {
    if (same(at->second->spec, spec)) return {};
    return fail(errc::exists, "metric \"" + spec.name +
                                  "\" is declared with another type, unit or labels already");
  }
  if (parts_->families.size() >= metrics_max)
    return fail(errc::capacity, "metric \"" + spec.name + "\" would be one more than the " +
                                    std::to_string(metrics_max) + " that a process may have");
  parts_->add(spec);
  return {};
}

counter& metrics::counter_of(std::string_view name, label_values values, int slot) {
  const std::lock_guard lock(parts_->mutex);
  auto& of = parts_->get(name, values.size(), metric_type::counter);
  auto& cell = of.counters[bounded(of, of.counters, values)][slot];
  if (cell == nullptr) cell = &parts_->counters.emplace_back();
  return *cell;
}

gauge& metrics::gauge_of(std::string_view name, label_values values, int slot) {
  const std::lock_guard lock(parts_->mutex);
  auto& of = parts_->get(name, values.size(), metric_type::gauge);
  auto& cell = of.gauges[bounded(of, of.gauges, values)][slot];
  if (cell == nullptr) cell = &parts_->gauges.emplace_back();
  return *cell;
}

histogram& metrics::histogram_of(std::string_view name, label_values values, int slot) {
  const std::lock_guard lock(parts_->mutex);
  auto& of = parts_->get(name, values.size(), metric_type::histogram);
  auto& cell = of.histograms[bounded(of, of.histograms, values)][slot];
  if (cell == nullptr) cell = &parts_->histograms.emplace_back(of.spec.buckets);
  return *cell;
}

double metrics::value_of(std::string_view name, label_values values) const {
  const std::lock_guard lock(parts_->mutex);
  const auto at = parts_->by_name.find(std::string(name));
  if (at == parts_->by_name.end()) return 0;
  const auto& of = *at->second;
  const label_set set(values.begin(), values.end());
  if (const auto c = of.counters.find(set); c != of.counters.end()) return total(c->second);
  if (const auto g = of.gauges.find(set); g != of.gauges.end()) return total(g->second);
  if (const auto h = of.histograms.find(set); h != of.histograms.end())
    return static_cast<double>(total(of.spec, h->second).sample_count);
  return 0;
}

std::shared_ptr<void> metrics::before_exposing(std::function<void()> refresh) {
  const std::lock_guard lock(parts_->refreshing);
  const auto at = parts_->refreshers.insert(parts_->refreshers.end(), std::move(refresh));
  return {parts_.get(), [at](void* of) {
            auto* all = static_cast<parts*>(of);
            const std::lock_guard going(all->refreshing);
            all->refreshers.erase(at);
          }};
}

std::string metrics::expose() const {
  {
    const std::lock_guard lock(parts_->refreshing);
    for (const auto& refresh : parts_->refreshers) refresh();
  }
  std::vector<prometheus::MetricFamily> all;
  {
    const std::lock_guard lock(parts_->mutex);
    for (const auto& of : parts_->families) all.push_back(collect(of));
  }
  collect_process(all);
  std::ostringstream text;
  prometheus::TextSerializer{}.Serialize(text, all);
  return std::move(text).str();
}

std::vector<metric_spec> metrics::specs() const {
  const std::lock_guard lock(parts_->mutex);
  std::vector<metric_spec> out;
  for (const auto& of : parts_->families) out.push_back(of.spec);
  return out;
}

}  // namespace sonder
