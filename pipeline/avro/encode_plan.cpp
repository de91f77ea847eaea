#include "avro/encode_plan.h"

#include <cassert>
#include <cstring>

#include "avro/encode_program.h"
#include "avro/wire.h"

namespace sonder {

namespace {

__extension__ using int128 = __int128;

bool bit_at(const void* bits, std::int64_t i) {
  return ((static_cast<const std::uint8_t*>(bits)[i >> 3] >> (i & 7)) & 1) != 0;
}

template <class T>
T value_at(const void* values, std::int64_t i) {
  return static_cast<const T*>(values)[i];
}

void put_long(std::int64_t value, buffer& out) {
  out.reserve_more(varint_bytes_max);
  std::uint8_t* const at = out.data() + out.size();
  out.set_size(out.size() + static_cast<std::size_t>(write_varint(at, value) - at));
}

/// `readable`: how many bytes from `from` on may be read.
void put_bytes(const std::uint8_t* from, std::size_t size, std::size_t readable, buffer& out) {
  out.reserve_more(size + varint_bytes_max + copy_slack);
  std::uint8_t* const at = out.data() + out.size();
  std::uint8_t* const to = write_varint(at, static_cast<std::int64_t>(size));
  copy_short(from, size, readable, to);
  out.set_size(out.size() + static_cast<std::size_t>(to - at) + size);
}

/// Big-endian two's complement in as few bytes as hold it.
std::size_t decimal_bytes(int128 value, std::uint8_t (&to)[sizeof(int128)]) {
  for (std::size_t i = sizeof value; i-- > 0; value >>= 8) to[i] = static_cast<std::uint8_t>(value);
  std::size_t first = 0;
  const auto sign_of = [](std::uint8_t byte) { return (byte & 0x80) != 0 ? 0xFF : 0x00; };
  while (first + 1 < sizeof value && to[first] == sign_of(to[first + 1])) ++first;
  return first;
}

bool put_decimal(const encode_instruction& in, int128 value, buffer& out) {
  std::uint8_t bytes[sizeof(int128)];
  const std::size_t first = decimal_bytes(value, bytes);
  const std::size_t size = sizeof value - first;
  if (in.op == encode_op::decimal_bytes) {
    put_long(static_cast<std::int64_t>(size), out);
  } else {
    if (size > in.a) return false;
    const std::uint8_t sign = value < 0 ? 0xFF : 0;
    for (std::size_t i = size; i < in.a; ++i) out.append_value(sign);
  }
  out.append(bytes + first, size);
  return true;
}

class encode_run {
 public:
  encode_run(const encode_plan_program& p, const array_view* views, buffer& out)
      : p_(p), views_(views), out_(out) {}

  encode_error run(std::uint32_t begin, std::uint32_t end, std::int64_t row);

 private:
  encode_error put_items(const encode_instruction& in, std::uint32_t begin, const array_view& v,
                         std::int64_t at);
  bool put_enum(const encode_instruction& in, std::int32_t index);

  const encode_plan_program& p_;
  const array_view* views_;
  buffer& out_;
};

bool encode_run::put_enum(const encode_instruction& in, std::int32_t index) {
  if (in.op == encode_op::enum_as_string) {
    if (static_cast<std::uint32_t>(index) >= in.b) return false;
    const std::string& text = p_.texts[in.a + static_cast<std::uint32_t>(index)];
    put_bytes(reinterpret_cast<const std::uint8_t*>(text.data()), text.size(), text.size(), out_);
    return true;
  }
  const std::int32_t* table = p_.tables.data() + in.a;
  if (static_cast<std::uint32_t>(index) >= static_cast<std::uint32_t>(table[0]) ||
      table[1 + index] < 0)
    return false;
  put_long(table[1 + index], out_);
  return true;
}

encode_error encode_run::put_items(const encode_instruction& in, std::uint32_t begin,
                                   const array_view& v, std::int64_t at) {
  const auto* ends = static_cast<const std::int32_t*>(v.first) + at;
  const std::int64_t count = ends[1] - ends[0];
  if (count > 0) {
    put_long(count, out_);
    // A map's entries are a record whose own offset its children's rows count from.
    const std::int64_t shift = in.op == encode_op::entries ? views_[in.view + 1].offset : 0;
    for (std::int64_t i = ends[0]; i < ends[1]; ++i) {
      if (const auto e = run(begin, in.next, i + shift)) return e;
    }
  }
  put_long(0, out_);
  return {};
}

encode_error encode_run::run(std::uint32_t begin, std::uint32_t end, std::int64_t row) {
  for (std::uint32_t pc = begin; pc < end;) {
    const encode_instruction& in = p_.code[pc++];
    if (in.op == encode_op::constant) {
      out_.append(p_.constants.data() + in.a, in.b);
      continue;
    }
    const array_view& v = views_[in.view];
    const std::int64_t at = row + v.offset;
    if (v.validity != nullptr && !bit_at(v.validity, at)) {
      if (in.null_branch < 0) [[unlikely]]
        return {encode_reason::missing_value, in.path};
      put_long(in.null_branch, out_);
      pc = in.next;
      continue;
    }
    if (in.value_branch >= 0) put_long(in.value_branch, out_);
    bool good = true;
    switch (in.op) {
      case encode_op::nothing:
      case encode_op::constant:
        break;
      case encode_op::boolean:
        out_.append_value(static_cast<std::uint8_t>(bit_at(v.first, at)));
        break;
      case encode_op::int32:
        put_long(value_at<std::int32_t>(v.first, at), out_);
        break;
      case encode_op::int64:
        put_long(value_at<std::int64_t>(v.first, at), out_);
        break;
      case encode_op::float32:
        out_.append_value(value_at<float>(v.first, at));
        break;
      case encode_op::float64:
        out_.append_value(value_at<double>(v.first, at));
        break;
      case encode_op::int_to_float:
        out_.append_value(static_cast<float>(value_at<std::int32_t>(v.first, at)));
        break;
      case encode_op::int_to_double:
        out_.append_value(static_cast<double>(value_at<std::int32_t>(v.first, at)));
        break;
      case encode_op::long_to_float:
        out_.append_value(static_cast<float>(value_at<std::int64_t>(v.first, at)));
        break;
      case encode_op::long_to_double:
        out_.append_value(static_cast<double>(value_at<std::int64_t>(v.first, at)));
        break;
      case encode_op::float_to_double:
        out_.append_value(static_cast<double>(value_at<float>(v.first, at)));
        break;
      case encode_op::bytes: {
        const auto* ends = static_cast<const std::int32_t*>(v.first) + at;
        const auto size = static_cast<std::size_t>(ends[1] - ends[0]);
        const auto start = static_cast<std::size_t>(ends[0]);
        put_bytes(static_cast<const std::uint8_t*>(v.second) + start, size, v.bytes_end - start,
                  out_);
        break;
      }
      case encode_op::fixed:
        out_.append(static_cast<const std::uint8_t*>(v.first) + static_cast<std::size_t>(at) * in.a,
                    in.a);
        break;
      case encode_op::enum_mapped:
      case encode_op::enum_as_string:
        good = put_enum(in, value_at<std::int32_t>(v.first, at));
        break;
      case encode_op::decimal_bytes:
      case encode_op::decimal_fixed: {
        int128 value;
        std::memcpy(
            &value,
            static_cast<const std::uint8_t*>(v.first) + static_cast<std::size_t>(at) * sizeof value,
            sizeof value);
        good = put_decimal(in, value, out_);
        break;
      }
      case encode_op::record:
        if (const auto e = run(pc, in.next, at)) return e;
        pc = in.next;
        break;
      case encode_op::items:
      case encode_op::entries:
        if (const auto e = put_items(in, pc, v, at)) return e;
        pc = in.next;
        break;
      case encode_op::one_of: {
        const std::int32_t* table = p_.tables.data() + in.a;
        const auto branch = value_at<std::int8_t>(v.first, at);
        if (branch < 0 || branch >= table[0]) return {encode_reason::bad_value, in.path};
        const auto child_row = value_at<std::int32_t>(v.second, at);
        const auto from = static_cast<std::uint32_t>(table[1 + 2 * branch]);
        const auto to = static_cast<std::uint32_t>(table[2 + 2 * branch]);
        if (const auto e = run(from, to, child_row)) return e;
        pc = in.next;
        break;
      }
    }
    if (!good) [[unlikely]]
      return {encode_reason::bad_value, in.path};
  }
  return {};
}

}  // namespace

void add_views(const ArrowArray& array, const field& of, std::vector<array_view>& to) {
  array_view v;
  v.offset = array.offset;
  const bool is_union = of.type.id == type_id::dense_union;
  const auto buffer_at = [&](std::int64_t i) {
    return i < array.n_buffers ? array.buffers[i] : nullptr;
  };
  if (!is_union && array.null_count != 0)
    v.validity = static_cast<const std::uint8_t*>(buffer_at(0));
  v.first = buffer_at(is_union ? 0 : 1);
  v.second = buffer_at(is_union ? 1 : 2);
  if (array.n_buffers == 3 && array.length > 0) {
    v.bytes_end = static_cast<std::size_t>(
        static_cast<const std::int32_t*>(v.first)[array.offset + array.length]);
  }
  to.push_back(v);
  for (std::size_t i = 0; i < of.type.fields.size(); ++i)
    add_views(*array.children[i], of.type.fields[i], to);
}

encode_error run_encode(const encode_plan_program& p, const array_view* views, std::uint32_t begin,
                        std::uint32_t end, std::int64_t row, buffer& out) {
  return encode_run(p, views, out).run(begin, end, row);
}

encode_plan::encode_plan(std::unique_ptr<const program> p) : program_(std::move(p)) {}
encode_plan::encode_plan(encode_plan&&) noexcept = default;
encode_plan& encode_plan::operator=(encode_plan&&) noexcept = default;
encode_plan::~encode_plan() = default;

const std::vector<bool>& encode_plan::used() const noexcept {
  return program_->used;
}

std::string encode_plan::describe(const encode_error& e) const {
  const bool known = e.path < program_->paths.size();
  return (known ? program_->paths[e.path] : std::string("record")) + ": " +
         std::string(name(e.reason));
}

struct row_encoder::state {
  const encode_plan_program* program = nullptr;
  std::vector<array_view> views;
};

row_encoder::row_encoder(const encode_plan& plan) : state_(std::make_unique<state>()) {
  state_->program = plan.program_.get();
  state_->views.reserve(plan.program_->views + 1);
}
row_encoder::row_encoder(row_encoder&&) noexcept = default;
row_encoder::~row_encoder() = default;

void row_encoder::bind(std::span<const ArrowArray* const> arrays) {
  state_->views.clear();
  assert(arrays.size() == state_->program->fields.size());
  for (std::size_t i = 0; i < arrays.size(); ++i)
    add_views(*arrays[i], state_->program->fields[i], state_->views);
}

encode_error row_encoder::encode(std::int64_t row, buffer& out) {
  const auto before = out.size();
  const auto& code = state_->program->code;
  encode_error e = run_encode(*state_->program, state_->views.data(), 0,
                              static_cast<std::uint32_t>(code.size()), row, out);
  if (!e && out.size() - before > encode_plan::record_bytes_max) e = {encode_reason::too_large, 0};
  if (e) [[unlikely]]
    out.set_size(before);
  return e;
}

std::string_view name(encode_reason reason) noexcept {
  switch (reason) {
    case encode_reason::none:
      return "none";
    case encode_reason::missing_value:
      return "missing_value";
    case encode_reason::bad_value:
      return "bad_value";
    case encode_reason::too_large:
      return "too_large";
  }
  return "unknown";
}

}  // namespace sonder
