#pragma once

#include <re2/set.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "identifier.h"
#include "lexicon.h"
#include "tokens.h"

/// The families of rules. Each claims tokens that no family before it has claimed, so that the
/// order in which the finder calls them is the priority of their types; inside a family the longer
/// form is tried first.
namespace sonder::anonymizer {

/// Dates that are taken for identifiers.
enum class date_rule : std::uint8_t {
  birth,  ///< only near a word such as "born"
  full,   ///< and all with day, month and year
  all,    ///< and single years, months with a day, week days
};

/// Whether the tokens [first, last] are free, and what they span.
[[nodiscard]] bool unclaimed(const workspace& work, std::size_t first, std::size_t last) noexcept;

/// Records the tokens [first, last] as one identifier and claims them.
void claim(workspace& work, std::size_t first, std::size_t last, identifier_type type, float score);

/// Whether one of the `reach` words before token `at`, in its line, has a flag of `flags`.
[[nodiscard]] bool cue_before(const workspace& work, std::size_t at, std::uint64_t flags,
                              std::size_t reach) noexcept;

[[nodiscard]] inline std::string_view text_of(const workspace& work, const token& of) noexcept {
  return work.text.substr(of.start, of.end - of.start);
}

/// E-mail addresses, URLs and domains, IP addresses, @names. By scanning; needs a trait of the text
/// to start.
void find_network(workspace& work);

/// User names after a cue ("username", "login", "discord"), "u/name", "name#1234". Those of "@name"
/// are found by `find_network`, before them.
void find_usernames(workspace& work);

/// Cards, IBANs, national ids, numeric dates: an RE2::Set says which forms a run of digits has,
/// checks decide. Immutable; shared by threads.
class numbers {
 public:
  explicit numbers(date_rule dates);
  void find(workspace& work) const;

 private:
  // The last token of what begins at `first`, or `first`.
  std::size_t find_from(workspace& work, std::size_t first) const;
  bool find_form(workspace& work, std::size_t first, std::size_t last, bool single_spaces) const;

  std::unique_ptr<RE2::Set> forms_;
  date_rule dates_;
};

/// Telephone numbers, confirmed by libphonenumber for the regions given, or by a cue beside them.
/// Immutable; shared by threads (libphonenumber's singleton is thread-safe). Throws
/// std::invalid_argument on an unknown region.
class phones {
 public:
  explicit phones(std::vector<std::string> regions);
  void find(workspace& work) const;

 private:
  [[nodiscard]] bool confirmed(std::string_view candidate) const;

  std::vector<std::string> regions_;
};

/// Dates with month names, week days and years, as far as `rule` goes.
void find_written_dates(workspace& work, date_rule rule);

/// "aged 31", "31 years old", "I'm 31", "I'll turn 21".
void find_ages(workspace& work);

/// Streets with numbers, units, boxes, postal codes.
void find_addresses(const lexicon& words, workspace& work);

/// Puts the parts of an address that stands in a sentence together ("14 Crown Street", "Suite 3",
/// "London", "UK 75419"); parts that stand in lines of their own stay apart. After `find_names`, on
/// spans sorted by start.
void join_addresses(workspace& work);

/// Persons, their titles, organisations, places, nationalities.
void find_names(const lexicon& words, workspace& work);

}  // namespace sonder::anonymizer
