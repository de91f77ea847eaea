#include "log/kafka/group_look.h"

#include <librdkafka/rdkafka.h>

#include <algorithm>

namespace sonder::kafka {
namespace {

constexpr int answer_max_ms = 5'000;

struct event_deleter {
  void operator()(rd_kafka_event_t* event) const { rd_kafka_event_destroy(event); }
};
struct options_deleter {
  void operator()(rd_kafka_AdminOptions_t* options) const { rd_kafka_AdminOptions_destroy(options); }
};

member_view view_of(const rd_kafka_MemberDescription_t* member, const std::string& topic) {
  member_view seen{rd_kafka_MemberDescription_consumer_id(member), {}};
  const auto* assignment = rd_kafka_MemberDescription_assignment(member);
  const auto* partitions = assignment == nullptr ? nullptr : rd_kafka_MemberAssignment_partitions(assignment);
  for (int i = 0; partitions != nullptr && i < partitions->cnt; ++i) {
    if (topic == partitions->elems[i].topic) seen.tasks.push_back(partitions->elems[i].partition);
  }
  std::sort(seen.tasks.begin(), seen.tasks.end());
  return seen;
}

}  // namespace

void group_look::queue_deleter::operator()(rd_kafka_queue_s* queue) const {
  rd_kafka_queue_destroy(queue);
}

group_look::group_look(client& asked, std::string group, std::string topic)
    : asked_(asked), group_(std::move(group)), topic_(std::move(topic)) {}
group_look::~group_look() = default;

void group_look::ask() {
  answers_.reset(rd_kafka_queue_new(asked_.get()));
  const std::unique_ptr<rd_kafka_AdminOptions_t, options_deleter> how(
      rd_kafka_AdminOptions_new(asked_.get(), RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS));
  char why[256];
  // A constant within librdkafka's bounds: it is not refused, and the default of a minute would do too.
  (void)rd_kafka_AdminOptions_set_request_timeout(how.get(), answer_max_ms, why, sizeof why);
  const char* name = group_.c_str();
  rd_kafka_DescribeConsumerGroups(asked_.get(), &name, 1, how.get(), answers_.get());
}

std::optional<result<std::vector<member_view>>> group_look::answer() {
  if (answers_ == nullptr) return std::nullopt;
  const std::unique_ptr<rd_kafka_event_t, event_deleter> event(rd_kafka_queue_poll(answers_.get(), 0));
  if (event == nullptr) return std::nullopt;
  answers_.reset();
  const std::string place = "group \"" + group_ + "\": cannot learn who is in it";
  if (const auto code = rd_kafka_event_error(event.get()); code != RD_KAFKA_RESP_ERR_NO_ERROR)
    return asked_.fail(code, place, rd_kafka_event_error_string(event.get()));
  std::size_t count = 0;
  const auto* told = rd_kafka_event_DescribeConsumerGroups_result(event.get());
  const auto** groups = told == nullptr ? nullptr : rd_kafka_DescribeConsumerGroups_result_groups(told, &count);
  if (count != 1) return fail(errc::unavailable, place + ": an answer without it");
  if (const auto* failed = rd_kafka_ConsumerGroupDescription_error(groups[0]); failed != nullptr)
    return asked_.fail(rd_kafka_error_code(failed), place, rd_kafka_error_string(failed));
  if (rd_kafka_ConsumerGroupDescription_state(groups[0]) != RD_KAFKA_CONSUMER_GROUP_STATE_STABLE)
    return fail(errc::unavailable, place + ": it is being assigned");
  std::vector<member_view> members;
  for (std::size_t i = 0; i < rd_kafka_ConsumerGroupDescription_member_count(groups[0]); ++i)
    members.push_back(view_of(rd_kafka_ConsumerGroupDescription_member(groups[0], i), topic_));
  return members;
}

}  // namespace sonder::kafka
