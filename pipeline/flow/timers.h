#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "record/result.h"
#include "sonder/plugin.h"
#include "state/store.h"

namespace sonder {

/// One timer that is due.
struct due_timer {
  std::string subject;
  std::uint32_t timer = 0;
  std::uint64_t tag = 0;
  std::int32_t kind = SONDER_EVENT_TIME;
  std::int64_t at_ms = 0;
  std::string payload;
};

/// The timers of one stage in one task, kept in a store of its own, so that they are part of the epoch like any other state.
/// One per (subject, declared timer, tag): setting it again moves it. Confined to the task's strand.
///
/// Entries: `t` kind, time (big-endian, sign flipped), timer, tag, subject -> payload, which a scan reads in order of time; and
/// `i` timer, tag, subject -> kind and time, by which a set or cancel finds the former.
class timer_table {
 public:
  static constexpr std::size_t payload_bytes_max = 4096;

  explicit timer_table(keyed_store& store) : store_(store) {}

  /// How many are set. The first call reads them all; later ones answer what has been kept count of since.
  [[nodiscard]] result<std::uint64_t> waiting();
  /// As the store's: what was set and cancelled since `mark()` does not count.
  void mark() noexcept { marked_ = waiting_; }
  void roll_back() noexcept { waiting_ = marked_; }

  [[nodiscard]] status set(const due_timer& timer);
  [[nodiscard]] status cancel(std::string_view subject, std::uint32_t timer, std::uint64_t tag);
  /// Appends up to `most` timers of `kind` that are due at `now_ms`, oldest first.
  [[nodiscard]] status due(std::int32_t kind, std::int64_t now_ms, std::size_t most, std::vector<due_timer>& into);

 private:
  keyed_store& store_;
  std::optional<std::uint64_t> waiting_;  ///< nothing: not counted yet
  std::optional<std::uint64_t> marked_;
  std::string by_time_;
  std::string by_id_;
};

}  // namespace sonder
