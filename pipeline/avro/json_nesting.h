#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>

namespace sonder {

/// How deep brackets nest, without parsing: a parser that recurses is not called on what would
/// exhaust its stack.
[[nodiscard]] inline std::size_t nesting_of(std::string_view text) noexcept {
  std::size_t depth = 0;
  std::size_t deepest = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      deepest = std::max(deepest, ++depth);
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  return deepest;
}

}  // namespace sonder
