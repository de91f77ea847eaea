#include "plugin/elf.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <vector>

namespace sonder {
namespace {

#if defined(__x86_64__)
constexpr Elf64_Half machine_here = EM_X86_64;
#elif defined(__aarch64__)
constexpr Elf64_Half machine_here = EM_AARCH64;
#else
#error "plugins are known on x86-64 and AArch64 only"
#endif
static_assert(std::endian::native == std::endian::little);

status check_header(const Elf64_Ehdr& header) {
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
    return fail(errc::invalid, "not an ELF file");
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB) {
    return fail(errc::invalid, "not a 64-bit little-endian ELF file");
  }
  if (header.e_type != ET_DYN) return fail(errc::invalid, "not a shared library");
  if (header.e_machine != machine_here) {
    return fail(errc::invalid, "built for another processor (ELF machine " +
                                   std::to_string(header.e_machine) + ", this host is " +
                                   std::to_string(machine_here) + ")");
  }
  if (header.e_shentsize != sizeof(Elf64_Shdr) || header.e_shnum == 0 ||
      header.e_shstrndx >= header.e_shnum) {
    return fail(errc::invalid, "its section table is damaged");
  }
  if (header.e_shnum > elf_sections_max) {
    return fail(errc::capacity, "has more than " + std::to_string(elf_sections_max) + " sections");
  }
  return {};
}

/// The section's bytes; a length is believed only as far as `bytes_max`, before anything is
/// allocated.
result<std::string> read_bytes(const file_reader& file, const Elf64_Shdr& section,
                               std::size_t bytes_max, std::string_view called) {
  if (section.sh_size > bytes_max) {
    return fail(errc::capacity, std::string(called) + " has " + std::to_string(section.sh_size) +
                                    " bytes, at most " + std::to_string(bytes_max) + " are read");
  }
  if (section.sh_type == SHT_NOBITS || (section.sh_flags & SHF_COMPRESSED) != 0) {
    return fail(errc::invalid, std::string(called) + " has no plain bytes in the file");
  }
  std::string bytes(section.sh_size, '\0');
  if (!bytes.empty() && !file(section.sh_offset, bytes.data(), bytes.size())) {
    return fail(errc::invalid, std::string(called) + " ends beyond the file");
  }
  return bytes;
}

}  // namespace

result<std::string> read_elf_section(const file_reader& file, std::string_view name,
                                     std::size_t bytes_max) {
  Elf64_Ehdr header;
  if (!file(0, &header, sizeof header))
    return fail(errc::invalid, "not an ELF file: it is too short");
  SONDER_TRY(check_header(header));

  std::vector<Elf64_Shdr> sections(header.e_shnum);
  if (!file(header.e_shoff, sections.data(), sections.size() * sizeof(Elf64_Shdr))) {
    return fail(errc::invalid, "its section table ends beyond the file");
  }
  const auto names = read_bytes(file, sections[header.e_shstrndx], elf_section_names_bytes_max,
                                "the table of section names");
  if (!names) return tl::unexpected(names.error());

  for (const auto& section : sections) {
    if (section.sh_name >= names->size()) continue;
    const auto rest = std::string_view(*names).substr(section.sh_name);
    if (rest.substr(0, rest.find('\0')) != name) continue;
    return read_bytes(file, section, bytes_max, "section " + std::string(name));
  }
  return fail(errc::not_found, "has no section " + std::string(name));
}

result<std::string> read_elf_section(const std::string& path, std::string_view name,
                                     std::size_t bytes_max) {
  // Not blocking, so that a pipe in a plugin folder cannot hang its reader.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    const int why = errno;
    return fail(why == ENOENT ? errc::not_found : errc::io, std::strerror(why));
  }
  struct closer {
    int fd;
    ~closer() { ::close(fd); }
  } const close_at_end{fd};

  struct stat about {};
  if (::fstat(fd, &about) != 0) return fail(errc::io, std::strerror(errno));
  if (!S_ISREG(about.st_mode)) return fail(errc::invalid, "not a regular file");

  const auto size = static_cast<std::uint64_t>(about.st_size);
  return read_elf_section(
      [&](std::uint64_t offset, void* into, std::size_t wanted) {
        if (offset > size || wanted > size - offset) return false;
        auto* to = static_cast<char*>(into);
        while (wanted != 0) {
          const auto got = ::pread(fd, to, wanted, static_cast<off_t>(offset));
          if (got < 0 && errno == EINTR) continue;
          if (got <= 0) return false;
          to += got;
          offset += static_cast<std::uint64_t>(got);
          wanted -= static_cast<std::size_t>(got);
        }
        return true;
      },
      name, bytes_max);
}

}  // namespace sonder
