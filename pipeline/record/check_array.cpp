#include <algorithm>
#include <limits>

#include "record/column.h"

namespace sonder {

namespace {

/// One array against its declared field. `place` names the field for messages.
class array_check {
 public:
  array_check(const ArrowArray& array, const field& declared, std::string place)
      : a_(array), f_(declared), place_(std::move(place)) {}

  status run() const {
    SONDER_TRY(check_shape());
    SONDER_TRY(check_nulls());
    switch (f_.type.id) {
      case type_id::utf8:
      case type_id::binary:
        return check_bytes();
      case type_id::enumeration:
        return check_enumeration();
      case type_id::list:
      case type_id::map:
        return check_list();
      case type_id::record:
        return check_record();
      case type_id::dense_union:
        return check_union();
      default:
        return {};
    }
  }

 private:
  tl::unexpected<error> wrong(std::string what) const {
    return fail(errc::invalid, place_ + ": " + std::move(what));
  }

  std::int64_t buffers_expected() const {
    switch (f_.type.id) {
      case type_id::null:
        return 0;
      case type_id::utf8:
      case type_id::binary:
        return 3;
      case type_id::record:
        return 1;
      default:
        return 2;
    }
  }

  status check_shape() const {
    constexpr auto rows_max = std::numeric_limits<std::int32_t>::max();
    if (a_.length < 0 || a_.offset < 0 || a_.length > rows_max ||
        a_.offset > rows_max - a_.length) {
      return wrong("length or offset out of range");
    }
    if (a_.n_buffers != buffers_expected()) {
      return wrong("has " + std::to_string(a_.n_buffers) + " buffers, its type has " +
                   std::to_string(buffers_expected()));
    }
    const auto children = static_cast<std::int64_t>(f_.type.fields.size());
    if (a_.n_children != children) {
      return wrong("has " + std::to_string(a_.n_children) + " children, its type has " +
                   std::to_string(children));
    }
    if (a_.n_buffers > 0 && a_.buffers == nullptr) return wrong("has no buffers");
    for (std::int64_t i = 0; i < children; ++i) {
      if (a_.children == nullptr || a_.children[i] == nullptr) return wrong("a child is missing");
    }
    // Of the values of utf8 and binary, `check_bytes` knows whether there are any.
    const bool fixed = a_.n_buffers == 2 && a_.length > 0 &&
                       !(f_.type.id == type_id::fixed_binary && f_.type.size == 0);
    if (fixed && a_.buffers[1] == nullptr) return wrong("its buffer of values is missing");
    if (f_.type.id == type_id::dense_union && a_.length > 0 && a_.buffers[0] == nullptr) {
      return wrong("its buffer of type ids is missing");
    }
    if ((f_.type.id == type_id::enumeration) != (a_.dictionary != nullptr)) {
      return wrong(a_.dictionary == nullptr ? "its dictionary is missing"
                                            : "has a dictionary, its type has none");
    }
    return {};
  }

  status check_nulls() const {
    if (f_.type.id == type_id::null || f_.type.id == type_id::dense_union) return {};
    if (a_.null_count < -1 || a_.null_count > a_.length) return wrong("null_count out of range");
    if (a_.buffers[0] == nullptr) {
      return a_.null_count > 0 ? status(wrong("counts nulls and has no validity bitmap"))
                               : status();
    }
    if (f_.nullable) return {};
    for (std::int64_t row = 0; row < a_.length; ++row) {
      if (is_null(a_, row))
        return wrong("row " + std::to_string(row) + " is null, its type has no null");
    }
    return {};
  }

  /// Offsets of the rows, rising and not negative.
  status check_offsets() const {
    if (a_.length == 0) return {};
    const auto* offsets = static_cast<const std::int32_t*>(a_.buffers[1]);
    if (offsets == nullptr) return wrong("its offsets are missing");
    offsets += a_.offset;
    bool rising = offsets[0] >= 0;
    for (std::int64_t row = 0; row < a_.length; ++row) rising &= offsets[row] <= offsets[row + 1];
    if (!rising) return wrong("its offsets do not rise");
    return {};
  }

  status check_bytes() const {
    SONDER_TRY(check_offsets());
    if (a_.length == 0) return {};
    const auto* offsets = static_cast<const std::int32_t*>(a_.buffers[1]) + a_.offset;
    const auto first = offsets[0];
    const auto last = offsets[a_.length];
    if (first == last) return {};
    const auto* bytes = static_cast<const std::uint8_t*>(a_.buffers[2]);
    if (bytes == nullptr) return wrong("its bytes are missing");
    if (f_.type.id == type_id::binary) return {};
    // One look over all rows; row by row only where that fails: a null may hold anything.
    bool good = is_utf8(bytes + first, static_cast<std::size_t>(last - first));
    for (std::int64_t row = 1; good && row < a_.length; ++row) {
      good = offsets[row] == last || (bytes[offsets[row]] & 0xC0) != 0x80;
    }
    for (std::int64_t row = 0; !good && row < a_.length; ++row) {
      const auto text = bytes_at(a_, row);
      if (!is_null(a_, row) && !is_utf8(text.data(), text.size())) {
        return wrong("row " + std::to_string(row) + " is not valid UTF-8");
      }
    }
    return {};
  }

  status check_enumeration() const {
    static const field symbol{"", data_type{type_id::utf8}, false};
    SONDER_TRY(array_check(*a_.dictionary, symbol, place_ + ".dictionary").run());
    const auto& symbols = f_.type.symbols;
    bool same = a_.dictionary->length == static_cast<std::int64_t>(symbols.size());
    for (std::size_t i = 0; same && i < symbols.size(); ++i) {
      same = text_at(*a_.dictionary, static_cast<std::int64_t>(i)) == symbols[i];
    }
    if (!same) return wrong("its dictionary is not the declared symbols in their order");
    const auto* indices = fixed_values<std::int32_t>(a_);
    const auto count = static_cast<std::uint32_t>(symbols.size());
    for (std::int64_t row = 0; row < a_.length; ++row) {
      if (static_cast<std::uint32_t>(indices[row]) >= count && !is_null(a_, row)) {
        return wrong("row " + std::to_string(row) + " has an index beyond its " +
                     std::to_string(count) + " symbols");
      }
    }
    return {};
  }

  status check_child(std::size_t i, std::int64_t rows_needed) const {
    const ArrowArray& child = *a_.children[i];
    const field& declared = f_.type.fields[i];
    if (child.length < rows_needed) {
      return wrong("child \"" + declared.name + "\" has " + std::to_string(child.length) +
                   " rows, needs " + std::to_string(rows_needed));
    }
    return array_check(child, declared, place_ + "." + declared.name).run();
  }

  status check_list() const {
    SONDER_TRY(check_offsets());
    const auto* offsets = static_cast<const std::int32_t*>(a_.buffers[1]);
    return check_child(0, a_.length == 0 ? 0 : offsets[a_.offset + a_.length]);
  }

  status check_record() const {
    for (std::size_t i = 0; i < f_.type.fields.size(); ++i)
      SONDER_TRY(check_child(i, a_.offset + a_.length));
    return {};
  }

  status check_union() const {
    for (std::size_t i = 0; i < f_.type.fields.size(); ++i) SONDER_TRY(check_child(i, 0));
    for (std::int64_t row = a_.offset; row < a_.offset + a_.length; ++row) {
      const auto branch = static_cast<const std::int8_t*>(a_.buffers[0])[row];
      const auto child_row = static_cast<const std::int32_t*>(a_.buffers[1])[row];
      if (branch < 0 || branch >= a_.n_children) {
        return wrong("row " + std::to_string(row - a_.offset) +
                     " has a type id beyond its branches");
      }
      if (child_row < 0 || child_row >= a_.children[branch]->length) {
        return wrong("row " + std::to_string(row - a_.offset) + " points beyond its branch");
      }
    }
    return {};
  }

  const ArrowArray& a_;
  const field& f_;
  std::string place_;
};

}  // namespace

status check_array(const ArrowArray& array, const field& declared, std::int64_t rows) {
  const std::string place = "column \"" + declared.name + "\"";
  if (array.length != rows) {
    return fail(errc::invalid, place + ": has " + std::to_string(array.length) +
                                   " rows, should have " + std::to_string(rows));
  }
  return array_check(array, declared, place).run();
}

}  // namespace sonder
