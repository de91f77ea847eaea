#pragma once

#include <string>
#include <vector>

#include "privacy/label.h"

namespace sonder {

/// What flows into what, and with which label: the record that lets a refusal name its path hop by
/// hop.
///
/// Nodes are made after those that they come from, so the graph has no cycles and every walk ends.
/// Not thread-safe; for start-up.
class label_flow {
 public:
  using node = int;

  /// A value that enters with a label of its own. `what` says what and where: `flow.yaml:6:3: field
  /// "text" of topic "journal"`.
  node enter(std::string what, label of);

  /// A value made of others: the join of their labels, less what a trusted declassification
  /// `removes`, and what it `adds`. Permissions only narrow: no declassification gives one back.
  node derive(std::string what, std::vector<node> from, category_set adds = {},
              category_set removes = {});

  [[nodiscard]] const label& label_of(node n) const {
    return nodes_[static_cast<std::size_t>(n)].of;
  }

  /// How a category came to `n`: what each hop is, from where it entered to `n`. Empty if `n` does
  /// not carry it.
  [[nodiscard]] std::vector<std::string> path_of(node n, data_category c) const;
  /// From where the refusal of a purpose or recipient entered, to `n`. Empty if `n` permits it.
  [[nodiscard]] std::vector<std::string> path_denying_purpose(node n,
                                                              const std::string& purpose) const;
  [[nodiscard]] std::vector<std::string> path_denying_recipient(node n,
                                                                const std::string& recipient) const;

 private:
  struct step {
    std::string what;
    std::vector<node> from;
    label of;
  };
  template <class Has>
  [[nodiscard]] std::vector<std::string> walk_back(node n, const Has& has) const;

  std::vector<step> nodes_;
};

}  // namespace sonder
