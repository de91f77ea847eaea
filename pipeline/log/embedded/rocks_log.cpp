#include "log/embedded/rocks_log.h"

#include <algorithm>
#include <cstring>

#include "record/number_of.h"

namespace sonder::embedded {
namespace {

constexpr auto reader_poll = std::chrono::milliseconds(20);
constexpr int hole_attempts_max = 50;
constexpr auto hole_pause = std::chrono::milliseconds(5);

// Bounds of one partition's keys; keeps the memory that RocksDB's options point to.
/// Keys from `lower` on and before `upper`, and how to go through them.
struct key_bounds {
  std::string lower, upper;
  rocksdb::Slice lower_slice, upper_slice;

  /// Those that begin so.
  explicit key_bounds(std::string prefix)
      : lower(std::move(prefix)), upper(after_prefix(lower)), lower_slice(slice(lower)), upper_slice(slice(upper)) {}
  key_bounds(const key_bounds&) = delete;
  key_bounds& operator=(const key_bounds&) = delete;

  [[nodiscard]] rocksdb::ReadOptions options() const {
    rocksdb::ReadOptions how;
    how.iterate_lower_bound = &lower_slice;
    if (!upper.empty()) how.iterate_upper_bound = &upper_slice;
    return how;
  }
};

std::string partition_prefix(std::uint32_t topic, std::int32_t partition) {
  std::string prefix;
  put_partition(prefix, topic, partition);
  return prefix;
}

std::string partition_name(std::string_view topic, std::int32_t partition) {
  return "topic \"" + std::string(topic) + "\", partition " + std::to_string(partition);
}

}  // namespace

// ---- opening ----

result<std::unique_ptr<rocks_log>> rocks_log::open(const std::filesystem::path& folder,
                                                   embedded_options options) {
  std::unique_ptr<rocks_log> made(new rocks_log(folder, std::move(options)));
  if (!made->reads_only()) {
    SONDER_TRY(make_folder(folder, data_folder));
    auto lock = folder_lock::take(folder, data_folder);
    if (!lock) return tl::unexpected<error>(std::move(lock).error());
    made->lock_.emplace(std::move(*lock));
    sweep_reader_folders(folder);
  }
  SONDER_TRY(check_format(folder, data_folder, !made->reads_only()));
  auto db = database::open(folder, made->options_);
  if (!db) return tl::unexpected<error>(std::move(db).error());
  made->db_ = std::move(*db);
  SONDER_TRY(made->load_topics());
  if (!made->reads_only() && made->options_.maintenance_interval.count() > 0) {
    made->maintenance_ = std::thread([log = made.get()] { log->run_maintenance(); });
  }
  return made;
}

rocks_log::~rocks_log() {
  {
    const std::lock_guard guard(stop_mutex_);
    stopping_ = true;
  }
  stop_changed_.notify_all();
  if (maintenance_.joinable()) maintenance_.join();
}

std::int64_t rocks_log::now_ms() const {
  if (options_.now_ms) return options_.now_ms();
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

status rocks_log::load_topics() {
  rocksdb::ReadOptions how;
  const rocksdb::Slice upper("u");
  how.iterate_upper_bound = &upper;
  auto at = db_->iterate(family::meta, how);
  for (at->Seek("t"); at->Valid(); at->Next()) {
    std::string_view name = text(at->key());
    name.remove_prefix(1);
    {
      const std::shared_lock guard(topics_mutex_);
      if (topics_.contains(name)) continue;
    }
    auto topic = decode_topic(name, text(at->value()));
    if (!topic) return tl::unexpected<error>(topic.error().at("data folder " + folder_.string()));
    if (!reads_only()) SONDER_TRY(load_partitions(**topic));
    const std::lock_guard guard(topics_mutex_);
    topics_.emplace(std::string(name), std::move(*topic));
  }
  if (!at->status().ok()) return db_->failed("cannot read the topics", at->status());
  return {};
}

status rocks_log::load_partitions(topic_state& topic) {
  for (std::int32_t i = 0; i < topic.config.partitions; ++i) {
    auto& partition = topic.partitions[static_cast<std::size_t>(i)];
    const auto range = read_range(topic.id, i);
    if (!range) return tl::unexpected<error>(range.error());
    partition.first = range->first;
    partition.end = range->end;
    partition.bytes = 0;
    if (topic.config.retention_bytes < 0) continue;
    const key_bounds bounds(partition_prefix(topic.id, i));
    auto at = db_->iterate(family::index, bounds.options());
    for (at->SeekToFirst(); at->Valid(); at->Next()) {
      batch_entry entry;
      if (read_value(text(at->value()), entry)) partition.bytes += entry.bytes;
    }
    if (!at->status().ok()) return db_->failed("cannot read the index", at->status());
  }
  return {};
}

status rocks_log::catch_up() {
  if (!reads_only()) return {};
  const std::lock_guard guard(db_mutex_);
  SONDER_TRY(db_->catch_up());
  return load_topics();
}

status rocks_log::check_open() const {
  if (db_) return {};
  return fail(errc::io, "data folder " + folder_.string() +
                            ": closed since a write failed; it is opened again at the next write");
}

// ---- looking up ----

result<topic_ptr> rocks_log::find_topic(std::string_view name) {
  {
    const std::shared_lock guard(topics_mutex_);
    const auto found = topics_.find(name);
    if (found != topics_.end()) return found->second;
  }
  if (reads_only()) {
    SONDER_TRY(catch_up());
    const std::shared_lock guard(topics_mutex_);
    const auto found = topics_.find(name);
    if (found != topics_.end()) return found->second;
  }
  return fail(errc::not_found, "topic \"" + std::string(name) +
                                   "\": there is none in data folder " + folder_.string());
}

result<topic_ptr> rocks_log::find_partition(std::string_view name, std::int32_t partition) {
  auto topic = find_topic(name);
  if (topic && (partition < 0 || partition >= (*topic)->config.partitions)) {
    return fail(errc::invalid, partition_name(name, partition) + ": the topic has " + number_of((*topic)->config.partitions, "partition"));
  }
  return topic;
}

result<topic_config> rocks_log::describe(std::string_view topic) {
  auto found = find_topic(topic);
  if (!found) return tl::unexpected<error>(std::move(found).error());
  return (*found)->config;
}

result<std::vector<topic_config>> rocks_log::topics() {
  SONDER_TRY(catch_up());
  std::vector<topic_config> all;
  const std::shared_lock guard(topics_mutex_);
  for (const auto& [name, topic] : topics_) all.push_back(topic->config);
  return all;
}

result<offset_range> rocks_log::read_range(std::uint32_t topic, std::int32_t partition) {
  offset_range range;
  const key_bounds bounds(partition_prefix(topic, partition));
  auto at = db_->iterate(family::index, bounds.options());
  at->SeekToLast();
  if (at->Valid()) {
    batch_entry entry;
    if (!read_value(text(at->value()), entry)) {
      return fail(errc::corrupt,
                  "data folder " + folder_.string() + ": an entry of the index has a wrong size");
    }
    range.end = base_of(text(at->key())) + entry.covered;
  }
  if (!at->status().ok()) return db_->failed("cannot read the index", at->status());
  std::string value;
  const auto moved = db_->get(family::meta, meta_key('s', topic, partition), value);
  if (!moved) return tl::unexpected<error>(moved.error());
  if (*moved && value.size() == sizeof(std::int64_t))
    range.first = get_big<std::int64_t>(value.data());
  return range;
}

result<offset_range> rocks_log::offsets(std::string_view topic, std::int32_t partition) {
  SONDER_TRY(catch_up());
  auto found = find_partition(topic, partition);
  if (!found) return tl::unexpected<error>(std::move(found).error());
  if (reads_only()) {
    const std::shared_lock guard(db_mutex_);
    return read_range((*found)->id, partition);
  }
  const auto& at = (*found)->partitions[static_cast<std::size_t>(partition)];
  return offset_range{at.first.load(), at.end.load()};
}

result<std::int64_t> rocks_log::offset_at(std::string_view topic, std::int32_t partition,
                                          std::int64_t timestamp_ms) {
  auto range = offsets(topic, partition);
  if (!range) return tl::unexpected<error>(std::move(range).error());
  auto found = find_topic(topic);
  if (!found) return tl::unexpected<error>(std::move(found).error());
  const std::shared_lock guard(db_mutex_);
  SONDER_TRY(check_open());
  const key_bounds bounds(partition_prefix((*found)->id, partition));
  auto at = db_->iterate(family::index, bounds.options());
  record_block block;
  for (at->Seek(batch_key((*found)->id, partition, range->first)); at->Valid(); at->Next()) {
    batch_entry entry;
    if (!read_value(text(at->value()), entry) || entry.count == 0 ||
        entry.max_timestamp_ms < timestamp_ms)
      continue;
    rocksdb::PinnableSlice batch;
    const auto there = db_->get(family::records, text(at->key()), batch);
    if (!there) return tl::unexpected<error>(there.error());
    if (!*there)
      return fail(errc::corrupt,
                  partition_name(topic, partition) + ": a batch of the index is missing");
    block.clear();
    SONDER_TRY(read_batch(bytes(batch), base_of(text(at->key())), range->first, block));
    for (const auto& record : block.records) {
      if (record.timestamp_ms >= timestamp_ms) return record.offset;
    }
  }
  if (!at->status().ok()) return db_->failed("cannot read the index", at->status());
  return range->end;
}

// ---- fetching ----

status rocks_log::fetch(std::string_view topic, std::int32_t partition, std::int64_t from,
                        const fetch_limits& limits, record_block& into) {
  into.clear();
  into.next_offset = from;
  auto found = find_partition(topic, partition);
  if (!found) return tl::unexpected<error>(std::move(found).error());
  if (from < 0)
    return fail(errc::invalid, partition_name(topic, partition) + ": offsets start at 0");
  if (!reads_only()) {
    const auto& at = (*found)->partitions[static_cast<std::size_t>(partition)];
    if (from >= at.end.load()) return {};
    const std::shared_lock guard(db_mutex_);
    SONDER_TRY(check_open());
    const auto first = at.first.load();
    SONDER_TRY(fetch_batches(**found, partition, std::max(from, first), limits, into));
    into.removed = std::max<std::int64_t>(0, first - from);
    return {};
  }
  for (int attempt = 0;; ++attempt) {
    {
      const std::shared_lock guard(db_mutex_);
      const auto outcome = fetch_batches(**found, partition, from, limits, into);
      if (outcome && !into.records.empty()) return outcome;
      // A hole may be the writer's files changing under us; what stays is an error.
      if (!outcome && (outcome.error().code != errc::corrupt || attempt >= hole_attempts_max))
        return outcome;
      if (outcome && attempt > 0) return outcome;
      if (!outcome) std::this_thread::sleep_for(hole_pause);
    }
    SONDER_TRY(catch_up());
  }
}

status rocks_log::fetch_batches(const topic_state& topic, std::int32_t partition, std::int64_t from,
                                const fetch_limits& limits, record_block& into) {
  struct piece {
    std::int64_t base;
    std::size_t at, size;
  };
  into.clear();
  into.next_offset = from;
  const auto records_max = static_cast<std::int64_t>(std::max(1, limits.records_max));
  const key_bounds bounds(partition_prefix(topic.id, partition));
  auto how = bounds.options();
  how.fill_cache = false;
  auto at = db_->iterate(family::records, how);
  at->SeekForPrev(batch_key(topic.id, partition, from));
  if (!at->Valid() && at->status().ok()) at->SeekToFirst();

  std::vector<piece> pieces;
  std::int64_t next = -1;
  std::int64_t sure = 0;  // records at or after `from` in the pieces, at least
  for (; at->Valid(); at->Next()) {
    const std::int64_t base = base_of(text(at->key()));
    const bytes_view batch = bytes(at->value());
    const auto header = read_batch_header(batch);
    if (!header)
      return tl::unexpected<error>(header.error().at(partition_name(topic.config.name, partition)));
    if (next >= 0 ? base != next : base + header->covered <= from) {
      // What lies before the oldest batch was removed; the last batch may end where the log does.
      at->Next();
      if (next < 0 && !at->Valid() && at->status().ok()) break;
      return fail(errc::corrupt, partition_name(topic.config.name, partition) +
                                     ": batches are missing after offset " +
                                     std::to_string(next < 0 ? base + header->covered : next));
    }
    next = base + header->covered;
    pieces.push_back({base, into.memory.size(), batch.size()});
    into.memory.append(batch.data(), batch.size());
    sure += std::max<std::int64_t>(0, header->count - std::max<std::int64_t>(0, from - base));
    if (sure >= records_max || (sure > 0 && into.memory.size() >= limits.bytes_max)) break;
  }
  if (!at->status().ok()) return db_->failed("cannot read records", at->status());

  read_limits left{static_cast<std::size_t>(records_max), limits.bytes_max};
  for (const auto& p : pieces) {
    if (left.records_max == 0 || (left.bytes_max == 0 && !into.records.empty())) break;
    const std::size_t before = into.records.size();
    const auto outcome = read_batch({into.memory.data() + p.at, p.size}, p.base, from, into, left);
    if (!outcome)
      return tl::unexpected<error>(
          outcome.error().at(partition_name(topic.config.name, partition)));
    left.records_max -= into.records.size() - before;
    for (std::size_t i = before; i < into.records.size(); ++i) {
      const auto& r = into.records[i];
      left.bytes_max -= std::min(left.bytes_max, r.key.size() + r.value.size() + r.headers.size());
    }
  }
  return {};
}

// ---- group offsets, state, notes ----

result<std::vector<std::int64_t>> rocks_log::committed(std::string_view group,
                                                       std::string_view topic) {
  SONDER_TRY(catch_up());
  auto found = find_topic(topic);
  if (!found) return tl::unexpected<error>(std::move(found).error());
  SONDER_TRY(check_label("group", group));
  const std::shared_lock guard(db_mutex_);
  SONDER_TRY(check_open());
  std::vector<std::int64_t> next(static_cast<std::size_t>((*found)->config.partitions), -1);
  std::string value;
  for (std::int32_t i = 0; i < (*found)->config.partitions; ++i) {
    std::string key;
    put_name(key, group);
    put_partition(key, (*found)->id, i);
    const auto there = db_->get(family::offsets, key, value);
    if (!there) return tl::unexpected<error>(there.error());
    if (*there && value.size() == sizeof(std::int64_t))
      next[static_cast<std::size_t>(i)] = get_big<std::int64_t>(value.data());
  }
  return next;
}

result<bool> rocks_log::state_get(std::string_view group, std::string_view store,
                                  std::int32_t partition, bytes_view key, buffer& value) {
  SONDER_TRY(catch_up());
  thread_local std::string full;
  full.clear();
  put_state_prefix(full, group, store, partition);
  full.append(as_text(key));
  const std::shared_lock guard(db_mutex_);
  SONDER_TRY(check_open());
  rocksdb::PinnableSlice pinned;
  const auto there = db_->get(family::state, full, pinned);
  if (!there || !*there) return there;
  value.clear();
  value.append(pinned.data(), pinned.size());
  return true;
}

status rocks_log::state_scan(std::string_view group, std::string_view store, std::int32_t partition,
                             bytes_view prefix, state_visitor visit, void* ctx) {
  SONDER_TRY(catch_up());
  std::string lower;
  put_state_prefix(lower, group, store, partition);
  const std::size_t own = lower.size();
  lower.append(as_text(prefix));
  const key_bounds bounds(std::move(lower));
  const std::shared_lock guard(db_mutex_);
  SONDER_TRY(check_open());
  auto at = db_->iterate(family::state, bounds.options());
  for (at->SeekToFirst(); at->Valid(); at->Next()) {
    if (!visit(ctx, bytes(at->key()).subspan(own), bytes(at->value()))) return {};
  }
  if (!at->status().ok()) return db_->failed("cannot scan state", at->status());
  return {};
}

// Who writes here is all that it knows: whoever runs a flow on this log has every task of it.
result<group_state> rocks_log::describe_group(std::string_view) {
  auto writer = reads_only() ? find_holder(folder_, data_folder) : result<std::string>(std::string());
  if (!writer) return tl::unexpected<error>(std::move(writer).error());
  if (writer->empty()) return group_state{"Empty", {}};
  return group_state{"Stable", {{"process " + *writer, "localhost", *writer, {}}}};
}

result<state_size> rocks_log::size_of_state(std::string_view group, std::string_view store,
                                            std::int32_t partition) {
  state_size size;
  const auto add = [](void* to, bytes_view key, bytes_view value) {
    auto& sum = *static_cast<state_size*>(to);
    ++sum.entries;
    sum.bytes += static_cast<std::int64_t>(key.size() + value.size());
    return true;
  };
  SONDER_TRY(state_scan(group, store, partition, {}, add, &size));
  return size;
}

result<state_footprint> rocks_log::footprint_of_state(std::string_view group, std::string_view store,
                                                       std::span<const std::int32_t> partitions) {
  const std::shared_lock guard(db_mutex_);
  SONDER_TRY(check_open());
  state_footprint sum;
  for (const auto partition : partitions) {
    std::string lower;
    put_state_prefix(lower, group, store, partition);
    auto bytes = db_->approximate_bytes(family::state, lower, after_prefix(lower));
    if (!bytes) return tl::unexpected<error>(std::move(bytes).error());
    sum.disk_bytes += *bytes;
  }
  return sum;
}

// Each store is jumped over once its name is known.
result<std::vector<std::string>> rocks_log::stores(std::string_view group) {
  SONDER_TRY(catch_up());
  std::string prefix;
  put_name(prefix, group);
  const key_bounds bounds(std::move(prefix));
  const std::shared_lock guard(db_mutex_);
  SONDER_TRY(check_open());
  std::vector<std::string> names;
  auto at = db_->iterate(family::state, bounds.options());
  at->SeekToFirst();
  while (at->Valid()) {
    const std::string key(at->key().data(), at->key().size());
    const std::size_t name_at = bounds.lower.size() + sizeof(std::uint16_t);
    const std::size_t end = key.size() < name_at ? name_at : name_at + get_big<std::uint16_t>(key.data() + bounds.lower.size());
    if (key.size() < end) return fail(errc::corrupt, "data folder " + folder_.string() + ": an entry of state names no store");
    names.push_back(key.substr(name_at, end - name_at));
    const std::string next = after_prefix(key.substr(0, end));
    at->Seek(slice(next));
  }
  if (!at->status().ok()) return db_->failed("cannot list stores", at->status());
  return names;
}

result<std::optional<std::string>> rocks_log::note(std::string_view name) {
  SONDER_TRY(catch_up());
  const std::shared_lock guard(db_mutex_);
  SONDER_TRY(check_open());
  std::string value;
  const auto there = db_->get(family::meta, meta_key('n', name), value);
  if (!there) return tl::unexpected<error>(there.error());
  return *there ? std::optional<std::string>(std::move(value)) : std::nullopt;
}

// ---- waiting ----

void rocks_log::wait_for_records(std::uint64_t& seen, std::chrono::milliseconds at_most) {
  if (!reads_only()) {
    std::unique_lock guard(appended_mutex_);
    appended_changed_.wait_for(guard, at_most, [&] { return appended_ != seen; });
    seen = appended_;
    return;
  }
  const auto until = std::chrono::steady_clock::now() + at_most;
  for (;;) {
    // An error shows itself at the next fetch.
    const bool followed = catch_up().has_value();
    std::uint64_t newest = seen;
    if (followed) {
      const std::shared_lock guard(db_mutex_);
      newest = db_->rocks().GetLatestSequenceNumber() + 1;
    }
    const auto now = std::chrono::steady_clock::now();
    if (newest != seen || now >= until) {
      seen = newest;
      return;
    }
    std::this_thread::sleep_for(
        std::min<std::chrono::steady_clock::duration>(reader_poll, until - now));
  }
}

}  // namespace sonder::embedded

namespace sonder {

result<std::unique_ptr<embedded_log>> open_embedded_log(const std::filesystem::path& folder,
                                                        embedded_options options) {
  auto made = embedded::rocks_log::open(folder, std::move(options));
  if (!made) return tl::unexpected<error>(std::move(made).error());
  return std::unique_ptr<embedded_log>(std::move(*made));
}

}  // namespace sonder
