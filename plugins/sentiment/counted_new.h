#pragma once

#include <cstddef>

namespace sonder::sentiment {

/// How often this test program has called operator new; any thread.
[[nodiscard]] std::size_t allocations() noexcept;
/// And not given back so far, in bytes.
[[nodiscard]] std::size_t bytes_held() noexcept;

}  // namespace sonder::sentiment
