#include <array>
#include <bit>
#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "consent_state.h"
#include "record_key.h"
#include "sonder/plugin.hpp"

namespace sp = sonder::plugin;

namespace sonder::consent {
namespace {

// Places in manifest.json.
enum input : std::uint32_t { input_events, input_decisions };
enum event_read : std::size_t { event_subject };
enum decision_read : std::size_t {
  read_subject,
  read_purpose,
  read_decision,
  read_at,
  read_expires_at
};
enum reason : std::uint16_t {
  reason_unknown,
  reason_denied,
  reason_withdrawn,
  reason_expired,
  reason_before_grant,
  reason_no_subject,
  reason_bad_decision
};
enum kind_label : std::uint32_t {
  label_granted,
  label_denied,
  label_withdrawn,
  label_expired,
  label_removed,
  label_unreadable,
  label_unmapped
};
constexpr std::uint32_t store_consents = 0;
constexpr std::uint32_t metric_decisions = 0;

constexpr std::size_t subject_bytes_max =
    2048;  // with a purpose it must fit into a store's key of 4 KiB
constexpr std::size_t purpose_bytes_max = 1024;
constexpr std::uint32_t purposes_max = 64;  // bits of the mask
constexpr std::int64_t rows_between_cancel_checks = 256;

static_assert(static_cast<int>(outcome::before_grant) == reason_before_grant);
static_assert(static_cast<int>(decision_kind::expired) == static_cast<int>(label_expired));

struct filter_module {
  std::map<std::string, std::string, std::less<>> purposes;  ///< foreign name -> purpose
  std::map<std::string, decision_kind, std::less<>> decisions = {
      {"granted", decision_kind::granted},
      {"denied", decision_kind::denied},
      {"withdrawn", decision_kind::withdrawn},
      {"expired", decision_kind::expired}};  ///< symbol -> what it means
  key_form key;
  bool key_told = false;  ///< a decision may leave out what stands in its record's key
  std::vector<std::string> all_of;

  static sp::result<std::unique_ptr<filter_module>> create(const sp::host&,
                                                           const sp::module_args& args) {
    auto made = std::make_unique<filter_module>();
    const auto config = nlohmann::json::parse(args.config_json);
    if (const auto found = config.find("purposes"); found != config.end()) {
      for (const auto& [foreign, own] : found->items())
        made->purposes.emplace(foreign, own.get<std::string>());
    }
    if (const auto found = config.find("decisions"); found != config.end()) {
      // The manifest's schema lets nobody give a symbol of our own another meaning.
      for (const auto& [foreign, own] : found->items())
        made->decisions.emplace(foreign, made->decisions.at(own.get<std::string>()));
    }
    if (const auto found = config.find("key"); found != config.end()) {
      if (auto wrong = made->read_key(*found); !wrong.is_ok()) return wrong;
    }
    if (const auto found = config.find("all_of"); found != config.end())
      found->get_to(made->all_of);
    return made;
  }

  sp::status read_key(const nlohmann::json& told) {
    const auto separator = told.find("separator");
    const bool text = told.at("form") == "text";
    if (text && separator == told.end()) {
      return sp::status::bad_config(
          "key: form \"text\" needs \"separator\", what stands between subject and purpose, such "
          "as \"|\"");
    }
    if (!text && separator != told.end()) {
      return sp::status::bad_config(
          "key: \"separator\" is for form \"text\"; take it away, or say \"form: text\"");
    }
    key_told = true;
    key.form = text ? key_form::encoding::text : key_form::encoding::avro;
    if (text) separator->get_to(key.separator);
    key.purpose_first = told.at("order").at(0) == "purpose";
    return {};
  }

  [[nodiscard]] std::string_view purpose_of(std::string_view named) const {
    const auto found = purposes.find(named);
    return found == purposes.end() ? named : std::string_view(found->second);
  }
};

class filter_instance {
 public:
  static sp::result<std::unique_ptr<filter_instance>> create(const filter_module& shared,
                                                             const sp::host& host) {
    auto made = std::unique_ptr<filter_instance>(new filter_instance(shared, host));
    if (auto wrong = made->read_purposes(host); !wrong.is_ok()) return wrong;
    return made;
  }

  sp::status process(const sp::batch& in, sp::output& out) {
    return in.port() == input_decisions ? take_decisions(in, out) : judge_events(in, out);
  }

 private:
  filter_instance(const filter_module& shared, const sp::host& host)
      : shared_(shared),
        consents_(host.store(store_consents)),
        metrics_(host.metrics()),
        log_(host.log()) {}

  sp::status read_purposes(const sp::host& host) {
    const auto authority = host.consent_authority();
    const std::uint32_t count = authority.purposes();
    if (count > purposes_max) return sp::status::fatal("more purposes than the mask has bits");
    for (std::uint32_t bit = 0; bit < count; ++bit) purposes_.emplace_back(authority.purpose(bit));
    for (const auto& needed : shared_.all_of) {
      const auto found = std::find(purposes_.begin(), purposes_.end(), needed);
      if (found == purposes_.end()) {
        return sp::status::bad_config("all_of: no stage of this flow has purpose \"" + needed +
                                      "\"");
      }
      needed_mask_ |= std::uint64_t{1} << (found - purposes_.begin());
    }
    return {};
  }

  // State that cannot be read stops the worker: to go on would be to guess what a person decided.
  [[nodiscard]] consent_state load(std::string_view subject, std::string_view purpose) {
    store_key(subject, purpose, key_);
    const auto stored = consents_.get(sp::bytes_view(key_));
    if (!stored) return {};
    const auto state = consent_state::load(*stored);
    if (!state)
      throw sp::failed(
          sp::status::fatal("store \"consents\": an entry is corrupt or of a newer version"));
    return *state;
  }

  void take(std::string_view subject, std::string_view purpose, const decision& made) {
    consent_state state = load(subject, purpose);
    if (!state.apply(made)) return;
    std::array<std::uint8_t, consent_state::bytes_max> bytes;
    const std::size_t size = state.store(bytes);
    consents_.put(sp::bytes_view(key_), sp::bytes_view(bytes).first(size));
  }

  static bool fits(std::string_view subject, std::string_view purpose) {
    return !subject.empty() && subject.size() <= subject_bytes_max && !purpose.empty() &&
           purpose.size() <= purpose_bytes_max;
  }

  sp::status take_decisions(const sp::batch& in, sp::output& out) {
    const auto subjects = in.text(read_subject);
    const auto purposes = in.text(read_purpose);
    const auto decisions = in.text(read_decision);
    const auto times = in.int64(read_at);
    const auto expiries = in.int64(read_expires_at);
    const auto logged = in.timestamps_ms();
    const auto tombstones = in.tombstones();
    const auto keys = in.keys();
    if (logged.size() != static_cast<std::size_t>(in.rows()))
      return sp::status::fatal("decisions came without record timestamps");
    for (std::int64_t row = 0; row < in.rows(); ++row) {
      if (row % rows_between_cancel_checks == 0 && in.cancelled()) return sp::status::cancelled();
      const std::int64_t logged_ms = logged[static_cast<std::size_t>(row)];
      if (!tombstones.empty() && tombstones[static_cast<std::size_t>(row)] != 0) {
        take_removal(keys, row, logged_ms, out);
        continue;
      }
      const auto whose = whose_is(subjects, purposes, keys, row);
      if (!whose || decisions.is_null(row) || times.is_null(row)) {
        refuse(out, row);
        continue;
      }
      const auto known = shared_.decisions.find(decisions[row]);
      const bool mapped = known != shared_.decisions.end();
      if (!mapped) warn_of_symbol();
      const auto kind = mapped ? known->second : decision_kind::denied;
      take(whose->subject, whose->purpose,
           {kind, times[row], logged_ms, expiries.is_null(row) ? decision::never : expiries[row]});
      metrics_.add(metric_decisions, 1, mapped ? static_cast<std::uint32_t>(kind) : label_unmapped);
    }
    return {};
  }

  // Once an instance, and without the symbol: it may be of a field that was taken by mistake.
  void warn_of_symbol() {
    if (warned_) return;
    warned_ = true;
    log_.warning(
        "a decision's symbol is none of ours and not in config \"decisions\"; it counts as a "
        "denial, and in sonder_consent_filter_decisions_total{kind=\"unmapped\"}");
  }

  [[nodiscard]] std::optional<subject_purpose> key_of(const sp::binary_column& keys,
                                                      std::int64_t row) const {
    if (keys.length() <= row || keys.is_null(row)) return std::nullopt;
    auto found = parse_record_key(keys[row], shared_.key);
    if (found) found->purpose = shared_.purpose_of(found->purpose);
    if (!found || !fits(found->subject, found->purpose)) return std::nullopt;
    return found;
  }

  // The record's own fields; what they leave out stands in the key, where the configuration says
  // so.
  [[nodiscard]] std::optional<subject_purpose> whose_is(const sp::text_column& subjects,
                                                        const sp::text_column& purposes,
                                                        const sp::binary_column& keys,
                                                        std::int64_t row) const {
    const bool has_subject = !subjects.is_null(row);
    const bool has_purpose = !purposes.is_null(row);
    subject_purpose whose;
    if (has_subject && has_purpose) {
      whose = {subjects[row], shared_.purpose_of(purposes[row])};
    } else {
      const auto keyed = shared_.key_told ? key_of(keys, row) : std::nullopt;
      if (!keyed) return std::nullopt;
      whose = *keyed;
      // A field that contradicts the key: one of the two is somebody else's.
      if (has_subject && subjects[row] != whose.subject) return std::nullopt;
      if (has_purpose && shared_.purpose_of(purposes[row]) != whose.purpose) return std::nullopt;
    }
    if (!fits(whose.subject, whose.purpose)) return std::nullopt;
    return whose;
  }

  // A removed consent is a withdrawn one: whose it was stands in the record's key.
  void take_removal(const sp::binary_column& keys, std::int64_t row, std::int64_t logged_ms,
                    sp::output& out) {
    const auto whose = key_of(keys, row);
    if (!whose) {
      refuse(out, row);
      return;
    }
    take(whose->subject, whose->purpose, {decision_kind::withdrawn, logged_ms, logged_ms});
    metrics_.add(metric_decisions, 1, label_removed);
  }

  void refuse(sp::output& out, std::int64_t row) {
    out.dead_letter(row, reason_bad_decision);
    metrics_.add(metric_decisions, 1, label_unreadable);
  }

  sp::status judge_events(const sp::batch& in, sp::output& out) {
    const auto subjects = in.text(event_subject);
    const auto times = in.event_times_ms();
    if (times.size() != static_cast<std::size_t>(in.rows()))
      return sp::status::fatal("events came without event times");
    for (std::int64_t row = 0; row < in.rows(); ++row) {
      if (row % rows_between_cancel_checks == 0 && in.cancelled()) return sp::status::cancelled();
      if (subjects.is_null(row) || subjects[row].empty() ||
          subjects[row].size() > subject_bytes_max) {
        out.drop(row, reason_no_subject);
        continue;
      }
      std::uint64_t mask = 0;
      // What is told is the answer nearest to a pass, of the purposes that are missing.
      outcome nearest = outcome::unknown;
      for (std::size_t bit = 0; bit < purposes_.size(); ++bit) {
        const outcome answer =
            load(subjects[row], purposes_[bit]).decide(times[static_cast<std::size_t>(row)]);
        const std::uint64_t one = std::uint64_t{1} << bit;
        if (answer == outcome::passes) {
          mask |= one;
        } else if ((needed_mask_ == 0 || (needed_mask_ & one) != 0) && answer > nearest) {
          nearest = answer;
        }
      }
      if (mask == 0 || (mask & needed_mask_) != needed_mask_) {
        out.drop(row, static_cast<std::uint16_t>(nearest));
        continue;
      }
      out.set_purposes(row, mask);
    }
    return {};
  }

  const filter_module& shared_;
  sp::store consents_;
  sp::metrics metrics_;
  sp::log log_;
  bool warned_ = false;
  std::vector<std::string> purposes_;  ///< of the flow, by bit
  std::uint64_t needed_mask_ = 0;
  std::vector<std::uint8_t> key_;
};

}  // namespace
}  // namespace sonder::consent

SONDER_PLUGIN(sonder::consent::filter_module, sonder::consent::filter_instance)
