#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace sonder {

/// What went wrong, for programs. People read the message.
enum class errc : unsigned char {
  invalid,      ///< the caller's input is wrong: configuration, bytes, arguments
  not_found,    ///< a topic, file, field or id that does not exist
  exists,       ///< it is there already, with other properties
  capacity,     ///< a named limit would be broken
  io,           ///< the disk or the network failed; may work later
  corrupt,      ///< stored bytes are not what was written
  unsupported,  ///< a version or feature that this program does not know
  unavailable,  ///< somebody else holds it, or it is not there yet; may work later
  cancelled,    ///< asked to stop
  fenced,       ///< another process has taken over; this one must not write any more
  plugin,       ///< a plugin says that it cannot go on, or does not keep its contract
  internal,     ///< a defect of this program
};

[[nodiscard]] std::string_view name(errc code) noexcept;

/// An error by value. The message says what was being done, to what (place first), what was found,
/// what to do; it never holds anything personal. Made off the hot path: it allocates.
struct error {
  errc code = errc::internal;
  std::string message;

  /// The same error with `place: ` before its message.
  [[nodiscard]] error at(std::string_view place) const {
    return {code, std::string(place) + ": " + message};
  }
};

template <class T>
using result = tl::expected<T, error>;

using status = result<void>;

[[nodiscard]] inline tl::unexpected<error> fail(errc code, std::string message) {
  return tl::unexpected<error>(error{code, std::move(message)});
}

}  // namespace sonder

/// Leaves the function with the error of `expression`, if it has one.
#define SONDER_TRY(expression)                                                  \
  do {                                                                          \
    if (auto sonder_tried_ = (expression); !sonder_tried_)                      \
      return tl::unexpected<::sonder::error>(std::move(sonder_tried_).error()); \
  } while (false)

#define SONDER_LIFETIME_BOUND
