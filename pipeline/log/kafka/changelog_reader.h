#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "log/kafka/client.h"
#include "log/log.h"

struct rd_kafka_topic_s;

namespace sonder::kafka {

/// Reads changelogs to their committed end, each partition by itself. Thread-safe; one reader at a time per partition.
class changelog_reader {
 public:
  struct record {
    bytes_view key;
    bytes_view value;
    bool has_value = false;
    std::int64_t offset = 0;
    std::int64_t timestamp_ms = 0;
  };
  /// What a reading does with what it finds. Not called after `read` has returned.
  class sink {
   public:
    virtual ~sink() = default;
    virtual void take(const record& r) = 0;
    /// After some records: whether to go on. `next` is the first offset not taken.
    [[nodiscard]] virtual status pause(std::int64_t next) = 0;
    [[nodiscard]] virtual bool cancelled() const = 0;
    /// What is the matter, while it lasts; empty: nothing any more.
    virtual void note(std::string trouble) = 0;
  };

  /// `options` outlives it.
  [[nodiscard]] static result<std::unique_ptr<changelog_reader>> over(const kafka_options& options);
  ~changelog_reader();

  [[nodiscard]] result<std::string> cluster_id();
  /// The offsets kept, and the high watermark: the end of uncommitted records too.
  [[nodiscard]] result<offset_range> range(const std::string& topic, std::int32_t partition);
  /// One past the last record that no open transaction can change any more.
  [[nodiscard]] result<std::int64_t> committed_end(const std::string& topic, std::int32_t partition);
  /// The first offset with a record, committed or not, that is newer than `timestamp_ms`; -1: there is none.
  [[nodiscard]] result<std::int64_t> first_after(const std::string& topic, std::int32_t partition, std::int64_t timestamp_ms);
  /// Whether a reading that ended at `next`, and saw no record newer than `timestamp_max_ms`, can have been of this topic, and not
  /// of one of the same name that was deleted: no committed record before `next` is newer. Markers, whose time is the brokers', and
  /// what was aborted do not tell: no reading sees them. errc::cancelled.
  [[nodiscard]] result<bool> can_be_the_same(const std::string& topic, std::int32_t partition, std::int64_t next,
                                             std::int64_t timestamp_max_ms, const std::function<bool()>& cancelled);
  /// Hands committed records from `from` on to `to`, until it stands at the committed end and that is at or past `mark`; then
  /// that offset; -1 where `from` is out of the log's range. errc::cancelled.
  [[nodiscard]] result<std::int64_t> read(const std::string& topic, std::int32_t partition, std::int64_t from,
                                          std::int64_t mark, sink& to);

 private:
  changelog_reader() = default;
  /// The first offset from `time` on, which may be librdkafka's number for the beginning or the end; -1: there is none.
  [[nodiscard]] static result<std::int64_t> ask(client& asked, const std::string& topic, std::int32_t partition, std::int64_t time);
  [[nodiscard]] result<rd_kafka_topic_s*> open_topic(const std::string& topic);

  std::unique_ptr<client> committed_;    // read_committed: records
  std::unique_ptr<client> uncommitted_;  // read_uncommitted: watermarks
  std::mutex topics_mutex_;
  std::map<std::string, rd_kafka_topic_s*> topics_;  // of committed_; guarded by topics_mutex_
};

}  // namespace sonder::kafka
