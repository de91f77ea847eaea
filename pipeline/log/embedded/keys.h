#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "record/column.h"

namespace sonder::embedded {

/// Keys and small values of the database. Numbers in keys are big-endian, so that RocksDB's byte
/// order is their order.
///
/// | column family | key | value |
/// |---|---|---|
/// | meta    | `t` topic name                         | topic id and configuration (`encode_topic`)
/// | |         | `s` topic id, partition                | u64: the first offset kept, once
/// retention has moved it | |         | `c` topic id, partition                | how far compaction
/// has come (`compaction_note`) | |         | `n` name                               | a note of
/// the program's own | | records | topic id, partition, base offset       | a batch | | index   |
/// topic id, partition, base offset       | `batch_entry`: enough for ends, retention and times
/// without reading batches | | offsets | group, topic id, partition             | u64: the next
/// offset of the group | | state   | group, store, partition, key           | the value |
///
/// Topic id and partition are u32, offsets u64; group and store have a u16 length before them.

template <class T>
inline void put_big(std::string& to, T value) {
  for (int shift = static_cast<int>(sizeof value) * 8 - 8; shift >= 0; shift -= 8) {
    to.push_back(static_cast<char>(static_cast<std::uint64_t>(value) >> shift));
  }
}
template <class T>
[[nodiscard]] inline T get_big(const char* from) noexcept {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i)
    value = value << 8 | static_cast<std::uint8_t>(from[i]);
  return static_cast<T>(value);
}
inline void put_name(std::string& to, std::string_view name) {
  put_big(to, static_cast<std::uint16_t>(name.size()));
  to.append(name);
}

[[nodiscard]] inline std::string meta_key(char kind, std::string_view name) {
  std::string key(1, kind);
  key.append(name);
  return key;
}

inline constexpr std::size_t partition_key_bytes = 8;
inline constexpr std::size_t batch_key_bytes = 16;

inline void put_partition(std::string& to, std::uint32_t topic, std::int32_t partition) {
  put_big(to, topic);
  put_big(to, static_cast<std::uint32_t>(partition));
}
[[nodiscard]] inline std::string meta_key(char kind, std::uint32_t topic, std::int32_t partition) {
  std::string key(1, kind);
  put_partition(key, topic, partition);
  return key;
}
[[nodiscard]] inline std::string batch_key(std::uint32_t topic, std::int32_t partition,
                                           std::int64_t base) {
  std::string key;
  key.reserve(batch_key_bytes);
  put_partition(key, topic, partition);
  put_big(key, static_cast<std::uint64_t>(base));
  return key;
}
[[nodiscard]] inline std::int64_t base_of(std::string_view key) noexcept {
  return get_big<std::int64_t>(key.data() + partition_key_bytes);
}

inline void put_state_prefix(std::string& to, std::string_view group, std::string_view store,
                      std::int32_t partition) {
  put_name(to, group);
  put_name(to, store);
  put_big(to, static_cast<std::uint32_t>(partition));
}

// The first key after all that start with `prefix`; empty: there is none.
[[nodiscard]] inline std::string after_prefix(std::string prefix) {
  while (!prefix.empty() && static_cast<std::uint8_t>(prefix.back()) == 0xff) prefix.pop_back();
  if (!prefix.empty()) ++prefix.back();
  return prefix;
}

/// A value of the index: fixed size, as in memory (little endian).
struct batch_entry {
  std::uint32_t count = 0;
  std::uint32_t covered = 0;
  std::uint32_t bytes = 0;
  std::uint32_t reserved = 0;
  std::int64_t max_timestamp_ms = 0;
};
static_assert(sizeof(batch_entry) == 24);

struct compaction_note {
  std::int64_t cleaned_to = 0;        ///< offsets below have been compared with each other
  std::int64_t kept = 0;              ///< records left below
  std::int64_t next_deadline_ms = 0;  ///< when the next tombstone may go; 0: there is none
  std::int64_t cleaned_at_ms = 0;
};
static_assert(sizeof(compaction_note) == 32);

template <class T>
[[nodiscard]] inline std::string_view as_value(const T& value) noexcept {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}
template <class T>
[[nodiscard]] inline bool read_value(std::string_view from, T& into) noexcept {
  if (from.size() != sizeof into) return false;
  std::memcpy(&into, from.data(), sizeof into);
  return true;
}

}  // namespace sonder::embedded
