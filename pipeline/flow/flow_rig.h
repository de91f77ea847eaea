#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "flow/worker.h"
#include "log/embedded/embedded_log.h"

namespace sonder {

/// Labelled as data about nobody: what labels allow is tested with the graph.
inline constexpr auto plain_event_schema = R"({"type":"record","name":"event","fields":[
  {"name":"event_id","type":"string","sonder.privacy":{"categories":[]}},
  {"name":"subject_id","type":"string","sonder.privacy":{"categories":[]}},
  {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"},"sonder.privacy":{"categories":[]}},
  {"name":"text","type":"string","sonder.privacy":{"categories":[]}}]})";
/// What the plugin `counter` makes of these events.
inline constexpr auto counted_schema = R"({"type":"record","name":"counted","fields":[
  {"name":"event_id","type":"string","sonder.privacy":{"categories":[]}},
  {"name":"count","type":"long","sonder.privacy":{"categories":[]}}]})";
inline constexpr auto counted_of_subject_schema = R"({"type":"record","name":"counted","fields":[
  {"name":"event_id","type":"string","sonder.privacy":{"categories":[]}},
  {"name":"subject_id","type":"string","sonder.privacy":{"categories":[]}},
  {"name":"count","type":"long","sonder.privacy":{"categories":[]}}]})";

/// A row of `plain_event_schema`.
[[nodiscard]] std::string event(const std::string& id, const std::string& subject, std::int64_t at, const std::string& text = "t");
/// A row of the shipped `consent.avsc`.
[[nodiscard]] std::string decision(const std::string& subject, const std::string& what, std::int64_t at,
                                   const std::string& purpose = "ServicePersonalisation");
/// The folder of the shipped schemas.
[[nodiscard]] std::string shipped_schemas();

/// A whole flow in a temporary folder, for tests: configuration, schemas, an embedded log, and rows in and out as JSON.
/// Fails the test it is used in by exceptions, which GoogleTest reports.
class flow_rig {
 public:
  flow_rig();
  ~flow_rig();
  flow_rig(const flow_rig&) = delete;
  flow_rig& operator=(const flow_rig&) = delete;

  /// A file beside the configuration; a schema's path in the configuration is relative to it.
  void file(const std::string& name, const std::string& text);
  /// Parses and checks the flow; plugins come from this build. `${DIR}` stands for the rig's folder.
  void flow(const std::string& yaml);
  /// The findings of the last `flow`, one a line.
  [[nodiscard]] const std::string& findings() const { return findings_; }
  [[nodiscard]] const graph& checked() const;

  /// Appends JSON rows to a topic of the flow, keyed and timed as it says. A row's timestamp is its event time.
  void give(const std::string& topic, const std::vector<std::string>& json_rows);
  /// Appends one record of raw bytes to a partition.
  void give_raw(const std::string& topic, std::int32_t partition, const std::string& key, const std::string& value,
                std::int64_t timestamp_ms = 1'000);
  void give_tombstone(const std::string& topic, std::int32_t partition, const std::string& key);

  /// Runs until idle; the summary's counts must balance.
  run_summary run();
  [[nodiscard]] result<run_summary> try_run();
  /// As `try_run`, through a log of the test's own that stands before the rig's.
  [[nodiscard]] result<run_summary> try_run_on(log& through);
  worker_options& options() { return options_; }
  /// What workers that `act` runs write to their log, as JSON lines.
  [[nodiscard]] std::string lines_of(const std::function<void()>& act);

  /// Values of all records of a topic as JSON, partition after partition; sorted, since partitions have no common order.
  [[nodiscard]] std::vector<std::string> records(const std::string& topic);
  /// `stage:cause` of each dead letter.
  [[nodiscard]] std::vector<std::string> dead_letters();
  [[nodiscard]] std::vector<log_record> raw(const std::string& topic, std::int32_t partition);

  /// Closes the log as a crash would find it, and opens it again.
  void reopen(embedded_options options = {});
  [[nodiscard]] embedded_log& on() { return *log_; }
  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }

 private:
  [[nodiscard]] const topic_options& topic(const std::string& name) const;
  void ensure_topics();

  std::filesystem::path folder_;
  bool outermost_;  ///< of this process and, in a death test's, of its parent
  std::shared_ptr<const graph> graph_;
  std::string findings_;
  std::unique_ptr<embedded_log> log_;
  worker_options options_;
  std::vector<std::unique_ptr<record_block>> read_;
};

/// The counts of one port; fails the test if the summary has no such port.
[[nodiscard]] const port_counts& port(const run_summary& summary, const std::string& node, const std::string& name);

}  // namespace sonder
