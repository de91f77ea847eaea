// Any bytes as a schema: refused or parsed; what parses reads back from its own full JSON, keeps
// its fingerprint, has columns and resolves against itself. Memory stays below a named multiple of
// the input.

#include <cstdlib>
#include <string_view>

#include "avro/decode_plan.h"
#include "avro/schema.h"
#include "fuzz/allocation_meter.h"
#include "fuzz/planted_bug.h"

namespace {

constexpr std::size_t bytes_at_start = std::size_t{64} << 10;
constexpr std::size_t bytes_per_byte_max = 256;

void require(bool claim) {
  if (!claim) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  using namespace sonder;
  const fuzz::allocation_meter meter;
  const auto parsed = parse_schema({reinterpret_cast<const char*>(bytes), size});
  meter.require_at_most(bytes_at_start, bytes_per_byte_max, size);
  if (!parsed) return 0;
  const schema& s = **parsed;
  const std::string json = to_json(s);
  const auto again = parse_schema(json);
  require(again.has_value());
  require(to_json(**again) == json);
  require(fingerprint(**again) == fingerprint(s));
#ifdef SONDER_PLANT_BUG
  if (s.type <= avro_type::string) fuzz::planted_bug();
#endif
  const field column_of = column_field(s, "x");
  ArrowSchema exported;
  export_schema(column_of, &exported);
  exported.release(&exported);
  if (s.type == avro_type::record) require(readability_problems(s, s).empty());
  meter.require_at_most(bytes_at_start, bytes_per_byte_max, size);
  return 0;
}
