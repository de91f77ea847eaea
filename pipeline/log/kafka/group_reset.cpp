#include "log/kafka/group_reset.h"

#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <ctime>
#include <set>

#include "log/kafka/local_state.h"
#include "log/kafka/topic_list.h"

namespace sonder::kafka {
namespace {

constexpr std::string_view mark_begins = "sonder-reset ";
constexpr std::size_t asked_bytes_max = 512;  // brokers keep at most offset.metadata.max.bytes, 4096

std::string in_quotes(std::string_view name) {
  return "\"" + std::string(name) + "\"";
}

std::string place_of(std::string_view topic, std::int32_t partition) {
  return "topic " + in_quotes(topic) + ", partition " + std::to_string(partition);
}

std::int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

std::string reset_mark(std::int64_t began_ms, std::string_view asked) {
  const std::time_t seconds = began_ms / 1'000;
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  std::array<char, 32> when{};
  const auto size = std::strftime(when.data(), when.size(), "%Y-%m-%dT%H:%M:%SZ", &utc);
  return std::string(mark_begins) + std::string(when.data(), size) + " " + std::string(asked.substr(0, asked_bytes_max));
}

std::string unfinished_reset(std::string_view note) {
  if (!note.starts_with(mark_begins)) return {};
  note.remove_prefix(mark_begins.size());
  const auto space = std::min(note.find(' '), note.size());
  const std::string asked(note.substr(std::min(space + 1, note.size())));
  return "a reset" + (asked.empty() ? std::string() : " (" + asked + ")") + " was begun at " + std::string(note.substr(0, space)) +
         " and has not finished, so that state may be partly gone; do the same reset again (sonder reset CONFIG " +
         (asked.empty() ? std::string("...") : asked) + " --execute), or one to earliest";
}

group_resetter::group_resetter(const kafka_options& options, topics& known, writer& writes, changelog_reader& reads, member& alone,
                               const group_reset& to)
    : options_(options),
      topics_(known),
      writer_(writes),
      reads_(reads),
      alone_(alone),
      to_(to),
      plain_(options.guarantee == kafka_options::guarantee_kind::at_least_once),
      mark_(reset_mark(now_ms(), to.asked)) {}

status group_resetter::run() {
  SONDER_TRY(look());
  SONDER_TRY(check_stood());
  SONDER_TRY(check_marks());
  for (const auto& part : to_.cleared) SONDER_TRY(take_away(part));
  return write_last();
}

// ---- where the group stands ----

// Every offset that it has, of the topics that it gives out and of those beside them.
status group_resetter::look() {
  std::set<std::pair<std::string, std::int32_t>> wanted;
  for (const auto& topic : to_.topics) {
    for (std::int32_t p = 0; p < to_.partitions; ++p) wanted.emplace(topic, p);
  }
  for (const auto& one : to_.stood) wanted.emplace(one.topic, one.partition);
  for (const auto& one : to_.offsets) wanted.emplace(one.topic, one.partition);
  const auto asks = client::make(options_, {.role = client_role::query, .group = std::string(to_.group)});
  if (!asks) return tl::unexpected<error>(asks.error());
  const topic_list_ptr list(rd_kafka_topic_partition_list_new(static_cast<int>(wanted.size())));
  for (const auto& [topic, partition] : wanted) rd_kafka_topic_partition_list_add(list.get(), topic.c_str(), partition);
  const auto code = (*asks)->committed(list.get(), options_.request_timeout);
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
    return (*asks)->fail(code, "asking what group " + in_quotes(to_.group) + " has committed; nothing is changed");
  for (int i = 0; i < list->cnt; ++i) {
    const auto& one = list->elems[i];
    auto& here = now_[{one.topic, one.partition}];
    here.next = one.offset >= 0 ? one.offset : -1;
    if (one.metadata != nullptr) here.note.assign(static_cast<const char*>(one.metadata), one.metadata_size);
  }
  return {};
}

status group_resetter::check_stood() const {
  for (const auto& one : to_.stood) {
    const auto next = now_.at({std::string(one.topic), one.partition}).next;
    if (next == one.next) continue;
    return fail(errc::unavailable, place_of(one.topic, one.partition) + ": group " + in_quotes(to_.group) + " stood at " +
                                       std::to_string(one.next) + " when this reset was worked out, and stands at " +
                                       std::to_string(next) + " by now: a worker has run meanwhile. Nothing is changed; do the same again");
  }
  return {};
}

bool group_resetter::clears(std::int32_t task) const {
  return std::any_of(to_.cleared.begin(), to_.cleared.end(), [&](const state_part& part) { return part.partition == task; });
}

status group_resetter::check_marks() const {
  for (const auto& [where, here] : now_) {
    const auto unfinished = unfinished_reset(here.note);
    if (unfinished.empty() || clears(where.second)) continue;
    return fail(errc::invalid, "group " + in_quotes(to_.group) + ", task " + std::to_string(where.second) + ": " + unfinished +
                                   "; this one leaves the rest of that state where it is, and nothing is changed");
  }
  return {};
}

// ---- state ----

// Collects the keys of one store of one task, and writes whenever there are enough for a transaction.
class group_resetter::part_sink final : public changelog_reader::sink {
 public:
  part_sink(group_resetter& owner, const state_part& part) : owner_(owner), part_(part) { begin(); }

  // The tombstones of this reset come by as well: none of them is for a key that lives.
  void take(const changelog_reader::record& r) override {
    if (!failed_) return;
    auto& keys = owner_.gone_.back().keys;
    std::string key(as_text(r.key));
    const auto bytes = key.size();
    if (!r.has_value) {
      if (keys.erase(key) == 0) return;
      --owner_.records_;
      owner_.keys_bytes_ -= bytes;
      return;
    }
    if (!keys.insert(std::move(key)).second) return;
    ++owner_.records_;
    owner_.keys_bytes_ += bytes;
    if (!owner_.full()) return;
    failed_ = owner_.write_some();
    begin();
  }
  // A member that does not look at its group for long is thrown out of it.
  status pause(std::int64_t) override {
    if (failed_) failed_ = owner_.check_alone();
    return failed_;
  }
  bool cancelled() const override { return false; }
  void note(std::string) override {}

 private:
  void begin() { owner_.gone_.push_back({part_, {}}); }

  group_resetter& owner_;
  const state_part part_;
  status failed_;
};

status group_resetter::take_away(const state_part& part) {
  SONDER_TRY(check_alone());
  const auto topic = changelog_topic(to_.group, part.store);
  const auto partitions = topics_.partitions_of(topic);
  if (!partitions && partitions.error().code == errc::not_found) return {};  // no epoch has ever changed it
  if (!partitions) return tl::unexpected<error>(partitions.error());
  if (part.partition >= *partitions) return {};
  const auto kept = reads_.range(topic, part.partition);
  if (!kept) return tl::unexpected<error>(kept.error());
  if (kept->first >= kept->end) return {};
  part_sink collects(*this, part);
  const auto end = reads_.read(topic, part.partition, kept->first, kept->end, collects);
  if (!end) return tl::unexpected<error>(end.error().at("changelog " + in_quotes(topic)));
  if (*end < 0) return fail(errc::unavailable, "changelog " + in_quotes(topic) + ": lost records while they were read; do the same again");
  return {};
}

// ---- writing ----

status group_resetter::check_alone() {
  auto event = alone_.poll();
  if (!event) return tl::unexpected<error>(std::move(event).error());
  if (event->what == group_event::kind::none) return {};
  return fail(errc::unavailable, "a worker joined group " + in_quotes(to_.group) + " meanwhile (" + event->why +
                                     "); stop it, then do the same again");
}

// More is to come: its tasks are nobody's until the last transaction.
status group_resetter::write_some() {
  std::vector<consumed_offset> marked;
  const std::string& topic = to_.topics.front();
  for (std::int32_t task = 0; task < to_.partitions; ++task) {
    if (clears(task)) marked.push_back({topic, task, std::max<std::int64_t>(0, now_.at({topic, task}).next)});
  }
  if (plain_) SONDER_TRY(alone_.commit_offsets(marked, mark_));
  return write(std::move(marked), mark_);
}

status group_resetter::write_last() {
  // Tombstones and offsets are not one there: what has begun is marked first, with the state.
  if (plain_ && records_ > 0) SONDER_TRY(write_some());
  std::vector<consumed_offset> offsets;
  std::set<std::pair<std::string, std::int32_t>> moved;
  for (const auto& one : to_.offsets) {
    offsets.push_back({one.topic, one.partition, one.next});
    moved.emplace(one.topic, one.partition);
  }
  for (const auto& [where, here] : now_) {
    // Written where they stand, so that a mark goes, and so that the brokers hold the tombstones to the group.
    const bool task_of_it = where.first == to_.topics.front() && clears(where.second);
    if ((task_of_it || !unfinished_reset(here.note).empty()) && !moved.contains(where))
      offsets.push_back({where.first, where.second, std::max<std::int64_t>(0, here.next)});
  }
  if (plain_) {
    SONDER_TRY(check_alone());
    return alone_.commit_offsets(offsets);
  }
  return write(std::move(offsets), {});
}

status group_resetter::write(std::vector<consumed_offset> offsets, std::string_view note) {
  SONDER_TRY(check_alone());
  const auto metadata = alone_.metadata();
  if (metadata == nullptr) return fail(errc::unavailable, "group " + in_quotes(to_.group) + " has gone on without this reset");
  epoch_changes epoch;
  epoch.group = to_.group;
  epoch.consumed = std::move(offsets);
  epoch.state.reserve(records_);
  for (const auto& part : gone_) {
    for (const auto& key : part.keys) epoch.state.push_back({part.of.store, part.of.partition, as_bytes(key), std::nullopt});
  }
  std::vector<changelog_position> reached;
  SONDER_TRY(writer_.commit(epoch, metadata.get(), reached, note));
  gone_.clear();
  records_ = keys_bytes_ = 0;
  return {};
}

}  // namespace sonder::kafka
