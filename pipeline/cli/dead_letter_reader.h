#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "cli/place.h"
#include "cli/record_reader.h"
#include "flow/dead_letter_seal.h"

namespace sonder::cli {

/// Opens the records that dead letters hold sealed, and prints each as `consume` would have printed it where it came from.
///
/// One thread. `at` and `values` outlive this.
class dead_letter_reader {
 public:
  /// Takes the quarantine key from the secrets of the flow's configuration. errc::not_found: there is none.
  [[nodiscard]] static result<std::unique_ptr<dead_letter_reader>> open(const place& at, value_reader& values);

  /// Appends the record to `out`, a line; nothing where the letter holds none that this key opens, which is counted.
  [[nodiscard]] status print(const log_record& letter, std::string& out);

  [[nodiscard]] std::uint64_t without_record() const noexcept { return without_record_; }  ///< written without a key, or too large
  [[nodiscard]] std::uint64_t under_other_keys() const noexcept { return under_other_keys_; }
  [[nodiscard]] const std::string& key_id() const noexcept { return seal_->key_id(); }

 private:
  dead_letter_reader(const place& at, value_reader& values, std::unique_ptr<const dead_letter_seal> seal);
  [[nodiscard]] result<record_printer*> printer_of(const std::string& topic);

  const place& at_;
  value_reader& values_;
  std::unique_ptr<const dead_letter_seal> seal_;
  std::map<std::string, std::unique_ptr<record_printer>> printers_;
  buffer plain_;
  std::uint64_t without_record_ = 0;
  std::uint64_t under_other_keys_ = 0;
};

}  // namespace sonder::cli
