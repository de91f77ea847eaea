#include "log/kafka/kafka_log.h"

#include <librdkafka/rdkafka.h>

#include <future>
#include <map>
#include <mutex>
#include <shared_mutex>

#include "log/kafka/client.h"
#include "log/kafka/group_admin.h"
#include "log/kafka/local_state.h"
#include "log/kafka/member.h"
#include "log/kafka/notes.h"
#include "log/kafka/reader.h"
#include "log/kafka/topic_list.h"
#include "log/kafka/topics.h"
#include "log/kafka/writer.h"

namespace sonder::kafka {
namespace {

constexpr std::chrono::milliseconds footprint_wait_max(1'000);

/// The log as one of its parts each: see README.md.
class broker_log final : public log {
 public:
  explicit broker_log(kafka_options options)
      : options_(counted(std::move(options))), notes_(options_.state_dir / "notes") {}

  status open() {
    auto asks = client::make(options_, {.role = client_role::query});
    if (!asks) return tl::unexpected(asks.error());
    asks_ = std::move(*asks);
    SONDER_TRY(asks_->connect(options_.request_timeout));
    topics_ = std::make_unique<kafka::topics>(options_, *asks_);
    auto reads = reader::open(options_, *topics_, *asks_);
    if (!reads) return tl::unexpected(reads.error());
    reader_ = std::move(*reads);
    writer_ = std::make_unique<writer>(options_, *topics_, [this](std::string_view group) { return check_place(group); });
    admin_ = std::make_unique<group_admin>(options_, *asks_, *topics_, *writer_);
    return {};
  }

  status create_topic(const topic_config& topic) override { return topics_->create(topic); }
  result<topic_config> describe(std::string_view topic) override {
    return topics_->describe(topic);
  }
  result<std::vector<topic_config>> topics() override { return topics_->all(); }
  result<std::int32_t> partition_count(std::string_view topic) override { return topics_->count_partitions(topic); }
  result<offset_range> offsets(std::string_view topic, std::int32_t partition) override {
    return reader_->offsets(topic, partition);
  }
  result<std::int64_t> newest(std::string_view topic, std::int32_t partition) override {
    return reader_->newest(topic, partition);
  }
  result<std::int64_t> offset_at(std::string_view topic, std::int32_t partition,
                                 std::int64_t timestamp_ms) override {
    return reader_->offset_at(topic, partition, timestamp_ms);
  }
  status fetch(std::string_view topic, std::int32_t partition, std::int64_t from,
               const fetch_limits& limits, record_block& into) override {
    return reader_->fetch(topic, partition, from, limits, into);
  }
  status append(std::span<const produced_batch> batches) override {
    return writer_->append(batches);
  }
  void wait_for_records(std::uint64_t& seen, std::chrono::milliseconds at_most) override {
    reader_->wait_for_records(seen, at_most);
  }
  result<std::optional<std::string>> note(std::string_view name) override {
    SONDER_TRY(check_folder());
    return notes_.get(name);
  }
  status set_note(std::string_view name, std::string_view value) override {
    SONDER_TRY(check_folder());
    return notes_.set(name, value);
  }

  result<group_state> describe_group(std::string_view group) override { return admin_->describe(group); }
  result<state_size> size_of_state(std::string_view group, std::string_view store,
                                   std::int32_t partition) override {
    return admin_->size_of(group, store, partition);
  }
  result<state_footprint> footprint_of_state(std::string_view group, std::string_view store,
                                             std::span<const std::int32_t> partitions) override;
  status reset(const group_reset& to) override;
  log_figures figures() const override;
  result<std::vector<std::int64_t>> committed(std::string_view group,
                                              std::string_view topic) override;
  result<std::int64_t> committed_of(std::string_view group, std::string_view topic,
                                    std::int32_t partition) override;
  result<std::unique_ptr<group_member>> join(const group_request& request) override;
  status commit(const epoch_changes& epoch) override;
  epoch_limits limits() const noexcept override {
    const bool transactions = options_.guarantee == kafka_options::guarantee_kind::exactly_once;
    return {.bytes_max = kafka_limits::epoch_bytes_max,
            .records_max = kafka_limits::epoch_records_max,
            .settles_in = transactions ? kafka_limits::markers_take : std::chrono::milliseconds(0)};
  }
  result<std::vector<std::string>> stores(std::string_view group) override;
  result<bool> state_get(std::string_view group, std::string_view store, std::int32_t partition,
                         bytes_view key, buffer& value) override;
  status state_scan(std::string_view group, std::string_view store, std::int32_t partition,
                    bytes_view prefix, state_visitor visit, void* ctx) override;

 private:
  class place;
  [[nodiscard]] static kafka_options counted(kafka_options options) {
    if (options.counts == nullptr) options.counts = std::make_shared<client_counts>();
    return options;
  }
  [[nodiscard]] status check_folder() const {
    if (!options_.state_dir.empty()) return {};
    return fail(errc::invalid, "log.state_dir is empty: name a folder for this worker's state");
  }
  [[nodiscard]] result<client*> asks_for(std::string_view group);
  /// Fills in the offsets of `list`, which is of one topic; negative where there is none.
  [[nodiscard]] status ask_committed(std::string_view group, std::string_view topic,
                                     rd_kafka_topic_partition_list_t* list);
  [[nodiscard]] result<local_state*> state();
  [[nodiscard]] result<group_metadata> place_of(std::string_view group);
  [[nodiscard]] status check_place(std::string_view group) const;
  [[nodiscard]] status commit_offsets(const epoch_changes& epoch);

  const kafka_options options_;
  notes notes_;
  std::unique_ptr<client> asks_;
  std::unique_ptr<kafka::topics> topics_;
  std::unique_ptr<reader> reader_;
  std::unique_ptr<writer> writer_;
  std::unique_ptr<group_admin> admin_;
  std::unique_ptr<local_state>
      state_;  ///< set once, by the first `join` that needs it, under groups_mutex_
  mutable std::mutex groups_mutex_;
  std::map<std::string, std::unique_ptr<client>, std::less<>>
      groups_;                ///< guarded by groups_mutex_
  std::string joined_group_;  ///< guarded by groups_mutex_
  member* joined_ = nullptr;  ///< guarded by groups_mutex_
  mutable std::mutex restored_mutex_;
  mutable restore_counts restored_;  ///< as last seen; guarded by restored_mutex_, as what follows
  mutable group_counts seen_;
};

/// A member that the log knows of for as long as it lives: commits need its metadata.
class broker_log::place final : public group_member {
 public:
  place(broker_log& of, group_request request, std::unique_ptr<member> held)
      : of_(of), request_(std::move(request)), held_(std::move(held)) {
    const std::lock_guard lock(of_.groups_mutex_);
    of_.joined_group_ = request_.group;
    of_.joined_ = held_.get();
  }
  ~place() override {
    const std::lock_guard lock(of_.groups_mutex_);
    of_.joined_ = nullptr;
  }
  place(const place&) = delete;
  place& operator=(const place&) = delete;

  result<group_event> poll() override { return held_->poll(); }
  status release() override {
    // What was fetched ahead of tasks that others may have now is of no use here.
    for (const auto& topic : request_.topics) {
      for (std::int32_t p = 0; p < request_.partitions; ++p) of_.reader_->stop(topic, p);
    }
    for (const auto& [topic, partitions] : request_.beside) {
      for (std::int32_t p = 0; p < partitions; ++p) of_.reader_->stop(topic, p);
    }
    return held_->release();
  }
  result<bool> ready(std::int32_t partition) override { return held_->ready(partition); }
  status restart() override { return held_->restart(); }
  std::string waits_for() const override { return held_->waits_for(); }

 private:
  broker_log& of_;
  const group_request request_;
  std::unique_ptr<member> held_;
};

result<client*> broker_log::asks_for(std::string_view group) {
  const std::lock_guard lock(groups_mutex_);
  auto& slot = groups_[std::string(group)];
  if (slot == nullptr) {
    auto made = client::make(options_, {.role = client_role::query, .group = std::string(group)});
    if (!made) return tl::unexpected(made.error());
    slot = std::move(*made);
  }
  return slot.get();
}

status broker_log::ask_committed(std::string_view group, std::string_view topic,
                                 rd_kafka_topic_partition_list_t* list) {
  const auto asks = asks_for(group);
  if (!asks) return tl::unexpected(asks.error());
  const auto code = (*asks)->committed(list, options_.request_timeout);
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR) return {};
  return (*asks)->fail(code, "asking what group \"" + std::string(group) +
                                 "\" has committed of topic \"" + std::string(topic) + "\"");
}

result<std::vector<std::int64_t>> broker_log::committed(std::string_view group,
                                                        std::string_view topic) {
  const auto partitions = topics_->partitions_of(topic);
  if (!partitions) return tl::unexpected(partitions.error());
  const topic_list_ptr list(rd_kafka_topic_partition_list_new(*partitions));
  rd_kafka_topic_partition_list_add_range(list.get(), std::string(topic).c_str(), 0,
                                          *partitions - 1);
  SONDER_TRY(ask_committed(group, topic, list.get()));
  std::vector<std::int64_t> offsets(static_cast<std::size_t>(*partitions), -1);
  for (int i = 0; i < list->cnt; ++i) {
    const auto& one = list->elems[i];
    if (one.offset >= 0) offsets[static_cast<std::size_t>(one.partition)] = one.offset;
  }
  return offsets;
}

result<std::int64_t> broker_log::committed_of(std::string_view group, std::string_view topic,
                                              std::int32_t partition) {
  const auto partitions = topics_->partitions_of(topic);
  if (!partitions) return tl::unexpected(partitions.error());
  if (partition < 0 || partition >= *partitions) return -1;
  const topic_list_ptr list(rd_kafka_topic_partition_list_new(1));
  const auto* one =
      rd_kafka_topic_partition_list_add(list.get(), std::string(topic).c_str(), partition);
  SONDER_TRY(ask_committed(group, topic, list.get()));
  return one->offset >= 0 ? one->offset : -1;
}

// `join` opens its files: before that no task is open either.
result<local_state*> broker_log::state() {
  SONDER_TRY(check_folder());
  const std::lock_guard lock(groups_mutex_);
  if (state_ == nullptr) {
    auto claimed = local_state::claim(options_.state_dir);
    if (!claimed) return tl::unexpected(claimed.error());
    state_ = std::move(*claimed);
  }
  return state_.get();
}

result<std::unique_ptr<group_member>> broker_log::join(const group_request& request) {
  {
    const std::lock_guard lock(groups_mutex_);
    if (joined_ != nullptr) {
      return fail(errc::invalid,
                  "this process is a member of group \"" + joined_group_ + "\" already");
    }
  }
  // The folder first: a second worker that was started on it by mistake must not fence the one that
  // has it.
  local_state* held = nullptr;
  std::future<status> opening;
  if (!request.stores.empty()) {
    const auto claimed = state();
    // Whoever has it keeps it: that is no start to wait for.
    if (!claimed && claimed.error().code == errc::unavailable) return fail(errc::exists, claimed.error().message);
    if (!claimed) return tl::unexpected(claimed.error());
    held = *claimed;
    // After a kill both the files and what the predecessor left open at the brokers take their time:
    // side by side.
    opening = std::async(std::launch::async, [held] { return held->open_files(); });
  }
  // Before all that asks the brokers, whoever was this worker before can write no more, and what it
  // left open is settled.
  SONDER_TRY(writer_->take_over(request.group));
  std::vector<topic_config> changelogs;
  for (const auto& store : request.stores) {
    topic_config wanted;
    wanted.name = changelog_topic(request.group, store);
    wanted.partitions = request.partitions;
    wanted.compacted = true;
    SONDER_TRY(topics_->create(wanted));
    auto found = topics_->describe(wanted.name);
    if (!found) return tl::unexpected(found.error());
    changelogs.push_back(std::move(*found));
  }
  if (opening.valid()) SONDER_TRY(opening.get());
  auto joined = join_group(options_, request, changelogs, held);
  if (!joined) return tl::unexpected(joined.error());
  return std::make_unique<place>(*this, request, std::move(*joined));
}

// The metadata of the assignment that this process holds; none where it has not joined, which is
// how tools commit for a group that nobody is in.
result<group_metadata> broker_log::place_of(std::string_view group) {
  const std::lock_guard lock(groups_mutex_);
  if (joined_ == nullptr || joined_group_ != group) return group_metadata();
  auto held = joined_->metadata();
  if (held != nullptr) return held;
  return fail(errc::unavailable,
              "group \"" + std::string(group) + "\" has taken this worker's tasks away");
}

status broker_log::check_place(std::string_view group) const {
  const std::lock_guard lock(groups_mutex_);
  return joined_ == nullptr || joined_group_ != group ? status() : joined_->check_place();
}

// By their changelogs.
result<std::vector<std::string>> broker_log::stores(std::string_view group) {
  const auto topics = topics_->names();
  if (!topics) return tl::unexpected(topics.error());
  std::vector<std::string> found;
  for (const auto& topic : *topics) {
    if (auto store = store_of_changelog(group, topic); !store.empty()) found.push_back(std::move(store));
  }
  return found;
}

// The ends are this worker's own: only it writes there. The beginnings are the brokers', all of a topic in one question.
result<state_footprint> broker_log::footprint_of_state(std::string_view group, std::string_view store,
                                                       std::span<const std::int32_t> partitions) {
  const auto held = state();
  if (!held) return tl::unexpected(held.error());
  const auto own = (*held)->footprint_of(group, store, partitions);
  if (!own) return tl::unexpected(own.error());
  state_footprint sum{own->disk_bytes, 0};
  if (own->changelog_next.empty()) return sum;
  const auto changelog = changelog_topic(group, store);
  const topic_list_ptr first(rd_kafka_topic_partition_list_new(static_cast<int>(own->changelog_next.size())));
  for (const auto& [partition, next] : own->changelog_next)
    rd_kafka_topic_partition_list_add(first.get(), changelog.c_str(), partition)->offset = RD_KAFKA_OFFSET_BEGINNING;
  const int code = asks_->offsets_for_times(first.get(), footprint_wait_max);
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR) return asks_->fail(code, "asking where changelog \"" + changelog + "\" begins");
  for (const auto& [partition, next] : own->changelog_next) {
    const auto* one = rd_kafka_topic_partition_list_find(first.get(), changelog.c_str(), partition);
    sum.changelog_offsets += std::max<std::int64_t>(0, next - one->offset);
  }
  return sum;
}

status broker_log::commit_offsets(const epoch_changes& epoch) {
  if (epoch.consumed.empty()) return {};
  {
    const std::lock_guard lock(groups_mutex_);
    if (joined_ != nullptr && joined_group_ == epoch.group)
      return joined_->commit_offsets(epoch.consumed);
  }
  const auto asks = asks_for(epoch.group);
  if (!asks) return tl::unexpected(asks.error());
  return (*asks)->commit_offsets(
      epoch.consumed, options_.request_timeout,
      "committing offsets of group \"" + std::string(epoch.group) + "\"");
}

status broker_log::commit(const epoch_changes& epoch) {
  const auto member = place_of(epoch.group);
  if (!member) return tl::unexpected(member.error());
  const bool plainly = options_.guarantee == kafka_options::guarantee_kind::at_least_once;
  if (*member == nullptr && !plainly && !writer_->writes_for(epoch.group))
    SONDER_TRY(writer_->take_over(epoch.group));
  std::vector<changelog_position> reached;
  SONDER_TRY(writer_->commit(epoch, member->get(), reached));
  if (plainly) SONDER_TRY(commit_offsets(epoch));
  if (epoch.state.empty()) return {};
  const auto held = state();
  if (!held) return tl::unexpected(held.error());
  return (*held)->applied(epoch.group, epoch.state, reached);
}

status broker_log::reset(const group_reset& to) {
  {
    const std::lock_guard lock(groups_mutex_);
    if (joined_ != nullptr && joined_group_ == to.group)
      return fail(errc::unavailable, "this process is a worker of group \"" + joined_group_ + "\"");
  }
  return admin_->reset(to);
}

// Whoever commits offsets under at_least_once holds `groups_mutex_` until a broker has answered: what was seen last has to do
// then.
log_figures broker_log::figures() const {
  log_figures now;
  writer_->add_to(now);
  options_.counts->add_to(now);
  const std::lock_guard seen(restored_mutex_);
  if (const std::unique_lock lock(groups_mutex_, std::try_to_lock); lock.owns_lock() && joined_ != nullptr)
    restored_ = joined_->restored(), seen_ = joined_->seen();
  now.rebalance_reasons = seen_.reasons;
  now.group_strangers = seen_.strangers;
  now.tasks_restoring = restored_.tasks_waiting;
  now.restored_tasks = restored_.tasks_ready;
  now.restored_records = restored_.records;
  now.restored_bytes = restored_.bytes;
  now.restore_rebuilt = restored_.rebuilt;
  now.restore_remaining = restored_.remaining;
  now.restore_records_per_second = restored_.records_per_second;
  now.standby_tasks = restored_.standby_tasks;
  now.standby_records_behind = restored_.standby_records_behind;
  return now;
}

result<bool> broker_log::state_get(std::string_view group, std::string_view store,
                                   std::int32_t partition, bytes_view key, buffer& value) {
  const auto held = state();
  if (!held) return tl::unexpected(held.error());
  return (*held)->get(group, store, partition, key, value);
}

status broker_log::state_scan(std::string_view group, std::string_view store,
                              std::int32_t partition, bytes_view prefix, state_visitor visit,
                              void* ctx) {
  const auto held = state();
  if (!held) return tl::unexpected(held.error());
  return (*held)->scan(group, store, partition, prefix, visit, ctx);
}

}  // namespace
}  // namespace sonder::kafka

namespace sonder {

result<std::unique_ptr<log>> open_kafka_log(kafka_options options) {
  auto made = std::make_unique<kafka::broker_log>(std::move(options));
  SONDER_TRY(made->open());
  return made;
}

}  // namespace sonder
