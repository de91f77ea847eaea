#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "identifier.h"
#include "lexicon.h"
#include "rules.h"
#include "tokens.h"

namespace sonder::anonymizer {

struct finder_options {
  std::vector<std::string> phone_regions{"US", "GB", "DE", "FR", "ES", "IT", "NL", "PL"};
  date_rule dates = date_rule::all;
};

/// Finds identifiers in a text.
///
/// Immutable after construction, shared by threads; each brings a `workspace` of its own. A search
/// takes time linear in the text (times small constants that are named in the rules) and allocates
/// only while the workspace grows, and inside RE2 and libphonenumber where a text has the digits
/// that call for them. Text that is not UTF-8 is searched all the same. Throws where memory ends,
/// RE2's too.
class finder {
 public:
  /// Compiles the patterns and reads the gazetteer. Throws std::invalid_argument for an unknown
  /// telephone region.
  explicit finder(finder_options options);

  /// Fills `work.spans`: disjoint, by ascending start, each on token boundaries. Variants
  /// (variants.h) are read as the ASCII that they stand for; `work.tokens` are then those of
  /// `work.plain`.
  void find(std::string_view text, workspace& work) const;

 private:
  void search(std::string_view text, workspace& work) const;

  lexicon words_;
  numbers numbers_;
  phones phones_;
  date_rule dates_;
};

/// Replaces each span of `work` by its placeholder. `out` is overwritten.
/// UTF-8 stays UTF-8.
void redact(const workspace& work, std::string& out);

}  // namespace sonder::anonymizer
