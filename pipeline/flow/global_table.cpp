#include "flow/global_table.h"

#include <algorithm>
#include <cstring>

namespace sonder {

namespace {

constexpr fetch_limits read_at_once{4096, 1 << 20};
constexpr int reads_in_a_row_max = 16;        // of one partition, before the others and the tasks have their turn
constexpr std::size_t kept_overhead = 256;    // of one record: nodes of the map and the index

std::string index_of(std::int32_t partition, bytes_view key) {
  std::string index(reinterpret_cast<const char*>(&partition), sizeof partition);
  return index.append(as_text(key));
}

}  // namespace

global_table::global_table(log& from, const topic_options& topic)
    : from_(from), topic_(topic.topic), partitions_(topic.partitions), next_(static_cast<std::size_t>(topic.partitions), 0) {}

result<std::vector<std::int64_t>> global_table::ends() {
  std::vector<std::int64_t> all;
  for (std::int32_t p = 0; p < partitions_; ++p) {
    auto range = from_.offsets(topic_, p);
    if (!range) return tl::unexpected(range.error());
    all.push_back(range->end);
  }
  return all;
}

status global_table::advance() {
  std::unique_lock reading(reading_, std::try_to_lock);
  if (!reading.owns_lock()) return {};
  for (std::int32_t p = 0; p < partitions_; ++p) {
    auto& next = next_[static_cast<std::size_t>(p)];
    for (int i = 0; i < reads_in_a_row_max; ++i) {
      SONDER_TRY(from_.fetch(topic_, p, next, read_at_once, block_));
      if (block_.records.empty() && block_.next_offset <= next) break;
      std::unique_lock lock(mutex_);
      for (const auto& record : block_.records) SONDER_TRY(keep(p, record));
      next = std::max(next, block_.next_offset);
    }
  }
  return {};
}

status global_table::keep(std::int32_t partition, const log_record& record) {
  kept made{partition, record, nullptr, record.key.size() + record.value.size() + record.headers.size()};
  made.bytes = std::make_unique<std::uint8_t[]>(made.size);
  auto* at = made.bytes.get();
  for (auto* part : {&made.record.key, &made.record.value, &made.record.headers}) {
    if (!part->empty()) std::memcpy(at, part->data(), part->size());
    *part = {at, part->size()};
    at += part->size();
  }
  // A record without a key replaces none.
  if (record.has_key) {
    auto [index, fresh] = newest_.try_emplace(index_of(partition, record.key), sequence_);
    if (!fresh) {
      const auto before = records_.find(index->second);
      bytes_ -= before->second.size + kept_overhead;
      records_.erase(before);
      index->second = sequence_;
    }
  }
  bytes_ += made.size + kept_overhead;
  records_.emplace_hint(records_.end(), sequence_++, std::move(made));
  if (bytes_ <= global_table_bytes_max) return {};
  return fail(errc::invalid, "topic \"" + topic_ + "\", a global table, needs more than " + std::to_string(global_table_bytes_max >> 20) +
                                 " MiB in each worker; make it a table that is partitioned as the events are (role: table)");
}

bool global_table::reaches(const std::vector<std::int64_t>& ends) const {
  std::shared_lock lock(mutex_);
  return std::equal(ends.begin(), ends.end(), next_.begin(), next_.end(), [](auto end, auto next) { return next >= end; });
}

std::int64_t global_table::end() const {
  std::shared_lock lock(mutex_);
  return sequence_;
}

void global_table::fetch(std::int64_t from, const fetch_limits& limits, record_block& into, std::vector<place>& places) const {
  into.clear();
  places.clear();
  std::shared_lock lock(mutex_);
  into.next_offset = std::max(from, sequence_);
  std::size_t bytes = 0;
  const auto first = records_.lower_bound(from);
  auto last = first;
  for (; last != records_.end(); ++last) {
    const bool full = into.records.size() >= static_cast<std::size_t>(limits.records_max) || bytes + last->second.size > limits.bytes_max;
    if (full && !into.records.empty()) break;
    bytes += last->second.size;
    into.records.push_back(last->second.record);
    into.records.back().offset = last->first;
    places.push_back({last->second.partition, last->second.record.offset});
  }
  if (last != records_.end()) into.next_offset = last->first;
  into.memory.reserve_more(bytes);  // views into it are made below
  for (auto& record : into.records) {
    for (auto* part : {&record.key, &record.value, &record.headers}) {
      const auto start = into.memory.size();
      into.memory.append(part->data(), part->size());
      *part = {into.memory.data() + start, part->size()};
    }
  }
}

}  // namespace sonder
