#include "cli/allocator.h"

#ifdef SONDER_JEMALLOC

#include <jemalloc/jemalloc.h>

#include <string_view>

// Read by jemalloc before main. One arena for all: librdkafka's threads allocate what tasks free,
// and what one arena keeps for later no other can use. A second long enough that what a burst freed
// serves the next one. (pipeline/decisions/0009)
extern "C" const char* malloc_conf;
const char* malloc_conf = "narenas:1,dirty_decay_ms:1000,muzzy_decay_ms:0";

namespace sonder::cli {

std::string allocator_name() {
  const char* version = "";
  std::size_t size = sizeof version;
  mallctl("version", static_cast<void*>(&version), &size, nullptr, 0);
  const std::string_view all(version);
  return "jemalloc " + std::string(all.substr(0, all.find('-')));
}

void bound_heaps(std::int32_t) noexcept {}

}  // namespace sonder::cli

#else

#include <gnu/libc-version.h>
#include <malloc.h>

#include <algorithm>
#include <thread>

namespace sonder::cli {
namespace {

/// What the C library keeps of memory that was given back: a fifth of a worker's, measured on
/// Kafka.
constexpr int kept_heap_max = 1 << 20;  // at the end of a heap, in bytes
constexpr int mapped_alone_from =
    1 << 20;  // bytes; else the limit grows with the largest block that was ever freed

}  // namespace

std::string allocator_name() {
  return std::string("glibc ") + gnu_get_libc_version();
}

/// By itself glibc gives every thread a heap of its own, up to eight a processor, and each keeps
/// what its busiest moment took; threads of clients and stores are many and allocate little. As
/// many heaps as tasks run at once are enough: the path of a record does not allocate.
void bound_heaps(std::int32_t threads) noexcept {
  const auto cores = static_cast<std::int32_t>(std::max(1U, std::thread::hardware_concurrency()));
  mallopt(M_ARENA_MAX, std::max(2, threads > 0 ? threads : cores));
  mallopt(M_TRIM_THRESHOLD, kept_heap_max);
  mallopt(M_MMAP_THRESHOLD, mapped_alone_from);
}

}  // namespace sonder::cli

#endif
