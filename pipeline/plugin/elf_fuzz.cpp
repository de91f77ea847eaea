// Any bytes as a shared library: the section's bytes lie inside of it and within the bound, or
// there is a message.
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "plugin/elf.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t bytes_max = 4096;
  const auto read = sonder::read_elf_section(
      [&](std::uint64_t offset, void* into, std::size_t wanted) {
        if (offset > size || wanted > size - offset) return false;
        std::memcpy(into, data + offset, wanted);
        return true;
      },
      ".sonder_manifest", bytes_max);
  if (read ? read->size() > bytes_max || read->size() > size : read.error().message.empty())
    std::abort();
  return 0;
}
