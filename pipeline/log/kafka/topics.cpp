#include "log/kafka/topics.h"

#include <librdkafka/rdkafka.h>

#include <array>
#include <charconv>
#include <cstring>
#include <memory>
#include <thread>

#include "record/number_of.h"

namespace sonder::kafka {
namespace {

using std::chrono::steady_clock;

struct queue_deleter {
  void operator()(rd_kafka_queue_t* of) const { rd_kafka_queue_destroy(of); }
};
struct event_deleter {
  void operator()(rd_kafka_event_t* of) const { rd_kafka_event_destroy(of); }
};
struct options_deleter {
  void operator()(rd_kafka_AdminOptions_t* of) const { rd_kafka_AdminOptions_destroy(of); }
};
struct new_topic_deleter {
  void operator()(rd_kafka_NewTopic_t* of) const { rd_kafka_NewTopic_destroy(of); }
};
struct resource_deleter {
  void operator()(rd_kafka_ConfigResource_t* of) const { rd_kafka_ConfigResource_destroy(of); }
};
struct topic_deleter {
  void operator()(rd_kafka_topic_t* of) const { rd_kafka_topic_destroy(of); }
};
struct metadata_deleter {
  void operator()(const rd_kafka_metadata_t* of) const { rd_kafka_metadata_destroy(of); }
};
using queue_ptr = std::unique_ptr<rd_kafka_queue_t, queue_deleter>;
using event_ptr = std::unique_ptr<rd_kafka_event_t, event_deleter>;
using options_ptr = std::unique_ptr<rd_kafka_AdminOptions_t, options_deleter>;
using new_topic_ptr = std::unique_ptr<rd_kafka_NewTopic_t, new_topic_deleter>;
using resource_ptr = std::unique_ptr<rd_kafka_ConfigResource_t, resource_deleter>;
using topic_ptr = std::unique_ptr<rd_kafka_topic_t, topic_deleter>;
using metadata_ptr = std::unique_ptr<const rd_kafka_metadata_t, metadata_deleter>;

options_ptr admin_options(rd_kafka_t* rk, rd_kafka_admin_op_t op, int timeout_ms) {
  options_ptr made(rd_kafka_AdminOptions_new(rk, op));
  std::array<char, 256> why{};
  rd_kafka_AdminOptions_set_request_timeout(made.get(), timeout_ms, why.data(), why.size());
  rd_kafka_AdminOptions_set_operation_timeout(made.get(), timeout_ms, why.data(), why.size());
  return made;
}

std::int64_t number(const char* text, std::int64_t otherwise) {
  if (text == nullptr) return otherwise;
  std::int64_t value = otherwise;
  std::from_chars(text, text + std::strlen(text), value);
  return value;
}

void differ(std::string& text, std::string_view what, const std::string& found,
            const std::string& asked) {
  if (found == asked) return;
  if (!text.empty()) text += ", ";
  text.append(what).append(" ").append(found).append(" instead of ").append(asked);
}

constexpr std::chrono::milliseconds not_known_yet(50);  // until a broker is asked again

std::string yes_no(bool is) {
  return is ? "yes" : "no";
}

bool has_retention(const topic_config& of) {
  return of.retention_ms >= 0 || of.retention_bytes >= 0;
}

const char* policy_of(bool compacted, bool removes_old) {
  if (!compacted) return "delete";
  return removes_old ? "compact,delete" : "compact";
}

}  // namespace

std::string topics::place(std::string_view topic) const {
  return "topic \"" + std::string(topic) + "\" at " + asks_.bootstrap();
}

status topics::create(const topic_config& topic) {
  const auto until = steady_clock::now() + options_.request_timeout;
  for (;;) {
    auto found = look_up(&topic.name);
    if (!found) return tl::unexpected(found.error());
    if (!found->empty()) {
      const auto known = add_configs(*found);
      if (known) {
        remember(topic.name);
        return compare(topic, found->front());
      }
      // Made by another worker a moment ago, and not by all brokers known yet.
      if (known.error().code != errc::not_found || steady_clock::now() > until) return known;
      std::this_thread::sleep_for(not_known_yet);
      continue;
    }
    if (!options_.create_topics) {
      return fail(errc::not_found, place(topic.name) + " does not exist; make it with " + number_of(topic.partitions, "partition") +
                                       ", or set log.create_topics");
    }
    auto made = make(topic);
    if (made) {
      remember(topic.name);
      return wait_until_led(topic);
    }
    // Another worker was first, and this broker does not know yet.
    if (made.error().code != errc::exists || steady_clock::now() > until) return made;
    std::this_thread::sleep_for(not_known_yet);
  }
}

void topics::remember(const std::string& topic) {
  const std::lock_guard lock(known_mutex_);
  there_.insert(topic);
}

result<topic_config> topics::describe(std::string_view topic) {
  const auto until = steady_clock::now() + options_.request_timeout;
  const auto seen = [&] {
    const std::lock_guard lock(known_mutex_);
    return there_.contains(topic);
  }();
  for (;;) {
    auto found = describe_once(topic);
    // The broker that is asked may be one that has come back, and is told of topics a moment later.
    if (found || !seen || found.error().code != errc::not_found || steady_clock::now() > until) return found;
    std::this_thread::sleep_for(not_known_yet);
  }
}

result<topic_config> topics::describe_once(std::string_view topic) {
  const std::string name(topic);
  auto found = look_up(&name);
  if (!found) return tl::unexpected(found.error());
  if (found->empty()) return fail(errc::not_found, place(topic) + " does not exist");
  SONDER_TRY(add_configs(*found));
  return std::move(found->front().config);
}

result<std::vector<topic_config>> topics::all() {
  auto found = look_up(nullptr);
  if (!found) return tl::unexpected(found.error());
  SONDER_TRY(add_configs(*found));
  std::vector<topic_config> answer;
  answer.reserve(found->size());
  for (auto& t : *found) answer.push_back(std::move(t.config));
  return answer;
}

result<std::vector<std::string>> topics::names() {
  const auto found = look_up(nullptr);
  if (!found) return tl::unexpected(found.error());
  std::vector<std::string> answer;
  for (const auto& t : *found) answer.push_back(t.config.name);
  return answer;
}

result<std::int32_t> topics::partitions_of(std::string_view topic) {
  {
    const std::lock_guard lock(known_mutex_);
    if (const auto known = known_.find(topic); known != known_.end()) return known->second;
  }
  const std::string name(topic);
  auto found = look_up(&name);
  if (!found) return tl::unexpected(found.error());
  if (found->empty()) return fail(errc::not_found, place(topic) + " does not exist");
  const std::lock_guard lock(known_mutex_);
  return known_[name] = found->front().config.partitions;
}

result<std::int32_t> topics::count_partitions(std::string_view topic) {
  const std::string name(topic);
  const auto at_most = std::min(options_.request_timeout, count_wait_max);
  const auto found = look_up(&name, static_cast<int>(at_most.count()));
  if (!found) return tl::unexpected(found.error());
  if (found->empty() || found->front().config.partitions == 0) return fail(errc::not_found, place(topic) + " does not exist");
  return found->front().config.partitions;
}

status topics::check_partition(std::string_view topic, std::int32_t partition) {
  const auto count = partitions_of(topic);
  if (!count) return tl::unexpected(count.error());
  if (partition >= 0 && partition < *count) return {};
  return fail(errc::invalid, place(topic) + " has " + number_of(*count, "partition") + ", no partition " + std::to_string(partition));
}

result<std::vector<topics::found_topic>> topics::look_up(const std::string* only, int at_most_ms) {
  topic_ptr named;
  if (only != nullptr) {
    named.reset(rd_kafka_topic_new(asks_.get(), only->c_str(), nullptr));
    if (named == nullptr) return asks_.fail(rd_kafka_last_error(), place(*only));
  }
  const rd_kafka_metadata_t* raw = nullptr;
  const auto code =
      rd_kafka_metadata(asks_.get(), only == nullptr ? 1 : 0, named.get(), &raw, at_most_ms);
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
    return asks_.fail(code, "asking " + asks_.bootstrap() + " for its topics");
  }
  const metadata_ptr answered(raw);
  std::vector<found_topic> found;
  for (int t = 0; t < raw->topic_cnt; ++t) {
    const auto& topic = raw->topics[t];
    if (topic.err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) continue;
    if (only == nullptr && std::string_view(topic.topic).starts_with("__")) continue;
    if (topic.err != RD_KAFKA_RESP_ERR_NO_ERROR &&
        topic.err != RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE) {
      return asks_.fail(topic.err, place(topic.topic));
    }
    found_topic one;
    one.config.name = topic.topic;
    one.config.partitions = topic.partition_cnt;
    one.led = topic.partition_cnt > 0;
    for (int p = 0; p < topic.partition_cnt; ++p) {
      const auto replicas = topic.partitions[p].replica_cnt;
      one.replicas = p == 0 ? replicas : std::min(one.replicas, replicas);
      one.led = one.led && topic.partitions[p].leader >= 0;
    }
    found.push_back(std::move(one));
  }
  return found;
}

void topics::take_entry(const rd_kafka_ConfigEntry_t* entry, found_topic& into) {
  const std::string_view name = rd_kafka_ConfigEntry_name(entry);
  const char* value = rd_kafka_ConfigEntry_value(entry);
  const std::string_view text = value == nullptr ? "" : value;
  auto& config = into.config;
  if (name == "cleanup.policy") {
    config.compacted = text.find("compact") != std::string_view::npos;
    into.removes_old = text.find("delete") != std::string_view::npos;
  } else if (name == "message.timestamp.type") {
    config.log_append_time = text == "LogAppendTime";
  } else if (name == "retention.ms") {
    config.retention_ms = number(value, -1);
  } else if (name == "retention.bytes") {
    config.retention_bytes = number(value, -1);
  } else if (name == "delete.retention.ms") {
    config.tombstone_ms = number(value, config.tombstone_ms);
  } else if (name == "max.message.bytes") {
    config.record_bytes_max = static_cast<std::int32_t>(number(value, config.record_bytes_max));
  }
}

status topics::add_configs(std::vector<found_topic>& to) {
  if (to.empty()) return {};
  const auto doing = "asking " + asks_.bootstrap() + " how its topics are configured";
  std::vector<resource_ptr> owned;
  std::vector<rd_kafka_ConfigResource_t*> wanted;
  for (const auto& t : to) {
    owned.emplace_back(rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, t.config.name.c_str()));
    wanted.push_back(owned.back().get());
  }
  const queue_ptr answers(rd_kafka_queue_new(asks_.get()));
  const auto how = admin_options(asks_.get(), RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, timeout_ms());
  rd_kafka_DescribeConfigs(asks_.get(), wanted.data(), wanted.size(), how.get(), answers.get());
  const event_ptr event(rd_kafka_queue_poll(answers.get(), timeout_ms() + 1'000));
  if (event == nullptr) return asks_.fail(RD_KAFKA_RESP_ERR__TIMED_OUT, doing);
  if (const auto code = rd_kafka_event_error(event.get()); code != RD_KAFKA_RESP_ERR_NO_ERROR) {
    return asks_.fail(code, doing, rd_kafka_event_error_string(event.get()));
  }
  std::size_t count = 0;
  const auto* described = rd_kafka_DescribeConfigs_result_resources(
      rd_kafka_event_DescribeConfigs_result(event.get()), &count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::string_view name = rd_kafka_ConfigResource_name(described[i]);
    if (const auto code = rd_kafka_ConfigResource_error(described[i]);
        code != RD_KAFKA_RESP_ERR_NO_ERROR) {
      return asks_.fail(code, place(name));
    }
    std::size_t entries = 0;
    const auto* all = rd_kafka_ConfigResource_configs(described[i], &entries);
    for (auto& t : to) {
      if (t.config.name != name) continue;
      for (std::size_t e = 0; e < entries; ++e) take_entry(all[e], t);
      // What the broker says of retention counts under the policy `delete` alone.
      if (!t.removes_old) t.config.retention_ms = t.config.retention_bytes = -1;
    }
  }
  return {};
}

status topics::make(const topic_config& topic) {
  // Event time may lie ahead of the broker's clock, which since 3.6 refuses more than an hour of
  // it; before, it does not know the setting.
  auto made = make(topic, !topic.log_append_time);
  if (made || made.error().code != errc::invalid || topic.log_append_time) return made;
  return make(topic, false);
}

status topics::make(const topic_config& topic, bool from_any_time) {
  const auto doing = "making " + place(topic.name);
  std::array<char, 512> why{};
  const new_topic_ptr wanted(rd_kafka_NewTopic_new(
      topic.name.c_str(), topic.partitions,
      options_.replication_factor > 0 ? options_.replication_factor : -1, why.data(), why.size()));
  if (wanted == nullptr) return fail(errc::invalid, doing + ": " + why.data());
  const auto set = [&](const char* name, const std::string& value) {
    rd_kafka_NewTopic_set_config(wanted.get(), name, value.c_str());
  };
  set("cleanup.policy", policy_of(topic.compacted, has_retention(topic)));
  set("message.timestamp.type", topic.log_append_time ? "LogAppendTime" : "CreateTime");
  set("retention.ms", std::to_string(topic.retention_ms));
  set("retention.bytes", std::to_string(topic.retention_bytes));
  set("delete.retention.ms", std::to_string(topic.tombstone_ms));
  set("max.message.bytes", std::to_string(topic.record_bytes_max));
  if (from_any_time) set("message.timestamp.after.max.ms", std::to_string(INT64_MAX));
  auto* raw = wanted.get();
  const queue_ptr answers(rd_kafka_queue_new(asks_.get()));
  const auto how = admin_options(asks_.get(), RD_KAFKA_ADMIN_OP_CREATETOPICS, timeout_ms());
  rd_kafka_CreateTopics(asks_.get(), &raw, 1, how.get(), answers.get());
  const event_ptr event(rd_kafka_queue_poll(answers.get(), timeout_ms() + 1'000));
  if (event == nullptr) return asks_.fail(RD_KAFKA_RESP_ERR__TIMED_OUT, doing);
  if (const auto code = rd_kafka_event_error(event.get()); code != RD_KAFKA_RESP_ERR_NO_ERROR) {
    return asks_.fail(code, doing, rd_kafka_event_error_string(event.get()));
  }
  std::size_t count = 0;
  const auto* done =
      rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event.get()), &count);
  for (std::size_t i = 0; i < count; ++i) {
    if (const auto code = rd_kafka_topic_result_error(done[i]);
        code != RD_KAFKA_RESP_ERR_NO_ERROR) {
      const char* detail = rd_kafka_topic_result_error_string(done[i]);
      return asks_.fail(code, doing, detail == nullptr ? "" : detail);
    }
  }
  return {};
}

// The answer to CreateTopics comes before every broker knows the topic.
status topics::wait_until_led(const topic_config& topic) {
  const auto until = steady_clock::now() + options_.request_timeout;
  for (;;) {
    auto found = look_up(&topic.name);
    if (!found) return tl::unexpected(found.error());
    if (!found->empty() && found->front().led &&
        found->front().config.partitions == topic.partitions)
      return {};
    if (steady_clock::now() > until) {
      return fail(errc::unavailable,
                  place(topic.name) + " was made, and its partitions have no leader yet");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

status topics::compare(const topic_config& asked, const found_topic& found) const {
  const auto& is = found.config;
  std::string text;
  const auto numbers = [&](std::string_view what, std::int64_t has, std::int64_t wants) {
    differ(text, what, std::to_string(has), std::to_string(wants));
  };
  numbers("partitions", is.partitions, asked.partitions);
  differ(text, "compacted", yes_no(is.compacted), yes_no(asked.compacted));
  differ(text, "log append time", yes_no(is.log_append_time), yes_no(asked.log_append_time));
  if (asked.compacted) numbers("delete.retention.ms", is.tombstone_ms, asked.tombstone_ms);
  // A flow that says nothing of retention leaves it to whoever made the topic; of a compacted one,
  // where the newest record of each key is all that there is of it, retention has no business.
  if (asked.compacted && is.compacted && found.removes_old && !has_retention(asked))
    differ(text, "cleanup.policy", policy_of(true, true), policy_of(true, false));
  if (asked.retention_ms >= 0) numbers("retention.ms", is.retention_ms, asked.retention_ms);
  if (asked.retention_bytes >= 0)
    numbers("retention.bytes", is.retention_bytes, asked.retention_bytes);
  if (found.replicas < options_.replication_factor)
    numbers("replicas", found.replicas, options_.replication_factor);
  if (text.empty()) return {};
  return fail(errc::exists,
              place(asked.name) + " exists with " + text +
                  "; change the flow's configuration, or the topic (kafka-configs, kafka-topics)");
}

}  // namespace sonder::kafka
