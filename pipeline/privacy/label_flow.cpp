#include "privacy/label_flow.h"

#include <algorithm>
#include <utility>

namespace sonder {

label_flow::node label_flow::enter(std::string what, label of) {
  nodes_.push_back({std::move(what), {}, std::move(of)});
  return static_cast<node>(nodes_.size()) - 1;
}

label_flow::node label_flow::derive(std::string what, std::vector<node> from, category_set adds,
                                    category_set removes) {
  auto of = label::open();
  for (const auto n : from) of = join(of, label_of(n));
  of.categories = (of.categories - removes) | adds;
  nodes_.push_back({std::move(what), std::move(from), std::move(of)});
  return static_cast<node>(nodes_.size()) - 1;
}

template <class Has>
std::vector<std::string> label_flow::walk_back(node n, const Has& has) const {
  std::vector<std::string> path;
  if (!has(label_of(n))) return path;
  for (;;) {
    const auto& at = nodes_[static_cast<std::size_t>(n)];
    path.push_back(at.what);
    const auto parent =
        std::find_if(at.from.begin(), at.from.end(), [&](node p) { return has(label_of(p)); });
    if (parent == at.from.end()) break;
    n = *parent;
  }
  std::reverse(path.begin(), path.end());
  return path;
}

std::vector<std::string> label_flow::path_of(node n, data_category c) const {
  return walk_back(n, [&](const label& l) { return l.categories.contains(c); });
}

std::vector<std::string> label_flow::path_denying_purpose(node n,
                                                          const std::string& purpose) const {
  return walk_back(n, [&](const label& l) { return !l.purposes.permits(purpose); });
}

std::vector<std::string> label_flow::path_denying_recipient(node n,
                                                            const std::string& recipient) const {
  return walk_back(n, [&](const label& l) { return !l.recipients.permits(recipient); });
}

}  // namespace sonder
