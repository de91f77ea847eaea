#include "log/kafka/producer.h"

#include <librdkafka/rdkafka.h>

#include <algorithm>

namespace sonder::kafka {
namespace {

constexpr int poll_ms = 10;  // while librdkafka's queue is full

std::string place(std::string_view topic, std::int32_t partition) {
  return std::string(topic) + "[" + std::to_string(partition) + "]";
}

int ms_until(producer::deadline until) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
      until - std::chrono::steady_clock::now());
  return static_cast<int>(std::max<std::int64_t>(left.count(), 0));
}

rd_kafka_headers_t* as_headers(bytes_view encoded) {
  auto* made = rd_kafka_headers_new(4);
  header_cursor each(encoded);
  for (header_view header; each.next(header);) {
    rd_kafka_header_add(made, header.key.data(), static_cast<ssize_t>(header.key.size()),
                        header.value.data(), static_cast<ssize_t>(header.value.size()));
  }
  return made;
}

// What librdkafka hands back with a record's fate: the round that it was put in, and 1 + the index
// of its changelog, 0 for none. A purge can report records of a round that has failed when the next
// one is under way.
constexpr int changelog_bits = 20;
constexpr std::size_t changelogs_max = (std::size_t{1} << changelog_bits) - 2;

void* as_tag(std::uint64_t round, std::size_t changelog) {
  return reinterpret_cast<void*>(static_cast<std::uintptr_t>(round << changelog_bits | changelog));
}
std::uint64_t round_of(const void* tag) {
  return reinterpret_cast<std::uintptr_t>(tag) >> changelog_bits;
}
std::size_t changelog_in(const void* tag) {
  return reinterpret_cast<std::uintptr_t>(tag) & (changelogs_max + 1);
}

// What is empty and what is not there differ by their address alone.
void* address(bytes_view of) {
  static std::uint8_t nothing = 0;
  return of.data() == nullptr ? &nothing : const_cast<std::uint8_t*>(of.data());
}

}  // namespace

struct producer::one_record {
  rd_kafka_topic_t* topic = nullptr;
  std::string_view topic_name;
  std::int32_t partition = 0;
  const bytes_view* key = nullptr;
  const bytes_view* value = nullptr;
  bytes_view headers;
  std::int64_t timestamp_ms = 0;
  void* tag = nullptr;
};

result<std::unique_ptr<producer>> producer::make(const kafka_options& options,
                                                 const std::string& transactional_id) {
  std::unique_ptr<producer> made(new producer);
  client::wiring wired;
  wired.role = transactional_id.empty() ? client_role::producer : client_role::transaction;
  wired.transactional_id = transactional_id;
  wired.owner = made.get();
  wired.prepare = [](rd_kafka_conf_t* conf) { rd_kafka_conf_set_dr_msg_cb(conf, delivered); };
  auto under = client::make(options, wired);
  if (!under) return tl::unexpected(under.error());
  made->client_ = std::move(*under);
  made->transactional_ = !transactional_id.empty();
  return made;
}

producer::~producer() {
  if (client_ == nullptr) return;
  for (auto& [name, handle] : topics_) rd_kafka_topic_destroy(handle);
}

void producer::begin() {
  ++round_;
  changelogs_.clear();
  refused_.reset();
  purged_ = false;
}

void producer::delivered(rd_kafka_t* instance, const rd_kafka_message_t* message, void*) {
  auto* self = static_cast<producer*>(client::owner_of(instance));
  if (round_of(message->_private) != self->round_) return;
  if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
    // What was purged was so because of something else, which in a transaction says so itself.
    const bool purged = message->err == RD_KAFKA_RESP_ERR__PURGE_QUEUE ||
                        message->err == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT;
    self->purged_ = self->purged_ || purged;
    if (!self->refused_ && !purged) {
      self->refused_ =
          self->client_
              ->fail(message->err,
                     "writing to " + place(rd_kafka_topic_name(message->rkt), message->partition))
              .value();
    }
    return;
  }
  if (const auto index = changelog_in(message->_private); index != 0) {
    auto& last = self->changelogs_[index - 1].last;
    last = std::max(last, message->offset);
  }
}

result<rd_kafka_topic_t*> producer::topic(std::string_view name) {
  if (const auto known = topics_.find(name); known != topics_.end()) return known->second;
  std::string owned(name);
  auto* handle = rd_kafka_topic_new(client_->get(), owned.c_str(), nullptr);
  if (handle == nullptr)
    return client_->fail(rd_kafka_last_error(), "writing to topic \"" + owned + "\"");
  return topics_[std::move(owned)] = handle;
}

result<std::size_t> producer::changelog_of(std::string_view store, std::int32_t partition) {
  // Changes come store by store and task by task: mostly the last one is meant.
  for (auto i = changelogs_.size(); i > 0; --i) {
    if (changelogs_[i - 1].partition == partition && changelogs_[i - 1].store == store)
      return i - 1;
  }
  if (changelogs_.size() >= changelogs_max)
    return fail(errc::capacity, "an epoch changes too many stores");
  changelogs_.push_back({partition, std::string(store)});
  return changelogs_.size() - 1;
}

status producer::put_one(const one_record& record, deadline until) {
  for (;;) {
    rd_kafka_vu_t fields[8];
    std::size_t count = 0;
    const auto add = [&](rd_kafka_vtype_t what) -> auto& {
      fields[count].vtype = what;
      return fields[count++].u;
    };
    add(RD_KAFKA_VTYPE_RKT).rkt = record.topic;
    add(RD_KAFKA_VTYPE_PARTITION).i32 = record.partition;
    add(RD_KAFKA_VTYPE_MSGFLAGS).i = 0;  // values are lent
    add(RD_KAFKA_VTYPE_TIMESTAMP).i64 = record.timestamp_ms;
    add(RD_KAFKA_VTYPE_OPAQUE).ptr = record.tag;
    if (record.key != nullptr)
      add(RD_KAFKA_VTYPE_KEY).mem = {address(*record.key), record.key->size()};
    if (record.value != nullptr)
      add(RD_KAFKA_VTYPE_VALUE).mem = {address(*record.value), record.value->size()};
    rd_kafka_headers_t* headers = record.headers.empty() ? nullptr : as_headers(record.headers);
    if (headers != nullptr) add(RD_KAFKA_VTYPE_HEADERS).headers = headers;
    auto* refused = rd_kafka_produceva(client_->get(), fields, count);
    if (refused == nullptr) return {};
    if (headers != nullptr)
      rd_kafka_headers_destroy(headers);  // librdkafka took them only with success
    if (rd_kafka_error_code(refused) != RD_KAFKA_RESP_ERR__QUEUE_FULL || ms_until(until) == 0 ||
        refused_) {
      return client_->fail(refused, "writing to " + place(record.topic_name, record.partition));
    }
    rd_kafka_error_destroy(refused);
    rd_kafka_poll(client_->get(), poll_ms);
  }
}

status producer::put(std::span<const produced_batch> batches, deadline until) {
  for (const auto& batch : batches) {
    const auto handle = topic(batch.topic);
    if (!handle) return tl::unexpected(handle.error());
    read_.clear();
    SONDER_TRY(read_batch(batch.records->finish(), 0, 0, read_));
    one_record record{.topic = *handle,
                      .topic_name = batch.topic,
                      .partition = batch.partition,
                      .tag = as_tag(round_, 0)};
    for (const auto& r : read_.records) {
      record.key = r.has_key ? &r.key : nullptr;
      record.value = r.has_value ? &r.value : nullptr;
      record.headers = r.headers;
      record.timestamp_ms = r.timestamp_ms;
      SONDER_TRY(put_one(record, until));
    }
  }
  return {};
}

status producer::put(std::string_view group, std::span<const state_change> changes,
                     std::int64_t now_ms, deadline until) {
  stamped_ms_ = now_ms;
  one_record record{.partition = -1, .timestamp_ms = now_ms};
  std::string_view store;
  std::string name;
  for (const auto& change : changes) {
    if (record.partition != change.partition || store != change.store) {
      const auto index = changelog_of(change.store, change.partition);
      if (!index) return tl::unexpected(index.error());
      store = change.store;
      name = changelog_topic(group, change.store);
      const auto handle = topic(name);
      if (!handle) return tl::unexpected(handle.error());
      record.topic = *handle;
      record.topic_name = name;
      record.partition = change.partition;
      record.tag = as_tag(round_, *index + 1);
    }
    record.key = &change.key;
    record.value = change.value ? &*change.value : nullptr;
    SONDER_TRY(put_one(record, until));
  }
  return {};
}

status producer::flush(deadline until) {
  const auto code = rd_kafka_flush(client_->get(), ms_until(until));
  if (refused_) return tl::unexpected(*refused_);
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR && purged_ && !transactional_) {
    return fail(errc::io, "records were thrown away unwritten: " + client_->last_complaint());
  }
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR) return {};
  return client_->fail(code, "waiting for " + std::to_string(rd_kafka_outq_len(client_->get())) +
                                 " records to be written");
}

void producer::forget() {
  rd_kafka_purge(client_->get(), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
  rd_kafka_flush(client_->get(), -1);
}

std::vector<changelog_position> producer::reached(std::span<const state_change> changes) const {
  std::vector<changelog_position> all;
  for (const auto& of : changelogs_) {
    // The name must live as long as the caller's changes, not as this producer.
    const auto named = std::find_if(changes.begin(), changes.end(),
                                    [&](const auto& c) { return c.store == of.store; });
    if (of.last >= 0 && named != changes.end())
      all.push_back({named->store, of.partition, of.last + 1, stamped_ms_});
  }
  return all;
}

}  // namespace sonder::kafka
