#include "cli/secret_files.h"

#include <sys/stat.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "flow/dead_letter_seal.h"
#include "record/number_of.h"

namespace sonder::cli {

std::vector<diagnostic> open_secrets(const flow_options& flow) {
  std::vector<diagnostic> found;
  for (const auto& [name, secret] : flow.secrets) {
    struct stat of {};
    if (secret.file.empty() || ::stat(secret.file.c_str(), &of) != 0) continue;
    if ((of.st_mode & (S_IROTH | S_IWOTH)) == 0) continue;
    found.push_back({diagnostic::severity::warning, secret.at,
                     "secret \"" + name + "\": everybody on this machine may " +
                         ((of.st_mode & S_IROTH) != 0 ? "read " : "change ") + secret.file +
                         "; close it with: chmod 600 " + secret.file});
  }
  return found;
}

std::vector<diagnostic> short_secrets(const flow_options& flow) {
  const auto of = flow.secrets.find(flow.quarantine_key);
  if (of == flow.secrets.end()) return {};
  const auto& [name, secret] = *of;
  std::uintmax_t bytes = 0;
  if (!secret.environment.empty()) {
    const char* value = std::getenv(secret.environment.c_str());
    if (value == nullptr) return {};
    bytes = std::strlen(value);
  } else {
    struct stat file {};
    if (::stat(secret.file.c_str(), &file) != 0 || !S_ISREG(file.st_mode)) return {};
    bytes = static_cast<std::uintmax_t>(file.st_size);
  }
  if (bytes >= dead_letter_seal::secret_bytes_min) return {};
  return {{diagnostic::severity::error, secret.at,
           "secret \"" + name + "\": has " + number_of(bytes, "byte") + ", and a quarantine key needs at least " +
               std::to_string(dead_letter_seal::secret_bytes_min) + "; make one, for example with: head -c 32 /dev/urandom > FILE"}};
}

}  // namespace sonder::cli
