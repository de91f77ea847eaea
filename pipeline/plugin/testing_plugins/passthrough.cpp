#include "sonder/plugin.hpp"

namespace {

namespace sp = sonder::plugin;

struct passthrough_module {
  static sp::result<std::unique_ptr<passthrough_module>> create(const sp::host&,
                                                                const sp::module_args&) {
    return std::make_unique<passthrough_module>();
  }
};

struct passthrough {
  static sp::result<std::unique_ptr<passthrough>> create(const passthrough_module&,
                                                         const sp::host&) {
    return std::make_unique<passthrough>();
  }
  sp::status process(const sp::batch&, sp::output&) { return {}; }
};

}  // namespace

SONDER_PLUGIN(passthrough_module, passthrough)
