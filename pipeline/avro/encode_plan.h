#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "avro/schema.h"
#include "record/column.h"

namespace sonder {

enum class encode_reason : std::uint8_t {
  none,
  missing_value,  ///< null where the schema has no null
  bad_value,      ///< an index, type id or text that the schema has no place for
  too_large,      ///< the record would pass `record_bytes_max`
};
[[nodiscard]] std::string_view name(encode_reason reason) noexcept;

struct encode_error {
  encode_reason reason = encode_reason::none;
  std::uint32_t path = 0;  ///< which value: an index into the plan's paths

  [[nodiscard]] explicit operator bool() const noexcept { return reason != encode_reason::none; }
};

/// A field of the schema that takes the same value in every record.
struct encode_constant {
  std::string field;
  std::string json;
};

struct encode_plan_program;

/// Writes rows of columns as Avro bodies of one schema. Immutable once compiled, safe to use from
/// many threads.
///
/// Columns meet the schema's top-level fields by name; a field with no column takes its constant,
/// else its default, else `compile` refuses. Types must be those of `column_field`, with these
/// allowances: an integer or float may widen, an enum goes by symbol or into a string, and a
/// nullable column may feed a field without null (a null is then refused at its row).
class encode_plan {
 public:
  static constexpr std::size_t record_bytes_max = (std::size_t{1} << 31) - 1;

  [[nodiscard]] static result<encode_plan> compile(const schema& writer,
                                                   std::span<const field> columns,
                                                   std::span<const encode_constant> constants = {});
  encode_plan(encode_plan&&) noexcept;
  encode_plan& operator=(encode_plan&&) noexcept;
  ~encode_plan();

  /// For each given column, whether a field of the schema takes it.
  [[nodiscard]] const std::vector<bool>& used() const noexcept;
  /// `field "at": missing_value`.
  [[nodiscard]] std::string describe(const encode_error& e) const;

 private:
  friend class row_encoder;
  using program = encode_plan_program;
  explicit encode_plan(std::unique_ptr<const program> p);
  std::unique_ptr<const program> program_;
};

/// One thread's use of an encode plan on one batch after the other. The plan outlives it.
class row_encoder {
 public:
  explicit row_encoder(const encode_plan& plan SONDER_LIFETIME_BOUND);
  row_encoder(row_encoder&&) noexcept;
  ~row_encoder();

  /// The batch whose rows are encoded next: one array a column, as given to `compile`, with any
  /// offset. Arrays must have passed `check_array` or come from `column::lend`; they outlive the
  /// calls of `encode`. No allocation after the first.
  void bind(std::span<const ArrowArray* const> arrays);

  /// Appends row `row`'s body to `out`, or leaves `out` as it was and says why. No allocation but
  /// `out`'s growth.
  [[nodiscard]] encode_error encode(std::int64_t row, buffer& out);

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace sonder
