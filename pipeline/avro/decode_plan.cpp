#include "avro/decode_plan.h"

#include <bit>
#include <cassert>
#include <cstring>
#include <limits>

#include "avro/decode_program.h"
#include "avro/wire.h"

namespace sonder {

static_assert(std::endian::native == std::endian::little,
              "Avro and Arrow are little-endian, and so are the copies here");

namespace {

constexpr std::int64_t rows_max = std::numeric_limits<std::int32_t>::max();

/// Stands where a plan builds no column: its instructions only skip and never touch it.
column nowhere_column{field{}};
column* const nowhere = &nowhere_column;

/// One array or map whose items are being read.
struct open_block {
  std::int64_t left = 0;              ///< items of this block
  const std::uint8_t* end = nullptr;  ///< where the block must end, if it said so
};

__extension__ using int128 = __int128;

/// 10^digits, for digits up to 38.
int128 power_of_ten(std::uint32_t digits) {
  int128 power = 1;
  for (std::uint32_t i = 0; i < digits; ++i) power *= 10;
  return power;
}

/// A big-endian two's complement number of at most `precision` digits.
bool read_decimal(const std::uint8_t* bytes, std::size_t size, std::uint32_t precision,
                  int128& value) {
  if (size == 0) return false;
  const std::uint8_t sign = (bytes[0] & 0x80) != 0 ? 0xFF : 0;
  for (; size > sizeof value; ++bytes, --size) {
    if (*bytes != sign) return false;
  }
  if (((bytes[0] ^ sign) & 0x80) != 0) return false;
  value = sign != 0 ? -1 : 0;
  for (std::size_t i = 0; i < size; ++i)
    value = static_cast<int128>(static_cast<unsigned __int128>(value) << 8 | bytes[i]);
  const int128 limit = power_of_ten(precision);
  return value < limit && value > -limit;
}

// Inlined into the one loop, these leave the position in a register; measured, that is worth a
// fifth of a decode.
#define SONDER_IN_LOOP [[gnu::always_inline]] inline

/// The execution of a plan on one body. Everything that can fail goes through `stop`.
class decode_run {
 public:
  decode_run(const decode_plan_program& p, bytes_view body, columns& into)
      : p_(p),
        begin_(body.data()),
        at_(body.data()),
        end_(body.data() + body.size()),
        flat_(into.size() == 0 ? &nowhere : into.flat()) {}

  SONDER_IN_LOOP decode_error run();
  std::size_t used() const { return static_cast<std::size_t>(at_ - begin_); }
  decode_error stop(decode_reason reason, std::uint32_t path) const {
    return {reason, static_cast<std::uint32_t>(at_ - begin_), path};
  }

 private:
  std::size_t left() const { return static_cast<std::size_t>(end_ - at_); }

  SONDER_IN_LOOP bool read_long(std::int64_t& value) {
    const std::uint8_t* p = read_varint(at_, end_, value);
    if (p == nullptr) return false;
    at_ = p;
    return true;
  }

  decode_reason varint_problem() const {
    return left() >= varint_bytes_max ? decode_reason::bad_varint : unfinished_varint(at_, end_);
  }

  SONDER_IN_LOOP bool read_int(std::int64_t& value) {
    const std::uint8_t* p = read_varint(at_, end_, value);
    if (p == nullptr || value != static_cast<std::int32_t>(value)) return false;
    at_ = p;
    return true;
  }

  /// A length that the bytes left can hold.
  SONDER_IN_LOOP decode_reason read_size(std::size_t& size) {
    std::int64_t value;
    if (!read_long(value)) [[unlikely]]
      return varint_problem();
    if (static_cast<std::uint64_t>(value) > left()) [[unlikely]]
      return decode_reason::length_out_of_range;
    size = static_cast<std::size_t>(value);
    return decode_reason::none;
  }

  template <class T>
  static void push(column& c, T value) {
    c.values.append_value(value);
    c.set_length(c.length() + 1);
  }

  template <class T>
  bool copy_value(column& c) {
    if (left() < sizeof(T)) return false;
    c.values.append(at_, sizeof(T));
    at_ += sizeof(T);
    c.set_length(c.length() + 1);
    return true;
  }

  SONDER_IN_LOOP decode_reason read_bytes(column& c);
  SONDER_IN_LOOP decode_reason read_text(column& c);
  decode_reason read_decimal_into(column& c, std::size_t size, std::uint32_t precision);
  SONDER_IN_LOOP decode_reason read_enum(column& c, const decode_instruction& in);
  SONDER_IN_LOOP decode_reason open_array(const decode_instruction& in, open_block& block);

  const decode_plan_program& p_;
  const std::uint8_t* const begin_;
  const std::uint8_t* at_;
  const std::uint8_t* const end_;
  column* const* flat_;
  std::int64_t empty_items_ = 0;
};

SONDER_IN_LOOP decode_reason decode_run::read_bytes(column& c) {
  std::size_t size;
  if (const auto problem = read_size(size); problem != decode_reason::none) return problem;
  if (size > rows_max - c.values.size()) return decode_reason::too_large;
  c.values.append(at_, size);
  at_ += size;
  c.offsets.append_value(static_cast<std::int32_t>(c.values.size()));
  c.set_length(c.length() + 1);
  return decode_reason::none;
}

SONDER_IN_LOOP decode_reason decode_run::read_text(column& c) {
  std::size_t size;
  if (const auto problem = read_size(size); problem != decode_reason::none) [[unlikely]]
    return problem;
  if (size > rows_max - c.values.size()) [[unlikely]]
    return decode_reason::too_large;
  c.values.reserve_more(size + copy_slack);
  std::uint8_t* to = c.values.data() + c.values.size();
  if (!copy_ascii(at_, size, left(), to) && !is_utf8(at_, size)) [[unlikely]]
    return decode_reason::bad_utf8;
  at_ += size;
  c.values.set_size(c.values.size() + size);
  c.offsets.append_value(static_cast<std::int32_t>(c.values.size()));
  c.set_length(c.length() + 1);
  return decode_reason::none;
}

decode_reason decode_run::read_decimal_into(column& c, std::size_t size, std::uint32_t precision) {
  int128 value;
  if (left() < size) return decode_reason::truncated;
  if (!read_decimal(at_, size, precision, value)) return decode_reason::bad_decimal;
  at_ += size;
  push(c, value);
  return decode_reason::none;
}

SONDER_IN_LOOP decode_reason decode_run::read_enum(column& c, const decode_instruction& in) {
  std::int64_t index;
  if (!read_long(index)) [[unlikely]]
    return varint_problem();
  const bool mapped = in.op == decode_op::enum_mapped;
  const std::int32_t* table = mapped ? p_.tables.data() + in.a : nullptr;
  const auto count = mapped ? static_cast<std::uint64_t>(table[0]) : in.a;
  if (static_cast<std::uint64_t>(index) >= count) [[unlikely]]
    return decode_reason::bad_enum;
  const auto symbol = mapped ? table[1 + index] : static_cast<std::int32_t>(index);
  if (symbol < 0) return decode_reason::symbol_not_readable;
  push(c, symbol);
  return decode_reason::none;
}

/// Reads the head of the next block: no items left means that the array ends.
SONDER_IN_LOOP decode_reason decode_run::open_array(const decode_instruction& in,
                                                    open_block& block) {
  if (!read_long(block.left)) [[unlikely]]
    return varint_problem();
  block.end = nullptr;
  if (block.left < 0) {
    if (block.left == std::numeric_limits<std::int64_t>::min()) return decode_reason::bad_block;
    block.left = -block.left;
    std::int64_t size;
    if (!read_long(size)) return varint_problem();
    if (static_cast<std::uint64_t>(size) > left()) return decode_reason::bad_block;
    block.end = at_ + size;
  }
  if (in.a == 0) {
    if (block.left > decode_plan::empty_items_max - empty_items_)
      return decode_reason::too_many_items;
    empty_items_ += block.left;
  } else if (static_cast<std::uint64_t>(block.left) > left() / in.a) [[unlikely]] {
    return decode_reason::bad_block;
  }
  return decode_reason::none;
}

SONDER_IN_LOOP decode_error decode_run::run() {
  open_block blocks[schema_depth_max + 1];
  open_block* open = blocks;  // the innermost; blocks[0] stands for the record
  const decode_instruction* const code = p_.code.data();
  const auto size = static_cast<std::uint32_t>(p_.code.size());
  for (std::uint32_t pc = 0; pc < size;) {
    const decode_instruction& in = code[pc++];
    column& c = *flat_[in.column];
    if (in.flags != 0) {
      if ((in.flags & (null_is_branch_0 | null_is_branch_1)) != 0) {
        std::int64_t branch;
        if (!read_long(branch)) [[unlikely]]
          return stop(varint_problem(), in.path);
        if (static_cast<std::uint64_t>(branch) > 1) [[unlikely]]
          return stop(decode_reason::bad_union_branch, in.path);
        if ((branch == 0) == ((in.flags & null_is_branch_0) != 0)) {
          c.append_null();
          pc = in.next;
          continue;
        }
      }
      c.mark(true);
    }
    std::int64_t number;
    decode_reason problem = decode_reason::none;
    switch (in.op) {
      case decode_op::null:
        c.set_length(c.length() + 1);
        break;
      case decode_op::boolean:
        if (at_ == end_) return stop(decode_reason::truncated, in.path);
        if (*at_ > 1) return stop(decode_reason::bad_boolean, in.path);
        if ((c.length() & 7) == 0) {
          c.values.append_value(*at_);
        } else {
          c.values.data()[c.length() >> 3] |= static_cast<std::uint8_t>(*at_ << (c.length() & 7));
        }
        c.set_length(c.length() + 1);
        ++at_;
        break;
      case decode_op::int32:
        if (!read_int(number)) [[unlikely]]
          return stop(varint_problem(), in.path);
        push(c, static_cast<std::int32_t>(number));
        break;
      case decode_op::int64:
        if (!read_long(number)) [[unlikely]]
          return stop(varint_problem(), in.path);
        push(c, number);
        break;
      case decode_op::int_to_long:
        if (!read_int(number)) [[unlikely]]
          return stop(varint_problem(), in.path);
        push(c, number);
        break;
      case decode_op::int_to_float:
        if (!read_int(number)) [[unlikely]]
          return stop(varint_problem(), in.path);
        push(c, static_cast<float>(number));
        break;
      case decode_op::int_to_double:
        if (!read_int(number)) [[unlikely]]
          return stop(varint_problem(), in.path);
        push(c, static_cast<double>(number));
        break;
      case decode_op::long_to_float:
        if (!read_long(number)) [[unlikely]]
          return stop(varint_problem(), in.path);
        push(c, static_cast<float>(number));
        break;
      case decode_op::long_to_double:
        if (!read_long(number)) [[unlikely]]
          return stop(varint_problem(), in.path);
        push(c, static_cast<double>(number));
        break;
      case decode_op::float32:
        if (!copy_value<float>(c)) [[unlikely]]
          return stop(decode_reason::truncated, in.path);
        break;
      case decode_op::float64:
        if (!copy_value<double>(c)) [[unlikely]]
          return stop(decode_reason::truncated, in.path);
        break;
      case decode_op::float_to_double: {
        float value;
        if (left() < sizeof value) return stop(decode_reason::truncated, in.path);
        std::memcpy(&value, at_, sizeof value);
        at_ += sizeof value;
        push(c, static_cast<double>(value));
        break;
      }
      case decode_op::bytes:
        problem = read_bytes(c);
        break;
      case decode_op::string:
        problem = read_text(c);
        break;
      case decode_op::fixed:
        if (left() < in.a) return stop(decode_reason::truncated, in.path);
        c.values.append(at_, in.a);
        at_ += in.a;
        c.set_length(c.length() + 1);
        break;
      case decode_op::enumeration:
      case decode_op::enum_mapped:
        problem = read_enum(c, in);
        break;
      case decode_op::decimal_bytes: {
        std::size_t bytes;
        problem = read_size(bytes);
        if (problem == decode_reason::none) problem = read_decimal_into(c, bytes, in.a);
        break;
      }
      case decode_op::decimal_fixed:
        problem = read_decimal_into(c, in.b, in.a);
        break;
      case decode_op::constant:
        if (!c.append_from(*p_.constants[in.a], 0)) return stop(decode_reason::too_large, in.path);
        break;
      case decode_op::record_begin:
        break;
      case decode_op::record_close:
        c.set_length(c.length() + 1);
        break;
      case decode_op::array_begin:
        problem = open_array(in, *++open);
        if (problem != decode_reason::none) [[unlikely]]
          break;
        if (open->left == 0) goto close_array;
        if (c.child(0).length() > rows_max - open->left)
          return stop(decode_reason::too_large, in.path);
        break;
      case decode_op::array_end: {
        if (--open->left > 0) {
          pc = in.next;
          break;
        }
        if (open->end != nullptr && open->end != at_)
          return stop(decode_reason::bad_block, in.path);
        problem = open_array(code[in.next - 1], *open);
        if (problem != decode_reason::none) [[unlikely]]
          break;
        if (open->left != 0) {
          if (c.child(0).length() > rows_max - open->left)
            return stop(decode_reason::too_large, in.path);
          pc = in.next;
          break;
        }
      }
      close_array:
        c.offsets.append_value(static_cast<std::int32_t>(c.child(0).length()));
        c.set_length(c.length() + 1);
        if (in.op == decode_op::array_begin) pc = in.next;
        --open;
        break;
      case decode_op::union_switch: {
        const std::int32_t* table = p_.tables.data() + in.a;
        if (!read_long(number)) [[unlikely]]
          return stop(varint_problem(), in.path);
        if (static_cast<std::uint64_t>(number) >= static_cast<std::uint64_t>(table[0])) {
          return stop(decode_reason::bad_union_branch, in.path);
        }
        pc = static_cast<std::uint32_t>(table[1 + number]);
        break;
      }
      case decode_op::union_close:
        c.close_union(static_cast<std::int8_t>(in.a));
        break;
      case decode_op::jump:
        pc = in.next;
        break;
      case decode_op::not_readable:
        return stop(decode_reason::branch_not_readable, in.path);
      case decode_op::skip_varint:
        if (!read_long(number)) [[unlikely]]
          return stop(varint_problem(), in.path);
        break;
      case decode_op::skip_fixed:
        if (left() < in.a) [[unlikely]]
          return stop(decode_reason::truncated, in.path);
        at_ += in.a;
        break;
      case decode_op::skip_bytes: {
        std::size_t bytes;
        problem = read_size(bytes);
        if (problem == decode_reason::none) at_ += bytes;
        break;
      }
      case decode_op::skip_array_begin:
        ++open;
        [[fallthrough]];
      case decode_op::skip_array_end: {
        const bool first = in.op == decode_op::skip_array_begin;
        if (!first && --open->left > 0) {
          pc = in.next;
          break;
        }
        // A block that says its size is passed over whole.
        do {
          problem = open_array(first ? in : code[in.next - 1], *open);
          if (problem == decode_reason::none && open->end != nullptr) at_ = open->end;
        } while (problem == decode_reason::none && open->end != nullptr && open->left != 0);
        if (problem != decode_reason::none) break;
        if (open->left == 0) {
          --open;
          pc = first ? in.next : pc;
        } else if (!first) {
          pc = in.next;
        }
        break;
      }
    }
    if (problem != decode_reason::none) [[unlikely]]
      return stop(problem, in.path);
  }
  return {};
}

}  // namespace

decode_plan::decode_plan(std::unique_ptr<const program> p) : program_(std::move(p)) {}
decode_plan::decode_plan(decode_plan&&) noexcept = default;
decode_plan& decode_plan::operator=(decode_plan&&) noexcept = default;
decode_plan::~decode_plan() = default;

const std::vector<field>& decode_plan::fields() const noexcept {
  return program_->fields;
}

decode_error decode_plan::decode(bytes_view body, columns& into) const {
  std::size_t used = 0;
  const auto before = into.length();
  decode_error e = decode_first(body, into, used);
  if (!e && used != body.size()) [[unlikely]] {
    into.truncate(before);
    e = {decode_reason::trailing_bytes, static_cast<std::uint32_t>(used), 0};
  }
  return e;
}

decode_error decode_plan::decode_first(bytes_view bytes, columns& into, std::size_t& used) const {
  assert(into.size() == program_->fields.size());
  const auto before = into.length();
  decode_run run(*program_, bytes, into);
  if (bytes.size() > static_cast<std::size_t>(rows_max))
    return run.stop(decode_reason::too_large, 0);
  const decode_error e = before == rows_max ? run.stop(decode_reason::too_large, 0) : run.run();
  if (e) [[unlikely]] {
    into.truncate(before);
    return e;
  }
  used = run.used();
  return e;
}

std::string decode_plan::describe(const decode_error& e) const {
  const bool known = e.path < program_->paths.size();
  return (known ? program_->paths[e.path] : std::string("record")) + ": " +
         std::string(name(e.reason)) + " at byte " + std::to_string(e.at);
}

std::string_view name(decode_reason reason) noexcept {
  switch (reason) {
    case decode_reason::none:
      return "none";
    case decode_reason::truncated:
      return "truncated";
    case decode_reason::bad_varint:
      return "bad_varint";
    case decode_reason::length_out_of_range:
      return "length_out_of_range";
    case decode_reason::bad_boolean:
      return "bad_boolean";
    case decode_reason::bad_enum:
      return "bad_enum";
    case decode_reason::bad_union_branch:
      return "bad_union_branch";
    case decode_reason::branch_not_readable:
      return "branch_not_readable";
    case decode_reason::symbol_not_readable:
      return "symbol_not_readable";
    case decode_reason::bad_block:
      return "bad_block";
    case decode_reason::too_many_items:
      return "too_many_items";
    case decode_reason::bad_utf8:
      return "bad_utf8";
    case decode_reason::bad_decimal:
      return "bad_decimal";
    case decode_reason::trailing_bytes:
      return "trailing_bytes";
    case decode_reason::too_large:
      return "too_large";
  }
  return "unknown";
}

}  // namespace sonder
