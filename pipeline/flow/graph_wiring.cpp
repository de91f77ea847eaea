#include <algorithm>
#include <optional>

#include "avro/encode_plan.h"
#include "flow/graph_parts.h"
#include "log/internal_names.h"
#include "plugin/config_schema.h"
#include "record/number_of.h"

namespace sonder {
namespace {

std::string quoted(const std::string& name) {
  return "\"" + name + "\"";
}

std::string type_text(const field& f) {
  return to_string(f.type) + (f.nullable ? "?" : "");
}

/// What the flow calls a field that a plugin or a schema calls `name`.
template <class Options>
const std::string& flow_name(const Options& options, const std::string& name) {
  const auto renamed = options.fields.find(name);
  return renamed == options.fields.end() ? name : renamed->second;
}

/// An edge while the graph is made, with what only the check needs to know.
struct made_edge {
  int index = -1;          ///< in graph::edges; -1: it could not be made, and that was reported
  bool consented = false;  ///< the consent authority stands before it
};

/// Wires the parts. One use.
class part_wiring {
 public:
  part_wiring(flow_parts& parts, const wanted_fields* wanted, wanted_fields& used)
      : parts_(parts), wanted_(wanted), used_(used) {
    flow_.options = *parts.options;
  }

  graph wire() {
    number_purposes();
    const auto order = stage_order();
    make_sources();
    for (const auto stage : order) make_stage(stage);
    for (const auto& sink : parts_.options->sinks) make_sink(sink);
    check_partitions();
    check_topic_cycles(parts_);
    warn_unused();
    return std::move(flow_);
  }

 private:
  // ---- Names ----

  [[nodiscard]] std::optional<std::size_t> topic_index(const std::string& name) const {
    for (std::size_t i = 0; i < parts_.topics.size(); ++i) {
      if (parts_.topics[i].options->name == name) return i;
    }
    return std::nullopt;
  }
  [[nodiscard]] std::optional<std::size_t> stage_index(const std::string& name) const {
    for (std::size_t i = 0; i < parts_.stages.size(); ++i) {
      if (parts_.stages[i].options->name == name) return i;
    }
    return std::nullopt;
  }
  [[nodiscard]] std::vector<std::string> topic_names() const {
    std::vector<std::string> names;
    for (const auto& t : parts_.topics) names.push_back(t.options->name);
    return names;
  }
  /// Everything that rows can come from: topics and outputs of stages.
  [[nodiscard]] std::vector<std::string> endpoint_names() const {
    auto names = topic_names();
    for (const auto& s : parts_.stages) {
      for (const auto& output : s.plugin.declared.outputs)
        names.push_back(s.options->name + "." + output.name);
    }
    return names;
  }

  // ---- Purposes ----

  void number_purposes() {
    const auto number = [&](const std::string& purpose, const position& at) {
      if (purpose.empty() ||
          std::find(flow_.purposes.begin(), flow_.purposes.end(), purpose) != flow_.purposes.end())
        return;
      if (flow_.purposes.size() == flow_purposes_max) {
        return parts_.report(
            at, "more than " + std::to_string(flow_purposes_max) + " purposes in one flow");
      }
      flow_.purposes.push_back(purpose);
    };
    for (const auto& s : parts_.stages) number(s.options->purpose, place_of(*s.options, "purpose"));
    for (const auto& topic : parts_.options->topics) {
      for (const auto& [field, purpose] : topic.withhold) number(purpose, place_of(topic, "withhold." + field));
    }
    for (const auto& sink : parts_.options->sinks) {
      if (const auto t = topic_index(sink.topic))
        number(parts_.topics[*t].options->purpose, place_of(*parts_.topics[*t].options, "purpose"));
    }
  }
  [[nodiscard]] int purpose_bit(const std::string& purpose) const {
    const auto at = std::find(flow_.purposes.begin(), flow_.purposes.end(), purpose);
    return at == flow_.purposes.end() ? -1 : static_cast<int>(at - flow_.purposes.begin());
  }

  // ---- Order ----

  /// Stages so that each comes after all that feed it; those of a cycle are reported and left out.
  std::vector<std::size_t> stage_order() {
    enum class mark : char { fresh, open, done };
    std::vector<mark> marks(parts_.stages.size(), mark::fresh);
    std::vector<std::size_t> order, path;
    // As deep as there are stages, which the configuration bounds.
    const auto visit = [&](const auto& self, std::size_t stage) -> bool {
      if (marks[stage] == mark::done) return true;
      if (marks[stage] == mark::open) {
        report_cycle(path, stage);
        return false;
      }
      marks[stage] = mark::open;
      path.push_back(stage);
      bool sound = true;
      for (const auto& input : parts_.stages[stage].options->in) {
        const auto [name, output] = split_endpoint(input.from);
        const auto from = output.empty() ? std::nullopt : stage_index(name);
        if (from && !self(self, *from)) sound = false;
      }
      path.pop_back();
      marks[stage] = mark::done;
      if (sound) order.push_back(stage);
      return sound;
    };
    for (std::size_t i = 0; i < parts_.stages.size(); ++i) (void)visit(visit, i);
    return order;
  }

  void report_cycle(const std::vector<std::size_t>& path, std::size_t again) {
    std::string names;
    for (auto at = std::find(path.begin(), path.end(), again); at != path.end(); ++at) {
      names = quoted(parts_.stages[*at].options->name) + " -> " + names;
    }
    const auto& stage = *parts_.stages[again].options;
    parts_.report(stage.at, "stages feed each other: " + quoted(stage.name) + " -> " +
                                names.substr(0, names.size() - 4) +
                                "; a cycle must go through a topic with \"feedback: true\"");
  }

  // ---- Sources ----

  [[nodiscard]] std::set<std::size_t> topics_read() const {
    std::set<std::size_t> read;
    const auto note = [&](const std::string& from) {
      if (const auto t = topic_index(from)) read.insert(*t);
    };
    for (const auto& s : parts_.stages) {
      for (const auto& input : s.options->in) note(input.from);
    }
    for (const auto& sink : parts_.options->sinks) note(sink.from);
    return read;
  }

  void make_sources() {
    const auto read = topics_read();
    for (const auto role : {topic_role::table, topic_role::event, topic_role::global}) {
      for (const auto t : read) {
        if (parts_.topics[t].options->role == role) make_source(t);
      }
    }
  }

  void make_source(std::size_t t) {
    const auto& topic = parts_.topics[t];
    auto& made = edges_[topic.options->name];
    if (topic.schema_of == nullptr) return;
    source_node node;
    node.topic = *topic.options;
    node.schema_of = topic.schema_of;
    edge rows;
    rows.source = static_cast<int>(flow_.sources.size());
    const auto columns = column_fields(*topic.schema_of);
    const auto* chosen = wanted_ == nullptr ? nullptr : &wanted_->at(t);
    for (std::size_t i = 0; i < columns.size(); ++i) {
      // A plan that is asked for no field builds all of them; one is cheaper.
      const bool wanted =
          chosen == nullptr || chosen->contains(static_cast<int>(i)) || (chosen->empty() && i == 0);
      if (!wanted) continue;
      const auto slot = static_cast<int>(rows.columns.size());
      if (columns[i].name == topic.options->subject) node.subject_slot = slot;
      if (columns[i].name == topic.options->event_time) node.event_time_slot = slot;
      node.wanted.push_back(columns[i].name);
      rows.columns.push_back({columns[i], static_cast<int>(i), 0});
      if (const auto withheld = topic.options->withhold.find(columns[i].name); withheld != topic.options->withhold.end()) {
        const auto bit = purpose_bit(withheld->second);
        if (bit >= 0) rows.columns.back().needs = std::uint64_t{1} << bit;
      }
    }
    // The record's own bytes hold what is withheld.
    rows.unchanged = topic.options->withhold.empty();
    topic_of_source_.push_back(t);
    used_[t];
    node.edge_out = made.index = add_edge(std::move(rows));
    use(node.edge_out, node.subject_slot);
    use(node.edge_out, node.event_time_slot);
    if (topic.options->rekey) make_rekey(node, columns);
    flow_.sources.push_back(std::move(node));
  }

  /// Makes `node` read the internal topic.
  void make_rekey(source_node& node, const std::vector<field>& columns) {
    const auto subject = std::find_if(columns.begin(), columns.end(), [&](const field& f) { return f.name == node.topic.subject; });
    if (subject == columns.end()) return;  // reported with the parts
    rekey_node rekey;
    rekey.source = static_cast<int>(flow_.sources.size());
    rekey.raw.topic = node.topic;
    rekey.raw.schema_of = node.schema_of;
    rekey.raw.wanted = {subject->name};
    rekey.raw.subject_slot = 0;
    rekey.raw.raw = true;
    edge rows;
    rows.columns.push_back({*subject, -1, 0});
    rekey.raw.edge_out = add_edge(std::move(rows));
    node.rekey = static_cast<int>(flow_.rekeys.size());
    // Records keep their own times in a header: by the log's, retention cannot take an old one away before it was read.
    auto& inner = node.topic;
    inner.topic = rekey_topic(flow_.options.name, inner.name);
    inner.compact = false;
    inner.log_append_time = true;
    inner.retention_ms = inner.rekey_retention_ms;
    inner.retention_bytes = -1;
    flow_.rekeys.push_back(std::move(rekey));
  }

  int add_edge(edge e) {
    flow_.edges.push_back(std::move(e));
    return static_cast<int>(flow_.edges.size()) - 1;
  }
  [[nodiscard]] edge& edge_at(int index) { return flow_.edges[static_cast<std::size_t>(index)]; }

  /// Notes that somebody needs the column, if it is still a field of a source.
  void use(int edge_index, int slot) {
    if (slot < 0) return;
    const auto& rows = edge_at(edge_index);
    const auto f = rows.columns[static_cast<std::size_t>(slot)].source_field;
    if (f >= 0) used_[topic_of_source_[static_cast<std::size_t>(rows.source)]].insert(f);
  }

  /// The rows that `from` names; nothing after a report.
  std::optional<made_edge> find_edge(const std::string& from, const position& at,
                                     const std::string& who) {
    if (const auto known = edges_.find(from); known != edges_.end()) {
      if (known->second.index < 0) return std::nullopt;
      return known->second;
    }
    const auto [name, output] = split_endpoint(from);
    const auto stage = stage_index(name);
    if (output.empty() && stage) {
      std::string outputs;
      for (const auto& o : parts_.stages[*stage].plugin.declared.outputs)
        outputs += (outputs.empty() ? " " : ", ") + name + "." + o.name;
      parts_.report(
          at, who + " reads " + quoted(from) + ", which is a stage; name its output:" + outputs);
    } else if (!output.empty() && stage && !parts_.stages[*stage].found) {
      return std::nullopt;
    } else if (!output.empty() && stage &&
               parts_.stages[*stage].plugin.declared.output(output) >= 0) {
      return std::nullopt;  // the stage is in a cycle, which was reported
    } else {
      parts_.report(at, who + " reads " + quoted(from) +
                            ", which is no topic and no output of a stage" +
                            did_you_mean(from, endpoint_names()));
    }
    return std::nullopt;
  }

  // ---- Stages ----

  void make_stage(std::size_t index) {
    const auto& part = parts_.stages[index];
    if (!part.found) return;
    const auto& m = part.plugin.declared;
    stage_node node;
    node.options = *part.options;
    node.library = part.plugin.library;
    node.of = m;
    node.config_json = part.config_json;
    node.authority = is_authority(m);
    node.purpose_bit = node.authority ? -1 : purpose_bit(part.options->purpose);
    check_ports(part);
    for (const auto& output : m.outputs) edges_[part.options->name + "." + output.name];
    bool consented = node.authority;
    for (std::size_t port = 0; port < m.inputs.size(); ++port) {
      auto input = make_input(part, node, static_cast<int>(port), consented);
      if (input) node.inputs.push_back(*std::move(input));
    }
    check_stores(part, node);
    node.emit_edges.assign(m.outputs.size(), -1);
    for (std::size_t output = 0; output < m.outputs.size(); ++output) {
      if (m.outputs[output].emitted)
        node.emit_edges[output] = make_emit_edge(part, m.outputs[output], consented);
    }
    flow_.stages.push_back(std::move(node));
  }

  /// Every task has all rows of a global table, each time it starts: what they fill is no part of the task's state.
  void check_stores(const stage_part& part, stage_node& node) {
    const auto is_global = [&](const std::string& port) {
      const auto* options = input_of(*part.options, port);
      const auto topic = options == nullptr ? std::nullopt : topic_index(options->from);
      return topic && parts_.topics[*topic].options->role == topic_role::global;
    };
    for (const auto& store : node.of.stores) node.rebuilt.push_back(!store.filled_by.empty() && is_global(store.filled_by));
    for (const auto& input : node.of.inputs) {
      const bool fills = std::any_of(node.of.stores.begin(), node.of.stores.end(), [&](const auto& s) { return s.filled_by == input.name; });
      if (!is_global(input.name) || fills) continue;
      const auto* options = input_of(*part.options, input.name);
      parts_.report(place_of(*options, "from"), "input " + quoted(input.name) + " of plugin " + quoted(node.of.id) +
                                                    " cannot read a global table, such as " + quoted(options->from) +
                                                    ": no store of its manifest is \"filled_by\" it; use \"role: table\"");
    }
  }

  void check_ports(const stage_part& part) {
    const auto& m = part.plugin.declared;
    std::vector<std::string> ports;
    for (const auto& input : m.inputs) ports.push_back(input.name);
    for (const auto& input : part.options->in) {
      if (m.input(input.port) >= 0) continue;
      parts_.report(input.at, "plugin " + quoted(m.id) + " has no input " + quoted(input.port) +
                                  did_you_mean(input.port, ports));
    }
    for (const auto& name : ports) {
      if (input_of(*part.options, name) != nullptr) continue;
      parts_.report(part.options->at, "stage " + quoted(part.options->name) + " leaves input " +
                                          quoted(name) + " of plugin " + quoted(m.id) +
                                          " open; say what it reads under \"in\"");
    }
  }

  static const input_options* input_of(const stage_options& stage, const std::string& port) {
    const auto found = std::find_if(stage.in.begin(), stage.in.end(),
                                    [&](const auto& i) { return i.port == port; });
    return found == stage.in.end() ? nullptr : &*found;
  }

  std::optional<stage_input> make_input(const stage_part& part, const stage_node& node, int port,
                                        bool& consented) {
    const auto& stage = *part.options;
    const auto& declared = part.plugin.declared.inputs[static_cast<std::size_t>(port)];
    const auto* options = input_of(stage, declared.name);
    if (options == nullptr) return std::nullopt;
    const auto from =
        find_edge(options->from, place_of(*options, "from"), "stage " + quoted(stage.name));
    if (!from || !check_role(stage, declared, *options)) return std::nullopt;
    if (node.authority && declared.role == input_role::table) {
      warn_of_stamps(options->from);
      warn_of_partitions(options->from);
    }
    consented = consented || (declared.role == input_role::event && from->consented);
    if (declared.role == input_role::event) check_consent(stage, node, *options, *from);
    check_renames(part.plugin.declared.id, declared, *options);
    stage_input input;
    input.port = port;
    input.edge_in = from->index;
    for (const auto& read : declared.reads)
      input.reads.push_back(find_read(stage, node, *options, read, from->index));
    if (declared.passes >= 0)
      input.edge_out = make_passed_edge(part, node, declared, *options, *from, input.writes);
    return input;
  }

  bool check_role(const stage_options& stage, const manifest_input& declared,
                  const input_options& options) {
    const auto topic = topic_index(options.from);
    const auto role = topic ? parts_.topics[*topic].options->role : topic_role::event;
    const bool table = role != topic_role::event;
    if (role == topic_role::global && is_authority(parts_.stages[*stage_index(stage.name)].plugin.declared)) {
      parts_.report(place_of(options, "from"), "stage " + quoted(stage.name) + " decides on consent by topic " + quoted(options.from) +
                                                   ", a global table, which is not read further before each event; give the topic \"role: table\"");
      return false;
    }
    if (declared.role == input_role::table && !table) {
      parts_.report(place_of(options, "from"),
                    "input " + quoted(declared.name) + " of stage " + quoted(stage.name) +
                        " reads a table; " +
                        (topic ? "topic " + quoted(options.from) + " needs \"role: table\""
                               : quoted(options.from) + " is no topic"));
      return false;
    }
    if (declared.role == input_role::event && table) {
      parts_.report(place_of(options, "from"), "input " + quoted(declared.name) + " of stage " +
                                                   quoted(stage.name) + " reads events; topic " +
                                                   quoted(options.from) + " is a table");
      return false;
    }
    return true;
  }

  /// A grant counts from the later of its own time and its record's timestamp. That holds only if
  /// the log sets the timestamp (design section 7).
  void warn_of_stamps(const std::string& topic) {
    const auto& options = *parts_.topics[*topic_index(topic)].options;
    if (options.log_append_time) return;
    parts_.warn(options.at, "topic " + quoted(topic) +
                                " holds consent under timestamps of its producers, who could date "
                                "a grant back; let the log set them "
                                "with \"log_append_time: true\"");
  }

  /// Without a subject a record lies in the partition of its whole key, and its person's events in
  /// another.
  void warn_of_partitions(const std::string& topic) {
    const auto& options = *parts_.topics[*topic_index(topic)].options;
    if (!options.subject.empty() || options.partitions == 1) return;
    parts_.warn(options.at,
                "topic " + quoted(topic) +
                    " holds consent, but has no \"subject\" by which to partition it: "
                    "decisions may lie apart from their person's events, which are then "
                    "dropped; name the field, or use one partition in all topics that "
                    "are read");
  }

  void check_consent(const stage_options& stage, const stage_node& node,
                     const input_options& options, const made_edge& from) {
    if (node.purpose_bit < 0 || from.consented) return;
    parts_.report(place_of(options, "from"),
                  "stage " + quoted(stage.name) + " serves purpose " + quoted(stage.purpose) +
                      ", but no consent authority stands before it; let " + quoted(options.from) +
                      " go through one");
  }

  void check_renames(const std::string& plugin, const manifest_input& declared,
                     const input_options& options) {
    std::vector<std::string> names;
    for (const auto& f : declared.reads) names.push_back(f.name);
    for (const auto& f : declared.writes) names.push_back(f.name);
    for (const auto& [name, flow_field] : options.fields) {
      if (std::find(names.begin(), names.end(), name) != names.end()) continue;
      parts_.report(place_of(options, name), "input " + quoted(declared.name) + " of plugin " +
                                                 quoted(plugin) + " has no field " + quoted(name) +
                                                 did_you_mean(name, names));
    }
  }

  [[nodiscard]] int slot_of(int edge_index, const std::string& name) {
    const auto& columns = edge_at(edge_index).columns;
    const auto at = std::find_if(columns.begin(), columns.end(),
                                 [&](const edge_column& c) { return c.of.name == name; });
    return at == columns.end() ? -1 : static_cast<int>(at - columns.begin());
  }
  [[nodiscard]] std::vector<std::string> columns_of(int edge_index) {
    std::vector<std::string> names;
    for (const auto& c : edge_at(edge_index).columns) names.push_back(c.of.name);
    return names;
  }
  /// `topic "journal"`, or `output "consent.allowed"`.
  static std::string origin(const std::string& from) {
    return (from.find('.') == std::string::npos ? "topic " : "output ") + quoted(from);
  }

  static bool is_optional(const stage_options& stage, const manifest_field& read) {
    return read.optional ||
           (!read.optional_where.empty() && stage.config_at.contains("/" + read.optional_where));
  }

  void report_missing(const position& at, const std::string& reads, const std::string& name,
                      const manifest_field& read, int from) {
    const auto where = read.optional_where.empty()
                           ? std::string()
                           : "; name it under \"fields\", or set the stage's config " +
                                 quoted(read.optional_where);
    parts_.report(
        at, reads + ", which has no such field" + did_you_mean(name, columns_of(from)) + where);
  }

  int find_read(const stage_options& stage, const stage_node& node, const input_options& options,
                const manifest_field& read, int from) {
    const auto& name = flow_name(options, read.name);
    const auto& at = options.fields.contains(read.name) ? place_of(options, read.name)
                                                        : place_of(options, "from");
    const auto slot = slot_of(from, name);
    const auto reads = "stage " + quoted(stage.name) + " reads field " + quoted(name) + " of " +
                       origin(options.from);
    if (slot < 0) {
      if (!is_optional(stage, read)) report_missing(at, reads, name, read, from);
      return -1;
    }
    use(from, slot);
    const auto& column = edge_at(from).columns[static_cast<std::size_t>(slot)];
    check_needs(at, reads, column, edge_at(from).consented);
    const bool fits = column.of.type == read.column.type || reads_symbols(column.of, read.column);
    if (!fits || (column.of.nullable && !read.column.nullable)) {
      parts_.report(
          at, reads + " as " + type_text(read.column) + ", but it is " + type_text(column.of));
    } else if (!read.column.nullable) {
      check_withheld(at, reads, column, node.purpose_bit, "stage " + quoted(stage.name));
    }
    return slot;
  }

  /// A column that a stage made for some purpose is null in the rows of those who did not agree to
  /// it.
  void check_withheld(const position& at, const std::string& reads, const edge_column& column,
                      int bit, const std::string& who) {
    const auto missing = column.only_for & ~(bit < 0 ? 0 : std::uint64_t{1} << bit);
    if (missing == 0) return;
    const auto& purpose = flow_.purposes[static_cast<std::size_t>(__builtin_ctzll(missing))];
    parts_.report(at, reads + ", which only rows allowed for " + quoted(purpose) + " have; give " +
                          who + " \"purpose: " + purpose + "\"");
  }

  /// Before the consent authority nobody knows whose rows have it.
  void check_needs(const position& at, const std::string& reads, const edge_column& column, bool consented) {
    if (column.needs == 0 || consented) return;
    const auto& purpose = flow_.purposes[static_cast<std::size_t>(__builtin_ctzll(column.needs))];
    parts_.report(at, reads + ", which its topic withholds from rows not allowed for " + quoted(purpose) +
                          ", but no consent authority stands before it");
  }

  /// The input's columns with those that the stage writes: in their place where the name is there,
  /// else behind.
  int make_passed_edge(const stage_part& part, const stage_node& node,
                       const manifest_input& declared, const input_options& options,
                       const made_edge& from, std::vector<int>& writes) {
    auto rows = edge_at(from.index);
    for (const auto& write : declared.writes) {
      edge_column made{write.column, -1,
                       node.purpose_bit < 0 ? 0 : std::uint64_t{1} << node.purpose_bit};
      // The plugin's name for a field is also its name for what it writes there; else the field
      // itself would pass on unchanged.
      made.of.name = flow_name(options, write.name);
      const auto slot = slot_of(from.index, made.of.name);
      writes.push_back(slot >= 0 ? slot : static_cast<int>(rows.columns.size()));
      if (slot >= 0) {
        rows.columns[static_cast<std::size_t>(slot)] = std::move(made);
      } else {
        rows.columns.push_back(std::move(made));
      }
      rows.unchanged = false;
    }
    const auto& output =
        part.plugin.declared.outputs[static_cast<std::size_t>(declared.passes)].name;
    rows.consented = node.authority || from.consented;
    const bool consented = rows.consented;
    const auto index = add_edge(std::move(rows));
    edges_[part.options->name + "." + output] = {index, consented};
    return index;
  }

  int make_emit_edge(const stage_part& part, const manifest_output& output, bool consented) {
    edge rows;
    rows.unchanged = false;
    rows.consented = consented;
    for (const auto& emit : output.emits) rows.columns.push_back({emit.column, -1, 0});
    const auto endpoint = part.options->name + "." + output.name;
    const auto index = add_edge(std::move(rows));
    edges_[endpoint] = {index, consented};
    return index;
  }

  // ---- Sinks ----

  void make_sink(const sink_options& sink) {
    const auto t = topic_index(sink.topic);
    if (!t) {
      return parts_.report(place_of(sink, "topic"), "sink " + quoted(sink.topic) +
                                                        " is not under \"topics\"" +
                                                        did_you_mean(sink.topic, topic_names()));
    }
    const auto& topic = parts_.topics[*t];
    const auto from = find_edge(sink.from, place_of(sink, "from"), "sink " + quoted(sink.topic));
    if (!from || topic.schema_of == nullptr) return;
    sink_node node;
    node.topic = *topic.options;
    node.schema_of = topic.schema_of;
    node.edge_in = from->index;
    node.purpose_bit = purpose_bit(topic.options->purpose);
    if (node.purpose_bit >= 0 && !from->consented) {
      parts_.report(place_of(sink, "from"), "topic " + quoted(sink.topic) + " serves purpose " +
                                                quoted(topic.options->purpose) +
                                                ", but no consent authority stands before " +
                                                quoted(sink.from));
    }
    check_sink_renames(sink, *topic.schema_of);
    for (const auto& f : topic.schema_of->fields)
      node.slots.push_back(find_sink_field(sink, node, f));
    for (const auto& key : topic.options->key) {
      const auto slot = slot_of(from->index, flow_name(sink, key));
      const bool known = topic.schema_of->find_field(key) != nullptr;
      if (slot >= 0) {
        node.key_slots.push_back(slot);
        use(from->index, slot);
      } else if (known) {
        parts_.report(place_of(sink, "from"), "sink " + quoted(sink.topic) + " needs field " +
                                                  quoted(flow_name(sink, key)) +
                                                  " for its key, which " + origin(sink.from) +
                                                  " has not");
      }
    }
    for (std::size_t f = 0; f < node.slots.size(); ++f) {
      const auto withheld = topic.options->withhold.find(topic.schema_of->fields[f].name);
      if (withheld == topic.options->withhold.end() || node.slots[f] < 0) continue;
      const auto bit = purpose_bit(withheld->second);
      if (bit >= 0) node.withheld.emplace_back(node.slots[f], std::uint64_t{1} << bit);
      if (!from->consented) {
        parts_.report(place_of(sink, "from"), "topic " + quoted(topic.options->name) + " withholds field " + quoted(withheld->first) +
                                                  ", but no consent authority stands before " + quoted(sink.from));
      }
    }
    const auto roots = roots_of(parts_, sink.from);
    for (std::size_t i = 0; i < flow_.sources.size(); ++i) {
      const auto& of = flow_.sources[i].topic;
      if (of.role == topic_role::global && roots.contains(of.name)) node.globals.push_back(static_cast<int>(i));
    }
    node.original_bytes = node.withheld.empty() && keeps_bytes(sink, node, *from);
    if (node.original_bytes) {
      const auto& source = flow_.sources[static_cast<std::size_t>(edge_at(from->index).source)];
      node.forward_headers = !source.topic.headers_label.empty();
      if (node.topic.key.empty()) key_by_fields_of(source, node);
    }
    flow_.sinks.push_back(std::move(node));
  }

  /// Where the source's key is made of fields, their labels are the key's. They hold for a key that is made of these fields here,
  /// not for whatever key a record came with.
  void key_by_fields_of(const source_node& source, sink_node& node) {
    for (const auto& key : source.topic.key) {
      const auto slot = slot_of(node.edge_in, key);
      if (slot < 0) continue;
      node.topic.key.push_back(key);
      node.key_slots.push_back(slot);
    }
  }

  void check_sink_renames(const sink_options& sink, const schema& of) {
    std::vector<std::string> names;
    for (const auto& f : of.fields) names.push_back(f.name);
    for (const auto& [name, flow_field] : sink.fields) {
      if (of.find_field(name) != nullptr) continue;
      parts_.report(place_of(sink, name), "the schema of topic " + quoted(sink.topic) +
                                              " has no field " + quoted(name) +
                                              did_you_mean(name, names));
    }
  }

  int find_sink_field(const sink_options& sink, const sink_node& node, const schema_field& f) {
    const auto& name = flow_name(sink, f.name);
    const bool renamed = sink.fields.contains(f.name);
    const auto& at = renamed ? place_of(sink, f.name) : place_of(sink, "from");
    const auto slot = slot_of(node.edge_in, name);
    const auto needs = "sink " + quoted(sink.topic) + " needs field " + quoted(name);
    if (slot < 0) {
      if (!f.default_json || renamed) {
        parts_.report(at, needs + ", which " + origin(sink.from) +
                              " has not, and its schema gives no default" +
                              did_you_mean(name, columns_of(node.edge_in)));
      }
      return -1;
    }
    use(node.edge_in, slot);
    const auto& column = edge_at(node.edge_in).columns[static_cast<std::size_t>(slot)];
    check_needs(at, needs, column, edge_at(node.edge_in).consented);
    const auto expected = column_field(*f.type, name);
    if (!encodes(column.of, f) || (column.of.nullable && !expected.nullable)) {
      parts_.report(at,
                    needs + " as " + type_text(expected) + ", but it is " + type_text(column.of));
    } else if (!expected.nullable) {
      check_withheld(at, needs, column, node.purpose_bit, "topic " + quoted(sink.topic));
    }
    return slot;
  }

  /// Whether the encoder writes such a column as such a field: it widens numbers and takes enums by
  /// symbol.
  static bool encodes(const field& column, const schema_field& as) {
    schema one;
    one.type = avro_type::record;
    one.name = "one";
    one.fields.push_back({as.name, as.type, "", {}, sort_order::ascending, {}, {}});
    auto named = column;
    named.name = as.name;
    return encode_plan::compile(one, {&named, 1}).has_value();
  }

  bool keeps_bytes(const sink_options& sink, const sink_node& node, const made_edge& from) {
    const auto& rows = edge_at(from.index);
    if (!rows.unchanged || rows.source < 0 || !sink.fields.empty()) return false;
    const auto& source = flow_.sources[static_cast<std::size_t>(rows.source)];
    return source.topic.bare == node.topic.bare &&
           to_json(*source.schema_of) == to_json(*node.schema_of);
  }

  // ---- The whole ----

  void check_partitions() {
    if (flow_.sources.empty()) return;
    // A topic that is rekeyed may have any number: its internal topic gets that of the others.
    const auto keyed = std::find_if(flow_.sources.begin(), flow_.sources.end(), [](const auto& s) {
      return s.rekey < 0 && s.topic.role != topic_role::global;
    });
    const auto& first = keyed == flow_.sources.end() ? flow_.sources.front().topic : keyed->topic;
    flow_.partitions = first.partitions;
    for (auto& s : flow_.sources) {
      if (s.topic.role == topic_role::global) continue;
      if (s.rekey >= 0) s.topic.partitions = flow_.partitions;
      if (s.topic.partitions == first.partitions) continue;
      parts_.report(place_of(s.topic, "partitions"),
                    "topic " + quoted(s.topic.name) + " has " + number_of(s.topic.partitions, "partition") + ", " + quoted(first.name) +
                        " has " + std::to_string(first.partitions) +
                        ": tasks need the same number of each source; recreate one, or add \"rekey: true\" "
                        "where a topic of events should go through an internal topic");
    }
  }

  void warn_unused() {
    const auto read = topics_read();
    for (std::size_t t = 0; t < parts_.topics.size(); ++t) {
      const auto& topic = *parts_.topics[t].options;
      const auto& sinks = parts_.options->sinks;
      const bool written = std::any_of(sinks.begin(), sinks.end(),
                                       [&](const auto& s) { return s.topic == topic.name; });
      if (read.contains(t) || written || topic.name == parts_.options->dead_letter) continue;
      parts_.warn(topic.at, "topic " + quoted(topic.name) + " is not used");
    }
    if (flow_.sources.empty() && !parts_.failed()) {
      parts_.report({parts_.options->file, 0, 0}, "the flow reads no topic; name one as the input of a stage, or as what a sink is made from");
    }
  }

  flow_parts& parts_;
  const wanted_fields* wanted_;
  wanted_fields& used_;
  graph flow_;
  std::map<std::string, made_edge> edges_;  ///< by topic or `stage.output`
  std::vector<std::size_t> topic_of_source_;
};

}  // namespace

graph wire_parts(flow_parts& parts, const wanted_fields* wanted, wanted_fields& used) {
  return part_wiring(parts, wanted, used).wire();
}

}  // namespace sonder
