#include "state/store.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <new>
#include <random>

#include "state/entry_table.h"

namespace sonder {
namespace {

constexpr std::size_t layers_max = 3;  // one open, two sealed
// A value larger than this part of the cache is read each time instead of pushing everything else
// out.
constexpr std::size_t cache_share_of_one_entry = 8;
// A table that has just grown has this many slots for each entry.
constexpr std::size_t entry_overhead_bytes = 3 * sizeof(entry_table::slot);

// Keys are chosen by the people whose data they are: a seed that they do not know keeps them from
// choosing collisions.
std::uint64_t process_seed() {
  static const std::uint64_t seed = [] {
    std::random_device device;
    return static_cast<std::uint64_t>(device()) << 32 | device();
  }();
  return seed;
}

/// Committed entries that were read or written lately, absent ones too, within a number of bytes;
/// the CLOCK algorithm, whose hand walks the table itself.
class entry_cache {
 public:
  explicit entry_cache(std::size_t bytes_max) noexcept : bytes_max_(bytes_max) {}
  ~entry_cache() {
    for (const auto& slot : table_.slots()) ::operator delete(slot.entry);
  }
  entry_cache(const entry_cache&) = delete;
  entry_cache& operator=(const entry_cache&) = delete;

  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }

  [[nodiscard]] store_entry* find(std::uint64_t hash, bytes_view key) const noexcept {
    store_entry* found = table_.find(hash, key);
    if (found != nullptr) found->referenced = true;
    return found;
  }

  /// Null where it is too large to keep; then nothing is kept of the key.
  store_entry* put(std::uint64_t hash, bytes_view key, const bytes_view* value) {
    store_entry* there = table_.find(hash, key);
    if (there != nullptr) {
      if (there->fits(value)) {
        there->set_value(value);
        return there;
      }
      drop(hash, there);
    }
    const std::size_t value_size = value != nullptr ? value->size() : 0;
    const std::size_t size = entry_bytes(key.size(), value_size) + entry_overhead_bytes;
    if (size > bytes_max_ / cache_share_of_one_entry) return nullptr;
    while (bytes_ + size > bytes_max_) evict_one();
    auto* made = new (::operator new(entry_bytes(key.size(), value_size))) store_entry;
    made->key_size = static_cast<std::uint32_t>(key.size());
    made->value_capacity = static_cast<std::uint32_t>(entry_bytes(key.size(), value_size) -
                                                      sizeof(store_entry) - key.size());
    if (!key.empty()) std::memcpy(made->bytes(), key.data(), key.size());
    made->set_value(value);
    table_.set(hash, made);
    bytes_ += held(*made);
    return made;
  }

 private:
  static std::size_t held(const store_entry& entry) noexcept {
    return sizeof(store_entry) + entry.key_size + entry.value_capacity + entry_overhead_bytes;
  }
  void drop(std::uint64_t hash, store_entry* entry) noexcept {
    bytes_ -= held(*entry);
    table_.remove(hash, entry->key());
    ::operator delete(entry);
  }
  void evict_one() noexcept {
    for (;;) {
      hand_ = (hand_ + 1) & (table_.slots().size() - 1);
      store_entry* entry = table_.slots()[hand_].entry;
      if (entry == nullptr) continue;
      if (!entry->referenced) {
        bytes_ -= held(*entry);
        table_.remove_at(hand_);
        ::operator delete(entry);
        return;
      }
      entry->referenced = false;
    }
  }

  std::size_t bytes_max_;
  std::size_t bytes_ = 0;
  std::size_t hand_ = 0;
  entry_table table_;
};

/// The changes of one epoch.
struct layer {
  entry_table table;
  entry_arena arena;

  void clear() noexcept {
    table.clear();
    arena.clear();
  }
  [[nodiscard]] std::size_t bytes() const noexcept {
    return arena.bytes() + table.size() * entry_overhead_bytes;
  }
};

bool key_less(bytes_view a, bytes_view b) noexcept {
  return as_text(a) < as_text(b);
}
bool key_starts_with(bytes_view key, bytes_view prefix) noexcept {
  return as_text(key).starts_with(as_text(prefix));
}

}  // namespace

struct keyed_store::parts {
  struct undo {
    std::uint64_t hash;
    store_entry* now;     // in the table since the mark
    store_entry* before;  // null: the key was not there
  };

  parts(class log& log_, std::string group_, std::string store_, std::int32_t partition_,
        store_limits limits_)
      : from(log_),
        group(std::move(group_)),
        store(std::move(store_)),
        partition(partition_),
        limits(limits_),
        cache(limits_.cache_bytes_max) {}

  class log& from;
  std::string group, store;
  std::int32_t partition;
  store_limits limits;
  std::uint64_t seed = process_seed();
  entry_cache cache;
  buffer loaded;  // a value that is too large for the cache

  // A ring: `oldest` .. `oldest + sealed` - 1 are sealed, the next one is open.
  std::array<layer, layers_max> ring;
  std::size_t oldest = 0;
  std::size_t sealed = 0;

  std::uint64_t savepoint = 1;
  entry_arena::position mark_at;
  std::vector<undo> undone;

  std::vector<const store_entry*> scanned;

  [[nodiscard]] layer& sealed_layer(std::size_t i) noexcept {
    return ring[(oldest + i) % layers_max];
  }
  [[nodiscard]] layer& open() noexcept { return sealed_layer(sealed); }
  [[nodiscard]] std::uint64_t hash(bytes_view key) const noexcept {
    return XXH3_64bits_withSeed(key.data(), key.size(), seed);
  }

  void set_mark() noexcept {
    ++savepoint;
    mark_at = open().arena.at();
    undone.clear();
  }
  status change(bytes_view key, const bytes_view* value);
  result<store_entry*> load(std::uint64_t h, bytes_view key, bytes_view* value);
  void collect(bytes_view prefix);
};

keyed_store::keyed_store(log& from, std::string group, std::string store, std::int32_t partition,
                         store_limits limits)
    : parts_(std::make_unique<parts>(from, std::move(group), std::move(store), partition, limits)) {
}

keyed_store::~keyed_store() = default;

result<bool> keyed_store::get(bytes_view key, bytes_view* value) {
  auto& p = *parts_;
  const std::uint64_t h = p.hash(key);
  store_entry* found = nullptr;
  for (std::size_t i = p.sealed + 1; i-- > 0 && found == nullptr;)
    found = p.sealed_layer(i).table.find(h, key);
  if (found == nullptr) found = p.cache.find(h, key);
  if (found == nullptr) {
    auto read = p.load(h, key, value);
    if (!read) return tl::unexpected<error>(std::move(read).error());
    if (*read == nullptr) return true;
    found = *read;
  }
  if (!found->has_value) return false;
  *value = found->value();
  return true;
}

// From the database into the cache. Null: too large for the cache, `value` views `loaded`.
result<store_entry*> keyed_store::parts::load(std::uint64_t h, bytes_view key, bytes_view* value) {
  static store_entry absent;
  if (!limits.in_database) return &absent;
  const auto there = from.state_get(group, store, partition, key, loaded);
  if (!there) return tl::unexpected<error>(there.error());
  const bytes_view read(loaded.data(), loaded.size());
  store_entry* kept = cache.put(h, key, *there ? &read : nullptr);
  if (kept != nullptr) return kept;
  if (!*there) return &absent;  // a key too large to be remembered as that
  *value = read;
  return nullptr;
}

status keyed_store::parts::change(bytes_view key, const bytes_view* value) {
  const std::uint64_t h = hash(key);
  layer& to = open();
  store_entry* const before = to.table.find(h, key);
  if (before != nullptr && before->written_at == savepoint && before->fits(value)) {
    before->set_value(value);
    return {};
  }
  // What stood before the mark stays for `roll_back`; its key's other block, if there is one, is
  // free to be written: two blocks a key are enough however often it changes.
  store_entry* fresh =
      before != nullptr && before->written_at != savepoint ? before->previous : nullptr;
  if (fresh == nullptr || !fresh->fits(value)) {
    const std::size_t value_size = value != nullptr ? value->size() : 0;
    const std::size_t size = entry_bytes(key.size(), value_size) + entry_overhead_bytes;
    if (to.bytes() + size > limits.overlay_bytes_max) {
      return fail(errc::capacity,
                  "store \"" + store + "\": the changes of one epoch need more than " +
                      std::to_string(limits.overlay_bytes_max) + " bytes; close the epoch first");
    }
    fresh = to.arena.make(key, value_size);
    // A block written in this savepoint and outgrown must not be offered again: a rewind takes it
    // away.
    fresh->previous = before != nullptr && before->written_at != savepoint ? before : nullptr;
  } else {
    fresh->previous = before;
  }
  fresh->written_at = savepoint;
  fresh->set_value(value);
  to.table.set(h, fresh);
  undone.push_back({h, fresh, before});
  return {};
}

status keyed_store::put(bytes_view key, bytes_view value) {
  return parts_->change(key, &value);
}

status keyed_store::erase(bytes_view key) {
  return parts_->change(key, nullptr);
}

void keyed_store::mark() noexcept {
  parts_->set_mark();
}

void keyed_store::roll_back() noexcept {
  auto& p = *parts_;
  layer& open = p.open();
  for (auto i = p.undone.rbegin(); i != p.undone.rend(); ++i) {
    if (i->before != nullptr) {
      open.table.set(i->hash, i->before);
    } else {
      open.table.remove(i->hash, i->now->key());
    }
  }
  open.arena.rewind(p.mark_at);
  p.set_mark();
}

void keyed_store::seal(std::vector<state_change>& to) {
  auto& p = *parts_;
  assert(p.sealed + 1 < layers_max);
  to.reserve(to.size() + p.open().table.size());
  for (const auto& slot : p.open().table.slots()) {
    if (slot.entry == nullptr) continue;
    to.push_back(
        {p.store, p.partition, slot.entry->key(),
         slot.entry->has_value ? std::optional<bytes_view>(slot.entry->value()) : std::nullopt});
  }
  ++p.sealed;
  // Cleared once, when it was committed: clearing goes by how much was in use.
  assert(p.open().table.size() == 0);
  p.set_mark();
}

void keyed_store::committed() {
  auto& p = *parts_;
  assert(p.sealed > 0);
  layer& done = p.ring[p.oldest];
  for (const auto& slot : done.table.slots()) {
    if (slot.entry == nullptr) continue;
    const bytes_view value = slot.entry->value();
    p.cache.put(slot.hash, slot.entry->key(), slot.entry->has_value ? &value : nullptr);
  }
  done.clear();
  p.oldest = (p.oldest + 1) % layers_max;
  --p.sealed;
}

// The newest uncommitted entry of each key with the prefix, by ascending key.
void keyed_store::parts::collect(bytes_view prefix) {
  scanned.clear();
  for (std::size_t i = sealed + 1; i-- > 0;) {
    for (const auto& slot : sealed_layer(i).table.slots()) {
      if (slot.entry != nullptr && key_starts_with(slot.entry->key(), prefix))
        scanned.push_back(slot.entry);
    }
  }
  // Newer layers came first, and a stable sort leaves them first among equals.
  std::stable_sort(scanned.begin(), scanned.end(), [](const store_entry* a, const store_entry* b) {
    return key_less(a->key(), b->key());
  });
  const auto end =
      std::unique(scanned.begin(), scanned.end(), [](const store_entry* a, const store_entry* b) {
        return as_text(a->key()) == as_text(b->key());
      });
  scanned.erase(end, scanned.end());
}

status keyed_store::scan(bytes_view prefix, log::state_visitor visit, void* ctx) {
  struct merge {
    const std::vector<const store_entry*>& above;
    std::size_t next = 0;
    log::state_visitor visit;
    void* ctx;
    bool goes_on = true;

    // Entries above the database whose key is less than `key`, or all.
    void up_to(const bytes_view* key) {
      while (goes_on && next < above.size() &&
             (key == nullptr || key_less(above[next]->key(), *key))) {
        const store_entry& entry = *above[next++];
        if (entry.has_value) goes_on = visit(ctx, entry.key(), entry.value());
      }
    }
    static bool step(void* self, bytes_view key, bytes_view value) {
      auto& m = *static_cast<merge*>(self);
      m.up_to(&key);
      if (!m.goes_on) return false;
      if (m.next < m.above.size() && as_text(m.above[m.next]->key()) == as_text(key)) return true;
      m.goes_on = m.visit(m.ctx, key, value);
      return m.goes_on;
    }
  };
  auto& p = *parts_;
  p.collect(prefix);
  merge m{p.scanned, 0, visit, ctx};
  if (p.limits.in_database)
    SONDER_TRY(p.from.state_scan(p.group, p.store, p.partition, prefix, &merge::step, &m));
  m.up_to(nullptr);
  return {};
}

std::size_t keyed_store::cache_bytes() const noexcept {
  return parts_->cache.bytes();
}

std::size_t keyed_store::overlay_bytes() const noexcept {
  std::size_t bytes = 0;
  for (const auto& layer : parts_->ring) bytes += layer.bytes();
  return bytes;
}

}  // namespace sonder
