#include "log/kafka/group_admin.h"

#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <thread>

#include "log/kafka/group_reset.h"
#include "log/kafka/local_state.h"
#include "record/number_of.h"

namespace sonder::kafka {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds poll_pause(20);
constexpr milliseconds join_margin(30'000);  // beyond a session: the broker's delay before a first assignment, a busy machine

struct queue_deleter {
  void operator()(rd_kafka_queue_t* of) const { rd_kafka_queue_destroy(of); }
};
struct event_deleter {
  void operator()(rd_kafka_event_t* of) const { rd_kafka_event_destroy(of); }
};
struct options_deleter {
  void operator()(rd_kafka_AdminOptions_t* of) const { rd_kafka_AdminOptions_destroy(of); }
};

std::string text_of(const char* text) {
  return text == nullptr ? std::string() : std::string(text);
}

std::string in_quotes(std::string_view name) {
  return "\"" + std::string(name) + "\"";
}

group_place place_of(const rd_kafka_MemberDescription_t* from) {
  group_place place;
  place.client = text_of(rd_kafka_MemberDescription_client_id(from));
  place.host = text_of(rd_kafka_MemberDescription_host(from));
  if (place.host.starts_with('/')) place.host.erase(0, 1);  // brokers write addresses as Java does
  place.member = text_of(rd_kafka_MemberDescription_consumer_id(from));
  const auto* assignment = rd_kafka_MemberDescription_assignment(from);
  const auto* given = assignment == nullptr ? nullptr : rd_kafka_MemberAssignment_partitions(assignment);
  std::set<std::int32_t> tasks;
  for (int i = 0; given != nullptr && i < given->cnt; ++i) tasks.insert(given->elems[i].partition);
  place.tasks.assign(tasks.begin(), tasks.end());
  return place;
}

}  // namespace

// ---- who is there ----

result<group_state> group_admin::describe(std::string_view group) {
  const std::string name(group);
  const auto timeout_ms = static_cast<int>(options_.request_timeout.count());
  const std::string doing = "asking who is in group " + in_quotes(group);
  std::unique_ptr<rd_kafka_AdminOptions_t, options_deleter> how(
      rd_kafka_AdminOptions_new(asks_.get(), RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS));
  char why[256];
  rd_kafka_AdminOptions_set_request_timeout(how.get(), timeout_ms, why, sizeof why);
  const std::unique_ptr<rd_kafka_queue_t, queue_deleter> answers(rd_kafka_queue_new(asks_.get()));
  const char* asked[] = {name.c_str()};
  rd_kafka_DescribeConsumerGroups(asks_.get(), asked, 1, how.get(), answers.get());
  const std::unique_ptr<rd_kafka_event_t, event_deleter> event(rd_kafka_queue_poll(answers.get(), timeout_ms + 1'000));
  if (event == nullptr) return asks_.fail(RD_KAFKA_RESP_ERR__TIMED_OUT, doing);
  if (const auto code = rd_kafka_event_error(event.get()); code != RD_KAFKA_RESP_ERR_NO_ERROR)
    return asks_.fail(code, doing, text_of(rd_kafka_event_error_string(event.get())));
  std::size_t count = 0;
  const auto** found =
      rd_kafka_DescribeConsumerGroups_result_groups(rd_kafka_event_DescribeConsumerGroups_result(event.get()), &count);
  if (count != 1) return fail(errc::unavailable, doing + ": the broker answers for " + std::to_string(count) + " groups");
  if (const auto* refused = rd_kafka_ConsumerGroupDescription_error(found[0]); refused != nullptr)
    return asks_.fail(rd_kafka_error_code(refused), doing, text_of(rd_kafka_error_string(refused)));
  group_state state;
  state.state = rd_kafka_consumer_group_state_name(rd_kafka_ConsumerGroupDescription_state(found[0]));
  const auto members = rd_kafka_ConsumerGroupDescription_member_count(found[0]);
  for (std::size_t i = 0; i < members; ++i)
    state.members.push_back(place_of(rd_kafka_ConsumerGroupDescription_member(found[0], i)));
  return state;
}

// ---- what state there is ----

class group_admin::live_sink final : public changelog_reader::sink {
 public:
  void take(const changelog_reader::record& r) override {
    std::string key(as_text(r.key));
    if (!r.has_value) {
      entries.erase(key);
      return;
    }
    const auto [at, added] = entries.insert_or_assign(std::move(key), r.value.size());
    if (added) keys_bytes_ += at->first.size();
  }
  status pause(std::int64_t) override {
    if (keys_bytes_ <= keys_bytes_max) return {};
    return fail(errc::capacity, "its keys have more than " + std::to_string(keys_bytes_max) + " bytes");
  }
  bool cancelled() const override { return false; }
  void note(std::string) override {}

  live_entries entries;

 private:
  std::size_t keys_bytes_ = 0;
};

result<changelog_reader*> group_admin::reads() {
  const std::lock_guard lock(reads_mutex_);
  if (reads_ == nullptr) {
    auto made = changelog_reader::over(options_);
    if (!made) return tl::unexpected<error>(std::move(made).error());
    reads_ = std::move(*made);
  }
  return reads_.get();
}

result<group_admin::live_entries> group_admin::live(std::string_view group, std::string_view store, std::int32_t partition,
                                                    offset_range& range) {
  const auto topic = changelog_topic(group, store);
  range = {};
  const auto partitions = topics_.partitions_of(topic);
  if (!partitions && partitions.error().code == errc::not_found) return live_entries();  // no epoch has ever changed it
  if (!partitions) return tl::unexpected<error>(partitions.error());
  if (partition >= *partitions) return live_entries();
  const auto reader = reads();
  if (!reader) return tl::unexpected<error>(reader.error());
  const auto kept = (*reader)->range(topic, partition);
  if (!kept) return tl::unexpected<error>(kept.error());
  range = *kept;
  live_sink found;
  if (range.first >= range.end) return std::move(found.entries);
  const auto end = (*reader)->read(topic, partition, range.first, range.end, found);
  if (!end) return tl::unexpected<error>(end.error().at("changelog " + in_quotes(topic)));
  if (*end < 0) return fail(errc::unavailable, "changelog " + in_quotes(topic) + ": lost records while they were read; try again");
  return std::move(found.entries);
}

result<state_size> group_admin::size_of(std::string_view group, std::string_view store, std::int32_t partition) {
  offset_range range;
  const auto entries = live(group, store, partition, range);
  if (!entries) return tl::unexpected<error>(entries.error());
  state_size size;
  size.entries = static_cast<std::int64_t>(entries->size());
  for (const auto& [key, value_bytes] : *entries) size.bytes += static_cast<std::int64_t>(key.size() + value_bytes);
  size.records = range.end - range.first;
  return size;
}

// ---- a reset ----

status group_admin::check_empty(std::string_view group) {
  const auto now = describe(group);
  if (!now) return tl::unexpected<error>(now.error());
  if (now->members.empty()) return {};
  std::string text = "group " + in_quotes(group) + " has " + number_of(now->members.size(), "worker");
  const char* between = ": ";
  for (const auto& one : now->members) {
    text += between + in_quotes(one.client) + " at " + one.host;
    between = ", ";
  }
  return fail(errc::unavailable, text + "; stop them first (one that was killed stays for log.session_timeout)");
}

// Alone in the group, so with all its tasks.
status group_admin::hold_all(member& joined, const group_reset& to) {
  const auto until = steady_clock::now() + options_.session_timeout + join_margin;
  while (steady_clock::now() < until) {
    auto event = joined.poll();
    if (!event) return tl::unexpected<error>(std::move(event).error());
    if (event->what == group_event::kind::assigned) {
      if (static_cast<std::int32_t>(event->partitions.size()) == to.partitions) return {};
      return fail(errc::unavailable, "a worker joined group " + in_quotes(to.group) + " meanwhile; nothing is changed: stop it, then again");
    }
    if (event->what != group_event::kind::none) SONDER_TRY(joined.release());
    std::this_thread::sleep_for(poll_pause);
  }
  return fail(errc::unavailable, "group " + in_quotes(to.group) + " gives no assignment: " + joined.waits_for() + "; nothing is changed");
}

status group_admin::reset(const group_reset& to) {
  SONDER_TRY(check_empty(to.group));
  const group_request request{std::string(to.group), to.topics, {}, to.partitions};
  auto joined = join_group(options_, request, {}, nullptr);
  if (!joined) return tl::unexpected<error>(std::move(joined).error());
  SONDER_TRY(hold_all(**joined, to));
  SONDER_TRY(writer_.take_over(to.group));
  const auto reader = reads();
  if (!reader) return tl::unexpected<error>(reader.error());
  return group_resetter(options_, topics_, writer_, **reader, **joined, to).run();
}

}  // namespace sonder::kafka
