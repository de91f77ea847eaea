#include "log/embedded/database.h"

#include <rocksdb/cache.h>
#include <rocksdb/env.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/options.h>
#include <rocksdb/table.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <thread>

#include "log/embedded/data_folder.h"

namespace sonder::embedded {
namespace {

namespace fs = std::filesystem;

constexpr std::array<const char*, families> family_names = {"default", "records", "index",
                                                            "offsets", "state"};

constexpr std::size_t wal_bytes_max = 256 << 20;
constexpr std::size_t manifest_bytes_max = 16 << 20;
constexpr std::size_t records_memtable_bytes = 32 << 20;
constexpr std::size_t state_memtable_bytes = 16 << 20;
constexpr std::size_t small_memtable_bytes = 4 << 20;
constexpr int writer_open_files_max = 512;
constexpr int background_jobs_max = 2;
constexpr int catch_up_attempts_max = 100;
constexpr auto catch_up_pause = std::chrono::milliseconds(2);

// RocksDB's own log file ends the process with an assertion at the second line that a full disk refuses (7.8). What is wrong comes as
// a status as well.
class no_lines final : public rocksdb::Logger {
 public:
  using Logger::Logv;
  void Logv(const char*, va_list) override {}
};

rocksdb::Options database_options(const embedded_options& options) {
  rocksdb::Options o;
  o.create_if_missing = true;
  o.create_missing_column_families = true;
  o.db_write_buffer_size = options.memtable_bytes_max;
  o.max_total_wal_size = wal_bytes_max;
  o.max_manifest_file_size = manifest_bytes_max;
  o.max_background_jobs = background_jobs_max;
  o.max_open_files = options.mode == embedded_options::access::reader ? -1 : writer_open_files_max;
  o.info_log = std::make_shared<no_lines>();
  o.stats_dump_period_sec = 0;
  o.stats_persist_period_sec = 0;
  o.max_write_buffer_number = 2;
  // A write that a crash cut short at the very end is dropped. RocksDB's default would as quietly drop everything from a damaged
  // place in the middle on, committed epochs among it.
  o.wal_recovery_mode = rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  return o;
}

std::vector<rocksdb::ColumnFamilyDescriptor> describe_families(const rocksdb::Options& base,
                                                               std::size_t cache_bytes) {
  auto cache = rocksdb::NewLRUCache(cache_bytes);
  std::vector<rocksdb::ColumnFamilyDescriptor> made;
  for (std::size_t i = 0; i < families; ++i) {
    rocksdb::ColumnFamilyOptions o(base);
    rocksdb::BlockBasedTableOptions table;
    table.block_cache = cache;
    table.cache_index_and_filter_blocks = true;
    table.format_version = 5;
    o.write_buffer_size = small_memtable_bytes;
    // Fresh data is rewritten soon: it pays to compress only what has settled.
    o.level_compaction_dynamic_level_bytes = true;
    o.compression_per_level = {rocksdb::kNoCompression, rocksdb::kNoCompression,
                               rocksdb::kLZ4Compression};
    switch (static_cast<family>(i)) {
      case family::records:
        o.write_buffer_size = records_memtable_bytes;
        table.block_size = 32 << 10;
        break;
      case family::state:
        o.write_buffer_size = state_memtable_bytes;
        table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
        o.optimize_filters_for_hits = false;
        break;
      case family::meta:
      case family::index:
      case family::offsets:
        break;
    }
    o.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
    made.emplace_back(family_names[i], o);
  }
  return made;
}

// The oldest write-ahead log file there is.
std::optional<std::uint64_t> oldest_wal(const fs::path& db) {
  std::optional<std::uint64_t> oldest;
  std::error_code ignored;
  for (fs::directory_iterator at(db, ignored), end; !ignored && at != end; at.increment(ignored)) {
    if (at->path().extension() != ".log") continue;
    const std::string stem = at->path().stem().string();
    std::uint64_t number = 0;
    if (std::from_chars(stem.data(), stem.data() + stem.size(), number).ec != std::errc{}) continue;
    oldest = std::min(oldest.value_or(number), number);
  }
  return oldest;
}

bool says_disk_full(const rocksdb::Status& why) {
  const std::string message = why.ToString();
  return why.IsNoSpace() || message.find("No space left") != std::string::npos ||
         message.find("File too large") != std::string::npos ||
         message.find("quota exceeded") != std::string::npos;
}

// Nothing runs yet that could go on by itself.
tl::unexpected<error> no_space_to_open(const fs::path& folder) {
  return fail(errc::io, "data folder " + folder.string() + ": the disk is full; free space, then start again");
}

}  // namespace

result<std::unique_ptr<database>> database::open(const fs::path& folder,
                                                 const embedded_options& options) {
  std::unique_ptr<database> made(new database(folder));
  const rocksdb::Options base = database_options(options);
  const auto described = describe_families(base, options.block_cache_bytes_max);
  const std::string db = (folder / "db").string();
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* opened = nullptr;
  rocksdb::Status outcome;
  if (options.mode == embedded_options::access::writer) {
    if (!has_space(folder)) return no_space_to_open(folder);
    outcome = rocksdb::DB::Open(base, db, described, &handles, &opened);
  } else {
    auto own = make_reader_folder(folder);
    if (!own) return tl::unexpected<error>(std::move(own).error());
    made->reader_folder_ = *own;
    // Files that the writer removes while we open are only a reason to look again.
    for (int attempt = 0; attempt < catch_up_attempts_max; ++attempt) {
      outcome = rocksdb::DB::OpenAsSecondary(base, db, own->string(), described, &handles, &opened);
      if (outcome.ok() || outcome.IsCorruption()) break;
      std::this_thread::sleep_for(catch_up_pause);
    }
  }
  if (says_disk_full(outcome)) return no_space_to_open(folder);
  if (!outcome.ok()) return made->failed("cannot open the database", outcome);
  made->db_.reset(opened);
  std::copy(handles.begin(), handles.end(), made->handles_.begin());
  if (options.mode == embedded_options::access::reader) SONDER_TRY(made->catch_up());
  return made;
}

database::~database() {
  if (db_) {
    for (auto* handle : handles_) {
      if (handle != nullptr) db_->DestroyColumnFamilyHandle(handle);
    }
    db_->Close();
    db_.reset();
  }
  if (!reader_folder_.empty()) {
    std::error_code ignored;
    fs::remove_all(reader_folder_, ignored);
  }
}

status database::catch_up() {
  rocksdb::Status outcome;
  const fs::path db = folder_ / "db";
  for (int attempt = 0; attempt < catch_up_attempts_max; ++attempt) {
    if (attempt != 0) std::this_thread::sleep_for(catch_up_pause);
    // RocksDB reads the list of table files first and the write-ahead logs second. A log that the
    // writer flushes and removes in between is in neither, while later logs are: only when none
    // went away have we seen everything in order.
    const auto before = oldest_wal(db);
    outcome = db_->TryCatchUpWithPrimary();
    if (outcome.ok() && oldest_wal(db) == before) return {};
    if (outcome.IsCorruption()) break;
  }
  if (outcome.ok())
    return fail(errc::unavailable,
                "data folder " + folder_.string() + ": changes too fast to be read; try again");
  return failed("cannot follow the writer", outcome);
}

result<bool> database::get(family f, std::string_view key, std::string& value) {
  const auto outcome = db_->Get(rocksdb::ReadOptions(), at(f), slice(key), &value);
  if (outcome.ok()) return true;
  if (outcome.IsNotFound()) return false;
  return failed("cannot read", outcome);
}

result<bool> database::get(family f, std::string_view key, rocksdb::PinnableSlice& value) {
  const auto outcome = db_->Get(rocksdb::ReadOptions(), at(f), slice(key), &value);
  if (outcome.ok()) return true;
  if (outcome.IsNotFound()) return false;
  return failed("cannot read", outcome);
}

std::unique_ptr<rocksdb::Iterator> database::iterate(family f, const rocksdb::ReadOptions& how) {
  return std::unique_ptr<rocksdb::Iterator>(db_->NewIterator(how, at(f)));
}

result<std::int64_t> database::approximate_bytes(family f, std::string_view from,
                                                 std::string_view to) {
  rocksdb::SizeApproximationOptions how;
  how.include_memtables = true;
  const rocksdb::Range range(slice(from), slice(to));
  std::uint64_t bytes = 0;
  const auto outcome = db_->GetApproximateSizes(how, at(f), &range, 1, &bytes);
  if (!outcome.ok()) return failed("cannot tell sizes", outcome);
  return static_cast<std::int64_t>(bytes);
}

tl::unexpected<error> database::failed(std::string_view doing, const rocksdb::Status& why) const {
  const std::string place = "data folder " + folder_.string() + ": " + std::string(doing) + ": ";
  if (says_disk_full(why)) {
    return fail(errc::unavailable, place + "the disk is full (" + why.ToString() +
                              "); free space, then work goes on by itself");
  }
  if (why.IsCorruption()) {
    return fail(errc::corrupt,
                place + why.ToString() +
                    "; restore the folder from a copy, or move it away to start empty");
  }
  if (why.IsBusy() || why.IsTryAgain())
    return fail(errc::unavailable, place + why.ToString() + "; try again");
  return fail(errc::io, place + why.ToString());
}

}  // namespace sonder::embedded
