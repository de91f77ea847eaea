#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "plugin/manifest.h"
#include "record/result.h"
#include "sonder/plugin.h"

namespace sonder {

/// What a plugin's file says of itself, read from its section `.sonder_manifest` without running
/// any of its code. Errors start with the path.
[[nodiscard]] result<manifest> read_manifest(const std::string& path);

/// A plugin's library, loaded and agreed with. Immutable, shared between threads, and never
/// unloaded: a library may have threads, thread-local destructors or exit handlers that would run
/// into nothing.
class plugin_library {
 public:
  /// Reads the manifest, refuses what this host cannot serve, and only then loads the file (its
  /// initialisers run) and asks it for its table. Errors start with the path and name what differs.
  /// [control]
  [[nodiscard]] static result<std::shared_ptr<const plugin_library>> load(const std::string& path);

  plugin_library(const plugin_library&) = delete;
  plugin_library& operator=(const plugin_library&) = delete;

  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] const manifest& declared() const noexcept { return declared_; }
  /// The table as this host knows it: functions that the plugin's older header lacked are null.
  [[nodiscard]] const sonder_plugin& calls() const noexcept { return calls_; }

 private:
  plugin_library(std::string path, manifest declared, const sonder_plugin& calls)
      : path_(std::move(path)), declared_(std::move(declared)), calls_(calls) {}
  std::string path_;
  manifest declared_;
  sonder_plugin calls_;
};

/// Checks a plugin's table against this host and its manifest and copies it into `agreed`, zero
/// where it is shorter. Part of `load`.
[[nodiscard]] status negotiate(const sonder_plugin* offered, const manifest& declared,
                               sonder_plugin& agreed);

/// What a call of a plugin answered, made safe: an unknown status is SONDER_FATAL, a message ends,
/// is UTF-8 on one line.
struct call_answer {
  sonder_status status = SONDER_OK;
  std::uint32_t retry_after_ms = 0;
  std::string message;  ///< empty if the status is SONDER_OK
};
[[nodiscard]] call_answer read_answer(std::int32_t returned, const sonder_error& said);

/// An error struct to hand to a call.
[[nodiscard]] inline sonder_error empty_error() {
  sonder_error e{};
  e.struct_size = sizeof e;
  return e;
}

}  // namespace sonder
