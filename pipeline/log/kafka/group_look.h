#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "log/kafka/client.h"
#include "log/kafka/placement.h"
#include "record/result.h"

struct rd_kafka_queue_s;

namespace sonder::kafka {

/// A question to a group's coordinator: who is in it, and who has which tasks. Confined to one thread, which it never blocks.
class group_look {
 public:
  /// `asked` outlives it. A task is a partition of `topic`.
  group_look(client& asked, std::string group, std::string topic);
  ~group_look();
  group_look(const group_look&) = delete;
  group_look& operator=(const group_look&) = delete;

  /// Asks. An answer to an earlier question is not told any more.
  void ask();
  [[nodiscard]] bool asking() const noexcept { return answers_ != nullptr; }
  /// Ends the question without an answer.
  void forget() noexcept { answers_.reset(); }
  /// The members, by no order; nothing: not here yet. errc::unavailable: it does not answer, or the group is being assigned.
  [[nodiscard]] std::optional<result<std::vector<member_view>>> answer();

 private:
  struct queue_deleter {
    void operator()(rd_kafka_queue_s* queue) const;
  };
  client& asked_;
  const std::string group_, topic_;
  std::unique_ptr<rd_kafka_queue_s, queue_deleter> answers_;  // of the question under way; null: none
};

}  // namespace sonder::kafka
