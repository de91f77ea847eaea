#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "log/log.h"
#include "record/result.h"

namespace sonder {

struct store_limits {
  std::size_t cache_bytes_max = 16 << 20;   ///< hot keys kept in memory
  std::size_t overlay_bytes_max = 8 << 20;  ///< uncommitted changes of one epoch
  /// Whether the log's database holds the store too. Without it what is uncommitted is all there
  /// is; the log is never asked, and nothing may be sealed.
  bool in_database = true;
};

/// One keyed store of one stage, of one task: committed entries in the log's database under a
/// bounded cache of hot keys, and the uncommitted changes of the open epoch and of those being
/// committed above it.
///
/// Confined to its task's strand, but for `layer` objects that `seal` gave away, which are
/// read-only. A steady state that hits the cache allocates nothing.
///
/// Life of a change: `put` -> open layer -> `seal()` (epoch closed, layer lent to the commit) ->
/// `committed()` (layer's entries move to the cache) or the whole store is thrown away with the
/// epoch and made anew.
class keyed_store {
 public:
  keyed_store(log& from, std::string group, std::string store, std::int32_t partition,
              store_limits limits);
  ~keyed_store();
  keyed_store(const keyed_store&) = delete;
  keyed_store& operator=(const keyed_store&) = delete;

  /// The newest value of `key`, or nothing. `*value` lives until the next call of this store.
  [[nodiscard]] result<bool> get(bytes_view key, bytes_view* value);
  /// errc::capacity beyond `overlay_bytes_max`: the task closes its epoch early and calls again.
  [[nodiscard]] status put(bytes_view key, bytes_view value);
  [[nodiscard]] status erase(bytes_view key);
  /// Visits the entries whose key starts with `prefix`, by ascending key, until `visit` answers
  /// false.
  [[nodiscard]] status scan(bytes_view prefix, log::state_visitor visit, void* ctx);

  /// Calls are savepoints: everything since the last `mark()` can be undone by `roll_back()`. One
  /// level.
  void mark() noexcept;
  void roll_back() noexcept;

  /// Closes the open layer and appends its changes to `to`, as views that live until `committed()`
  /// of this layer. At most two sealed layers stand at a time.
  void seal(std::vector<state_change>& to);
  /// The oldest sealed layer is in the database now.
  void committed();

  [[nodiscard]] std::size_t cache_bytes() const noexcept;
  /// Of all uncommitted changes, sealed ones among them.
  [[nodiscard]] std::size_t overlay_bytes() const noexcept;

 private:
  struct parts;
  std::unique_ptr<parts> parts_;
};

}  // namespace sonder
