#include <nlohmann/json.hpp>

#include "sonder/plugin.hpp"

namespace {

namespace sp = sonder::plugin;

constexpr std::string_view rows_key = "rows";

struct dropper_module {
  static sp::result<std::unique_ptr<dropper_module>> create(const sp::host&,
                                                            const sp::module_args& args) {
    auto made = std::make_unique<dropper_module>();
    made->every = nlohmann::json::parse(args.config_json).at("every").get<std::uint64_t>();
    return made;
  }
  std::uint64_t every = 1;
};

/// Counts rows in its store, so that a discarded epoch or a restart drops the same ones.
class dropper {
 public:
  dropper(const dropper_module& module, const sp::host& host)
      : every_(module.every), seen_(host.store(0)) {}
  static sp::result<std::unique_ptr<dropper>> create(const dropper_module& module,
                                                     const sp::host& host) {
    return std::make_unique<dropper>(module, host);
  }

  sp::status process(const sp::batch& batch, sp::output& out) {
    const auto before = seen_.get(rows_key);
    const auto rows = before ? std::stoull(std::string(*before)) : 0;
    const auto every = static_cast<std::int64_t>(every_);
    for (auto row = every - 1 - static_cast<std::int64_t>(rows % every_); row < batch.rows(); row += every) out.drop(row, 0);
    seen_.put(rows_key, std::to_string(rows + static_cast<std::uint64_t>(batch.rows())));
    return {};
  }

 private:
  std::uint64_t every_;
  sp::store seen_;
};

}  // namespace

SONDER_PLUGIN(dropper_module, dropper)
