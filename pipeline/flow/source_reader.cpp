#include "flow/source_reader.h"

#include "avro/framing.h"

namespace sonder {

namespace {

bool holds_value(const column& of, std::int64_t row) {
  return !of.nullable() || (of.validity.data()[row >> 3] >> (row & 7) & 1) != 0;
}

/// The bytes of a utf8 column that is still being built; they move when it grows.
std::string_view text_of(const column& of, std::int64_t row) {
  const auto* offsets = of.offsets.as<std::int32_t>();
  return {reinterpret_cast<const char*>(of.values.data()) + offsets[row], static_cast<std::size_t>(offsets[row + 1] - offsets[row])};
}

constexpr std::size_t writer_schemas_max = 64;  // per source: more than a topic sees between two restarts

}  // namespace

source_reader::source_reader(const graph& flow, int source, log& from, schema_registry& schemas, std::int32_t partition)
    : flow_(flow),
      node_(flow.sources[static_cast<std::size_t>(source)]),
      source_(source),
      from_(from),
      schemas_(schemas),
      partition_(partition) {
  std::vector<field> fields;
  for (const auto& column : flow.edges[static_cast<std::size_t>(node_.edge_out)].columns) fields.push_back(column.of);
  columns_ = columns(fields);
}

std::int64_t source_reader::next_offset() const noexcept {
  return at_ < block_.records.size() ? block_.records[at_].offset : next_offset_;
}

void source_reader::seek(std::int64_t offset) {
  block_.clear();
  at_ = 0;
  next_offset_ = offset;
}

result<bool> source_reader::fill(const fetch_limits& limits, bool& fetched) {
  if (waiting() > 0) return true;
  at_ = 0;
  if (auto ok = from_.fetch(node_.topic.topic, partition_, next_offset_, limits, block_); !ok) {
    return tl::unexpected(ok.error());
  }
  next_offset_ = std::max(next_offset_, block_.next_offset);
  fetched = fetched || !block_.records.empty();
  return !block_.records.empty();
}

result<std::int64_t> source_reader::end_offset() {
  auto range = from_.offsets(node_.topic.topic, partition_);
  if (!range) return tl::unexpected(range.error());
  return range->end;
}

result<const source_reader::writer_plan*> source_reader::plan_for(std::int32_t schema_id) {
  for (const auto& known : plans_) {
    if (known->schema_id == schema_id) return known.get();
  }
  auto made = std::make_shared<writer_plan>();
  made->schema_id = schema_id;
  auto writer = schema_id < 0 ? result<schema_ptr>(node_.schema_of) : schemas_.by_id(schema_id);
  if (!writer) {
    if (writer.error().code == errc::not_found) return &unknown_;
    return tl::unexpected(writer.error());
  }
  auto plan = decode_plan::compile(**writer, *node_.schema_of, node_.wanted);
  made->refused = host_cause::unreadable_schema;
  if (plan) made->plan = std::make_shared<const decode_plan>(std::move(*plan));
  if (plans_.size() >= writer_schemas_max) plans_.erase(plans_.begin());
  plans_.push_back(std::move(made));
  return plans_.back().get();
}

/// Appends the record as a row of the columns, or says why not.
result<std::optional<host_cause>> source_reader::decode(const log_record& record) {
  if (!record.has_value) {
    if (node_.topic.role == topic_role::event) return std::optional(host_cause::no_value);
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      columns_[i].nullable() ? columns_[i].append_null() : columns_[i].append_zero();
    }
    return std::optional<host_cause>{};
  }
  std::int32_t schema_id = -1;
  auto body = record.value;
  if (!node_.topic.bare) {
    const auto frame = parse_frame(record.value);
    if (!frame) return std::optional(host_cause::not_framed);
    schema_id = frame->schema_id;
    body = frame->body;
  }
  auto plan = plan_for(schema_id);
  if (!plan) return tl::unexpected(plan.error());
  if ((*plan)->plan == nullptr) return std::optional((*plan)->refused);
  if ((*plan)->plan->decode(body, columns_)) return std::optional(host_cause::undecodable);
  return std::optional<host_cause>{};
}

/// What the host itself asks of a row: a subject, its own partition, a time that can be.
std::optional<host_cause> source_reader::check_row(std::int64_t row, const log_record& record, std::int64_t now_ms) {
  event_time_ms_ = record.timestamp_ms;
  subject_ = {};
  if (!record.has_value) return std::nullopt;
  if (node_.event_time_slot >= 0) {
    const auto& times = columns_[static_cast<std::size_t>(node_.event_time_slot)];
    if (holds_value(times, row)) {
      event_time_ms_ = times.values.as<std::int64_t>()[row];
      if (times.type().id == type_id::timestamp_us) event_time_ms_ /= 1000;
    }
  }
  if (node_.topic.role == topic_role::event && event_time_ms_ > now_ms + flow_.options.future_ms_max) return host_cause::future;
  if (node_.subject_slot < 0) return std::nullopt;
  const auto& subjects = columns_[static_cast<std::size_t>(node_.subject_slot)];
  if (!holds_value(subjects, row)) return host_cause::no_subject;
  subject_ = text_of(subjects, row);
  if (subject_.empty()) return host_cause::no_subject;
  if (murmur2_partition(as_bytes(subject_), node_.topic.partitions) != partition_) return host_cause::wrong_partition;
  return std::nullopt;
}

void source_reader::add_row(const log_record& record, row_space& space) {
  space.record.push_back(&record);
  space.event_time_ms.push_back(event_time_ms_);
  space.purposes.push_back(0);
}

status source_reader::take(std::int32_t rows_max, std::int64_t until_ms, std::int64_t now_ms, row_space& space,
                           node_counts& counts, const bury_record_fn& bury) {
  columns_.clear();
  space.clear();
  space.source = source_;
  for (std::int32_t taken = 0; taken < rows_max && at_ < block_.records.size(); ++taken, ++at_) {
    const auto& record = block_.records[at_];
    if (record.timestamp_ms > until_ms && taken > 0) break;
    ++counts.in;
    const auto row = static_cast<std::int64_t>(space.rows());
    auto refused = decode(record);
    if (!refused) return tl::unexpected(refused.error());
    if (!*refused) {
      *refused = check_row(row, record, now_ms);
      if (*refused) columns_.truncate(row);
    }
    if (*refused) {
      counts.bury(**refused);
      SONDER_TRY(bury(source_, record, name(**refused)));
      continue;
    }
    ++counts.passed;
    add_row(record, space);
  }
  // Subjects are viewed only now, since columns move while they grow.
  for (std::int32_t row = 0; row < space.rows(); ++row) {
    if (node_.subject_slot < 0 || !space.record_of(row).has_value) {
      space.subject.emplace_back();
    } else {
      space.subject.push_back(text_of(columns_[static_cast<std::size_t>(node_.subject_slot)], row));
    }
  }
  return {};
}

}  // namespace sonder
