// What an event's `wish` asks for: "retry N" that the row be offered again N times, "retry" for ever, "remind N" a row of its own when
// event time is N ms further, "alarm T" one when the worker's clock comes to T. What is asked for has a timer, a count or a parked row
// of its own, so that the outcome does not depend on how rows fall into batches and epochs.

#include <string>
#include <string_view>
#include <vector>

#include "sonder/plugin.hpp"

namespace {

namespace sp = sonder::plugin;

struct reminder_module {
  static sp::result<std::unique_ptr<reminder_module>> create(const sp::host&, const sp::module_args&) {
    return std::make_unique<reminder_module>();
  }
};

class reminder {
 public:
  reminder(const reminder_module&, const sp::host& host) : asked_(host.store(0)), timers_(host.timers()) {}
  static sp::result<std::unique_ptr<reminder>> create(const reminder_module& module, const sp::host& host) {
    return std::make_unique<reminder>(module, host);
  }

  sp::status process(const sp::batch& batch, sp::output& out) {
    const auto ids = batch.text(0);
    const auto places = batch.int64(1);
    const auto wishes = batch.text(2);
    const auto times = batch.event_times_ms();
    for (std::int64_t row = 0; row < batch.rows(); ++row) {
      const auto wish = wishes[row];
      if (wish.starts_with(retry) && asks_again(ids[row], number_of(wish, retry))) {
        out.raw().verdicts[row] = SONDER_RETRY_ROW;
      } else if (wish.starts_with(remind)) {
        const auto at_ms = times[static_cast<std::size_t>(row)] + number_of(wish, remind);
        timers_.set(row, 0, static_cast<std::uint64_t>(places[row]), SONDER_EVENT_TIME, at_ms, sp::as_bytes(ids[row]));
      } else if (wish.starts_with(alarm)) {
        const auto at_ms = number_of(wish, alarm);
        timers_.set(row, 1, static_cast<std::uint64_t>(places[row]), SONDER_PROCESSING_TIME, at_ms, sp::as_bytes(ids[row]));
      }
    }
    return {};
  }

  sp::status fire(const sp::due_timers& due, sp::output& out) {
    auto& rows = reminders_.start();
    std::vector<std::int64_t> all;
    for (std::int64_t row = 0; row < due.rows(); ++row) {
      rows.get<0>().append(sp::as_text(due.payload(row)));
      rows.get<1>().append(due.at_ms(row));
      rows.close();
      all.push_back(row);
    }
    out.emit(1, all, reminders_);
    return {};
  }

 private:
  static constexpr std::string_view retry = "retry", remind = "remind", alarm = "alarm";

  static std::int64_t number_of(std::string_view wish, std::string_view word) {
    return wish.size() > word.size() ? std::stoll(std::string(wish.substr(word.size() + 1))) : INT64_MAX;
  }

  bool asks_again(std::string_view id, std::int64_t times) {
    const auto before = asked_.get(id);
    const auto asked = before ? std::stoll(std::string(*before)) : 0;
    asked_.put(id, std::to_string(asked + 1));
    return asked < times;
  }

  sp::store asked_;
  sp::timers timers_;
  sp::column<sp::build::record<sp::build::utf8, sp::build::int64>> reminders_;
};

}  // namespace

SONDER_PLUGIN(reminder_module, reminder)
