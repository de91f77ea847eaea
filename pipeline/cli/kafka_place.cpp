#include "cli/kafka_place.h"

#include <sodium.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <set>

#include "avro/confluent_registry.h"
#include "flow/services.h"
#include "log/kafka/kafka_log.h"

namespace sonder::cli {
namespace {

constexpr int syslog_error = 3;
constexpr std::size_t admin_prefetch_bytes = 64 << 10;
// The same each time: whoever is next ends at once what one that was killed left open.
constexpr std::string_view admin_instance = "reset";
constexpr std::chrono::minutes admin_transaction_timeout(5);  // a third of what brokers allow by default

/// The secrets that the log needs, and no others: a command that only reads has no business with the rest.
result<std::shared_ptr<const secret_box>> read_log_secrets(const flow_options& flow) {
  std::set<std::string> names;
  for (const auto& [property, secret] : flow.log.kafka.secrets) names.insert(secret);
  if (!flow.log.kafka.registry.secret.empty()) names.insert(flow.log.kafka.registry.secret);
  flow_options needed;
  for (const auto& name : names) needed.secrets.emplace(name, flow.secrets.at(name));
  return secret_box::read(needed);
}

/// A name of the worker that lives as long as its state: the broker then knows a restarted worker, and ends at once what its
/// predecessor left open.
result<std::string> own_name(const std::filesystem::path& dir) {
  const auto file = dir / "instance-id";
  std::error_code failed;
  std::filesystem::create_directories(dir, failed);
  if (failed) return fail(errc::io, dir.string() + ": cannot be made: " + failed.message());
  std::string name;
  if (std::ifstream in(file); in && std::getline(in, name) && !name.empty()) return name;
  std::array<unsigned char, 8> random{};
  randombytes_buf(random.data(), random.size());
  std::array<char, 2 * random.size() + 1> text{};
  name = sodium_bin2hex(text.data(), text.size(), random.data(), random.size());
  std::ofstream out(file);
  out << name << '\n';
  out.close();
  if (!out) return fail(errc::io, file.string() + ": cannot be written; does the folder belong to this user?");
  return name;
}

result<std::unique_ptr<schema_registry>> open_registry(const registry_options& options, const secret_box& secrets) {
  confluent_options how;
  how.url = options.url;
  how.ca_file = options.ca_file;
  how.auto_register = options.register_schemas;
  how.request_timeout = std::chrono::milliseconds(options.timeout_ms);
  if (!options.secret.empty()) {
    const auto* secret = secrets.find(options.secret);
    how.user = options.user;
    (options.user.empty() ? how.bearer_token : how.password) = *secret;
  }
  auto opened = confluent_registry::open(std::move(how));
  if (!opened) return tl::unexpected(opened.error().at(to_string(options.at)));
  return std::move(*opened);
}

}  // namespace

result<opened_log> open_on_kafka(const flow_options& flow, kafka_use use, std::function<void(int, std::string_view)> lines) {
  if (use == kafka_use::worker && flow.log.dir.empty()) {
    return fail(errc::invalid, to_string(flow.log.at) +
                                   ": log needs \"dir\", where a worker keeps state between runs; or give --data-dir DIR");
  }
  const auto secrets = read_log_secrets(flow);
  if (!secrets) return tl::unexpected(secrets.error());
  const auto& from = flow.log.kafka;
  kafka_options how;
  how.bootstrap = from.bootstrap;
  how.guarantee =
      from.exactly_once ? kafka_options::guarantee_kind::exactly_once : kafka_options::guarantee_kind::at_least_once;
  how.properties = from.properties;
  for (const auto& [property, secret] : from.secrets) how.secrets[property] = *(*secrets)->find(secret);
  how.session_timeout = std::chrono::milliseconds(from.session_timeout_ms);
  how.max_poll_interval = std::chrono::milliseconds(from.max_poll_interval_ms);
  how.transaction_timeout = std::chrono::milliseconds(from.transaction_timeout_ms);
  if (use == kafka_use::admin) {
    how.transaction_timeout = std::max<std::chrono::milliseconds>(how.transaction_timeout, admin_transaction_timeout);
    how.prefetch_bytes_max = admin_prefetch_bytes;
    how.instance = admin_instance;
  }
  how.create_topics = from.create_topics && use != kafka_use::admin;
  how.replication_factor = from.replication;
  how.standby_replicas = from.standby_replicas;
  // What keeps a log from opening stands in its error.
  const auto is_open = std::make_shared<std::atomic<bool>>(false);
  how.on_line = lines ? std::move(lines) : [is_open](int level, std::string_view text) {
    if (level <= syslog_error && *is_open) std::cerr << "sonder: " << text << '\n';
  };
  if (use == kafka_use::worker) {
    how.state_dir = flow.log.dir;
    how.instance = from.instance;
    how.static_membership = !from.instance.empty();
    if (how.instance.empty()) {
      auto name = own_name(flow.log.dir);
      if (!name) return tl::unexpected(name.error());
      how.instance = std::move(*name);
    }
  }
  opened_log out;
  auto on = open_kafka_log(std::move(how));
  if (!on) {
    auto why = on.error().at(to_string(flow.log.at));
    if (why.code == errc::unavailable || why.code == errc::io)
      why.message += "; is `bootstrap` right (of the shipped flows: SONDER_KAFKA)? ops/kafka start starts a broker";
    return tl::unexpected(std::move(why));
  }
  *is_open = true;
  out.on = std::move(*on);
  auto schemas = open_registry(from.registry, **secrets);
  if (!schemas) return tl::unexpected(schemas.error());
  out.schemas = std::move(*schemas);
  return out;
}

}  // namespace sonder::cli
