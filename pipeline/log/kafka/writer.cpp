#include "log/kafka/writer.h"

#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <array>
#include <random>

#include "log/kafka/producer.h"
#include "log/kafka/topic_list.h"

namespace sonder::kafka {
namespace {

constexpr auto report_wait = std::chrono::seconds(1);  // for the report of a batch that made a transaction fail

using std::chrono::milliseconds;

// What a record of Kafka's format v2 and the batch around it take beside key, value and headers.
constexpr std::size_t record_overhead = 100;

struct group_deleter {
  void operator()(rd_kafka_consumer_group_metadata_t* of) const {
    rd_kafka_consumer_group_metadata_destroy(of);
  }
};
using group_ptr = std::unique_ptr<rd_kafka_consumer_group_metadata_t, group_deleter>;

std::string own_name() {
  constexpr std::string_view letters = "abcdefghijklmnopqrstuvwxyz234567";
  std::random_device random;
  std::string text;
  for (int i = 0; i < 16; ++i) text += letters[random() % letters.size()];
  return text;
}

std::int64_t now_ms() {
  return std::chrono::duration_cast<milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

bool says_fenced(int code) {
  return code == RD_KAFKA_RESP_ERR__FENCED || code == RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH ||
         code == RD_KAFKA_RESP_ERR_PRODUCER_FENCED;
}

bool says_group_changed(int code) {
  return code == RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION || code == RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID ||
         code == RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS;
}

// The epoch's own fault, not the brokers': it would fail again.
bool lasting(errc code) {
  return code == errc::capacity || code == errc::not_found || code == errc::invalid ||
         code == errc::unsupported;
}

}  // namespace

writer::writer(const kafka_options& options, topics& known, place_check check_place)
    : options_(options),
      topics_(known),
      check_place_(std::move(check_place)),
      instance_(options.instance.empty() ? own_name() : options.instance) {}

writer::~writer() = default;

std::string writer::transactional_id(std::string_view group) const {
  return std::string(group) + "." + instance_;  // as in internal_names.h: "a-b" is not to fence "a" for its instance "b-c"
}

status writer::take_over(std::string_view group) {
  const std::lock_guard lock(epoch_mutex_);
  if (options_.guarantee == kafka_options::guarantee_kind::at_least_once) {
    group_ = group;
    return {};
  }
  if (group_ != group) transactional_.reset();
  group_ = group;
  fenced_.reset();
  return make_transactional();
}

bool writer::writes_for(std::string_view group) {
  const std::lock_guard lock(epoch_mutex_);
  return group_ == group;
}

// ---- checked before anything is begun, so that one record cannot abort an epoch for ever ----

result<std::int64_t> writer::record_bytes_max(std::string_view topic) {
  {
    const std::lock_guard lock(sizes_mutex_);
    if (const auto known = sizes_.find(topic); known != sizes_.end()) return known->second;
  }
  auto found = topics_.describe(topic);
  // Who may write may not always look: then the broker's refusal has to do.
  if (!found && found.error().code != errc::invalid) return tl::unexpected(found.error());
  const std::int64_t bytes = found ? found->record_bytes_max : topic_config{}.record_bytes_max;
  const std::lock_guard lock(sizes_mutex_);
  return sizes_[std::string(topic)] = bytes;
}

status writer::check(std::span<const produced_batch> batches) {
  std::size_t records = 0;
  std::size_t bytes = 0;
  for (const auto& batch : batches) {
    SONDER_TRY(topics_.check_partition(batch.topic, batch.partition));
    const auto most = record_bytes_max(batch.topic);
    if (!most) return tl::unexpected(most.error());
    const auto largest = batch.records->largest_record_bytes() + record_overhead;
    if (static_cast<std::int64_t>(largest) > *most) {
      return fail(errc::capacity, "a record of " + std::to_string(largest) +
                                      " bytes is larger than topic \"" + std::string(batch.topic) +
                                      "\" takes (max.message.bytes " + std::to_string(*most) +
                                      "); raise it, or make the record smaller");
    }
    records += static_cast<std::size_t>(batch.records->count());
    bytes += batch.records->bytes();
  }
  if (records > kafka_limits::epoch_records_max || bytes > kafka_limits::epoch_bytes_max) {
    return fail(errc::capacity, "an epoch of " + std::to_string(records) + " records and " +
                                    std::to_string(bytes) +
                                    " bytes is larger than one may be; commit more often");
  }
  return {};
}

status writer::check_changes(const epoch_changes& epoch) {
  std::string_view store;
  std::int64_t most = 0;
  for (const auto& change : epoch.state) {
    if (change.store != store || most == 0) {
      store = change.store;
      const auto name = changelog_topic(epoch.group, store);
      SONDER_TRY(topics_.check_partition(name, change.partition));
      const auto found = record_bytes_max(name);
      if (!found) return tl::unexpected(found.error());
      most = *found;
    }
    const auto size =
        change.key.size() + (change.value ? change.value->size() : 0) + record_overhead;
    if (static_cast<std::int64_t>(size) > most) {
      return fail(errc::capacity, "state of " + std::to_string(size) +
                                      " bytes under one key of store \"" + std::string(store) +
                                      "\" is larger than its changelog takes (max.message.bytes " +
                                      std::to_string(most) + ")");
    }
  }
  return {};
}

// ---- producers ----

status writer::make_transactional() {
  auto made = producer::make(options_, transactional_id(group_));
  if (!made) return tl::unexpected(made.error());
  const auto doing = "taking over transactional id \"" + transactional_id(group_) + "\"";
  const auto until = clock::now() + options_.request_timeout;
  for (;;) {
    const auto left = std::chrono::duration_cast<milliseconds>(until - clock::now());
    auto* refused = rd_kafka_init_transactions(
        (*made)->get(), static_cast<int>(std::max<std::int64_t>(left.count(), 1)));
    if (refused == nullptr) break;
    if (rd_kafka_error_is_retriable(refused) != 0 && clock::now() < until &&
        !(*made)->on().refused()) {
      rd_kafka_error_destroy(refused);
      continue;
    }
    return (*made)->on().fail(refused, doing);
  }
  transactional_ = std::move(*made);
  return {};
}

result<producer*> writer::outside_epochs() {
  if (plain_ == nullptr) {
    auto made = producer::make(options_, "");
    if (!made) return tl::unexpected(made.error());
    plain_ = std::move(*made);
  }
  return plain_.get();
}

// ---- epochs ----

milliseconds writer::left() const {
  return std::max(milliseconds(1), std::chrono::duration_cast<milliseconds>(
                                       began_ + options_.transaction_timeout - clock::now()));
}

status writer::commit(const epoch_changes& epoch, const rd_kafka_consumer_group_metadata_s* member,
                      std::vector<changelog_position>& reached, std::string_view note) {
  SONDER_TRY(check(epoch.produced));
  SONDER_TRY(check_changes(epoch));
  const std::lock_guard lock(epoch_mutex_);
  reached.clear();
  if (options_.guarantee == kafka_options::guarantee_kind::at_least_once) {
    const std::lock_guard alone(append_mutex_);
    const auto on = outside_epochs();
    if (!on) return tl::unexpected(on.error());
    return write_plainly(**on, epoch, reached);
  }
  if (group_ != epoch.group) {
    return fail(errc::invalid, "an epoch of group \"" + std::string(epoch.group) +
                                   "\" comes to the writer of group \"" + group_ + "\"");
  }
  if (fenced_) return tl::unexpected<error>(*fenced_);
  if (transactional_ == nullptr) SONDER_TRY(take_again());
  return write_transaction(epoch, member, reached, note);
}

status writer::write_transaction(const epoch_changes& epoch,
                                 const rd_kafka_consumer_group_metadata_s* member,
                                 std::vector<changelog_position>& reached, std::string_view note) {
  auto& on = *transactional_;
  began_ = clock::now();
  began_ns_.store(began_.time_since_epoch().count(), std::memory_order_relaxed);
  const auto until = began_ + options_.transaction_timeout;
  on.begin();
  step("begin", transaction_state::producing);
  if (auto* refused = rd_kafka_begin_transaction(on.get()))
    return end_failed(refused, "beginning an epoch");
  step("begun", transaction_state::producing);
  auto put = on.put(epoch.produced, until);
  if (put) put = on.put(epoch.group, epoch.state, now_ms(), until);
  if (!put) return end_failed(cause_of(std::move(put).error(), until), true);
  step("produced", transaction_state::offsets);
  SONDER_TRY(send_offsets(epoch, member, note));
  step("offsets_sent", transaction_state::flushing);
  if (auto ok = on.flush(until); !ok) return end_failed(ok.error(), true);
  step("flushed", transaction_state::committing);
  if (auto* refused = rd_kafka_commit_transaction(on.get(), static_cast<int>(left().count()))) {
    return end_failed(refused, "committing an epoch");
  }
  step("committed", transaction_state::committing);
  ended(transaction_end::committed);
  reached = on.reached(epoch.state);
  return {};
}

// In a transaction that has failed already, librdkafka refuses any call as out of place. Why it failed, the report of the batch that
// the broker refused tells, or else what librdkafka keeps: it answers so to who begins another, which one that goes on refuses too.
error writer::cause_of(error refused, clock::time_point until) {
  if (refused.code != errc::io) return refused;
  const auto written = transactional_->flush(std::min(clock::now() + report_wait, until));
  if (!written) return written.error();
  auto* kept = rd_kafka_begin_transaction(transactional_->get());
  if (kept == nullptr || rd_kafka_error_code(kept) == RD_KAFKA_RESP_ERR__STATE) {
    if (kept != nullptr) rd_kafka_error_destroy(kept);
    return refused;
  }
  return transactional_->on().fail(kept, "writing an epoch").value();
}

status writer::send_offsets(const epoch_changes& epoch,
                            const rd_kafka_consumer_group_metadata_s* member,
                            std::string_view note) {
  if (epoch.consumed.empty()) return {};
  const topic_list_ptr list(list_of(epoch.consumed, note));
  group_ptr alone;
  if (member == nullptr) {
    alone.reset(rd_kafka_consumer_group_metadata_new(std::string(epoch.group).c_str()));
    member = alone.get();
  }
  auto& on = *transactional_;
  constexpr std::string_view doing = "committing the offsets of an epoch";
  for (;;) {
    auto* refused = rd_kafka_send_offsets_to_transaction(on.get(), list.get(), member,
                                                         static_cast<int>(left().count()));
    if (refused == nullptr) return {};
    // Sent again it is the same: an epoch sends its offsets once.
    const bool again = rd_kafka_error_is_retriable(refused) != 0 &&
                       clock::now() < began_ + options_.transaction_timeout;
    if (!again && rd_kafka_error_code(refused) == RD_KAFKA_RESP_ERR__STATE) {
      auto out_of_place = on.on().fail(refused, doing).value();
      return end_failed(cause_of(std::move(out_of_place), began_ + options_.transaction_timeout), true);
    }
    if (!again) return end_failed(refused, doing);
    rd_kafka_error_destroy(refused);
  }
}

// An epoch failed in a call of the transaction protocol. README.md has the table.
status writer::end_failed(rd_kafka_error_t* from, std::string_view doing) {
  const auto code = rd_kafka_error_code(from);
  const bool abort = rd_kafka_error_txn_requires_abort(from) != 0;
  auto why = transactional_->on().fail(from, doing).value();
  if (code == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID) {
    why.code = errc::fenced;
    why.message += "; another worker of group \"" + group_ +
                   "\" has this instance name: give each its own log.instance";
  }
  return end_failed(std::move(why), abort, says_group_changed(code));
}

status writer::end_failed(error why, bool abort, bool group_changed) {
  state_.store(transaction_state::recovering, std::memory_order_relaxed);
  std::array<char, 512> text{};
  const auto fatal_now = [&] {
    return rd_kafka_fatal_error(transactional_->get(), text.data(), text.size());
  };
  auto fatal = fatal_now();
  // So that readers need not wait for a new producer's taking over; where it fails, that aborts it
  // as well. A call that ended by its time may learn here first that the id is another's.
  if (abort && fatal == RD_KAFKA_RESP_ERR_NO_ERROR) {
    if (auto* refused = rd_kafka_abort_transaction(
            transactional_->get(), static_cast<int>(options_.request_timeout.count()))) {
      rd_kafka_error_destroy(refused);
    }
    fatal = fatal_now();
  }
  bool expired = false;
  if (says_fenced(fatal)) {
    // The broker says the same to a producer whose transaction it has given up (it has no KIP-588):
    // that takes transaction_timeout, so that a younger one was taken over by somebody.
    expired = clock::now() - began_ >= options_.transaction_timeout;
    if (!expired) {
      why = {errc::fenced, "another process has taken over transactional id \"" +
                               transactional_id(group_) +
                               "\"; no two workers of a group may have one log.instance"};
    } else if (why.code != errc::fenced && !lasting(why.code)) {
      why = {errc::unavailable,
             "an epoch took longer than log.transaction_timeout, and the broker has aborted it"};
    }
  } else if (fatal != RD_KAFKA_RESP_ERR_NO_ERROR) {
    why.message += " (" + std::string(text.data()) + ")";
  }
  // Whatever the outcome was, it is settled once a new producer has the transactional id (KIP-98):
  // the broker finishes what was decided, and aborts what was not. An aborted one is not used again
  // either: after a batch that the broker refused, librdkafka goes on with a gap in its sequence
  // numbers, and the next transaction fails too (2.0.2).
  transactional_.reset();
  status again;
  if (why.code != errc::fenced) again = take_again();
  if (!again && again.error().code == errc::fenced) {
    why = again.error();
  } else if (!again) {
    why.message += "; then " + again.error().message;
  }
  if (why.code == errc::fenced) fenced_ = why;
  count_failure(why.code, group_changed, expired);
  if (why.code != errc::fenced && !lasting(why.code))
    why.code = why.code == errc::unavailable ? errc::unavailable : errc::io;
  return tl::unexpected(std::move(why));
}

// A process that stood still for long may have a successor of its instance, which has the id and
// works: it is not to be fenced by one that learns of it only now. Where the group tells nothing,
// the next epoch asks again; what was open is meanwhile nobody's to finish.
status writer::take_again() {
  if (auto own = check_place_(group_); !own) {
    if (own.error().code == errc::fenced) fenced_ = own.error();
    return own;
  }
  return make_transactional();
}

// ---- without transactions ----

void writer::count_failure(errc code, bool group_changed, bool expired) noexcept {
  if (code == errc::fenced) return ended(transaction_end::fenced);
  if (expired) return ended(transaction_end::expired);
  if (group_changed) return ended(transaction_end::group_changed);
  if (lasting(code)) return ended(transaction_end::refused);
  ended(code == errc::unavailable ? transaction_end::unavailable : transaction_end::failed);
}

void writer::add_to(log_figures& figures) const noexcept {
  figures.transaction = state_.load(std::memory_order_relaxed);
  if (figures.transaction != transaction_state::idle) {
    const clock::duration age = clock::now().time_since_epoch() - clock::duration(began_ns_.load(std::memory_order_relaxed));
    figures.transaction_seconds = std::max(0.0, std::chrono::duration<double>(age).count());
  }
  for (std::size_t i = 0; i < ends_.size(); ++i) figures.transactions[i] = ends_[i].load(std::memory_order_relaxed);
}

status writer::write_plainly(producer& on, const epoch_changes& epoch,
                             std::vector<changelog_position>& reached) {
  const auto until = clock::now() + options_.transaction_timeout;
  on.begin();
  step("begin", transaction_state::idle);
  auto ok = on.put(epoch.produced, until);
  // State that is there without the rows that a stage emitted with it keeps them from ever being emitted again.
  if (ok && !epoch.produced.empty() && !epoch.state.empty()) ok = on.flush(until);
  if (ok) ok = on.put(epoch.group, epoch.state, now_ms(), until);
  step("produced", transaction_state::idle);
  // Also after a failure: what was put is lent until its fate is known.
  const auto flushed = on.flush(until);
  step("flushed", transaction_state::idle);
  if (ok && flushed) {
    reached = on.reached(epoch.state);
    return {};
  }
  on.forget();
  // What of it was in flight may have been written: a new producer numbers its records anew.
  plain_.reset();
  return ok ? flushed : ok;
}

status writer::append(std::span<const produced_batch> batches) {
  SONDER_TRY(check(batches));
  const std::lock_guard lock(append_mutex_);
  const auto on = outside_epochs();
  if (!on) return tl::unexpected(on.error());
  epoch_changes all;
  all.produced.assign(batches.begin(), batches.end());
  std::vector<changelog_position> none;
  return write_plainly(**on, all, none);
}

}  // namespace sonder::kafka
