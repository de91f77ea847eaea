#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <memory>
#include <mutex>
#include <thread>

#include "cli/allocator.h"
#include "cli/command.h"
#include "cli/kafka_place.h"
#include "cli/place.h"
#include "cli/secret_files.h"
#include "cli/stop_signal.h"
#include "flow/graph.h"
#include "flow/services.h"
#include "flow/start_wait.h"
#include "flow/worker.h"
#include "log/embedded/embedded_log.h"
#include "log/embedded/socket.h"
#include "observe/http.h"
#include "observe/log.h"
#include "observe/metrics.h"
#include "sonder/plugin.h"

namespace sonder::cli {
namespace {

struct run_options {
  std::string config;
  std::vector<std::string> set;
  std::string profile;
  std::string data_dir;
  std::string log_level = "info";
  bool until_idle = false;
  bool json = false;
  bool quiet = false;
};

/// What `/readyz` answers; written by the worker, read by HTTP threads.
class ready_state {
 public:
  explicit ready_state(gauge& shown) : shown_(shown) {}
  void set(bool ready, const std::string& why) {
    const std::lock_guard lock(mutex_);
    now_ = {ready, why};
    shown_.set(ready ? 1 : 0);
  }
  [[nodiscard]] readiness get() const {
    const std::lock_guard lock(mutex_);
    return now_;
  }

 private:
  mutable std::mutex mutex_;
  readiness now_{false, "starting"};
  gauge& shown_;
};

log_level level_of_syslog(int level) {
  if (level <= 3) return log_level::error;
  if (level == 4) return log_level::warning;
  return level <= 6 ? log_level::info : log_level::debug;
}

std::string progress_text(const worker_progress& p) {
  const auto rate =
      p.seconds > 0 ? static_cast<std::uint64_t>(static_cast<double>(p.records_in) / p.seconds) : 0;
  return fmt::format("{} in, {} out, {} left, {} records/s", grouped(p.records_in),
                     grouped(p.records_out), grouped(p.records_left), grouped(rate));
}

void print_summary(const run_summary& summary, const run_options& options) {
  if (options.json)
    std::cout << to_json(summary) << std::endl;
  else if (!options.quiet)
    std::cout << to_table(summary) << std::flush;
}

int finish(const result<run_summary>& done, const run_options& options) {
  if (!done) {
    const auto code = done.error().code;
    const bool at_start = code == errc::invalid || code == errc::not_found ||
                          code == errc::exists || code == errc::unsupported;
    return refuse(at_start ? exit_cannot_start : exit_failed, done.error());
  }
  print_summary(*done, options);
  if (done->unbalanced.empty()) return exit_ok;
  std::string nodes;
  for (const auto& node : done->unbalanced) nodes += (nodes.empty() ? "" : ", ") + node;
  return refuse(exit_failed,
                "defect: in = passed + dropped + dead-lettered does not hold for " + nodes);
}

/// What the worker was at: as it said last, and what its open transaction does meanwhile.
std::string waits_of(std::string said, const log_figures& now) {
  // It says what it drains as soon as it looks up, and nothing but the log keeps it from that.
  if (said.empty()) said = "waits for the log to answer, since before it was asked";
  if (now.transaction == log_figures::transaction_state::idle) return said;
  return fmt::format("{}; its transaction is {} for {:.0f} s", said, name(now.transaction), now.transaction_seconds);
}

/// Everything around the worker that stands while it runs. Made in this order, gone in the reverse.
struct surroundings {
  metrics of;
  std::unique_ptr<ready_state> ready;
  std::unique_ptr<logger> lines;
  std::unique_ptr<http_server> http;

  status start(const run_options& options, const flow_options& flow) {
    const auto level = parse_log_level(options.log_level);
    if (!level) return tl::unexpected(level.error());
    auto opened =
        logger::open({.at_least = options.quiet ? std::max(*level, log_level::warning) : *level});
    if (!opened) return tl::unexpected(opened.error());
    lines = std::move(*opened);
    lines->count_suppressed(of.counter_of(metric::log_lines_suppressed));
    of.gauge_of(metric::build, {SONDER_VERSION, std::to_string(SONDER_ABI_MAJOR) + "." +
                                                    std::to_string(SONDER_ABI_MINOR)})
        .set(1);
    ready = std::make_unique<ready_state>(of.gauge_of(metric::ready));
    if (flow.http_port < 0) return {};
    auto started =
        http_server::start({.address = flow.http_address, .port = flow.http_port}, of, [this] { return ready->get(); });
    if (!started) return tl::unexpected(started.error());
    http = std::move(*started);
    lines->write(log_level::info, "metrics and health are served",
                 {{"port", static_cast<std::int64_t>(http->port())}});
    return {};
  }
};

/// The log that the worker runs on, and its registry of schemas where that is not the log's own.
struct worker_log {
  std::unique_ptr<log> on;
  std::unique_ptr<schema_registry> schemas;
  std::unique_ptr<write_server> others;  ///< `sonder produce` and `demo` write through this process to an embedded log

  status open(const flow_options& flow, logger& lines) {
    if (flow.log.kind == "kafka") {
      auto opened = open_on_kafka(flow, kafka_use::worker, [&lines](int level, std::string_view text) {
        lines.write(level_of_syslog(level), "kafka client", {{"says", std::string(text)}});
      });
      if (!opened) return tl::unexpected(opened.error());
      on = std::move(opened->on);
      schemas = std::move(opened->schemas);
      return {};
    }
    embedded_options how;
    how.fsync = flow.log.fsync;
    auto opened = open_embedded_log(flow.log.dir, how);
    if (!opened) return tl::unexpected(opened.error());
    auto serving = write_server::start(**opened);
    if (!serving) return tl::unexpected(serving.error());
    on = std::move(*opened);
    others = std::move(*serving);
    return {};
  }
};

int run_flow(const run_options& options) {
  const auto& stop = stop_requests();  // from here on SIGTERM drains, also before there is something to drain
  const auto overrides = overrides_of(options.set, options.profile, options.data_dir);
  if (!overrides) return refuse(exit_usage, overrides.error());
  const auto flow = read_flow(options.config, *overrides);
  if (!flow) return refuse(exit_cannot_start, flow.error());
  const auto checked = check_flow(*flow, true);
  for (const auto& d : checked.diagnostics) std::cerr << to_string(d) << '\n';
  if (checked.flow == nullptr) return exit_cannot_start;
  for (const auto& d : open_secrets(*flow)) std::cerr << to_string(d) << '\n';
  // Before a folder or topic is made that would stay behind.
  if (const auto secrets = secret_box::read(*flow); !secrets) return refuse(exit_cannot_start, secrets.error());

  bound_heaps(flow->threads);
  surroundings around;
  if (const auto started = around.start(options, *flow); !started)
    return refuse(exit_cannot_start, started.error());
  progress_line progress(options.quiet);
  worker_options worker;
  worker.until_idle = options.until_idle;
  worker.observe = &around.of;
  worker.lines = around.lines.get();
  worker.stop = &stop;
  worker.readiness = [&](bool ready, const std::string& why) { around.ready->set(ready, why); };
  if (progress.shown())
    worker.progress = [&](const worker_progress& p) { progress.show(progress_text(p)); };
  worker_log on;
  std::atomic<const log*> opened_log = nullptr;  // null: it is still waited for
  const auto leave = [&](const std::string& why) {
    const auto* asked = opened_log.load();
    around.lines->write(log_level::error,
                        "left before all was drained; what was not committed is read again",
                        {{"why", why}, {"worker", waits_of(around.ready->get().why, asked == nullptr ? log_figures() : asked->figures())}});
    std::_Exit(exit_failed);  // a thread inside of a plugin, or of a client, cannot be ended in another way
  };
  const stop_watch watch(stop, std::chrono::milliseconds(flow->drain_ms_max), leave);
  start_wait waits(worker, flow->log.kind == "kafka" ? flow->start_patience_ms : 0);
  if (const auto opened = waits.until_there("the log", [&] { return on.open(*flow, *around.lines); }); !opened) {
    if (opened.error().code == errc::cancelled) return exit_ok;  // asked to stop, with nothing begun
    return refuse(exit_cannot_start, opened.error());
  }
  opened_log = on.on.get();
  worker.schemas = on.schemas.get();
  const auto done = run_worker(checked.flow, *on.on, worker);
  progress.clear();
  return finish(done, options);
}

}  // namespace

void add_run(CLI::App& app, chosen_command& chosen) {
  auto* command = app.add_subcommand(
      "run", "Run a flow as a worker, until stopped or until nothing is left to do");
  const auto options = std::make_shared<run_options>();
  command->add_option("CONFIG", options->config, "Flow configuration")->required();
  command->add_flag("--until-idle", options->until_idle,
                    "Leave once the sources are drained and committed");
  command->add_option("--set", options->set, "Change one value of the configuration: a.b=c")
      ->type_name("PATH=VALUE")
      ->allow_extra_args(false);
  command->add_option("--profile", options->profile, "Profile of the configuration")
      ->type_name("NAME");
  command->add_option("--data-dir", options->data_dir, "Folder of the embedded log")
      ->type_name("DIR");
  command->add_option("--log-level", options->log_level, "debug, info, warning or error")
      ->type_name("LEVEL")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}));
  command->add_flag("--json", options->json, "End with the summary as one JSON object");
  command->add_flag("--quiet", options->quiet, "No progress, no table, no log below warning");
  command->footer(
      "SIGTERM or SIGINT drains within run.drain_max of the configuration; a second one leaves at "
      "once and loses nothing. A worker that starts waits for brokers and registry that do not answer "
      "(run.start_patience).\n"
      "Exit codes: 0 done, 2 usage, 3 cannot start, 4 failed, 70 a plugin call passed its "
      "deadline.\n\n"
      "Example:\n  sonder run config/quickstart.yaml --until-idle --set "
      "stages.sentiment.config.emotions=false");
  command->callback([&chosen, options] { chosen = [options] { return run_flow(*options); }; });
}

}  // namespace sonder::cli
