#include "log/kafka/properties.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace sonder::kafka {
namespace {

using namespace std::string_view_literals;

// Ours alone: another value would break what the log promises, or is said elsewhere.
constexpr std::array refused{
    refusal{"bootstrap.servers", "set log.bootstrap"},
    refusal{"metadata.broker.list", "set log.bootstrap"},
    refusal{"group.id", "it is the name of the flow"},
    refusal{"group.instance.id", "set log.instance and log.static_membership"},
    refusal{"group.protocol.type", "it is fixed"},
    refusal{"transactional.id", "it is made of the flow's name and log.instance"},
    refusal{"transaction.timeout.ms", "set log.transaction_timeout"},
    refusal{"session.timeout.ms", "set log.session_timeout"},
    refusal{"max.poll.interval.ms", "set log.max_poll_interval"},
    refusal{"enable.auto.commit", "offsets are committed with their epoch, by nothing else"},
    refusal{"auto.commit.enable", "offsets are committed with their epoch, by nothing else"},
    refusal{"auto.commit.interval.ms", "offsets are committed with their epoch, by nothing else"},
    refusal{"enable.auto.offset.store", "offsets are committed with their epoch, by nothing else"},
    refusal{"offset.store.method", "offsets are kept in the group"},
    refusal{"offset.store.path", "offsets are kept in the group"},
    refusal{"isolation.level", "records of aborted epochs must stay hidden: it is read_committed"},
    refusal{"auto.offset.reset", "a jump over unread records must be seen, not made"},
    refusal{"enable.partition.eof", "the end of a partition is found by it"},
    refusal{"enable.idempotence", "without it a retry can write a record twice or out of order"},
    refusal{"enable.gapless.guarantee", "it makes errors fatal that an aborted epoch mends"},
    refusal{"acks", "a record counts when all in-sync replicas have it"},
    refusal{"request.required.acks", "a record counts when all in-sync replicas have it"},
    refusal{"retries", "an epoch retries within its own bound"},
    refusal{"message.send.max.retries", "an epoch retries within its own bound"},
    refusal{"max.in.flight", "more than 5 break the order of retries"},
    refusal{"max.in.flight.requests.per.connection", "more than 5 break the order of retries"},
    refusal{"queuing.strategy", "lifo breaks the order of records"},
    refusal{"message.timeout.ms", "it follows from log.transaction_timeout"},
    refusal{"delivery.timeout.ms", "it follows from log.transaction_timeout"},
    refusal{"delivery.report.only.error", "every record's fate must be known"},
    refusal{"produce.offset.report", "offsets of changelog records are kept with the state"},
    refusal{"partition.assignment.strategy",
            "tasks need the same partition of every source, which only range gives"},
    refusal{"partitioner", "it is Java's, by which keys meet their tables"},
    refusal{"check.crcs", "bytes that changed on the way must be seen"},
    refusal{"allow.auto.create.topics",
            "topics are made with the flow's configuration or not at all"},
    refusal{"queued.max.messages.kbytes",
            "a worker's memory is reckoned with 2 MiB a partition; fetch.message.max.bytes says how "
            "much one answer may bring"},
    refusal{"plugin.library.paths", "it would run code that nobody has checked"},
    refusal{"log.queue", "lines are taken as they come"},
    refusal{"statistics.interval.ms", "its JSON is read by nobody"},
    refusal{"enable.ssl.certificate.verification",
            "whoever stands between could read and write everything; set ssl.ca.location", "true"},
    refusal{"ssl.endpoint.identification.algorithm",
            "whoever has any certificate of that authority could stand between, and read and write "
            "everything; give each broker "
            "one with its host's name",
            "https"},
    refusal{"enable.sasl.oauthbearer.unsecure.jwt",
            "anybody can make a token that nobody has signed", "false"},
    refusal{"test.mock.num.brokers",
            "brokers in this process would take what is written, and lose it with the process"},
    refusal{"test.mock.broker.rtt", "it is of brokers in this process"},
    refusal{"ut_handle_ProduceResponse",
            "it is an address in librdkafka's own tests, and would be called"},
    refusal{"topic.blacklist",
            "a topic of the flow that it names would never be read, without a line"},
    refusal{"api.version.request",
            "without asking, librdkafka takes brokers for 0.10.0, which have no transactions",
            "true"},
    refusal{"api.version.fallback.ms",
            "librdkafka would take brokers for older than they are, which have no transactions",
            "0"},
    refusal{"broker.version.fallback", "brokers are asked for what they can do"},
    refusal{"enabled_events",
            "every record's fate must be known, and each kind of client takes events of its own"},
    refusal{"enable_sasl_queue", "nobody takes what comes to that queue"},
    refusal{"internal.termination.signal", "signals are the host's"},
};

constexpr std::array consumer_only{
    "auto.offset.reset"sv,
    "check.crcs"sv,
    "coordinator.query.interval.ms"sv,
    "enable.auto.commit"sv,
    "enable.auto.offset.store"sv,
    "enable.partition.eof"sv,
    "fetch.error.backoff.ms"sv,
    "fetch.max.bytes"sv,
    "fetch.message.max.bytes"sv,
    "fetch.min.bytes"sv,
    "fetch.queue.backoff.ms"sv,
    "fetch.wait.max.ms"sv,
    "group.id"sv,
    "group.instance.id"sv,
    "heartbeat.interval.ms"sv,
    "isolation.level"sv,
    "max.partition.fetch.bytes"sv,
    "max.poll.interval.ms"sv,
    "partition.assignment.strategy"sv,
    "queued.max.messages.kbytes"sv,
    "queued.min.messages"sv,
    "session.timeout.ms"sv,
};

constexpr std::array producer_only{
    "acks"sv,
    "batch.num.messages"sv,
    "batch.size"sv,
    "compression.codec"sv,
    "compression.level"sv,
    "compression.type"sv,
    "enable.idempotence"sv,
    "linger.ms"sv,
    "message.timeout.ms"sv,
    "queue.buffering.backpressure.threshold"sv,
    "queue.buffering.max.kbytes"sv,
    "queue.buffering.max.messages"sv,
    "queue.buffering.max.ms"sv,
    "request.timeout.ms"sv,
    "retry.backoff.max.ms"sv,
    "retry.backoff.ms"sv,
    "sticky.partitioning.linger.ms"sv,
    "transaction.timeout.ms"sv,
    "transactional.id"sv,
};

bool contains(const auto& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool produces(client_role role) {
  return role == client_role::transaction || role == client_role::producer;
}

std::string text(std::chrono::milliseconds of) {
  return std::to_string(of.count());
}
std::string text(std::int64_t of) {
  return std::to_string(of);
}

// librdkafka takes "topic.acks" for "acks"; its own names with that prefix come before.
std::string_view without_scope(std::string_view name) {
  constexpr auto scope = "topic."sv;
  if (!name.starts_with(scope) || name.starts_with("topic.metadata.") || name == "topic.blacklist")
    return name;
  return name.substr(scope.size());
}

status check(const std::map<std::string, std::string>& properties, std::string_view where) {
  for (const auto& [name, value] : properties) {
    const auto no = std::ranges::find(refused, without_scope(name), &refusal::name);
    if (no == refused.end() || (!no->harmless.empty() && value == no->harmless)) continue;
    return fail(errc::invalid,
                std::string(where) + "." + name + " cannot be " +
                    (no->harmless.empty() ? "set" : "anything but " + std::string(no->harmless)) +
                    ": " + std::string(no->reason));
  }
  return {};
}

void add_reader(std::vector<property>& to, const kafka_options& options) {
  to.push_back({"enable.partition.eof", "true"});
  to.push_back({"auto.offset.reset", "error"});
  to.push_back({"queued.max.messages.kbytes",
                text(std::max<std::int64_t>(
                    1, static_cast<std::int64_t>(options.prefetch_bytes_max >> 10)))});
}

void add_member(std::vector<property>& to, const kafka_options& options) {
  // By which workers of a group know one another.
  to.push_back({"client.id", client_id(options, client_role::member)});
  // Cooperative assignment loses assignments in librdkafka before 2.10 (#4059), and gives a task's
  // partitions to different members.
  to.push_back({"partition.assignment.strategy", "range"});
  to.push_back({"session.timeout.ms", text(options.session_timeout)});
  to.push_back({"max.poll.interval.ms", text(options.max_poll_interval)});
  if (options.static_membership) to.push_back({"group.instance.id", options.instance});
}

void add_producer(std::vector<property>& to, const kafka_options& options) {
  to.push_back({"enable.idempotence", "true"});
  to.push_back({"acks", "all"});
  to.push_back({"max.in.flight.requests.per.connection", "5"});
  // librdkafka before 2.3 ends a producer whose record timed out after it may have been written
  // (#4438): a record lives as long as its transaction may, never shorter.
  to.push_back({"message.timeout.ms", text(options.transaction_timeout)});
}

std::int64_t longest_record(const kafka_options& options) {
  const auto said = options.properties.find("message.max.bytes");
  return said == options.properties.end() ? topic_config{}.record_bytes_max
                                          : std::strtoll(said->second.c_str(), nullptr, 10);
}

}  // namespace

// Of a member it is what people see of the group.
std::string client_id(const kafka_options& options, client_role role) {
  const bool named = role == client_role::member && !options.instance.empty();
  return std::string(worker_client) + (named ? "-" + options.instance : std::string());
}

bool is_worker(std::string_view client) noexcept {
  return client.starts_with(worker_client) &&
         (client.size() == worker_client.size() || client[worker_client.size()] == '-');
}

status check_properties(const kafka_options& options) {
  if (options.bootstrap.empty()) {
    return fail(
        errc::invalid,
        "log.bootstrap is empty: name one broker at least, as host:port, or set SONDER_KAFKA");
  }
  if (options.static_membership && options.instance.empty()) {
    return fail(errc::invalid,
                "log.static_membership needs log.instance: a name that stays with this worker over "
                "restarts and that no other worker has");
  }
  SONDER_TRY(check(options.properties, "log.properties"));
  return check(options.secrets, "log.secrets");
}

std::span<const refusal> refused_properties() noexcept {
  return refused;
}

bool applies_to(std::string_view property, client_role role) noexcept {
  property = without_scope(property);
  return produces(role) ? !contains(consumer_only, property) : !contains(producer_only, property);
}

std::vector<property> properties_for(client_role role, const kafka_options& options,
                                     std::string_view group) {
  std::vector<property> all;
  const auto longest = longest_record(options);
  // What the user may change.
  all.push_back({"client.id", client_id(options, role)});
  all.push_back({"message.max.bytes", text(longest)});
  // A broker that comes back is found within half a second; with librdkafka's ten, offsets of a
  // transaction blocked for 12 to 19 s.
  all.push_back({"reconnect.backoff.ms", "50"});
  all.push_back({"reconnect.backoff.max.ms", "500"});
  all.push_back({"socket.nagle.disable", "true"});  // the default only since 2.10
  all.push_back({"socket.keepalive.enable", "true"});
  all.push_back({"socket.connection.setup.timeout.ms", "5000"});
  // After which a connection that answers nothing is given up; a transaction's own timeout sets
  // that of its producer.
  if (role != client_role::transaction) all.push_back({"socket.timeout.ms", "10000"});
  all.push_back({"topic.metadata.refresh.interval.ms", "30000"});
  all.push_back({"log.connection.close", "false"});
  if (produces(role)) {
    // An epoch is put at once, and in a transaction waits for its partitions to be added to that: by then it may go, while its
    // offsets are on their way.
    all.push_back({"linger.ms", "1"});
    all.push_back({"queue.buffering.max.messages", "500000"});
    all.push_back({"queue.buffering.max.kbytes", "524288"});
    // The broker answers before a transaction's markers are written, and refuses the next one's
    // offsets until they are: where they took longer than kafka_limits::markers_take, it waits for
    // this. Less would ask for a coordinator that moves three times in no time, after which
    // librdkafka 2.0.2 never ends the call (its issue 5456).
    all.push_back({"retry.backoff.ms", "50"});
  } else {
    // Starting a partition waits for the fetch that is under way.
    all.push_back({"fetch.wait.max.ms", "100"});
    all.push_back({"fetch.error.backoff.ms", "100"});
    // What one answer brings stays in memory until its last record has been taken, over all
    // partitions.
    all.push_back({"fetch.message.max.bytes", "524288"});
    // Each takes half a kilobyte beside its bytes.
    if (role == client_role::reader) all.push_back({"queued.min.messages", "20000"});
    // A member learns of a rebalance by its next heartbeat.
    if (role == client_role::member) all.push_back({"heartbeat.interval.ms", "500"});
  }
  for (const auto& [name, value] : options.properties) {
    if (applies_to(name, role)) all.push_back({name, value});
  }
  // What may not be otherwise.
  all.push_back({"bootstrap.servers", options.bootstrap});
  all.push_back({"allow.auto.create.topics", "false"});
  if (produces(role)) {
    add_producer(all, options);
    if (role == client_role::transaction) {
      all.push_back({"transaction.timeout.ms", text(options.transaction_timeout)});
    }
    return all;
  }
  all.push_back(
      {"isolation.level", role == client_role::watermark ? "read_uncommitted" : "read_committed"});
  all.push_back({"check.crcs", "true"});
  all.push_back({"enable.auto.commit", "false"});
  all.push_back({"enable.auto.offset.store", "false"});
  if (!group.empty()) all.push_back({"group.id", std::string(group)});
  if (role == client_role::reader) add_reader(all, options);
  if (role == client_role::member) add_member(all, options);
  return all;
}

}  // namespace sonder::kafka
