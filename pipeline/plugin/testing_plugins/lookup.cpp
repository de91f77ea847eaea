#include <nlohmann/json.hpp>
#include <string>

#include "sonder/plugin.hpp"

namespace {

namespace sp = sonder::plugin;

enum : std::uint32_t { port_events = 0, port_items = 1, store_titles = 0, store_times = 1 };

struct lookup_module {
  static sp::result<std::unique_ptr<lookup_module>> create(const sp::host&,
                                                           const sp::module_args& args) {
    auto made = std::make_unique<lookup_module>();
    made->misuse = nlohmann::json::parse(args.config_json).at("misuse").get<std::string>();
    return made;
  }
  std::string misuse;
};

/// Items by id in one store, which only their table fills, and a count for each in another.
class lookup {
 public:
  lookup(const lookup_module& module, const sp::host& host)
      : module_(module), titles_(host.store(store_titles)), times_(host.store(store_times)) {}
  static sp::result<std::unique_ptr<lookup>> create(const lookup_module& module,
                                                    const sp::host& host) {
    return std::make_unique<lookup>(module, host);
  }

  sp::status process(const sp::batch& batch, sp::output& out) {
    return batch.port() == port_items ? take(batch) : look_up(batch, out);
  }

 private:
  sp::status take(const sp::batch& batch) {
    const auto ids = batch.text(0);
    const auto titles = batch.text(1);
    const auto keys = batch.keys();
    const auto tombstones = batch.tombstones();
    for (std::int64_t row = 0; row < batch.rows(); ++row) {
      if (tombstones[static_cast<std::size_t>(row)] != 0) {
        titles_.erase(sp::as_text(keys[row]));
      } else {
        titles_.put(ids[row], std::string(titles[row]));
      }
      if (module_.misuse == "items_write_times") times_.put("x", "1");
    }
    return {};
  }

  sp::status look_up(const sp::batch& batch, sp::output& out) {
    const auto texts = batch.text(0);
    auto& titles = title_.start();
    auto& times = count_.start();
    for (std::int64_t row = 0; row < batch.rows(); ++row) {
      const auto title = titles_.get(texts[row]);
      titles.append(title ? std::string(*title) : "none");
      const auto before = times_.get(texts[row]);
      const auto count = (before ? std::stoll(std::string(*before)) : 0) + 1;
      times_.put(texts[row], std::to_string(count));
      times.append(count);
      if (module_.misuse == "events_write_titles") titles_.put(texts[row], "mine");
    }
    out.set(0, title_);
    out.set(1, count_);
    return {};
  }

  const lookup_module& module_;
  sp::store titles_;
  sp::store times_;
  sp::column<sp::build::utf8> title_;
  sp::column<sp::build::int64> count_;
};

}  // namespace

SONDER_PLUGIN(lookup_module, lookup)
