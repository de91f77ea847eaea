// Any bytes as a manifest: refused with a message, or a manifest that can be shown, read again and
// used to check a configuration.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "plugin/config_schema.h"
#include "plugin/inspect.h"
#include "plugin/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto made = sonder::parse_manifest(text);
  if (!made) {
    if (made.error().message.empty()) std::abort();
    return 0;
  }
  if (sonder::inspect_text(*made, "fuzz.so").empty()) std::abort();
  const auto schema = sonder::config_schema::parse(made->config_schema_json);
  if (!schema) std::abort();
  static_cast<void>(schema->check("{}"));
  static_cast<void>(schema->check(text));
  return 0;
}
