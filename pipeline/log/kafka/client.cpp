#include "log/kafka/client.h"

#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

namespace sonder::kafka {
namespace {

constexpr int line_is_error = 3;    // syslog's LOG_ERR
constexpr int line_is_warning = 4;  // LOG_WARNING
constexpr std::size_t reason_bytes = 512;
constexpr std::chrono::milliseconds leaders_at_least(200);  // to be told of leaders, whatever a question before it took

rd_kafka_type_t type_of(client_role role) {
  return role == client_role::transaction || role == client_role::producer ? RD_KAFKA_PRODUCER
                                                                           : RD_KAFKA_CONSUMER;
}

struct conf_deleter {
  void operator()(rd_kafka_conf_t* conf) const { rd_kafka_conf_destroy(conf); }
};
using conf_ptr = std::unique_ptr<rd_kafka_conf_t, conf_deleter>;

// librdkafka names a property's value in what it says of it: of a secret nothing may be said.
status set(rd_kafka_conf_t* conf, const std::string& name, const std::string& value, bool secret) {
  std::array<char, reason_bytes> why{};
  if (rd_kafka_conf_set(conf, name.c_str(), value.c_str(), why.data(), why.size()) ==
      RD_KAFKA_CONF_OK) {
    return {};
  }
  return sonder::fail(
      errc::invalid,
      secret ? "log.secrets." + name + ": librdkafka refuses it (its value is not shown)"
             : "log.properties." + name + ": librdkafka refuses it: " + why.data());
}

// "[thrd:sasl_plaintext://h:1/bootstrap]: h:1/bootstrap: Connect failed" without the thread.
std::string_view without_thread(std::string_view text) {
  if (!text.starts_with("[thrd:")) return text;
  const auto end = text.find("]: ");
  return end == std::string_view::npos ? text : text.substr(end + 3);
}

bool says(std::string_view text, std::string_view what) {
  return text.find(what) != std::string_view::npos;
}

bool about_connections(int code) {
  return code == RD_KAFKA_RESP_ERR__TRANSPORT || code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN ||
         code == RD_KAFKA_RESP_ERR__TIMED_OUT || code == RD_KAFKA_RESP_ERR__WAIT_COORD ||
         code == RD_KAFKA_RESP_ERR__MSG_TIMED_OUT || code == RD_KAFKA_RESP_ERR__AUTHENTICATION ||
         code == RD_KAFKA_RESP_ERR__SSL || code == RD_KAFKA_RESP_ERR__RESOLVE;
}

// The partition's leader has moved, or is gone.
bool leader_may_be_another(int code) {
  switch (code) {
    case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
    case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH:
    case RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH:
    case RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR:
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
      return true;
    default:
      return false;
  }
}

std::string_view next_step(int code) {
  switch (code) {
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
      return "; let this user read, write and describe the topic and its configuration, and create "
             "it if it shall (kafka-acls)";
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
      return "; let this user read the group (kafka-acls)";
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
      return "; let this user write to its topics, or idempotently to the cluster, and create "
             "topics if it shall (kafka-acls)";
    case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
      return "; let this user write with the transactional id (kafka-acls), or set log.guarantee: "
             "at_least_once";
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
      return "; raise max.message.bytes of the topic, or lower batch.size (or raise "
             "message.max.bytes) in log.properties";
    case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
      return "; raise message.timestamp.after.max.ms of the topic";
    case RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT:
      return "; the broker's transaction.max.timeout.ms is less than log.transaction_timeout";
    case RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL:
      return "; another application uses this group, with another way of assigning partitions: "
             "rename the flow";
    default:
      return {};
  }
}

}  // namespace

bool says_refused(std::string_view line) noexcept {
  if (says(line, "SSL handshake failed")) {
    // OpenSSL 3 calls the end of a connection an error of its own. A listener without TLS may hang
    // up too.
    return !says(line, "SSL handshake failed: Disconnected") &&
           !says(line, "SSL transport error") && !says(line, "unexpected eof while reading");
  }
  if (says(line, "SASL authentication error")) {
    // Of an answer that never came, or was cut off; what a broker answers has no such words.
    return !says(line, "SaslAuthenticateRequest failed") &&
           !says(line, "SaslAuthenticateResponse parsing failed");
  }
  if (says(line, "mechanism handshake failed")) return says(line, "Unsupported SASL mechanism");
  if (says(line, "Failed to verify broker certificate")) return true;
  return says(line, "uthentication fail") && !says(line, "Disconnected");
}

void client_counts::add(counts& to, client_role of) noexcept {
  // One for one, in the same order.
  static_assert(static_cast<int>(client_role::producer) == static_cast<int>(log_figures::connection::producer));
  to[static_cast<std::size_t>(of)].fetch_add(1, std::memory_order_relaxed);
}

void client_counts::add_to(log_figures& figures) const noexcept {
  for (std::size_t i = 0; i < connections_.size(); ++i) {
    figures.connections_failed[i] += connections_[i].load(std::memory_order_relaxed);
    figures.client_errors[i] += errors_[i].load(std::memory_order_relaxed);
  }
}

errc classify(int code) noexcept {
  switch (code) {
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
      return errc::not_found;
    case RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS:
      return errc::exists;
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
      return errc::capacity;
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR__SSL:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT:
    case RD_KAFKA_RESP_ERR_INVALID_CONFIG:
    case RD_KAFKA_RESP_ERR_INVALID_PARTITIONS:
    case RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
    case RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL:
    case RD_KAFKA_RESP_ERR__INVALID_ARG:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
    case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
      return errc::invalid;
    case RD_KAFKA_RESP_ERR__BAD_MSG:
    case RD_KAFKA_RESP_ERR_INVALID_MSG:
    case RD_KAFKA_RESP_ERR__BAD_COMPRESSION:
      return errc::corrupt;
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION:
    case RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE:
    case RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED:
      return errc::unsupported;
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE:
    case RD_KAFKA_RESP_ERR__WAIT_COORD:
    case RD_KAFKA_RESP_ERR__RESOLVE:
    case RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION:
    case RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID:
    case RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS:
    case RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS:
    case RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS:
    case RD_KAFKA_RESP_ERR_NOT_COORDINATOR:
    case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
    case RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND:
    case RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR:
    case RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH:
    case RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH:
    case RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT:
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
      return errc::unavailable;
    default:
      return errc::io;
  }
}

result<std::unique_ptr<client>> client::make(const kafka_options& options, const wiring& wired) {
  SONDER_TRY(check_properties(options));
  std::unique_ptr<client> made(new client);
  made->bootstrap_ = options.bootstrap;
  made->owner_ = wired.owner;
  made->on_line_ = options.on_line;
  made->counts_ = options.counts;
  made->role_ = wired.role;
  conf_ptr conf(rd_kafka_conf_new());
  for (const auto& p : properties_for(wired.role, options, wired.group)) {
    SONDER_TRY(set(conf.get(), p.name, p.value, false));
  }
  for (const auto& [name, value] : options.secrets) {
    if (applies_to(name, wired.role)) SONDER_TRY(set(conf.get(), name, value, true));
  }
  if (wired.role == client_role::transaction) {
    SONDER_TRY(set(conf.get(), "transactional.id", wired.transactional_id, false));
  }
  rd_kafka_conf_set_opaque(conf.get(), made.get());
  rd_kafka_conf_set_log_cb(
      conf.get(), [](const rd_kafka_t* rk, int level, const char* facility, const char* text) {
        take_line(rk, level, facility, text);
      });
  if (wired.prepare != nullptr) wired.prepare(conf.get());
  std::array<char, reason_bytes> why{};
  made->instance_ = rd_kafka_new(type_of(wired.role), conf.get(), why.data(), why.size());
  if (made->instance_ == nullptr) {
    return sonder::fail(errc::invalid,
                        std::string("log: librdkafka refuses its configuration: ") + why.data());
  }
  conf.release();  // rd_kafka_new has taken it
  return made;
}

client::~client() {
  if (instance_ == nullptr) return;
  rd_kafka_destroy_flags(instance_, leave_unsaid_ ? RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE : 0);
}

void* client::owner_of(const rd_kafka_s* instance) noexcept {
  return static_cast<client*>(rd_kafka_opaque(instance))->owner_;
}

void client::take_line(const rd_kafka_s* instance, int level, const char* facility,
                       const char* text) {
  auto* self = instance == nullptr ? nullptr : static_cast<client*>(rd_kafka_opaque(instance));
  if (self == nullptr) return;
  const auto said = without_thread(text);
  // librdkafka's name for a connection that could not be made, or was lost.
  if (self->counts_ != nullptr && std::string_view(facility) == "FAIL") {
    self->counts_->connection_failed(self->role_);
  } else if (self->counts_ != nullptr && level <= line_is_warning) {
    self->counts_->complained(self->role_);
  }
  // "1/1 brokers are down" follows on what says why.
  if (level <= line_is_error && !says(said, "brokers are down")) {
    const std::lock_guard lock(self->complaint_mutex_);
    self->complaint_ = said;
    self->refused_ = self->refused_ || says_refused(said);
  }
  if (self->on_line_) {
    self->on_line_(level, std::string("kafka ") + facility + ": " + std::string(said));
  }
}

std::string client::last_complaint() const {
  const std::lock_guard lock(complaint_mutex_);
  return complaint_;
}

bool client::refused() const {
  const std::lock_guard lock(complaint_mutex_);
  return refused_;
}

status client::connect(std::chrono::milliseconds at_most) {
  constexpr std::chrono::milliseconds step(500);
  const auto until = std::chrono::steady_clock::now() + at_most;
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        until - std::chrono::steady_clock::now());
    const rd_kafka_metadata_t* found = nullptr;
    const auto code = rd_kafka_metadata(
        instance_, 0, nullptr, &found,
        static_cast<int>(std::clamp(left, std::chrono::milliseconds(1), step).count()));
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
      rd_kafka_metadata_destroy(found);
      return {};
    }
    if (refused()) {
      return sonder::fail(errc::invalid, "kafka " + bootstrap_ +
                                             " refuses this client: " + last_complaint() +
                                             "; check security.protocol, sasl.* and ssl.* in "
                                             "log.properties and log.secrets");
    }
    if (left <= step) return fail(code, "kafka " + bootstrap_ + ": no broker answers");
  }
}

rd_kafka_topic_partition_list_t* list_of(std::span<const consumed_offset> offsets,
                                         std::string_view note) {
  auto* list = rd_kafka_topic_partition_list_new(static_cast<int>(offsets.size()));
  for (const auto& offset : offsets) {
    auto* made = rd_kafka_topic_partition_list_add(list, std::string(offset.topic).c_str(),
                                                   offset.partition);
    made->offset = offset.next;
    if (note.empty()) continue;
    made->metadata = std::malloc(note.size());  // the list frees it
    if (made->metadata == nullptr) throw std::bad_alloc();
    std::memcpy(made->metadata, note.data(), note.size());
    made->metadata_size = note.size();
  }
  return list;
}

// Not by rd_kafka_commit, which waits for a coordinator for ever.
status client::commit_offsets(std::span<const consumed_offset> offsets,
                              std::chrono::milliseconds at_most, std::string_view doing,
                              std::string_view note) {
  if (offsets.empty()) return {};
  auto* list = list_of(offsets, note);
  auto* answers = rd_kafka_queue_new(instance_);
  auto code = rd_kafka_commit_queue(instance_, list, answers, nullptr, nullptr);
  rd_kafka_topic_partition_list_destroy(list);
  rd_kafka_event_t* answer = nullptr;
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
    answer = rd_kafka_queue_poll(answers, static_cast<int>(at_most.count()));
    code = answer == nullptr ? RD_KAFKA_RESP_ERR__TIMED_OUT : rd_kafka_event_error(answer);
  }
  if (answer != nullptr) {
    const auto* each = rd_kafka_event_topic_partition_list(answer);
    for (int i = 0; each != nullptr && i < each->cnt && code == RD_KAFKA_RESP_ERR_NO_ERROR; ++i)
      code = each->elems[i].err;
    rd_kafka_event_destroy(answer);
  }
  rd_kafka_queue_destroy(answers);
  const auto why = or_refused_group(code);
  if (why == RD_KAFKA_RESP_ERR_NO_ERROR) return {};
  return fail(why, doing);
}

int client::committed(rd_kafka_topic_partition_list_t* of, std::chrono::milliseconds at_most) {
  auto code = rd_kafka_committed(instance_, of, static_cast<int>(at_most.count()));
  for (int i = 0; i < of->cnt && code == RD_KAFKA_RESP_ERR_NO_ERROR; ++i) code = of->elems[i].err;
  return or_refused_group(code);
}

// librdkafka looks for the coordinator again and again, and who waits for it is told of a timeout.
// A broker that refuses to name it is a line in the queue that a consumer would poll, once.
int client::or_refused_group(int code) {
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR) group_refused_ = false;
  if (role_ != client_role::query ||
      (code != RD_KAFKA_RESP_ERR__TIMED_OUT && code != RD_KAFKA_RESP_ERR__WAIT_COORD))
    return code;
  auto* queue = rd_kafka_queue_get_consumer(instance_);
  while (auto* event = queue == nullptr ? nullptr : rd_kafka_queue_poll(queue, 0)) {
    if (rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED)
      group_refused_ = true;
    rd_kafka_event_destroy(event);
  }
  if (queue != nullptr) rd_kafka_queue_destroy(queue);
  return group_refused_ ? RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED : code;
}

int client::offsets_for_times(rd_kafka_topic_partition_list_t* times, std::chrono::milliseconds at_most) const {
  using std::chrono::steady_clock;
  const auto until = steady_clock::now() + at_most;
  auto code = rd_kafka_offsets_for_times(instance_, times, static_cast<int>(at_most.count()));
  for (int i = 0; i < times->cnt && code == RD_KAFKA_RESP_ERR_NO_ERROR; ++i) code = times->elems[i].err;
  if (leader_may_be_another(code)) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - steady_clock::now());
    ask_for_leaders(times, std::max(left, leaders_at_least));
  }
  return code;
}

// What is answered goes into the instance's cache, where the next question finds it.
void client::ask_for_leaders(const rd_kafka_topic_partition_list_t* of, std::chrono::milliseconds at_most) const {
  for (int i = 0; i < of->cnt; ++i) {
    if (i > 0 && std::strcmp(of->elems[i].topic, of->elems[i - 1].topic) == 0) continue;
    auto* topic = rd_kafka_topic_new(instance_, of->elems[i].topic, nullptr);
    if (topic == nullptr) continue;
    const rd_kafka_metadata_t* found = nullptr;
    if (rd_kafka_metadata(instance_, 0, topic, &found, static_cast<int>(at_most.count())) == RD_KAFKA_RESP_ERR_NO_ERROR)
      rd_kafka_metadata_destroy(found);
    rd_kafka_topic_destroy(topic);
  }
}

tl::unexpected<error> client::fail(int code, std::string_view doing,
                                   std::string_view detail) const {
  std::string text(doing);
  text += ": ";
  text += detail.empty()
              ? std::string_view(rd_kafka_err2str(static_cast<rd_kafka_resp_err_t>(code)))
              : detail;
  if (about_connections(code)) {
    if (const auto complaint = last_complaint(); !complaint.empty()) text += " (" + complaint + ")";
  }
  text += next_step(code);
  return sonder::fail(classify(code), std::move(text));
}

tl::unexpected<error> client::fail(rd_kafka_error_s* from, std::string_view doing) const {
  auto made = fail(rd_kafka_error_code(from), doing, rd_kafka_error_string(from));
  rd_kafka_error_destroy(from);
  return made;
}

}  // namespace sonder::kafka
