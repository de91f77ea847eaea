// Any bytes as a record of a pair of schemas out of a corpus: refused, and then no row is left, or
// a row that is whole, that encodes again and decodes to the same. Memory stays below a named
// multiple of the input.

#include <cstdlib>

#include "avro/decode_plan.h"
#include "avro/encode_plan.h"
#include "avro/json.h"
#include "fuzz/allocation_meter.h"
#include "fuzz/planted_bug.h"

namespace {

using namespace sonder;

/// What a record may make the columns hold beyond a fixed start: offsets, validity and values of
/// the widest schema below for each of its bytes, twice, since buffers double.
constexpr std::size_t bytes_per_byte_max = 64;
constexpr std::size_t bytes_at_start = std::size_t{8} << 10;

constexpr std::string_view schemas[][2] = {
    {R"({"type":"record","name":"r","fields":[{"name":"s","type":"string"},{"name":"i","type":"int"},{"name":"b","type":"boolean"}]})",
     ""},
    {R"({"type":"record","name":"r","fields":[{"name":"a","type":{"type":"array","items":{"type":"array","items":"null"}}},
      {"name":"m","type":{"type":"map","values":["null","string",{"type":"array","items":"double"}]}}]})",
     ""},
    {R"({"type":"record","name":"r","fields":[{"name":"u","type":["null",{"type":"record","name":"q","fields":[
      {"name":"x","type":["int","string",{"type":"enum","name":"e","symbols":["A","B","C"]}]},
      {"name":"y","type":{"type":"fixed","name":"f","size":3}},
      {"name":"z","type":{"type":"array","items":["null","e"]},"default":[]}]}]},
      {"name":"d","type":{"type":"bytes","logicalType":"decimal","precision":20,"scale":2}}]})",
     ""},
    {R"({"type":"record","name":"r","fields":[{"name":"gone","type":{"type":"map","values":{"type":"array","items":["null","bytes"]}}},
      {"name":"e","type":{"type":"enum","name":"e","symbols":["A","B","C"]}},{"name":"n","type":["null","int"]},
      {"name":"t","type":"string"},{"name":"l","type":{"type":"array","items":"int"}}]})",
     R"({"type":"record","name":"r","fields":[{"name":"t","type":["null","bytes"]},{"name":"l","type":{"type":"array","items":"double"}},
      {"name":"n","type":["string","long","null"]},{"name":"e","type":{"type":"enum","name":"e","symbols":["C","A"],"default":"A"}},
      {"name":"new","type":{"type":"array","items":"string"},"default":["x"]}]})"},
};

void require(bool claim) {
  if (!claim) std::abort();
}

struct pair {
  schema_ptr reader;
  decode_plan plan;
  decode_plan same;
  encode_plan back;
};

/// The corpus, compiled once.
const std::vector<pair>& pairs() {
  static const std::vector<pair> all = [] {
    std::vector<pair> made;
    for (const auto& [writer_json, reader_json] : schemas) {
      const auto writer = parse_schema(writer_json);
      const auto reader = reader_json.empty() ? writer : parse_schema(reader_json);
      require(writer && reader);
      auto plan = decode_plan::compile(**writer, **reader);
      auto same = decode_plan::compile(**reader, **reader);
      auto back = encode_plan::compile(**reader, column_fields(**reader));
      require(plan && same && back);
      made.push_back({*reader, *std::move(plan), *std::move(same), *std::move(back)});
    }
    return made;
  }();
  return all;
}

std::string row_as_json(columns& rows, std::int64_t row) {
  std::vector<const ArrowArray*> arrays;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    arrays.push_back(&rows[i].lend());
    require(check_array(*arrays.back(), rows.fields()[i], rows.length()).has_value());
  }
  std::string text;
  append_json_row(rows.fields(), arrays, row, text);
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  if (size == 0) return 0;
  const pair& p = pairs()[bytes[0] % pairs().size()];
  // A copy of exactly the body: a read past its end is seen.
  const std::vector<std::uint8_t> body(bytes + 1, bytes + size);
  columns rows(p.plan.fields());
  const fuzz::allocation_meter meter;
  const auto refused = p.plan.decode(body, rows);
  meter.require_at_most(bytes_at_start, bytes_per_byte_max, size);
#ifdef SONDER_PLANT_BUG
  if (rows.length() == 1 && body.size() > 8 && body[4] == 'q') fuzz::planted_bug();
#endif
  if (refused) {
    require(rows.length() == 0 && !p.plan.describe(refused).empty());
    return 0;
  }
  const std::string first = row_as_json(rows, 0);
  row_encoder encoder(p.back);
  std::vector<const ArrowArray*> arrays;
  for (std::size_t i = 0; i < rows.size(); ++i) arrays.push_back(&rows[i].lend());
  encoder.bind(arrays);
  buffer out;
  require(!encoder.encode(0, out));
  columns again(p.same.fields());
  require(!p.same.decode({out.data(), out.size()}, again));
  require(row_as_json(again, 0) == first);
  return 0;
}
