#include "log/kafka/group_look.h"

#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <memory>

namespace sonder::kafka {
namespace {

struct list_deleter {
  void operator()(const rd_kafka_group_list* list) const { rd_kafka_group_list_destroy(list); }
};

std::string doing(const std::string& group) {
  return "group \"" + group + "\": cannot learn who is in it";
}

// Big-endian numbers and strings out of bytes that may end anywhere.
class protocol_bytes {
 public:
  explicit protocol_bytes(bytes_view from) : left_(from) {}

  std::optional<std::int64_t> number(std::size_t bytes) {
    if (left_.size() < bytes) return std::nullopt;
    std::uint64_t value = 0;
    for (const auto byte : left_.first(bytes)) value = value << 8 | byte;
    left_ = left_.subspan(bytes);
    return static_cast<std::int64_t>(value);
  }
  std::optional<std::string_view> text() {
    const auto size = number(2);
    if (!size || left_.size() < static_cast<std::size_t>(*size)) return std::nullopt;
    const auto found = as_text(left_.first(static_cast<std::size_t>(*size)));
    left_ = left_.subspan(static_cast<std::size_t>(*size));
    return found;
  }

 private:
  bytes_view left_;
};

}  // namespace

std::optional<std::vector<std::int32_t>> tasks_in_assignment(bytes_view assignment, std::string_view topic) {
  if (assignment.empty()) return std::vector<std::int32_t>{};  // of a member that has none yet
  protocol_bytes in(assignment);
  const auto version = in.number(2);
  const auto topics = in.number(4);
  if (!version || !topics) return std::nullopt;
  std::vector<std::int32_t> tasks;
  for (std::int64_t t = 0; t < *topics; ++t) {
    const auto name = in.text();
    const auto partitions = in.number(4);
    if (!name || !partitions) return std::nullopt;
    for (std::int64_t p = 0; p < *partitions; ++p) {
      const auto partition = in.number(4);
      if (!partition) return std::nullopt;
      if (*name == topic) tasks.push_back(static_cast<std::int32_t>(*partition));
    }
  }
  std::sort(tasks.begin(), tasks.end());
  return tasks;
}

result<group_view> look_at_group(const client& asked, const std::string& name, std::string_view topic, std::chrono::milliseconds at_most) {
  const rd_kafka_group_list* found = nullptr;
  const auto code = rd_kafka_list_groups(asked.get(), name.c_str(), &found, static_cast<int>(at_most.count()));
  const std::unique_ptr<const rd_kafka_group_list, list_deleter> list(found);
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR && code != RD_KAFKA_RESP_ERR__PARTIAL) return asked.fail(code, doing(name));
  for (int i = 0; i < list->group_cnt; ++i) {
    const auto& group = list->groups[i];
    if (name != group.group) continue;
    if (group.err != RD_KAFKA_RESP_ERR_NO_ERROR) return asked.fail(group.err, doing(name));
    group_view view{.stable = std::string_view(group.state) == "Stable", .members = {}};
    for (int m = 0; m < group.member_cnt; ++m) {
      const auto& member = group.members[m];
      const bytes_view assignment(static_cast<const std::uint8_t*>(member.member_assignment),
                                  static_cast<std::size_t>(std::max(0, member.member_assignment_size)));
      auto tasks = tasks_in_assignment(assignment, topic);
      if (!tasks) return fail(errc::unavailable, doing(name) + ": an assignment that is not of a consumer group");
      view.members.push_back({member.member_id, std::move(*tasks), member.client_id});
    }
    return view;
  }
  return fail(errc::unavailable, doing(name) + ": no broker knows of it");
}

group_look::group_look(const client& asked, std::string group, std::string topic)
    : asked_(asked), group_(std::move(group)), topic_(std::move(topic)), thread_([this] { work(); }) {}

group_look::~group_look() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void group_look::ask() {
  asking_ = true;
  {
    const std::lock_guard lock(mutex_);
    ++question_;
    wanted_ = true;
    told_.reset();
  }
  changed_.notify_all();
}

void group_look::forget() {
  asking_ = false;
  const std::lock_guard lock(mutex_);
  ++question_;
  wanted_ = false;
  told_.reset();
}

std::optional<result<std::vector<member_view>>> group_look::answer() {
  const std::lock_guard lock(mutex_);
  if (!told_) return std::nullopt;
  asking_ = false;
  auto told = std::move(told_);
  told_.reset();
  return told;
}

void group_look::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return wanted_ || ends_; });
    if (ends_) return;
    wanted_ = false;
    const auto question = question_;
    lock.unlock();
    auto found = look();
    lock.lock();
    if (question == question_) told_ = std::move(found);
  }
}

group_look::answer_type group_look::look() const {
  auto found = look_at_group(asked_, group_, topic_, answer_max);
  if (!found) return tl::unexpected(found.error());
  if (!found->stable) return fail(errc::unavailable, doing(group_) + ": it is being assigned");
  return std::move(found->members);
}

}  // namespace sonder::kafka
