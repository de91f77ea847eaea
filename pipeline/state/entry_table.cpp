#include "state/entry_table.h"

#include <algorithm>
#include <new>

namespace sonder {
namespace {

constexpr std::size_t slots_min = 64;

std::size_t aligned(std::size_t size) noexcept {
  return (size + alignof(store_entry) - 1) & ~(alignof(store_entry) - 1);
}

}  // namespace

std::size_t entry_bytes(std::size_t key_size, std::size_t value_capacity) noexcept {
  return aligned(sizeof(store_entry) + key_size + value_capacity);
}

store_entry* entry_table::set(std::uint64_t hash, store_entry* entry) {
  // At most 5/8 full: probes stay short.
  if ((size_ + 1) * 8 > slots_.size() * 5) grow();
  const std::size_t mask = slots_.size() - 1;
  std::size_t i = hash & mask;
  for (; slots_[i].entry != nullptr; i = (i + 1) & mask) {
    if (slots_[i].hash == hash && same_key(*slots_[i].entry, entry->key())) {
      return std::exchange(slots_[i].entry, entry);
    }
  }
  slots_[i] = {hash, entry};
  ++size_;
  return nullptr;
}

void entry_table::remove(std::uint64_t hash, bytes_view key) noexcept {
  if (size_ == 0) return;
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t i = hash & mask; slots_[i].entry != nullptr; i = (i + 1) & mask) {
    if (slots_[i].hash == hash && same_key(*slots_[i].entry, key)) {
      remove_at(i);
      return;
    }
  }
}

void entry_table::remove_at(std::size_t index) noexcept {
  const std::size_t mask = slots_.size() - 1;
  std::size_t hole = index;
  // Whoever was pushed past the hole moves back into it.
  for (std::size_t i = (hole + 1) & mask; slots_[i].entry != nullptr; i = (i + 1) & mask) {
    const std::size_t home = slots_[i].hash & mask;
    if (((i - home) & mask) >= ((i - hole) & mask)) {
      slots_[hole] = slots_[i];
      hole = i;
    }
  }
  slots_[hole] = {};
  --size_;
}

// What one large epoch needed, small ones would walk and keep for ever.
void entry_table::clear() noexcept {
  if (slots_.size() >= kept_slots_max && size_ * 8 <= slots_.size()) {
    std::vector<slot>().swap(slots_);
  } else if (size_ != 0) {
    std::fill(slots_.begin(), slots_.end(), slot{});
  }
  size_ = 0;
}

void entry_table::grow() {
  std::vector<slot> old(std::max(slots_min, slots_.size() * 2));
  old.swap(slots_);
  const std::size_t mask = slots_.size() - 1;
  for (const auto& s : old) {
    if (s.entry == nullptr) continue;
    std::size_t i = s.hash & mask;
    while (slots_[i].entry != nullptr) i = (i + 1) & mask;
    slots_[i] = s;
  }
}

void entry_arena::clear() noexcept {
  at_ = {};
  std::size_t kept = 0;
  std::size_t blocks = 0;
  while (blocks < blocks_.size() && kept + blocks_[blocks].size <= kept_bytes_max)
    kept += blocks_[blocks++].size;
  blocks_.resize(blocks);
}

std::size_t entry_arena::bytes_held() const noexcept {
  std::size_t sum = 0;
  for (const auto& b : blocks_) sum += b.size;
  return sum;
}

store_entry* entry_arena::make(bytes_view key, std::size_t value_capacity) {
  const std::size_t size = entry_bytes(key.size(), value_capacity);
  while (at_.block < blocks_.size() && blocks_[at_.block].size - at_.used < size) {
    ++at_.block;
    at_.used = 0;
  }
  if (at_.block == blocks_.size()) {
    const std::size_t bytes = std::max(block_bytes, size);
    blocks_.push_back({std::make_unique_for_overwrite<std::uint8_t[]>(bytes), bytes});
  }
  auto* made = new (blocks_[at_.block].memory.get() + at_.used) store_entry;
  at_.used += size;
  at_.bytes += size;
  made->key_size = static_cast<std::uint32_t>(key.size());
  made->value_capacity = static_cast<std::uint32_t>(size - sizeof(store_entry) - key.size());
  if (!key.empty()) std::memcpy(made->bytes(), key.data(), key.size());
  return made;
}

}  // namespace sonder
