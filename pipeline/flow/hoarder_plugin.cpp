#include <string>
#include <vector>

#include "sonder/plugin.hpp"

// What a row's text asks of it: "keep N" puts N values of 1 MiB less a byte, "retry" asks for a retry of the row for ever, "retry N"
// N times, "shout N" emits N rows of 1 MiB, "tick" sets a timer that sets itself again, "tock" one that fails,
// "chime first" and "chime second" one each that emits a row with the event's id, at 10 and at 20, "alarm T" one of processing time
// that emits a row with the event's id and the time at which it rang, "cancel" answers that the call was given up.
namespace {

namespace sp = sonder::plugin;

struct hoarder_module {
  static sp::result<std::unique_ptr<hoarder_module>> create(const sp::host&, const sp::module_args&) {
    return std::make_unique<hoarder_module>();
  }
};

class hoarder {
 public:
  hoarder(const hoarder_module&, const sp::host& host) : hoard_(host.store(0)), timers_(host.timers()), clock_(host.clock()) {}
  static sp::result<std::unique_ptr<hoarder>> create(const hoarder_module& module, const sp::host& host) {
    return std::make_unique<hoarder>(module, host);
  }

  sp::status process(const sp::batch& batch, sp::output& out) {
    const auto ids = batch.text(0);
    const auto texts = batch.text(1);
    for (std::int64_t row = 0; row < batch.rows(); ++row) {
      const auto text = texts[row];
      if (text == "cancel") return {SONDER_CANCELLED, "nobody asked"};
      if (text == "retry") out.raw().verdicts[row] = SONDER_RETRY_ROW;
      if (text.starts_with("retry ") && asks_again(ids[row], std::stoi(std::string(text.substr(6))))) {
        out.raw().verdicts[row] = SONDER_RETRY_ROW;
      }
      if (text.starts_with("shout ")) shout(row, ids[row], std::stoi(std::string(text.substr(6))), out);
      if (text == "tock") timers_.set(row, 0, 1, SONDER_EVENT_TIME, 1, {});
      if (text == "chime first") timers_.set(row, 1, 2, SONDER_EVENT_TIME, 10, sp::as_bytes(ids[row]));
      if (text == "chime second") timers_.set(row, 0, 2, SONDER_EVENT_TIME, 20, sp::as_bytes(ids[row]));
      if (text.starts_with("alarm ")) {
        timers_.set(row, 0, 3, SONDER_PROCESSING_TIME, std::stoll(std::string(text.substr(6))), sp::as_bytes(ids[row]));
      }
      if (text == "tick") timers_.set(row, 0, 0, SONDER_PROCESSING_TIME, 1, {});
      if (!text.starts_with("keep ")) continue;
      const auto values = std::stoi(std::string(text.substr(5)));
      for (int i = 0; i < values; ++i) hoard_.put(std::string(ids[row]) + "/" + std::to_string(i), value_);
    }
    return {};
  }

  /// Chimes and alarms are heard once; the clock winds itself up again.
  sp::status fire(const sp::due_timers& due, sp::output& out) {
    std::vector<std::int64_t> chimes;
    auto& rows = echoes_.start();
    for (std::int64_t row = 0; row < due.rows(); ++row) {
      if (due.tag(row) >= 2) {
        const auto id = due.payload(row);
        rows.get<0>().append(std::string_view(reinterpret_cast<const char*>(id.data()), id.size()));
        rows.get<1>().append(due.tag(row) == 2 ? "chime" : "rang at " + std::to_string(clock_.processing_time_ms()));
        rows.close();
        chimes.push_back(row);
        continue;
      }
      if (due.tag(row) == 1) return {SONDER_BAD_RECORDS, "a timer that nobody can handle"};
      timers_.set(row, 0, 0, SONDER_PROCESSING_TIME, clock_.processing_time_ms() + 10, {});
    }
    if (!chimes.empty()) out.emit(1, chimes, echoes_);
    return {};
  }

 private:
  bool asks_again(std::string_view id, int times) {
    const auto key = "asked/" + std::string(id);
    const auto before = hoard_.get(key);
    const auto asked = before ? std::stoi(std::string(*before)) : 0;
    hoard_.put(key, std::to_string(asked + 1));
    return asked < times;
  }

  void shout(std::int64_t row, std::string_view id, int times, sp::output& out) {
    auto& rows = echoes_.start();
    for (int i = 0; i < times; ++i) {
      rows.get<0>().append(id);
      rows.get<1>().append(value_);
      rows.close();
    }
    out.emit(1, std::vector<std::int64_t>(static_cast<std::size_t>(times), row), echoes_);
  }

  sp::store hoard_;
  sp::timers timers_;
  sp::clock clock_;
  sp::column<sp::build::record<sp::build::utf8, sp::build::utf8>> echoes_;
  const std::string value_ = std::string((1 << 20) - 1, 'v');
};

}  // namespace

SONDER_PLUGIN(hoarder_module, hoarder)
