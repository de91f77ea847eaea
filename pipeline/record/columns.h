#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "record/column.h"

namespace sonder {

/// The columns of one batch under construction, all of the same length between rows.
///
/// Confined to one thread. `clear()` keeps all memory. A compiled plan reaches every column, nested
/// ones included, by its position in `flat()`: a record's columns in depth-first order, parents
/// before children. Columns never move after construction (moving the whole object keeps them where
/// they are).
class columns {
 public:
  columns() = default;
  explicit columns(std::span<const field> of);

  [[nodiscard]] std::size_t size() const noexcept { return top_.size(); }
  [[nodiscard]] column& operator[](std::size_t i) noexcept { return top_[i]; }
  [[nodiscard]] const column& operator[](std::size_t i) const noexcept { return top_[i]; }
  [[nodiscard]] const std::vector<field>& fields() const noexcept { return fields_; }
  /// Position of the column of that name, or -1.
  [[nodiscard]] std::ptrdiff_t find(std::string_view name) const noexcept;
  /// Rows; 0 where there is no column.
  [[nodiscard]] std::int64_t length() const noexcept { return top_.empty() ? 0 : top_[0].length(); }

  void clear() noexcept;
  void truncate(std::int64_t length) noexcept;
  [[nodiscard]] column* const* flat() noexcept { return flat_.data(); }
  [[nodiscard]] std::size_t flat_size() const noexcept { return flat_.size(); }
  [[nodiscard]] std::size_t bytes_held() const noexcept;

 private:
  std::vector<field> fields_;
  std::vector<column> top_;
  std::vector<column*> flat_;
};

}  // namespace sonder
