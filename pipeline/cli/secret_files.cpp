#include "cli/secret_files.h"

#include <sys/stat.h>

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

}  // namespace sonder::cli
