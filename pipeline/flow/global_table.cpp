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

global_table::global_table(log& from, const topic_options& topic, logger* lines)
    : from_(from), options_(topic), topic_(topic.topic), partitions_(topic.partitions), next_(static_cast<std::size_t>(topic.partitions), 0) {
  for (std::int32_t p = 0; p < partitions_; ++p) losses_.emplace_back(topic, "lost", topic.skips_lost, p, lines);
}

global_table::reader::reader(global_table& of) : of_(of) {
  const std::unique_lock lock(of_.mutex_);
  of_.readers_.insert(this);
}

global_table::reader::~reader() {
  const std::unique_lock lock(of_.mutex_);
  of_.readers_.erase(this);
}

// Whose task fails after this has a new reader then, and what its stages had of the table is gone.
void global_table::reader::fetch(std::int64_t from, const fetch_limits& limits, record_block& into, std::vector<place>& places) {
  of_.fetch(from, limits, into, places);
  next_.store(into.next_offset, std::memory_order_relaxed);
}

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
  forget_removals();
  for (std::int32_t p = 0; p < partitions_; ++p) {
    auto& next = next_[static_cast<std::size_t>(p)];
    for (int i = 0; i < reads_in_a_row_max; ++i) {
      SONDER_TRY(from_.fetch(topic_, p, next, read_at_once, block_));
      if (block_.records.empty() && block_.next_offset <= next) break;
      // A process begins with what there is.
      if (block_.removed > 0 && next > 0) {
        auto& losses = losses_[static_cast<std::size_t>(p)];
        SONDER_TRY(losses.add(next, block_.removed));
        lost_.fetch_add(losses.take(), std::memory_order_relaxed);
      }
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
    auto index = index_of(partition, record.key);
    const auto before = newest_.find(index);
    // A removal of what no reader has, or has had removed already.
    if (before == newest_.end() && !record.has_value) return {};
    if (before != newest_.end()) forget(before->second);
    newest_.insert_or_assign(std::move(index), sequence_);
    if (!record.has_value) removals_.insert(sequence_);
  }
  bytes_ += made.size + kept_overhead;
  records_.emplace_hint(records_.end(), sequence_++, std::move(made));
  if (bytes_ <= static_cast<std::size_t>(options_.memory_bytes_max)) return {};
  return fail(errc::invalid, to_string(options_.at) + ": topic \"" + options_.name + "\", a global table, needs more than its memory_max of " +
                                 std::to_string(options_.memory_bytes_max >> 20) + " MiB in each worker; make memory_max larger, or the "
                                 "topic a table that is partitioned as the events are (role: table)");
}

void global_table::forget(std::int64_t sequence) {
  const auto found = records_.find(sequence);
  bytes_ -= found->second.size + kept_overhead;
  records_.erase(found);
  removals_.erase(sequence);
}

/// Those that every reader has.
void global_table::forget_removals() {
  const std::unique_lock lock(mutex_);
  if (removals_.empty()) return;
  auto had_by_all = sequence_;
  for (const auto* each : readers_) had_by_all = std::min(had_by_all, each->next_.load(std::memory_order_relaxed));
  while (!removals_.empty() && *removals_.begin() < had_by_all) {
    const auto sequence = *removals_.begin();
    const auto& gone = records_.at(sequence);
    newest_.erase(index_of(gone.partition, gone.record.key));
    forget(sequence);
  }
}

std::size_t global_table::bytes() const {
  std::shared_lock lock(mutex_);
  return bytes_;
}

bool global_table::reaches(const std::vector<std::int64_t>& ends) const {
  std::shared_lock lock(mutex_);
  return std::equal(ends.begin(), ends.end(), next_.begin(), next_.end(), [](auto end, auto next) { return next >= end; });
}

std::int64_t global_table::end() const {
  std::shared_lock lock(mutex_);
  return sequence_;
}

std::int64_t global_table::end(std::vector<std::int64_t>& reached) const {
  std::shared_lock lock(mutex_);
  reached = next_;
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
