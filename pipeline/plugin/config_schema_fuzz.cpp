// Two documents, divided by the first zero byte: any schema with any configuration. What passes
// must pass again with its defaults.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "plugin/config_schema.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto end = text.find('\0');
  if (end == std::string_view::npos) return 0;
  const auto schema = sonder::config_schema::parse(text.substr(0, end));
  if (!schema) return 0;
  const auto made = schema->check(text.substr(end + 1));
  if (made.problems.empty() && !schema->check(made.json).problems.empty()) std::abort();
  return 0;
}
