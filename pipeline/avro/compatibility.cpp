#include "avro/compatibility.h"

#include <algorithm>
#include <cctype>

#include "avro/decode_plan.h"

namespace sonder {

namespace {

constexpr compatibility modes[] = {
    compatibility::none,
    compatibility::backward,
    compatibility::forward,
    compatibility::full,
    compatibility::backward_transitive,
    compatibility::forward_transitive,
    compatibility::full_transitive,
};

bool is_transitive(compatibility mode) {
  return mode >= compatibility::backward_transitive;
}

bool looks_back(compatibility mode) {
  return mode == compatibility::backward || mode == compatibility::backward_transitive ||
         mode == compatibility::full || mode == compatibility::full_transitive;
}

bool looks_forward(compatibility mode) {
  return mode == compatibility::forward || mode == compatibility::forward_transitive ||
         mode == compatibility::full || mode == compatibility::full_transitive;
}

void add_problems(const schema& writer, const schema& reader, const std::string& place,
                  std::vector<std::string>& to) {
  for (const std::string& problem : readability_problems(writer, reader))
    to.push_back(place + ": " + problem);
}

}  // namespace

std::string_view name(compatibility mode) noexcept {
  switch (mode) {
    case compatibility::none:
      return "NONE";
    case compatibility::backward:
      return "BACKWARD";
    case compatibility::forward:
      return "FORWARD";
    case compatibility::full:
      return "FULL";
    case compatibility::backward_transitive:
      return "BACKWARD_TRANSITIVE";
    case compatibility::forward_transitive:
      return "FORWARD_TRANSITIVE";
    case compatibility::full_transitive:
      return "FULL_TRANSITIVE";
  }
  return "UNKNOWN";
}

result<compatibility> parse_compatibility(std::string_view text) {
  std::string upper(text);
  std::transform(upper.begin(), upper.end(), upper.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  std::string known;
  for (const compatibility mode : modes) {
    if (name(mode) == upper) return mode;
    known += (known.empty() ? "" : ", ") + std::string(name(mode));
  }
  return fail(errc::invalid, "compatibility: expected one of " + known);
}

std::vector<std::string> check_compatibility(const schema& next,
                                             std::span<const schema_ptr> versions,
                                             compatibility mode) {
  std::vector<std::string> problems;
  if (mode == compatibility::none || versions.empty()) return problems;
  const std::size_t first = is_transitive(mode) ? 0 : versions.size() - 1;
  for (std::size_t i = first; i < versions.size(); ++i) {
    const std::string version = " with version " + std::to_string(i + 1);
    if (looks_back(mode)) add_problems(*versions[i], next, "BACKWARD" + version, problems);
    if (looks_forward(mode)) add_problems(next, *versions[i], "FORWARD" + version, problems);
  }
  return problems;
}

}  // namespace sonder
