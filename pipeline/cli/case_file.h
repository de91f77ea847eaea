#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "avro/schema.h"
#include "record/result.h"

namespace sonder::cli {

/// One step of a case: an event for a topic, or "run until idle" (no topic).
struct case_step {
  std::string topic;
  std::string json;  ///< the event as one JSON object
  std::string place;  ///< `line:column`
};

/// What one case expects. Counts by node, then by reason or cause.
struct case_expectation {
  /// Topic -> its records, in any order, each as a JSON object in which only the named fields are
  /// looked at.
  std::map<std::string, std::vector<std::string>> records;
  std::map<std::string, std::vector<std::string>> record_places;  ///< `line:column` of each of them
  std::map<std::string, std::string> places;                     ///< and of each topic and stage that is named
  std::map<std::string, std::map<std::string, std::uint64_t>> dropped;
  /// By stage; stays empty where the case says nothing, and then there may be no dead letter.
  std::map<std::string, std::map<std::string, std::uint64_t>> dead_letters;
};

/// A flow's test as text: what is given, what comes out.
struct flow_case {
  std::string name;
  std::string file;
  int line = 0;
  std::string flow;  ///< path, resolved against the case's folder
  std::vector<std::pair<std::string, std::string>> set;
  std::string profile;
  std::vector<case_step> given;
  case_expectation expect;
};

/// The cases of one YAML file, one a document:
///
///     case: withdrawal stops what is already waiting
///     flow: ../quickstart.yaml
///     given:
///       - consent: {subject_id: ana, purpose: ServicePersonalisation, decision: granted, at:
///       10:00}
///       - journal: {subject_id: ana, event_id: e1, at: 10:01, text: I slept well.}
///       - run                       # the flow runs until idle here, and once more at the end
///     expect:
///       insight: [{valence: {above: 0}}]
///       dropped: {consent: {withdrawn: 1}}
///
/// A time of the day means that time on 2026-01-05, UTC. An event is appended at its event time,
/// else at its field `at`. Errors say `file:line:column:`.
[[nodiscard]] result<std::vector<flow_case>> read_cases(const std::string& path);
[[nodiscard]] result<std::vector<flow_case>> parse_cases(const std::string& yaml,
                                                         const std::string& path);

/// Whether `found` is what `expected` says: objects by the fields that `expected` names, lists in
/// order, numbers within 1e-6. In place of a value: `{above: x}`, `{below: x}`, `{contains: text}`,
/// `{lacks: text}`, `{one_of: [...]}`, `{present: true|false}`.
[[nodiscard]] bool matches(const nlohmann::json& expected, const nlohmann::json& found);

/// Refuses what no record of the schema can be: a field that it lacks, a matcher that does not exist (`{abov: 0}`) or has the
/// wrong operand. Such an expectation would be taken literally, and never or always hold.
[[nodiscard]] status check_expected(const schema& of, const std::string& expected);

/// Expectations that no record fulfils and records that nobody expects, one message each; empty:
/// all are paired.
[[nodiscard]] std::vector<std::string> compare_records(const std::string& topic,
                                                       const std::vector<std::string>& expected,
                                                       const std::vector<std::string>& found);
/// One message for each count that differs.
[[nodiscard]] std::vector<std::string> compare_counts(
    const std::string& what, const std::string& node,
    const std::map<std::string, std::uint64_t>& expected,
    const std::map<std::string, std::uint64_t>& found);

}  // namespace sonder::cli
