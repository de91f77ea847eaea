// How often an event goes round: of wish "round N" it passes with "round N-1" as the next wish, until none is left to go.

#include <string>
#include <string_view>

#include "sonder/plugin.hpp"

namespace {

namespace sp = sonder::plugin;

struct rounds_module {
  static sp::result<std::unique_ptr<rounds_module>> create(const sp::host&, const sp::module_args&) {
    return std::make_unique<rounds_module>();
  }
};

class rounds {
 public:
  static sp::result<std::unique_ptr<rounds>> create(const rounds_module&, const sp::host&) { return std::make_unique<rounds>(); }

  sp::status process(const sp::batch& batch, sp::output& out) {
    const auto wishes = batch.text(0);
    auto& next = next_.start();
    for (std::int64_t row = 0; row < batch.rows(); ++row) {
      const auto left = wishes[row].starts_with(word) ? std::stoll(std::string(wishes[row].substr(word.size()))) : 0;
      if (left < 1) out.drop(row, 0);
      next.append(std::string(word) + std::to_string(left - 1));
    }
    out.set(0, next_);
    return {};
  }

 private:
  static constexpr std::string_view word = "round ";
  sp::column<sp::build::utf8> next_;
};

}  // namespace

SONDER_PLUGIN(rounds_module, rounds)
