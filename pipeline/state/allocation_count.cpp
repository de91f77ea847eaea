#include "state/allocation_count.h"

#include <cstdlib>
#include <new>

namespace {
thread_local std::uint64_t count = 0;
}  // namespace

namespace sonder {
std::uint64_t allocations_of_this_thread() noexcept {
  return count;
}
}  // namespace sonder

void* operator new(std::size_t size) {
  ++count;
  if (void* made = std::malloc(size == 0 ? 1 : size)) return made;
  throw std::bad_alloc();
}
// The library's own forms call the ones above; a sanitizer's would not, and what they give comes back to `delete` here.
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  ++count;
  return std::malloc(size == 0 ? 1 : size);
}
void operator delete(void* made) noexcept {
  std::free(made);
}
void operator delete(void* made, std::size_t) noexcept {
  std::free(made);
}
