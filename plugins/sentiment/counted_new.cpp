#include "sentiment/counted_new.h"

#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <new>

namespace {
std::atomic<std::size_t> count{0};
std::atomic<std::size_t> held{0};

void give_back(void* made) noexcept {
  held -= malloc_usable_size(made);
  std::free(made);
}
}  // namespace

void* operator new(std::size_t size) {
  ++count;
  void* made = std::malloc(size == 0 ? 1 : size);
  if (made == nullptr) throw std::bad_alloc();
  held += malloc_usable_size(made);
  return made;
}
void operator delete(void* made) noexcept {
  give_back(made);
}
void operator delete(void* made, std::size_t) noexcept {
  give_back(made);
}

namespace sonder::sentiment {
std::size_t allocations() noexcept {
  return count;
}
std::size_t bytes_held() noexcept {
  return held;
}
}  // namespace sonder::sentiment
