#include "log/disk_space.h"

#include <cstdio>
#include <string>

namespace sonder {

bool has_space(const std::filesystem::path& folder) {
  constexpr std::size_t probe_bytes = 1 << 20;
  const auto path = folder / "space.probe";
  std::FILE* file = std::fopen(path.c_str(), "wbe");
  if (file == nullptr) return false;
  const std::string zeros(probe_bytes, '\0');
  bool whole = std::fwrite(zeros.data(), 1, zeros.size(), file) == zeros.size();
  whole = std::fclose(file) == 0 && whole;
  std::remove(path.c_str());
  return whole;
}

}  // namespace sonder
