#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "log/internal_names.h"
#include "log/log.h"

namespace sonder::kafka {

/// Where an epoch's changes to one store of one task ended in its changelog: what delivery reports say.
struct changelog_position {
  std::string_view store;
  std::int32_t partition = 0;
  std::int64_t next = 0;              ///< one past the last record's offset
  std::int64_t timestamp_max_ms = 0;  ///< of the epoch's records there
};

/// What the state on disk of one store of one task corresponds to.
struct checkpoint {
  std::int64_t next = 0;              ///< the first changelog offset that is not in it
  std::int64_t timestamp_max_ms = 0;  ///< no changelog record before `next` is newer
  std::int64_t as_of_ms = 0;          ///< when `next` was last known to be the changelog's committed end
  std::string cluster_id;
};

struct local_state_options {
  std::size_t cache_bytes = 64 << 20;     ///< of blocks read from files
  /// After a kill all of it is read again from the write-ahead log before anything else, 20 ms a MiB.
  std::size_t memtable_bytes = 16 << 20;  ///< of changes not yet in files; three times that while files are written
  std::function<std::int64_t()> now_ms;   ///< Unix epoch, UTC; empty: the system's clock
  std::function<std::uint64_t()> free_bytes = {};  ///< on the folder's disk; empty: as the system tells
};

class state_files;

/// Version of what lies in the folder: `format` (this number), `state.lock` (held by the process that has it), `db/` (RocksDB).
inline constexpr int state_format_version = 1;

/// The keyed state of this process's tasks on its own disk: what restores from changelogs, and what `state_get` and
/// `state_scan` read.
///
/// Thread-safe. One process at a time has a folder (errc::unavailable names the other one). It holds committed state only: an
/// epoch's changes come in by `applied`, after their commit, together with the place in the changelog that they correspond
/// to; an epoch that is discarded never came near it. So any crash leaves a state that the changelog rolls forward from its
/// checkpoint. Nothing is synced to disk for an epoch: what a power cut takes away, the changelog has.
///
/// A task's state is open between `open` and `close`, which the restorer calls; only then is it read and changed. State of
/// closed tasks stays on disk with its checkpoint.
class local_state {
 public:
  /// Makes the folder where it is missing. A folder of a newer format is refused (errc::unsupported), a damaged one is
  /// errc::corrupt.
  [[nodiscard]] static result<std::unique_ptr<local_state>> in(const std::filesystem::path& folder,
                                                               local_state_options options = {});
  /// The first half of `in`: the folder is this process's, and all that needs the files is errc::unavailable or errc::io until
  /// `open_files` has come back. That may take as long as a restart may, and other things need not wait for it.
  [[nodiscard]] static result<std::unique_ptr<local_state>> claim(const std::filesystem::path& folder,
                                                                  local_state_options options = {});
  /// Does nothing where they are open.
  [[nodiscard]] status open_files();
  ~local_state();
  local_state(const local_state&) = delete;
  local_state& operator=(const local_state&) = delete;

  // ---- for the log ----

  /// Puts an epoch that has been committed into the state: its `changes`, and `reached` for each (store, partition) among
  /// them, at once or not at all. On an error the state is behind the changelog and the group's member has to restart.
  [[nodiscard]] status applied(std::string_view group, std::span<const state_change> changes,
                               std::span<const changelog_position> reached);
  /// As in the port. A task that is not open is errc::unavailable.
  [[nodiscard]] result<bool> get(std::string_view group, std::string_view store, std::int32_t partition, bytes_view key,
                                 buffer& value);
  [[nodiscard]] status scan(std::string_view group, std::string_view store, std::int32_t partition, bytes_view prefix,
                            log::state_visitor visit, void* ctx);

  /// Of those of the tasks that are open: what a store takes on disk, by RocksDB's estimate, and the next offset of each changelog.
  struct footprint {
    std::int64_t disk_bytes = 0;
    std::vector<std::pair<std::int32_t, std::int64_t>> changelog_next;  ///< by partition
  };
  [[nodiscard]] result<footprint> footprint_of(std::string_view group, std::string_view store, std::span<const std::int32_t> partitions);

  // ---- for the restorer ----

  [[nodiscard]] result<std::optional<checkpoint>> find_checkpoint(std::string_view group, std::string_view store,
                                                                  std::int32_t partition);
  /// Forgets the state and the checkpoint of one store of one task.
  [[nodiscard]] status wipe(std::string_view group, std::string_view store, std::int32_t partition);
  /// Says that the checkpoint, which is there, was the changelog's committed end just now.
  [[nodiscard]] status renew(std::string_view group, std::string_view store, std::int32_t partition);
  /// From here on it is read and changed. It has a checkpoint.
  [[nodiscard]] status open(std::string_view group, std::string_view store, std::int32_t partition);
  void close(std::string_view group, std::string_view store, std::int32_t partition) noexcept;
  /// After a write that failed: opens the files anew, once the cause (a full disk) is gone. Else does nothing. While there is no
  /// room it changes nothing: what is open is still read. What is open stays so, at what was written last.
  [[nodiscard]] status recover();
  /// A write has failed, and nothing is written until `recover`.
  [[nodiscard]] bool closed() const noexcept;
  /// What the folder's disk has left for this user; UINT64_MAX where it cannot be told.
  [[nodiscard]] std::uint64_t free_bytes() const;

  [[nodiscard]] std::int64_t now_ms() const;

 private:
  friend class state_loader;
  explicit local_state(std::unique_ptr<state_files> files);
  std::unique_ptr<state_files> files_;
};

/// Fills one store of one task from its changelog, record by record in offset order. Confined to one thread; no two for the
/// same (store, task) at once, nor while it is open.
///
/// What it has written survives a kill up to some checkpoint of its own: a later loader goes on from there.
class state_loader {
 public:
  [[nodiscard]] static result<state_loader> for_task(local_state& state, std::string_view group, std::string_view store,
                                                     std::int32_t partition);
  ~state_loader();
  state_loader(state_loader&& other) noexcept;
  state_loader& operator=(state_loader&& other) noexcept;

  /// At most 2 GiB between two calls of `write`.
  void put(bytes_view key, bytes_view value);
  void erase(bytes_view key);
  /// Writes what was put and erased since the last call; `reached` is the checkpoint that it makes.
  [[nodiscard]] status write(const checkpoint& reached);
  /// As `write`, and all of it survives a kill from here on. Once, at the end.
  [[nodiscard]] status finish(const checkpoint& reached);

 private:
  struct parts;
  explicit state_loader(std::unique_ptr<parts> made);
  std::unique_ptr<parts> parts_;
};

}  // namespace sonder::kafka
