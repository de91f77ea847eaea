#pragma once

namespace sonder {

/// Stands while a thread is inside of a plugin, so that a crash there names the plugin.
///
/// Costs two writes to thread-local memory. Nests: the inner one counts.
class plugin_call {
 public:
  /// `whose` is what `say_last_words` prints: stage and plugin, nothing of a record. Lives as long as this.
  explicit plugin_call(const char* whose) noexcept;
  ~plugin_call();
  plugin_call(const plugin_call&) = delete;
  plugin_call& operator=(const plugin_call&) = delete;

  /// Whether this thread is inside of a call that was made with this very `whose`.
  [[nodiscard]] static bool is_inside(const char* whose) noexcept;

 private:
  const char* outer_;
};

/// From now on a signal that ends the process for a defect (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT) first writes one line to
/// standard error that says in whose call the thread was; the process then ends by that signal as it would have. Called once,
/// before other threads start.
void say_last_words();

/// What that line says after a plugin's name, where it is not a worker that ends: what is lost. A literal. Any thread.
void say_after_crash(const char* what) noexcept;

}  // namespace sonder
