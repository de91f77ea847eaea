#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "sonder/plugin.hpp"

namespace {

namespace sp = sonder::plugin;

struct peek_module {
  static sp::result<std::unique_ptr<peek_module>> create(const sp::host&,
                                                         const sp::module_args& args) {
    auto made = std::make_unique<peek_module>();
    made->needles =
        nlohmann::json::parse(args.config_json).at("needles").get<std::vector<std::string>>();
    return made;
  }
  std::vector<std::string> needles;
};

class peek {
 public:
  explicit peek(const peek_module& module) : module_(module) {}
  static sp::result<std::unique_ptr<peek>> create(const peek_module& module, const sp::host&) {
    return std::make_unique<peek>(module);
  }

  sp::status process(const sp::batch& batch, sp::output& out) {
    const auto& raw = batch.raw();
    const auto rows = static_cast<std::size_t>(batch.rows());
    const bool found = in_texts(*raw.array) || in(raw.timestamp_ms, rows * sizeof(std::int64_t)) ||
                       in(raw.event_time_ms, rows * sizeof(std::int64_t)) ||
                       in(raw.tombstone, rows) || in_bytes(*raw.key) ||
                       (raw.headers != nullptr && in_headers(*raw.headers));
    for (std::int64_t row = 0; found && row < batch.rows(); ++row) out.drop(row, 0);
    return {};
  }

 private:
  [[nodiscard]] bool in(const void* bytes, std::size_t size) const {
    if (bytes == nullptr) return false;
    const std::string_view hay(static_cast<const char*>(bytes), size);
    return std::any_of(module_.needles.begin(), module_.needles.end(), [&](const auto& needle) {
      return hay.find(needle) != std::string_view::npos;
    });
  }

  /// Every buffer of a column of text or bytes, from its very beginning: also what lies before its
  /// offset, between its rows and under its nulls.
  [[nodiscard]] bool in_bytes(const ArrowArray& a) const {
    const auto end = static_cast<std::size_t>(a.offset + a.length);
    const auto* offsets = static_cast<const std::int32_t*>(a.buffers[1]);
    if (offsets == nullptr) return false;
    return in(a.buffers[0], (end + 7) / 8) || in(offsets, (end + 1) * sizeof(std::int32_t)) ||
           in(a.buffers[2], static_cast<std::size_t>(offsets[end]));
  }
  [[nodiscard]] bool in_texts(const ArrowArray& all) const {
    return std::any_of(all.children, all.children + all.n_children,
                       [&](const auto* child) { return in_bytes(*child); });
  }
  [[nodiscard]] bool in_headers(const ArrowArray& map) const {
    const auto& entries = *map.children[0];
    return in_bytes(*entries.children[0]) || in_bytes(*entries.children[1]);
  }

  const peek_module& module_;
};

}  // namespace

SONDER_PLUGIN(peek_module, peek)
