#pragma once

#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

#include "record/result.h"

namespace sonder::cli {

/// Reads comma-separated values as RFC 4180 has them: records end with CRLF or LF, a cell in double
/// quotes may hold commas, line ends and doubled quotes. What breaks these rules is an error with
/// its line, never a guess. A byte-order mark is passed over.
///
/// One thread. Holds one record: at most `record_bytes_max` bytes and `cells_max` cells.
class csv_reader {
 public:
  static constexpr std::size_t record_bytes_max = std::size_t{64} << 20;
  static constexpr std::size_t cells_max = 4096;

  explicit csv_reader(std::istream& from, char separator = ',');

  /// The next record, or false at the end. Each has as many cells as the first.
  [[nodiscard]] result<bool> next(std::vector<std::string>& cells);

  /// The line on which the record that `next` gave began, from 1.
  [[nodiscard]] std::uint64_t line() const noexcept { return record_line_; }

 private:
  [[nodiscard]] status read_quoted(std::string& cell);
  [[nodiscard]] status read_plain(std::string& cell);
  [[nodiscard]] int peek();
  int take();
  [[nodiscard]] tl::unexpected<error> broken(const std::string& what) const;

  std::istream& from_;
  char separator_;
  std::uint64_t line_ = 1;
  std::uint64_t record_line_ = 1;
  std::size_t record_bytes_ = 0;
  std::size_t cells_first_ = 0;
  bool began_ = false;
};

}  // namespace sonder::cli
