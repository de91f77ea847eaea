#pragma once

#include <concepts>
#include <string>
#include <string_view>

namespace sonder {

/// "1 byte", "0 bytes", "2 bytes", for messages: a number with what it counts. `many` where an s does not do.
[[nodiscard]] std::string number_of(std::integral auto number, std::string_view one, std::string_view many = {}) {
  auto text = std::to_string(number).append(" ");
  if (number == 1) return text.append(one);
  return many.empty() ? text.append(one).append("s") : text.append(many);
}

}  // namespace sonder
