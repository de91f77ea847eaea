#pragma once

#include <cstdint>

namespace sonder::test {

/// How often this program has called operator new. In a file of its own, so that the compiler does
/// not see through it.
[[nodiscard]] std::int64_t allocations_made() noexcept;

}  // namespace sonder::test
