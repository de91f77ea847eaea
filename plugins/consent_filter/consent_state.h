#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sonder::consent {

enum class decision_kind : std::uint8_t { granted, denied, withdrawn, expired };

/// What a person decided about one purpose, as it was logged.
struct decision {
  static constexpr std::int64_t never = std::numeric_limits<std::int64_t>::max();

  decision_kind kind = decision_kind::denied;
  std::int64_t at_ms = 0;              ///< its own time
  std::int64_t logged_ms = 0;          ///< the record's timestamp
  std::int64_t expires_at_ms = never;  ///< of a grant: when it ends by itself

  friend bool operator==(const decision&, const decision&) = default;
};

/// Why an event does not pass, from the farthest from a grant to the nearest. `passes` is none.
enum class outcome : std::uint8_t { unknown, denied, withdrawn, expired, before_grant, passes };

/// What is known of one subject's decisions about one purpose.
///
/// A value without threads, allocation or clock; at most `bytes_max` bytes when stored, however
/// many decisions there were. What it answers depends on the set of decisions only, not on their
/// order or repetition, as long as no more than `grants_max` grants are alive at once; beyond that
/// it can only become narrower.
///
/// The rule (design section 7): an event passes only if the latest known decision is a grant that
/// has stood unbroken since before the event. A grant counts from the later of its own time and its
/// record's, a refusal from the earlier. Which of two decisions is the later one is asked of both
/// clocks, and a doubt narrows:
///   - a grant outlives a refusal only if it was made after the refusal began to count *and* was
///   logged after it, and no grant
///     made as late as it was already logged by then (so a copy of a grant, logged again, revives
///     nothing);
///   - of several grants the earliest end holds, but for grants that both clocks say were over when
///   another began.
class consent_state {
 public:
  static constexpr std::size_t grants_max = 8;
  static constexpr std::uint8_t version = 1;
  static constexpr std::size_t bytes_max = 3 + 6 * 8 + grants_max * 24;

  /// Takes a decision in, in any order, as often as it comes. True if that changed anything.
  bool apply(const decision& made) noexcept;

  [[nodiscard]] outcome decide(std::int64_t event_time_ms) const noexcept;

  /// The stored form: the version byte, then little-endian fields. `to` has room for `bytes_max`;
  /// answers the bytes used.
  std::size_t store(std::span<std::uint8_t> to) const noexcept;

  /// Nothing if the bytes are not what `store` writes: the caller fails closed.
  [[nodiscard]] static std::optional<consent_state> load(
      std::span<const std::uint8_t> from) noexcept;

  friend bool operator==(const consent_state&, const consent_state&) = default;

 private:
  struct grant {
    std::int64_t at_ms = 0;
    std::int64_t logged_ms = 0;
    std::int64_t expires_at_ms = 0;

    [[nodiscard]] std::int64_t from_ms() const noexcept {
      return at_ms > logged_ms ? at_ms : logged_ms;
    }
    [[nodiscard]] std::int64_t earlier_ms() const noexcept {
      return at_ms < logged_ms ? at_ms : logged_ms;
    }
    friend auto operator<=>(const grant&, const grant&) = default;
  };
  static constexpr std::size_t nobody = grants_max + 1;
  static constexpr std::int64_t long_ago = std::numeric_limits<std::int64_t>::min();

  [[nodiscard]] bool alive(const grant& given) const noexcept;
  [[nodiscard]] std::int64_t unbroken_since(std::size_t without = nobody) const noexcept;
  [[nodiscard]] std::int64_t ends() const noexcept;
  void refuse(const decision& made) noexcept;
  void add(const grant& given) noexcept;
  void bury() noexcept;
  void erase(std::size_t index) noexcept;
  void forget(const grant& given) noexcept;
  void forget_one() noexcept;

  // All refusals in one: the latest moment from which one counts, the latest at which one was
  // logged.
  bool refused_ = false;
  decision_kind refusal_ =
      decision_kind::denied;  ///< of the one that counts from `refused_from_ms_`
  std::int64_t refused_from_ms_ = long_ago;
  std::int64_t refusal_logged_ms_ = long_ago;
  std::int64_t refused_grant_at_ms_ =
      long_ago;  ///< own time of the latest grant logged before a refusal was

  // Grants that found no room: a grant that is later than all of them by both clocks makes them
  // irrelevant.
  std::int64_t forgotten_latest_ms_ = long_ago;
  std::int64_t forgotten_logged_ms_ = decision::never;  ///< the earliest
  std::int64_t forgotten_end_ms_ = decision::never;

  std::uint8_t grants_ = 0;
  std::array<grant, grants_max + 1>
      given_{};  ///< alive ones, by the time from which they count; the rest is zero
};

/// The store's key: the subject with its length, then the purpose, so that no two pairs have the
/// same.
void store_key(std::string_view subject, std::string_view purpose, std::vector<std::uint8_t>& key);

}  // namespace sonder::consent
