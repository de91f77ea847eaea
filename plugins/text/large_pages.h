#pragma once

#include <cstddef>

namespace sonder::text {

/// Memory for a table that is read at random: on pages of two megabytes where it is that large and
/// the system has them, so that a read costs no walk through the page tables. From `operator new`
/// otherwise. Begins a line of memory (64 bytes) in either case. Throws std::bad_alloc.
[[nodiscard]] void* allocate_on_large_pages(std::size_t bytes);
void free_on_large_pages(void* memory, std::size_t bytes) noexcept;

/// The same for containers.
template <class T>
struct on_large_pages {
  using value_type = T;

  on_large_pages() = default;
  template <class U>
  explicit on_large_pages(const on_large_pages<U>&) noexcept {}

  [[nodiscard]] T* allocate(std::size_t count) {
    return static_cast<T*>(allocate_on_large_pages(count * sizeof(T)));
  }
  void deallocate(T* memory, std::size_t count) noexcept {
    free_on_large_pages(memory, count * sizeof(T));
  }
  bool operator==(const on_large_pages&) const = default;
};

}  // namespace sonder::text
