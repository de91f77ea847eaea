// The worker with faults of our choice in it: chaos_test.py must see them, or its oracle proves nothing. And with points of a commit
// at which it dies or stops.
//
// The objects are those of `sonder` itself. What is planted comes in between by the linker (--wrap, CMakeLists.txt): calls of
// librdkafka, and calls from one of our files into another, arrive here first. A signature that changes does not link here.
//
//   SONDER_PLANTED_FAULT   one of `faults` below; empty: none
//   SONDER_CHAOS_POINT     before|after:CALL:NTH:kill|stop, where CALL is init, begin, produce, send_offsets, flush, commit, abort or
//                          apply: the NTH time that the process comes there, it sends itself SIGKILL or SIGSTOP. Several: with commas

#include <librdkafka/rdkafka.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "log/kafka/local_state.h"
#include "log/kafka/member.h"
#include "state/store.h"

// What the linker calls functions of C++ (Itanium ABI): `this` comes as a first argument.
#define APPLIED \
  "_ZN6sonder5kafka11local_state7appliedESt17basic_string_viewIcSt11char_traitsIcEESt4spanIKNS_12state_changeELm18446744073709551615EES6_IKNS0_18changelog_positionELm18446744073709551615EE"
#define SEAL "_ZN6sonder11keyed_store4sealERSt6vectorINS_12state_changeESaIS2_EE"
#define JOIN_GROUP \
  "_ZN6sonder5kafka10join_groupERKNS_13kafka_optionsERKNS_13group_requestESt4spanIKNS_12topic_configELm18446744073709551615EEPNS0_11local_stateE"
#define LOADER_PUT "_ZN6sonder5kafka12state_loader3putESt4spanIKhLm18446744073709551615EES4_"

namespace sonder::kafka {
namespace {

// ---- what is asked for ----

constexpr std::array faults{
    "offset_high",       // offsets one too high
    "lost_overlay",      // changes of an epoch that reach neither changelog nor disk
    "stale_checkpoint",  // a checkpoint that says that the disk has what it has not
    "short_restore",     // records of a changelog that a restore leaves out
    "fenced_commit",     // a worker that has lost its tasks commits them as one who is in no group
    "dirty_read",        // records of aborted transactions are read
    // No fault of the worker's, and nothing may come of it:
    "refused_offsets",  // offsets sent by a member that the group does not know, so that the worker aborts
};

[[noreturn]] void refuse(const char* name, const char* value) {
  std::fprintf(stderr, "sonder_planted: %s=%s is not known\n", name, value);
  std::_Exit(2);
}

std::string_view chosen_fault() {
  const char* asked = std::getenv("SONDER_PLANTED_FAULT");
  if (asked == nullptr || *asked == 0) return {};
  for (const std::string_view known : faults) {
    if (known == asked) return known;
  }
  refuse("SONDER_PLANTED_FAULT", asked);
}

bool planted(std::string_view fault) {
  static const std::string_view chosen = chosen_fault();
  return chosen == fault;
}

/// Now and then, so that a fault has to be found among what is right.
bool this_time(int one_in) {
  static std::atomic<int> calls{0};
  return calls.fetch_add(1) % one_in == one_in - 1;
}

// ---- points of a commit ----

struct point {
  std::string when, call;
  int nth = 0;
  int signal = 0;
  std::atomic<int> passed{0};
};

/// Never moved: counted in from any thread.
std::deque<point> chosen_points() {
  std::deque<point> all;
  const char* asked = std::getenv("SONDER_CHAOS_POINT");
  std::istringstream each(asked == nullptr ? "" : asked);
  for (std::string one; std::getline(each, one, ',');) {
    auto& p = all.emplace_back();
    std::istringstream from(one);
    std::string nth, does;
    std::getline(from, p.when, ':');
    std::getline(from, p.call, ':');
    std::getline(from, nth, ':');
    std::getline(from, does);
    p.nth = std::atoi(nth.c_str());
    p.signal = does == "kill" ? SIGKILL : does == "stop" ? SIGSTOP : 0;
    if ((p.when != "before" && p.when != "after") || p.nth < 1 || p.signal == 0) refuse("SONDER_CHAOS_POINT", asked);
  }
  return all;
}

void pass(std::string_view when, std::string_view call) {
  static auto chosen = chosen_points();
  for (auto& p : chosen) {
    if (call == p.call && when == p.when && ++p.passed == p.nth) kill(getpid(), p.signal);
  }
}

/// The point before a call, and the point after it.
class passing {
 public:
  explicit passing(std::string_view call) : call_(call) { pass("before", call_); }
  ~passing() { pass("after", call_); }
  passing(const passing&) = delete;
  passing& operator=(const passing&) = delete;

 private:
  std::string_view call_;
};

// ---- a member that does not know when it has lost ----

struct group_deleter {
  void operator()(rd_kafka_consumer_group_metadata_t* of) const { rd_kafka_consumer_group_metadata_destroy(of); }
};

/// Of a group without generation or member: brokers take it from anybody.
group_metadata anybody(const std::string& group) {
  return {rd_kafka_consumer_group_metadata_new(group.c_str()),
          [](const rd_kafka_consumer_group_metadata_t* of) { group_deleter()(const_cast<rd_kafka_consumer_group_metadata_t*>(of)); }};
}

/// A member of the flow's group whom brokers do not know, and refuse.
rd_kafka_consumer_group_metadata_t* stranger() {
  const char* group = std::getenv("SONDER_CHAOS");
  return rd_kafka_consumer_group_metadata_new_with_genid(group == nullptr ? "" : group, 1, "stranger", nullptr);
}

class unfenced_member final : public member {
 public:
  unfenced_member(std::string group, std::unique_ptr<member> in) : group_(std::move(group)), in_(std::move(in)) {}
  result<group_event> poll() override {
    auto event = in_->poll();
    if (event && event->what == group_event::kind::lost) event->what = group_event::kind::revoked;
    return event;
  }
  group_metadata metadata() const override { return anybody(group_); }
  status release() override { return in_->release(); }
  result<bool> ready(std::int32_t partition) override { return in_->ready(partition); }
  status restart() override { return in_->restart(); }
  std::string waits_for() const override { return in_->waits_for(); }
  restore_counts restored() const override { return in_->restored(); }
  group_counts seen() const override { return in_->seen(); }
  status check_place() const override { return {}; }
  status commit_offsets(std::span<const consumed_offset> offsets, std::string_view note) override {
    return in_->commit_offsets(offsets, note);
  }

 private:
  const std::string group_;
  const std::unique_ptr<member> in_;
};

}  // namespace

// ---- our own functions ----

using changes_view = std::span<const state_change>;
using positions_view = std::span<const changelog_position>;

status real_applied(local_state*, std::string_view, changes_view, positions_view) asm("__real_" APPLIED);
status wrap_applied(local_state*, std::string_view, changes_view, positions_view) asm("__wrap_" APPLIED);
status wrap_applied(local_state* self, std::string_view group, changes_view changes, positions_view reached) {
  const passing here("apply");
  if (planted("stale_checkpoint") && this_time(3)) changes = {};
  return real_applied(self, group, changes, reached);
}

void real_seal(keyed_store*, std::vector<state_change>&) asm("__real_" SEAL);
void wrap_seal(keyed_store*, std::vector<state_change>&) asm("__wrap_" SEAL);
void wrap_seal(keyed_store* self, std::vector<state_change>& to) {
  const auto before = to.size();
  real_seal(self, to);
  if (planted("lost_overlay") && to.size() > before && this_time(3)) to.resize(before);
}

void real_loader_put(state_loader*, bytes_view, bytes_view) asm("__real_" LOADER_PUT);
void wrap_loader_put(state_loader*, bytes_view, bytes_view) asm("__wrap_" LOADER_PUT);
void wrap_loader_put(state_loader* self, bytes_view key, bytes_view value) {
  if (planted("short_restore") && this_time(3)) return;
  real_loader_put(self, key, value);
}

using topics_view = std::span<const topic_config>;
using joined = result<std::unique_ptr<member>>;

joined real_join(const kafka_options&, const group_request&, topics_view, local_state*) asm("__real_" JOIN_GROUP);
joined wrap_join(const kafka_options&, const group_request&, topics_view, local_state*) asm("__wrap_" JOIN_GROUP);
joined wrap_join(const kafka_options& options, const group_request& request, topics_view changelogs, local_state* state) {
  auto made = real_join(options, request, changelogs, state);
  if (!made || !planted("fenced_commit")) return made;
  return std::make_unique<unfenced_member>(request.group, std::move(*made));
}

// ---- librdkafka's ----

extern "C" {

rd_kafka_error_t* __real_rd_kafka_init_transactions(rd_kafka_t*, int);
rd_kafka_error_t* __wrap_rd_kafka_init_transactions(rd_kafka_t* on, int timeout_ms) {
  const passing here("init");
  return __real_rd_kafka_init_transactions(on, timeout_ms);
}

rd_kafka_error_t* __real_rd_kafka_begin_transaction(rd_kafka_t*);
rd_kafka_error_t* __wrap_rd_kafka_begin_transaction(rd_kafka_t* on) {
  const passing here("begin");
  return __real_rd_kafka_begin_transaction(on);
}

rd_kafka_error_t* __real_rd_kafka_produceva(rd_kafka_t*, const rd_kafka_vu_t*, size_t);
rd_kafka_error_t* __wrap_rd_kafka_produceva(rd_kafka_t* on, const rd_kafka_vu_t* fields, size_t count) {
  const passing here("produce");
  return __real_rd_kafka_produceva(on, fields, count);
}

rd_kafka_error_t* __real_rd_kafka_send_offsets_to_transaction(rd_kafka_t*, const rd_kafka_topic_partition_list_t*,
                                                             const rd_kafka_consumer_group_metadata_t*, int);
rd_kafka_error_t* __wrap_rd_kafka_send_offsets_to_transaction(rd_kafka_t* on, const rd_kafka_topic_partition_list_t* offsets,
                                                             const rd_kafka_consumer_group_metadata_t* member, int timeout_ms) {
  const passing here("send_offsets");
  if (planted("refused_offsets") && this_time(3)) {
    const std::unique_ptr<rd_kafka_consumer_group_metadata_t, group_deleter> nobody(stranger());
    return __real_rd_kafka_send_offsets_to_transaction(on, offsets, nobody.get(), timeout_ms);
  }
  if (!planted("offset_high") || !this_time(3)) {
    return __real_rd_kafka_send_offsets_to_transaction(on, offsets, member, timeout_ms);
  }
  auto* higher = rd_kafka_topic_partition_list_copy(offsets);
  for (int i = 0; i < higher->cnt; ++i) ++higher->elems[i].offset;
  auto* refused = __real_rd_kafka_send_offsets_to_transaction(on, higher, member, timeout_ms);
  rd_kafka_topic_partition_list_destroy(higher);
  return refused;
}

rd_kafka_resp_err_t __real_rd_kafka_flush(rd_kafka_t*, int);
rd_kafka_resp_err_t __wrap_rd_kafka_flush(rd_kafka_t* on, int timeout_ms) {
  const passing here("flush");
  return __real_rd_kafka_flush(on, timeout_ms);
}

rd_kafka_error_t* __real_rd_kafka_commit_transaction(rd_kafka_t*, int);
rd_kafka_error_t* __wrap_rd_kafka_commit_transaction(rd_kafka_t* on, int timeout_ms) {
  const passing here("commit");
  return __real_rd_kafka_commit_transaction(on, timeout_ms);
}

rd_kafka_error_t* __real_rd_kafka_abort_transaction(rd_kafka_t*, int);
rd_kafka_error_t* __wrap_rd_kafka_abort_transaction(rd_kafka_t* on, int timeout_ms) {
  const passing here("abort");
  return __real_rd_kafka_abort_transaction(on, timeout_ms);
}

rd_kafka_conf_res_t __real_rd_kafka_conf_set(rd_kafka_conf_t*, const char*, const char*, char*, size_t);
rd_kafka_conf_res_t __wrap_rd_kafka_conf_set(rd_kafka_conf_t* conf, const char* name, const char* value, char* why, size_t bytes) {
  const bool dirty = planted("dirty_read") && std::string_view(name) == "isolation.level";
  return __real_rd_kafka_conf_set(conf, name, dirty ? "read_uncommitted" : value, why, bytes);
}

}  // extern "C"

}  // namespace sonder::kafka
