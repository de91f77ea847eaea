#pragma once

#include "log/log.h"

namespace sonder {

/// A log that does as the one behind it does: for tests that change one thing of it.
class forwarding_log : public log {
 public:
  explicit forwarding_log(log& behind) : behind_(behind) {}

  status create_topic(const topic_config& topic) override { return behind_.create_topic(topic); }
  result<topic_config> describe(std::string_view topic) override { return behind_.describe(topic); }
  result<std::vector<topic_config>> topics() override { return behind_.topics(); }
  result<std::int32_t> partition_count(std::string_view topic) override { return behind_.partition_count(topic); }
  result<offset_range> offsets(std::string_view topic, std::int32_t partition) override { return behind_.offsets(topic, partition); }
  result<std::int64_t> offset_at(std::string_view topic, std::int32_t partition, std::int64_t at_ms) override {
    return behind_.offset_at(topic, partition, at_ms);
  }
  status fetch(std::string_view topic, std::int32_t partition, std::int64_t from, const fetch_limits& limits,
               record_block& into) override {
    return behind_.fetch(topic, partition, from, limits, into);
  }
  status append(std::span<const produced_batch> batches) override { return behind_.append(batches); }
  result<std::vector<std::int64_t>> committed(std::string_view group, std::string_view topic) override {
    return behind_.committed(group, topic);
  }
  status commit(const epoch_changes& epoch) override { return behind_.commit(epoch); }
  epoch_limits limits() const noexcept override { return behind_.limits(); }
  result<std::vector<std::string>> stores(std::string_view group) override { return behind_.stores(group); }
  result<bool> state_get(std::string_view group, std::string_view store, std::int32_t partition, bytes_view key,
                         buffer& value) override {
    return behind_.state_get(group, store, partition, key, value);
  }
  status state_scan(std::string_view group, std::string_view store, std::int32_t partition, bytes_view prefix, state_visitor visit,
                    void* ctx) override {
    return behind_.state_scan(group, store, partition, prefix, visit, ctx);
  }
  result<state_footprint> footprint_of_state(std::string_view group, std::string_view store,
                                             std::span<const std::int32_t> partitions) override {
    return behind_.footprint_of_state(group, store, partitions);
  }
  void wait_for_records(std::uint64_t& seen, std::chrono::milliseconds at_most) override { behind_.wait_for_records(seen, at_most); }
  result<std::optional<std::string>> note(std::string_view name) override { return behind_.note(name); }
  status set_note(std::string_view name, std::string_view value) override { return behind_.set_note(name, value); }

 private:
  log& behind_;
};

}  // namespace sonder
