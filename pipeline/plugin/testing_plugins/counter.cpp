#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "sonder/plugin.hpp"

namespace {

namespace sp = sonder::plugin;

// As the manifest orders them.
enum : std::uint32_t {
  output_milestones = 1,
  output_idle = 2,
  metric_events = 0,
  metric_greatest = 1,
  timer_idle = 0
};

struct counter_module {
  static sp::result<std::unique_ptr<counter_module>> create(const sp::host& host,
                                                            const sp::module_args& args) {
    const auto config = nlohmann::json::parse(args.config_json);
    auto made = std::make_unique<counter_module>();
    made->milestone = config.at("milestone").get<std::int64_t>();
    made->idle_ms = config.at("idle_ms").get<std::int64_t>();
    made->idle_by =
        config.at("idle_by") == "event_time" ? SONDER_EVENT_TIME : SONDER_PROCESSING_TIME;
    host.log().info("counter is ready");
    return made;
  }

  /// Version 1 kept each count with a `#` before it.
  sp::status migrate(const sp::old_entry& entry, const sp::replace_entry& replace) const {
    if (entry.from_version != 1 || entry.value.empty())
      return sp::status::fatal("counts: unknown version");
    replace(entry.key, entry.value.subspan(1));
    return {};
  }

  std::int64_t milestone = 1;
  std::int64_t idle_ms = 0;
  sonder_time_kind idle_by = SONDER_EVENT_TIME;
};

class counter {
 public:
  counter(const counter_module& module, const sp::host& host)
      : module_(module),
        counts_(host.store(0)),
        timers_(host.timers()),
        metrics_(host.metrics()),
        clock_(host.clock()) {}
  static sp::result<std::unique_ptr<counter>> create(const counter_module& module,
                                                     const sp::host& host) {
    return std::make_unique<counter>(module, host);
  }

  sp::status process(const sp::batch& batch, sp::output& out) {
    const auto subjects = batch.text(0);
    const auto times = batch.event_times_ms();
    auto& counts = count_.start();
    auto& milestones = milestones_.start();
    milestone_rows_.clear();
    std::int64_t greatest = 0;
    for (std::int64_t row = 0; row < batch.rows(); ++row) {
      const auto subject = subjects[row];
      const auto before = counts_.get(subject);
      const auto count = (before ? std::stoll(std::string(*before)) : 0) + 1;
      counts_.put(subject, std::to_string(count));
      counts.append(count);
      metrics_.add(metric_events, 1, count == 1 ? 0 : 1);
      greatest = std::max<std::int64_t>(greatest, count);
      if (count % module_.milestone == 0) {
        milestones.get<0>().append(subject);
        milestones.get<1>().append(count);
        milestones.close();
        milestone_rows_.push_back(row);
      }
      if (module_.idle_ms > 0) {
        const auto since = module_.idle_by == SONDER_EVENT_TIME
                               ? times[static_cast<std::size_t>(row)]
                               : clock_.processing_time_ms();
        const auto payload = std::string(subject);
        timers_.set(row, timer_idle, 0, module_.idle_by, since + module_.idle_ms,
                    sp::as_bytes(payload));
      }
    }
    metrics_.set(metric_greatest, static_cast<double>(greatest));
    out.set(0, count_);
    out.emit(output_milestones, milestone_rows_, milestones_);
    return {};
  }

  sp::status fire(const sp::due_timers& due, sp::output& out) {
    auto& idle = idle_.start();
    milestone_rows_.clear();
    for (std::int64_t row = 0; row < due.rows(); ++row) {
      idle.get<0>().append(sp::as_text(due.payload(row)));
      idle.get<1>().append(due.at_ms(row) - module_.idle_ms);
      idle.close();
      milestone_rows_.push_back(row);
    }
    out.emit(output_idle, milestone_rows_, idle_);
    return {};
  }

 private:
  const counter_module& module_;
  sp::store counts_;
  sp::timers timers_;
  sp::metrics metrics_;
  sp::clock clock_;
  sp::column<sp::build::int64> count_;
  sp::column<sp::build::record<sp::build::utf8, sp::build::int64>> milestones_;
  sp::column<sp::build::record<sp::build::utf8, sp::build::int64>> idle_;
  std::vector<std::int64_t> milestone_rows_;
};

}  // namespace

SONDER_PLUGIN(counter_module, counter)
