#include <chrono>
#include <string>
#include <thread>

#include "sonder/plugin.hpp"

// Version 1 of its store had a number of four digits as key and the same as value. Version 2 has it under the next number, with a `+`
// before the value: each new key is the old key of the entry behind it. "0000" is dropped, "bad" cannot be turned, "slow" never comes back.
namespace {

namespace sp = sonder::plugin;

struct keeper_module {
  static sp::result<std::unique_ptr<keeper_module>> create(const sp::host&, const sp::module_args&) {
    return std::make_unique<keeper_module>();
  }
#ifndef KEEPER_HAS_NO_MIGRATE
  sp::status migrate(const sp::old_entry& entry, const sp::replace_entry& replace) const {
    if (sp::as_text(entry.key) == "bad" || sp::as_text(entry.value).starts_with("+")) return sp::status::fatal("no entry of version 1");
    while (sp::as_text(entry.key) == "slow") std::this_thread::sleep_for(std::chrono::seconds(1));
    const auto number = std::stoi(std::string(sp::as_text(entry.key)));
    if (number == 0) return {};
    const auto moved = std::to_string(10'000 + number + 1).substr(1);
    replace(sp::as_bytes(moved), sp::as_bytes("+" + std::string(sp::as_text(entry.value))));
    return {};
  }
#endif
};

class keeper {
 public:
  static sp::result<std::unique_ptr<keeper>> create(const keeper_module&, const sp::host&) { return std::make_unique<keeper>(); }
  sp::status process(const sp::batch&, sp::output&) { return {}; }
};

}  // namespace

SONDER_PLUGIN(keeper_module, keeper)
