#pragma once

#include <cstddef>

namespace sonder::sentiment {

/// How often this test program has called operator new; any thread.
[[nodiscard]] std::size_t allocations() noexcept;

}  // namespace sonder::sentiment
