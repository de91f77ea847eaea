#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "flow/graph_parts.h"
#include "flow/registered_labels.h"
#include "privacy/label.h"
#include "privacy/label_flow.h"

namespace sonder {
namespace {

using node = label_flow::node;

constexpr const char* label_attribute = "sonder.privacy";

std::string quoted(const std::string& name) {
  return "\"" + name + "\"";
}

/// The label of a field and of all that is inside of it. A label on the field speaks for what it
/// holds, and joins what that adds. An error is the reason why a label cannot be read.
result<label> label_of_field(const schema_field& f);

/// The join of the labels of records inside a type; nothing where there are none.
result<std::optional<label>> label_inside(const schema& of) {
  std::optional<label> all;
  const auto add = [&](const result<std::optional<label>>& inner) -> status {
    if (!inner) return tl::unexpected(inner.error());
    if (*inner) all = all ? join(*all, **inner) : **inner;
    return {};
  };
  for (const auto& f : of.fields) {
    auto inner = label_of_field(f);
    if (!inner) return tl::unexpected(inner.error());
    SONDER_TRY(add(std::optional<label>(*std::move(inner))));
  }
  for (const auto& branch : of.branches) SONDER_TRY(add(label_inside(*branch)));
  if (of.items != nullptr) SONDER_TRY(add(label_inside(*of.items)));
  return all;
}

result<label> label_of_field(const schema_field& f) {
  const auto inside = label_inside(*f.type);
  if (!inside) return tl::unexpected(inside.error());
  const auto* text = f.attribute(label_attribute);
  if (text == nullptr) return inside->value_or(label{});
  auto own = parse_label(*text);
  if (!own) return tl::unexpected(own.error().at("label of field " + quoted(f.name)));
  return *inside ? join(*own, **inside) : *own;
}

/// Follows labels along the edges of a whole graph. One use.
class label_check {
 public:
  label_check(flow_parts& parts, const graph& flow)
      : parts_(parts), flow_(flow), edges_(flow.edges.size()) {}

  void check() {
    for (const auto& source : flow_.sources) enter(source);
    if (parts_.failed()) return;
    for (const auto& stage : flow_.stages) pass(stage);
    // A graph that is whole has the sinks of its options, in their order.
    for (std::size_t i = 0; i < flow_.sinks.size(); ++i)
      check_sink(flow_.sinks[i], parts_.options->sinks[i]);
    count_folded();
  }

  /// One line for each field of each sink.
  std::string describe() {
    std::string text;
    for (const auto& sink : flow_.sinks) {
      for (std::size_t f = 0; f < sink.slots.size(); ++f) {
        if (sink.slots[f] < 0) continue;
        const auto at = edge_of(sink.edge_in).columns[static_cast<std::size_t>(sink.slots[f])];
        text += sink.topic.name + "." + sink.schema_of->fields[f].name + "  " +
                to_string(labels_.label_of(at)) + withheld_text(sink, f) + "\n";
      }
    }
    return text;
  }

 private:
  struct labelled_edge {
    std::vector<node> columns;
    node presence = -1;  ///< what the choice of its rows tells
    node key = -1;       ///< the record key of the rows that they come from
    node headers = -1;   ///< the same of its headers
    node event_time = -1;
  };

  /// For which purposes a row must be allowed to have something in a field of a sink, beyond the sink's own.
  [[nodiscard]] std::string withheld_text(const sink_node& sink, std::size_t f) const {
    const auto& column = flow_.edges[static_cast<std::size_t>(sink.edge_in)].columns[static_cast<std::size_t>(sink.slots[f])];
    std::string text;
    for (std::size_t bit = 0; bit < flow_.purposes.size(); ++bit) {
      if ((column.needs >> bit & 1) != 0) text += "; null without " + flow_.purposes[bit];
    }
    return text;
  }

  labelled_edge& edge_of(int index) { return edges_[static_cast<std::size_t>(index)]; }

  // ---- Sources ----

  label read_label(const source_node& source, const schema_field& f) {
    auto read = label_of_field(f);
    if (!read) {
      parts_.report(place_of(source.topic, "schema"),
                    "schema of topic " + quoted(source.topic.name) + ": " + read.error().message);
      return {};
    }
    if (!source.topic.purpose.empty())
      read->purposes = read->purposes & permission::only({source.topic.purpose});
    return *read;
  }

  node enter_field(const source_node& source, const std::string& name) {
    const auto& f = *source.schema_of->find_field(name);
    const auto of = read_label(source, f);
    const bool labelled = f.attribute(label_attribute) != nullptr || of != label{};
    const auto at = to_string(place_of(source.topic, "schema")) + ": field " + quoted(name) +
                    " of topic " + quoted(source.topic.name);
    if (const auto& carries = source.topic.carries; !carries.empty()) {
      const auto excess = of.categories - category_set::parse(carries).value_or(category_set{});
      if (!excess.empty()) {
        parts_.report(place_of(source.topic, "carries"),
                      "topic " + quoted(source.topic.name) + " may not carry " + to_string(excess) +
                          ", which its field " + quoted(name) +
                          (labelled ? " is labelled" : " counts as, since it has no label"));
      }
    }
    const auto withheld = source.topic.withhold.find(name);
    return labels_.enter(at + (labelled ? ": labelled " + to_string(of.categories)
                                        : ": has no label, which counts as everything") +
                             (withheld == source.topic.withhold.end() ? "" : ", withheld without " + quoted(withheld->second)),
                         of);
  }

  void enter(const source_node& source) {
    auto& into = edge_of(source.edge_out);
    for (const auto& name : source.wanted) into.columns.push_back(enter_field(source, name));
    const auto at = to_string(source.topic.at) + ": ";
    const auto named = " of topic " + quoted(source.topic.name);
    into.presence = labels_.enter(at + "records" + named, label::open());
    // A timestamp is a time at which a person did something, unless the topic is about nobody.
    into.event_time =
        source.event_time_slot >= 0
            ? into.columns[static_cast<std::size_t>(source.event_time_slot)]
            : labels_.enter(at + "timestamps" + named,
                            source.topic.subject.empty()
                                ? label::open()
                                : label::of(category_set::of(data_category::quasi_identifier)));
    std::vector<node> keys;
    for (const auto& key : source.topic.key) {
      if (source.schema_of->find_field(key) != nullptr) keys.push_back(enter_field(source, key));
    }
    // Keys that are made of no fields hold what their producer chose: no schema tells of it.
    into.key = keys.empty() ? enter_unwritten(source, "key", source.topic.key_label)
                            : labels_.derive(at + "keys" + named, std::move(keys));
    into.headers = enter_unwritten(source, "headers", source.topic.headers_label);
  }

  /// A part of records that no schema tells of: what the flow says of it, or everything.
  node enter_unwritten(const source_node& source, const std::string& part, const std::string& json) {
    const auto of = json.empty() ? result<label>(label{}) : parse_label(json);
    auto permitted = of.value_or(label{});
    if (!json.empty() && !source.topic.purpose.empty()) {
      permitted.purposes = permitted.purposes & permission::only({source.topic.purpose});
    }
    return labels_.enter(to_string(place_of(source.topic, "labels." + part)) + ": " + part + " of topic " + quoted(source.topic.name) +
                             (json.empty() ? ": has no label, which counts as everything; give it one under \"labels\""
                                           : ": labelled " + to_string(permitted.categories)),
                         permitted);
  }

  // ---- Stages ----

  static const input_options& options_of(const stage_node& stage, const manifest_input& declared) {
    return *std::find_if(stage.options.in.begin(), stage.options.in.end(),
                         [&](const auto& i) { return i.port == declared.name; });
  }

  void pass(const stage_node& stage) {
    for (const auto& input : stage.inputs) check_whose(stage, input);
    const auto reads = read_by(stage);
    check_stores(stage, reads);
    for (const auto& input : stage.inputs) {
      if (input.edge_out >= 0) pass_input(stage, input, reads);
    }
    for (std::size_t o = 0; o < stage.emit_edges.size(); ++o) {
      if (stage.emit_edges[o] >= 0) emit(stage, stage.of.outputs[o], stage.emit_edges[o], reads);
    }
  }

  /// What the authority looks decisions up by must be whom the records are about: else one person's
  /// grant would let another's records pass.
  void check_whose(const stage_node& stage, const stage_input& input) {
    const auto& declared = stage.of.inputs[static_cast<std::size_t>(input.port)];
    if (!stage.authority || declared.role != input_role::event) return;
    const auto& rows = flow_.edges[static_cast<std::size_t>(input.edge_in)];
    const auto* source = rows.source < 0 ? nullptr : &flow_.sources[static_cast<std::size_t>(rows.source)];
    for (std::size_t i = 0; i < input.reads.size(); ++i) {
      const auto slot = input.reads[i];
      if (slot < 0 || declared.reads[i].column.type.id != type_id::utf8) continue;
      const auto& column = rows.columns[static_cast<std::size_t>(slot)];
      const bool as_it_came = source != nullptr && column.source_field >= 0;
      if (!as_it_came || slot != source->subject_slot) report_whose(stage, declared, declared.reads[i].name, column, as_it_came ? source : nullptr);
    }
  }

  void report_whose(const stage_node& stage, const manifest_input& declared, const std::string& read,
                    const edge_column& column, const source_node* source) {
    const auto& options = options_of(stage, declared);
    const auto& at = place_of(options, options.where.contains(read) ? read : "from");
    const auto decides = "stage " + quoted(stage.options.name) + " decides on consent by field " +
                         quoted(column.of.name) + " of " + quoted(options.from);
    if (source == nullptr) {
      parts_.report(at, decides + ", which a stage made; let the authority read the topic's own subject");
    } else if (source->topic.subject.empty()) {
      parts_.report(at, decides + ", but topic " + quoted(source->topic.name) +
                            " does not say whom its records are about; if it is that field, give the "
                            "topic \"subject: " + column.of.name + "\"");
    } else {
      parts_.report(at, decides + ", whose records are about the one in " +
                            quoted(source->topic.subject) + ": another person's grant would let them "
                            "pass; let " + quoted(read) + " read " + quoted(source->topic.subject));
    }
  }

  /// Everything that may flow into what the stage makes: all its inputs, since its stores remember
  /// them.
  std::vector<node> read_by(const stage_node& stage) {
    std::vector<node> reads;
    for (const auto& input : stage.inputs) {
      const auto& declared = stage.of.inputs[static_cast<std::size_t>(input.port)];
      const auto& from = edge_of(input.edge_in);
      for (std::size_t i = 0; i < input.reads.size(); ++i) {
        if (input.reads[i] < 0) continue;
        const auto column = from.columns[static_cast<std::size_t>(input.reads[i])];
        check_read(stage, declared, declared.reads[i].name, column);
        reads.push_back(column);
      }
      reads.push_back(from.presence);
      read_reserved(stage, declared, from, reads);
    }
    return reads;
  }

  void read_reserved(const stage_node& stage, const manifest_input& declared,
                     const labelled_edge& from, std::vector<node>& reads) {
    const auto add = [&](bool wanted, const char* what, node n) {
      if (!wanted) return;
      check_read(stage, declared, what, n);
      reads.push_back(n);
    };
    add(declared.reserved.timestamp || declared.reserved.event_time, "event_time", from.event_time);
    add(declared.reserved.key, "key", from.key);
    add(declared.reserved.headers, "headers", from.headers);
  }

  void check_read(const stage_node& stage, const manifest_input& declared,
                  const std::string& field_name, node column) {
    if (stage.authority) return;  // consent handling has a basis of its own
    const auto& options = options_of(stage, declared);
    const auto& at = place_of(options, options.where.contains(field_name) ? field_name : "from");
    const auto& of = labels_.label_of(column);
    const auto named = "stage " + quoted(stage.options.name);
    const auto& purpose = stage.options.purpose;
    if (!purpose.empty() && !of.purposes.permits(purpose)) {
      parts_.report(at, named + " serves " + quoted(purpose) + ", which field " +
                            quoted(field_name) + " does not permit (" + of.purposes.to_string() +
                            ")" + path_text(labels_.path_denying_purpose(column, purpose)));
    } else if (purpose.empty() && of.personal()) {
      parts_.report(at, named + " reads field " + quoted(field_name) + ", which is " +
                            to_string(of.categories) +
                            ", but serves no purpose; give it a \"purpose\"" +
                            path_text(path_of_any(column, of.categories)));
    } else if (of.personal() && declared.role == input_role::table) {
      parts_.report(at, named + " reads field " + quoted(field_name) + " of a table, which is " +
                            to_string(of.categories) +
                            "; the host checks consent for events only, so only the consent "
                            "authority may read a personal table" +
                            path_text(path_of_any(column, of.categories)));
    }
  }

  void check_stores(const stage_node& stage, const std::vector<node>& reads) {
    const auto kept = labels_.derive("what stage " + quoted(stage.options.name) + " keeps", reads);
    const auto& of = labels_.label_of(kept);
    for (const auto& store : stage.of.stores) {
      if (store.personal || !of.personal()) continue;
      parts_.report(place_of(stage.options, "plugin"),
                    "store " + quoted(store.name) + " of stage " + quoted(stage.options.name) +
                        " is declared as not personal, but the stage reads " +
                        to_string(of.categories) + path_text(path_of_any(kept, of.categories)));
    }
  }

  static bool trusts(const stage_node& stage, const manifest_declassification& d) {
    const auto& trust = stage.options.trust;
    return std::find(trust.begin(), trust.end(), d.name) != trust.end();
  }

  /// The property of the stage's configuration with which the declassification does not hold; empty where it does.
  static std::string undone_by(const stage_node& stage, const manifest_declassification& d) {
    if (d.unless.empty()) return {};
    const auto config = nlohmann::json::parse(stage.config_json, nullptr, false);
    const auto rules = nlohmann::json::parse(stage.of.config_schema_json, nullptr, false);
    for (const auto& property : d.unless) {
      if (!config.is_object() || !rules.is_object()) return property;
      const auto given = config.find(property);
      if (given == config.end()) continue;
      const auto usual = nlohmann::json::json_pointer("/properties/" + property + "/default");
      if (!rules.contains(usual) || rules.at(usual) != *given) return property;
    }
    return {};
  }

  /// What trusted declassifications take off one field that the stage makes.
  static category_set removed_from(const stage_node& stage, const std::string& field_name) {
    category_set all;
    for (const auto& d : stage.of.declassifies) {
      if (d.field == field_name && trusts(stage, d) && undone_by(stage, d).empty())
        all = all | category_set::parse(d.removes).value_or(category_set{});
    }
    return all;
  }

  /// What they take off everything that leaves the stage, its choice of rows included: what is taken
  /// off each field that it makes. One field speaks for no other.
  static category_set removed_from_all(const stage_node& stage) {
    std::optional<category_set> common;
    const auto narrow = [&](const std::vector<manifest_field>& made) {
      for (const auto& f : made) {
        const auto removes = removed_from(stage, f.name);
        common = common ? *common & removes : removes;
      }
    };
    for (const auto& input : stage.of.inputs) narrow(input.writes);
    for (const auto& output : stage.of.outputs) narrow(output.emits);
    return common.value_or(category_set{});
  }

  node write(const stage_node& stage, const manifest_field& made, const std::string& verb,
             const std::vector<node>& reads) {
    const auto adds = category_set::parse(made.adds).value_or(category_set{});
    auto what = to_string(stage.options.at) + ": stage " + quoted(stage.options.name) + " " + verb +
                " " + quoted(made.name);
    if (!adds.empty()) what += ", which adds " + to_string(adds);
    for (const auto& d : stage.of.declassifies) {
      if (d.field == made.name && !trusts(stage, d))
        what += " (its \"" + d.name + "\" is not trusted)";
      if (d.field == made.name && trusts(stage, d) && !undone_by(stage, d).empty())
        what += " (its \"" + d.name + "\" takes nothing away with config \"" + undone_by(stage, d) + "\")";
    }
    return labels_.derive(std::move(what), reads, adds, removed_from(stage, made.name));
  }

  /// Which rows are left tells of what they were chosen by. Consent is the exception: that it holds
  /// for all rows is its point.
  node selected(const stage_node& stage, node before, const std::vector<node>& reads) {
    if (stage.authority || stage.of.reasons.empty()) return before;
    auto from = reads;
    from.push_back(before);
    return labels_.derive(to_string(stage.options.at) + ": stage " + quoted(stage.options.name) +
                              " chooses rows by what it reads",
                          std::move(from), {}, removed_from_all(stage));
  }

  void pass_input(const stage_node& stage, const stage_input& input,
                  const std::vector<node>& reads) {
    const auto& declared = stage.of.inputs[static_cast<std::size_t>(input.port)];
    auto out = edge_of(input.edge_in);
    for (std::size_t w = 0; w < input.writes.size(); ++w) {
      const auto slot = static_cast<std::size_t>(input.writes[w]);
      if (out.columns.size() <= slot) out.columns.resize(slot + 1, -1);
      out.columns[slot] = write(stage, declared.writes[w], "writes", reads);
    }
    out.presence = selected(stage, out.presence, reads);
    edge_of(input.edge_out) = std::move(out);
  }

  void emit(const stage_node& stage, const manifest_output& output, int edge_index,
            const std::vector<node>& reads) {
    labelled_edge out;
    for (const auto& f : output.emits) out.columns.push_back(write(stage, f, "emits", reads));
    out.presence = labels_.derive(to_string(stage.options.at) + ": stage " +
                                      quoted(stage.options.name) + " emits rows by what it reads",
                                  reads, {}, removed_from_all(stage));
    // Emitted rows keep the position of the rows that they come from.
    std::vector<node> keys, times, headers;
    for (const auto& input : stage.inputs) {
      keys.push_back(edge_of(input.edge_in).key);
      times.push_back(edge_of(input.edge_in).event_time);
      headers.push_back(edge_of(input.edge_in).headers);
    }
    out.headers = labels_.derive("headers of rows that stage " + quoted(stage.options.name) + " emits", std::move(headers));
    out.key = labels_.derive("keys of rows that stage " + quoted(stage.options.name) + " emits",
                             std::move(keys));
    out.event_time = labels_.derive(
        "times of rows that stage " + quoted(stage.options.name) + " emits", std::move(times));
    edge_of(edge_index) = std::move(out);
  }

  // ---- Sinks ----

  void check_sink(const sink_node& sink, const sink_options& options) {
    const auto& from = edge_of(sink.edge_in);
    for (std::size_t f = 0; f < sink.slots.size(); ++f) {
      if (sink.slots[f] < 0) continue;
      const auto& of = sink.schema_of->fields[f];
      const auto& at = place_of(options, options.where.contains(of.name) ? of.name : "from");
      const auto column = from.columns[static_cast<std::size_t>(sink.slots[f])];
      check_arrival(sink, at, column, "in field " + quoted(of.name));
      check_schema_label(sink, at, column, of);
    }
    check_arrival(sink, place_of(options, "from"), from.presence, "in which rows there are");
    // Records that leave as they came have these as they came, too.
    if (sink.forward_headers) check_arrival(sink, place_of(options, "from"), from.headers, "in the records' headers");
    if (sink.original_bytes && sink.key_slots.empty()) {
      check_arrival(sink, place_of(options, "from"), from.key, "in the records' keys");
    }
    if (sends_event_time(sink)) {
      check_arrival(sink, place_of(options, "from"), from.event_time,
                    "in the records' timestamps (an \"event_time\" that every record has, or \"log_append_time: true\", gives them others)");
    }
  }

  /// Whether a record of the sink may leave with the time of the event that it comes from: its topic has no time of its own for it.
  [[nodiscard]] bool sends_event_time(const sink_node& sink) const {
    if (sink.topic.log_append_time) return false;
    int slot = -1;
    for (std::size_t f = 0; f < sink.slots.size(); ++f) {
      if (sink.schema_of->fields[f].name == sink.topic.event_time) slot = sink.slots[f];
    }
    if (slot < 0) return true;
    const auto& column = flow_.edges[static_cast<std::size_t>(sink.edge_in)].columns[static_cast<std::size_t>(slot)];
    // Rows that are not allowed for the sink's purpose do not get there.
    const auto allowed = sink.purpose_bit < 0 ? std::uint64_t{0} : std::uint64_t{1} << sink.purpose_bit;
    const bool withheld = std::any_of(sink.withheld.begin(), sink.withheld.end(), [&](const auto& w) { return w.first == slot; });
    return column.of.nullable || withheld || ((column.only_for | column.needs) & ~allowed) != 0;
  }

  void check_arrival(const sink_node& sink, const position& at, node what,
                     const std::string& where) {
    const auto& of = labels_.label_of(what);
    const auto& topic = sink.topic;
    const auto excess = of.categories - category_set::parse(topic.carries).value_or(category_set{});
    if (!excess.empty()) {
      report_excess(at, "topic " + quoted(topic.name) + " may not carry " + to_string(excess) +
                            ", which reaches it " + where, what, excess);
    }
    if (topic.purpose.empty() && of.personal()) {
      parts_.report(at, "topic " + quoted(topic.name) + " serves no purpose, but " +
                            to_string(of.categories) + " reaches it " + where +
                            "; give it a \"purpose\"" +
                            path_text(path_of_any(what, of.categories)));
    } else if (!topic.purpose.empty() && !of.purposes.permits(topic.purpose)) {
      parts_.report(at, "topic " + quoted(topic.name) + " serves " + quoted(topic.purpose) +
                            ", which what reaches it " + where + " does not permit (" +
                            of.purposes.to_string() + ")" +
                            path_text(labels_.path_denying_purpose(what, topic.purpose)));
    }
    if (!of.recipients.permits(topic.recipient) && (of.personal() || !topic.recipient.empty())) {
      const auto who = topic.recipient.empty() ? "anybody" : quoted(topic.recipient);
      parts_.report(at, "topic " + quoted(topic.name) + " is read by " + who +
                            ", which what reaches it " + where + " does not permit (" +
                            of.recipients.to_string() + ")" +
                            path_text(labels_.path_denying_recipient(what, topic.recipient)));
    }
  }

  /// The next flow takes the label from the schema, so it must say all that arrives.
  void check_schema_label(const sink_node& sink, const position& at, node what,
                          const schema_field& as) {
    const auto said = label_of_field(as);
    if (!said) {
      parts_.report(place_of(sink.topic, "schema"),
                    "schema of topic " + quoted(sink.topic.name) + ": " + said.error().message);
      return;
    }
    const auto& of = labels_.label_of(what);
    const auto file = std::filesystem::path(sink.topic.schema).filename().string();
    const auto named = "field " + quoted(as.name) + " of " + file;
    if (const auto unsaid = of.categories - said->categories; !unsaid.empty()) {
      report_excess(at, named + " is labelled " + to_string(said->categories) + ", but " +
                            to_string(unsaid) + " reaches it, too; whoever reads topic " +
                            quoted(sink.topic.name) + " would not know", what, unsaid);
    }
    if (!of.purposes.includes(said->purposes)) {
      parts_.report(at, named + " permits purposes: " + said->purposes.to_string() +
                            "; what reaches it permits only: " + of.purposes.to_string());
    }
    if (!of.recipients.includes(said->recipients)) {
      parts_.report(at, named + " permits recipients: " + said->recipients.to_string() +
                            "; what reaches it permits only: " + of.recipients.to_string());
    }
  }

  // ---- Findings with one cause ----

  /// A stage whose declassifications are not trusted leaves its categories in each field that it makes: one finding tells of
  /// it, and how many more there are.
  struct untrusted_stage {
    std::size_t first;     ///< of the diagnostics
    std::size_t more = 0;
  };

  /// The stage on the path that would take all of `excess` away if it were trusted; null if there is none.
  const stage_node* untrusted_on(const std::vector<std::string>& path, category_set excess) const {
    for (const auto& stage : flow_.stages) {
      category_set takes;
      for (const auto& d : stage.of.declassifies) {
        if (!trusts(stage, d)) takes = takes | category_set::parse(d.removes).value_or(category_set{});
      }
      const auto hop = to_string(stage.options.at) + ": stage " + quoted(stage.options.name) + " ";
      const bool on_path = std::any_of(path.begin(), path.end(), [&](const auto& h) { return h.starts_with(hop); });
      if (on_path && (excess - takes).empty()) return &stage;
    }
    return nullptr;
  }

  void report_excess(const position& at, const std::string& message, node what, category_set excess) {
    const auto path = path_of_any(what, excess);
    if (const auto* stage = untrusted_on(path, excess)) {
      const auto [known, fresh] = folded_.try_emplace(stage->options.name, untrusted_stage{parts_.diagnostics.size()});
      if (!fresh) {
        ++known->second.more;
        return;
      }
    }
    parts_.report(at, message + path_text(path));
  }

  void count_folded() {
    for (const auto& [stage, found] : folded_) {
      if (found.more == 0) continue;
      parts_.diagnostics[found.first].message +=
          "\n    and " + std::to_string(found.more) + (found.more == 1 ? " finding" : " findings") +
          " more with this cause: what stage " + quoted(stage) + " declares to take away is not in its \"trust\"";
    }
  }

  // ---- Paths ----

  std::vector<std::string> path_of_any(node n, category_set of) {
    for (std::size_t i = 0; i < data_categories_count; ++i) {
      const auto c = static_cast<data_category>(i);
      if (of.contains(c)) return labels_.path_of(n, c);
    }
    return {};
  }

  static std::string path_text(const std::vector<std::string>& path) {
    std::string text;
    for (const auto& hop : path) text += "\n    " + hop;
    return text;
  }

  flow_parts& parts_;
  const graph& flow_;
  label_flow labels_;
  std::vector<labelled_edge> edges_;
  std::map<std::string, untrusted_stage> folded_;  ///< by stage
};

}  // namespace

void check_labels(flow_parts& parts, const graph& flow) {
  label_check(parts, flow).check();
}

namespace {

/// The label that a registered schema gives to a field; nothing where it has none.
result<std::optional<label>> registered_label(const schema& of, const std::string& name) {
  const auto* f = of.type == avro_type::record ? of.find_field(name) : nullptr;
  if (f == nullptr) return std::optional<label>();
  const auto inside = label_inside(*f->type);
  if (!inside) return tl::unexpected(inside.error());
  if (f->attribute(label_attribute) == nullptr && (!*inside || **inside == label{})) return std::optional<label>();
  auto whole = label_of_field(*f);
  if (!whole) return tl::unexpected(whole.error());
  return std::optional<label>(*std::move(whole));
}

std::string more_of(const label& known, const label& said) {
  const auto unsaid = known.categories - said.categories;
  if (!unsaid.empty()) return "labels it " + to_string(known.categories) + ", the flow's schema without " + to_string(unsaid);
  const bool purposes = !known.purposes.includes(said.purposes);
  return "permits " + std::string(purposes ? "purposes: " + known.purposes.to_string() : "recipients: " + known.recipients.to_string()) +
         "; the flow's schema permits more";
}

using registered_versions = std::vector<std::pair<std::int32_t, schema_ptr>>;

/// The newest schema that cannot be read and has none after it that labels a field of these names; nothing if there is none.
std::optional<std::int32_t> unreadable_label(const std::vector<std::string>& names, const registered_versions& versions) {
  for (auto version = versions.rbegin(); version != versions.rend(); ++version) {
    if (version->second == nullptr) return version->first;
    for (const auto& name : names) {
      const auto known = registered_label(*version->second, name);
      if (!known || *known) return std::nullopt;  // one that is no label is refused for itself
    }
  }
  return std::nullopt;
}

/// What puts an end to an unreadable schema's being the newest word. A registry gives a schema that it has its old version again.
std::string way_past_unreadable(const source_node& source, const registered_versions& versions, const std::string& subject) {
  const auto own = to_json(*source.schema_of);
  const auto there = std::find_if(versions.begin(), versions.end(),
                                  [&](const auto& one) { return one.second != nullptr && to_json(*one.second) == own; });
  if (there == versions.end()) return "register the flow's schema under subject " + subject + " first, or delete the version with that schema there";
  return "delete the version with that schema under subject " + subject + ": the flow's schema is there already, as schema " +
         std::to_string(there->first) + ", and would not become the newest by being registered again";
}

tl::unexpected<error> refuse_registered(const source_node& source, const schema_field& f, std::int32_t id, const std::string& why) {
  return fail(errc::invalid, to_string(place_of(source.topic, "schema")) + ": topic \"" + source.topic.name + "\": field \"" + f.name +
                                 "\": schema " + std::to_string(id) + " of the registry " + why);
}

}  // namespace

status check_registered_labels(const source_node& source, const registered_versions& versions) {
  const auto subject = "\"" + source.topic.topic + "-value\"";
  for (const auto& f : source.schema_of->fields) {
    const auto said = label_of_field(f);
    if (!said) return tl::unexpected(said.error());
    auto names = f.aliases;
    names.insert(names.begin(), f.name);
    for (const auto& name : names) {
      for (auto version = versions.rbegin(); version != versions.rend(); ++version) {
        if (version->second == nullptr) continue;
        const auto known = registered_label(*version->second, name);
        if (known && !*known) continue;
        if (known && at_most(**known, *said)) break;
        return refuse_registered(source, f, version->first,
                                 (known ? more_of(**known, *said) : known.error().message) +
                                     "; give the field that label, or register the schema under subject " + subject +
                                     " first if it is the registry that is behind");
      }
    }
    if (at_most(label{}, *said)) continue;
    if (const auto id = unreadable_label(names, versions)) {
      return refuse_registered(source, f, *id,
                               "cannot be read, so that its label is not known; " + way_past_unreadable(source, versions, subject));
    }
  }
  return {};
}

std::string describe_labels(const graph& flow) {
  flow_parts parts;
  parts.options = &flow.options;
  label_check labels(parts, flow);
  labels.check();
  return labels.describe();
}

}  // namespace sonder
