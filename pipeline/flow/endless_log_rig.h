#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "log/log.h"

namespace sonder {

/// A source topic of `records` records in memory, one block of them again and again, before sinks that take their time: for
/// benchmarks of the host alone and for tests of what it holds while it waits. Keeps nothing that is committed.
class endless_log final : public log {
 public:
  endless_log(const std::vector<std::string>& values, std::int64_t records, std::chrono::milliseconds commit_takes = {})
      : records_(records), commit_takes_(commit_takes) {
    for (const auto& value : values) block_.push_back({0, 1, {}, as_bytes(value), false, true, {}});
  }

  status create_topic(const topic_config&) override { return {}; }
  result<topic_config> describe(std::string_view) override { return fail(errc::not_found, ""); }
  result<std::vector<topic_config>> topics() override { return std::vector<topic_config>{}; }
  result<offset_range> offsets(std::string_view, std::int32_t) override { return offset_range{0, records_}; }
  result<std::int64_t> offset_at(std::string_view, std::int32_t, std::int64_t) override { return 0; }
  status fetch(std::string_view, std::int32_t, std::int64_t from, const fetch_limits&, record_block& into) override {
    const auto count = std::clamp<std::int64_t>(records_ - from, 0, static_cast<std::int64_t>(block_.size()));
    into.records.assign(block_.begin(), block_.begin() + count);
    for (std::int64_t i = 0; i < count; ++i) into.records[static_cast<std::size_t>(i)].offset = from + i;
    into.next_offset = from + count;
    return {};
  }
  status append(std::span<const produced_batch>) override { return {}; }
  result<std::vector<std::int64_t>> committed(std::string_view, std::string_view) override { return std::vector<std::int64_t>{}; }
  status commit(const epoch_changes& epoch) override {
    std::this_thread::sleep_for(commit_takes_);
    for (const auto& batch : epoch.produced) committed_records_ += batch.records->count();
    return {};
  }
  [[nodiscard]] std::int64_t committed_records() const { return committed_records_; }

  result<bool> state_get(std::string_view, std::string_view, std::int32_t, bytes_view, buffer&) override { return false; }
  status state_scan(std::string_view, std::string_view, std::int32_t, bytes_view, state_visitor, void*) override { return {}; }
  void wait_for_records(std::uint64_t&, std::chrono::milliseconds) override {}
  result<std::optional<std::string>> note(std::string_view) override { return std::optional<std::string>{}; }
  status set_note(std::string_view, std::string_view) override { return {}; }

 private:
  std::vector<log_record> block_;  // of the caller's values
  std::int64_t records_;
  std::chrono::milliseconds commit_takes_;
  std::int64_t committed_records_ = 0;
};

}  // namespace sonder
