// sonder/testing/host.h: a host for a plugin's own tests. No Kafka, no flow, nothing kept; rows and
// results are JSON.
//
//   sonder::testing::host h("build/plugins/word_count.so", {.config_json = R"({"unit": "word"})"});
//   auto done = h.process("texts", {R"({"text": "two words"})", R"({"text": ""})"});
//   EXPECT_TRUE(done.ok()) << done.message;
//   EXPECT_EQ(done.rows[0].columns, R"({"words":2})");
//   EXPECT_EQ(done.rows[1].reason, "empty");
//
// It loads the library as the real host does: manifest first, same refusals, same check of the
// configuration, same check of the arrays that come back. It is stricter with what it lends: arrays
// lie in pages of their own, read-only during the call and inaccessible after it, so that a plugin
// that keeps a view, or writes through one, crashes in its test and not at a user.
//
// One thread. C++20, standard library only in this header; link sonder::testing_host.
#ifndef SONDER_TESTING_HOST_H
#define SONDER_TESTING_HOST_H

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace sonder::testing {

/// The plugin, its configuration or a row cannot be used: what the real host would say at start.
class refused : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct host_options {
  std::string config_json = "{}";
  std::string stage = "test";
  std::string purpose = "ServicePersonalisation";
  std::map<std::string, std::string> secrets;  ///< by the manifest's names
  bool trial = false;                          ///< sets SONDER_HOST_TRIAL
  std::vector<std::string> purposes = {
      "ServicePersonalisation"};  ///< what a consent authority is asked for; at most 64
  /// A call that takes longer ends the process with exit code 70, as it ends a worker; 0: no limit
  std::int64_t deadline_ms = 0;
};

/// One row to offer. `json`: an object with the port's reads; other members are passed over.
struct input_row {
  input_row(const char* object) : json(object) {}  // NOLINT: implicit, so that tests read well
  input_row(std::string object) : json(std::move(object)) {}  // NOLINT
  input_row(std::string object, std::string of_subject)
      : json(std::move(object)), subject(std::move(of_subject)) {}

  std::string json;
  std::string subject;  ///< whose row it is: timers and random numbers belong to the subject
  std::optional<std::int64_t> event_time_ms;  ///< default: the host's event time
  std::optional<std::int64_t> timestamp_ms;   ///< default: the event time
  std::optional<std::string> key;
  std::vector<std::pair<std::string, std::optional<std::string>>> headers;
  bool tombstone = false;  ///< no value: every read is null
};

enum class verdict : std::uint8_t { pass, drop, dead_letter, retry };

struct row_outcome {
  verdict what = verdict::pass;
  std::string reason;   ///< of drops and dead letters, by the manifest's name, or by `run`
  std::string message;  ///< of dead letters that `run` made: what happened
  std::uint32_t retry_after_ms = 0;
  std::string columns;                ///< of passed rows: a JSON object with the port's writes
  std::vector<std::string> purposes;  ///< of a consent authority
};

struct emitted_row {
  std::string port;
  std::int64_t source_row = 0;  ///< index in the rows of the call
  std::string json;
};

struct call_outcome {
  int status = 0;  ///< sonder_status: SONDER_OK is 0
  std::string message;
  std::uint32_t retry_after_ms = 0;
  std::vector<row_outcome> rows;     ///< only if the status is SONDER_OK
  std::vector<emitted_row> emitted;  ///< likewise
  [[nodiscard]] bool ok() const { return status == 0; }
};

struct metric_value {
  std::string name;
  std::string label;  ///< value of the declared label; empty if it has none
  double value = 0;
};

/// One module and one instance of a plugin.
class host {
 public:
  /// Loads, checks, creates the module and an instance. Throws `refused`.
  explicit host(const std::string& plugin_path, host_options options = {});
  ~host();
  host(const host&) = delete;
  host& operator=(const host&) = delete;

  /// One call with these rows. A status other than OK undoes the call: state, timers, metrics and
  /// emitted rows are as before. What a plugin hands back is checked as the real host checks it; an
  /// array of the wrong shape, an unknown verdict or a reason that is not declared makes the status
  /// SONDER_FATAL. Throws `refused` for a row that is not what the port reads.
  call_outcome process(std::string_view port, std::span<const input_row> rows);
  call_outcome process(std::string_view port, std::initializer_list<input_row> rows) {
    return process(port, std::span<const input_row>(rows.begin(), rows.size()));
  }

  /// What a flow does with the rows: calls of at most `batch_rows` rows; SONDER_BAD_RECORDS is
  /// narrowed by halves, left to right, to single rows, which end as dead letters with reason
  /// `bad_records`; SONDER_RETRY is repeated `attempts_max` times, after that it is bad records;
  /// SONDER_FATAL makes a new instance once. A row that is not what the port reads is a dead letter
  /// with reason `unreadable`. `status` is OK unless a new instance failed too: then the rows so
  /// far are there. Row numbers of emitted rows count from the first row.
  call_outcome run(std::string_view port, std::span<const input_row> rows,
                   std::int32_t batch_rows = 256);
  static constexpr int attempts_max = 5;

  /// Time. Both stand still unless they are moved; event time never goes back, and rises to the
  /// greatest `event_time_ms` of rows that were processed. Advancing fires the timers that became
  /// due, oldest first; their emitted rows are in the outcome.
  void set_processing_time_ms(std::int64_t to);
  [[nodiscard]] std::int64_t event_time_ms() const;
  [[nodiscard]] std::int64_t processing_time_ms() const;
  call_outcome advance_event_time_ms(std::int64_t to);
  call_outcome advance_processing_time_ms(std::int64_t to);
  [[nodiscard]] std::size_t timers_waiting() const;

  /// The `n`-th service call from now (1: the next) that can fail answers SONDER_FATAL: state/1,
  /// timer/1, secrets/1, emit.
  void fail_service_call(std::uint64_t n);
  /// The next call finds itself cancelled.
  void cancel_next_call();

  /// A new instance in place of the old one, as after a discarded epoch: what the old one kept in
  /// memory is gone, stores are not.
  void new_instance();

  /// Entries of a store, ascending by key.
  [[nodiscard]] std::vector<std::pair<std::string, std::string>> state(
      std::string_view store) const;
  void put_state(std::string_view store, std::string_view key, std::string_view value);
  /// Runs the plugin's `migrate` over the entries of a store, as written by version `from`. Throws
  /// `refused` if it fails.
  void migrate(std::string_view store, std::uint32_t from);

  /// Metrics that have been added to, in the manifest's order, then by label value.
  [[nodiscard]] std::vector<metric_value> metrics() const;
  [[nodiscard]] double metric(std::string_view name, std::string_view label = {}) const;
  [[nodiscard]] const std::vector<std::string>& log_lines() const;

  /// Services used outside of a call or from another thread, indices out of range: refused, and
  /// counted by what happened.
  [[nodiscard]] const std::vector<std::string>& violations() const;
  /// Arrays that the plugin handed over and that their own release callback did not mark as
  /// released.
  [[nodiscard]] std::uint64_t arrays_not_released() const;

  /// The manifest's id; its event ports by name.
  [[nodiscard]] std::string plugin_id() const;
  [[nodiscard]] std::vector<std::string> event_ports() const;

 private:
  struct parts;
  std::unique_ptr<parts> self_;
};

}  // namespace sonder::testing

#endif
