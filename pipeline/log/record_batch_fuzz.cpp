#include <cstdint>
#include <cstdlib>

#include "fuzz/planted_bug.h"
#include "log/record_batch.h"

// Any bytes are either refused or read; what is read survives a rewrite. Half of the inputs get a
// right checksum first, so that the records themselves are reached: the first byte chooses.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sonder;
  if (size == 0) return 0;
  const bool seal = (data[0] & 1) != 0;
  std::vector<std::uint8_t> input(data + 1, data + size);
  if (seal && input.size() >= batch_header::bytes) seal_batch(input);
  record_block block;
  if (!read_batch(input, 0, 0, block)) {
    if (!block.records.empty()) std::abort();
    return 0;
  }
  auto again = record_batch_builder::adopt(input);
  if (!again || static_cast<std::size_t>(again->count()) != block.records.size()) std::abort();
  for (const auto& record : block.records) {
#ifdef SONDER_PLANT_BUG
    if (!record.has_value && !record.headers.empty()) fuzz::planted_bug();
#endif
    header_cursor headers(record.headers);
    header_view header;
    while (headers.next(header)) {
    }
  }
  record_block second;
  if (!read_batch(again->finish(), 0, 0, second) || second.records.size() != block.records.size())
    std::abort();
  return 0;
}
