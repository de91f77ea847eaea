#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "avro/registry.h"

namespace sonder {

/// A registry that is asked for a schema which nobody here knows, and does not answer: how long records wait for it, and what then.
///
/// As the registry behind it, which outlives it, but for `by_id`. While that says errc::unavailable, so does this one, asking again
/// now and then, for at most `wait` since the first question that had no answer: for the id, or for any since the registry last
/// answered. Time in which nobody asks is no silence: after `unasked_max` of it the next question is a first one again. Then it
/// answers errc::not_found and `given_up` says so of the id, or, with `stops`, errc::io, which ends a worker. Ids that are known or
/// that the registry answers for are never held up. Safe to use from many threads.
class patient_registry final : public schema_registry {
 public:
  using clock = std::chrono::steady_clock;
  static constexpr std::size_t ids_max = 1'024;  ///< waited for at a time; beyond, their waits begin anew
  static constexpr std::chrono::milliseconds ask_again{250};
  static constexpr std::chrono::milliseconds unasked_max{5'000};  ///< longer than a task that waits ever leaves between two questions

  struct options {
    std::chrono::milliseconds wait{60'000};
    bool stops = true;
    std::string name;                       ///< of the registry, for messages
    std::function<clock::time_point()> now; ///< for tests; empty: the clock
  };
  patient_registry(schema_registry& behind, options how) : behind_(behind), options_(std::move(how)) {}

  [[nodiscard]] result<std::int32_t> register_schema(std::string_view subject, const schema& of) override {
    return behind_.register_schema(subject, of);
  }
  [[nodiscard]] result<std::int32_t> id_of(const schema& of) override { return behind_.id_of(of); }
  [[nodiscard]] result<schema_ptr> by_id(std::int32_t id) override;
  [[nodiscard]] result<std::vector<std::pair<std::int32_t, schema_ptr>>> versions(std::string_view subject) override {
    return behind_.versions(subject);
  }
  [[nodiscard]] result<std::vector<std::pair<std::int32_t, schema_ptr>>> versions_and_unreadable(std::string_view subject) override {
    return behind_.versions_and_unreadable(subject);
  }
  [[nodiscard]] result<std::vector<std::string>> subjects() override { return behind_.subjects(); }
  [[nodiscard]] registry_figures figures() const override { return behind_.figures(); }
  [[nodiscard]] bool given_up(std::int32_t id) const override;

  /// For /readyz and the log: what is waited for; empty: nothing.
  [[nodiscard]] std::string waits_for() const;

 private:
  struct waiting {
    clock::time_point since;  ///< the first question without an answer began
    clock::time_point asked;  ///< the last one ended
    error last;
    bool over = false;
  };
  [[nodiscard]] clock::time_point now() const { return options_.now ? options_.now() : clock::now(); }
  [[nodiscard]] result<schema_ptr> unanswered(std::int32_t id, clock::time_point began, error why);

  schema_registry& behind_;
  const options options_;
  mutable std::mutex mutex_;                   ///< guards what follows; not held while the registry is asked
  std::map<std::int32_t, waiting> waits_;
  std::optional<clock::time_point> silent_since_;  ///< no question has been answered from then on
  clock::time_point asked_;                        ///< when the last one ended that was not
};

}  // namespace sonder
