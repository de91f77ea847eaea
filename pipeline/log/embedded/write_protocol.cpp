#include "log/embedded/write_protocol.h"

#include <cstring>

namespace sonder::embedded {
namespace {

enum class operation : std::uint8_t { append = 1, create_topic = 2, set_note = 3 };
constexpr std::uint8_t flag_compacted = 1;
constexpr std::uint8_t flag_append_time = 2;

tl::unexpected<error> broken(const char* what) {
  return fail(errc::invalid, std::string("write request: ").append(what));
}

class body_reader {
 public:
  explicit body_reader(bytes_view body) noexcept : left_(body) {}

  template <class T>
  [[nodiscard]] bool number(T& into) noexcept {
    if (left_.size() < sizeof into) return false;
    std::memcpy(&into, left_.data(), sizeof into);
    left_ = left_.subspan(sizeof into);
    return true;
  }
  [[nodiscard]] bool bytes(std::size_t size, bytes_view& into) noexcept {
    if (left_.size() < size) return false;
    into = left_.first(size);
    left_ = left_.subspan(size);
    return true;
  }
  [[nodiscard]] bool name(std::string& into) {
    std::uint16_t size = 0;
    bytes_view text;
    if (!number(size) || !bytes(size, text)) return false;
    into = as_text(text);
    return true;
  }
  [[nodiscard]] bool block(bytes_view& into) noexcept {
    std::uint32_t size = 0;
    return number(size) && bytes(size, into);
  }
  [[nodiscard]] bytes_view rest() const noexcept { return left_; }

 private:
  bytes_view left_;
};

template <class T>
void put(std::string& to, T value) {
  to.append(reinterpret_cast<const char*>(&value), sizeof value);
}
void put_text(std::string& to, std::string_view name) {
  put(to, static_cast<std::uint16_t>(name.size()));
  to.append(name);
}

std::string begin_frame(operation what) {
  std::string frame(sizeof(std::uint32_t), '\0');
  put(frame, write_protocol_version);
  put(frame, what);
  return frame;
}
std::string end_frame(std::string frame) {
  const auto size = static_cast<std::uint32_t>(frame.size() - sizeof(std::uint32_t));
  std::memcpy(frame.data(), &size, sizeof size);
  return frame;
}

result<write_request> parse_append(body_reader in) {
  std::uint32_t count = 0;
  if (!in.number(count) || count == 0 || count > write_limits::batches_max)
    return broken("a wrong number of batches");
  append_request request;
  for (std::uint32_t i = 0; i < count; ++i) {
    append_request::part part;
    std::uint32_t partition = 0;
    bytes_view batch;
    if (!in.name(part.topic) || !in.number(partition) || partition > INT32_MAX || !in.block(batch))
      return broken("a cut batch");
    part.partition = static_cast<std::int32_t>(partition);
    auto records = record_batch_builder::adopt(batch);
    if (!records) return tl::unexpected<error>(records.error().at("write request"));
    if (records->covered() != records->count()) return broken("a batch with gaps");
    part.records = std::move(*records);
    request.parts.push_back(std::move(part));
  }
  if (!in.rest().empty()) return broken("bytes after its end");
  return request;
}

result<write_request> parse_create_topic(body_reader in) {
  create_topic_request request;
  auto& topic = request.topic;
  std::uint32_t partitions = 0;
  std::uint32_t record_bytes_max = 0;
  std::uint8_t flags = 0;
  if (!in.name(topic.name) || !in.number(partitions) || !in.number(flags) ||
      !in.number(topic.retention_ms) || !in.number(topic.retention_bytes) ||
      !in.number(topic.tombstone_ms) || !in.number(record_bytes_max) || !in.rest().empty()) {
    return broken("a topic of wrong length");
  }
  if (partitions > INT32_MAX || record_bytes_max > INT32_MAX ||
      (flags & ~(flag_compacted | flag_append_time)) != 0) {
    return broken("a topic with values out of range");
  }
  topic.partitions = static_cast<std::int32_t>(partitions);
  topic.record_bytes_max = static_cast<std::int32_t>(record_bytes_max);
  topic.compacted = (flags & flag_compacted) != 0;
  topic.log_append_time = (flags & flag_append_time) != 0;
  return request;
}

result<write_request> parse_set_note(body_reader in) {
  set_note_request request;
  bytes_view value;
  if (!in.name(request.name) || !in.block(value) || !in.rest().empty())
    return broken("a note of wrong length");
  request.value = as_text(value);
  return request;
}

}  // namespace

result<write_request> parse_request(bytes_view body) {
  body_reader in(body);
  std::uint8_t version = 0;
  std::uint8_t what = 0;
  if (!in.number(version) || !in.number(what)) return broken("shorter than its first two bytes");
  if (version != write_protocol_version) {
    return fail(errc::unsupported, std::string("write request: version ")
                                       .append(std::to_string(version))
                                       .append(", this worker speaks ")
                                       .append(std::to_string(write_protocol_version))
                                       .append("; use the same sonder for both"));
  }
  switch (static_cast<operation>(what)) {
    case operation::append:
      return parse_append(in);
    case operation::create_topic:
      return parse_create_topic(in);
    case operation::set_note:
      return parse_set_note(in);
  }
  return broken("an unknown operation");
}

status run_request(write_request& request, log& on) {
  if (auto* append = std::get_if<append_request>(&request)) {
    std::vector<produced_batch> produced;
    for (auto& part : append->parts)
      produced.push_back({part.topic, part.partition, &part.records});
    return on.append(produced);
  }
  if (const auto* create = std::get_if<create_topic_request>(&request))
    return on.create_topic(create->topic);
  const auto& note = std::get<set_note_request>(request);
  return on.set_note(note.name, note.value);
}

result<std::string> encode_append(std::span<const produced_batch> batches) {
  if (batches.size() > write_limits::batches_max) {
    return fail(errc::capacity, std::string("append: ")
                                    .append(std::to_string(batches.size()))
                                    .append(" batches at once; at most ")
                                    .append(std::to_string(write_limits::batches_max))
                                    .append(" are allowed"));
  }
  std::string frame = begin_frame(operation::append);
  put(frame, static_cast<std::uint32_t>(batches.size()));
  for (const auto& batch : batches) {
    if (batch.records == nullptr || batch.topic.size() > UINT16_MAX)
      return fail(errc::invalid, "append: a batch without records or topic");
    const bytes_view finished = batch.records->finish();
    if (frame.size() + finished.size() + batch.topic.size() > write_limits::request_bytes_max) {
      return fail(errc::capacity, std::string("append: more than ")
                                      .append(std::to_string(write_limits::request_bytes_max))
                                      .append(" bytes at once; produce smaller batches"));
    }
    put_text(frame, batch.topic);
    put(frame, static_cast<std::uint32_t>(batch.partition));
    put(frame, static_cast<std::uint32_t>(finished.size()));
    frame.append(as_text(finished));
  }
  return end_frame(std::move(frame));
}

std::string encode_create_topic(const topic_config& topic) {
  std::string frame = begin_frame(operation::create_topic);
  put_text(frame, topic.name);
  put(frame, static_cast<std::uint32_t>(topic.partitions));
  put(frame, static_cast<std::uint8_t>((topic.compacted ? flag_compacted : 0) |
                                       (topic.log_append_time ? flag_append_time : 0)));
  put(frame, topic.retention_ms);
  put(frame, topic.retention_bytes);
  put(frame, topic.tombstone_ms);
  put(frame, static_cast<std::uint32_t>(topic.record_bytes_max));
  return end_frame(std::move(frame));
}

std::string encode_set_note(std::string_view name, std::string_view value) {
  std::string frame = begin_frame(operation::set_note);
  put_text(frame, name);
  put(frame, static_cast<std::uint32_t>(value.size()));
  frame.append(value);
  return end_frame(std::move(frame));
}

std::string encode_response(const status& outcome) {
  std::string frame(sizeof(std::uint32_t), '\0');
  put(frame, static_cast<std::uint8_t>(outcome ? 0 : 1 + static_cast<int>(outcome.error().code)));
  if (!outcome) frame.append(outcome.error().message, 0, write_limits::response_bytes_max - 1);
  return end_frame(std::move(frame));
}

status parse_response(bytes_view body) {
  if (body.empty()) return fail(errc::io, "write: an empty answer");
  if (body[0] == 0) return {};
  if (body[0] > 1 + static_cast<int>(errc::internal))
    return fail(errc::io, "write: an answer that is not understood");
  return fail(static_cast<errc>(body[0] - 1), std::string(as_text(body.subspan(1))));
}

}  // namespace sonder::embedded
