#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "avro/schema.h"
#include "record/columns.h"

namespace sonder {

enum class decode_reason : std::uint8_t {
  none,
  truncated,            ///< the bytes end inside a value
  bad_varint,           ///< longer than ten bytes, or out of the range of its type
  length_out_of_range,  ///< a string or bytes is longer than what is left, or negative
  bad_boolean,          ///< neither 0 nor 1
  bad_enum,             ///< no such symbol
  bad_union_branch,     ///< no such branch
  branch_not_readable,  ///< a branch that the reader's schema has no place for
  symbol_not_readable,  ///< a symbol that the reader's enum neither has nor has a default for
  bad_block,            ///< a block of an array or map whose count or byte size cannot be
  too_many_items,       ///< more than `items_max` in a record
  bad_utf8,
  bad_decimal,     ///< more digits than its precision
  trailing_bytes,  ///< bytes left after the record
  too_large,       ///< the body or a column would pass 2^31-1 bytes
};
inline constexpr std::size_t decode_reasons = static_cast<std::size_t>(decode_reason::too_large) + 1;
[[nodiscard]] std::string_view name(decode_reason reason) noexcept;

/// Why a record was refused, small enough to be made on the path. `decode_plan::describe` makes it
/// readable.
struct decode_error {
  decode_reason reason = decode_reason::none;
  std::uint32_t at = 0;    ///< byte offset in the body
  std::uint32_t path = 0;  ///< which value: an index into the plan's paths

  [[nodiscard]] explicit operator bool() const noexcept { return reason != decode_reason::none; }
};

struct decode_plan_program;

/// Reads records written with one schema as another, straight into columns.
///
/// Compiled once for (writer schema, reader schema, wanted fields); immutable after that and safe
/// to use from many threads, each with its own `columns`. The whole resolution of the specification
/// is done at compile time: order, defaults, aliases, promotions, unions, enums by symbol. Where
/// several branches of a reader's union fit, the one of exactly the writer's type is taken, else
/// the first that fits.
///
/// Bodies are hostile. Every length is checked against the bytes left; blocks, items and depth are
/// bounded; UTF-8, booleans, symbols and branches are checked; bytes left over refuse. A skipped
/// field is skipped by its lengths alone. A record costs no allocation once the columns have grown
/// to a batch's size, and the memory it takes is at most `items_max` items beyond a fixed multiple
/// of its bytes.
class decode_plan {
 public:
  /// Items of arrays and maps, nested ones included, that one record may hold where an item can
  /// take no byte (array of null).
  static constexpr std::int64_t empty_items_max = 4096;

  /// `wanted` names the reader's top-level fields to build, in the order of the columns; empty
  /// means all, in the schema's order.
  [[nodiscard]] static result<decode_plan> compile(const schema& writer, const schema& reader,
                                                   std::span<const std::string> wanted = {});
  decode_plan(decode_plan&&) noexcept;
  decode_plan& operator=(decode_plan&&) noexcept;
  ~decode_plan();

  /// The columns that a plan fills: construct `columns` from these.
  [[nodiscard]] const std::vector<field>& fields() const noexcept;

  /// Appends the record of exactly `body` as one row, or leaves the columns as they were and says
  /// why.
  [[nodiscard]] decode_error decode(bytes_view body, columns& into) const;

  /// The same for a record at the start of `bytes`; `used` is its size. For container blocks, where
  /// records follow each other.
  [[nodiscard]] decode_error decode_first(bytes_view bytes, columns& into, std::size_t& used) const;

  /// `field "at": bad_varint at byte 17`. Says where and what, never the value.
  [[nodiscard]] std::string describe(const decode_error& e) const;

 private:
  using program = decode_plan_program;
  explicit decode_plan(std::unique_ptr<const program> p);
  std::unique_ptr<const program> program_;
};

/// Everything that keeps a reader from reading all that the writer's schema may write, each naming
/// its field; empty means readable. Stricter than `compile`, which lets a branch or symbol pass
/// that only some records hold: those are refused one by one.
[[nodiscard]] std::vector<std::string> readability_problems(const schema& writer,
                                                            const schema& reader);

}  // namespace sonder
