#pragma once

#include <chrono>
#include <functional>

#include "avro/circuit_breaker.h"
#include "avro/compatibility.h"
#include "avro/registry.h"

namespace sonder {

struct confluent_options {
  std::string url;                 ///< root of the protocol: http[s]://host[:port][/path]
  std::string user;                ///< with `password`: basic authentication
  std::string password;            ///< a secret: in no message
  std::string bearer_token;        ///< a secret; instead of user and password
  std::string ca_file;             ///< PEM, certificates to trust; empty: the system's
  std::string client_certificate;  ///< PEM, with `client_key`: where the registry asks for one
  std::string client_key;

  bool auto_register = true;  ///< whether `register_schema` may add what the registry lacks

  std::chrono::milliseconds request_timeout{5'000};
  /// The longest that a call waits, with all its requests and those of others before it.
  std::chrono::milliseconds wait_max{10'000};
  int attempts_max = 2;  ///< for a request that gets no answer, or one that says "later"
  std::chrono::milliseconds retry_pause{100};
  /// How long "there is none" is believed without asking again.
  std::chrono::milliseconds unknown_ttl{10'000};
  circuit_breaker::limits breaker;

  std::function<circuit_breaker::clock::time_point()> now;  ///< for tests; empty: the clock
};

/// Schemas in a registry that speaks Confluent's REST protocol (Confluent, Apicurio and others).
///
/// Safe to use from many threads; requests go out one at a time. What was seen once is known for
/// the object's lifetime, by id and by full JSON, so that a registry that is down stops nobody who
/// needs nothing new. The errors of whoever does:
///  - not_found: the registry says that there is none. Believed for `unknown_ttl`.
///  - unsupported: it has the schema, and it is none that we can read. Final for that id.
///  - unavailable: no usable answer within `wait_max`; may work later. At once while the circuit
///    breaker is open.
///  - invalid: it refuses our credentials, or the schema; somebody must change something.
/// Answers are hostile: bounded in bytes, depth, numbers of names, versions and references. Schemas
/// with references are put together from the versions that they name.
///
/// Equal full JSON, labels included, is one schema. Registries compare in ways of their own, so
/// that each id is proven by asking for its schema and comparing that.
class confluent_registry final : public schema_registry {
 public:
  static constexpr std::size_t answer_depth_max = 32;
  static constexpr std::size_t schemas_known_max = 20'000;
  static constexpr std::size_t unknown_remembered_max = 20'000;
  static constexpr std::size_t subjects_max = 100'000;
  static constexpr std::size_t versions_max = 1'000;
  static constexpr std::size_t references_max = 64;

  /// Asks nobody yet. errc::invalid: an option, by name, or a file that cannot be read.
  [[nodiscard]] static result<std::unique_ptr<confluent_registry>> open(confluent_options options);
  ~confluent_registry() override;

  /// errc::not_found, with the next step, if the registry lacks it and `auto_register` is off.
  /// errc::invalid: incompatible with the subject's versions; the message names the fields.
  [[nodiscard]] result<std::int32_t> register_schema(std::string_view subject,
                                                     const schema& of) override;
  /// The protocol knows no way from a schema to its id but through a subject: what is not known yet
  /// is looked for under every subject, one after the other.
  [[nodiscard]] result<std::int32_t> id_of(const schema& of) override;
  [[nodiscard]] result<schema_ptr> by_id(std::int32_t id) override;
  /// While the registry is silent, what it told this process last.
  [[nodiscard]] result<std::vector<std::pair<std::int32_t, schema_ptr>>> versions(
      std::string_view subject) override;
  /// As above.
  [[nodiscard]] result<std::vector<std::pair<std::int32_t, schema_ptr>>> versions_and_unreadable(std::string_view subject) override;
  [[nodiscard]] result<std::vector<std::string>> subjects() override;

  /// Whether the registry would take the schema as the subject's next version: its reasons against,
  /// empty if it would.
  [[nodiscard]] result<std::vector<std::string>> conflicts(std::string_view subject,
                                                           const schema& of);
  /// What the registry holds new versions of the subject to.
  [[nodiscard]] status set_compatibility(std::string_view subject, compatibility mode);

  [[nodiscard]] registry_figures figures() const override;

 private:
  struct parts;
  explicit confluent_registry(std::unique_ptr<parts> p);
  std::unique_ptr<parts> parts_;
};

}  // namespace sonder
