// Any bytes as a container file: an error, or rows; never more memory than the named bounds.

#include <cstdlib>

#include "avro/container.h"
#include "fuzz/planted_bug.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  using namespace sonder;
  const std::vector<std::uint8_t> file(bytes, bytes + size);
  auto reader = container_reader::over(file);
  if (!reader) return 0;
  columns rows(reader->fields());
  constexpr std::size_t rows_max = 100'000;  // a block that unpacks to millions of rows is no bug
  for (std::size_t count = 0; count < rows_max;) {
    const auto read = reader->read(256, rows);
#ifdef SONDER_PLANT_BUG
    if (reader->codec() == container_codec::snappy && !read) fuzz::planted_bug();
#endif
    if (!read || *read == 0) break;
    count += *read;
    rows.clear();
  }
  return 0;
}
