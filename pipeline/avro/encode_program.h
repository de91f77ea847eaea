#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "avro/encode_plan.h"

namespace sonder {

/// What a compiled encode plan executes. Internal to the plan.
enum class encode_op : std::uint8_t {
  nothing,  ///< null
  boolean,
  int32,
  int64,
  float32,
  float64,
  int_to_float,
  int_to_double,
  long_to_float,
  long_to_double,
  float_to_double,
  bytes,        ///< utf8 and binary
  fixed,        ///< a: size
  enum_mapped,  ///< a: start in `tables`: the number of symbols, then the schema's index or -1 for
                ///< each
  enum_as_string,  ///< a: start in `texts`, b: number of symbols
  decimal_bytes,
  decimal_fixed,  ///< a: size
  record,         ///< the code up to `next` writes its fields
  items,          ///< list: the code up to `next` writes one item
  entries,        ///< map: the code up to `next` writes one entry
  one_of,  ///< dense union; a: start in `tables`: the number of branches, then where each branch's
           ///< code starts and ends
  constant,  ///< a: start in `constants`, b: size
};

struct encode_instruction {
  encode_op op = encode_op::nothing;
  /// Branches of the schema's union around the value; -1 for none.
  std::int8_t null_branch = -1;
  std::int8_t value_branch = -1;
  std::uint32_t view = 0;  ///< which array, in depth-first order over the columns
  std::uint32_t next = 0;
  std::uint32_t a = 0;
  std::uint32_t b = 0;
  std::uint32_t path = 0;
};

struct encode_plan_program {
  std::vector<encode_instruction> code;
  std::vector<std::int32_t> tables;
  std::vector<std::string> texts;
  std::vector<std::uint8_t> constants;
  std::vector<std::string> paths;
  std::vector<field> fields;  ///< the columns, in the order in which they are bound
  std::vector<bool> used;
  std::size_t views = 0;
};

/// One array of the batch, its parts at hand.
struct array_view {
  const std::uint8_t* validity = nullptr;  ///< null where nothing is null
  const void* first = nullptr;             ///< buffer 1; of a union, its type ids
  const void* second = nullptr;            ///< buffer 2; of a union, its offsets
  std::int64_t offset = 0;
  std::size_t bytes_end = 0;  ///< of utf8 and binary: how many bytes buffer 2 has
};

/// Flattens an array and its children, depth first.
void add_views(const ArrowArray& array, const field& of, std::vector<array_view>& to);

/// Appends the value that the instructions [begin, end) write for `row`.
[[nodiscard]] encode_error run_encode(const encode_plan_program& p, const array_view* views,
                                      std::uint32_t begin, std::uint32_t end, std::int64_t row,
                                      buffer& out);

}  // namespace sonder
