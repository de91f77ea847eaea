#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "record/result.h"

namespace sonder::cli {

/// Numbers that are the same for the same seed on every machine and library. Not for secrets.
class demo_random {
 public:
  explicit demo_random(std::uint64_t seed) noexcept : state_(seed) {}
  [[nodiscard]] std::uint64_t next() noexcept;
  [[nodiscard]] std::uint64_t below(std::uint64_t bound) noexcept { return next() % bound; }
  [[nodiscard]] bool chance(double share) noexcept {
    return static_cast<double>(next() >> 11) * 0x1.0p-53 < share;
  }

 private:
  std::uint64_t state_;
};

/// An identifier that was written into an entry: what must not be found in any output.
struct planted_identifier {
  std::string type;  ///< person, place, email, phone, card, iban, ssn, dob, url, handle, ip, age
  std::string value;
};

/// One row of `journal`, as the shipped schema has it.
struct demo_entry {
  std::string event_id;
  std::string subject_id;
  std::int64_t at_ms = 0;
  std::string text;
  std::string practice;
  std::string session_id;
  std::int32_t duration_ms = 0;
  std::string locale;
  std::string country;
  std::int32_t age = 0;
  std::int32_t mood = 0;
  bool bare = false;  ///< only the four first are said; of the rest nobody knows anything
  std::vector<planted_identifier> planted;
};

/// One row of `consent`.
struct demo_decision {
  std::string subject_id;
  std::string purpose;
  std::string decision;  ///< granted, denied, withdrawn, expired
  std::int64_t at_ms = 0;
  std::int64_t expires_at_ms = 0;  ///< 0: never
};

struct demo_options {
  std::uint64_t seed = 1;
  std::uint64_t subjects = 1000;
  std::uint64_t entries = 50'000;
  std::int64_t start_ms = 1'767'592'800'000;  ///< 2026-01-05T06:00:00Z
  std::int64_t days = 90;
  double consenting = 0.7;  ///< share of subjects whose grant stands throughout
  std::string purpose = "ServicePersonalisation";
};

/// A made-up population: subjects, what they decided, what they wrote. Deterministic by seed; entry
/// `i` does not depend on how many there are after it. Of the subjects that do not simply consent,
/// parts deny, withdraw half-way, grant half-way, let a grant run out, or were never asked.
class demo_population {
 public:
  explicit demo_population(demo_options options);

  [[nodiscard]] const demo_options& options() const noexcept { return options_; }
  /// Ascending by time.
  [[nodiscard]] std::vector<demo_decision> decisions() const;
  /// Entry `i` of `entries`; times rise with `i`.
  [[nodiscard]] demo_entry entry(std::uint64_t i) const;
  /// The same with somebody's own text in place of a made-up one; nothing is planted. Person and time are made up, the rest only
  /// with `details`.
  [[nodiscard]] demo_entry entry_with(std::uint64_t i, std::string text, bool details) const;

  /// How subject `s` stands to consent: `granted`, `denied`, `withdrawn`, `late`, `expired`,
  /// `never_asked`.
  [[nodiscard]] std::string stance(std::uint64_t s) const;
  [[nodiscard]] std::string subject_id(std::uint64_t s) const;

 private:
  [[nodiscard]] demo_entry frame(std::uint64_t i) const;
  demo_options options_;
};

[[nodiscard]] std::string to_json(const demo_entry& of);
[[nodiscard]] std::string to_json(const demo_decision& of);
/// `{"event_id":...,"subject_id":...,"identifiers":[{"type":...,"value":...}]}`
[[nodiscard]] std::string planted_json(const demo_entry& of);

}  // namespace sonder::cli
