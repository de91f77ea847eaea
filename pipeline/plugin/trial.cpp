#include "plugin/trial.h"

#include <istream>
#include <ostream>
#include <streambuf>

#include "avro/json.h"
#include "plugin/config_schema.h"
#include "plugin/library.h"
#include "plugin/strict_json.h"
#include "sonder/testing/host.h"

namespace sonder {
namespace {

constexpr std::string_view verdict_names[] = {"pass", "drop", "dead_letter", "retry"};
constexpr std::size_t row_depth_max = 64;

enum class line_end { newline, file, too_long };

/// One line, of at most `json_row_reader::row_bytes_max` bytes; the rest of a longer one is
/// skipped.
line_end read_line(std::streambuf& from, std::string& line) {
  constexpr auto end = std::streambuf::traits_type::eof();
  line.clear();
  bool too_long = false;
  for (auto c = from.sbumpc(); c != end; c = from.sbumpc()) {
    if (c == '\n') return too_long ? line_end::too_long : line_end::newline;
    too_long = too_long || line.size() >= json_row_reader::row_bytes_max;
    if (!too_long) line += static_cast<char>(c);
  }
  return too_long ? line_end::too_long : line_end::file;
}

bool is_blank(std::string_view line) {
  return line.find_first_not_of(" \t\r") == std::string_view::npos;
}

/// Whose row it is, for plugins that draw random numbers or set timers.
std::string subject_of(const std::string& row) {
  const auto parsed = parse_strict_json(row, json_row_reader::row_bytes_max, row_depth_max);
  if (!parsed || !parsed->is_object() || !parsed->contains("subject_id")) return {};
  const auto& subject = (*parsed)["subject_id"];
  return subject.is_string() ? subject.get<std::string>() : std::string();
}

class trial {
 public:
  trial(const std::string& path, const manifest& of, const trial_options& options,
        std::ostream& out)
      : host_(path, host_options(options)),
        port_(options.port.empty() ? first_event_port(of) : options.port),
        batch_rows_(options.batch_rows),
        wants_subjects_(of.asks_for("random/1") || of.asks_for("timer/1")),
        out_(out) {}

  status run(std::istream& in) {
    std::string line;
    for (auto end = line_end::newline; end != line_end::file;) {
      end = read_line(*in.rdbuf(), line);
      // Cut short, it is no JSON and becomes a dead letter like any other row that cannot be read.
      if (end == line_end::too_long) line.resize(1);
      if (is_blank(line)) continue;
      pending_.emplace_back(line, wants_subjects_ ? subject_of(line) : std::string());
      if (static_cast<std::int32_t>(pending_.size()) == batch_rows_) SONDER_TRY(flush());
    }
    return flush();
  }
  [[nodiscard]] const trial_summary& summary() const { return summary_; }

 private:
  static testing::host_options host_options(const trial_options& options) {
    testing::host_options made;
    made.config_json = options.config_json;
    made.stage = "trial";
    made.purpose = options.purpose;
    made.purposes = {options.purpose};
    made.trial = true;
    made.deadline_ms = options.deadline_ms;
    return made;
  }

  static std::string first_event_port(const manifest& of) {
    for (const auto& in : of.inputs) {
      if (in.role == input_role::event) return in.name;
    }
    return of.inputs.front().name;
  }

  status flush() {
    if (pending_.empty()) return {};
    testing::call_outcome made;
    try {
      made = host_.run(port_, pending_, batch_rows_);
    } catch (const testing::refused& e) {  // it made no new instance after a call that took the old one
      made.status = SONDER_FATAL;
      made.message = e.what();
    }
    std::vector<std::vector<const testing::emitted_row*>> emitted(made.rows.size());
    for (const auto& e : made.emitted)
      emitted[static_cast<std::size_t>(e.source_row)].push_back(&e);
    for (std::size_t i = 0; i < made.rows.size(); ++i) {
      text_ = "{\"row\":" + std::to_string(summary_.rows);
      append_outcome(made.rows[i]);
      append_emitted(emitted[i]);
      text_ += "}\n";
      out_.write(text_.data(), static_cast<std::streamsize>(text_.size()));
      count(made.rows[i]);
    }
    pending_.clear();
    out_.flush();
    if (!out_) return fail(errc::unavailable, "the output cannot be written");
    if (!made.ok())
      return fail(errc::unavailable,
                  "row " + std::to_string(summary_.rows) + " or later: " + made.message);
    return {};
  }

  void append_member(std::string_view name, std::string_view value) {
    text_ += ",\"" + std::string(name) + "\":";
    append_json_string(value, text_);
  }

  void append_outcome(const testing::row_outcome& row) {
    append_member("verdict", verdict_names[static_cast<std::size_t>(row.what)]);
    if (!row.reason.empty()) append_member("reason", row.reason);
    if (!row.message.empty()) append_member("message", row.message);
    if (row.what == testing::verdict::retry)
      text_ += ",\"retry_after_ms\":" + std::to_string(row.retry_after_ms);
    if (!row.columns.empty()) text_ += ",\"columns\":" + row.columns;
    if (row.purposes.empty()) return;
    text_ += ",\"purposes\":[";
    for (const auto& p : row.purposes) {
      if (text_.back() != '[') text_ += ',';
      append_json_string(p, text_);
    }
    text_ += ']';
  }

  void append_emitted(const std::vector<const testing::emitted_row*>& of_row) {
    bool any = false;
    for (const auto* emitted : of_row) {
      const auto& e = *emitted;
      text_ += any ? "," : ",\"emitted\":[";
      any = true;
      text_ += "{\"port\":";
      append_json_string(e.port, text_);
      text_ += ",\"row\":" + e.json + "}";
    }
    if (any) text_ += ']';
  }

  void count(const testing::row_outcome& row) {
    ++summary_.rows;
    if (row.what == testing::verdict::pass) ++summary_.passed;
    if (row.what == testing::verdict::drop) ++summary_.dropped;
    if (row.what == testing::verdict::retry) ++summary_.retried;
    if (row.what != testing::verdict::dead_letter) return;
    ++summary_.dead_lettered;
    if (row.reason == "unreadable") ++summary_.unreadable;
  }

  testing::host host_;
  std::string port_;
  std::int32_t batch_rows_;
  bool wants_subjects_;
  std::ostream& out_;
  std::vector<testing::input_row> pending_;
  std::string text_;
  trial_summary summary_;
};

}  // namespace

result<trial_summary> run_trial(const std::string& plugin_path, const trial_options& options,
                                std::istream& in, std::ostream& out) {
  const auto declared = read_manifest(plugin_path);
  if (!declared) return tl::unexpected(declared.error());
  if (!options.port.empty() && declared->input(options.port) < 0) {
    std::vector<std::string> known;
    std::string all;
    for (const auto& port : declared->inputs) {
      known.push_back(port.name);
      all += (all.empty() ? "" : ", ") + port.name;
    }
    return fail(errc::not_found, plugin_path + ": plugin \"" + declared->id + "\" has no input \"" + options.port + "\"; it has " + all +
                                     did_you_mean(options.port, known));
  }
  try {
    trial run(plugin_path, *declared, options, out);
    if (auto done = run.run(in); !done) return tl::unexpected(done.error().at(plugin_path));
    return run.summary();
  } catch (const testing::refused& e) {
    return fail(errc::invalid, e.what());
  }
}

}  // namespace sonder
