#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "log/kafka/changelog_reader.h"
#include "log/kafka/client.h"
#include "log/kafka/member.h"
#include "log/kafka/topics.h"
#include "log/kafka/writer.h"

namespace sonder::kafka {

/// What operators ask of a group: who is in it, what its changelogs hold, and a reset. Thread-safe; one reset at a time.
///
/// A reset joins the group as its only member, so that no worker can come in between unseen; what it does then: group_reset.h.
class group_admin {
 public:
  static constexpr std::size_t keys_bytes_max = std::size_t{1} << 30;  ///< of one store of one task whose size is asked for

  /// All of them outlive it.
  group_admin(const kafka_options& options, client& asks, topics& known, writer& writes)
      : options_(options), asks_(asks), topics_(known), writer_(writes) {}

  [[nodiscard]] result<group_state> describe(std::string_view group);
  [[nodiscard]] result<state_size> size_of(std::string_view group, std::string_view store, std::int32_t partition);
  [[nodiscard]] status reset(const group_reset& to);

 private:
  /// Sizes of the values by key; what has been deleted is not in it.
  using live_entries = std::unordered_map<std::string, std::size_t>;
  class live_sink;

  [[nodiscard]] result<changelog_reader*> reads();
  [[nodiscard]] result<live_entries> live(std::string_view group, std::string_view store, std::int32_t partition,
                                          offset_range& range);
  [[nodiscard]] status check_empty(std::string_view group);
  [[nodiscard]] status hold_all(member& joined, const group_reset& to);

  const kafka_options& options_;
  client& asks_;
  topics& topics_;
  writer& writer_;
  std::mutex reads_mutex_;
  std::unique_ptr<changelog_reader> reads_;  ///< made at its first use; guarded by reads_mutex_
};

}  // namespace sonder::kafka
