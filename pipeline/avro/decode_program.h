#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "avro/decode_plan.h"

namespace sonder {

/// What a compiled decode plan executes: a flat list of instructions. Internal to the plan.
enum class decode_op : std::uint8_t {
  // One value into `column`.
  null,
  boolean,
  int32,
  int64,
  float32,
  float64,
  bytes,
  string,
  fixed,          ///< a: size
  enumeration,    ///< a: number of symbols, the same in reader and writer
  enum_mapped,    ///< a: start in `tables`; entry 0 is the number of the writer's symbols, then the
                  ///< reader's index or -1 for each
  decimal_bytes,  ///< a: precision
  decimal_fixed,  ///< a: precision, b: size
  int_to_long,
  int_to_float,
  int_to_double,
  long_to_float,
  long_to_double,
  float_to_double,
  constant,  ///< a: which constant
  // Structure.
  record_begin,  ///< only where the record can be null; `next` is past its `record_close`
  record_close,
  array_begin,   ///< arrays and maps; a: fewest bytes of an item; `next` is past its `array_end`
  array_end,     ///< `next`: the first instruction of the item
  union_switch,  ///< a: start in `tables`; entry 0 is the number of branches, then where each
                 ///< branch's code starts
  union_close,   ///< a: the branch
  jump,          ///< to `next`
  not_readable,
  // Values that nobody wants.
  skip_varint,
  skip_fixed,  ///< a: size
  skip_bytes,
  skip_array_begin,
  skip_array_end,
};

/// A column's bit is set before its value; where the writer has a union with null, its branch is
/// read first.
enum decode_flag : std::uint8_t {
  mark_valid = 1,
  null_is_branch_0 = 2,
  null_is_branch_1 = 4,
};

struct decode_instruction {
  decode_op op = decode_op::null;
  std::uint8_t flags = 0;
  std::uint32_t column = 0;  ///< position in `columns::flat()`
  std::uint32_t next = 0;    ///< where to go on when the value is null, or as the operation says
  std::uint32_t a = 0;
  std::uint32_t b = 0;
  std::uint32_t path = 0;
};

struct decode_plan_program {
  std::vector<decode_instruction> code;
  std::vector<std::int32_t> tables;
  std::vector<std::unique_ptr<column>> constant_columns;
  std::vector<const ArrowArray*> constants;  ///< each of one row
  std::vector<std::string> paths;
  std::vector<field> fields;
};

}  // namespace sonder
