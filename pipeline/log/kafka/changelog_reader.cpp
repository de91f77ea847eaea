#include "log/kafka/changelog_reader.h"

#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <chrono>

#include "log/kafka/topic_list.h"

namespace sonder::kafka {
namespace {

// Short, so that who asks can be cancelled between two questions; who gets no answer asks again.
constexpr std::chrono::milliseconds answer_max(1'000);
constexpr int wait_ms = 100;

struct queue_deleter {
  void operator()(rd_kafka_queue_t* queue) const { rd_kafka_queue_destroy(queue); }
};

std::string partition_name(const std::string& topic, std::int32_t partition) {
  return "changelog \"" + topic + "\", partition " + std::to_string(partition);
}

bytes_view bytes(const void* at, std::size_t size) {
  return {static_cast<const std::uint8_t*>(at), size};
}

// What one reading knows, for librdkafka's callback.
struct reading {
  changelog_reader::sink* to = nullptr;
  std::int64_t mark = 0;
  std::int64_t next = 0;
  std::int64_t end = -1;           // the committed end, once it was reached at or past `mark`
  std::int64_t waits_for_open = -1;  // the committed end lies here, before `mark`
  int failed = 0;                  // librdkafka's code
  std::string failed_text;
};

bool lasting(int code) {
  switch (code) {
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR__BAD_MSG:
    case RD_KAFKA_RESP_ERR__BAD_COMPRESSION:
    case RD_KAFKA_RESP_ERR__FATAL:
      return true;
    default:
      return false;
  }
}

void on_message(rd_kafka_message_t* m, void* opaque) {
  auto& at = *static_cast<reading*>(opaque);
  if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
    changelog_reader::record r;
    r.key = bytes(m->key, m->key_len);
    r.has_value = m->payload != nullptr;
    if (r.has_value) r.value = bytes(m->payload, m->len);
    r.offset = m->offset;
    r.timestamp_ms = rd_kafka_message_timestamp(m, nullptr);
    at.next = m->offset + 1;
    at.to->take(r);
  } else if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
    // The offset of an end counts markers of transactions, which are no records.
    at.next = std::max(at.next, m->offset);
    if (m->offset >= at.mark) {
      at.end = m->offset;
    } else {
      at.waits_for_open = m->offset;
    }
  } else if (lasting(m->err)) {
    at.failed = m->err;
    at.failed_text = rd_kafka_message_errstr(m);
  } else {
    at.to->note(rd_kafka_message_errstr(m));
  }
}

// Looks for a committed record before `next` that is newer than what was seen.
class newer_search final : public changelog_reader::sink {
 public:
  newer_search(std::int64_t next, std::int64_t timestamp_max_ms, const std::function<bool()>& gives_up)
      : next_(next), timestamp_max_ms_(timestamp_max_ms), gives_up_(gives_up) {}
  void take(const changelog_reader::record& r) override {
    if (r.offset < next_ && r.timestamp_ms > timestamp_max_ms_) found = true;
  }
  status pause(std::int64_t next) override {
    if (found || next >= next_) over = true;
    return {};
  }
  bool cancelled() const override { return over || gives_up_(); }
  void note(std::string) override {}

  bool found = false, over = false;

 private:
  const std::int64_t next_, timestamp_max_ms_;
  const std::function<bool()>& gives_up_;
};

void set(rd_kafka_conf_t* conf, const char* name, const char* value) {
  char why[256];
  // Names and values are constants: a refusal is a defect, which the first test shows.
  if (rd_kafka_conf_set(conf, name, value, why, sizeof why) != RD_KAFKA_CONF_OK) std::abort();
}

}  // namespace

result<std::unique_ptr<changelog_reader>> changelog_reader::over(const kafka_options& options) {
  std::unique_ptr<changelog_reader> made(new changelog_reader);
  client::wiring records;
  records.role = client_role::reader;
  records.prepare = [](rd_kafka_conf_t* conf) {
    set(conf, "fetch.wait.max.ms", "10");  // an end is told after an empty answer
    set(conf, "fetch.message.max.bytes", "4194304");
    set(conf, "queued.max.messages.kbytes", "4096");  // not for long
  };
  auto committed = client::make(options, records);
  if (!committed) return tl::unexpected<error>(std::move(committed).error());
  made->committed_ = std::move(*committed);
  client::wiring marks;
  marks.role = client_role::watermark;
  auto uncommitted = client::make(options, marks);
  if (!uncommitted) return tl::unexpected<error>(std::move(uncommitted).error());
  made->uncommitted_ = std::move(*uncommitted);
  return made;
}

changelog_reader::~changelog_reader() {
  for (auto& [name, topic] : topics_) rd_kafka_topic_destroy(topic);
}

result<rd_kafka_topic_s*> changelog_reader::open_topic(const std::string& topic) {
  const std::lock_guard lock(topics_mutex_);
  auto& made = topics_[topic];
  if (made == nullptr) made = rd_kafka_topic_new(committed_->get(), topic.c_str(), nullptr);
  if (made == nullptr) {
    topics_.erase(topic);
    return committed_->fail(rd_kafka_last_error(), "changelog \"" + topic + "\": cannot open");
  }
  return made;
}

result<std::string> changelog_reader::cluster_id() {
  char* id = rd_kafka_clusterid(uncommitted_->get(), static_cast<int>(answer_max.count()));
  if (id == nullptr) return uncommitted_->fail(RD_KAFKA_RESP_ERR__TIMED_OUT, "cannot learn the cluster's id");
  std::string copy(id);
  rd_kafka_mem_free(uncommitted_->get(), id);
  return copy;
}

// Not by rd_kafka_query_watermark_offsets: its wait for a broker that has gone ends after minutes, whatever timeout it is given
// (2.0.2).
result<std::int64_t> changelog_reader::ask(client& of, const std::string& topic, std::int32_t partition, std::int64_t time) {
  topic_list_ptr asked(rd_kafka_topic_partition_list_new(1));
  auto* entry = rd_kafka_topic_partition_list_add(asked.get(), topic.c_str(), partition);
  entry->offset = time;
  const int code = of.offsets_for_times(asked.get(), answer_max);
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
    return of.fail(code, partition_name(topic, partition) + ": cannot learn its offsets");
  return entry->offset >= 0 ? entry->offset : -1;
}

result<offset_range> changelog_reader::range(const std::string& topic, std::int32_t partition) {
  const auto first = ask(*uncommitted_, topic, partition, RD_KAFKA_OFFSET_BEGINNING);
  if (!first) return tl::unexpected<error>(first.error());
  const auto end = ask(*uncommitted_, topic, partition, RD_KAFKA_OFFSET_END);
  if (!end) return tl::unexpected<error>(end.error());
  if (*first < 0 || *end < *first) return fail(errc::unavailable, partition_name(topic, partition) + ": its range is not known yet");
  return offset_range{*first, *end};
}

result<std::int64_t> changelog_reader::committed_end(const std::string& topic, std::int32_t partition) {
  const auto end = ask(*committed_, topic, partition, RD_KAFKA_OFFSET_END);
  if (end && *end < 0) return fail(errc::unavailable, partition_name(topic, partition) + ": its end is not known yet");
  return end;
}

result<std::int64_t> changelog_reader::first_after(const std::string& topic, std::int32_t partition, std::int64_t timestamp_ms) {
  return ask(*uncommitted_, topic, partition, timestamp_ms + 1);
}

result<bool> changelog_reader::can_be_the_same(const std::string& topic, std::int32_t partition, std::int64_t next,
                                               std::int64_t timestamp_max_ms, const std::function<bool()>& cancelled) {
  const auto newer = first_after(topic, partition, timestamp_max_ms);
  if (!newer) return tl::unexpected<error>(newer.error());
  if (*newer < 0 || *newer >= next) return true;
  // Of a topic that was made anew everything is newer, whatever compaction has left to be seen.
  const auto oldest = first_after(topic, partition, -1);
  if (!oldest) return tl::unexpected<error>(oldest.error());
  if (*oldest >= *newer) return false;
  newer_search looks(next, timestamp_max_ms, cancelled);
  const auto end = read(topic, partition, *newer, next, looks);
  if (!end && !looks.over) return tl::unexpected<error>(end.error());
  if (end && *end < 0) return false;
  return !looks.found;
}

result<std::int64_t> changelog_reader::read(const std::string& topic, std::int32_t partition, std::int64_t from,
                                            std::int64_t mark, sink& to) {
  auto opened = open_topic(topic);
  if (!opened) return tl::unexpected<error>(std::move(opened).error());
  const std::string place = partition_name(topic, partition);
  std::unique_ptr<rd_kafka_queue_t, queue_deleter> queue(rd_kafka_queue_new(committed_->get()));
  if (rd_kafka_consume_start_queue(*opened, partition, from, queue.get()) != 0)
    return committed_->fail(rd_kafka_last_error(), place + ": cannot start to read");
  reading at;
  at.to = &to;
  at.mark = mark;
  at.next = from;
  status outcome;
  while (outcome && at.end < 0 && at.failed == 0) {
    const auto got = rd_kafka_consume_callback_queue(queue.get(), wait_ms, on_message, &at);
    if (at.waits_for_open >= 0)
      to.note("an open transaction from offset " + std::to_string(at.waits_for_open) + " on to be ended");
    if (got > 0) outcome = to.pause(at.next);
    if (outcome && to.cancelled()) outcome = fail(errc::cancelled, place + ": not wanted any more");
  }
  rd_kafka_consume_stop(*opened, partition);
  if (!outcome) return tl::unexpected<error>(std::move(outcome).error());
  if (at.failed == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE || at.failed == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET)
    return -1;
  if (at.failed != 0) return committed_->fail(at.failed, place + ": cannot read", at.failed_text);
  to.note({});
  return at.end;
}

}  // namespace sonder::kafka
