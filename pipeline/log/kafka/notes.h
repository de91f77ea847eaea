#pragma once

#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "record/result.h"

namespace sonder::kafka {

/// Small named values of one process in files of a folder, one each, replaced whole. Thread-safe.
class notes {
 public:
  explicit notes(std::filesystem::path folder) : folder_(std::move(folder)) {}

  [[nodiscard]] result<std::optional<std::string>> get(std::string_view name) const;
  [[nodiscard]] status set(std::string_view name, std::string_view value);

 private:
  [[nodiscard]] std::filesystem::path file_of(std::string_view name) const;

  std::filesystem::path folder_;
  mutable std::mutex mutex_;
};

}  // namespace sonder::kafka
