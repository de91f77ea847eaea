#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "avro/schema.h"
#include "flow/config.h"
#include "plugin/library.h"
#include "plugin/manifest.h"
#include "record/result.h"
#include "record/type.h"

namespace sonder {

/// One column of the rows on an edge of the graph. `slot` is its place in the edge's row.
struct edge_column {
  field of;
  int source_field = -1;  ///< top-level field of the source's schema that this still is, unchanged; -1: made by a stage
  /// Purposes whose stages made it, as bits: a row that is not allowed for one of them has null here, whatever `of` says.
  std::uint64_t only_for = 0;
  /// Purposes that its topic wants agreed to beyond the stage's, as bits: behind the consent authority, a row that is not allowed
  /// for all of them has null here.
  std::uint64_t needs = 0;
};

/// Whether a stage that reads `wanted` takes an enum of the flow: as text, by its symbols.
[[nodiscard]] inline bool reads_symbols(const field& had, const field& wanted) {
  return had.type.id == type_id::enumeration && wanted.type.id == type_id::utf8;
}

/// The rows that leave one output of a topic or stage.
struct edge {
  std::vector<edge_column> columns;
  int source = -1;         ///< the event or table topic that all its rows come from; -1: emitted by a stage
  bool consented = false;  ///< the consent authority stands before it
  bool unchanged = true;   ///< no column was replaced or appended since the source: original bytes may be forwarded
};

struct source_node {
  topic_options topic;
  std::shared_ptr<const schema> schema_of;  ///< reader schema
  std::vector<std::string> wanted;          ///< top-level fields that somebody reads, in schema order = the edge's columns
  int subject_slot = -1;                    ///< in the edge's columns; -1: not personal
  int event_time_slot = -1;
  int edge_out = -1;
  int rekey = -1;         ///< an internal topic: the index of what is forwarded to it
  bool raw = false;       ///< what is forwarded from: keyed by anything
};

/// A topic whose records lie anywhere, and where they go so that a task has all of its subjects.
struct rekey_node {
  source_node raw;        ///< the topic as it is in the log; of its records only the subject is read
  int source = -1;        ///< the internal topic, from which stages read them
};

struct stage_input {
  int port = -1;                 ///< index in the manifest's inputs
  int edge_in = -1;
  std::vector<int> reads;        ///< per manifest read: slot of edge_in, or -1 (optional and absent)
  std::vector<int> writes;       ///< per manifest write: slot of the output edge that it fills
  int edge_out = -1;             ///< edge on which passed rows leave; -1 for tables
};

struct stage_node {
  stage_options options;
  std::shared_ptr<const plugin_library> library;  ///< null when only checked, not run
  manifest of;
  std::string config_json;       ///< checked, defaults filled in
  std::vector<stage_input> inputs;
  std::vector<int> emit_edges;   ///< per manifest output: edge of rows that `emit` makes; -1: none or nobody reads it
  int purpose_bit = -1;          ///< -1: not applied (no purpose, or its basis is not consent)
  bool authority = false;        ///< holds consent_authority/1
  /// Per store of the manifest: it holds what a global table fills, is made anew at each start, and is in no epoch.
  std::vector<bool> rebuilt;
  [[nodiscard]] bool is_rebuilt(std::size_t store) const { return store < rebuilt.size() && rebuilt[store]; }
};

struct sink_node {
  topic_options topic;
  std::shared_ptr<const schema> schema_of;  ///< writer schema
  int edge_in = -1;
  std::vector<int> slots;        ///< per top-level field of the schema: slot of edge_in, or -1 (the schema's default)
  std::vector<int> key_slots;
  int purpose_bit = -1;          ///< rows not allowed for it are dropped here
  bool original_bytes = false;   ///< edge unchanged and schema equal: forward as they came
  bool forward_headers = false;  ///< with the original bytes, since the source's topic says what its headers hold
  std::vector<int> globals;      ///< sources that its rows were decided by and every task has: records say how far those were read
  /// Slots whose values are only for rows allowed for all of these purposes, as bits: what the sink's topic withholds.
  std::vector<std::pair<int, std::uint64_t>> withheld;
};

/// A flow that has been checked and can be run: everything resolved to indices. Immutable.
struct graph {
  flow_options options;
  std::vector<source_node> sources;  ///< tables, events, global tables
  std::vector<rekey_node> rekeys;
  std::vector<stage_node> stages;    ///< each after all that feed it
  std::vector<sink_node> sinks;
  std::vector<edge> edges;
  std::vector<std::string> purposes; ///< bit -> purpose
  std::int32_t partitions = 0;       ///< of every source: one task each
};

struct checked_graph {
  std::shared_ptr<const graph> flow;  ///< null if a diagnostic is an error
  std::vector<diagnostic> diagnostics;
};

/// What a flow needs to know of one plugin: its manifest, and its library where it is to be run.
struct provided_plugin {
  manifest declared;
  std::shared_ptr<const plugin_library> library;
};
/// Finds the plugin of a stage; errors name it.
using plugin_provider = std::function<result<provided_plugin>(const stage_options& stage)>;

/// Resolves plugins, schemas, ports, fields, types, purposes and labels; refuses unknown fields, type mismatches, cycles,
/// topics with different partition counts, and any label that reaches what may not have it (design section 7). With `load`
/// false no code of a plugin runs: only manifests are read.
[[nodiscard]] checked_graph check_flow(const flow_options& options, bool load);
/// The same with plugins from elsewhere than files.
[[nodiscard]] checked_graph check_flow(const flow_options& options, const plugin_provider& plugins);

/// Where each label goes, for people: one line for every field that a sink receives, with what it carries and its way. For flows
/// that are right; `validate` prints it.
[[nodiscard]] std::string describe_labels(const graph& flow);

}  // namespace sonder
