#include "log/kafka/member.h"

#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include "log/kafka/client.h"
#include "log/kafka/group_change.h"
#include "log/kafka/group_look.h"
#include "log/kafka/placement.h"
#include "log/kafka/properties.h"
#include "log/kafka/topic_list.h"
#include "record/number_of.h"

namespace sonder::kafka {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds foreign_pause(200);
constexpr milliseconds look_pause(100);
constexpr milliseconds look_again_pause(500);
constexpr int line_warning = 4;  // syslog's
constexpr int line_notice = 6;
constexpr milliseconds late_topic_max(3'000);  // for which a broker may not know yet of a topic that was just made
constexpr milliseconds leave_max(8'000);  // librdkafka gives a coordinator five seconds to answer that a member leaves
constexpr int leave_step_ms = 50;

struct queue_deleter {
  void operator()(rd_kafka_queue_t* queue) const { rd_kafka_queue_destroy(queue); }
};
using queue_ptr = std::unique_ptr<rd_kafka_queue_t, queue_deleter>;
struct event_deleter {
  void operator()(rd_kafka_event_t* event) const { rd_kafka_event_destroy(event); }
};
using event_ptr = std::unique_ptr<rd_kafka_event_t, event_deleter>;
struct memory_deleter {
  void operator()(char* text) const { rd_kafka_mem_free(nullptr, text); }
};
struct topic_deleter {
  void operator()(rd_kafka_topic_t* topic) const { rd_kafka_topic_destroy(topic); }
};

std::string in_quotes(std::string_view name) {
  return "\"" + std::string(name) + "\"";
}

// ---- who else is in the group ----

// What a member of a consumer group says when it joins: version, then the names of its topics (KIP-35's guide to the
// protocol, "Consumer embedded protocol"). Nothing where the bytes are something else.
std::optional<std::set<std::string>> subscription(const void* from, int size) {
  const auto* at = static_cast<const std::uint8_t*>(from);
  const auto* end = at + std::max(0, size);
  const auto number = [&](std::size_t bytes) -> std::int64_t {
    if (at == nullptr || static_cast<std::size_t>(end - at) < bytes) return -1;
    std::int64_t value = 0;
    for (std::size_t i = 0; i < bytes; ++i) value = value << 8 | *at++;
    return value;
  };
  if (number(2) < 0) return std::nullopt;
  const auto count = number(4);
  if (count < 0) return std::nullopt;
  std::set<std::string> topics;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto bytes = number(2);
    if (bytes < 0 || end - at < bytes) return std::nullopt;
    topics.emplace(reinterpret_cast<const char*>(at), static_cast<std::size_t>(bytes));
    at += bytes;
  }
  return topics;
}

// Why a group cannot be ours; empty: it can.
std::string foreign(const rd_kafka_group_info& group, const std::set<std::string>& ours) {
  if (group.member_cnt == 0) return {};
  const std::string type = group.protocol_type == nullptr ? "" : group.protocol_type;
  if (!type.empty() && type != "consumer") return "its members speak protocol " + in_quotes(type);
  const std::string protocol = group.protocol == nullptr ? "" : group.protocol;
  if (!protocol.empty() && protocol != "range") return "its members share partitions by " + in_quotes(protocol) + ", not by \"range\"";
  for (int i = 0; i < group.member_cnt; ++i) {
    const auto& m = group.members[i];
    const auto theirs = subscription(m.member_metadata, m.member_metadata_size);
    if (!theirs || *theirs == ours) {  // none is told while the group rebalances
      if (is_worker(m.client_id == nullptr ? "" : m.client_id)) continue;
      return std::string("client ") + in_quotes(m.client_id == nullptr ? "" : m.client_id) + " of it is no worker of a flow";
    }
    std::string text = std::string("client ") + in_quotes(m.client_id) + " of it reads";
    for (const auto& topic : *theirs) text += " " + in_quotes(topic);
    return text;
  }
  return {};
}

// ---- the member ----

class kafka_member final : public member {
 public:
  kafka_member(const kafka_options& options, const group_request& request) : options_(options), request_(request) {}
  ~kafka_member() override;

  status join(std::span<const topic_config> changelogs, local_state* state);

  result<group_event> poll() override;
  status release() override;
  result<bool> ready(std::int32_t partition) override { return restorer_->ready(partition); }
  status restart() override;
  std::string waits_for() const override;
  group_metadata metadata() const override {
    const std::lock_guard lock(metadata_mutex_);
    return metadata_;
  }
  restore_counts restored() const override { return restorer_->counts(); }
  group_counts seen() const override;
  status check_place() const override;
  status commit_offsets(std::span<const consumed_offset> offsets, std::string_view note) override;

 private:
  enum class standing { joining, holding, leaving };

  [[nodiscard]] status check_topics();
  [[nodiscard]] status check_group();
  [[nodiscard]] status subscribe();
  [[nodiscard]] result<group_event> take(rd_kafka_event_t* event);
  [[nodiscard]] result<group_event> take_assigned(const rd_kafka_topic_partition_list_t* partitions);
  [[nodiscard]] result<group_event> take_revoked();
  [[nodiscard]] status take_error(rd_kafka_event_t* event);
  [[nodiscard]] std::string without(const rd_kafka_topic_partition_list_t* partitions) const;
  [[nodiscard]] result<std::vector<std::int32_t>> tasks_of(const rd_kafka_topic_partition_list_t* partitions) const;
  [[nodiscard]] group_event lose(std::string why);
  [[nodiscard]] std::string own_id() const;
  [[nodiscard]] std::string place() const { return "group " + in_quotes(request_.group); }
  [[nodiscard]] bool thrown_out();
  [[nodiscard]] group_metadata current_metadata();
  void look_around();
  void tell_change(std::span<const member_view> members, std::string_view own);
  void tell_strangers(std::span<const member_view> members);
  [[nodiscard]] bool place_standbys(std::span<const member_view> members, std::string_view own);
  void count_reason(log_figures::rebalance_reason why) noexcept {
    reasons_[static_cast<std::size_t>(why)].fetch_add(1, std::memory_order_relaxed);
  }
  void say(int level, const std::string& text) const {
    if (options_.on_line) options_.on_line(level, place() + ": " + text);
  }
  void assign(const rd_kafka_topic_partition_list_t* partitions);
  void set_metadata(group_metadata to) {
    const std::lock_guard lock(metadata_mutex_);
    metadata_ = std::move(to);
  }

  const kafka_options& options_;
  const group_request request_;
  std::unique_ptr<client> client_;
  queue_ptr events_;
  std::unique_ptr<restorer> restorer_;
  std::unique_ptr<group_look> look_;
  bool told_change_ = true;  // what made the group be assigned as it is now
  bool placed_ = true;       // the copies of this assignment are known, or none are wanted
  steady_clock::time_point look_at_{};
  std::uint64_t assignments_ = 0;
  std::vector<member_view> members_;  // as last told; empty: never
  std::array<std::atomic<std::uint64_t>, static_cast<std::size_t>(log_figures::rebalance_reason::count)> reasons_{};
  std::atomic<std::int64_t> strangers_{0};
  standing standing_ = standing::joining;
  bool told_lost_ = false;
  std::string metadata_text_;  // of the assignment that is held
  steady_clock::time_point look_again_{};
  std::vector<std::int32_t> tasks_;
  std::string trouble_;  // what librdkafka reported last
  std::optional<error> ended_;
  mutable std::mutex metadata_mutex_;
  group_metadata metadata_;  // guarded by metadata_mutex_
};

// librdkafka's note of a membership as it writes it for other processes; empty where it cannot.
std::string text_of(const rd_kafka_consumer_group_metadata_t* metadata) {
  void* written = nullptr;
  std::size_t size = 0;
  if (metadata == nullptr) return {};
  if (auto* failed = rd_kafka_consumer_group_metadata_write(metadata, &written, &size)) {
    rd_kafka_error_destroy(failed);
    return {};
  }
  std::string text(static_cast<const char*>(written), size);
  rd_kafka_mem_free(nullptr, written);
  return text;
}

// A magic, the generation, then names. -1: lost before anybody looked at it; 0: not told.
std::int32_t generation_in(std::string_view text) {
  constexpr std::string_view magic = "CGMDv2:";
  std::int32_t generation = 0;
  if (text.starts_with(magic) && text.size() >= magic.size() + sizeof generation)
    std::memcpy(&generation, text.data() + magic.size(), sizeof generation);
  return generation;
}

kafka_member::~kafka_member() {
  set_metadata(nullptr);
  restorer_.reset();
  look_.reset();
  if (!client_) return;
  // Rebalance events want an answer until the group is left: one that was told and is not answered yet, and those to come.
  if (standing_ == standing::leaving) assign(nullptr);
  queue_ptr closing(rd_kafka_queue_new(client_->get()));
  if (auto* failed = rd_kafka_consumer_close_queue(client_->get(), closing.get())) {
    rd_kafka_error_destroy(failed);
  } else {
    const auto until = steady_clock::now() + leave_max;
    while (rd_kafka_consumer_closed(client_->get()) == 0 && steady_clock::now() < until) {
      const event_ptr event(rd_kafka_queue_poll(closing.get(), leave_step_ms));
      if (event && rd_kafka_event_type(event.get()) == RD_KAFKA_EVENT_REBALANCE) assign(nullptr);
    }
    // Its destructor would close once more, and wait for an answer that goes to `closing`.
    if (rd_kafka_consumer_closed(client_->get()) == 0) client_->leave_unsaid();
  }
  closing.reset();
  events_.reset();
}

status kafka_member::join(std::span<const topic_config> changelogs, local_state* state) {
  client::wiring wired;
  wired.role = client_role::member;
  wired.group = request_.group;
  wired.prepare = [](rd_kafka_conf_t* conf) { rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_REBALANCE | RD_KAFKA_EVENT_ERROR); };
  auto made = client::make(options_, wired);
  if (!made) return tl::unexpected<error>(std::move(made).error());
  client_ = std::move(*made);
  rd_kafka_poll_set_consumer(client_->get());
  events_.reset(rd_kafka_queue_get_consumer(client_->get()));
  SONDER_TRY(client_->connect(options_.request_timeout));
  SONDER_TRY(check_topics());
  SONDER_TRY(check_group());
  auto restorer = restorer::over(options_, request_, changelogs, *client_, state);
  if (!restorer) return tl::unexpected<error>(std::move(restorer).error());
  restorer_ = std::move(*restorer);
  look_ = std::make_unique<group_look>(*client_, request_.group, request_.topics.front());
  return subscribe();
}

status kafka_member::check_topics() {
  for (const auto& name : request_.topics) {
    const std::unique_ptr<rd_kafka_topic_t, topic_deleter> topic(rd_kafka_topic_new(client_->get(), name.c_str(), nullptr));
    const auto until = steady_clock::now() + late_topic_max;
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
    std::int32_t partitions = 0;
    for (;;) {
      const rd_kafka_metadata_t* found = nullptr;
      code = rd_kafka_metadata(client_->get(), 0, topic.get(), &found, static_cast<int>(options_.request_timeout.count()));
      if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        code = found->topic_cnt == 1 ? found->topics[0].err : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR) partitions = found->topics[0].partition_cnt;
        rd_kafka_metadata_destroy(found);
      }
      const bool late = code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART || code == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
      if (!late || steady_clock::now() > until) break;
      std::this_thread::sleep_for(foreign_pause);
    }
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) return client_->fail(code, "topic " + in_quotes(name));
    if (partitions == request_.partitions) continue;
    return fail(errc::invalid, "topic " + in_quotes(name) + " has " + number_of(partitions, "partition") + ", " + place() + " has " +
                                   number_of(request_.partitions, "task") +
                                   ": each is one partition of every source; recreate the topic with as many, or add `rekey:`");
  }
  return {};
}

status kafka_member::check_group() {
  const std::set<std::string> ours(request_.topics.begin(), request_.topics.end());
  // Members that have died stay in their group for a session.
  const auto until = steady_clock::now() + options_.session_timeout + options_.session_timeout / 2;
  for (;;) {
    const rd_kafka_group_list* list = nullptr;
    const auto code = rd_kafka_list_groups(client_->get(), request_.group.c_str(), &list, static_cast<int>(options_.request_timeout.count()));
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR && code != RD_KAFKA_RESP_ERR__PARTIAL)
      return client_->fail(code, place() + ": cannot learn who is in it");
    std::string why;
    rd_kafka_resp_err_t refused = RD_KAFKA_RESP_ERR_NO_ERROR;
    for (int i = 0; i < list->group_cnt; ++i) {
      if (request_.group != list->groups[i].group) continue;
      if (list->groups[i].err == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED) refused = list->groups[i].err;
      if (why.empty()) why = foreign(list->groups[i], ours);
    }
    rd_kafka_group_list_destroy(list);
    if (refused != RD_KAFKA_RESP_ERR_NO_ERROR) return client_->fail(refused, place());
    if (why.empty()) return {};
    if (steady_clock::now() > until)
      return fail(errc::exists, place() + " is another application's: " + why + "; stop that application, or rename the flow");
    if (request_.stop != nullptr && request_.stop->load(std::memory_order_relaxed) > 0)
      return fail(errc::cancelled, "asked to stop while " + place() + " was another application's: " + why);
    std::this_thread::sleep_for(foreign_pause);
  }
}

status kafka_member::subscribe() {
  topic_list_ptr topics(rd_kafka_topic_partition_list_new(static_cast<int>(request_.topics.size())));
  for (const auto& topic : request_.topics) rd_kafka_topic_partition_list_add(topics.get(), topic.c_str(), RD_KAFKA_PARTITION_UA);
  const auto code = rd_kafka_subscribe(client_->get(), topics.get());
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR) return client_->fail(code, place() + ": cannot join");
  return {};
}

void kafka_member::assign(const rd_kafka_topic_partition_list_t* partitions) {
  // It fails only where the handle is closing or has a fatal error, and that comes as an event of its own.
  (void)rd_kafka_assign(client_->get(), partitions);
}

result<group_event> kafka_member::poll() {
  if (ended_) return tl::unexpected<error>(*ended_);
  for (;;) {
    const event_ptr event(rd_kafka_queue_poll(events_.get(), 0));
    if (!event) break;
    auto outcome = take(event.get());
    if (!outcome) ended_ = outcome.error();
    if (!outcome || outcome->what != group_event::kind::none) return outcome;
  }
  if (standing_ == standing::leaving && !told_lost_ && thrown_out()) return lose("the group did not wait for this worker's revocation");
  if (standing_ == standing::holding && !(told_change_ && placed_)) look_around();
  return group_event{};
}

// Who has which tasks is known to the whole group once each assignment; every change of it comes with another one.
void kafka_member::look_around() {
  const auto now = steady_clock::now();
  if (!look_->asking()) {
    if (now >= look_at_) look_->ask();
    return;
  }
  const auto told = look_->answer();
  if (!told) return;
  look_at_ = now + look_again_pause;
  if (!*told) return;
  const auto own = own_id();
  const auto& members = **told;
  const auto mine = std::find_if(members.begin(), members.end(), [&](const member_view& m) { return m.id == own; });
  if (mine == members.end() || mine->tasks != tasks_) return;  // of another assignment than this one
  if (!told_change_) {
    tell_change(members, own);
    tell_strangers(members);
    members_ = members;
    told_change_ = true;
  }
  if (!placed_) placed_ = place_standbys(members, own);
}

void kafka_member::tell_change(std::span<const member_view> members, std::string_view own) {
  if (assignments_ == 1) return count_reason(log_figures::rebalance_reason::started);
  const auto change = change_between(members_, members, own);
  count_reason(change.reason);
  say(line_notice, "was assigned anew: " + change.text);
}

// A plain consumer that subscribes to the same topics in the same way is given its share of the tasks, and nobody is told.
void kafka_member::tell_strangers(std::span<const member_view> members) {
  const auto strangers = strangers_of(members);
  strangers_.store(static_cast<std::int64_t>(strangers.size()), std::memory_order_relaxed);
  for (const auto& one : strangers) {
    say(line_warning, "client " + in_quotes(one.client) + " is in it and no worker of a flow; it has been given " +
                          std::to_string(one.tasks.size()) + " of " + number_of(request_.partitions, "task") +
                          ", which nobody processes now: stop it, or give it a group of its own");
  }
}

bool kafka_member::place_standbys(std::span<const member_view> members, std::string_view own) {
  const auto copies = standby_tasks(members, own, request_.partitions, options_.standby_replicas);
  if (!copies) return false;
  restorer_->follow(*copies);
  say(line_notice, "keeps standby copies of " + number_of(copies->size(), "task") + " of " + number_of(members.size() - 1, "other worker"));
  return true;
}

group_counts kafka_member::seen() const {
  group_counts now;
  for (std::size_t i = 0; i < reasons_.size(); ++i) now.reasons[i] = reasons_[i].load(std::memory_order_relaxed);
  now.strangers = strangers_.load(std::memory_order_relaxed);
  return now;
}

// The group's name for this process; empty: it has none now.
std::string kafka_member::own_id() const {
  const std::unique_ptr<char, memory_deleter> own(rd_kafka_memberid(client_->get()));
  return own == nullptr ? std::string() : std::string(own.get());
}

// All of a stable group have joined its newest generation: two of one name are two processes that work. Otherwise one may be what is
// left of this instance's predecessor.
status kafka_member::check_place() const {
  if (options_.instance.empty()) return {};  // nobody else has a name of this process's own
  const auto seen = look_at_group(*client_, request_.group, request_.topics.front(), group_look::answer_max);
  if (!seen) return tl::unexpected<error>(seen.error());
  const auto own = own_id();
  const auto client = client_id(options_, client_role::member);
  bool there = false, another = false;
  for (const auto& one : seen->members) {
    if (one.id == own) there = true;
    else if (one.client == client) another = true;
  }
  if (!there) return fail(errc::unavailable, place() + " went on without this worker");
  if (!another) return {};
  if (!seen->stable) return fail(errc::unavailable, place() + " has two members of instance " + in_quotes(options_.instance) + " for now");
  return fail(errc::fenced, place() + ": another worker of instance " + in_quotes(options_.instance) +
                                " has joined it; this one ends. Each worker needs a `log.instance` of its own");
}

// Between a revocation and its release librdkafka keeps silent about a loss: only its note of the membership changes.
bool kafka_member::thrown_out() {
  const auto now = steady_clock::now();
  if (now < look_again_) return false;
  look_again_ = now + look_pause;
  return text_of(current_metadata().get()) != metadata_text_;
}

group_metadata kafka_member::current_metadata() {
  return {rd_kafka_consumer_group_metadata(client_->get()), [](const rd_kafka_consumer_group_metadata_t* m) {
            if (m != nullptr) rd_kafka_consumer_group_metadata_destroy(const_cast<rd_kafka_consumer_group_metadata_t*>(m));
          }};
}

result<group_event> kafka_member::take(rd_kafka_event_t* event) {
  switch (rd_kafka_event_type(event)) {
    case RD_KAFKA_EVENT_REBALANCE:
      if (rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS)
        return take_assigned(rd_kafka_event_topic_partition_list(event));
      return take_revoked();
    case RD_KAFKA_EVENT_ERROR: {
      SONDER_TRY(take_error(event));
      return group_event{};
    }
    default:
      return group_event{};
  }
}

result<group_event> kafka_member::take_assigned(const rd_kafka_topic_partition_list_t* partitions) {
  const topic_list_ptr nothing_to_fetch(rd_kafka_topic_partition_list_new(0));
  auto captured = current_metadata();
  auto text = text_of(captured.get());
  const auto generation = captured == nullptr ? -1 : generation_in(text);
  assign(nothing_to_fetch.get());
  if (generation < 0) return group_event{};  // lost already; a revocation follows
  if (auto missing = without(partitions); !missing.empty()) {
    // The group is assigned anew as soon as its leader knows the topic.
    trouble_ = "the group's leader does not know topic " + in_quotes(missing) + " yet";
    return group_event{};
  }
  auto tasks = tasks_of(partitions);
  if (!tasks) return tl::unexpected<error>(std::move(tasks).error());
  group_event event;
  event.what = group_event::kind::assigned;
  event.partitions = *tasks;
  event.why = (generation > 0 ? "generation " + std::to_string(generation) + ": " : std::string()) + std::to_string(tasks->size()) +
              " of " + number_of(request_.partitions, "task");
  tasks_ = std::move(*tasks);
  standing_ = standing::holding;
  told_lost_ = false;
  trouble_.clear();
  metadata_text_ = std::move(text);
  set_metadata(std::move(captured));
  restorer_->begin(tasks_);
  // Before anybody had told what made the group change, it has changed again.
  if (!told_change_) count_reason(log_figures::rebalance_reason::unknown);
  ++assignments_;
  told_change_ = false;
  placed_ = options_.standby_replicas == 0 || request_.stores.empty();
  look_at_ = {};
  look_->forget();
  return event;
}

// A topic that an assignment lacks although it has partitions of others; empty: it has all of them, or none.
std::string kafka_member::without(const rd_kafka_topic_partition_list_t* partitions) const {
  if (partitions->cnt == 0) return {};
  std::set<std::string_view> given;
  for (int i = 0; i < partitions->cnt; ++i) given.insert(partitions->elems[i].topic);
  for (const auto& topic : request_.topics) {
    if (!given.contains(topic)) return topic;
  }
  return {};
}

result<std::vector<std::int32_t>> kafka_member::tasks_of(const rd_kafka_topic_partition_list_t* partitions) const {
  std::map<std::string, std::set<std::int32_t>> owned;
  for (const auto& topic : request_.topics) owned[topic];
  for (int i = 0; i < partitions->cnt; ++i) {
    const auto& p = partitions->elems[i];
    if (p.partition >= request_.partitions) {
      return fail(errc::invalid, "topic " + in_quotes(p.topic) + " has more than " + number_of(request_.partitions, "partition") +
                                     " now: keys have moved to other partitions than their state; stop the workers and "
                                     "move the flow to new topics, or rename it to start with empty state");
    }
    owned[p.topic].insert(p.partition);
  }
  const auto& first = owned.begin()->second;
  for (const auto& [topic, theirs] : owned) {
    if (theirs == first) continue;
    return fail(errc::invalid, place() + ": topics " + in_quotes(owned.begin()->first) + " and " + in_quotes(topic) +
                                   " were not given out alike: do all its members run the same flow, and have all its topics " +
                                   std::to_string(request_.partitions) + " partitions?");
  }
  return std::vector<std::int32_t>(first.begin(), first.end());
}

result<group_event> kafka_member::take_revoked() {
  if (standing_ != standing::holding) {
    assign(nullptr);
    return group_event{};
  }
  if (rd_kafka_assignment_lost(client_->get()) != 0) return lose(trouble_.empty() ? "the group went on without this worker" : trouble_);
  standing_ = standing::leaving;
  group_event event;
  event.what = group_event::kind::revoked;
  event.partitions = tasks_;
  event.why = "the group is assigned anew; what made it so is told after that";
  return event;
}

group_event kafka_member::lose(std::string why) {
  set_metadata(nullptr);
  standing_ = standing::leaving;
  told_lost_ = true;
  group_event event;
  event.what = group_event::kind::lost;
  event.partitions = tasks_;
  event.why = std::move(why);
  return event;
}

status kafka_member::take_error(rd_kafka_event_t* event) {
  const auto code = rd_kafka_event_error(event);
  const std::string text = rd_kafka_event_error_string(event);
  if (code == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID) {
    return fail(errc::fenced, place() + ": another worker has joined as instance " + in_quotes(options_.instance) +
                                  "; this one ends. Each worker needs a `log.instance` of its own");
  }
  switch (code) {
    case RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL:
      return fail(errc::exists, place() + " is another application's: it has members of another protocol; stop that application, or "
                                          "rename the flow");
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT:
    case RD_KAFKA_RESP_ERR_GROUP_MAX_SIZE_REACHED:
    case RD_KAFKA_RESP_ERR_INVALID_GROUP_ID:
      return client_->fail(code, place(), text);
    default:
      break;
  }
  if (rd_kafka_event_error_is_fatal(event) != 0) return client_->fail(code, place() + ": the client cannot go on", text);
  trouble_ = text;
  return {};
}

status kafka_member::release() {
  set_metadata(nullptr);
  restorer_->drop();
  tasks_.clear();
  standing_ = standing::joining;
  told_lost_ = false;
  assign(nullptr);
  return {};
}

status kafka_member::restart() {
  if (ended_) return tl::unexpected<error>(*ended_);
  restorer_->begin(tasks_);
  return {};
}

status kafka_member::commit_offsets(std::span<const consumed_offset> offsets, std::string_view note) {
  if (metadata() == nullptr) return fail(errc::unavailable, place() + " has taken this worker's tasks away");
  return client_->commit_offsets(offsets, options_.request_timeout, place() + ": cannot commit offsets", note);
}

std::string kafka_member::waits_for() const {
  if (standing_ == standing::joining) return "the group's assignment" + (trouble_.empty() ? std::string() : " (" + trouble_ + ")");
  return restorer_->waits_for();
}

}  // namespace

result<std::unique_ptr<member>> join_group(const kafka_options& options, const group_request& request,
                                           std::span<const topic_config> changelogs, local_state* state) {
  if (request.topics.empty() || request.partitions < 1)
    return fail(errc::internal, "group " + in_quotes(request.group) + ": joined without topics or partitions");
  auto made = std::make_unique<kafka_member>(options, request);
  SONDER_TRY(made->join(changelogs, state));
  return std::unique_ptr<member>(std::move(made));
}

}  // namespace sonder::kafka
