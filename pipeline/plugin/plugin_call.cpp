#include "plugin/plugin_call.h"

#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstddef>
#include <cstring>

namespace sonder {

namespace {

// Read by a signal handler of the same thread only.
thread_local const char* volatile inside_of = nullptr;

// A plugin that has used up its stack leaves the handler none: each thread that calls plugins brings another one.
constexpr std::size_t handler_stack_bytes = 32 << 10;
thread_local bool has_handler_stack = false;
alignas(16) thread_local char handler_stack[handler_stack_bytes];
bool handlers_stand = false;

std::atomic<const char*> after_crash = "what is not committed is read again by the next run. Look at the plugin alone with: sonder try";
static_assert(std::atomic<const char*>::is_always_lock_free, "a signal handler may not take a lock");

struct fatal_signal {
  int number;
  const char* name;
};
constexpr fatal_signal fatal_signals[] = {
    {SIGSEGV, "SIGSEGV"}, {SIGBUS, "SIGBUS"}, {SIGFPE, "SIGFPE"}, {SIGILL, "SIGILL"}, {SIGABRT, "SIGABRT"}};

// Only what POSIX allows in a handler: no allocation, no lock, no stdio.
void write_words(const char* words) {
  std::size_t left = std::strlen(words);
  while (left > 0) {
    const auto written = ::write(STDERR_FILENO, words, left);
    if (written <= 0) return;
    words += written;
    left -= static_cast<std::size_t>(written);
  }
}

void last_words(int number) {
  const char* name = "a signal";
  for (const auto& one : fatal_signals) {
    if (one.number == number) name = one.name;
  }
  const char* whose = inside_of;
  write_words("sonder: ");
  write_words(name);
  write_words(whose != nullptr ? " inside of " : " outside of every plugin's call");
  if (whose != nullptr) write_words(whose);
  write_words("; ");
  write_words(whose != nullptr ? after_crash.load()
                               : "what is not committed is read again by the next run. The defect is in sonder or in a thread of a plugin");
  write_words("\n");
  // SA_RESETHAND has put the default action back.
  ::raise(number);
}

}  // namespace

plugin_call::plugin_call(const char* whose) noexcept : outer_(inside_of) {
  inside_of = whose;
  if (has_handler_stack || !handlers_stand) return;
  has_handler_stack = true;
  stack_t now{};
  if (::sigaltstack(nullptr, &now) == 0 && (now.ss_flags & SS_DISABLE) == 0) return;  // a sanitizer has brought one
  stack_t own{};
  own.ss_sp = handler_stack;
  own.ss_size = sizeof handler_stack;
  ::sigaltstack(&own, nullptr);
}

plugin_call::~plugin_call() { inside_of = outer_; }

bool plugin_call::is_inside(const char* whose) noexcept { return inside_of == whose; }

void say_last_words() {
  struct sigaction action {};
  action.sa_handler = last_words;
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_ONSTACK | SA_NODEFER);
  sigemptyset(&action.sa_mask);
  for (const auto& one : fatal_signals) ::sigaction(one.number, &action, nullptr);
  handlers_stand = true;
}

void say_after_crash(const char* what) noexcept { after_crash = what; }

}  // namespace sonder
