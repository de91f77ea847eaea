#include "log/kafka/local_state.h"

#include <algorithm>
#include <chrono>

#include "log/disk_space.h"
#include "log/kafka/restore.h"
#include "log/kafka/state_files.h"

namespace sonder::kafka {
namespace {

namespace fs = std::filesystem;

// The first key after all that start with `prefix`, which begins with a letter: there is one.
std::string after_prefix(std::string prefix) {
  while (static_cast<std::uint8_t>(prefix.back()) == 0xff) prefix.pop_back();
  ++prefix.back();
  return prefix;
}

std::string task_name(std::string_view group, std::string_view store, std::int32_t partition) {
  return "state of group \"" + std::string(group) + "\", store \"" + std::string(store) + "\", task " + std::to_string(partition);
}

tl::unexpected<error> not_open(std::string_view group, std::string_view store, std::int32_t partition) {
  return fail(errc::unavailable, task_name(group, store, partition) + ": not restored yet, or another worker's");
}

}  // namespace

local_state::local_state(std::unique_ptr<state_files> files) : files_(std::move(files)) {}
local_state::~local_state() = default;

result<std::unique_ptr<local_state>> local_state::in(const fs::path& folder, local_state_options options) {
  auto made = claim(folder, std::move(options));
  if (made) SONDER_TRY((*made)->open_files());
  return made;
}

status local_state::open_files() {
  const std::unique_lock alone(files_->mutex);
  return files_->db ? status() : files_->open_database();
}

result<std::unique_ptr<local_state>> local_state::claim(const fs::path& folder, local_state_options options) {
  SONDER_TRY(make_folder(folder, state_folder));
  auto lock = folder_lock::take(folder, state_folder);
  if (!lock) return tl::unexpected<error>(std::move(lock).error());
  SONDER_TRY(check_format(folder, state_folder, true));
  return std::unique_ptr<local_state>(
      new local_state(std::make_unique<state_files>(folder, std::move(options), std::move(*lock))));
}

std::int64_t local_state::now_ms() const {
  if (files_->options.now_ms) return files_->options.now_ms();
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// ---- for the log ----

status local_state::applied(std::string_view group, std::span<const state_change> changes,
                            std::span<const changelog_position> reached) {
  const std::shared_lock files_stay(files_->mutex);
  const std::lock_guard only_change(files_->change_mutex);
  struct target {
    const changelog_position* to;
    state_files::task_state* task;
    std::uint32_t number;
  };
  std::vector<target> targets;
  for (const auto& to : reached) {
    target t{&to, nullptr, 0};
    t.task = files_->find_open(group, to.store, to.partition, t.number);
    if (t.task == nullptr) return not_open(group, to.store, to.partition);
    if (to.next < t.task->at.next)
      return fail(errc::internal, task_name(group, to.store, to.partition) + ": an epoch ends before the one before it");
    targets.push_back(t);
  }
  rocksdb::WriteBatch batch;
  std::string key;
  const target* current = nullptr;
  for (const auto& change : changes) {
    if (current == nullptr || current->to->partition != change.partition || current->to->store != change.store) {
      const auto found = std::find_if(targets.begin(), targets.end(), [&](const target& t) {
        return t.to->partition == change.partition && t.to->store == change.store;
      });
      if (found == targets.end())
        return fail(errc::internal, task_name(group, change.store, change.partition) + ": a change without its place in the changelog");
      current = &*found;
      key.clear();
      put_task_prefix(key, 's', current->number, change.partition);
    }
    key.resize(task_prefix_bytes);
    key.append(as_text(change.key));
    if (change.value) {
      batch.Put(key, slice(*change.value));
    } else {
      batch.Delete(key);
    }
  }
  std::vector<checkpoint> fresh;
  for (const auto& t : targets) {
    // As of the writing of its records, not of now: the process may have stood still since, and another worker may have deleted.
    const auto as_of_ms = std::min(now_ms(), std::max(t.task->at.as_of_ms, t.to->timestamp_max_ms));
    fresh.push_back({t.to->next, std::max(t.task->at.timestamp_max_ms, t.to->timestamp_max_ms), as_of_ms, t.task->at.cluster_id});
    key.clear();
    put_task_prefix(key, 'c', t.number, t.to->partition);
    batch.Put(key, encode_checkpoint(fresh.back()));
  }
  SONDER_TRY(files_->write(batch, true));
  for (std::size_t i = 0; i < targets.size(); ++i) targets[i].task->at = std::move(fresh[i]);
  return {};
}

result<bool> local_state::get(std::string_view group, std::string_view store, std::int32_t partition, bytes_view key,
                              buffer& value) {
  const std::shared_lock files_stay(files_->mutex);
  std::uint32_t number = 0;
  if (files_->find_open(group, store, partition, number) == nullptr) return not_open(group, store, partition);
  if (!files_->db) return files_->closed();
  thread_local std::string full;
  full.clear();
  put_task_prefix(full, 's', number, partition);
  full.append(as_text(key));
  rocksdb::PinnableSlice found;
  const auto outcome = files_->db->Get(rocksdb::ReadOptions(), files_->db->DefaultColumnFamily(), full, &found);
  if (outcome.IsNotFound()) return false;
  if (!outcome.ok()) return files_->failed("cannot read", outcome);
  value.clear();
  value.append(found.data(), found.size());
  return true;
}

status local_state::scan(std::string_view group, std::string_view store, std::int32_t partition, bytes_view prefix,
                         log::state_visitor visit, void* ctx) {
  const std::shared_lock files_stay(files_->mutex);
  std::uint32_t number = 0;
  if (files_->find_open(group, store, partition, number) == nullptr) return not_open(group, store, partition);
  if (!files_->db) return files_->closed();
  std::string lower;
  put_task_prefix(lower, 's', number, partition);
  lower.append(as_text(prefix));
  const std::string upper = after_prefix(lower);
  const rocksdb::Slice lower_slice(lower), upper_slice(upper);
  rocksdb::ReadOptions how;
  how.iterate_lower_bound = &lower_slice;
  how.iterate_upper_bound = &upper_slice;
  std::unique_ptr<rocksdb::Iterator> at(files_->db->NewIterator(how));
  for (at->SeekToFirst(); at->Valid(); at->Next()) {
    if (!visit(ctx, bytes(at->key()).subspan(task_prefix_bytes), bytes(at->value()))) return {};
  }
  if (!at->status().ok()) return files_->failed("cannot scan", at->status());
  return {};
}

result<local_state::footprint> local_state::footprint_of(std::string_view group, std::string_view store,
                                                         std::span<const std::int32_t> partitions) {
  const std::shared_lock files_stay(files_->mutex);
  if (!files_->db) return files_->closed();
  rocksdb::SizeApproximationOptions how;
  how.include_memtables = true;
  footprint sum;
  for (const auto partition : partitions) {
    std::uint32_t number = 0;
    {
      const std::lock_guard no_change(files_->change_mutex);
      const auto* task = files_->find_open(group, store, partition, number);
      if (task == nullptr) continue;
      sum.changelog_next.emplace_back(partition, task->at.next);
    }
    std::string from;
    put_task_prefix(from, 's', number, partition);
    const auto to = after_prefix(from);
    const rocksdb::Range range(from, to);
    std::uint64_t bytes = 0;
    const auto outcome = files_->db->GetApproximateSizes(how, files_->db->DefaultColumnFamily(), &range, 1, &bytes);
    if (!outcome.ok()) return files_->failed("cannot tell sizes", outcome);
    sum.disk_bytes += static_cast<std::int64_t>(bytes);
  }
  return sum;
}

// ---- for the restorer ----

result<std::optional<checkpoint>> local_state::find_checkpoint(std::string_view group, std::string_view store,
                                                               std::int32_t partition) {
  const std::shared_lock files_stay(files_->mutex);
  const auto* entry = files_->find(group, store);
  if (entry == nullptr) return std::optional<checkpoint>();
  if (!files_->db) return files_->closed();
  std::string key;
  put_task_prefix(key, 'c', entry->number, partition);
  std::string value;
  const auto outcome = files_->db->Get(rocksdb::ReadOptions(), key, &value);
  if (outcome.IsNotFound()) return std::optional<checkpoint>();
  if (!outcome.ok()) return files_->failed("cannot read a checkpoint", outcome);
  return decode_checkpoint(value);
}

status local_state::wipe(std::string_view group, std::string_view store, std::int32_t partition) {
  const std::shared_lock files_stay(files_->mutex);
  const auto* entry = files_->find(group, store);
  if (entry == nullptr) return {};
  std::string from, note;
  put_task_prefix(from, 's', entry->number, partition);
  put_task_prefix(note, 'c', entry->number, partition);
  rocksdb::WriteBatch batch;
  batch.DeleteRange(from, after_prefix(from));
  batch.Delete(note);
  return files_->write(batch, true);
}

status local_state::renew(std::string_view group, std::string_view store, std::int32_t partition) {
  const std::shared_lock files_stay(files_->mutex);
  const std::lock_guard only_change(files_->change_mutex);
  std::uint32_t number = 0;
  auto* task = files_->find_open(group, store, partition, number);
  if (task == nullptr) return not_open(group, store, partition);
  checkpoint fresh = task->at;
  fresh.as_of_ms = now_ms();
  std::string key;
  put_task_prefix(key, 'c', number, partition);
  rocksdb::WriteBatch batch;
  batch.Put(key, encode_checkpoint(fresh));
  SONDER_TRY(files_->write(batch, true));
  task->at = std::move(fresh);
  return {};
}

status local_state::open(std::string_view group, std::string_view store, std::int32_t partition) {
  auto at = find_checkpoint(group, store, partition);
  if (!at) return tl::unexpected<error>(std::move(at).error());
  if (!*at) return fail(errc::internal, task_name(group, store, partition) + ": opened without a checkpoint");
  const std::unique_lock alone(files_->mutex);
  auto entry = files_->number(group, store);
  if (!entry) return tl::unexpected<error>(std::move(entry).error());
  auto& tasks = (*entry)->tasks;
  if (tasks.size() <= static_cast<std::size_t>(partition)) tasks.resize(static_cast<std::size_t>(partition) + 1);
  tasks[static_cast<std::size_t>(partition)] = {true, std::move(**at)};
  return {};
}

void local_state::close(std::string_view group, std::string_view store, std::int32_t partition) noexcept {
  const std::unique_lock alone(files_->mutex);
  std::uint32_t number = 0;
  if (auto* task = files_->find_open(group, store, partition, number)) task->open = false;
}

status local_state::recover() {
  if (!files_->write_failed) return {};
  const std::unique_lock alone(files_->mutex);
  if (!files_->write_failed) return {};
  if (!has_space(files_->folder)) return files_->full();
  if (files_->db) files_->db->Close();
  files_->db.reset();
  auto opened = files_->open_database();
  if (!opened) files_->disk_was_full = opened.error().code == errc::unavailable;
  return opened;
}

bool local_state::closed() const noexcept {
  return files_->write_failed;
}

std::uint64_t local_state::free_bytes() const {
  if (files_->options.free_bytes) return files_->options.free_bytes();
  std::error_code failed;
  const auto space = fs::space(files_->folder, failed);
  return failed ? UINT64_MAX : space.available;
}

// ---- loading ----

struct state_loader::parts {
  struct entry {
    std::uint32_t at, key_bytes, value_bytes;
    bool has_value;
  };

  local_state* state = nullptr;
  std::string data_prefix, note_key;
  std::string memory;  // keys and values of `entries`, one after the other
  std::vector<entry> entries;
  rocksdb::WriteBatch batch;
  std::int64_t records = 0;
  bool beside_the_log = false;  // some of what it wrote, or of what lies before it, is in memory only
  std::uint64_t opening = 0;    // of the database that it writes to

  [[nodiscard]] std::string_view key_of(const entry& e) const { return {memory.data() + e.at, e.key_bytes}; }
  void add(bytes_view key, bytes_view value, bool has_value) {
    entries.push_back({static_cast<std::uint32_t>(memory.size()), static_cast<std::uint32_t>(key.size()),
                       static_cast<std::uint32_t>(value.size()), has_value});
    memory.append(as_text(key)).append(as_text(value));
    ++records;
  }
  void make_batch(const checkpoint& reached);
  // The files' `mutex` is held.
  [[nodiscard]] status write(const checkpoint& reached);
};

// By key, the newest of each: neighbours in memory tables are found from one another, random keys cost a cache miss a level.
void state_loader::parts::make_batch(const checkpoint& reached) {
  std::sort(entries.begin(), entries.end(), [&](const entry& a, const entry& b) {
    const int order = key_of(a).compare(key_of(b));
    return order != 0 ? order < 0 : a.at > b.at;
  });
  batch.Clear();
  batch.Put(note_key, encode_checkpoint(reached));
  std::string key = data_prefix;
  const entry* before = nullptr;
  for (const auto& e : entries) {
    if (before != nullptr && key_of(*before) == key_of(e)) continue;
    before = &e;
    key.resize(task_prefix_bytes);
    key.append(key_of(e));
    if (e.has_value) {
      batch.Put(key, rocksdb::Slice(memory.data() + e.at + e.key_bytes, e.value_bytes));
    } else {
      batch.Delete(key);
    }
  }
  entries.clear();
  memory.clear();
}

state_loader::state_loader(std::unique_ptr<parts> made) : parts_(std::move(made)) {}
state_loader::~state_loader() = default;
state_loader::state_loader(state_loader&&) noexcept = default;
state_loader& state_loader::operator=(state_loader&&) noexcept = default;

result<state_loader> state_loader::for_task(local_state& state, std::string_view group, std::string_view store,
                                            std::int32_t partition) {
  auto made = std::make_unique<parts>();
  made->state = &state;
  const std::unique_lock alone(state.files_->mutex);
  auto entry = state.files_->number(group, store);
  if (!entry) return tl::unexpected<error>(std::move(entry).error());
  put_task_prefix(made->data_prefix, 's', (*entry)->number, partition);
  put_task_prefix(made->note_key, 'c', (*entry)->number, partition);
  // A restore that was interrupted may have left its records in memory only. A checkpoint in the write-ahead log would
  // outlive them.
  made->beside_the_log = state.files_->beside_log();
  made->opening = state.files_->openings;
  return state_loader(std::move(made));
}

void state_loader::put(bytes_view key, bytes_view value) {
  parts_->add(key, value, true);
}

void state_loader::erase(bytes_view key) {
  parts_->add(key, {}, false);
}

status state_loader::parts::write(const checkpoint& reached) {
  auto& files = *state->files_;
  // What it wrote before may be gone with the memory of the database as it was.
  if (files.openings != opening) {
    return fail(errc::io, "state folder " + files.folder.string() +
                              ": opened again meanwhile; the restore begins from its checkpoint");
  }
  make_batch(reached);
  // A large restore is faster beside the write-ahead log. Within the one column family memory reaches the disk in order, so
  // a kill leaves an older checkpoint with what belongs to it.
  if (records > restore_limits::small_records_max) beside_the_log = true;
  return files.write(batch, !beside_the_log);
}

status state_loader::write(const checkpoint& reached) {
  const std::shared_lock files_stay(parts_->state->files_->mutex);
  return parts_->write(reached);
}

status state_loader::finish(const checkpoint& reached) {
  auto& files = *parts_->state->files_;
  const std::shared_lock files_stay(files.mutex);
  SONDER_TRY(parts_->write(reached));
  // Epochs go through the write-ahead log again: a later checkpoint there must not outlive what is in memory only.
  if (!parts_->beside_the_log) return {};
  return files.flush();
}

}  // namespace sonder::kafka
