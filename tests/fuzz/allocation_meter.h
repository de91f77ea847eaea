#pragma once

#include <sanitizer/allocator_interface.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>

namespace sonder::fuzz {

/// How much the code under test holds on the heap at once. One at a time, for one thread, under
/// AddressSanitizer, whose allocator tells it of every allocation.
class allocation_meter {
 public:
  allocation_meter() noexcept {
    static const int installed = __sanitizer_install_malloc_and_free_hooks(allocated, freed);
    if (installed == 0) std::abort();
    held_ = most_ = 0;
    on_ = true;
  }
  ~allocation_meter() { on_ = false; }
  allocation_meter(const allocation_meter&) = delete;
  allocation_meter& operator=(const allocation_meter&) = delete;

  /// Aborts if at some time since the start more than `start + factor * input` bytes were held.
  void require_at_most(std::size_t start, std::size_t factor, std::size_t input) const {
    const auto bound = static_cast<std::ptrdiff_t>(start + factor * input);
    if (most_ <= bound) return;
    std::fprintf(stderr, "%td bytes held for an input of %zu, at most %td\n", most_, input, bound);
    std::abort();
  }

 private:
  static void allocated(const volatile void*, std::size_t size) noexcept {
    if (!on_) return;
    held_ += static_cast<std::ptrdiff_t>(size);
    if (held_ > most_) most_ = held_;
  }
  static void freed(const volatile void* at) noexcept {
    if (on_) held_ -= static_cast<std::ptrdiff_t>(__sanitizer_get_allocated_size(at));
  }

  static inline bool on_ = false;
  static inline std::ptrdiff_t held_ = 0;
  static inline std::ptrdiff_t most_ = 0;
};

}  // namespace sonder::fuzz
