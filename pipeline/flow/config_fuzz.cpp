#include <cstddef>
#include <cstdint>
#include <string_view>

#include "flow/config.h"
#include "fuzz/allocation_meter.h"
#include "fuzz/planted_bug.h"

// Any bytes give options or diagnostics, never both errors and options, and never more diagnostics
// than their bound. Memory stays below a named multiple of the input, and of the nodes that aliases
// may make of it where it has any.
namespace {

constexpr std::size_t bytes_per_node_max = 1024;
constexpr std::size_t bytes_per_byte_max = 1024;

/// What is held beyond a multiple of the input: only an alias repeats what was written once.
std::size_t bytes_at_start_max(std::string_view yaml) {
  constexpr std::size_t without_aliases = std::size_t{64} << 10;
  const bool may_repeat = yaml.find('&') != yaml.npos && yaml.find('*') != yaml.npos;
  return without_aliases + (may_repeat ? sonder::flow_file_nodes_max * bytes_per_node_max : 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view yaml(reinterpret_cast<const char*>(data), size);
  for (const char* profile : {"", "fast"}) {
    sonder::config_overrides overrides;
    overrides.profile = profile;
    // The first line also serves as an override, so that `--set` meets odd paths and values; as a
    // comment it leaves the rest to be YAML.
    auto line = yaml.substr(0, yaml.find('\n'));
    if (line.starts_with('#')) line.remove_prefix(1);
    if (const auto equals = line.find('='); equals != std::string_view::npos) {
      overrides.set.emplace_back(line.substr(0, equals), line.substr(equals + 1));
    }
    const sonder::fuzz::allocation_meter meter;
    const auto parsed = sonder::parse_flow_text(yaml, "fuzz.yaml", overrides);
    meter.require_at_most(bytes_at_start_max(yaml), bytes_per_byte_max, size);
    if (parsed.options.has_value() == !parsed.diagnostics.empty()) __builtin_trap();
    if (parsed.diagnostics.size() > sonder::diagnostics_max) __builtin_trap();
    for (const auto& d : parsed.diagnostics) {
      if (d.message.empty()) __builtin_trap();
#ifdef SONDER_PLANT_BUG
      if (overrides.profile.empty() && d.message.find("did you mean") != std::string::npos)
        sonder::fuzz::planted_bug();
#endif
    }
  }
  return 0;
}
