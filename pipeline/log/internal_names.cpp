#include "log/internal_names.h"

#include <algorithm>

namespace sonder {

namespace {

constexpr std::string_view rekey_end = "-rekey";
constexpr std::string_view changelog_end = "-changelog";

}  // namespace

std::string rekey_topic(std::string_view group, std::string_view topic) {
  return std::string(group).append(".").append(topic).append(rekey_end);
}

std::string changelog_topic(std::string_view group, std::string_view store) {
  auto topic = std::string(group).append(".").append(store).append(changelog_end);
  std::replace(topic.begin(), topic.end(), '~', '-');
  return topic;
}

std::string store_of_changelog(std::string_view group, std::string_view topic) {
  if (!topic.starts_with(group) || !topic.substr(group.size()).starts_with('.') || !topic.ends_with(changelog_end)) return {};
  topic.remove_prefix(group.size() + 1);
  if (topic.size() <= changelog_end.size()) return {};
  std::string store(topic.substr(0, topic.size() - changelog_end.size()));
  const auto dot = store.find('.');
  if (dot == std::string::npos) return {};
  if (dot + 1 < store.size() && store[dot + 1] == '-') store[dot + 1] = '~';
  return store;
}

}  // namespace sonder
