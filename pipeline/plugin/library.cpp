#include "plugin/library.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstring>

#include "plugin/elf.h"
#include "record/column.h"

namespace sonder {
namespace {

constexpr const char* manifest_section = ".sonder_manifest";
constexpr const char* entry_symbol = "sonder_plugin_entry";

std::string version_text(unsigned major, unsigned minor) {
  return std::to_string(major) + "." + std::to_string(minor);
}

/// The size of the table in ABI 1.0: what every plugin has at least.
constexpr std::size_t table_size_1_0 =
    offsetof(sonder_plugin, migrate) + sizeof(sonder_plugin::migrate);

}  // namespace

result<manifest> read_manifest(const std::string& path) {
  const auto bytes = read_elf_section(path, manifest_section, manifest_bytes_max);
  if (!bytes) {
    if (bytes.error().code == errc::not_found &&
        bytes.error().message.starts_with("has no section")) {
      return fail(errc::invalid,
                  path + ": " + bytes.error().message +
                      ", so it is no Sonder plugin; build it with sonder_plugin() of the SDK");
    }
    return tl::unexpected(bytes.error().at(path));
  }
  auto made = parse_manifest(*bytes);
  if (!made) return tl::unexpected(made.error().at(path));
  return made;
}

status negotiate(const sonder_plugin* offered, const manifest& declared, sonder_plugin& agreed) {
  agreed = sonder_plugin{};
  if (offered == nullptr)
    return fail(errc::invalid, std::string(entry_symbol) + " answered no table");
  if (offered->struct_size < table_size_1_0) {
    return fail(errc::invalid,
                "struct_size of its table is " + std::to_string(offered->struct_size) +
                    ", sonder " + version_text(SONDER_ABI_MAJOR, 0) + " has " +
                    std::to_string(table_size_1_0) + "; set it to sizeof(sonder_plugin)");
  }
  // Fields past what this host knows belong to a later minor: the manifest has none, so they cannot
  // matter.
  std::memcpy(&agreed, offered, std::min<std::size_t>(offered->struct_size, sizeof agreed));
  if (agreed.abi_major != declared.abi_major || agreed.abi_minor != declared.abi_minor) {
    return fail(errc::invalid, "its manifest says sonder ABI " +
                                   version_text(declared.abi_major, declared.abi_minor) +
                                   ", its table " +
                                   version_text(agreed.abi_major, agreed.abi_minor) +
                                   "; rebuild it with one version of sonder");
  }
  const auto lacks = [](const char* what) {
    return fail(errc::invalid, std::string("its table lacks ") + what);
  };
  if (agreed.module_create == nullptr) return lacks("module_create");
  if (agreed.module_destroy == nullptr) return lacks("module_destroy");
  if (agreed.instance_create == nullptr) return lacks("instance_create");
  if (agreed.instance_destroy == nullptr) return lacks("instance_destroy");
  if (agreed.process == nullptr) return lacks("process");
  if (agreed.fire == nullptr && !declared.timers.empty())
    return lacks("fire, and its manifest declares timers");
  return {};
}

result<std::shared_ptr<const plugin_library>> plugin_library::load(const std::string& path) {
  auto declared = read_manifest(path);
  if (!declared) return tl::unexpected(declared.error());

  // A path without a slash would be looked for in the system's folders: another file than the one
  // that was read.
  const auto exact = path.find('/') == std::string::npos ? "./" + path : path;
  void* handle = ::dlopen(exact.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* why = ::dlerror();
    return fail(errc::invalid,
                path + ": cannot be loaded: " + (why == nullptr ? "unknown reason" : why));
  }
  const auto entry = reinterpret_cast<sonder_plugin_entry_fn>(::dlsym(handle, entry_symbol));
  if (entry == nullptr) return fail(errc::invalid, path + ": does not export " + entry_symbol);
  sonder_plugin agreed;
  if (auto fits = negotiate(entry(), *declared, agreed); !fits)
    return tl::unexpected(fits.error().at(path));
  return std::shared_ptr<const plugin_library>(
      new plugin_library(path, std::move(*declared), agreed));
}

call_answer read_answer(std::int32_t returned, const sonder_error& said) {
  if (returned == SONDER_OK) return {};
  call_answer made;
  const std::size_t size = ::strnlen(said.message, sizeof said.message);
  made.message.assign(said.message, size);
  made.retry_after_ms = said.retry_after_ms;
  if (!is_utf8(reinterpret_cast<const std::uint8_t*>(made.message.data()), made.message.size())) {
    made.message = "(its message is not UTF-8)";
  }
  std::replace_if(
      made.message.begin(), made.message.end(),
      [](unsigned char c) { return c < 0x20 || c == 0x7F; }, ' ');
  if (made.message.empty()) made.message = "(without a message)";
  if (returned < SONDER_OK || returned > SONDER_CANCELLED) {
    made.status = SONDER_FATAL;
    made.message = "answered the unknown status " + std::to_string(returned);
    return made;
  }
  made.status = static_cast<sonder_status>(returned);
  return made;
}

}  // namespace sonder
