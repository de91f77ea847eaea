// Any bytes as a schema: refused or parsed; what parses reads back from its own full JSON, keeps
// its fingerprint, has columns and resolves against itself.

#include <cstdlib>
#include <string_view>

#include "avro/decode_plan.h"
#include "avro/schema.h"

namespace {

void require(bool claim) {
  if (!claim) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  using namespace sonder;
  const auto parsed = parse_schema({reinterpret_cast<const char*>(bytes), size});
  if (!parsed) return 0;
  const schema& s = **parsed;
  const std::string json = to_json(s);
  const auto again = parse_schema(json);
  require(again.has_value());
  require(to_json(**again) == json);
  require(fingerprint(**again) == fingerprint(s));
#ifdef SONDER_PLANT_BUG
  require(s.type != avro_type::enumeration || s.symbols[0].size() < 2);
#endif
  const field column_of = column_field(s, "x");
  ArrowSchema exported;
  export_schema(column_of, &exported);
  exported.release(&exported);
  if (s.type == avro_type::record) require(readability_problems(s, s).empty());
  return 0;
}
