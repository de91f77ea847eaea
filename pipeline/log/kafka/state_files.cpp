#include "log/kafka/state_files.h"

#include <rocksdb/cache.h>
#include <rocksdb/env.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/options.h>
#include <rocksdb/table.h>

#include <utility>

namespace sonder::kafka {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t manifest_bytes_max = 16 << 20;
constexpr int memtables_max = 3;
constexpr int fresh_files_max = 8;  // written from memory and not merged yet; each is looked into for a key
constexpr int open_files_max = 512;
constexpr int background_jobs_max = 2;
constexpr int bloom_bits_per_key = 10;

// RocksDB's own log file ends the process with an assertion at the second line that a full disk refuses (7.8). What is wrong comes as
// a status as well.
class no_lines final : public rocksdb::Logger {
 public:
  using Logger::Logv;
  void Logv(const char*, va_list) override {}
};

constexpr const char* full_text = ": the disk is full; free space, then work goes on by itself";

bool says_disk_full(const rocksdb::Status& why) {
  const std::string message = why.ToString();
  return why.IsNoSpace() || message.find("No space left") != std::string::npos || message.find("File too large") != std::string::npos ||
         message.find("quota exceeded") != std::string::npos;
}

rocksdb::Options database_options(const local_state_options& options) {
  rocksdb::Options o;
  o.create_if_missing = true;
  o.write_buffer_size = options.memtable_bytes;
  o.max_write_buffer_number = memtables_max;
  o.level0_file_num_compaction_trigger = fresh_files_max;
  // A restart reads the write-ahead log into memory and goes on; writing it out can wait.
  o.avoid_flush_during_recovery = true;
  o.max_manifest_file_size = manifest_bytes_max;
  o.max_background_jobs = background_jobs_max;
  o.max_open_files = open_files_max;
  o.info_log = std::make_shared<no_lines>();
  o.stats_dump_period_sec = 0;
  o.stats_persist_period_sec = 0;
  // Fresh data is rewritten soon: it pays to compress only what has settled.
  o.level_compaction_dynamic_level_bytes = true;
  o.compression_per_level = {rocksdb::kNoCompression, rocksdb::kNoCompression, rocksdb::kLZ4Compression};
  // What a power cut left of the log is good up to its first damage: an older checkpoint, from which the changelog goes on.
  o.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(options.cache_bytes);
  table.cache_index_and_filter_blocks = true;
  table.format_version = 5;
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(bloom_bits_per_key));
  o.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return o;
}

template <class T>
void put_big(std::string& to, T value) {
  for (int shift = static_cast<int>(sizeof value) * 8 - 8; shift >= 0; shift -= 8)
    to.push_back(static_cast<char>(static_cast<std::uint64_t>(value) >> shift));
}
template <class T>
T get_big(std::string_view from) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) value = value << 8 | static_cast<std::uint8_t>(from[i]);
  return static_cast<T>(value);
}

}  // namespace

// ---- keys and values ----

void put_task_prefix(std::string& to, char kind, std::uint32_t number, std::int32_t partition) {
  to.push_back(kind);
  put_big(to, number);
  put_big(to, static_cast<std::uint32_t>(partition));
}

std::string encode_checkpoint(const checkpoint& at) {
  std::string to;
  put_big(to, at.next);
  put_big(to, at.timestamp_max_ms);
  put_big(to, at.as_of_ms);
  to.append(at.cluster_id);
  return to;
}

std::optional<checkpoint> decode_checkpoint(std::string_view from) {
  constexpr std::size_t numbers = 3 * sizeof(std::int64_t);
  if (from.size() < numbers) return std::nullopt;
  return checkpoint{get_big<std::int64_t>(from), get_big<std::int64_t>(from.substr(8)), get_big<std::int64_t>(from.substr(16)),
                    std::string(from.substr(numbers))};
}

// ---- database ----

state_files::state_files(fs::path where, local_state_options how, folder_lock lock)
    : folder(std::move(where)), options(std::move(how)), lock_(std::move(lock)) {}

state_files::~state_files() {
  if (db) db->Close();
}

status state_files::open_database() {
  rocksdb::DB* opened = nullptr;
  const auto outcome = rocksdb::DB::Open(database_options(options), (folder / "db").string(), &opened);
  if (!outcome.ok()) return failed("cannot open the database", outcome);
  db.reset(opened);
  ++openings;
  beside_begun_ = beside_done_ = beside_flushed_ = 0;
  write_failed = false;
  auto read = read_stores();
  if (read) return {};
  // With half of the list two stores would get one number: nothing is opened then.
  db.reset();
  write_failed = true;
  return read;
}

status state_files::read_stores() {
  std::unique_ptr<rocksdb::Iterator> at(db->NewIterator(rocksdb::ReadOptions()));
  for (at->Seek("n"); at->Valid() && at->key().starts_with("n"); at->Next()) {
    const std::string_view key = std::string_view(at->key().data(), at->key().size()).substr(1);
    const std::size_t group_bytes = key.size() < 2 ? SIZE_MAX - 2 : get_big<std::uint16_t>(key);
    if (key.size() < 2 + group_bytes || at->value().size() != sizeof(std::uint32_t))
      return fail(errc::corrupt, "state folder " + folder.string() + ": the list of stores is damaged; move the folder away, "
                                                                    "and state is rebuilt from its changelogs");
    stores[std::string(key.substr(2, group_bytes))][std::string(key.substr(2 + group_bytes))].number =
        get_big<std::uint32_t>({at->value().data(), at->value().size()});
  }
  if (!at->status().ok()) return failed("cannot read the list of stores", at->status());
  return {};
}

result<state_files::store_entry*> state_files::number(std::string_view group, std::string_view store) {
  if (auto* found = find(group, store)) return found;
  std::uint32_t next = 0;
  for (const auto& [name, of_group] : stores) {
    for (const auto& [other, entry] : of_group) next = std::max(next, entry.number + 1);
  }
  std::string key = "n";
  put_big(key, static_cast<std::uint16_t>(group.size()));
  key.append(group).append(store);
  std::string value;
  put_big(value, next);
  rocksdb::WriteBatch batch;
  batch.Put(key, value);
  SONDER_TRY(write(batch, true));
  auto& made = stores[std::string(group)][std::string(store)];
  made.number = next;
  return &made;
}

state_files::store_entry* state_files::find(std::string_view group, std::string_view store) {
  const auto of_group = stores.find(group);
  if (of_group == stores.end()) return nullptr;
  const auto found = of_group->second.find(store);
  return found == of_group->second.end() ? nullptr : &found->second;
}

state_files::task_state* state_files::find_open(std::string_view group, std::string_view store, std::int32_t partition,
                                                std::uint32_t& number_out) {
  auto* found = find(group, store);
  if (found == nullptr || partition < 0 || static_cast<std::size_t>(partition) >= found->tasks.size()) return nullptr;
  auto& task = found->tasks[static_cast<std::size_t>(partition)];
  number_out = found->number;
  return task.open ? &task : nullptr;
}

status state_files::write(rocksdb::WriteBatch& batch, bool logged) {
  if (!db || write_failed) return closed();
  if (!logged) ++beside_begun_;
  rocksdb::WriteOptions how;
  how.disableWAL = !logged;
  how.memtable_insert_hint_per_batch = !logged;  // a restore's batches are sorted
  const auto outcome = db->Write(how, &batch);
  if (outcome.ok()) {
    if (!logged) ++beside_done_;
    return {};
  }
  return write_has_failed(outcome);
}

status state_files::flush() {
  if (!db || write_failed) return closed();
  // What is done by now is in the memory that is flushed; what others begin meanwhile may not be.
  const std::uint64_t taken = beside_done_;
  const auto outcome = db->Flush(rocksdb::FlushOptions());
  if (outcome.ok()) {
    auto before = beside_flushed_.load();
    while (before < taken && !beside_flushed_.compare_exchange_weak(before, taken)) {
    }
    return {};
  }
  return write_has_failed(outcome);
}

tl::unexpected<error> state_files::write_has_failed(const rocksdb::Status& why) {
  disk_was_full = says_disk_full(why);
  write_failed = true;
  return failed("cannot write", why);
}

tl::unexpected<error> state_files::closed() const {
  const std::string place = "state folder " + folder.string() + ": closed since ";
  if (disk_was_full) return fail(errc::unavailable, place + "the disk was full; free space, then work goes on by itself");
  return fail(errc::io, place + "a write failed; it is opened again at the next restore");
}

tl::unexpected<error> state_files::full() const {
  return fail(errc::unavailable, "state folder " + folder.string() + full_text);
}

tl::unexpected<error> state_files::failed(std::string_view doing, const rocksdb::Status& why) const {
  const std::string place = "state folder " + folder.string() + ": " + std::string(doing) + ": " + why.ToString();
  if (says_disk_full(why)) return fail(errc::unavailable, place + full_text);
  if (why.IsCorruption())
    return fail(errc::corrupt, place + "; move the folder away, and state is rebuilt from its changelogs");
  return fail(errc::io, place);
}

}  // namespace sonder::kafka
