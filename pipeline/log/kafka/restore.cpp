#include "log/kafka/restore.h"

#include <librdkafka/rdkafka.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include "log/kafka/changelog_reader.h"
#include "log/kafka/group_reset.h"
#include "log/kafka/topic_list.h"

namespace sonder::kafka {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr int offsets_answer_max_ms = 500;  // an open transaction makes this question wait; other tasks want the thread
constexpr milliseconds retry_pause(200);
constexpr int standby_niceness = 10;
constexpr int line_warning = 4;  // syslog's

double seconds(steady_clock::duration of) {
  return std::chrono::duration<double>(of).count();
}

// "1,234,567"
std::string grouped(std::int64_t number) {
  std::string text = std::to_string(number);
  for (auto at = static_cast<std::ptrdiff_t>(text.size()) - 3; at > (number < 0 ? 1 : 0); at -= 3)
    text.insert(static_cast<std::size_t>(at), ",");
  return text;
}

struct store_of_group {
  std::string name;
  std::string changelog;
  std::int64_t tombstone_ms = 0;
};

struct task {
  enum class phase { offsets, state, ready, failed };
  phase at = phase::offsets;
  std::uint64_t turn = 0;              // which `begin` it belongs to
  steady_clock::time_point not_before{};
  std::optional<steady_clock::time_point> missing_since;  // the first of the answers in a row that a topic is not there
  std::size_t stores_done = 0;
  std::int64_t from = 0, reached = 0, mark = 0;  // of the store under way
  std::string trouble;
  std::optional<error> why_failed;
};

// A task of another worker whose state is kept near.
struct standby {
  struct place {
    std::int64_t next = -1;    // of its checkpoint; -1: not looked at yet
    std::int64_t end = -1;     // the changelog's committed end at the last look; -1: not known
    std::int64_t as_of_ms = 0;  // of its checkpoint
  };
  std::uint64_t turn = 0;  // which `follow` it belongs to
  steady_clock::time_point not_before{};
  milliseconds pause{restore_limits::standby_pause};  // after the disk was full: longer each time
  std::vector<place> stores;
  std::string trouble;

  [[nodiscard]] bool level() const {
    return std::all_of(stores.begin(), stores.end(), [](const place& p) { return p.next >= 0 && p.next >= p.end; });
  }
  [[nodiscard]] std::int64_t behind() const {
    std::int64_t sum = 0;
    for (const auto& p : stores) sum += std::max<std::int64_t>(0, p.end - std::max<std::int64_t>(0, p.next));
    return sum;
  }
};

class group_restorer final : public restorer {
 public:
  group_restorer(const kafka_options& options, const group_request& request, client& member, local_state* state)
      : options_(options), group_(request.group), topics_(request.topics), member_(member), state_(state) {}
  ~group_restorer() override;

  status prepare(const group_request& request, std::span<const topic_config> changelogs);

  void begin(std::span<const std::int32_t> partitions) override;
  void drop() override;
  void follow(std::span<const std::int32_t> partitions) override;
  result<bool> ready(std::int32_t partition) override;
  std::string waits_for() const override;
  restore_counts counts() const override;

 private:
  class one_store;

  void work();
  [[nodiscard]] std::optional<std::int32_t> next_task();
  void keep_standbys();
  [[nodiscard]] std::optional<std::int32_t> next_standby();
  [[nodiscard]] bool all_ready() const;
  [[nodiscard]] bool wanted(std::int32_t partition, std::uint64_t turn) const;
  [[nodiscard]] bool standby_wanted(std::int32_t partition, std::uint64_t turn) const;
  [[nodiscard]] status check_room() const;
  [[nodiscard]] status bring_standby(std::int32_t partition, std::uint64_t turn);
  [[nodiscard]] status bring_standby_store(std::size_t which, std::int32_t partition, std::uint64_t turn);
  void standby_ended(std::int32_t partition, std::uint64_t turn, const status& outcome, bool closed);
  [[nodiscard]] status bring(std::int32_t partition, std::uint64_t turn);
  [[nodiscard]] status wait_for_offsets(std::int32_t partition);
  [[nodiscard]] status bring_store(const store_of_group& store, std::int32_t partition, std::uint64_t turn);
  // `asked_ms`: before `range` was asked for.
  [[nodiscard]] result<checkpoint> beginning(const store_of_group& store, std::int32_t partition, const offset_range& range,
                                             std::int64_t asked_ms, const std::function<bool()>& cancelled);
  [[nodiscard]] result<bool> usable(const store_of_group& store, std::int32_t partition, const checkpoint& at,
                                    const offset_range& range, const std::function<bool()>& cancelled);
  void ended(std::int32_t partition, std::uint64_t turn, status outcome);
  [[nodiscard]] status open_stores(std::int32_t partition);
  void close_all();
  void renew_all();
  void set_trouble(std::int32_t partition, std::uint64_t turn, std::string trouble);

  const kafka_options& options_;
  const std::string group_;
  const std::vector<std::string> topics_;
  client& member_;
  local_state* const state_;
  std::vector<store_of_group> stores_;
  std::unique_ptr<changelog_reader> reader_;  // null: no stores

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  bool stopping_ = false;
  std::uint64_t turn_ = 0;
  std::map<std::int32_t, task> tasks_;
  std::deque<std::int32_t> waiting_;
  std::set<std::int32_t> running_;  // tasks whose state a thread works on, as owner or as standby
  std::map<std::int32_t, standby> standbys_;
  restore_counts counts_;
  std::int64_t spell_records_ = 0;  // of the restore that is running, or of the last one
  steady_clock::time_point spell_began_{}, spell_ended_{};
  std::int64_t renewed_at_ms_ = 0;
  std::string cluster_;
  std::vector<std::thread> threads_;
};

// Fills one store of one task from what the reader hands it: for the process's own task, or for a standby copy.
class group_restorer::one_store final : public changelog_reader::sink {
 public:
  enum class purpose { own, standby };

  // `asked_ms`: before the changelog's end was asked for.
  one_store(group_restorer& owner, purpose what_for, state_loader loader, checkpoint at, std::int32_t partition, std::uint64_t turn,
            std::int64_t asked_ms)
      : owner_(owner),
        what_for_(what_for),
        loader_(std::move(loader)),
        at_(std::move(at)),
        partition_(partition),
        turn_(turn),
        asked_ms_(asked_ms) {}

  void take(const changelog_reader::record& r) override {
    if (!failed_) return;
    if (r.has_value) {
      loader_.put(r.key, r.value);
    } else {
      loader_.erase(r.key);
    }
    at_.next = r.offset + 1;
    at_.timestamp_max_ms = std::max(at_.timestamp_max_ms, r.timestamp_ms);
    bytes_ += r.key.size() + r.value.size();
    ++records_;
    if (bytes_ >= restore_limits::batch_bytes_max) write();
  }

  status pause(std::int64_t next) override {
    at_.next = std::max(at_.next, next);
    report();
    return failed_;
  }

  bool cancelled() const override {
    return what_for_ == purpose::own ? !owner_.wanted(partition_, turn_) : !owner_.standby_wanted(partition_, turn_);
  }
  void note(std::string trouble) override {
    if (what_for_ == purpose::own) owner_.set_trouble(partition_, turn_, std::move(trouble));
  }

  // `next` is the changelog's committed end.
  status finish(std::int64_t next) {
    SONDER_TRY(failed_);
    at_.next = next;
    // The process may have stood still since.
    at_.as_of_ms = asked_ms_;
    // Also records of aborted transactions lie before that end, and none of them is newer than now.
    at_.timestamp_max_ms = std::max(at_.timestamp_max_ms, owner_.state_->now_ms());
    report();
    // A copy that looks again and again is flushed where much has come: the rest is in the write-ahead log, or is read again.
    const bool flushes = what_for_ == purpose::own || all_records_ > restore_limits::small_records_max;
    return flushes ? loader_.finish(at_) : loader_.write(at_);
  }
  [[nodiscard]] const checkpoint& at() const noexcept { return at_; }

 private:
  void write() {
    if (what_for_ == purpose::standby) failed_ = owner_.check_room();
    if (failed_) failed_ = loader_.write(at_);
    report();
  }

  void report() {
    const std::lock_guard lock(owner_.mutex_);
    if (what_for_ == purpose::own) {
      report_own();
    } else {
      owner_.counts_.standby_records += records_;
    }
    all_records_ += records_;
    records_ = 0;
    bytes_ = 0;
  }
  void report_own() {
    owner_.counts_.records += records_;
    owner_.counts_.bytes += static_cast<std::int64_t>(bytes_);
    owner_.spell_records_ += records_;
    const auto found = owner_.tasks_.find(partition_);
    if (found != owner_.tasks_.end() && found->second.turn == turn_) {
      found->second.reached = at_.next;
      if (records_ > 0) found->second.missing_since.reset();
    }
  }

  group_restorer& owner_;
  const purpose what_for_;
  state_loader loader_;
  checkpoint at_;
  const std::int32_t partition_;
  const std::uint64_t turn_;
  std::size_t bytes_ = 0;
  std::int64_t records_ = 0, all_records_ = 0;
  const std::int64_t asked_ms_;
  status failed_;
};

group_restorer::~group_restorer() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    ++turn_;
    renew_all();
    close_all();
    tasks_.clear();
    waiting_.clear();
    standbys_.clear();
  }
  changed_.notify_all();
  for (auto& thread : threads_) thread.join();
}

status group_restorer::prepare(const group_request& request, std::span<const topic_config> changelogs) {
  if (request.stores.size() != changelogs.size() || (state_ == nullptr && !request.stores.empty()))
    return fail(errc::internal, "group \"" + group_ + "\": stores without changelogs or without a state folder");
  for (std::size_t i = 0; i < changelogs.size(); ++i)
    stores_.push_back({request.stores[i], changelogs[i].name, changelogs[i].tombstone_ms});
  if (!stores_.empty()) {
    auto reader = changelog_reader::over(options_);
    if (!reader) return tl::unexpected<error>(std::move(reader).error());
    reader_ = std::move(*reader);
  }
  const int threads = std::clamp(request.partitions, 1, restore_limits::threads);
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
  if (options_.standby_replicas > 0 && !stores_.empty()) threads_.emplace_back([this] { keep_standbys(); });
  return {};
}

// ---- what the member's thread calls ----

void group_restorer::begin(std::span<const std::int32_t> partitions) {
  {
    const std::lock_guard lock(mutex_);
    ++turn_;
    close_all();
    tasks_.clear();
    waiting_.clear();
    const auto now = steady_clock::now();
    for (const auto partition : partitions) {
      standbys_.erase(partition);
      auto& made = tasks_[partition];
      made.turn = turn_;
      waiting_.push_back(partition);
    }
    spell_records_ = 0;
    spell_began_ = now;
    spell_ended_ = {};
    renewed_at_ms_ = state_ == nullptr ? 0 : state_->now_ms();
  }
  changed_.notify_all();
}

void group_restorer::drop() {
  const std::lock_guard lock(mutex_);
  ++turn_;
  renew_all();
  close_all();
  tasks_.clear();
  waiting_.clear();
}

void group_restorer::follow(std::span<const std::int32_t> partitions) {
  {
    const std::lock_guard lock(mutex_);
    ++turn_;
    std::map<std::int32_t, standby> now;
    for (const auto partition : partitions) {
      if (tasks_.contains(partition)) continue;
      if (const auto found = standbys_.find(partition); found != standbys_.end()) {
        now.insert(standbys_.extract(found));
        continue;
      }
      auto& made = now[partition];
      made.turn = turn_;
      made.stores.resize(stores_.size());
    }
    standbys_ = std::move(now);
  }
  changed_.notify_all();
}

result<bool> group_restorer::ready(std::int32_t partition) {
  const std::lock_guard lock(mutex_);
  const auto found = tasks_.find(partition);
  if (found == tasks_.end())
    return fail(errc::internal, "group \"" + group_ + "\": task " + std::to_string(partition) + " is not this worker's");
  if (found->second.why_failed) return tl::unexpected<error>(*found->second.why_failed);
  return found->second.at == task::phase::ready;
}

std::string group_restorer::waits_for() const {
  const std::lock_guard lock(mutex_);
  const task* shown = nullptr;
  std::int32_t which = 0;
  int others = -1;
  for (const auto& [partition, t] : tasks_) {
    if (t.at == task::phase::ready) continue;
    ++others;
    const bool tells_more = shown == nullptr || (shown->trouble.empty() && !t.trouble.empty()) ||
                            (shown->trouble.empty() && shown->at == task::phase::offsets && t.at == task::phase::state);
    if (!tells_more) continue;
    shown = &t;
    which = partition;
  }
  if (shown == nullptr) return {};
  std::string text = shown->at == task::phase::offsets ? "committed offsets of task " : "state of task ";
  text += std::to_string(which);
  if (shown->at == task::phase::state && shown->mark > shown->from) {
    const auto whole = shown->mark - shown->from;
    const auto done = std::clamp<std::int64_t>(shown->reached - shown->from, 0, whole);
    text += ": " + std::to_string(done * 100 / whole) + " % of " + grouped(whole);
  }
  if (!shown->trouble.empty()) text += " (" + shown->trouble + ")";
  if (others > 0) text += ", and " + std::to_string(others) + (others == 1 ? " more task" : " more tasks");
  return text;
}

restore_counts group_restorer::counts() const {
  const std::lock_guard lock(mutex_);
  auto now = counts_;
  now.tasks_waiting = std::count_if(tasks_.begin(), tasks_.end(),
                                    [](const auto& t) { return t.second.at != task::phase::ready; });
  now.standby_tasks = static_cast<std::int64_t>(standbys_.size());
  for (const auto& [partition, copy] : standbys_) {
    now.standby_tasks_level += copy.level() ? 1 : 0;
    now.standby_records_behind += copy.behind();
  }
  for (const auto& [partition, t] : tasks_) {
    if (t.at == task::phase::state) now.remaining += std::max<std::int64_t>(0, t.mark - t.reached);
  }
  const auto until = spell_ended_ == steady_clock::time_point{} ? steady_clock::now() : spell_ended_;
  if (spell_records_ > 0 && until > spell_began_)
    now.records_per_second = static_cast<double>(spell_records_) / seconds(until - spell_began_);
  return now;
}

// mutex_ is held.
void group_restorer::close_all() {
  for (const auto& [partition, t] : tasks_) {
    for (const auto& store : stores_) state_->close(group_, store.name, partition);
  }
}

// mutex_ is held. Tasks that are ready stand at their changelog's end as long as they are this process's. A process that
// stood still for long (SIGSTOP, a suspended machine) cannot know whether they are: it leaves its checkpoints as old as they
// are.
void group_restorer::renew_all() {
  if (state_ == nullptr) return;
  const auto now = state_->now_ms();
  const auto elapsed = now - renewed_at_ms_;
  if (elapsed < 0 || elapsed > 2 * milliseconds(restore_limits::renew_interval).count()) return;
  renewed_at_ms_ = now;
  for (const auto& [partition, t] : tasks_) {
    if (t.at != task::phase::ready) continue;
    for (const auto& store : stores_) {
      // What cannot be noted now costs a rebuild at worst; a disk that fails shows itself at the next epoch.
      if (!state_->renew(group_, store.name, partition)) return;
    }
  }
}

void group_restorer::set_trouble(std::int32_t partition, std::uint64_t turn, std::string trouble) {
  const std::lock_guard lock(mutex_);
  const auto found = tasks_.find(partition);
  if (found != tasks_.end() && found->second.turn == turn) found->second.trouble = std::move(trouble);
}

bool group_restorer::wanted(std::int32_t partition, std::uint64_t turn) const {
  const std::lock_guard lock(mutex_);
  const auto found = tasks_.find(partition);
  return !stopping_ && found != tasks_.end() && found->second.turn == turn;
}

// ---- what its threads do ----

// mutex_ is held. A task that is still being worked on for an earlier turn comes later.
std::optional<std::int32_t> group_restorer::next_task() {
  const auto now = steady_clock::now();
  const auto found = std::find_if(waiting_.begin(), waiting_.end(), [&](std::int32_t partition) {
    return !running_.contains(partition) && tasks_.at(partition).not_before <= now;
  });
  if (found == waiting_.end()) return std::nullopt;
  const auto partition = *found;
  waiting_.erase(found);
  return partition;
}

void group_restorer::work() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const auto partition = next_task();
    if (!partition) {
      const auto pause = waiting_.empty() ? milliseconds(restore_limits::renew_interval) : retry_pause;
      if (changed_.wait_for(lock, pause) == std::cv_status::timeout && waiting_.empty() && state_ != nullptr &&
          state_->now_ms() - renewed_at_ms_ >= milliseconds(restore_limits::renew_interval).count())
        renew_all();
      continue;
    }
    const auto turn = tasks_.at(*partition).turn;
    running_.insert(*partition);
    lock.unlock();
    const auto outcome = bring(*partition, turn);
    lock.lock();
    running_.erase(*partition);
    ended(*partition, turn, outcome);
    changed_.notify_all();
  }
}

// mutex_ is held, so that no `begin` or `drop` comes in between. All of them, or none.
status group_restorer::open_stores(std::int32_t partition) {
  for (const auto& store : stores_) {
    auto opened = state_->open(group_, store.name, partition);
    if (opened) continue;
    for (const auto& other : stores_) state_->close(group_, other.name, partition);
    return opened;
  }
  return {};
}

// mutex_ is held.
void group_restorer::ended(std::int32_t partition, std::uint64_t turn, status outcome) {
  const auto found = tasks_.find(partition);
  if (found == tasks_.end() || found->second.turn != turn) return;
  auto& t = found->second;
  if (outcome) {
    outcome = open_stores(partition);
    if (!outcome) {  // the files were closed since: all begins from its checkpoints
      t.at = task::phase::offsets;
      t.stores_done = 0;
    }
  }
  if (outcome) {
    t.at = task::phase::ready;
    t.trouble.clear();
    ++counts_.tasks_ready;
    const bool all = std::all_of(tasks_.begin(), tasks_.end(), [](const auto& other) { return other.second.at == task::phase::ready; });
    if (all) spell_ended_ = steady_clock::now();
    return;
  }
  const auto& why = outcome.error();
  const auto now = steady_clock::now();
  if (why.code != errc::not_found) {
    t.missing_since.reset();
  } else if (!t.missing_since) {
    t.missing_since = now;
  }
  // A broker that has just started may not know its topics yet.
  const bool passing = why.code == errc::unavailable || why.code == errc::io || why.code == errc::cancelled ||
                       (t.missing_since && now - *t.missing_since < restore_limits::missing_topic_max);
  if (!passing) {
    t.why_failed = why;
    t.at = task::phase::failed;
    return;
  }
  t.trouble = why.message;
  t.not_before = now + retry_pause;
  waiting_.push_back(partition);
}

status group_restorer::bring(std::int32_t partition, std::uint64_t turn) {
  std::size_t done = 0;
  {
    const std::lock_guard lock(mutex_);
    const auto found = tasks_.find(partition);
    if (found == tasks_.end() || found->second.turn != turn) return fail(errc::cancelled, "not wanted any more");
    done = found->second.stores_done;
  }
  if (state_ != nullptr) SONDER_TRY(state_->recover());
  if (done == 0) SONDER_TRY(wait_for_offsets(partition));
  for (; done < stores_.size(); ++done) {
    SONDER_TRY(bring_store(stores_[done], partition, turn));
    const std::lock_guard lock(mutex_);
    const auto found = tasks_.find(partition);
    if (found == tasks_.end() || found->second.turn != turn) return fail(errc::cancelled, "not wanted any more");
    found->second.stores_done = done + 1;
  }
  return {};
}

// Offsets that no open transaction can change any more: the brokers answer once markers of those that hold offsets of these
// partitions are written (KIP-447).
status group_restorer::wait_for_offsets(std::int32_t partition) {
  topic_list_ptr asked(
      rd_kafka_topic_partition_list_new(static_cast<int>(topics_.size())));
  for (const auto& topic : topics_) rd_kafka_topic_partition_list_add(asked.get(), topic.c_str(), partition);
  auto code = rd_kafka_committed(member_.get(), asked.get(), offsets_answer_max_ms);
  for (int i = 0; code == RD_KAFKA_RESP_ERR_NO_ERROR && i < asked->cnt; ++i) code = asked->elems[i].err;
  const std::string place = "group \"" + group_ + "\", task " + std::to_string(partition);
  for (int i = 0; code == RD_KAFKA_RESP_ERR_NO_ERROR && i < asked->cnt; ++i) {
    const auto& at = asked->elems[i];
    if (at.metadata == nullptr) continue;
    const auto unfinished = unfinished_reset({static_cast<const char*>(at.metadata), at.metadata_size});
    if (!unfinished.empty()) return fail(errc::invalid, place + ": " + unfinished);
  }
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR) return {};
  if (code == RD_KAFKA_RESP_ERR__TIMED_OUT || code == RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT) {
    return fail(errc::unavailable, place + ": its committed offsets are held by a transaction of another worker that is still "
                                           "open, or the group's coordinator does not answer");
  }
  return member_.fail(code, place + ": cannot learn its committed offsets");
}

result<bool> group_restorer::usable(const store_of_group& store, std::int32_t partition, const checkpoint& at,
                                    const offset_range& range, const std::function<bool()>& cancelled) {
  const auto age = state_->now_ms() - at.as_of_ms;
  // Tombstones that the state has not seen may have been compacted away: what they deleted would live again. A checkpoint out of
  // the future is of a clock that was wrong, and of no known age.
  if (age < -milliseconds(restore_limits::clock_step_max).count() || age > store.tombstone_ms / 2) return false;
  if (at.next < range.first || at.next > range.end) return false;
  return reader_->can_be_the_same(store.changelog, partition, at.next, at.timestamp_max_ms, cancelled);
}

// The checkpoint on disk where it may be gone on from; else nothing is left there, and it is the changelog's beginning.
result<checkpoint> group_restorer::beginning(const store_of_group& store, std::int32_t partition, const offset_range& range,
                                             std::int64_t asked_ms, const std::function<bool()>& cancelled) {
  auto cluster = reader_->cluster_id();
  if (!cluster) return tl::unexpected<error>(std::move(cluster).error());
  auto found = state_->find_checkpoint(group_, store.name, partition);
  if (!found) return tl::unexpected<error>(std::move(found).error());
  if (*found && (*found)->cluster_id == *cluster) {
    const auto fits = usable(store, partition, **found, range, cancelled);
    if (!fits) return tl::unexpected<error>(fits.error());
    if (*fits) return std::move(**found);
  }
  SONDER_TRY(state_->wipe(group_, store.name, partition));
  if (*found) {
    const std::lock_guard lock(mutex_);
    ++counts_.rebuilt;
  }
  // Its checkpoints are as old as the reading: the tombstones that count are those written from now on.
  return checkpoint{range.first, 0, asked_ms, std::move(*cluster)};
}

status group_restorer::bring_store(const store_of_group& store, std::int32_t partition, std::uint64_t turn) {
  const auto asked_ms = state_->now_ms();
  const auto range = reader_->range(store.changelog, partition);
  if (!range) return tl::unexpected<error>(range.error());
  auto begins = beginning(store, partition, *range, asked_ms, [&] { return !wanted(partition, turn); });
  if (!begins) return tl::unexpected<error>(std::move(begins).error());
  checkpoint at = std::move(*begins);
  {
    const std::lock_guard lock(mutex_);
    const auto t = tasks_.find(partition);
    if (t == tasks_.end() || t->second.turn != turn) return fail(errc::cancelled, "not wanted any more");
    t->second.at = task::phase::state;
    t->second.from = t->second.reached = at.next;
    t->second.mark = range->end;
    t->second.trouble.clear();
  }
  auto loader = state_loader::for_task(*state_, group_, store.name, partition);
  if (!loader) return tl::unexpected<error>(std::move(loader).error());
  const auto from = at.next;
  one_store filling(*this, one_store::purpose::own, std::move(*loader), std::move(at), partition, turn, asked_ms);
  if (from >= range->end) return filling.finish(range->end);
  const auto end = reader_->read(store.changelog, partition, from, range->end, filling);
  if (!end) return tl::unexpected<error>(end.error());
  if (*end >= 0) return filling.finish(*end);
  // The log has moved on under the reading.
  SONDER_TRY(state_->wipe(group_, store.name, partition));
  return fail(errc::unavailable, "changelog \"" + store.changelog + "\", partition " + std::to_string(partition) +
                                     ": lost records while they were read; begins anew");
}

// ---- standby copies ----

// mutex_ is held.
bool group_restorer::all_ready() const {
  return std::all_of(tasks_.begin(), tasks_.end(), [](const auto& t) { return t.second.at == task::phase::ready; });
}

bool group_restorer::standby_wanted(std::int32_t partition, std::uint64_t turn) const {
  const std::lock_guard lock(mutex_);
  const auto found = standbys_.find(partition);
  return !stopping_ && found != standbys_.end() && found->second.turn == turn && all_ready();
}

// mutex_ is held. The one that has waited longest; none while a task of this process waits.
std::optional<std::int32_t> group_restorer::next_standby() {
  if (!all_ready()) return std::nullopt;
  const auto now = steady_clock::now();
  std::optional<std::int32_t> next;
  for (const auto& [partition, copy] : standbys_) {
    if (copy.not_before > now || running_.contains(partition)) continue;
    if (!next || copy.not_before < standbys_.at(*next).not_before) next = partition;
  }
  return next;
}

void group_restorer::keep_standbys() {
  // Of this thread alone, as Linux has it. Where it is refused, the copies compete with the worker's own tasks.
  (void)::setpriority(PRIO_PROCESS, 0, standby_niceness);
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const auto partition = next_standby();
    if (!partition) {
      changed_.wait_for(lock, restore_limits::standby_pause);
      continue;
    }
    const auto turn = standbys_.at(*partition).turn;
    running_.insert(*partition);
    lock.unlock();
    const auto outcome = bring_standby(*partition, turn);
    const bool closed = state_->closed();
    // What the copy took in vain is given back at once, so that its owner's next epoch finds the files open.
    if (closed) (void)state_->recover();
    lock.lock();
    running_.erase(*partition);
    standby_ended(*partition, turn, outcome, closed);
    // The task may have come here meanwhile.
    if (!waiting_.empty()) changed_.notify_all();
  }
}

// mutex_ is held. What fails is tried again with the next look: a copy that is missing costs a longer restore at worst.
void group_restorer::standby_ended(std::int32_t partition, std::uint64_t turn, const status& outcome, bool closed) {
  const auto found = standbys_.find(partition);
  if (found == standbys_.end() || found->second.turn != turn) return;
  auto& copy = found->second;
  const auto now = steady_clock::now();
  copy.not_before = now + restore_limits::standby_pause;
  if (closed) {
    // It would fill the disk again, and each time the worker's own epochs fail with it.
    copy.pause = std::min(2 * copy.pause, milliseconds(restore_limits::standby_pause_max));
    for (auto& [other, waits] : standbys_) waits.not_before = std::max(waits.not_before, now + copy.pause);
  } else if (outcome) {
    copy.pause = restore_limits::standby_pause;
  }
  if (!outcome && outcome.error().code == errc::cancelled) return;
  const std::string trouble = outcome ? std::string() : outcome.error().message;
  if (!trouble.empty() && trouble != copy.trouble && options_.on_line)
    options_.on_line(line_warning, "standby copy of task " + std::to_string(partition) + ": " + trouble);
  copy.trouble = trouble;
}

status group_restorer::bring_standby(std::int32_t partition, std::uint64_t turn) {
  SONDER_TRY(state_->recover());
  for (std::size_t which = 0; which < stores_.size(); ++which) SONDER_TRY(bring_standby_store(which, partition, turn));
  return {};
}

// A copy that is missing costs a longer restore; a full disk costs the worker its own tasks' epochs.
status group_restorer::check_room() const {
  if (state_->free_bytes() >= restore_limits::standby_free_bytes_min) return {};
  return fail(errc::unavailable, "the state folder's disk has less than " + grouped(restore_limits::standby_free_bytes_min >> 20) +
                                     " MiB left, which are kept for this worker's own tasks");
}

// From its checkpoint to the committed end, whatever is open past it: the next look takes that.
status group_restorer::bring_standby_store(std::size_t which, std::int32_t partition, std::uint64_t turn) {
  const auto& store = stores_[which];
  const auto asked_ms = state_->now_ms();
  const auto end = reader_->committed_end(store.changelog, partition);
  if (!end) return tl::unexpected<error>(end.error());
  const auto noted = [&](const checkpoint* reached) {
    const std::lock_guard lock(mutex_);
    const auto found = standbys_.find(partition);
    if (found == standbys_.end() || found->second.turn != turn) return standby::place{};
    auto& place = found->second.stores[which];
    place.end = *end;
    if (reached != nullptr) {
      place.next = reached->next;
      place.as_of_ms = reached->as_of_ms;
    }
    return place;
  };
  const auto place = noted(nullptr);
  const auto age = state_->now_ms() - place.as_of_ms;
  if (place.next == *end && age >= 0 && age < milliseconds(restore_limits::renew_interval).count()) return {};
  const auto range = reader_->range(store.changelog, partition);
  if (!range) return tl::unexpected<error>(range.error());
  auto begins = beginning(store, partition, *range, asked_ms, [&] { return !standby_wanted(partition, turn); });
  if (!begins) return tl::unexpected<error>(std::move(begins).error());
  auto loader = state_loader::for_task(*state_, group_, store.name, partition);
  if (!loader) return tl::unexpected<error>(std::move(loader).error());
  const auto from = begins->next;
  one_store filling(*this, one_store::purpose::standby, std::move(*loader), std::move(*begins), partition, turn,
                    asked_ms);
  auto reached = result<std::int64_t>(from);
  if (from < *end) SONDER_TRY(check_room());
  if (from < *end) reached = reader_->read(store.changelog, partition, from, from, filling);
  if (!reached) return tl::unexpected<error>(std::move(reached).error());
  if (*reached < 0) {
    SONDER_TRY(state_->wipe(group_, store.name, partition));
    return fail(errc::unavailable, "changelog \"" + store.changelog + "\": lost records while they were read; begins anew");
  }
  SONDER_TRY(filling.finish(*reached));
  noted(&filling.at());
  return {};
}

}  // namespace

result<std::unique_ptr<restorer>> restorer::over(const kafka_options& options, const group_request& request,
                                                 std::span<const topic_config> changelogs, client& member, local_state* state) {
  auto made = std::make_unique<group_restorer>(options, request, member, state);
  SONDER_TRY(made->prepare(request, changelogs));
  return std::unique_ptr<restorer>(std::move(made));
}

}  // namespace sonder::kafka
