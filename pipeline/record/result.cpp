#include "record/result.h"

namespace sonder {

std::string_view name(errc code) noexcept {
  switch (code) {
    case errc::invalid:
      return "invalid";
    case errc::not_found:
      return "not_found";
    case errc::exists:
      return "exists";
    case errc::capacity:
      return "capacity";
    case errc::io:
      return "io";
    case errc::corrupt:
      return "corrupt";
    case errc::unsupported:
      return "unsupported";
    case errc::unavailable:
      return "unavailable";
    case errc::cancelled:
      return "cancelled";
    case errc::fenced:
      return "fenced";
    case errc::plugin:
      return "plugin";
    case errc::internal:
      return "internal";
  }
  return "unknown";
}

}  // namespace sonder
