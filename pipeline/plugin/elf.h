#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "record/result.h"

namespace sonder {

inline constexpr std::size_t elf_sections_max = 4096;
inline constexpr std::size_t elf_section_names_bytes_max = std::size_t{1} << 20;

/// Fills `size` bytes of `into` from `offset` of a file; false if the file has not as many.
using file_reader = std::function<bool(std::uint64_t offset, void* into, std::size_t size)>;

/// The bytes of the section `name` of a shared library (ELF, 64 bit, little-endian, of this
/// machine), at most `bytes_max`.
///
/// Runs nothing of the file and trusts nothing in it: every offset and size is checked.
/// errc::not_found if there is no such section, errc::capacity if it or a table is larger than its
/// bound, errc::invalid if this is no such file.
[[nodiscard]] result<std::string> read_elf_section(const file_reader& file, std::string_view name,
                                                   std::size_t bytes_max);

/// The same of a file by path, which must be a regular file. errc::io, errc::not_found if it cannot
/// be read.
[[nodiscard]] result<std::string> read_elf_section(const std::string& path, std::string_view name,
                                                   std::size_t bytes_max);

}  // namespace sonder
