#include <atomic>
#include <chrono>
#include <cstdlib>
#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "sonder/plugin.hpp"

namespace {

namespace sp = sonder::plugin;

[[noreturn]] void hang() {
  for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
}

struct misbehaving_module {
  static sp::result<std::unique_ptr<misbehaving_module>> create(const sp::host&,
                                                                const sp::module_args& args) {
    const auto config = nlohmann::json::parse(args.config_json);
    auto made = std::make_unique<misbehaving_module>();
    made->how = config.at("how").get<std::string>();
    made->when = config.at("when").get<std::string>();
    if (made->how == "bad_config")
      return sp::status::bad_config("property \"how\" asks for trouble; choose another");
    if (made->how == "throw_in_create") throw std::runtime_error("thrown in create");
    if (made->how == "hang_in_create") hang();
    return made;
  }
  ~misbehaving_module() {
    if (how == "hang_in_destroy") hang();
  }
  std::string how;
  std::string when;
  mutable std::atomic<int> fatal_calls{0};
};

class misbehaving {
 public:
  misbehaving(const misbehaving_module& module, const sp::host& host)
      : module_(module), notes_(host.store(0)), metrics_(host.metrics()), log_(host.log()) {}
  ~misbehaving() {
    if (is("hang_instance_destroy")) hang();
  }
  static sp::result<std::unique_ptr<misbehaving>> create(const misbehaving_module& module,
                                                         const sp::host& host) {
    if (module.how == "fatal_instance") return sp::status::fatal("no instance today");
    if (module.how == "hang_instance") hang();
    return std::make_unique<misbehaving>(module, host);
  }

  sp::status process(const sp::batch& batch, sp::output& out) {
    metrics_.add(0);
    notes_.put("calls", "one more");
    const auto texts = batch.text(0);
    fill(texts, batch.rows(), out);
    if (!due(texts, batch.rows())) return {};
    if (auto answered = answer(); !answered.is_ok()) return answered;
    return act(batch, out);
  }

 private:
  void fill(const sp::text_column& texts, std::int64_t rows, sp::output& out) {
    auto& lengths = length_.start();
    for (std::int64_t row = 0; row < rows; ++row)
      lengths.append(static_cast<std::int64_t>(texts[row].size()));
    out.set(0, length_);
  }

  [[nodiscard]] bool due(const sp::text_column& texts, std::int64_t rows) const {
    for (std::int64_t row = 0; row < rows; ++row) {
      if (module_.when.empty() || texts[row] == module_.when) return true;
    }
    return false;
  }
  [[nodiscard]] bool is(std::string_view how) const { return module_.how == how; }

  /// The ways to fail that are a status or an exception.
  sp::status answer() {
    if (is("throw")) throw std::runtime_error("thrown on purpose");
    if (is("throw_other")) throw 42;
    if (is("throw_bad_alloc")) throw std::bad_alloc();
    if (is("bad_records")) return sp::status::bad_records("one of them is bad");
    if (is("retry")) return sp::status::retry(5, "later");
    if (is("fatal")) return sp::status::fatal("cannot go on");
    if (is("fatal_once") && module_.fatal_calls++ == 0)
      return sp::status::fatal("the first call only");
    if (is("nonsense_status")) return {77, "what is that?"};
    return {};
  }

  /// The ways to break the contract while saying that all is well.
  sp::status act(const sp::batch& batch, sp::output& out) {
    auto& raw = out.raw();
    if (is("nonsense_verdict")) raw.verdicts[0] = 99;
    if (is("nonsense_reason")) out.drop(0, 7);
    if (is("wrong_length")) {
      auto& lengths = length_.start();
      for (std::int64_t row = 0; row <= batch.rows(); ++row) lengths.append(row);
      out.set(0, length_);
    }
    if (is("wrong_type")) {
      auto& texts = echo_.start();
      for (std::int64_t row = 0; row < batch.rows(); ++row) texts.append("text");
      out.set(0, echo_);
    }
    if (is("bad_utf8")) {
      auto& texts = echo_.start();
      for (std::int64_t row = 0; row < batch.rows(); ++row) texts.append("\xC3\x28");
      out.set(1, echo_);
    }
    if (is("left_out")) raw.columns[0].release(&raw.columns[0]);
    if (is("not_released")) raw.columns[0].release = [](ArrowArray*) {};
    if (is("nonsense_emit")) emit_nonsense(out);
    if (is("ask_wrong_type")) static_cast<void>(batch.int64(0));
    if (is("other_thread")) use_other_thread();
    if (is("nonsense_metric")) count_nonsense();
    if (is("emit_elsewhere")) emit_elsewhere(batch, out);
    if (is("ignore_refusal")) ignore_refusal();
    touch_lent(batch);
    if (is("linger")) {
      log_.warning("a call lingers");
      std::this_thread::sleep_for(std::chrono::seconds(1));
    }
    if (is("hang")) {
      log_.warning("a call hangs");
      hang();
    }
    if (is("crash")) std::abort();
    if (is("segfault")) *static_cast<volatile int*>(nullptr) = 1;
    if (is("overflow")) static_cast<void>(sink(batch.rows()));
    return {};
  }

  void emit_nonsense(sp::output& out) {
    auto& rows = extra_.start();
    rows.get<0>().append(1);
    rows.close();
    const std::int64_t nowhere[] = {1'000'000};
    out.emit(1, nowhere, extra_);
  }

  void count_nonsense() {
    metrics_.add(99);
    metrics_.add(0, 1, 7);
    metrics_.add(0, -5);
    metrics_.add(0, std::numeric_limits<double>::quiet_NaN());
    metrics_.add(0, std::numeric_limits<double>::infinity());
  }

  void emit_elsewhere(const sp::batch& batch, sp::output& out) {
    const std::vector<std::int64_t> rows(static_cast<std::size_t>(batch.rows()), 0);
    auto& made = extra_.start();
    for (std::size_t i = 0; i < rows.size(); ++i) {
      made.get<0>().append(1);
      made.close();
    }
    std::thread([&] {
      try {
        out.emit(1, rows, extra_);
      } catch (const sp::failed&) {
      }
    }).join();
  }

  void use_other_thread() {
    std::thread([this] { metrics_.add(0); }).join();
    metrics_.add(9);
  }

  void ignore_refusal() {
    try {
      notes_.put(std::string(std::size_t{1} << 20, 'k'), "too large a key");
    } catch (const sp::failed&) {
    }
  }

  // Uses up the stack: each call needs the one below.
  static std::int64_t sink(std::int64_t depth) {
    if (depth < 0) return 0;
    volatile char page[4096];
    page[depth % 4096] = 1;
    return sink(depth + 1) + page[depth % 4096];
  }

  void touch_lent(const sp::batch& batch) {
    const auto* bytes = static_cast<const char*>(batch.raw().array->children[0]->buffers[2]);
    if (is("write_lent")) *const_cast<char*>(bytes) = 'x';
    if (!is("keep_view")) return;
    if (kept_ != nullptr) seen_ = *kept_;
    kept_ = bytes;
  }

  const misbehaving_module& module_;
  sp::store notes_;
  sp::metrics metrics_;
  sp::log log_;
  sp::column<sp::build::int64> length_;
  sp::column<sp::build::utf8> echo_;
  sp::column<sp::build::record<sp::build::int64>> extra_;
  const volatile char* kept_ = nullptr;
  char seen_ = 0;
};

}  // namespace

SONDER_PLUGIN(misbehaving_module, misbehaving)
