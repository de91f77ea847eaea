#pragma once

#include <cstdint>

namespace sonder {

/// How often this thread has called operator new: in a test program that links
/// allocation_count.cpp, which replaces it.
[[nodiscard]] std::uint64_t allocations_of_this_thread() noexcept;

}  // namespace sonder
