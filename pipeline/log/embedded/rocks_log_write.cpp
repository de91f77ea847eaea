#include <rocksdb/write_batch.h>

#include <algorithm>
#include <cstdio>

#include "log/embedded/data_folder.h"
#include "log/embedded/rocks_log.h"
#include "record/number_of.h"

namespace sonder::embedded {
namespace {

constexpr std::size_t topic_value_bytes = 4 + 4 + 1 + 8 + 8 + 8 + 4;
constexpr std::uint8_t topic_compacted = 1;
constexpr std::uint8_t topic_append_time = 2;

std::string place_of(const produced_batch& produced) {
  return "topic \"" + std::string(produced.topic) + "\", partition " +
         std::to_string(produced.partition);
}

// The first property in which the two differ, as people name it.
std::string difference(const topic_config& have, const topic_config& want) {
  const auto say = [](const char* what, std::int64_t a, std::int64_t b) {
    return std::string(what) + " " + std::to_string(a) + ", not " + std::to_string(b);
  };
  if (have.partitions != want.partitions)
    return say("partitions", have.partitions, want.partitions);
  if (have.compacted != want.compacted) return say("compacted", have.compacted, want.compacted);
  if (have.log_append_time != want.log_append_time)
    return say("log_append_time", have.log_append_time, want.log_append_time);
  if (have.retention_ms != want.retention_ms)
    return say("retention_ms", have.retention_ms, want.retention_ms);
  if (have.retention_bytes != want.retention_bytes)
    return say("retention_bytes", have.retention_bytes, want.retention_bytes);
  if (have.tombstone_ms != want.tombstone_ms)
    return say("tombstone_ms", have.tombstone_ms, want.tombstone_ms);
  return say("record_bytes_max", have.record_bytes_max, want.record_bytes_max);
}

}  // namespace

status check_name(std::string_view kind, std::string_view name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  if (name.empty() || name.size() > embedded_limits::name_bytes_max || name == "." ||
      name == ".." || !std::all_of(name.begin(), name.end(), allowed)) {
    return fail(errc::invalid, std::string(kind) + " name: has " + number_of(name.size(), "character") + "; 1 to " +
                                   std::to_string(embedded_limits::name_bytes_max) + " of a-z A-Z 0-9 . _ - are allowed");
  }
  return {};
}

status check_label(std::string_view kind, std::string_view name) {
  if (!name.empty() && name.size() <= embedded_limits::name_bytes_max) return {};
  return fail(errc::invalid, std::string(kind)
                                 .append(" name: has ")
                                 .append(std::to_string(name.size()))
                                 .append(" bytes; 1 to ")
                                 .append(std::to_string(embedded_limits::name_bytes_max))
                                 .append(" are allowed"));
}

std::string encode_topic(std::uint32_t id, const topic_config& topic) {
  std::string value;
  put_big(value, id);
  put_big(value, static_cast<std::uint32_t>(topic.partitions));
  value.push_back(static_cast<char>((topic.compacted ? topic_compacted : 0) |
                                    (topic.log_append_time ? topic_append_time : 0)));
  put_big(value, topic.retention_ms);
  put_big(value, topic.retention_bytes);
  put_big(value, topic.tombstone_ms);
  put_big(value, static_cast<std::uint32_t>(topic.record_bytes_max));
  return value;
}

result<topic_ptr> decode_topic(std::string_view name, std::string_view value) {
  if (value.size() != topic_value_bytes) {
    return fail(errc::corrupt,
                "topic \"" + std::string(name) + "\": its configuration has a wrong size");
  }
  const char* at = value.data();
  topic_config config;
  config.name = name;
  const auto id = get_big<std::uint32_t>(at);
  config.partitions = get_big<std::int32_t>(at + 4);
  const auto flags = static_cast<std::uint8_t>(at[8]);
  config.compacted = (flags & topic_compacted) != 0;
  config.log_append_time = (flags & topic_append_time) != 0;
  config.retention_ms = get_big<std::int64_t>(at + 9);
  config.retention_bytes = get_big<std::int64_t>(at + 17);
  config.tombstone_ms = get_big<std::int64_t>(at + 25);
  config.record_bytes_max = get_big<std::int32_t>(at + 33);
  if (config.partitions < 1 || config.partitions > embedded_limits::partitions_max) {
    return fail(errc::corrupt, "topic \"" + std::string(name) + "\": its configuration is damaged");
  }
  return std::make_shared<topic_state>(id, std::move(config));
}

// ---- checks before the lock ----

status rocks_log::check_batch(const produced_batch& produced, topic_ptr& topic) {
  auto found = find_partition(produced.topic, produced.partition);
  if (!found) return tl::unexpected<error>(std::move(found).error());
  topic = std::move(*found);
  if (produced.records == nullptr)
    return fail(errc::invalid, place_of(produced) + ": no records given");
  const auto& records = *produced.records;
  if (records.largest_record_bytes() > static_cast<std::size_t>(topic->config.record_bytes_max)) {
    return fail(errc::capacity, place_of(produced) + ": a record has " +
                                    std::to_string(records.largest_record_bytes()) +
                                    " bytes, record_bytes_max is " +
                                    std::to_string(topic->config.record_bytes_max));
  }
  if (records.bytes() > embedded_limits::batch_bytes_max) {
    return fail(errc::capacity, place_of(produced) + ": a batch has " +
                                    std::to_string(records.bytes()) + " bytes, at most " +
                                    std::to_string(embedded_limits::batch_bytes_max) +
                                    " are allowed; produce smaller batches");
  }
  if (topic->config.compacted && !records.all_have_keys()) {
    return fail(errc::invalid, place_of(produced) +
                                   ": a record without a key; in a compacted topic each needs one");
  }
  return {};
}

status rocks_log::check_epoch(const epoch_changes& epoch) {
  if (!epoch.consumed.empty() || !epoch.state.empty())
    SONDER_TRY(check_label("group", epoch.group));
  std::size_t bytes_all = 0;
  topic_ptr topic;
  for (const auto& produced : epoch.produced) {
    SONDER_TRY(check_batch(produced, topic));
    bytes_all += produced.records->bytes();
  }
  for (const auto& consumed : epoch.consumed) {
    auto found = find_partition(consumed.topic, consumed.partition);
    if (!found) return tl::unexpected<error>(std::move(found).error());
    if (consumed.next < 0)
      return fail(errc::invalid,
                  "topic \"" + std::string(consumed.topic) + "\": offsets start at 0");
  }
  for (const auto& change : epoch.state) {
    SONDER_TRY(check_label("store", change.store));
    if (change.key.size() > embedded_limits::state_key_bytes_max) {
      return fail(errc::capacity, "store \"" + std::string(change.store) + "\": a key has " +
                                      std::to_string(change.key.size()) + " bytes, at most " +
                                      std::to_string(embedded_limits::state_key_bytes_max) +
                                      " are allowed");
    }
    bytes_all += change.key.size() + (change.value ? change.value->size() : 0);
  }
  if (bytes_all > embedded_limits::epoch_bytes_max) {
    return fail(errc::capacity, "epoch: has " + std::to_string(bytes_all) + " bytes, at most " +
                                    std::to_string(embedded_limits::epoch_bytes_max) +
                                    " are allowed; close epochs earlier");
  }
  return {};
}

// ---- writing ----

status rocks_log::write(rocksdb::WriteBatch& batch, std::string_view doing, bool sync) {
  rocksdb::WriteOptions how;
  how.sync = sync && options_.fsync;
  const std::shared_lock guard(db_mutex_);
  const auto outcome = db_->rocks().Write(how, &batch);
  if (outcome.ok()) return {};
  write_failed_ = true;
  return db_->failed(doing, outcome);
}

// After a failed write RocksDB refuses all further ones, for most causes until it is opened again.
// The epoch that failed is then found whole or not at all, and offsets start from what is there.
status rocks_log::recover() {
  if (!write_failed_) return {};
  const auto still_full = [&] {
    return fail(errc::unavailable, "data folder " + folder_.string() +
                                       ": the disk is full; free space, then work goes on by itself");
  };
  if (!has_space(folder_)) return still_full();
  const std::lock_guard guard(db_mutex_);
  db_.reset();
  auto again = database::open(folder_, options_);
  if (!again && !has_space(folder_)) return still_full();
  if (!again) return tl::unexpected<error>(std::move(again).error());
  db_ = std::move(*again);
  {
    const std::shared_lock topics_guard(topics_mutex_);
    for (auto& [name, topic] : topics_) SONDER_TRY(load_partitions(*topic));
  }
  SONDER_TRY(load_topics());
  write_failed_ = false;
  return {};
}

status rocks_log::write_epoch(const epoch_changes& epoch) {
  if (reads_only())
    return fail(errc::unavailable, "data folder " + folder_.string() + ": opened for reading only");
  SONDER_TRY(check_epoch(epoch));
  const std::lock_guard guard(write_mutex_);
  SONDER_TRY(recover());
  step("begin");

  std::vector<topic_ptr> topics(epoch.produced.size());
  for (std::size_t i = 0; i < topics.size(); ++i) {
    SONDER_TRY(check_batch(epoch.produced[i], topics[i]));
    auto& at = topics[i]->partitions[static_cast<std::size_t>(epoch.produced[i].partition)];
    at.pending_end = at.end.load();
    at.pending_bytes = 0;
  }
  rocksdb::WriteBatch batch;
  std::int64_t append_time_ms = -1;
  bool appends = false;
  for (std::size_t i = 0; i < topics.size(); ++i) {
    const auto& produced = epoch.produced[i];
    if (produced.records->covered() == 0) continue;
    const auto& topic = *topics[i];
    auto& at = topics[i]->partitions[static_cast<std::size_t>(produced.partition)];
    if (topic.config.log_append_time && append_time_ms < 0) append_time_ms = now_ms();
    const bytes_view finished = produced.records->finish(
        topic.config.log_append_time ? std::optional<std::int64_t>(append_time_ms) : std::nullopt,
        0);
    const auto header = read_batch_header(finished);
    if (!header) return tl::unexpected<error>(header.error());
    const batch_entry entry{header->count, header->covered,
                            static_cast<std::uint32_t>(finished.size()), 0,
                            header->max_timestamp_ms};
    const std::string key = batch_key(topic.id, produced.partition, at.pending_end);
    batch.Put(db_->at(family::records), slice(key), slice(finished));
    batch.Put(db_->at(family::index), slice(key), slice(as_value(entry)));
    at.pending_end += header->covered;
    at.pending_bytes += static_cast<std::int64_t>(finished.size());
    appends = true;
  }
  std::string key, value;
  for (const auto& consumed : epoch.consumed) {
    auto topic = find_topic(consumed.topic);
    if (!topic) return tl::unexpected<error>(std::move(topic).error());
    key.clear();
    value.clear();
    put_name(key, epoch.group);
    put_partition(key, (*topic)->id, consumed.partition);
    put_big(value, consumed.next);
    batch.Put(db_->at(family::offsets), slice(key), slice(value));
  }
  for (const auto& change : epoch.state) {
    key.clear();
    put_name(key, epoch.group);
    put_name(key, change.store);
    put_big(key, static_cast<std::uint32_t>(change.partition));
    key.append(as_text(change.key));
    if (change.value) {
      batch.Put(db_->at(family::state), slice(key), slice(*change.value));
    } else {
      batch.Delete(db_->at(family::state), slice(key));
    }
  }
  step("assigned");
  if (batch.Count() == 0) return {};
  SONDER_TRY(write(batch, "cannot commit", true));
  step("written");

  for (std::size_t i = 0; i < topics.size(); ++i) {
    auto& at = topics[i]->partitions[static_cast<std::size_t>(epoch.produced[i].partition)];
    at.bytes += at.pending_bytes;
    at.pending_bytes = 0;
    at.end.store(at.pending_end);
  }
  if (appends) {
    {
      const std::lock_guard appended_guard(appended_mutex_);
      ++appended_;
    }
    appended_changed_.notify_all();
  }
  step("visible");
  return {};
}

status rocks_log::append(std::span<const produced_batch> batches) {
  epoch_changes epoch;
  epoch.produced.assign(batches.begin(), batches.end());
  return write_epoch(epoch);
}

status rocks_log::commit(const epoch_changes& epoch) {
  return write_epoch(epoch);
}

// ---- what operators ask ----

status rocks_log::reset(const group_reset& to) {
  if (reads_only())
    return fail(errc::unavailable, "data folder " + folder_.string() + ": opened for reading only");
  SONDER_TRY(check_label("group", to.group));
  const std::lock_guard guard(write_mutex_);
  SONDER_TRY(recover());
  for (const auto& one : to.stood) {
    const auto now = committed(to.group, one.topic);
    if (!now) return tl::unexpected<error>(now.error());
    const auto p = static_cast<std::size_t>(one.partition);
    if (p < now->size() && (*now)[p] == one.next) continue;
    return fail(errc::unavailable, "topic \"" + std::string(one.topic) + "\", partition " + std::to_string(one.partition) +
                                       ": the group has moved since this reset was worked out. Nothing is changed; do the same again");
  }
  step("begin");
  rocksdb::WriteBatch batch;
  std::string key, value;
  for (const auto& part : to.cleared) {
    SONDER_TRY(check_label("store", part.store));
    key.clear();
    put_state_prefix(key, to.group, part.store, part.partition);
    const std::string upper = after_prefix(key);
    batch.DeleteRange(db_->at(family::state), slice(key), slice(upper));
  }
  for (const auto& offset : to.offsets) {
    const auto topic = find_partition(offset.topic, offset.partition);
    if (!topic) return tl::unexpected<error>(topic.error());
    key.clear();
    value.clear();
    put_name(key, to.group);
    put_partition(key, (*topic)->id, offset.partition);
    put_big(value, std::max<std::int64_t>(offset.next, 0));
    batch.Put(db_->at(family::offsets), slice(key), slice(value));
  }
  if (batch.Count() == 0) return {};
  step("assigned");
  SONDER_TRY(write(batch, "cannot reset", true));
  step("written");
  return {};
}

// ---- topics and notes ----

status rocks_log::create_topic(const topic_config& topic) {
  SONDER_TRY(check_name("topic", topic.name));
  if (topic.partitions < 1 || topic.partitions > embedded_limits::partitions_max) {
    return fail(errc::invalid, "topic \"" + topic.name + "\": " + std::to_string(topic.partitions) +
                                   " partitions; 1 to " +
                                   std::to_string(embedded_limits::partitions_max) +
                                   " are allowed");
  }
  if (topic.record_bytes_max < 1 ||
      static_cast<std::size_t>(topic.record_bytes_max) > embedded_limits::batch_bytes_max) {
    return fail(errc::invalid, "topic \"" + topic.name + "\": record_bytes_max is " +
                                   std::to_string(topic.record_bytes_max) + "; 1 to " +
                                   std::to_string(embedded_limits::batch_bytes_max) +
                                   " are allowed");
  }
  const std::lock_guard guard(write_mutex_);
  {
    const std::shared_lock topics_guard(topics_mutex_);
    const auto found = topics_.find(topic.name);
    if (found != topics_.end()) {
      if (found->second->config == topic) return {};
      return fail(errc::exists, "topic \"" + topic.name + "\": exists with " +
                                    difference(found->second->config, topic) +
                                    "; use those, or another name");
    }
  }
  if (reads_only())
    return fail(errc::unavailable, "data folder " + folder_.string() + ": opened for reading only");
  SONDER_TRY(recover());
  std::uint32_t id = 1;
  {
    const std::shared_lock topics_guard(topics_mutex_);
    if (topics_.size() >= embedded_limits::topics_max) {
      return fail(errc::capacity, "topic \"" + topic.name + "\": there are " +
                                      std::to_string(topics_.size()) + " topics already");
    }
    for (const auto& [name, other] : topics_) id = std::max(id, other->id + 1);
  }
  rocksdb::WriteBatch batch;
  batch.Put(db_->at(family::meta), slice(meta_key('t', topic.name)),
            slice(encode_topic(id, topic)));
  SONDER_TRY(write(batch, "cannot create a topic", true));
  const std::lock_guard topics_guard(topics_mutex_);
  topics_.emplace(topic.name, std::make_shared<topic_state>(id, topic));
  return {};
}

status rocks_log::set_note(std::string_view name, std::string_view value) {
  if (reads_only())
    return fail(errc::unavailable, "data folder " + folder_.string() + ": opened for reading only");
  if (name.size() > embedded_limits::name_bytes_max ||
      value.size() > embedded_limits::note_bytes_max) {
    return fail(errc::capacity, "note: has " + std::to_string(value.size()) +
                                    " bytes under a name of " + std::to_string(name.size()) +
                                    "; at most " + std::to_string(embedded_limits::note_bytes_max) +
                                    " and " + std::to_string(embedded_limits::name_bytes_max) +
                                    " are allowed");
  }
  const std::lock_guard guard(write_mutex_);
  SONDER_TRY(recover());
  rocksdb::WriteBatch batch;
  batch.Put(db_->at(family::meta), slice(meta_key('n', name)), slice(value));
  return write(batch, "cannot write a note", true);
}

}  // namespace sonder::embedded
