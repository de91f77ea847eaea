#include <sodium.h>

#include <algorithm>
#include <array>

#include "avro/framing.h"
#include "flow/sink_writer.h"

namespace sonder {

namespace {

using digest = std::array<std::uint8_t, 32>;

digest sha256(bytes_view of) {
  digest d{};
  crypto_hash_sha256(d.data(), of.data(), of.size());
  return d;
}

enum place { cause, stage, topic, partition, offset, timestamp, at, value_hash, sealed, key_id, places };

const std::array<const char*, places> names = {"cause",  "stage",     "topic", "partition",  "offset",
                                               "timestamp", "at",     "value_hash", "sealed", "key_id"};

}  // namespace

dead_letter_writer::dead_letter_writer(const graph& flow, const topic_options& topic_of, std::int32_t of_partition,
                                       std::size_t record_bytes_max)
    : flow_(flow), topic_(topic_of), partition_(of_partition), record_bytes_max_(record_bytes_max) {}

result<std::unique_ptr<dead_letter_writer>> dead_letter_writer::create(const graph& flow, schema_registry& schemas,
                                                                       const secret_box& secrets, std::int32_t of_partition,
                                                                       std::size_t record_bytes_max) {
  if (flow.options.dead_letter.empty()) return nullptr;
  const auto topic_of = std::find_if(flow.options.topics.begin(), flow.options.topics.end(),
                                     [&](const topic_options& t) { return t.name == flow.options.dead_letter; });
  if (topic_of == flow.options.topics.end()) return nullptr;
  auto of = load_schema_file(topic_of->schema);
  if (!of) return tl::unexpected(of.error());
  std::unique_ptr<dead_letter_writer> made(new dead_letter_writer(flow, *topic_of, of_partition, record_bytes_max));
  for (const auto* name : names) {
    const auto* field_of = (*of)->find_field(name);
    if (field_of == nullptr) {
      return fail(errc::invalid, to_string(topic_of->at) + ": the dead-letter topic's schema has no field \"" + name +
                                     "\"; use schemas/dead_letter.avsc or a schema with its fields");
    }
    made->fields_.push_back(column_field(*field_of->type, name));
    made->columns_.emplace_back(made->fields_.back());
  }
  auto plan = encode_plan::compile(**of, made->fields_);
  if (!plan) return tl::unexpected(plan.error().at(to_string(topic_of->at)));
  made->plan_ = std::make_shared<const encode_plan>(std::move(*plan));
  made->encoder_ = std::make_unique<row_encoder>(*made->plan_);
  auto id = schemas.register_schema(topic_of->topic + "-value", **of);
  if (!id) return tl::unexpected(id.error());
  made->schema_id_ = *id;
  if (!flow.options.quarantine_key.empty()) {
    const auto* secret = secrets.find(flow.options.quarantine_key);
    if (secret == nullptr) {
      return fail(errc::not_found, "quarantine key: no secret \"" + flow.options.quarantine_key + "\" under `secrets`");
    }
    auto seal = dead_letter_seal::make(*secret);
    if (!seal) return tl::unexpected(seal.error().at(to_string(flow.options.secrets.at(flow.options.quarantine_key).at)));
    made->seal_ = std::move(*seal);
  }
  return made;
}

void dead_letter_writer::fill(const letter& of, std::int64_t now_ms, bool with_bytes) {
  for (auto& column : columns_) column.clear();
  // What is appended fits by far: names are bounded, and a record's value is bounded by its topic.
  const auto put = [&](place p, bytes_view value) {
    if (!columns_[p].append_bytes(value)) columns_[p].append_null();
  };
  put(cause, as_bytes(of.cause));
  put(stage, as_bytes(of.stage));
  put(topic, as_bytes(of.at.topic));
  columns_[partition].append_int32(of.at.partition);
  const auto& record = *of.record;
  columns_[offset].append_int64(of.at.offset);
  columns_[timestamp].append_int64(record.timestamp_ms);
  columns_[at].append_int64(now_ms);
  if (!record.has_value) {
    put(value_hash, {});
    columns_[sealed].append_null();
    columns_[key_id].append_null();
  } else if (seal_ == nullptr) {
    put(value_hash, sha256(record.value));
    columns_[sealed].append_null();
    columns_[key_id].append_null();
  } else {
    put(value_hash, seal_->hash(record.value));
    if (with_bytes) {
      seal_->close(record, plain_, sealed_);
      put(sealed, {sealed_.data(), sealed_.size()});
      put(key_id, as_bytes(seal_->key_id()));
    } else {
      columns_[sealed].append_null();
      columns_[key_id].append_null();
    }
  }
}

status dead_letter_writer::encode() {
  std::vector<const ArrowArray*> arrays;
  for (auto& column : columns_) arrays.push_back(&column.lend());
  encoder_->bind(arrays);
  encoded_.clear();
  if (!topic_.bare) append_frame(schema_id_, encoded_);
  if (const auto wrong = encoder_->encode(0, encoded_)) {
    return fail(errc::internal, "a dead letter cannot be written: " + plan_->describe(wrong));
  }
  return {};
}

status dead_letter_writer::write(const letter& of, std::int64_t now_ms, contribution& to) {
  fill(of, now_ms, true);
  SONDER_TRY(encode());
  // A record may be as large as its topic allows; sealed, it is larger than this one does.
  if (encoded_.size() > record_bytes_max_) {
    fill(of, now_ms, false);
    SONDER_TRY(encode());
  }
  auto& output = to.output(flow_.sinks.size(), partition_ % topic_.partitions);
  if (!to.fits(output, encoded_.size())) {
    if (!to.takes_all) return fail(errc::capacity, "the dead letters of one batch are more than a log takes at once; lower batch_rows");
    fill(of, now_ms, false);
    SONDER_TRY(encode());
  }
  const bytes_view value{encoded_.data(), encoded_.size()};
  output.append(now_ms, nullptr, &value, {});
  to.bytes += value.size();
  ++to.dead_letters;
  return {};
}

}  // namespace sonder
