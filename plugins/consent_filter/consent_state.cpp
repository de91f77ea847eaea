#include "consent_state.h"

#include <algorithm>
#include <tuple>

namespace sonder::consent {
namespace {

void put_int64(std::span<std::uint8_t> to, std::size_t& at, std::int64_t value) {
  auto bits = static_cast<std::uint64_t>(value);
  for (int i = 0; i < 8; ++i, bits >>= 8) to[at++] = static_cast<std::uint8_t>(bits);
}

std::int64_t get_int64(std::span<const std::uint8_t> from, std::size_t& at) {
  std::uint64_t bits = 0;
  for (int i = 0; i < 8; ++i) bits |= static_cast<std::uint64_t>(from[at++]) << (8 * i);
  return static_cast<std::int64_t>(bits);
}

outcome refusal_outcome(decision_kind kind) {
  switch (kind) {
    case decision_kind::withdrawn:
      return outcome::withdrawn;
    case decision_kind::expired:
      return outcome::expired;
    default:
      return outcome::denied;
  }
}

}  // namespace

bool consent_state::alive(const grant& given) const noexcept {
  return !refused_ || (given.at_ms > refused_from_ms_ && given.at_ms > refused_grant_at_ms_ &&
                       given.logged_ms > refusal_logged_ms_);
}

bool consent_state::apply(const decision& made) noexcept {
  const consent_state before = *this;
  if (made.kind == decision_kind::granted) {
    add({made.at_ms, made.logged_ms, made.expires_at_ms});
  } else {
    refuse(made);
  }
  bury();
  return !(before == *this);
}

void consent_state::refuse(const decision& made) noexcept {
  const std::int64_t from_ms = std::min(made.at_ms, made.logged_ms);
  // Of two that count from the same moment the kind is chosen by its number, so that order does not
  // matter.
  if (!refused_ || std::tie(from_ms, made.kind) > std::tie(refused_from_ms_, refusal_)) {
    refusal_ = made.kind;
    refused_from_ms_ = from_ms;
  }
  refusal_logged_ms_ = std::max(refusal_logged_ms_, made.logged_ms);
  refused_ = true;
}

// Takes out what does not outlive the refusals.
void consent_state::bury() noexcept {
  if (!refused_) return;
  for (std::size_t i = 0; i < grants_; ++i) {
    if (given_[i].logged_ms <= refusal_logged_ms_)
      refused_grant_at_ms_ = std::max(refused_grant_at_ms_, given_[i].at_ms);
  }
  if (forgotten_logged_ms_ <= refusal_logged_ms_)
    refused_grant_at_ms_ = std::max(refused_grant_at_ms_, forgotten_latest_ms_);
  for (std::size_t i = grants_; i-- > 0;) {
    if (alive(given_[i])) continue;
    // Where a grant dies only because of one that was forgotten, the end that it set must not die
    // with it.
    if (forgotten_latest_ms_ != long_ago) forget(given_[i]);
    erase(i);
  }
}

void consent_state::erase(std::size_t index) noexcept {
  std::move(given_.begin() + static_cast<std::ptrdiff_t>(index) + 1, given_.begin() + grants_,
            given_.begin() + static_cast<std::ptrdiff_t>(index));
  given_[--grants_] = {};
}

void consent_state::add(const grant& given) noexcept {
  // A grant logged again is the same grant: it was logged when it was logged first.
  for (std::size_t i = 0; i < grants_; ++i) {
    if (given_[i].at_ms != given.at_ms || given_[i].expires_at_ms != given.expires_at_ms) continue;
    if (given_[i].logged_ms <= given.logged_ms) return;
    erase(i);
    break;
  }
  if (given.at_ms <= forgotten_latest_ms_) {  // it may be one of those that found no room
    forget(given);
    return;
  }
  const auto later = [](const grant& a, const grant& b) {
    return std::tuple(a.from_ms(), a) < std::tuple(b.from_ms(), b);
  };
  const auto end = given_.begin() + grants_;
  const auto place = std::lower_bound(given_.begin(), end, given, later);
  std::move_backward(place, end, end + 1);
  *place = given;
  if (++grants_ > grants_max) {
    bury();
    if (grants_ > grants_max) forget_one();
  }
}

void consent_state::forget(const grant& given) noexcept {
  forgotten_latest_ms_ = std::max(forgotten_latest_ms_, given.from_ms());
  forgotten_logged_ms_ = std::min(forgotten_logged_ms_, given.logged_ms);
  forgotten_end_ms_ = std::min(forgotten_end_ms_, given.expires_at_ms);
}

// Forgets a grant in the middle if the run stays unbroken without it, else the oldest; never the
// newest.
void consent_state::forget_one() noexcept {
  std::size_t gone = 0;
  for (std::size_t i = 1; i + 1 < grants_; ++i) {
    if (unbroken_since(i) != unbroken_since()) continue;
    gone = i;
    break;
  }
  forget(given_[gone]);
  erase(gone);
}

// From when the newest grant, with those that lead up to it without a gap, has stood.
std::int64_t consent_state::unbroken_since(std::size_t without) const noexcept {
  std::int64_t since_ms = given_[grants_ - 1U].from_ms();
  for (bool found = true; found;) {
    found = false;
    for (std::size_t i = 0; i < grants_; ++i) {
      if (i == without || given_[i].from_ms() >= since_ms || given_[i].expires_at_ms < since_ms)
        continue;
      since_ms = given_[i].from_ms();
      found = true;
    }
  }
  return since_ms;
}

// When the run ends by itself.
std::int64_t consent_state::ends() const noexcept {
  std::int64_t latest_begin_ms = long_ago;
  for (std::size_t i = 0; i < grants_; ++i)
    latest_begin_ms = std::max(latest_begin_ms, given_[i].earlier_ms());
  std::int64_t end_ms =
      forgotten_latest_ms_ >= latest_begin_ms ? forgotten_end_ms_ : decision::never;
  for (std::size_t i = 0; i < grants_; ++i) {
    if (given_[i].from_ms() >= latest_begin_ms) end_ms = std::min(end_ms, given_[i].expires_at_ms);
  }
  return end_ms;
}

outcome consent_state::decide(std::int64_t event_time_ms) const noexcept {
  if (grants_ == 0) return refused_ ? refusal_outcome(refusal_) : outcome::unknown;
  const bool newest_forgotten = forgotten_latest_ms_ > given_[grants_ - 1U].from_ms();
  if (newest_forgotten || event_time_ms <= unbroken_since()) return outcome::before_grant;
  return event_time_ms < ends() ? outcome::passes : outcome::expired;
}

std::size_t consent_state::store(std::span<std::uint8_t> to) const noexcept {
  std::size_t at = 0;
  to[at++] = version;
  to[at++] = refused_ ? static_cast<std::uint8_t>(refusal_) : std::uint8_t{0};
  to[at++] = grants_;
  for (const std::int64_t each : {refused_from_ms_, refusal_logged_ms_, refused_grant_at_ms_,
                                  forgotten_latest_ms_, forgotten_logged_ms_, forgotten_end_ms_}) {
    put_int64(to, at, each);
  }
  for (std::size_t i = 0; i < grants_; ++i) {
    put_int64(to, at, given_[i].at_ms);
    put_int64(to, at, given_[i].logged_ms);
    put_int64(to, at, given_[i].expires_at_ms);
  }
  return at;
}

std::optional<consent_state> consent_state::load(std::span<const std::uint8_t> from) noexcept {
  constexpr std::size_t head = 3 + 6 * 8;
  if (from.size() < head || from[0] != version ||
      from[1] > static_cast<std::uint8_t>(decision_kind::expired))
    return std::nullopt;
  const std::size_t grants = from[2];
  if (grants > grants_max || from.size() != head + grants * 24) return std::nullopt;
  consent_state made;
  made.refused_ = from[1] != 0;
  if (made.refused_) made.refusal_ = static_cast<decision_kind>(from[1]);
  std::size_t at = 3;
  for (std::int64_t* each :
       {&made.refused_from_ms_, &made.refusal_logged_ms_, &made.refused_grant_at_ms_,
        &made.forgotten_latest_ms_, &made.forgotten_logged_ms_, &made.forgotten_end_ms_}) {
    *each = get_int64(from, at);
  }
  for (std::size_t i = 0; i < grants; ++i) {
    grant& given = made.given_[i];
    given.at_ms = get_int64(from, at);
    given.logged_ms = get_int64(from, at);
    given.expires_at_ms = get_int64(from, at);
    const bool sorted = i == 0 || given.from_ms() >= made.given_[i - 1].from_ms();
    if (!made.alive(given) || !sorted) return std::nullopt;
    ++made.grants_;
  }
  return made;
}

void store_key(std::string_view subject, std::string_view purpose, std::vector<std::uint8_t>& key) {
  key.clear();
  const auto size = static_cast<std::uint32_t>(subject.size());
  for (int i = 24; i >= 0; i -= 8) key.push_back(static_cast<std::uint8_t>(size >> i));
  key.insert(key.end(), subject.begin(), subject.end());
  key.insert(key.end(), purpose.begin(), purpose.end());
}

}  // namespace sonder::consent
