#include "cli/topic_writer.h"

#include <algorithm>
#include <chrono>

#include "avro/framing.h"
#include "log/record_batch.h"

namespace sonder::cli {
namespace {

std::int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

result<std::ptrdiff_t> column_of(const std::vector<field>& rows, const std::string& name,
                                 const std::string& role) {
  if (name.empty()) return -1;
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (rows[i].name == name) return static_cast<std::ptrdiff_t>(i);
  return fail(errc::not_found, role + " field \"" + name + "\" is not in the schema");
}

bool holds_text(const field& of) {
  return of.type.id == type_id::utf8 || of.type.id == type_id::binary ||
         of.type.id == type_id::enumeration;
}

// The bytes that Kafka would partition by: a string's own, an enum's symbol.
bytes_view text_of(const field& of, const ArrowArray& column, std::int64_t row) {
  if (of.type.id != type_id::enumeration) return bytes_at(column, row);
  const auto index = fixed_values<std::int32_t>(column)[row];
  return as_bytes(of.type.symbols[static_cast<std::size_t>(index)]);
}

// Several fields make a key of Avro without framing: the fields' bodies in the order of the
// configuration.
result<encode_plan> compile_key(const record_shape& shape, const std::vector<field>& rows) {
  schema key;
  key.type = avro_type::record;
  key.name = "key";
  for (const auto& name : shape.key) {
    const auto* of = shape.of->find_field(name);
    if (of == nullptr)
      return fail(errc::not_found, "key field \"" + name + "\" is not in the schema");
    key.fields.push_back({of->name, of->type, "", {}, sort_order::ascending, {}, {}});
  }
  return encode_plan::compile(key, rows);
}

}  // namespace

struct topic_writer::parts {
  parts(log& l, record_shape s, encode_plan v)
      : to(l), shape(std::move(s)), value_plan(std::move(v)) {}

  log& to;
  record_shape shape;
  encode_plan value_plan;
  std::optional<encode_plan> key_plan;
  std::optional<row_encoder> value_encoder;
  std::optional<row_encoder> key_encoder;
  std::vector<field> fields;
  std::ptrdiff_t subject = -1;
  std::ptrdiff_t event_time = -1;
  std::ptrdiff_t key = -1;
  std::vector<record_batch_builder> pending;
  std::uint64_t records = 0;
  std::uint64_t appended = 0;  ///< of `records`, those that the log holds
  std::vector<const ArrowArray*> arrays;
  buffer value;
  buffer key_bytes;

  [[nodiscard]] std::int64_t timestamp_ms(std::int64_t row) const {
    if (event_time < 0) return now_ms();
    const auto& column = *arrays[static_cast<std::size_t>(event_time)];
    if (is_null(column, row)) return now_ms();
    const auto value_at = fixed_values<std::int64_t>(column)[row];
    const bool micros =
        fields[static_cast<std::size_t>(event_time)].type.id == type_id::timestamp_us;
    return micros ? value_at / 1000 : value_at;
  }

  // The partition of the row; key bytes, if there is a key, in `key_bytes`.
  result<std::int32_t> place(std::int64_t row, bool& has_key) {
    has_key = !shape.key.empty();
    key_bytes.clear();
    if (key_encoder) {
      if (const auto refused = key_encoder->encode(row, key_bytes); refused)
        return fail(errc::invalid, "key: " + key_plan->describe(refused));
    } else if (key >= 0) {
      const auto& column = *arrays[static_cast<std::size_t>(key)];
      if (is_null(column, row))
        return fail(errc::invalid, "field \"" + shape.key[0] + "\", the key, is null");
      const auto text = text_of(fields[static_cast<std::size_t>(key)], column, row);
      key_bytes.append(text.data(), text.size());
    }
    if (subject >= 0) {
      const auto& column = *arrays[static_cast<std::size_t>(subject)];
      if (is_null(column, row))
        return fail(errc::invalid, "field \"" + shape.subject + "\", the subject, is null");
      const auto text = text_of(fields[static_cast<std::size_t>(subject)], column, row);
      if (text.empty())
        return fail(errc::invalid, "field \"" + shape.subject + "\", the subject, is empty; a flow has nobody to ask then");
      return murmur2_partition(text, shape.partitions);
    }
    if (has_key) return murmur2_partition({key_bytes.data(), key_bytes.size()}, shape.partitions);
    return static_cast<std::int32_t>(records % static_cast<std::uint64_t>(shape.partitions));
  }

  // A topic without key has nothing that a tombstone could remove; and where the subject is no part
  // of the key, nothing tells the partition.
  [[nodiscard]] status check_tombstone() const {
    if (shape.key.empty()) return fail(errc::invalid, "a tombstone needs a key, and the topic has none");
    if (shape.subject.empty() || std::find(shape.key.begin(), shape.key.end(), shape.subject) != shape.key.end()) return {};
    return fail(errc::unsupported, "a tombstone has only the key, and the partition comes from field \"" + shape.subject +
                                       "\", which is no part of it");
  }

  status append(std::int64_t row, bool tombstone) {
    if (tombstone) SONDER_TRY(check_tombstone());
    bool has_key = false;
    const auto partition = place(row, has_key);
    if (!partition) return tl::unexpected(partition.error());
    const bytes_view key_view{key_bytes.data(), key_bytes.size()};
    if (tombstone) {
      pending[static_cast<std::size_t>(*partition)].append(now_ms(), &key_view, nullptr, {});
      ++records;
      return {};
    }
    value.clear();
    if (shape.schema_id >= 0) append_frame(shape.schema_id, value);
    if (const auto refused = value_encoder->encode(row, value); refused)
      return fail(errc::invalid, value_plan.describe(refused));
    const bytes_view value_view{value.data(), value.size()};
    pending[static_cast<std::size_t>(*partition)].append(
        timestamp_ms(row), has_key ? &key_view : nullptr, &value_view, {});
    ++records;
    return {};
  }

  status flush() {
    std::vector<produced_batch> batches;
    for (std::size_t p = 0; p < pending.size(); ++p)
      if (pending[p].count() > 0)
        batches.push_back({shape.topic, static_cast<std::int32_t>(p), &pending[p]});
    if (batches.empty()) return {};
    SONDER_TRY(to.append(batches));
    for (auto& batch : pending) batch.clear();
    appended = records;
    return {};
  }

  [[nodiscard]] std::size_t pending_bytes() const {
    std::size_t bytes = 0;
    for (const auto& batch : pending) bytes += batch.bytes();
    return bytes;
  }
};

topic_writer::topic_writer(std::unique_ptr<parts> p) : parts_(std::move(p)) {}
topic_writer::~topic_writer() = default;
std::uint64_t topic_writer::records() const noexcept {
  return parts_->records;
}
std::uint64_t topic_writer::appended() const noexcept {
  return parts_->appended;
}
status topic_writer::flush() {
  return parts_->flush();
}

result<std::unique_ptr<topic_writer>> topic_writer::create(log& to, record_shape shape,
                                                           const std::vector<field>& rows) {
  auto value_plan = encode_plan::compile(*shape.of, rows);
  if (!value_plan) return tl::unexpected(value_plan.error());
  auto p = std::make_unique<parts>(to, std::move(shape), std::move(*value_plan));
  const auto& s = p->shape;
  p->fields = rows;
  p->pending.resize(static_cast<std::size_t>(s.partitions));
  p->value_encoder.emplace(p->value_plan);
  const auto find = [&](const std::string& name, const std::string& role,
                        std::ptrdiff_t& into) -> status {
    const auto at = column_of(rows, name, role);
    if (!at) return tl::unexpected(at.error());
    into = *at;
    return {};
  };
  SONDER_TRY(find(s.subject, "subject", p->subject));
  SONDER_TRY(find(s.event_time, "event time", p->event_time));
  if (s.key.size() == 1) SONDER_TRY(find(s.key[0], "key", p->key));
  if (p->subject >= 0 && !holds_text(rows[static_cast<std::size_t>(p->subject)]))
    return fail(errc::invalid, "subject field \"" + s.subject + "\" must be a string");
  if (p->event_time >= 0) {
    const auto id = rows[static_cast<std::size_t>(p->event_time)].type.id;
    if (id != type_id::timestamp_ms && id != type_id::timestamp_us && id != type_id::int64)
      return fail(errc::invalid, "event time field \"" + s.event_time + "\" must be a timestamp");
  }
  // One field that is no text is encoded like several are.
  if (s.key.size() > 1 || (p->key >= 0 && !holds_text(rows[static_cast<std::size_t>(p->key)]))) {
    auto key_plan = compile_key(s, rows);
    if (!key_plan) return tl::unexpected(key_plan.error());
    p->key = -1;
    p->key_plan.emplace(std::move(*key_plan));
    p->key_encoder.emplace(*p->key_plan);
  }
  return std::unique_ptr<topic_writer>(new topic_writer(std::move(p)));
}

status topic_writer::write(columns& rows, std::span<const std::uint8_t> tombstones) {
  auto& p = *parts_;
  p.arrays.clear();
  for (std::size_t i = 0; i < rows.size(); ++i) p.arrays.push_back(&rows[i].lend());
  p.value_encoder->bind(p.arrays);
  if (p.key_encoder) p.key_encoder->bind(p.arrays);
  for (std::int64_t row = 0; row < rows.length(); ++row) {
    const bool tombstone = !tombstones.empty() && tombstones[static_cast<std::size_t>(row)] != 0;
    if (auto done = p.append(row, tombstone); !done)
      return tl::unexpected(done.error().at("topic \"" + p.shape.topic + "\", record " +
                                            std::to_string(p.records + 1)));
    if ((row & 63) == 63 && p.pending_bytes() > pending_bytes_max) SONDER_TRY(p.flush());
  }
  if (p.pending_bytes() > pending_bytes_max) SONDER_TRY(p.flush());
  return {};
}

}  // namespace sonder::cli
