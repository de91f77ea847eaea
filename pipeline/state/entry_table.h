#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "record/column.h"

namespace sonder {

/// One key with its newest value, key bytes and value bytes behind it in the same block. Owned by
/// an arena or by the cache.
struct store_entry {
  std::uint32_t key_size = 0;
  std::uint32_t value_size = 0;
  std::uint32_t value_capacity = 0;
  bool has_value = false;           ///< false: known to be absent, or deleted
  bool referenced = false;          ///< the cache's clock bit
  std::uint64_t written_at = 0;     ///< the savepoint in which it was written
  store_entry* previous = nullptr;  ///< another block of the same key that may be written next

  [[nodiscard]] std::uint8_t* bytes() noexcept { return reinterpret_cast<std::uint8_t*>(this + 1); }
  [[nodiscard]] const std::uint8_t* bytes() const noexcept {
    return reinterpret_cast<const std::uint8_t*>(this + 1);
  }
  [[nodiscard]] bytes_view key() const noexcept { return {bytes(), key_size}; }
  [[nodiscard]] bytes_view value() const noexcept { return {bytes() + key_size, value_size}; }

  [[nodiscard]] bool fits(const bytes_view* value) const noexcept {
    return value == nullptr || value->size() <= value_capacity;
  }
  /// `value` fits; null: no value.
  void set_value(const bytes_view* value) noexcept {
    has_value = value != nullptr;
    value_size = has_value ? static_cast<std::uint32_t>(value->size()) : 0;
    if (value_size != 0) std::memcpy(bytes() + key_size, value->data(), value_size);
  }
};

/// A hash table from key bytes to entries that it does not own: open addressing, linear probing,
/// deletion without tombstones. Keeps its memory over `clear()`, but not that of `kept_slots_max`
/// slots and more of which it used an eighth at most. Not thread-safe.
class entry_table {
 public:
  static constexpr std::size_t kept_slots_max = 4096;

  struct slot {
    std::uint64_t hash = 0;
    store_entry* entry = nullptr;
  };

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return slots_.capacity() * sizeof(slot); }
  /// The slots, empty ones among them: for walking.
  [[nodiscard]] const std::vector<slot>& slots() const noexcept { return slots_; }

  [[nodiscard]] store_entry* find(std::uint64_t hash, bytes_view key) const noexcept {
    if (size_ == 0) return nullptr;
    const std::size_t mask = slots_.size() - 1;
    for (std::size_t i = hash & mask; slots_[i].entry != nullptr; i = (i + 1) & mask) {
      if (slots_[i].hash == hash && same_key(*slots_[i].entry, key)) return slots_[i].entry;
    }
    return nullptr;
  }

  /// Puts `entry` under its own key; answers the one that stood there.
  store_entry* set(std::uint64_t hash, store_entry* entry);
  void remove(std::uint64_t hash, bytes_view key) noexcept;
  void remove_at(std::size_t index) noexcept;
  void clear() noexcept;

 private:
  static bool same_key(const store_entry& entry, bytes_view key) noexcept {
    return entry.key_size == key.size() &&
           (key.empty() || std::memcmp(entry.bytes(), key.data(), key.size()) == 0);
  }
  void grow();

  std::vector<slot> slots_;
  std::size_t size_ = 0;
};

/// Memory that is handed out in order and taken back from the end, or all at once; keeps its
/// blocks over that, up to `kept_bytes_max` over `clear()`. Not thread-safe.
class entry_arena {
 public:
  static constexpr std::size_t block_bytes = 64 << 10;
  /// What an epoch takes beyond this is allocated again: once for hundreds of changes.
  static constexpr std::size_t kept_bytes_max = 4 * block_bytes;

  struct position {
    std::size_t block = 0;
    std::size_t used = 0;
    std::size_t bytes = 0;
  };

  [[nodiscard]] store_entry* make(bytes_view key, std::size_t value_capacity);
  [[nodiscard]] position at() const noexcept { return at_; }
  /// Takes back everything that was made since `to`.
  void rewind(const position& to) noexcept { at_ = to; }
  /// Takes back everything.
  void clear() noexcept;
  /// Handed out and not taken back.
  [[nodiscard]] std::size_t bytes() const noexcept { return at_.bytes; }
  [[nodiscard]] std::size_t bytes_held() const noexcept;

 private:
  struct block {
    std::unique_ptr<std::uint8_t[]> memory;
    std::size_t size = 0;
  };
  std::vector<block> blocks_;
  position at_;
};

[[nodiscard]] std::size_t entry_bytes(std::size_t key_size, std::size_t value_capacity) noexcept;

}  // namespace sonder
