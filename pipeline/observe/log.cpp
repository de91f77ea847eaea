#include "observe/log.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <mutex>

#include "observe/metrics.h"

namespace sonder {
namespace {

using clock = std::chrono::system_clock;

constexpr std::array<std::string_view, 4> level_names = {"debug", "info", "warning", "error"};

std::string_view cut(std::string_view text) {
  if (text.size() <= logger::line_bytes_max) return text;
  std::size_t end = logger::line_bytes_max;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80)
    --end;  // not inside a UTF-8 sequence
  return text.substr(0, end);
}

void append_json_text(fmt::memory_buffer& to, std::string_view text) {
  to.push_back('"');
  for (const char c : cut(text)) {
    if (c == '"' || c == '\\') {
      to.push_back('\\');
      to.push_back(c);
    } else if (static_cast<unsigned char>(c) < 0x20) {
      fmt::format_to(std::back_inserter(to), "\\u{:04x}", static_cast<unsigned>(c));
    } else {
      to.push_back(c);
    }
  }
  to.push_back('"');
}

// A value must not be able to forge another line or field.
void append_plain_text(fmt::memory_buffer& to, std::string_view text) {
  const auto needs_quotes = [](char c) {
    return static_cast<unsigned char>(c) <= 0x20 || c == '"' || c == '=';
  };
  if (text.empty() || std::any_of(text.begin(), text.end(), needs_quotes)) {
    append_json_text(to, text);
  } else {
    const auto shown = cut(text);
    to.append(shown.data(), shown.data() + shown.size());
  }
}

void append_value(fmt::memory_buffer& to, const log_field& field, bool json) {
  if (const auto* text = std::get_if<std::string_view>(&field.value)) {
    json ? append_json_text(to, *text) : append_plain_text(to, *text);
  } else if (const auto* whole = std::get_if<std::int64_t>(&field.value)) {
    fmt::format_to(std::back_inserter(to), "{}", *whole);
  } else if (const auto* number = std::get_if<double>(&field.value)) {
    fmt::format_to(std::back_inserter(to), "{}", *number);
  } else {
    fmt::format_to(std::back_inserter(to), "{}", std::get<bool>(field.value));
  }
}

void append_plain_message(fmt::memory_buffer& to, std::string_view message) {
  for (const char c : cut(message)) to.push_back(static_cast<unsigned char>(c) < 0x20 ? ' ' : c);
}

using field_list = std::initializer_list<log_field>;

void format_json(fmt::memory_buffer& to, clock::time_point at, log_level level,
                 std::string_view message, field_list fields, std::uint64_t left_out) {
  const auto ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(at.time_since_epoch()).count();
  fmt::format_to(std::back_inserter(to), R"({{"at":"{:%FT%T}.{:03}Z","level":"{}","message":)",
                 fmt::gmtime(clock::to_time_t(at)), ms % 1000, name(level));
  append_json_text(to, message);
  for (const auto& field : fields) {
    to.push_back(',');
    append_json_text(to, field.name);
    to.push_back(':');
    append_value(to, field, true);
  }
  if (left_out != 0) fmt::format_to(std::back_inserter(to), R"(,"lines_left_out":{})", left_out);
  to.push_back('}');
}

void format_text(fmt::memory_buffer& to, clock::time_point at, log_level level,
                 std::string_view message, field_list fields, std::uint64_t left_out) {
  const auto ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(at.time_since_epoch()).count();
  fmt::format_to(std::back_inserter(to), "{:%T}.{:03} {} ", fmt::gmtime(clock::to_time_t(at)),
                 ms % 1000, name(level));
  append_plain_message(to, message);
  for (const auto& field : fields) {
    to.push_back(' ');
    to.append(field.name.data(), field.name.data() + field.name.size());
    to.push_back('=');
    append_value(to, field, false);
  }
  if (left_out != 0) fmt::format_to(std::back_inserter(to), " lines_left_out={}", left_out);
}

}  // namespace

std::string_view name(log_level level) noexcept {
  return level_names[static_cast<std::size_t>(level)];
}

result<log_level> parse_log_level(std::string_view text) {
  for (std::size_t i = 0; i < level_names.size(); ++i)
    if (level_names[i] == text) return static_cast<log_level>(i);
  return fail(errc::invalid, "log level must be debug, info, warning or error, found \"" +
                                 std::string(text) + "\"");
}

struct logger::parts {
  log_options options;
  bool json = false;
  std::shared_ptr<spdlog::sinks::sink> sink;

  std::mutex mutex;
  double tokens = 0;
  std::chrono::steady_clock::time_point filled_at;
  std::uint64_t left_out = 0;
  counter* suppressed = nullptr;

  // True if a line may go now; `before` is how many were left out since the last that did.
  bool admit(std::uint64_t& before) {
    const std::lock_guard lock(mutex);
    const auto now = std::chrono::steady_clock::now();
    const double passed_s = std::chrono::duration<double>(now - filled_at).count();
    filled_at = now;
    tokens = std::min(options.burst_lines_max, tokens + passed_s * options.lines_per_second_max);
    if (tokens < 1) {
      ++left_out;
      if (suppressed != nullptr) suppressed->add();
      return false;
    }
    tokens -= 1;
    before = left_out;
    left_out = 0;
    return true;
  }
};

logger::logger(std::unique_ptr<parts> p) : parts_(std::move(p)) {}
logger::~logger() = default;

result<std::unique_ptr<logger>> logger::open(const log_options& options) {
  auto p = std::make_unique<parts>();
  p->options = options;
  p->json =
      options.form == log_form::json || (options.form == log_form::automatic &&
                                         (!options.file.empty() || ::isatty(STDERR_FILENO) == 0));
  p->tokens = options.burst_lines_max;
  p->filled_at = std::chrono::steady_clock::now();
  try {
    if (options.file.empty())
      p->sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
    else
      p->sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(options.file);
    p->sink->set_pattern("%v");
  } catch (const spdlog::spdlog_ex& e) {
    return fail(errc::io, "cannot open the log file " + options.file + ": " + e.what());
  }
  return std::unique_ptr<logger>(new logger(std::move(p)));
}

bool logger::wants(log_level level) const noexcept {
  return level >= parts_->options.at_least;
}

void logger::count_suppressed(counter& of) noexcept {
  const std::lock_guard lock(parts_->mutex);
  parts_->suppressed = &of;
}

void logger::write(log_level level, std::string_view message,
                   std::initializer_list<log_field> fields) noexcept try {
  if (!wants(level)) return;
  std::uint64_t left_out = 0;
  if (!parts_->admit(left_out)) return;
  fmt::memory_buffer line;
  const auto now = clock::now();
  if (parts_->json)
    format_json(line, now, level, message, fields, left_out);
  else
    format_text(line, now, level, message, fields, left_out);
  const spdlog::details::log_msg out("sonder", spdlog::level::info,
                                     spdlog::string_view_t(line.data(), line.size()));
  parts_->sink->log(out);
  parts_->sink->flush();
} catch (const std::exception&) {
  // A full disk or want of memory: the log must never stop the work it tells about, and there is
  // nowhere left to say so but the counter.
  if (parts_->suppressed != nullptr) parts_->suppressed->add();
}

}  // namespace sonder
