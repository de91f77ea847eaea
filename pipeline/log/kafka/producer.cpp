#include "log/kafka/producer.h"

#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "log/record_walk.h"
#include "record/number_of.h"

namespace sonder::kafka {
namespace {

constexpr int poll_ms = 10;  // while librdkafka's queue is full

// What librdkafka reckons with beside key, value and headers of a record, and for all that is
// around records; or a little more.
constexpr std::size_t record_overhead = 48;
constexpr std::size_t batch_overhead = 512;

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

std::size_t number_of(rd_kafka_t* instance, const char* property) {
  std::array<char, 32> text{};
  auto size = text.size();
  if (rd_kafka_conf_get(rd_kafka_conf(instance), property, text.data(), &size) != RD_KAFKA_CONF_OK)
    return 0;
  return std::strtoull(text.data(), nullptr, 10);
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

/// Records of one batch, as far as they have been put.
struct producer::batch_run {
  one_record record;
  lane* to = nullptr;
  record_walk records;
  log_record next;
  bool left = false;  ///< `next` is a record that has not been put
};

/// Changes of one store and task, less those that have been put.
struct producer::change_run {
  one_record record;
  lane* to = nullptr;
  std::span<const state_change> changes;
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
  made->batch_records_ =
      std::max<std::size_t>(1, number_of(made->client_->get(), "batch.num.messages"));
  const auto bytes = std::min(number_of(made->client_->get(), "batch.size"),
                              number_of(made->client_->get(), "message.max.bytes"));
  made->batch_bytes_ = bytes - std::min(bytes, batch_overhead);
  return made;
}

producer::producer() = default;

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

bool producer::takes(lane& in, std::size_t record_bytes) const noexcept {
  const auto bytes = in.bytes + record_bytes + record_overhead;
  if (in.records > 0 && (in.records == batch_records_ || bytes > batch_bytes_)) return false;
  ++in.records;
  in.bytes = bytes;
  return true;
}

// True once the run has ended; false where its partition takes no more for now.
result<bool> producer::put_some(batch_run& from, deadline until) {
  const auto& r = from.next;
  for (; from.left; from.left = from.records.next(from.next)) {
    if (!takes(*from.to, r.key.size() + r.value.size() + r.headers.size())) return false;
    from.record.key = r.has_key ? &r.key : nullptr;
    from.record.value = r.has_value ? &r.value : nullptr;
    from.record.headers = r.headers;
    from.record.timestamp_ms = r.timestamp_ms;
    if (auto ok = put_one(from.record, until); !ok) return tl::unexpected(ok.error());
  }
  return true;
}

result<bool> producer::put_some(change_run& from, deadline until) {
  for (; !from.changes.empty(); from.changes = from.changes.subspan(1)) {
    const auto& change = from.changes.front();
    if (!takes(*from.to, change.key.size() + (change.value ? change.value->size() : 0)))
      return false;
    from.record.key = &change.key;
    from.record.value = change.value ? &*change.value : nullptr;
    if (auto ok = put_one(from.record, until); !ok) return tl::unexpected(ok.error());
  }
  return true;
}

// A batch's worth of each run at a time, so that all partitions are under way side by side.
template <class Run>
status producer::put_in_turns(std::vector<Run>& runs, deadline until) {
  for (bool left = !runs.empty(); left;) {
    left = false;
    for (auto& run : runs) {
      const auto done = put_some(run, until);
      if (!done) return tl::unexpected(done.error());
      left = left || !*done;
    }
    if (left) SONDER_TRY(flush(until));
  }
  return {};
}

status producer::put(std::span<const produced_batch> batches, deadline until) {
  batch_runs_.clear();
  for (const auto& batch : batches) {
    const auto handle = topic(batch.topic);
    if (!handle) return tl::unexpected(handle.error());
    batch_run run{.record = {.topic = *handle,
                             .topic_name = batch.topic,
                             .partition = batch.partition,
                             .tag = as_tag(round_, 0)},
                  .to = lane_of(*handle, batch.partition),
                  .records = record_walk(batch.records->finish())};
    run.left = run.records.next(run.next);
    batch_runs_.push_back(run);
  }
  return put_in_turns(batch_runs_, until);
}

status producer::put(std::string_view group, std::span<const state_change> changes,
                     std::int64_t now_ms, deadline until) {
  stamped_ms_ = now_ms;
  change_runs_.clear();
  for (std::size_t first = 0, end = 0; first < changes.size(); first = end) {
    const auto& of = changes[first];
    for (end = first + 1; end < changes.size() && changes[end].partition == of.partition &&
                          changes[end].store == of.store;)
      ++end;
    const auto index = changelog_of(of.store, of.partition);
    if (!index) return tl::unexpected(index.error());
    const auto handle = topic(changelog_topic(group, of.store));
    if (!handle) return tl::unexpected(handle.error());
    change_runs_.push_back({.record = {.topic = *handle,
                                       .topic_name = rd_kafka_topic_name(*handle),
                                       .partition = of.partition,
                                       .timestamp_ms = now_ms,
                                       .tag = as_tag(round_, *index + 1)},
                            .to = lane_of(*handle, of.partition),
                            .changes = changes.subspan(first, end - first)});
  }
  return put_in_turns(change_runs_, until);
}

status producer::flush(deadline until) {
  const auto code = rd_kafka_flush(client_->get(), ms_until(until));
  if (refused_) return tl::unexpected(*refused_);
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR && purged_ && !transactional_) {
    std::array<char, 512> why{};
    if (const auto fatal = rd_kafka_fatal_error(client_->get(), why.data(), why.size());
        fatal != RD_KAFKA_RESP_ERR_NO_ERROR)
      return client_->fail(fatal, "writing records", why.data());
    return fail(errc::io, "records were thrown away unwritten: " + client_->last_complaint());
  }
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
    for (auto& [partition, given] : lanes_) given = {};
    return {};
  }
  return client_->fail(code, "waiting for " + sonder::number_of(rd_kafka_outq_len(client_->get()), "record") + " to be written");
}

void producer::forget() {
  rd_kafka_purge(client_->get(), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
  rd_kafka_flush(client_->get(), static_cast<int>(forget_max.count()));
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
