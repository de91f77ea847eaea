#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "flow/call_watch.h"
#include "flow/counts.h"
#include "flow/graph.h"
#include "flow/parked_rows.h"
#include "flow/rows.h"
#include "flow/services.h"

namespace sonder {

/// One stage's module: what all its instances of the process share. Made and destroyed on the control thread, under the stage's
/// deadline in `calls`, which outlives it.
class stage_module {
 public:
  [[nodiscard]] static result<std::unique_ptr<stage_module>> create(const stage_node& stage,
                                                                    std::shared_ptr<const secret_box> secrets,
                                                                    logger* lines, call_watch& calls);
  ~stage_module();
  stage_module(const stage_module&) = delete;
  stage_module& operator=(const stage_module&) = delete;

  [[nodiscard]] void* get() const noexcept { return module_; }
  [[nodiscard]] const module_services& services() const noexcept { return services_; }
  [[nodiscard]] const stage_node& stage() const noexcept { return stage_; }
  [[nodiscard]] const sonder_plugin& table() const noexcept;
  /// Stage and plugin, for the last words of a worker that a call takes down.
  [[nodiscard]] const char* whose() const noexcept { return whose_.c_str(); }

 private:
  stage_module(const stage_node& stage, std::shared_ptr<const secret_box> secrets, logger* lines, call_watch& calls);
  const stage_node& stage_;
  call_watch& calls_;
  std::string whose_;
  module_services services_;
  void* module_ = nullptr;
};

/// Rows that a call emitted and that its success made count.
struct emitted_rows {
  int edge = -1;
  std::vector<std::int32_t> source_rows;  ///< rows of the space that the call was on
  const ArrowArray* array = nullptr;      ///< "+s"; owned by the batch's memory
};

/// How a worker tells its tasks to end.
struct stop_signs {
  std::atomic<bool> stopping{false};     ///< take up no new batch and wait for no back-off
  volatile std::int32_t cancel = 0;      ///< calls that run should give up: `sonder_batch.cancelled`
};

/// Times of one batch. Milliseconds of the Unix epoch, UTC.
struct batch_times {
  std::int64_t event_time_ms = 0;       ///< greatest event time of the task so far
  std::int64_t processing_time_ms = 0;  ///< when the batch was taken up
  std::int64_t watermark_ms = INT64_MIN;
};

/// Called for each row that ends as a dead letter: its row in the space, and the cause as people read it.
using bury_fn = std::function<status(const row_space& space, std::int32_t row, std::string_view cause)>;

/// One stage in one task: offers it the rows that it may see, and turns what it answers into the rows that go on.
/// Confined to the task's strand. Each call into the plugin is in `calls`, which outlives it.
class stage_runner {
 public:
  [[nodiscard]] static result<std::unique_ptr<stage_runner>> create(const graph& flow, const stage_module& module, log& on,
                                                                    std::int32_t partition, const stop_signs& stop, call_watch& calls);
  ~stage_runner();
  stage_runner(const stage_runner&) = delete;
  stage_runner& operator=(const stage_runner&) = delete;

  /// Runs input `input` on the rows of `in`; `out` (not for tables) becomes the rows that leave. Emitted rows are appended to
  /// `emitted`. Errors end the worker: the plugin is not usable, or the disk failed.
  ///
  /// Rows that ask for a later attempt go to `park` with all later rows of their line, and are counted when they come back; so do
  /// rows whose line waits there already. Where `park` is null, or the input is a table, they hold the task instead.
  [[nodiscard]] status run(std::size_t input, row_space& space, edge_rows& in, const batch_times& times,
                           batch_memory& memory, node_counts& counts, edge_rows& out, std::vector<emitted_rows>& emitted,
                           const bury_fn& bury, const parking* park);

  /// Fires timers that are due: `space` has one row for each entry of `due`, all of them allowed. A call that fails is tried again
  /// row by row; a timer that alone makes it fail is given up and counted as dead-lettered. Fired timers are gone either way.
  [[nodiscard]] status fire(const std::vector<due_timer>& due, row_space& space, const row_base& base, const batch_times& times,
                            batch_memory& memory, node_counts& counts, std::vector<emitted_rows>& emitted);

  /// Whether rows are buried that alone change more state than an epoch may hold. Where they are not, a call that passes this
  /// limit ends the run with errc::capacity: with fewer rows, or less before them, it may fit.
  void bury_what_does_not_fit(bool bury) noexcept { buries_what_does_not_fit_ = bury; }

  [[nodiscard]] instance_services& services() noexcept { return services_; }
  /// The input whose columns have this form; -1 if none has.
  [[nodiscard]] int input_of_form(std::uint64_t form) const noexcept;

 private:
  struct call;
  stage_runner(const graph& flow, const stage_module& module, log& on, std::int32_t partition, const stop_signs& stop,
               call_watch& calls);

  [[nodiscard]] status make_instance();
  void destroy_instance() noexcept;
  [[nodiscard]] status lend(call& c);
  [[nodiscard]] status run_range(call& c, std::int64_t first, std::int64_t count, bool whole);
  [[nodiscard]] status run_segment(call& c, std::int64_t first, std::int64_t count, bool whole);
  [[nodiscard]] bool exhausted(const call& c, std::int64_t i) const;
  [[nodiscard]] bool overtaken(const call& c) const;
  void note_retries(call& c);
  [[nodiscard]] const row_base& without_waiting(call& c, const row_base& base);
  [[nodiscard]] const row_base& hold_back(call& c, const row_base& base);
  [[nodiscard]] status park_rows(call& c);
  [[nodiscard]] status forget_settled(call& c, const row_base& settled);
  void pack(const call& c, std::int32_t row, std::string& to) const;
  [[nodiscard]] std::int64_t due_ms(const call& c, std::int64_t i, std::int32_t attempts) const;
  [[nodiscard]] std::int32_t call_once(call& c, std::int64_t first, std::int64_t count, sonder_error& error);
  template <class Call>
  [[nodiscard]] std::int32_t watched(call& c, const char* function, Call into_plugin);
  template <class Call>
  [[nodiscard]] std::int32_t with_retries(call& c, sonder_error& error, Call once);
  template <class Call>
  [[nodiscard]] result<std::int32_t> answer_of(call& c, Call once);
  [[nodiscard]] std::int32_t judge(call& c, std::int32_t answer, std::uint64_t violations_before);
  [[nodiscard]] std::int32_t fire_once(call& c, const std::vector<due_timer>& due, std::size_t first, std::size_t count,
                                       sonder_error& error);
  void keep_emissions(call& c);
  [[nodiscard]] status keep_columns(call& c, std::int64_t first, std::int64_t count, bool whole);
  [[nodiscard]] status check_output(const call& c, std::int64_t count, bool all_pass) const;
  void drop_output(call& c);
  [[nodiscard]] status pass_on(call& c, const row_base& base, edge_rows& out);
  [[nodiscard]] status withhold_fields(const call& c, edge_rows& out) const;
  [[nodiscard]] status settle(call& c, const row_base& allowed);
  [[nodiscard]] bool sleep_ms(std::int64_t ms) const;
  [[nodiscard]] bool back_off(call& c, std::int64_t ms) const;
  void warn_once(host_cause cause, const std::string& why);

  const graph& flow_;
  const stage_module& module_;
  const stage_node& stage_;
  const stop_signs& stop_;
  call_watch& calls_;
  instance_services services_;
  void* instance_ = nullptr;
  bool buries_what_does_not_fit_ = false;
  std::array<bool, host_causes> told_{};  ///< causes that the log has a line of already
  bool remade_ = false;                 ///< a FATAL has cost an instance already
  std::vector<ArrowSchema> schemas_;    ///< per input: "+s" of its reads
  std::vector<std::uint64_t> forms_;    ///< per input: of its columns, for rows that are parked
  std::unique_ptr<call> call_;
};

}  // namespace sonder
