// Any bytes as a manifest: refused with a message, or a manifest that can be shown, read again and
// used to check a configuration. Memory stays below a named multiple of the input.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "fuzz/allocation_meter.h"
#include "fuzz/planted_bug.h"
#include "plugin/config_schema.h"
#include "plugin/inspect.h"
#include "plugin/manifest.h"

namespace {

constexpr std::size_t bytes_at_start = std::size_t{64} << 10;
constexpr std::size_t bytes_per_byte_max = 256;

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const sonder::fuzz::allocation_meter meter;
  const auto made = sonder::parse_manifest(text);
  meter.require_at_most(bytes_at_start, bytes_per_byte_max, size);
  if (!made) {
    if (made.error().message.empty()) std::abort();
#ifdef SONDER_PLANT_BUG
    if (made.error().message.find("/inputs/0") != std::string::npos) sonder::fuzz::planted_bug();
#endif
    return 0;
  }
  if (sonder::inspect_text(*made, "fuzz.so").empty()) std::abort();
  const auto schema = sonder::config_schema::parse(made->config_schema_json);
  if (!schema) std::abort();
  static_cast<void>(schema->check("{}"));
  static_cast<void>(schema->check(text));
  return 0;
}
