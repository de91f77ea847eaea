#include <string>

#include "sonder/plugin.hpp"

// What a row's text asks of it: "keep N" puts N values of 1 MiB less a byte, "retry" asks for a retry of the row for ever, "cancel"
// answers that the call was given up.
namespace {

namespace sp = sonder::plugin;

struct hoarder_module {
  static sp::result<std::unique_ptr<hoarder_module>> create(const sp::host&, const sp::module_args&) {
    return std::make_unique<hoarder_module>();
  }
};

class hoarder {
 public:
  hoarder(const hoarder_module&, const sp::host& host) : hoard_(host.store(0)) {}
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
      if (!text.starts_with("keep ")) continue;
      const auto values = std::stoi(std::string(text.substr(5)));
      for (int i = 0; i < values; ++i) hoard_.put(std::string(ids[row]) + "/" + std::to_string(i), value_);
    }
    return {};
  }

 private:
  sp::store hoard_;
  const std::string value_ = std::string((1 << 20) - 1, 'v');
};

}  // namespace

SONDER_PLUGIN(hoarder_module, hoarder)
