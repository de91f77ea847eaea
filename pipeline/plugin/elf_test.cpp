#include "plugin/elf.h"

#include <elf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <iterator>

namespace sonder {
namespace {

using ::testing::HasSubstr;

constexpr std::string_view section_name = ".sonder_manifest";
constexpr std::size_t bytes_max = std::size_t{1} << 20;

std::string library_path() {
  return std::string(SONDER_TESTING_PLUGINS) + "/passthrough.so";
}

std::string library_bytes() {
  std::ifstream in(library_path(), std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

result<std::string> read(const std::string& bytes, std::string_view name = section_name) {
  return read_elf_section(
      [&](std::uint64_t offset, void* into, std::size_t size) {
        if (offset > bytes.size() || size > bytes.size() - offset) return false;
        std::memcpy(into, bytes.data() + offset, size);
        return true;
      },
      name, bytes_max);
}

Elf64_Ehdr& header(std::string& bytes) {
  return *reinterpret_cast<Elf64_Ehdr*>(bytes.data());
}
Elf64_Shdr& section(std::string& bytes, std::size_t i) {
  return reinterpret_cast<Elf64_Shdr*>(bytes.data() + header(bytes).e_shoff)[i];
}
Elf64_Shdr& manifest_section(std::string& bytes) {
  const auto& names = section(bytes, header(bytes).e_shstrndx);
  for (std::size_t i = 0; i < header(bytes).e_shnum; ++i) {
    if (bytes.data() + names.sh_offset + section(bytes, i).sh_name == section_name)
      return section(bytes, i);
  }
  throw std::runtime_error("the test plugin has no manifest");
}

TEST(Elf, ReadsTheSectionOfALibrary) {
  const auto got = read_elf_section(library_path(), section_name, bytes_max);
  ASSERT_TRUE(got.has_value()) << got.error().message;
  EXPECT_THAT(*got, HasSubstr("\"passthrough\""));
  EXPECT_EQ(*got, *read(library_bytes()));
}

TEST(Elf, SaysWhereASectionIsNotThere) {
  const auto got = read(library_bytes(), ".sonder_manifes");
  EXPECT_EQ(got.error().code, errc::not_found);
  EXPECT_EQ(got.error().message, "has no section .sonder_manifes");
}

TEST(Elf, RefusesEveryTruncation) {
  const auto whole = library_bytes();
  // The section table of a linked library is at its end, so that no shorter file has all of it.
  for (std::size_t size = 0; size < whole.size(); size += size < 256 ? 1 : 997) {
    EXPECT_FALSE(read(whole.substr(0, size)).has_value()) << size;
  }
}

TEST(Elf, RefusesSizesAndOffsetsThatLie) {
  const auto message = [](void (*lie)(std::string&)) {
    auto bytes = library_bytes();
    lie(bytes);
    const auto got = read(bytes);
    return got ? "believed" : got.error().message;
  };
  EXPECT_EQ(message([](std::string& b) { manifest_section(b).sh_size = std::uint64_t{1} << 40; }),
            "section .sonder_manifest has 1099511627776 bytes, at most 1048576 are read");
  EXPECT_EQ(message([](std::string& b) { manifest_section(b).sh_offset = ~std::uint64_t{0} - 8; }),
            "section .sonder_manifest ends beyond the file");
  EXPECT_EQ(message([](std::string& b) { manifest_section(b).sh_type = SHT_NOBITS; }),
            "section .sonder_manifest has no plain bytes in the file");
  EXPECT_EQ(message([](std::string& b) { header(b).e_shoff = ~std::uint64_t{0} - 64; }),
            "its section table ends beyond the file");
  EXPECT_EQ(message([](std::string& b) { header(b).e_shstrndx = 60000; }),
            "its section table is damaged");
  EXPECT_EQ(message([](std::string& b) { header(b).e_shnum = 0; }), "its section table is damaged");
  EXPECT_EQ(message([](std::string& b) { header(b).e_shnum = 60000; }),
            "has more than 4096 sections");
  EXPECT_EQ(message([](std::string& b) {
              section(b, header(b).e_shstrndx).sh_size = std::uint64_t{1} << 30;
            }),
            "the table of section names has 1073741824 bytes, at most 1048576 are read");
  EXPECT_EQ(message([](std::string& b) { manifest_section(b).sh_name = 0xFFFFFFFF; }),
            "has no section .sonder_manifest");
}

TEST(Elf, RefusesOtherKindsOfFiles) {
  const auto message = [](void (*change)(std::string&)) {
    auto bytes = library_bytes();
    change(bytes);
    return read(bytes).error().message;
  };
  EXPECT_EQ(message([](std::string& b) { b[0] = '!'; }), "not an ELF file");
  EXPECT_EQ(message([](std::string& b) { b[EI_CLASS] = ELFCLASS32; }),
            "not a 64-bit little-endian ELF file");
  EXPECT_EQ(message([](std::string& b) { header(b).e_type = ET_EXEC; }), "not a shared library");
  EXPECT_THAT(message([](std::string& b) { header(b).e_machine = EM_S390; }),
              HasSubstr("built for another processor"));
}

TEST(Elf, RefusesWhatIsNoRegularFile) {
  EXPECT_EQ(read_elf_section("no/such/file.so", section_name, bytes_max).error().code,
            errc::not_found);
  EXPECT_EQ(read_elf_section("/", section_name, bytes_max).error().message, "not a regular file");
  EXPECT_EQ(read_elf_section("/dev/zero", section_name, bytes_max).error().message,
            "not a regular file");
  const auto pipe = ::testing::TempDir() + "sonder_elf_test_pipe";
  ::unlink(pipe.c_str());
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_EQ(read_elf_section(pipe, section_name, bytes_max).error().message, "not a regular file");
  ::unlink(pipe.c_str());
}

}  // namespace
}  // namespace sonder
