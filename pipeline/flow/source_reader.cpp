#include "flow/source_reader.h"

#include <algorithm>
#include <functional>

#include "avro/framing.h"
#include "flow/rekey.h"
#include "observe/log.h"

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

result<std::int64_t> begin_at(log& on, std::string_view topic, std::int32_t partition, std::int64_t committed) {
  if (committed >= 0) return committed;
  const auto kept = on.offsets(topic, partition);
  if (!kept) return tl::unexpected(kept.error());
  return kept->first;
}

source_reader::source_reader(const graph& flow, int source, log& from, schema_registry& schemas, std::int32_t partition,
                             logger* lines)
    : source_reader(flow, flow.sources[static_cast<std::size_t>(source)], source, from, schemas, partition, lines) {}

source_reader::source_reader(const graph& flow, const rekey_node& rekey, log& from, schema_registry& schemas, std::int32_t partition,
                             logger* lines)
    : source_reader(flow, rekey.raw, rekey.source, from, schemas, partition, lines) {}

source_reader::source_reader(const graph& flow, int source, log& from, schema_registry& schemas, std::int32_t partition,
                             logger* lines, global_table& copy, buries_fn buries)
    : source_reader(flow, source, from, schemas, partition, lines) {
  copy_ = std::make_unique<global_table::reader>(copy);
  buries_ = std::move(buries);
  reached_.assign(static_cast<std::size_t>(copy_->partitions()), 0);
}

source_reader::source_reader(const graph& flow, const source_node& node, int source, log& from, schema_registry& schemas,
                             std::int32_t partition, logger* lines)
    : flow_(flow),
      node_(node),
      source_(source),
      from_(from),
      schemas_(schemas),
      partition_(partition),
      lost_(node.topic, node.rekey >= 0 ? "rekey_lost" : "lost", node.rekey >= 0 ? node.topic.rekey_skips_lost : node.topic.skips_lost,
            partition, lines),
      lines_(lines) {
  std::vector<field> fields;
  for (const auto& column : flow.edges[static_cast<std::size_t>(node_.edge_out)].columns) fields.push_back(column.of);
  columns_ = columns(fields);
  if (node_.topic.role == topic_role::table && node_.subject_slot >= 0) read_keys();
}

/// A tombstone has nothing but its key. What the flow does not say of keys is left to the stages: other platforms' have forms of
/// their own, and a removal of consent must not be lost to a guess.
void source_reader::read_keys() {
  const auto& topic = node_.topic;
  if (topic.key.size() == 1) {
    keys_tell_subject_ = topic.key.front() == topic.subject && topic.where.contains("key");
    return;
  }
  schema key;
  key.type = avro_type::record;
  key.name = "key";
  for (const auto& name : topic.key) {
    const auto* of = node_.schema_of->find_field(name);
    if (of == nullptr) return;
    key.fields.push_back({of->name, of->type, "", {}, sort_order::ascending, {}, {}});
  }
  auto plan = decode_plan::compile(key, key, {&topic.subject, 1});
  if (!plan) return;
  key_plan_ = std::make_unique<const decode_plan>(std::move(*plan));
  key_columns_ = columns(key_plan_->fields());
  keys_tell_subject_ = true;
}

std::int64_t source_reader::next_offset() const noexcept {
  return at_ < block_.records.size() ? block_.records[at_].offset : next_offset_;
}

void source_reader::seek(std::int64_t offset, bool fresh) {
  block_.clear();
  fresh_ = fresh;
  at_ = 0;
  next_offset_ = offset;
}

result<bool> source_reader::fill(const fetch_limits& limits, bool& fetched) {
  if (waiting() > 0) return true;
  at_ = 0;
  if (copy_ != nullptr) {
    copy_->fetch(next_offset_, limits, block_, origins_);
    next_offset_ = block_.next_offset;
    end_seen_ = std::max(end_seen_, next_offset_);
    return !block_.records.empty();
  }
  if (auto ok = from_.fetch(node_.topic.topic, partition_, next_offset_, limits, block_); !ok) {
    return tl::unexpected(ok.error());
  }
  if (block_.removed > 0 && !fresh_) SONDER_TRY(lost_.add(next_offset_, block_.removed));
  fresh_ = fresh_ && block_.next_offset <= next_offset_;
  next_offset_ = std::max(next_offset_, block_.next_offset);
  end_seen_ = std::max(end_seen_, next_offset_);  // of tables the end is not asked for while no event is to be decided
  if (node_.rekey >= 0) bring_back();
  fetched = fetched || !block_.records.empty();
  return !block_.records.empty();
}

bool source_reader::reach(const std::vector<std::int64_t>& there) noexcept {
  bool further = false;
  for (std::size_t p = 0; p < reached_.size(); ++p) {
    further = further || there[p] > reached_[p];
    reached_[p] = std::max(reached_[p], there[p]);
  }
  return further;
}

/// Records of an internal topic become what they were in the topic that they come from, but for their offset.
void source_reader::bring_back() {
  origins_.assign(block_.records.size(), {});
  headers_.clear();
  std::size_t bytes = 0;
  for (const auto& record : block_.records) bytes += record.headers.size() + headers_overhead;
  headers_.reserve_more(bytes);  // views into it are made below
  for (std::size_t i = 0; i < block_.records.size(); ++i) {
    auto& record = block_.records[i];
    const auto start = headers_.size();
    header_view first;
    forwarded_record was;
    if (!take_first_header(record.headers, first, headers_) || !read_forwarded(first, was)) {
      headers_.set_size(start);
      continue;
    }
    record.headers = {headers_.data() + start, headers_.size() - start};
    record.has_key = was.has_key;
    record.key = was.key;
    record.timestamp_ms = was.timestamp_ms;
    origins_[i] = {was.partition, was.offset};
  }
}

bool source_reader::buries(const log_record& record) const {
  const auto at = place_of(record);
  return !buries_ || buries_({at.partition, at.offset});
}

record_place source_reader::place_of(const log_record& record) const noexcept {
  const auto* first = block_.records.data();
  const std::less<const log_record*> before;
  const bool elsewhere = node_.rekey >= 0 || copy_ != nullptr;
  if (elsewhere && !before(&record, first) && before(&record, first + block_.records.size())) {
    const auto& was = origins_[static_cast<std::size_t>(&record - first)];
    const auto& of = copy_ != nullptr ? node_ : flow_.rekeys[static_cast<std::size_t>(node_.rekey)].raw;
    if (was.partition >= 0) return {of.topic.topic, was.partition, was.offset};
  }
  return {node_.topic.topic, partition_, record.offset};
}

result<std::int64_t> source_reader::end_offset() {
  if (copy_ != nullptr) return end_seen_ = copy_->end();
  auto range = from_.offsets(node_.topic.topic, partition_);
  if (!range) return tl::unexpected(range.error());
  end_seen_ = range->end;
  return range->end;
}

source_backlog source_reader::backlog() const noexcept {
  source_backlog now;
  now.records = std::max<std::int64_t>(0, end_seen_ - next_offset());
  now.waiting = waiting();
  const auto& fetched = block_.records;
  if (!fetched.empty()) now.oldest_ms = fetched[std::min(at_, fetched.size() - 1)].timestamp_ms;
  return now;
}

result<const source_reader::writer_plan*> source_reader::plan_for(std::int32_t schema_id) {
  for (const auto& known : plans_) {
    if (known->schema_id == schema_id) return known.get();
  }
  auto made = std::make_shared<writer_plan>();
  made->schema_id = schema_id;
  auto writer = schema_id < 0 ? result<schema_ptr>(node_.schema_of) : schemas_.by_id(schema_id);
  if (!writer) {
    if (writer.error().code == errc::not_found) {
      unknown_.refused = schemas_.given_up(schema_id) ? host_cause::schema_unanswered : host_cause::unknown_schema;
      return &unknown_;
    }
    if (writer.error().code != errc::unsupported) return tl::unexpected(writer.error());
    made->refused = host_cause::unreadable_schema;  // the registry has it, and it is none that can be read
    made->because = writer.error().message;
    if (plans_.size() >= writer_schemas_max) plans_.erase(plans_.begin());
    plans_.push_back(std::move(made));
    return plans_.back().get();
  }
  auto plan = decode_plan::compile(**writer, *node_.schema_of, node_.wanted);
  made->refused = host_cause::unreadable_schema;
  if (plan) {
    made->plan = std::make_shared<const decode_plan>(std::move(*plan));
  } else {
    made->because = plan.error().message;
  }
  if (plans_.size() >= writer_schemas_max) plans_.erase(plans_.begin());
  plans_.push_back(std::move(made));
  return plans_.back().get();
}

/// The plan of nearly every record: that of the one before. Null where a record needs a closer look.
inline const decode_plan* source_reader::usual_plan(const log_record& record, bytes_view& body) const noexcept {
  if (!record.has_value || last_ == nullptr) return nullptr;
  std::int32_t schema_id = -1;
  body = record.value;
  if (!node_.topic.bare) {
    const auto frame = parse_frame(record.value);
    if (!frame) return nullptr;
    schema_id = frame->schema_id;
    body = frame->body;
  }
  return last_->schema_id == schema_id ? last_->plan.get() : nullptr;
}

/// Appends the record as a row of the columns, or says why not in `refused`.
status source_reader::decode(const log_record& record, std::optional<source_refusal>& refused) {
  if (!record.has_value) {
    if (node_.topic.role == topic_role::event) {
      refused = source_refusal{host_cause::no_value, {}};
      return {};
    }
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      columns_[i].nullable() ? columns_[i].append_null() : columns_[i].append_zero();
    }
    return {};
  }
  std::int32_t schema_id = -1;
  auto body = record.value;
  if (!node_.topic.bare) {
    const auto frame = parse_frame(record.value);
    if (!frame) {
      refused = source_refusal{host_cause::not_framed, {}};
      return {};
    }
    schema_id = frame->schema_id;
    body = frame->body;
  }
  if (last_ == nullptr || last_->schema_id != schema_id) {
    auto plan = plan_for(schema_id);
    if (!plan) return tl::unexpected(plan.error());
    last_ = *plan;
  }
  if (last_->plan == nullptr) {
    refused = source_refusal{last_->refused, {}};
  } else if (const auto wrong = last_->plan->decode(body, columns_)) {
    refused = source_refusal{host_cause::undecodable, wrong};
  }
  return {};
}

/// A removal that lies in another partition than what it removes would never reach it.
std::optional<host_cause> source_reader::check_tombstone(const log_record& record) {
  if (!keys_tell_subject_ || !record.has_key) return std::nullopt;
  auto subject = as_text(record.key);
  if (key_plan_ != nullptr) {
    key_columns_.clear();
    if (key_plan_->decode(record.key, key_columns_)) return std::nullopt;  // of another form
    subject = text_of(key_columns_[0], 0);
  }
  if (murmur2_partition(as_bytes(subject), node_.topic.partitions) != partition_) return host_cause::wrong_partition;
  return std::nullopt;
}

namespace {

/// What the host itself asks of a row that was decoded: a subject, its own partition, a time that can be.
struct row_check {
  const column* times = nullptr;     ///< null: records' own
  const column* subjects = nullptr;  ///< null: the topic has none
  bool in_micros = false;            ///< `times`
  std::int64_t latest_ms = INT64_MAX;
  std::int32_t partitions = 1;
  std::int32_t partition = 0;

  /// `event_time_ms` comes in as the record's own.
  [[nodiscard]] std::optional<host_cause> operator()(std::int64_t row, std::int64_t& event_time_ms) const {
    if (times != nullptr && holds_value(*times, row)) {
      event_time_ms = times->values.as<std::int64_t>()[row];
      if (in_micros) event_time_ms /= 1000;
    }
    if (event_time_ms > latest_ms) return host_cause::future;
    if (subjects == nullptr) return std::nullopt;
    const auto subject = holds_value(*subjects, row) ? text_of(*subjects, row) : std::string_view();
    if (subject.empty()) return host_cause::no_subject;
    if (partitions > 1 && murmur2_partition(as_bytes(subject), partitions) != partition) return host_cause::wrong_partition;
    return std::nullopt;
  }
};

row_check check_of(const graph& flow, const source_node& node, columns& decoded, std::int32_t partition, std::int64_t now_ms) {
  row_check check;
  if (node.event_time_slot >= 0 && !node.raw) check.times = &decoded[static_cast<std::size_t>(node.event_time_slot)];
  check.in_micros = check.times != nullptr && check.times->type().id == type_id::timestamp_us;
  if (node.subject_slot >= 0) check.subjects = &decoded[static_cast<std::size_t>(node.subject_slot)];
  if (node.topic.role == topic_role::event && !node.raw) check.latest_ms = now_ms + flow.options.future_ms_max;
  // What is forwarded may lie anywhere, and every task reads a global table.
  check.partitions = node.raw || node.topic.role == topic_role::global ? 1 : node.topic.partitions;
  check.partition = partition;
  return check;
}

/// What a reader of the log needs beside the name of a cause, and what to do about it.
std::string_view meaning(host_cause cause) noexcept {
  switch (cause) {
    case host_cause::not_framed: return "it does not begin with a schema id (zero byte, four bytes); is the topic's framing bare?";
    case host_cause::schema_unanswered: return "the registry has not answered for its schema";
    case host_cause::unknown_schema: return "the registry has no schema with its id";
    case host_cause::no_value: return "it is a tombstone, and the topic holds events";
    case host_cause::no_subject: return "its subject is null or empty";
    case host_cause::wrong_partition: return "its subject belongs to another partition; the producer does not partition by murmur2 of the subject";
    case host_cause::future: return "its time is further ahead than `future_max` allows";
    default: return "";
  }
}

}  // namespace

void source_reader::warn_once(const log_record& record, const source_refusal& refused) {
  auto& told = refused.wrong ? told_undecodable_[static_cast<std::size_t>(refused.wrong.reason)]
                             : told_[static_cast<std::size_t>(refused.cause)];
  if (told || lines_ == nullptr) return;
  told = true;
  std::string because(meaning(refused.cause));
  if (refused.wrong && last_ != nullptr && last_->plan != nullptr) because = last_->plan->describe(refused.wrong);
  if (refused.cause == host_cause::unreadable_schema && last_ != nullptr) because = last_->because;
  const auto at = place_of(record);
  lines_->write(log_level::warning, "a record is dead-lettered; further ones like it in this partition are only counted",
                {{"topic", std::string(at.topic)},
                 {"partition", static_cast<std::int64_t>(at.partition)},
                 {"offset", at.offset},
                 {"cause", name(refused.cause)},
                 {"because", because}});
}

status source_reader::take(std::int32_t rows_max, std::int64_t until_ms, std::int64_t now_ms, row_space& space,
                           node_counts& counts, const bury_record_fn& bury) {
  columns_.clear();
  space.clear();
  space.source = source_;
  awaits_schema_ = false;
  const auto check = check_of(flow_, node_, columns_, partition_, now_ms);
  const auto first = at_;
  const auto end = at_ + std::min(static_cast<std::size_t>(std::max(rows_max, 0)), waiting());
  space.record.resize(end - first);
  space.event_time_ms.resize(end - first);
  std::size_t taken = 0;
  for (; at_ < end; ++at_) {
    const auto& record = block_.records[at_];
    if (record.timestamp_ms > until_ms && at_ > first) break;
    std::optional<source_refusal> refused;
    bytes_view body;
    if (const auto* plan = usual_plan(record, body)) {
      if (const auto wrong = plan->decode(body, columns_)) refused = source_refusal{host_cause::undecodable, wrong};
    } else {
      auto decoded = decode(record, refused);
      if (!decoded && decoded.error().code != errc::unavailable) return decoded;
      // Its schema is not to be had yet. What lies before it goes on, what lies behind it keeps its order.
      awaits_schema_ = !decoded;
      if (awaits_schema_) break;
    }
    if (copy_ != nullptr) reached_[static_cast<std::size_t>(origins_[at_].partition)] = origins_[at_].offset + 1;
    auto event_time_ms = record.timestamp_ms;
    if (!refused) {
      const auto cause = record.has_value ? check(static_cast<std::int64_t>(taken), event_time_ms) : check_tombstone(record);
      if (cause) {
        refused = source_refusal{*cause, {}};
        columns_.truncate(static_cast<std::int64_t>(taken));
      }
    }
    if (refused) [[unlikely]] {
      if (!buries(record)) {
        --counts.in;  // another task's, or an earlier run's
        continue;
      }
      counts.bury(refused->cause);
      warn_once(record, *refused);
      SONDER_TRY(bury(source_, record, name(refused->cause)));
      continue;
    }
    space.record[taken] = &record;
    space.event_time_ms[taken] = event_time_ms;
    ++taken;
  }
  space.record.resize(taken);
  space.event_time_ms.resize(taken);
  counts.in += at_ - first;
  counts.passed += taken;
  space.purposes.resize(static_cast<std::size_t>(space.rows()));
  if (node_.subject_slot < 0) {
    space.subject.resize(static_cast<std::size_t>(space.rows()));
    return {};
  }
  // Subjects are viewed only now, since columns move while they grow.
  for (std::int32_t row = 0; row < space.rows(); ++row) {
    if (!space.record_of(row).has_value) {
      space.subject.emplace_back();
    } else {
      space.subject.push_back(text_of(columns_[static_cast<std::size_t>(node_.subject_slot)], row));
    }
  }
  return {};
}

}  // namespace sonder
