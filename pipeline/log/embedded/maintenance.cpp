#include <rocksdb/write_batch.h>

#include <algorithm>
#include <string_view>
#include <unordered_map>

#include "log/embedded/rocks_log.h"

namespace sonder::embedded {
namespace {

constexpr int batches_per_round_max =
    4096;  // removed by retention, or looked at, between two locks
constexpr std::size_t merged_batch_bytes = 1 << 20;  // compaction joins small batches up to this
constexpr std::int64_t merged_covered_max = 1 << 30;

struct text_hash {
  using is_transparent = void;
  std::size_t operator()(std::string_view s) const noexcept {
    return std::hash<std::string_view>{}(s);
  }
};

// The newest offset of each key in a part of a partition, exact, within a number of bytes.
class newest_offsets {
 public:
  explicit newest_offsets(std::size_t bytes_max) noexcept : bytes_max_(bytes_max) {}

  void set(std::string_view key, std::int64_t offset) {
    const auto found = offsets_.find(key);
    if (found != offsets_.end()) {
      found->second = std::max(found->second, offset);
      return;
    }
    offsets_.emplace(std::string(key), offset);
    bytes_ += key.size() + entry_bytes;
  }
  [[nodiscard]] bool full() const noexcept { return bytes_ >= bytes_max_; }
  [[nodiscard]] bool newer_than(std::string_view key, std::int64_t offset) const {
    const auto found = offsets_.find(key);
    return found != offsets_.end() && found->second > offset;
  }

 private:
  static constexpr std::size_t entry_bytes = 80;  // node, string and bucket
  std::size_t bytes_max_;
  std::size_t bytes_ = 0;
  std::unordered_map<std::string, std::int64_t, text_hash, std::equal_to<>> offsets_;
};

// A batch as it stands in the database.
struct stored_batch {
  std::int64_t base = 0;
  batch_header header;
  std::string bytes;
};

}  // namespace

/// Compaction of one partition: of each key the newest record stays, at its offset. Batches are
/// gone through from the oldest on and rewritten in that order, so that whatever is there after a
/// crash, no value lives that a tombstone already gone had deleted. Commits go on meanwhile: they
/// only add behind `mapped_to_`.
class compaction {
 public:
  compaction(rocks_log& log, topic_state& topic, std::int32_t partition)
      : log_(log),
        topic_(topic),
        partition_(partition),
        newest_(log.options_.compaction_keys_bytes_max),
        now_ms_(log.now_ms()) {}

  status run() {
    auto& state = topic_.partitions[static_cast<std::size_t>(partition_)];
    end_ = state.end.load();
    first_ = state.first.load();
    SONDER_TRY(read_note());
    if (!due()) return {};
    SONDER_TRY(map_new_records());
    SONDER_TRY(rewrite());
    note_.cleaned_to = mapped_to_;
    note_.kept = kept_;
    note_.next_deadline_ms = next_deadline_ms_;
    note_.cleaned_at_ms = now_ms_;
    rocksdb::WriteBatch batch;
    const std::lock_guard guard(log_.write_mutex_);
    SONDER_TRY(log_.recover());
    batch.Put(log_.db_->at(family::meta), slice(note_key()), slice(as_value(note_)));
    return log_.write(batch, "cannot note the end of compaction", false);
  }

 private:
  [[nodiscard]] std::string note_key() const { return meta_key('c', topic_.id, partition_); }

  status read_note() {
    const std::shared_lock guard(log_.db_mutex_);
    SONDER_TRY(log_.check_open());
    std::string value;
    const auto there = log_.db_->get(family::meta, note_key(), value);
    if (!there) return tl::unexpected<error>(there.error());
    if (*there && !read_value(value, note_))
      return fail(errc::corrupt, "compaction: its note has a wrong size");
    return {};
  }

  [[nodiscard]] bool due() const {
    if (note_.next_deadline_ms != 0 && now_ms_ >= note_.next_deadline_ms) return true;
    const std::int64_t fresh = end_ - note_.cleaned_to;
    if (fresh <= 0) return false;
    return static_cast<double>(fresh) >=
               log_.options_.compaction_dirty_ratio_min * static_cast<double>(note_.kept) ||
           now_ms_ - note_.cleaned_at_ms >= log_.options_.compaction_lag_ms_max;
  }

  // The batches from the one that holds `from` on, below `to`; as many as make up a merged batch.
  // Holds no lock afterwards.
  status read_batches(std::int64_t from, std::int64_t to, std::vector<stored_batch>& into) {
    into.clear();
    if (log_.stop_requested()) return fail(errc::cancelled, "compaction: the log is being closed");
    const std::shared_lock guard(log_.db_mutex_);
    SONDER_TRY(log_.check_open());
    const std::string upper = batch_key(topic_.id, partition_, to);
    const std::string lower = batch_key(topic_.id, partition_, 0);
    const rocksdb::Slice upper_slice = slice(upper);
    const rocksdb::Slice lower_slice = slice(lower);
    rocksdb::ReadOptions how;
    how.iterate_lower_bound = &lower_slice;
    how.iterate_upper_bound = &upper_slice;
    how.fill_cache = false;
    auto at = log_.db_->iterate(family::records, how);
    at->SeekForPrev(batch_key(topic_.id, partition_, from));
    if (!at->Valid() && at->status().ok()) at->SeekToFirst();
    std::size_t bytes_read = 0;
    for (; at->Valid() && into.size() < batches_per_round_max; at->Next()) {
      const auto header = read_batch_header(bytes(at->value()));
      if (!header) return tl::unexpected<error>(header.error());
      if (!into.empty() && bytes_read + at->value().size() > merged_batch_bytes) break;
      bytes_read += at->value().size();
      into.push_back({base_of(text(at->key())), *header, at->value().ToString()});
    }
    if (!at->status().ok()) return log_.db_->failed("cannot read records", at->status());
    return {};
  }

  status map_new_records() {
    mapped_to_ = std::max(note_.cleaned_to, first_);
    std::vector<stored_batch> batches;
    record_block block;
    while (mapped_to_ < end_ && !newest_.full()) {
      SONDER_TRY(read_batches(mapped_to_, end_, batches));
      if (batches.empty()) return {};
      for (const auto& batch : batches) {
        block.clear();
        SONDER_TRY(read_batch(as_bytes(batch.bytes), batch.base, 0, block));
        for (const auto& record : block.records) newest_.set(as_text(record.key), record.offset);
        mapped_to_ = batch.base + batch.header.covered;
        if (newest_.full()) break;
      }
    }
    return {};
  }

  status rewrite() {
    std::vector<stored_batch> batches;
    for (std::int64_t at = first_; at < mapped_to_;) {
      SONDER_TRY(read_batches(at, mapped_to_, batches));
      if (batches.empty()) return {};
      for (const auto& batch : batches) SONDER_TRY(take(batch));
      SONDER_TRY(flush());
      at = batches.back().base + batches.back().header.covered;
    }
    return {};
  }

  // Adds what stays of a batch to the merged one, which is written first if the two cannot be one.
  status take(const stored_batch& batch) {
    block_.clear();
    SONDER_TRY(read_batch(as_bytes(batch.bytes), batch.base, 0, block_));
    const std::int64_t deadline = batch.header.tombstone_deadline_ms;
    const bool expired = deadline != 0 && now_ms_ >= deadline;
    bool tombstones = false;
    const auto stays = [&](const log_record& record) {
      if (newest_.newer_than(as_text(record.key), record.offset) || (!record.has_value && expired))
        return false;
      tombstones = tombstones || !record.has_value;
      return true;
    };
    const std::size_t before = block_.records.size();
    std::erase_if(block_.records, [&](const log_record& record) { return !stays(record); });

    std::int64_t new_deadline = 0;
    if (tombstones) new_deadline = deadline != 0 ? deadline : now_ms_ + topic_.config.tombstone_ms;
    const std::int64_t covered = batch.base + batch.header.covered - base_;
    if (!merged_.empty() &&
        ((new_deadline != 0 && deadline_ms_ != 0 && new_deadline != deadline_ms_) ||
         covered > merged_covered_max)) {
      SONDER_TRY(flush());
    }
    if (merged_.empty()) base_ = batch.base;
    if (new_deadline != 0) deadline_ms_ = new_deadline;
    changed_ = changed_ || block_.records.size() != before || new_deadline != deadline;
    merged_.push_back({batch.base, batch.bytes.size()});
    for (const auto& record : block_.records) {
      builder_.append_at(record.offset - base_, record.timestamp_ms,
                         record.has_key ? &record.key : nullptr,
                         record.has_value ? &record.value : nullptr, record.headers);
    }
    builder_.cover_to(batch.base + batch.header.covered - base_);
    kept_ += static_cast<std::int64_t>(block_.records.size());
    if (new_deadline != 0 && (next_deadline_ms_ == 0 || new_deadline < next_deadline_ms_))
      next_deadline_ms_ = new_deadline;
    return {};
  }

  // Replaces the batches taken by the merged one.
  status flush() {
    if (changed_ || merged_.size() > 1) {
      const bytes_view finished = builder_.finish(std::nullopt, deadline_ms_);
      const auto header = read_batch_header(finished);
      if (!header) return tl::unexpected<error>(header.error());
      const batch_entry entry{header->count, header->covered,
                              static_cast<std::uint32_t>(finished.size()), 0,
                              header->max_timestamp_ms};
      const std::lock_guard guard(log_.write_mutex_);
      SONDER_TRY(log_.recover());
      rocksdb::WriteBatch batch;
      auto& db = *log_.db_;
      std::int64_t bytes_less = -static_cast<std::int64_t>(finished.size());
      for (const auto& old : merged_) {
        bytes_less += static_cast<std::int64_t>(old.bytes);
        if (old.base == base_) continue;
        const std::string key = batch_key(topic_.id, partition_, old.base);
        batch.Delete(db.at(family::records), slice(key));
        batch.Delete(db.at(family::index), slice(key));
      }
      const std::string key = batch_key(topic_.id, partition_, base_);
      batch.Put(db.at(family::records), slice(key), slice(finished));
      batch.Put(db.at(family::index), slice(key), slice(as_value(entry)));
      log_.step("compaction");
      SONDER_TRY(log_.write(batch, "cannot compact", false));
      topic_.partitions[static_cast<std::size_t>(partition_)].bytes -= bytes_less;
    }
    builder_.clear();
    merged_.clear();
    deadline_ms_ = 0;
    changed_ = false;
    return {};
  }

  struct merged_batch {
    std::int64_t base;
    std::size_t bytes;
  };

  rocks_log& log_;
  topic_state& topic_;
  std::int32_t partition_;
  newest_offsets newest_;
  std::int64_t now_ms_;
  compaction_note note_;
  std::int64_t first_ = 0;
  std::int64_t end_ = 0;
  std::int64_t mapped_to_ = 0;  // keys of [cleaned_to, mapped_to) are in newest_

  record_block block_;
  record_batch_builder builder_;
  std::vector<merged_batch> merged_;  // what builder_ stands for
  std::int64_t base_ = 0;
  std::int64_t deadline_ms_ = 0;
  bool changed_ = false;

  std::int64_t kept_ = 0;
  std::int64_t next_deadline_ms_ = 0;
};

status rocks_log::compact(topic_state& topic, std::int32_t partition) {
  return compaction(*this, topic, partition).run();
}

// Removes whole batches from the oldest on: those whose newest record is too old, or without which
// the size is still kept.
status rocks_log::retain(topic_state& topic, std::int32_t partition) {
  const auto& config = topic.config;
  auto& state = topic.partitions[static_cast<std::size_t>(partition)];
  const std::int64_t oldest_ms =
      config.retention_ms >= 0 ? now_ms() - config.retention_ms : INT64_MIN;
  for (bool more = true; more;) {
    more = false;
    if (stop_requested()) return fail(errc::cancelled, "retention: the log is being closed");
    const std::lock_guard guard(write_mutex_);
    SONDER_TRY(recover());
    rocksdb::WriteBatch batch;
    std::int64_t removed_to = -1;
    std::int64_t last_base = 0;
    std::int64_t bytes_left = state.bytes;
    {
      const std::shared_lock db_guard(db_mutex_);
      std::string upper;
      put_partition(upper, topic.id, partition + 1);
      const rocksdb::Slice upper_slice = slice(upper);
      rocksdb::ReadOptions how;
      how.iterate_upper_bound = &upper_slice;
      auto at = db_->iterate(family::index, how);
      int looked_at = 0;
      for (at->Seek(batch_key(topic.id, partition, 0)); at->Valid(); at->Next()) {
        batch_entry entry;
        if (!read_value(text(at->value()), entry))
          return fail(errc::corrupt, "retention: an entry of the index has a wrong size");
        const std::int64_t base = base_of(text(at->key()));
        const bool last = base + entry.covered == state.end.load();
        const bool aged = entry.count == 0 ? !last : entry.max_timestamp_ms < oldest_ms;
        const bool surplus = config.retention_bytes >= 0 &&
                             bytes_left - entry.bytes >= config.retention_bytes && !last;
        if (!aged && !surplus) break;
        if (++looked_at > batches_per_round_max) {
          more = true;
          break;
        }
        batch.Delete(db_->at(family::records), at->key());
        batch.Delete(db_->at(family::index), at->key());
        bytes_left -= entry.bytes;
        removed_to = base + entry.covered;
        last_base = base;
      }
      if (!at->status().ok()) return db_->failed("cannot read the index", at->status());
    }
    if (removed_to < 0) return {};
    if (removed_to == state.end.load()) {
      // Offsets go on from the end even when nothing is left: an empty batch stands for it.
      record_batch_builder nothing;
      nothing.cover_to(removed_to - last_base);
      const bytes_view finished = nothing.finish();
      const batch_entry entry{0, static_cast<std::uint32_t>(removed_to - last_base),
                              static_cast<std::uint32_t>(finished.size()), 0, 0};
      const std::string key = batch_key(topic.id, partition, last_base);
      batch.Put(db_->at(family::records), slice(key), slice(finished));
      batch.Put(db_->at(family::index), slice(key), slice(as_value(entry)));
      bytes_left += static_cast<std::int64_t>(finished.size());
    }
    std::string start;
    put_big(start, removed_to);
    batch.Put(db_->at(family::meta), slice(meta_key('s', topic.id, partition)), slice(start));
    step("retention");
    SONDER_TRY(write(batch, "cannot remove old records", false));
    state.first.store(removed_to);
    if (config.retention_bytes >= 0) state.bytes = bytes_left;
  }
  return {};
}

status rocks_log::maintain() {
  if (reads_only())
    return fail(
        errc::unavailable,
        std::string("data folder ").append(folder_.string()).append(": opened for reading only"));
  const std::lock_guard guard(maintenance_mutex_);
  std::vector<topic_ptr> topics;
  {
    const std::shared_lock topics_guard(topics_mutex_);
    for (const auto& [name, topic] : topics_) topics.push_back(topic);
  }
  status first_failure;
  const auto remember = [&](status done) {
    if (!done && first_failure) first_failure = std::move(done);
  };
  for (const auto& topic : topics) {
    const auto& config = topic->config;
    for (std::int32_t i = 0; i < config.partitions; ++i) {
      if (config.retention_ms >= 0 || config.retention_bytes >= 0) remember(retain(*topic, i));
      if (config.compacted) remember(compact(*topic, i));
    }
  }
  return first_failure;
}

bool rocks_log::stop_requested() {
  const std::lock_guard guard(stop_mutex_);
  return stopping_;
}

void rocks_log::run_maintenance() {
  std::unique_lock guard(stop_mutex_);
  while (
      !stop_changed_.wait_for(guard, options_.maintenance_interval, [this] { return stopping_; })) {
    guard.unlock();
    // What fails now is tried again next time; a write that matters reports its own error.
    static_cast<void>(maintain());
    guard.lock();
  }
}

}  // namespace sonder::embedded
