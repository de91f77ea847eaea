#include "flow/sink_writer.h"

#include <algorithm>
#include <numeric>

#include "avro/framing.h"

namespace sonder {

namespace {

constexpr std::size_t known_schemas_max = 64;  // writers' of one source: more than a topic sees between two restarts

const field& column_of(const graph& flow, const sink_node& sink, int slot) {
  return flow.edges[static_cast<std::size_t>(sink.edge_in)].columns[static_cast<std::size_t>(slot)].of;
}

/// An edge's column under the name that the schema has for it. Any row may lack it, if it was withheld from the stage that made it.
field as_value(const graph& flow, const sink_node& sink, int slot, const std::string& name) {
  auto of = column_of(flow, sink, slot);
  of.name = name;
  of.nullable = true;
  return of;
}

result<std::unique_ptr<const encode_plan>> compile_key(const graph& flow, const sink_node& sink) {
  schema key;
  key.type = avro_type::record;
  key.name = "key";
  std::vector<field> columns;
  for (std::size_t i = 0; i < sink.key_slots.size(); ++i) {
    const auto* of = sink.schema_of->find_field(sink.topic.key[i]);
    if (of == nullptr) {
      return fail(errc::invalid, to_string(sink.topic.at) + ": key field \"" + sink.topic.key[i] + "\" is not in the schema");
    }
    key.fields.push_back({of->name, of->type, "", {}, sort_order::ascending, {}, {}});
    columns.push_back(as_value(flow, sink, sink.key_slots[i], of->name));
  }
  auto plan = encode_plan::compile(key, columns);
  if (!plan) return tl::unexpected(plan.error().at(to_string(sink.topic.at)));
  return std::make_unique<const encode_plan>(std::move(*plan));
}

/// One field of text or bytes makes a key as it is; any other is encoded.
bool is_text(const graph& flow, const sink_node& sink, int slot) {
  const auto id = column_of(flow, sink, slot).type.id;
  return id == type_id::utf8 || id == type_id::binary;
}

bool is_straight_from_table(const graph& flow, const sink_node& sink) {
  const auto source = flow.edges[static_cast<std::size_t>(sink.edge_in)].source;
  if (source < 0) return false;
  const auto& from = flow.sources[static_cast<std::size_t>(source)];
  return from.edge_out == sink.edge_in && from.topic.role != topic_role::event;
}

/// The slot that feeds the schema's field of that name, whatever the flow calls it; -1 if none does.
int slot_of(const sink_node& sink, const std::string& name) {
  for (std::size_t i = 0; i < sink.schema_of->fields.size(); ++i) {
    if (sink.schema_of->fields[i].name == name) return sink.slots[i];
  }
  return -1;
}

}  // namespace

std::size_t record_bytes_max_of(log& on, const std::string& topic) {
  constexpr std::int32_t overhead = 128;
  const auto found = on.describe(topic);
  const auto most = found ? found->record_bytes_max : topic_config{}.record_bytes_max;
  return static_cast<std::size_t>(std::max(most - overhead, 0));
}

result<std::shared_ptr<const sink_plan>> sink_plan::compile(const graph& flow, const sink_node& sink, schema_registry& schemas,
                                                               std::size_t record_bytes_max) {
  auto plan = std::make_shared<sink_plan>();
  std::vector<field> columns;
  for (std::size_t i = 0; i < sink.slots.size(); ++i) {
    if (sink.slots[i] < 0) continue;
    columns.push_back(as_value(flow, sink, sink.slots[i], sink.schema_of->fields[i].name));
    plan->value_slots.push_back(sink.slots[i]);
  }
  auto value = encode_plan::compile(*sink.schema_of, columns);
  if (!value) return tl::unexpected(value.error().at(to_string(sink.topic.at) + ": sink \"" + sink.topic.name + "\""));
  plan->value = std::make_unique<const encode_plan>(std::move(*value));
  if (sink.key_slots.size() > 1 || (sink.key_slots.size() == 1 && !is_text(flow, sink, sink.key_slots[0]))) {
    auto key = compile_key(flow, sink);
    if (!key) return tl::unexpected(key.error());
    plan->key = std::move(*key);
  }
  if (!sink.topic.bare) {
    auto id = schemas.register_schema(sink.topic.topic + "-value", *sink.schema_of);
    if (!id) return tl::unexpected(id.error());
    plan->schema_id = *id;
  }
  if (sink.original_bytes) plan->schema_json = to_json(*sink.schema_of);
  plan->record_bytes_max = record_bytes_max;
  return plan;
}

sink_writer::sink_writer(const graph& flow, std::size_t sink, std::shared_ptr<const sink_plan> plan, schema_registry& schemas,
                         std::int32_t partition)
    : flow_(flow),
      node_(flow.sinks[sink]),
      sink_(sink),
      plan_(std::move(plan)),
      schemas_(schemas),
      partition_(partition),
      of_table_(is_straight_from_table(flow, node_)),
      value_encoder_(*plan_->value),
      subject_slot_(slot_of(node_, node_.topic.subject)),
      time_slot_(slot_of(node_, node_.topic.event_time)) {
  if (time_slot_ >= 0 && column_of(flow, node_, time_slot_).type.id == type_id::timestamp_us) time_in_micros_ = true;
  if (plan_->key != nullptr) {
    key_encoder_ = std::make_unique<row_encoder>(*plan_->key);
    key_from_ = key_from::fields;
  } else if (!node_.key_slots.empty()) {
    key_from_ = key_from::field;
  } else if (node_.original_bytes) {
    key_from_ = key_from::record;
  }
}

status sink_writer::bind(edge_rows& in, const row_base& base, batch_memory& memory) {
  const auto& columns = flow_.edges[static_cast<std::size_t>(node_.edge_in)].columns;
  const auto dense = [&](int index) {
    return column_over(in, index, base, columns[static_cast<std::size_t>(index)].of, memory);
  };
  const auto take = [&](const std::vector<int>& slots, std::vector<const ArrowArray*>& arrays) -> status {
    arrays.clear();
    for (const auto slot : slots) {
      auto column = dense(slot);
      if (!column) return tl::unexpected(column.error());
      arrays.push_back(*column);
    }
    return {};
  };
  SONDER_TRY(take(plan_->value_slots, value_arrays_));
  SONDER_TRY(take(node_.key_slots, key_arrays_));
  value_encoder_.bind(value_arrays_);
  if (key_encoder_ != nullptr) key_encoder_->bind(key_arrays_);
  subjects_ = times_ = nullptr;
  if (subject_slot_ >= 0) {
    auto column = dense(subject_slot_);
    if (!column) return tl::unexpected(column.error());
    subjects_ = *column;
  }
  if (time_slot_ >= 0) {
    auto column = dense(time_slot_);
    if (!column) return tl::unexpected(column.error());
    times_ = *column;
  }
  return {};
}

/// The choice of rows that every column of the sink stands over already, so that rows are picked while encoding and nothing is
/// gathered; `base` itself where they differ. Where each row of `base` stands there is in `found_` then.
const row_base& sink_writer::find_rows(const edge_rows& in, const row_base& base) {
  const row_base* common = nullptr;
  const auto agrees = [&](int slot) {
    const auto& s = in.slots[static_cast<std::size_t>(slot)];
    if (s.array == nullptr || (common != nullptr && s.base != common)) return false;
    common = s.base;
    return true;
  };
  const auto all = [&](const std::vector<int>& slots) { return std::all_of(slots.begin(), slots.end(), agrees); };
  const bool one = all(plan_->value_slots) && all(node_.key_slots) && (subject_slot_ < 0 || agrees(subject_slot_)) &&
                   (time_slot_ < 0 || agrees(time_slot_));
  const auto wanted = base.rows.size();
  found_.resize(wanted);
  if (one && common != nullptr && common != &base) {
    std::size_t at = 0;
    for (std::size_t i = 0; i < common->rows.size() && at < wanted; ++i) {
      found_[at] = static_cast<std::int32_t>(i);
      at += common->rows[i] == base.rows[at] ? 1 : 0;
    }
    if (at == wanted) return *common;
  }
  std::iota(found_.begin(), found_.end(), 0);
  return base;
}

/// Makes `key_`.
inline std::optional<host_cause> sink_writer::make_key(std::int64_t row, const log_record& origin) {
  switch (key_from_) {
    case key_from::nothing:
      break;
    case key_from::record:
      key_ = origin.key;
      break;
    case key_from::field:
      if (is_null(*key_arrays_[0], row)) return host_cause::missing_value;
      key_ = bytes_at(*key_arrays_[0], row);
      break;
    case key_from::fields:
      key_made_.clear();
      if (key_encoder_->encode(row, key_made_)) return host_cause::missing_value;
      key_ = {key_made_.data(), key_made_.size()};
      break;
  }
  return std::nullopt;
}

/// Of the subject where the topic has one, else of the key.
inline std::int32_t sink_writer::partition_of(std::int64_t row) const {
  if (node_.topic.partitions == 1) return 0;
  if (subjects_ != nullptr && !is_null(*subjects_, row)) {
    return murmur2_partition(bytes_at(*subjects_, row), node_.topic.partitions);
  }
  if (key_.size() == 0) return partition_ % node_.topic.partitions;
  return murmur2_partition(key_, node_.topic.partitions);
}

/// Labels were followed from the fields of the flow's schema: what a record holds beyond them was never looked at.
bool sink_writer::is_own_schema(std::int32_t schema_id) {
  if (schema_id == plan_->schema_id) return true;  // equal JSON has one id
  for (const auto& known : known_) {
    if (known.id == schema_id) return known.own;
  }
  // Where the registry does not answer, the record is encoded, which is always right.
  const auto writer = schemas_.by_id(schema_id);
  const bool own = writer && to_json(**writer) == plan_->schema_json;
  if (known_.size() >= known_schemas_max) known_.clear();
  known_.push_back({schema_id, own});
  return own;
}

inline bool sink_writer::may_forward(const log_record& origin) {
  if (node_.topic.bare) return true;
  const auto frame = parse_frame(origin.value);
  if (!frame) return false;
  if (frame->schema_id != last_.id) [[unlikely]] last_ = {frame->schema_id, is_own_schema(frame->schema_id)};
  return last_.own;
}

inline std::optional<host_cause> sink_writer::append_value(std::int64_t row, const log_record& origin, buffer& to) {
  if (node_.original_bytes && may_forward(origin)) {
    to.append(origin.value.data(), origin.value.size());
    return std::nullopt;
  }
  if (plan_->schema_id >= 0) append_frame(plan_->schema_id, to);
  if (const auto wrong = value_encoder_.encode(row, to)) [[unlikely]] {
    return wrong.reason == encode_reason::missing_value ? host_cause::missing_value
           : wrong.reason == encode_reason::bad_value   ? host_cause::bad_value
                                                        : host_cause::too_large;
  }
  return std::nullopt;
}

inline std::int64_t sink_writer::timestamp_ms(std::int64_t row, std::int64_t event_time_ms) const {
  if (times_ == nullptr || is_null(*times_, row)) return event_time_ms;
  const auto time = fixed_values<std::int64_t>(*times_)[row];
  return time_in_micros_ ? time / 1000 : time;
}

status sink_writer::write(const row_space& space, edge_rows& in, batch_memory& memory, contribution& to, node_counts& counts,
                          const bury_fn& bury) {
  counts.in += in.base->rows.size();
  const row_base* base = in.base;
  if (node_.purpose_bit >= 0) {
    base = &agreed_rows(*in.base, space, std::uint64_t{1} << node_.purpose_bit, memory);
    counts.drop(host_cause::no_consent, in.base->rows.size() - base->rows.size());
  }
  if (base->rows.empty()) return {};
  edge_rows chosen{base, {}};
  if (!node_.withheld.empty()) chosen.slots = in.slots;
  for (const auto& [slot, needs] : node_.withheld) {
    const auto& of = flow_.edges[static_cast<std::size_t>(node_.edge_in)].columns[static_cast<std::size_t>(slot)].of;
    SONDER_TRY(withhold_column(chosen, slot, needs, space, of, memory));
  }
  auto& rows = node_.withheld.empty() ? in : chosen;
  SONDER_TRY(bind(rows, find_rows(rows, *base), memory));
  auto& ages = to.ages[sink_];
  const bool may_lack_key = !node_.topic.compact;
  const auto record_bytes_max = plan_->record_bytes_max;
  std::size_t buried = 0;
  for (std::size_t i = 0; i < base->rows.size(); ++i) {
    const auto space_row = base->rows[i];
    const std::int64_t row = found_[i];
    const auto& origin = space.record_of(space_row);
    const auto headers = node_.forward_headers ? origin.headers : headers_;
    std::optional<host_cause> refused;
    if (of_table_ && !origin.has_value) [[unlikely]] refused = host_cause::no_value;
    if (!refused) refused = make_key(row, origin);
    const bool keyed = key_from_ >= key_from::field || key_.size() > 0;
    std::size_t bytes = 0;
    bool fits = true;
    if (!refused) {
      auto& output = to.output(sink_, partition_of(row));
      const auto room = to.room_in(output);
      const auto time_ms = timestamp_ms(row, space.event_time_ms[static_cast<std::size_t>(space_row)]);
      output.append_made(time_ms, keyed ? &key_ : nullptr, headers, [&](buffer& made) {
        const auto before = made.size();
        refused = append_value(row, origin, made);
        bytes = key_.size() + (made.size() - before) + headers.size();
        // What the log would refuse, and the whole epoch with it, is refused here.
        if (!refused && !keyed && !may_lack_key) refused = host_cause::missing_value;
        if (!refused && bytes > record_bytes_max) refused = host_cause::too_large;
        fits = refused.has_value() || bytes <= room;
        return !refused && fits;
      });
    }
    if (!fits) [[unlikely]] {
      if (!to.takes_all) return fail(errc::capacity, "the outputs of one batch are more than a log takes at once; lower batch_rows");
      refused = host_cause::too_large;
    }
    if (refused) [[unlikely]] {
      ++buried;
      counts.bury(*refused);
      SONDER_TRY(bury(space, space_row, name(*refused)));
      continue;
    }
    to.bytes += bytes;
    if (origin.offset >= 0) ages.add(origin.timestamp_ms);  // a timer comes from no record
  }
  counts.passed += base->rows.size() - buried;
  to.records_out += base->rows.size() - buried;
  return {};
}

}  // namespace sonder
