#include "large_pages.h"

#include <new>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace sonder::text {
namespace {

constexpr std::size_t page_bytes = std::size_t{2} << 20;
constexpr std::align_val_t line_bytes{64};

std::size_t whole_pages(std::size_t bytes) noexcept {
  return (bytes + page_bytes - 1) / page_bytes * page_bytes;
}

}  // namespace

void* allocate_on_large_pages(std::size_t bytes) {
  if (bytes < page_bytes) return ::operator new(bytes, line_bytes);
  void* const memory = ::operator new (whole_pages(bytes), std::align_val_t{page_bytes});
#ifdef __linux__
  // Refused where the kernel is built without them: the table then is slower, and right.
  static_cast<void>(::madvise(memory, whole_pages(bytes), MADV_HUGEPAGE));
#endif
  return memory;
}

void free_on_large_pages(void* memory, std::size_t bytes) noexcept {
  if (bytes < page_bytes) return ::operator delete(memory, line_bytes);
  ::operator delete (memory, std::align_val_t{page_bytes});
}

}  // namespace sonder::text
