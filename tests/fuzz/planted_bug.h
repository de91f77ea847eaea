#pragma once

#include <cstdio>
#include <cstdlib>

namespace sonder::fuzz {

/// Where a fuzz target says that its planted bug was reached (`#ifdef SONDER_PLANT_BUG`), in the
/// words that run_target.sh looks for.
[[noreturn]] inline void planted_bug() {
  std::fputs("planted bug\n", stderr);
  std::abort();
}

}  // namespace sonder::fuzz
