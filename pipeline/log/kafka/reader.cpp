#include "log/kafka/reader.h"

#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <optional>
#include <thread>
#include <utility>

#include "log/kafka/topic_list.h"

namespace sonder::kafka {
namespace {

constexpr std::size_t taken_at_once = 4096;  // messages out of librdkafka's queue in one go
constexpr std::size_t worth_asking = 256;    // messages in it, for a queue to be looked after
// Of an encoded header: two lengths.
constexpr std::size_t header_overhead = 20;

std::string place(std::string_view topic, std::int32_t partition) {
  return std::string(topic) + "[" + std::to_string(partition) + "]";
}

std::size_t header_bytes(const rd_kafka_message_t* of) {
  rd_kafka_headers_t* headers = nullptr;
  if (rd_kafka_message_headers(of, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR) return 0;
  std::size_t bytes = header_overhead;
  const char* name = nullptr;
  const void* value = nullptr;
  std::size_t size = 0;
  for (std::size_t i = 0;
       rd_kafka_header_get_all(headers, i, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR;
       ++i) {
    bytes += std::string_view(name).size() + size + header_overhead;
  }
  return bytes;
}

bytes_view copy_headers(const rd_kafka_message_t* from, std::vector<header_view>& scratch,
                        buffer& to) {
  rd_kafka_headers_t* headers = nullptr;
  if (rd_kafka_message_headers(from, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR) return {};
  scratch.clear();
  const char* name = nullptr;
  const void* value = nullptr;
  std::size_t size = 0;
  for (std::size_t i = 0;
       rd_kafka_header_get_all(headers, i, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR;
       ++i) {
    scratch.push_back({name, {static_cast<const std::uint8_t*>(value), size}});
  }
  const auto start = to.size();
  encode_headers(scratch, to);
  return {to.data() + start, to.size() - start};
}

bytes_view copy_bytes(const void* from, std::size_t size, buffer& to) {
  const auto start = to.size();
  to.append(from, size);
  return {to.data() + start, size};
}

constexpr std::chrono::milliseconds ask_again(50);

/// The oldest offset kept, as it was less than a second ago: asked for with every end, it would
/// double the questions.
class oldest_offset {
 public:
  [[nodiscard]] std::optional<std::int64_t> find() const {
    const std::lock_guard lock(mutex_);
    if (std::chrono::steady_clock::now() - at_ > std::chrono::seconds(1)) return std::nullopt;
    return offset_;
  }
  void set(std::int64_t offset) {
    const std::lock_guard lock(mutex_);
    offset_ = offset;
    at_ = std::chrono::steady_clock::now();
  }

 private:
  mutable std::mutex mutex_;
  std::optional<std::int64_t> offset_;          // guarded by mutex_
  std::chrono::steady_clock::time_point at_{};  // guarded by mutex_
};

// Not errc::not_found: whoever reads knows the topic, and a broker that has just started may not
// know it yet.
bool lasting(errc code) {
  return code == errc::invalid || code == errc::corrupt || code == errc::unsupported;
}

}  // namespace

/// Where one partition is read. Its mutex is never contended in a right use; it keeps `stop` apart
/// from `fetch`.
class reader::cursor {
 public:
  cursor(reader& of, rd_kafka_topic_t* topic, std::string_view name, std::int32_t partition)
      : of_(of), topic_(topic), name_(name), partition_(partition) {
    queue_ = rd_kafka_queue_get_partition(of.fetches_->get(), name_.c_str(), partition);
    rd_kafka_queue_cb_event_enable(
        queue_, [](rd_kafka_t*, void* self) { static_cast<reader*>(self)->wake(); }, &of);
  }
  ~cursor() {
    stop();
    rd_kafka_queue_cb_event_enable(queue_, nullptr, nullptr);
    rd_kafka_queue_destroy(queue_);
  }
  cursor(const cursor&) = delete;
  cursor& operator=(const cursor&) = delete;

  status fetch(std::int64_t from, const fetch_limits& limits, record_block& into) {
    const std::lock_guard lock(mutex_);
    into.clear();
    into.next_offset = from;
    if (!started_ || from < read_to_ || from > stands_at_) SONDER_TRY(start(from, from));
    if (next_taken_ == taken_.size()) SONDER_TRY(take());
    choose(limits, into.next_offset);
    copy(into);
    into.removed = std::exchange(removed_, 0);
    if (!failed_) return {};
    return tl::unexpected(*std::exchange(failed_, std::nullopt));
  }

  void stop() {
    const std::lock_guard lock(mutex_);
    stop_locked();
  }

  oldest_offset oldest_;

 private:
  status start(std::int64_t at, std::int64_t asked) {
    stop_locked();
    if (rd_kafka_consume_start(topic_, partition_, at) != 0) {
      return of_.fetches_->fail(rd_kafka_last_error(), "reading " + place(name_, partition_));
    }
    started_ = true;
    read_to_ = stands_at_ = asked;
    return {};
  }

  void stop_locked() {
    if (!started_) return;
    started_ = searching_ = false;
    removed_ = 0;
    rd_kafka_consume_stop(topic_, partition_);
    while (next_taken_ < taken_.size()) rd_kafka_message_destroy(taken_[next_taken_++]);
    taken_.clear();
    next_taken_ = 0;
    most_waiting_ = 0;
    failed_.reset();
  }

  status take() {
    taken_.resize(taken_at_once);
    next_taken_ = 0;
    const auto count = rd_kafka_consume_batch(topic_, partition_, 0, taken_.data(), taken_.size());
    taken_.resize(count < 0 ? 0 : static_cast<std::size_t>(count));
    if (count < 0) return of_.fetches_->fail(rd_kafka_last_error(), "reading " + place(name_, partition_));
    ask_for_more();
    return {};
  }

  // librdkafka's thread of a broker looks at queues after a fetch has returned, and where all were full after a second (2.0.2). It
  // is woken by any request: once each time that the queue of a partition has run low.
  void ask_for_more() {
    const auto waiting = rd_kafka_queue_length(queue_);
    if (waiting > most_waiting_) most_waiting_ = waiting;
    if (waiting * 2 > most_waiting_ || most_waiting_ < worth_asking) return;
    most_waiting_ = waiting;
    const topic_list_ptr list(rd_kafka_topic_partition_list_new(1));
    rd_kafka_topic_partition_list_add(list.get(), name_.c_str(), partition_)->offset = RD_KAFKA_OFFSET_END;
    // Nobody waits for the answer.
    (void)rd_kafka_offsets_for_times(of_.fetches_->get(), list.get(), 0);
  }

  // Which of the messages taken the answer holds; what stands between them moves `next`.
  void choose(const fetch_limits& limits, std::int64_t& next) {
    chosen_.clear();
    chosen_bytes_ = 0;
    while (next_taken_ < taken_.size() && !failed_) {
      rd_kafka_message_t* message = taken_[next_taken_];
      if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        ++next_taken_;
        take_event(message, next);
        continue;
      }
      if (!arrived_at(message->offset) || message->offset < read_to_) {
        ++next_taken_;
        rd_kafka_message_destroy(message);
        continue;
      }
      const auto size = message->key_len + message->len + header_bytes(message);
      if (!chosen_.empty() && (chosen_.size() >= static_cast<std::size_t>(limits.records_max) ||
                               chosen_bytes_ + size > limits.bytes_max)) {
        return;
      }
      ++next_taken_;
      chosen_.push_back(message);
      chosen_bytes_ += size;
      next = read_to_ = stands_at_ = message->offset + 1;
    }
  }

  /// False where a search for the oldest record kept has found that the log ends before what was
  /// asked for.
  bool arrived_at(std::int64_t offset) {
    if (!searching_) return true;
    searching_ = false;
    if (offset >= read_to_) {
      removed_ += std::max<std::int64_t>(0, offset - stands_at_);
      return true;
    }
    failed_ = error{errc::corrupt,
                    "reading " + place(name_, partition_) + ": offset " + std::to_string(read_to_) +
                        " is beyond its end; the topic was made anew, or has lost records"};
    return false;
  }

  void take_event(rd_kafka_message_t* event, std::int64_t& next) {
    const auto code = event->err;
    if (code == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
      if (arrived_at(event->offset)) next = stands_at_ = std::max(stands_at_, event->offset);
    } else if (code == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET ||
               code == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE) {
      // Retention has taken it away, or it lies beyond the end: the oldest record tells which.
      rd_kafka_message_destroy(event);
      const auto asked = stands_at_;
      if (auto ok = start(RD_KAFKA_OFFSET_BEGINNING, asked); !ok) failed_ = ok.error();
      searching_ = true;
      return;
    } else if (lasting(classify(code))) {
      failed_ = of_.fetches_
                    ->fail(code, "reading " + place(name_, partition_),
                           event->payload == nullptr ? "" : rd_kafka_message_errstr(event))
                    .value();
    }  // else librdkafka goes on by itself
    rd_kafka_message_destroy(event);
  }

  void copy(record_block& into) {
    into.memory.reserve_more(chosen_bytes_);
    into.records.reserve(chosen_.size());
    for (auto* message : chosen_) {
      log_record record;
      record.offset = message->offset;
      record.timestamp_ms = rd_kafka_message_timestamp(message, nullptr);
      record.has_key = message->key != nullptr;
      record.has_value = message->payload != nullptr;
      record.key = copy_bytes(message->key, message->key_len, into.memory);
      record.value = copy_bytes(message->payload, message->len, into.memory);
      record.headers = copy_headers(message, headers_, into.memory);
      into.records.push_back(record);
      rd_kafka_message_destroy(message);
    }
    chosen_.clear();
  }

  reader& of_;
  rd_kafka_topic_t* topic_;
  std::string name_;
  std::int32_t partition_;
  rd_kafka_queue_t* queue_ = nullptr;

  std::mutex mutex_;
  bool started_ = false;
  bool searching_ = false;      ///< for the oldest record kept
  std::int64_t removed_ = 0;    ///< offsets before it that were to be read, and that nobody was told of yet
  std::int64_t read_to_ = 0;    ///< one past the last record given out; between here and
  std::int64_t stands_at_ = 0;  ///< here there are none
  std::vector<rd_kafka_message_t*>
      taken_;  ///< out of librdkafka's queue, from `next_taken_` on not looked at
  std::size_t next_taken_ = 0;
  std::size_t most_waiting_ = 0;  ///< in librdkafka's queue, since it was last asked for more
  std::vector<rd_kafka_message_t*> chosen_;
  std::size_t chosen_bytes_ = 0;
  std::vector<header_view> headers_;
  std::optional<error> failed_;
};

/// The cursors of one topic, and librdkafka's handle of it.
class reader::topic_cursors {
 public:
  topic_cursors(rd_kafka_topic_t* topic, std::int32_t partitions)
      : topic_(topic), by_partition_(static_cast<std::size_t>(partitions)) {}
  ~topic_cursors() {
    by_partition_.clear();
    rd_kafka_topic_destroy(topic_);
  }
  topic_cursors(const topic_cursors&) = delete;
  topic_cursors& operator=(const topic_cursors&) = delete;

  rd_kafka_topic_t* topic_;
  std::vector<std::unique_ptr<cursor>> by_partition_;
};

result<std::unique_ptr<reader>> reader::open(const kafka_options& options, topics& known,
                                             client& asks) {
  std::unique_ptr<reader> made(new reader(options, known, asks));
  auto fetches = client::make(options, {.role = client_role::reader});
  if (!fetches) return tl::unexpected(fetches.error());
  made->fetches_ = std::move(*fetches);
  return made;
}

reader::reader(const kafka_options& options, topics& known, client& asks)
    : options_(options), topics_(known), asks_(asks) {}

reader::~reader() {
  cursors_.clear();
}

result<reader::cursor*> reader::cursor_of(std::string_view topic, std::int32_t partition) {
  {
    const std::lock_guard lock(cursors_mutex_);
    const auto known = cursors_.find(topic);
    if (known != cursors_.end() && partition >= 0 &&
        static_cast<std::size_t>(partition) < known->second->by_partition_.size()) {
      if (auto& found = known->second->by_partition_[static_cast<std::size_t>(partition)])
        return found.get();
    }
  }
  SONDER_TRY(topics_.check_partition(topic, partition));
  const auto partitions = topics_.partitions_of(topic);
  if (!partitions) return tl::unexpected(partitions.error());
  const std::string name(topic);
  const std::lock_guard lock(cursors_mutex_);
  auto& of_topic = cursors_[name];
  if (of_topic == nullptr) {
    auto* handle = rd_kafka_topic_new(fetches_->get(), name.c_str(), nullptr);
    if (handle == nullptr) {
      cursors_.erase(name);
      return fetches_->fail(rd_kafka_last_error(), "reading topic \"" + name + "\"");
    }
    of_topic = std::make_unique<topic_cursors>(handle, *partitions);
  }
  auto& slot = of_topic->by_partition_[static_cast<std::size_t>(partition)];
  if (slot == nullptr) slot = std::make_unique<cursor>(*this, of_topic->topic_, topic, partition);
  return slot.get();
}

status reader::fetch(std::string_view topic, std::int32_t partition, std::int64_t from,
                     const fetch_limits& limits, record_block& into) {
  auto found = cursor_of(topic, partition);
  if (!found) return tl::unexpected(found.error());
  return (*found)->fetch(std::max<std::int64_t>(from, 0), limits, into);
}

void reader::stop(std::string_view topic, std::int32_t partition) {
  cursor* found = nullptr;
  {
    const std::lock_guard lock(cursors_mutex_);
    const auto known = cursors_.find(topic);
    if (known == cursors_.end() || partition < 0 ||
        static_cast<std::size_t>(partition) >= known->second->by_partition_.size())
      return;
    found = known->second->by_partition_[static_cast<std::size_t>(partition)].get();
  }
  if (found != nullptr) found->stop();
}

// `time` is one of a record, or librdkafka's number for the beginning or the end. Not by
// rd_kafka_query_watermark_offsets: its wait for a broker that has gone ends after minutes,
// whatever timeout it is given (2.0.2).
result<std::int64_t> reader::ask(const client& asks, std::string_view topic,
                                 std::int32_t partition, std::int64_t time) {
  using std::chrono::milliseconds;
  using std::chrono::steady_clock;
  const auto until = steady_clock::now() + options_.request_timeout;
  const topic_list_ptr list(rd_kafka_topic_partition_list_new(1));
  auto* one = rd_kafka_topic_partition_list_add(list.get(), std::string(topic).c_str(), partition);
  for (;;) {
    one->offset = time;
    one->err = RD_KAFKA_RESP_ERR_NO_ERROR;
    const auto left = std::chrono::duration_cast<milliseconds>(until - steady_clock::now());
    const int code = asks.offsets_for_times(list.get(), std::max(left, milliseconds(1)));
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) return one->offset;
    if (lasting(classify(code)) || steady_clock::now() > until) {
      auto failed = asks.fail(code, "asking for offsets of " + place(topic, partition));
      if (failed.value().code == errc::not_found) failed.value().code = errc::unavailable;
      return failed;
    }
    std::this_thread::sleep_for(ask_again);
  }
}

result<offset_range> reader::offsets(std::string_view topic, std::int32_t partition) {
  SONDER_TRY(topics_.check_partition(topic, partition));
  // The end first: what is appended in between is not missed then. On a read_committed client it is
  // the last stable offset.
  const auto end = ask(asks_, topic, partition, RD_KAFKA_OFFSET_END);
  if (!end) return tl::unexpected(end.error());
  const auto found = cursor_of(topic, partition);
  if (!found) return tl::unexpected(found.error());
  auto& oldest = (*found)->oldest_;
  if (const auto known = oldest.find(); known) return offset_range{std::min(*known, *end), *end};
  const auto first = ask(asks_, topic, partition, RD_KAFKA_OFFSET_BEGINNING);
  if (!first) return tl::unexpected(first.error());
  oldest.set(*first);
  return offset_range{std::min(*first, *end), *end};
}

result<std::int64_t> reader::offset_at(std::string_view topic, std::int32_t partition,
                                       std::int64_t timestamp_ms) {
  SONDER_TRY(topics_.check_partition(topic, partition));
  // Negative times have other meanings.
  const auto found = ask(asks_, topic, partition, std::max<std::int64_t>(timestamp_ms, 0));
  if (!found || *found >= 0) return found;
  return ask(asks_, topic, partition, RD_KAFKA_OFFSET_END);
}

result<std::int64_t> reader::newest(std::string_view topic, std::int32_t partition) {
  SONDER_TRY(topics_.check_partition(topic, partition));
  const client* marks = nullptr;
  {
    const std::lock_guard lock(marks_mutex_);
    if (marks_ == nullptr) {
      auto made = client::make(options_, {.role = client_role::watermark});
      if (!made) return tl::unexpected(made.error());
      marks_ = std::move(*made);
    }
    marks = marks_.get();
  }
  return ask(*marks, topic, partition, RD_KAFKA_OFFSET_END);
}

void reader::wait_for_records(std::uint64_t& seen, std::chrono::milliseconds at_most) {
  std::unique_lock lock(arrived_mutex_);
  arrived_changed_.wait_for(lock, at_most, [&] { return arrived_ != seen; });
  seen = arrived_;
}

// From librdkafka's thread, with its queue locked: nothing here may ask librdkafka.
void reader::wake() {
  {
    const std::lock_guard lock(arrived_mutex_);
    ++arrived_;
  }
  arrived_changed_.notify_all();
}

}  // namespace sonder::kafka
