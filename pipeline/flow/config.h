#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "record/result.h"

namespace sonder {

// Bounds of a flow file, which is checked before anything of it is believed.
inline constexpr std::size_t flow_file_bytes_max = std::size_t{256} << 10;
inline constexpr int flow_file_depth_max = 24;
inline constexpr std::size_t flow_file_nodes_max = 20'000;  ///< aliases written out
inline constexpr std::size_t flow_purposes_max = 64;        ///< bits of the purpose mask
inline constexpr std::size_t topic_bytes_max = 249;         ///< of the name of a topic in the log: Kafka's
inline constexpr std::size_t diagnostics_max = 64;          ///< reported of one file

/// Where something stands in a configuration file; lines and columns count from 1. Line 0: the whole file, or `--set PATH`.
struct position {
  std::string file;
  int line = 0;
  int column = 0;
};

/// `file:line:column`.
[[nodiscard]] std::string to_string(const position& at);

/// One finding of a check, as compilers give them: place, what was expected, the nearest name.
struct diagnostic {
  enum class severity { warning, error };
  severity level = severity::error;
  position at;
  std::string message;
};

[[nodiscard]] std::string to_string(const diagnostic& d);

/// A table's rows belong to the tasks of their partitions, those of a global one to every task.
enum class topic_role { event, table, global };
[[nodiscard]] constexpr std::string_view name(topic_role role) noexcept {
  return role == topic_role::event ? "event" : role == topic_role::table ? "table" : "global";
}

/// What a flow says of one topic.
struct topic_options {
  position at;
  std::string name;             ///< within the flow
  std::string topic;            ///< in the log; the same unless given
  std::string schema;           ///< path of the .avsc, resolved against the configuration's folder
  std::string subject;          ///< field that holds the subject id; empty: not personal
  std::string event_time;       ///< field of a timestamp type; empty: the record timestamp
  std::vector<std::string> key; ///< fields that make the key; one string field: its raw UTF-8
  std::int32_t partitions = 8;
  topic_role role = topic_role::event;
  bool compact = false;
  bool feedback = false;
  bool rekey = false;           ///< not keyed by the subject: goes through an internal topic that is
  std::int64_t rekey_retention_ms = 7 * std::int64_t{86'400'000};  ///< of that topic, since its records were written
  bool rekey_skips_lost = false;  ///< where that topic has lost records that nobody had taken up, the flow goes on without them
  bool skips_lost = true;       ///< what retention takes before the flow has read it is passed over; else the worker ends
  std::int64_t memory_bytes_max = std::int64_t{256} << 20;  ///< of a global table in each process: keys, values and headers
  bool log_append_time = false;
  bool bare = false;            ///< record values without Confluent framing
  std::int64_t retention_ms = -1;
  std::int64_t retention_bytes = -1;
  std::vector<std::string> carries;  ///< data categories that the topic may hold
  std::string purpose;               ///< that its readers serve; of a sink: what its rows must be allowed for
  std::string recipient;             ///< of a sink: who reads it, where labels name recipients
  std::string key_label;      ///< JSON, as `parse_label` reads it; empty: what the fields of `key` say; about nobody without such
  std::string headers_label;  ///< the same; empty: counts as everything
  /// Field -> a purpose that its person must have agreed to as well: in the rows of those who have not, nobody is given it.
  std::map<std::string, std::string> withhold;
  std::map<std::string, position> where;  ///< option -> where its value stands
};

struct input_options {
  position at;
  std::string port;
  std::string from;  ///< a topic, or `stage.port`
  std::map<std::string, std::string> fields;  ///< what the plugin calls it -> what the flow calls it
  std::map<std::string, position> where;      ///< `from`, and the plugin's name of each entry of `fields`
};

struct stage_options {
  position at;
  std::string name;
  std::string plugin;  ///< a name, looked for in the plugin folders, or a path to a .so
  std::string purpose;
  std::vector<std::string> trust;
  std::vector<input_options> in;
  std::string config_json = "{}";
  std::map<std::string, position> config_at;  ///< JSON pointer -> where it stands
  std::int32_t attempts_max = 5;
  std::int64_t retry_ms = 50;        ///< first back-off; doubles up to retry_ms_max
  std::int64_t retry_ms_max = 2'000;
  std::int64_t deadline_ms = 30'000; ///< a call that takes longer ends the worker
  std::map<std::string, position> where;  ///< option -> where its value stands
};

struct sink_options {
  position at;
  std::string topic;  ///< of `topics`
  std::string from;   ///< `stage.port`, or a topic
  std::map<std::string, std::string> fields;  ///< field of the topic's schema -> what the flow calls it
  std::map<std::string, position> where;      ///< `topic`, `from`, and the schema's name of each entry of `fields`
};

struct secret_options {
  position at;
  std::string file;         ///< one of the two
  std::string environment;
};

/// A schema registry that speaks Confluent's REST protocol.
struct registry_options {
  position at;
  std::string url;
  std::string user;              ///< with `secret`: basic authentication; without: `secret` is a bearer token
  std::string secret;            ///< name of a secret; empty: no authentication
  std::string ca_file;           ///< certificates to trust; empty: the system's
  bool register_schemas = true;  ///< output schemas that the registry does not have are registered at start
  std::int64_t timeout_ms = 5'000;
  std::int64_t unknown_schema_wait_ms = 60'000;  ///< how long records wait for a schema that a registry which is down may know
  bool unknown_schema_stops = true;  ///< then: the worker ends, and goes on from there when it is started again; else dead letters
};

struct kafka_log_options {
  std::string bootstrap;
  bool exactly_once = true;
  std::string instance;          ///< static membership under this id; empty: dynamic
  std::int64_t session_timeout_ms = 10'000;     ///< after which the group gives up a worker that says nothing
  std::int64_t max_poll_interval_ms = 300'000;  ///< after which a worker that hangs leaves its group
  std::int64_t transaction_timeout_ms = 10'000; ///< after which the broker aborts what a dead worker left open
  bool create_topics = true;     ///< topics that do not exist are made at start
  std::int32_t replication = 1;  ///< of topics that are made
  std::int32_t standby_replicas = 0;  ///< copies of each task's state that other workers keep near
  std::map<std::string, std::string> properties;  ///< of librdkafka, for all its clients
  std::map<std::string, std::string> secrets;     ///< property -> name of the secret that is its value
  registry_options registry;
};

struct flow_log_options {
  position at;
  std::string kind = "embedded";
  std::string dir;           ///< embedded: the data folder; kafka: where state is kept between runs
  bool fsync = true;         ///< embedded
  kafka_log_options kafka;   ///< if `kind` is kafka
};

struct flow_options {
  std::string file;
  std::string name;
  flow_log_options log;
  std::vector<topic_options> topics;
  std::vector<stage_options> stages;
  std::vector<sink_options> sinks;
  std::string dead_letter = "dead_letter";   ///< a topic of `topics`; empty: a dead letter stops the flow
  std::string quarantine_key;                ///< name of the secret that seals dead letters; empty: position and hash only
  std::map<std::string, secret_options> secrets;
  std::int32_t threads = 0;                  ///< 0: as many as the machine has
  std::int32_t batch_rows = 256;
  std::int64_t commit_interval_ms = 100;
  std::int64_t outbox_bytes_max = 64 << 20;  ///< of all tasks, uncommitted
  std::int32_t parked_rows_max = 4'096;      ///< of one task, over its stages: it takes up no more events beyond this
  std::int64_t parked_bytes_max = 32 << 20;  ///< the same
  std::vector<std::string> bury_parked_of;   ///< stages that the flow has no more, whose parked rows are given up
  std::int64_t future_ms_max = 86'400'000;   ///< events further ahead than this are dead-lettered
  std::int64_t drain_ms_max = 30'000;        ///< how long SIGTERM waits for running calls
  /// How long a worker that starts waits for brokers, registry and group; -1: as long as it takes, and with `--until-idle` not at all.
  std::int64_t start_patience_ms = -1;
  std::int32_t http_port = -1;               ///< metrics and health; -1: off, 0: any free port
  std::string http_address = "127.0.0.1";    ///< where they are served: an IPv4 or IPv6 address of this machine
  std::vector<std::string> plugin_dirs;
};

struct config_overrides {
  std::vector<std::pair<std::string, std::string>> set;  ///< `a.b=c`, in order
  std::string profile;                                   ///< a key of `profiles:` merged over the rest
  std::optional<std::string> data_dir;
};

/// Reads and checks one flow file: YAML with `${NAME}` and `${NAME:-default}` from the environment, unknown keys refused with
/// the nearest name. All that is wrong is in the diagnostics, in file order; the options only if nothing is an error.
struct parsed_flow {
  std::optional<flow_options> options;
  std::vector<diagnostic> diagnostics;
};
[[nodiscard]] parsed_flow parse_flow(const std::string& path, const config_overrides& overrides);
/// The same from text; `path` names it in messages and anchors relative paths.
[[nodiscard]] parsed_flow parse_flow_text(std::string_view yaml, const std::string& path, const config_overrides& overrides);

}  // namespace sonder
