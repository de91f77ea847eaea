#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "record/result.h"

namespace sonder {

/// What kind of personal data a field holds. Numbers are places in a set of bits.
enum class data_category : std::uint8_t {
  direct_identifier,  ///< names the person by itself: account id, name, e-mail
  quasi_identifier,   ///< names the person together with others: age, place, time
  special_category,   ///< GDPR Art. 9: health, and what reveals it, such as emotion
  free_text,          ///< words of the person, which may hold anything
  pseudonym,  ///< stands for the person or one of their events under a key or a list kept elsewhere
  behaviour,  ///< what the person did in the app
  preference,  ///< what the person likes or set
};
inline constexpr std::size_t data_categories_count = 7;

[[nodiscard]] std::string_view name(data_category c) noexcept;
[[nodiscard]] const std::vector<std::string>& data_category_names();

/// A set of data categories. A value of one byte.
class category_set {
 public:
  constexpr category_set() = default;
  [[nodiscard]] static constexpr category_set all() noexcept {
    return category_set{static_cast<std::uint8_t>((1U << data_categories_count) - 1)};
  }
  [[nodiscard]] static constexpr category_set of(data_category c) noexcept {
    return category_set{static_cast<std::uint8_t>(1U << static_cast<unsigned>(c))};
  }
  /// Refuses a name that is no category, with the nearest one.
  [[nodiscard]] static result<category_set> parse(std::span<const std::string> names);

  [[nodiscard]] constexpr bool empty() const noexcept { return bits_ == 0; }
  [[nodiscard]] constexpr bool contains(data_category c) const noexcept {
    return (bits_ & of(c).bits_) != 0;
  }
  [[nodiscard]] constexpr bool contains(category_set other) const noexcept {
    return (other.bits_ & ~bits_) == 0;
  }
  [[nodiscard]] constexpr category_set operator|(category_set o) const noexcept {
    return category_set{static_cast<std::uint8_t>(bits_ | o.bits_)};
  }
  [[nodiscard]] constexpr category_set operator&(category_set o) const noexcept {
    return category_set{static_cast<std::uint8_t>(bits_ & o.bits_)};
  }
  [[nodiscard]] constexpr category_set operator-(category_set o) const noexcept {
    return category_set{static_cast<std::uint8_t>(bits_ & ~o.bits_)};
  }
  constexpr bool operator==(const category_set&) const = default;

 private:
  constexpr explicit category_set(std::uint8_t bits) : bits_(bits) {}
  std::uint8_t bits_ = 0;
};

/// `direct_identifier, free_text`, in the order of the enumeration; `none` for the empty set.
[[nodiscard]] std::string to_string(category_set s);

/// Whom or what a label permits: anybody, or only those named. At most `names_max` names.
class permission {
 public:
  static constexpr std::size_t names_max = 64;

  [[nodiscard]] static permission any() { return {}; }
  [[nodiscard]] static permission none() { return permission{std::set<std::string>{}}; }
  [[nodiscard]] static permission only(std::set<std::string> names) {
    return permission{std::move(names)};
  }

  [[nodiscard]] bool permits(const std::string& name) const {
    return !names_ || names_->contains(name);
  }
  [[nodiscard]] bool permits_any() const noexcept { return !names_.has_value(); }
  /// True if everything that `narrower` permits is permitted here.
  [[nodiscard]] bool includes(const permission& narrower) const;
  [[nodiscard]] permission operator&(const permission& o) const;
  bool operator==(const permission&) const = default;
  /// `any`, `none` or the names.
  [[nodiscard]] std::string to_string() const;

 private:
  permission() = default;
  explicit permission(std::set<std::string> names) : names_(std::move(names)) {}
  std::optional<std::set<std::string>> names_;
};

/// What a value is and whom it may serve: an element of a lattice (design section 7).
///
/// `join` unites categories and intersects permissions; it is associative, commutative and
/// idempotent. The bottom, `label::open()`, is data about nobody; the top, a default-made label, is
/// what a field without a label counts as: every category and no permission. A plain value; off the
/// path of a record.
struct label {
  category_set categories = category_set::all();
  permission purposes = permission::none();
  permission recipients = permission::none();

  [[nodiscard]] static label open() { return {{}, permission::any(), permission::any()}; }
  [[nodiscard]] static label of(category_set c) {
    return {c, permission::any(), permission::any()};
  }
  [[nodiscard]] bool personal() const noexcept { return !categories.empty(); }
  bool operator==(const label&) const = default;
};

[[nodiscard]] label join(const label& a, const label& b);
/// True if a value labelled `low` may stand where `high` is expected: not more categories, not less
/// permission.
[[nodiscard]] bool at_most(const label& low, const label& high);
[[nodiscard]] std::string to_string(const label& l);

/// Reads the value of the attribute `sonder.privacy` of an Avro field:
///
///     {"categories": ["free_text"], "purposes": ["ServicePersonalisation"], "recipients":
///     ["coach"]}
///
/// Without `purposes` or `recipients` any is permitted (of those that the person agreed to); with
/// them only those named. The text
/// `"none"` is short for no category; a list is short for its categories. Purposes must be known
/// (`check_purpose`).
[[nodiscard]] result<label> parse_label(std::string_view json);

}  // namespace sonder
