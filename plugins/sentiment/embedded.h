#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace sonder::sentiment {

/// The files of this folder that are linked into the library, as they lie in the tree. Live as long
/// as the library.
[[nodiscard]] std::string_view embedded_lexicon() noexcept;
[[nodiscard]] std::span<const std::byte> embedded_emotions() noexcept;  // 64-byte aligned

}  // namespace sonder::sentiment
