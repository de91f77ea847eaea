#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace sonder::consent {

/// How the key of a decision's record is made of whom it is about and what about.
struct key_form {
  enum class encoding : std::uint8_t {
    avro,  ///< two strings, bare or in Confluent framing
    text   ///< UTF-8 with `separator` between the two
  };

  encoding form = encoding::avro;
  std::string separator;  ///< of text: never empty
  bool purpose_first = false;
};

struct subject_purpose {
  std::string_view subject;
  std::string_view purpose;
};

/// Takes a record key apart; the parts are views into it. Nothing if it has another shape, a part
/// is empty or no UTF-8, or a text holds the separator more than once: where to divide it would
/// then be a guess at whose decision it is. Thread-safe, allocates nothing.
[[nodiscard]] std::optional<subject_purpose> parse_record_key(std::span<const std::uint8_t> key,
                                                              const key_form& form) noexcept;

}  // namespace sonder::consent
