#pragma once

#include <cstdint>
#include <string>

namespace sonder::cli {

/// What gives this program its memory, as in "jemalloc 5.3.0"; "glibc 2.36" where it was built
/// without jemalloc.
[[nodiscard]] std::string allocator_name();

/// Bounds what the allocator keeps of memory that was given back, for a worker of so many threads
/// (0: of all cores). jemalloc is bounded from the program's start on, by `malloc_conf`;
/// environment variable MALLOC_CONF overrides that (jemalloc(3), TUNING).
void bound_heaps(std::int32_t threads) noexcept;

}  // namespace sonder::cli
