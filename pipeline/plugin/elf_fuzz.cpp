// Any bytes as a shared library: the section's bytes lie inside of it and within the bound, or
// there is a message; and a table that claims to be large takes no memory beyond its named bound.
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "fuzz/allocation_meter.h"
#include "fuzz/planted_bug.h"
#include "plugin/elf.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t bytes_max = 4096;
  const sonder::fuzz::allocation_meter meter;
  const auto read = sonder::read_elf_section(
      [&](std::uint64_t offset, void* into, std::size_t wanted) {
        if (offset > size || wanted > size - offset) return false;
        std::memcpy(into, data + offset, wanted);
        return true;
      },
      ".sonder_manifest", bytes_max);
  // The table of sections and that of their names, the section, and a message.
  meter.require_at_most(
      sonder::elf_sections_max * 64 + sonder::elf_section_names_bytes_max + bytes_max + 4096, 1,
      size);
  if (read ? read->size() > bytes_max || read->size() > size : read.error().message.empty())
    std::abort();
#ifdef SONDER_PLANT_BUG
  if (read && read->size() > 100) sonder::fuzz::planted_bug();
#endif
  return 0;
}
