#pragma once

#include <cstdint>
#include <string>

#include "record/column.h"
#include "record/result.h"

namespace sonder {

/// One value of a column as bytes of its own, and back: for rows that leave a batch and come back in another one. The form is
/// the host's own, kept in state only; it holds no type, which both sides must know.
///
/// A value: 0 for null, else 1 and what its type needs: fixed widths as they are (little-endian), text and bytes after their
/// length, lists and maps after their count, records field by field, unions after their branch. Lengths are uint32.

/// Appends row `row` of `from`, of type `of`, which `check_array` has accepted or the host has made.
void append_value(const ArrowArray& from, std::int64_t row, const data_type& of, std::string& to);

/// Takes one value off the front of `from` and appends it to `into`, a column of type `of`. errc::corrupt where the bytes are no
/// such value: `into` is then to be thrown away.
[[nodiscard]] status take_value(bytes_view& from, const data_type& of, column& into);

}  // namespace sonder
