#include "avro/confluent_registry.h"

#include <atomic>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <thread>

#include "avro/json_nesting.h"
#include "avro/registry_http.h"
#include "avro/waiting_line.h"

namespace sonder {

namespace {

using json = nlohmann::json;
using clock = circuit_breaker::clock;
using std::chrono::milliseconds;

// Error codes of the protocol: its way to say "there is none".
constexpr int subject_not_found = 40401;
constexpr int version_not_found = 40402;
constexpr int schema_not_found = 40403;
constexpr int no_own_compatibility = 40408;

/// What the registry said itself, made fit for a log line.
std::string quoted(const json& body) {
  constexpr std::size_t shown_max = 400;
  const auto message = body.find("message");
  if (message == body.end() || !message->is_string()) return "no reason given";
  std::string text = message->get<std::string>().substr(0, shown_max);
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < ' ' || c == '\x7f') c = ' ';
  }
  while (!text.empty() && static_cast<unsigned char>(text.back()) >= 0x80) text.pop_back();
  return text;
}

std::string body_of(const std::string& schema_json) {
  return json{{"schema", schema_json}}.dump();
}

std::optional<std::int32_t> positive(const json& from, const char* name) {
  const auto value = from.find(name);
  if (value == from.end() || !value->is_number_integer()) return std::nullopt;
  const auto number = value->get<std::int64_t>();
  if (number < 0 || number > std::numeric_limits<std::int32_t>::max()) return std::nullopt;
  return static_cast<std::int32_t>(number);
}

std::optional<std::string> text_of(const json& from, const char* name) {
  const auto value = from.find(name);
  if (value == from.end() || !value->is_string()) return std::nullopt;
  return value->get<std::string>();
}

/// A version of a subject that a schema builds on.
struct reference {
  std::string subject;
  std::int32_t version = 0;

  // clang-tidy 14 takes what the compiler writes for a zero of a pointer.
  auto operator<=>(const reference&) const = default;  // NOLINT(modernize-use-nullptr)
};

/// A schema as the registry gives it: text that may use types of others.
struct registered {
  std::int32_t id = -1;  ///< where the answer names it
  std::string type;
  std::string text;
  std::vector<reference> references;
};

std::optional<registered> read_registered(const json& body) {
  if (!body.is_object()) return std::nullopt;
  registered out;
  auto text = text_of(body, "schema");
  if (!text) return std::nullopt;
  out.text = *std::move(text);
  out.type = text_of(body, "schemaType").value_or("AVRO");
  out.id = positive(body, "id").value_or(-1);
  const auto references = body.find("references");
  if (references == body.end() || references->is_null()) return out;
  if (!references->is_array() || references->size() > confluent_registry::references_max)
    return std::nullopt;
  for (const auto& one : *references) {
    if (!one.is_object()) return std::nullopt;
    const auto subject = text_of(one, "subject");
    const auto version = positive(one, "version");
    if (!subject || !version) return std::nullopt;
    out.references.push_back({*subject, *version});
  }
  return out;
}

/// A schema whose named types others define: all of them become fields of one record, so that the
/// parser knows each before it is used, and the last field is the schema.
result<schema_ptr> parse_with(const std::vector<std::string>& referenced, const std::string& text) {
  if (referenced.empty()) return parse_schema(text);
  std::string whole = R"({"type":"record","name":"sonder_references","fields":[)";
  const auto add = [&](const std::string& type, std::size_t i) {
    whole +=
        (i == 0 ? "" : ",") + (R"({"name":"f)" + std::to_string(i) + R"(","type":)" + type) + "}";
  };
  std::size_t count = 0;
  for (const auto& one : referenced) add(one, count++);
  add(text, count);
  whole += "]}";
  auto parsed = parse_schema(whole);
  if (!parsed) return parsed;
  return (*parsed)->fields.back().type;
}

/// One JSON value and nothing after it, so that it can stand inside another text.
bool is_whole_json(const std::string& text) {
  return text.size() <= schema_bytes_max && nesting_of(text) <= 4 * schema_depth_max &&
         json::accept(text);
}

/// What the registry said no to, and until when that is believed. Full, it forgets all: asking
/// again is right, only slower.
class refusals {
 public:
  explicit refusals(milliseconds ttl) : ttl_(ttl) {}

  void add(std::string key, error why, clock::time_point now) {
    if (entries_.size() >= confluent_registry::unknown_remembered_max) entries_.clear();
    entries_.insert_or_assign(std::move(key), std::pair(std::move(why), now + ttl_));
  }
  [[nodiscard]] const error* find(const std::string& key, clock::time_point now) const {
    const auto known = entries_.find(key);
    return known == entries_.end() || known->second.second <= now ? nullptr : &known->second.first;
  }
  void erase(const std::string& key) { entries_.erase(key); }

 private:
  milliseconds ttl_;
  std::unordered_map<std::string, std::pair<error, clock::time_point>> entries_;
};

}  // namespace

struct confluent_registry::parts {
  /// An answer of the registry that is about what was asked, good or bad.
  struct reply {
    long status = 0;
    json body;
    [[nodiscard]] bool ok() const { return status >= 200 && status < 300; }
    /// The registry's own "there is none", not that of a proxy before it.
    [[nodiscard]] bool says_none() const {
      if (status != 404 || !body.is_object()) return false;
      switch (positive(body, "error_code").value_or(0)) {
        case subject_not_found:
        case version_not_found:
        case schema_not_found:
        case no_own_compatibility:
          return true;
        default:
          return false;
      }
    }
  };

  explicit parts(confluent_options o)
      : options(std::move(o)), breaker(options.breaker), refused(options.unknown_ttl) {}

  confluent_options options;

  // One lookup at a time, so that who waits finds the answer to the same question. Never taken
  // while `mutex` is held.
  waiting_line line;
  std::unique_ptr<registry_http> http;
  circuit_breaker breaker;
  std::string last_failure;
  std::atomic<std::uint64_t> requests{0};
  std::atomic<std::uint64_t> failures{0};
  std::atomic<clock::rep> open_until{0};

  mutable std::mutex mutex;  // what is known
  std::unordered_map<std::int32_t, schema_ptr> by_id;
  std::unordered_map<std::string, std::int32_t> ids;            // by full JSON
  std::unordered_map<std::string, std::int32_t> under;          // subject, line end, full JSON
  std::unordered_map<std::string, std::int32_t> id_of_version;  // subject, line end, number
  enum class unreadable { refused, null };
  std::map<std::pair<std::string, unreadable>, std::vector<std::pair<std::int32_t, schema_ptr>>> last_versions;
  refusals refused;

  [[nodiscard]] clock::time_point now() const { return options.now ? options.now() : clock::now(); }
  [[nodiscard]] clock::time_point deadline() const { return clock::now() + options.wait_max; }
  [[nodiscard]] std::string place() const { return "registry " + http->url(); }

  // --- requests -------------------------------------------------------------------------------

  using method = registry_http::method;

  result<waiting_line::place> wait_in_line(clock::time_point until);
  result<reply> ask(method how, const std::string& path, const std::string& body,
                    clock::time_point until);
  result<reply> ask_once(method how, const std::string& path, const std::string& body,
                         clock::time_point until);
  result<json> get(const std::string& path, clock::time_point until);
  tl::unexpected<error> unexpected_answer(const reply& got) const;

  // --- schemas --------------------------------------------------------------------------------

  status gather(const std::vector<reference>& of, std::set<reference>& seen,
                std::vector<std::string>& texts, clock::time_point until);
  result<schema_ptr> complete(const registered& from, std::int32_t id, clock::time_point until);
  result<schema_ptr> known_of(std::int32_t id) const;
  result<schema_ptr> schema_of(std::int32_t id, clock::time_point until);
  result<std::vector<std::int32_t>> version_numbers(const std::string& subject,
                                                    clock::time_point until);
  result<std::int32_t> version_id(const std::string& subject, std::int32_t number,
                                  clock::time_point until);
  result<bool> is_under(std::int32_t id, const std::string& full_json, clock::time_point until);
  result<std::optional<std::int32_t>> find_under(const std::string& subject,
                                                 const std::string& full_json,
                                                 clock::time_point until);
  result<std::int32_t> add(const std::string& subject, const schema& of,
                           const std::string& full_json, clock::time_point until);
  tl::unexpected<error> incompatible(const std::string& subject, const schema& of, const reply& got,
                                     clock::time_point until);
  result<std::vector<std::pair<std::int32_t, schema_ptr>>> versions_of(const std::string& subject, clock::time_point until,
                                                                       unreadable ones = unreadable::refused);
  /// The same, or what the registry told this process last, while it is silent.
  result<std::vector<std::pair<std::int32_t, schema_ptr>>> versions_or_last(std::string subject, unreadable ones);

  std::optional<error> refusal(const std::string& key) const {
    const std::lock_guard lock(mutex);
    const error* known = refused.find(key, now());
    return known == nullptr ? std::nullopt : std::optional(*known);
  }
  tl::unexpected<error> refuse(const std::string& key, error why) {
    const std::lock_guard lock(mutex);
    refused.add(key, why, now());
    return tl::unexpected(std::move(why));
  }
  void keep(std::int32_t id, const schema_ptr& of) {
    const std::lock_guard lock(mutex);
    if (by_id.size() >= schemas_known_max) return;
    by_id.emplace(id, of);
    ids.emplace(to_json(*of), id);
  }
};

// --- requests -----------------------------------------------------------------------------------

result<waiting_line::place> confluent_registry::parts::wait_in_line(clock::time_point until) {
  if (line.enter(until)) return waiting_line::place(&line);
  return fail(errc::unavailable, place() + ": others wait for its answer too; not asked");
}

/// One request and its answer, if that is about what was asked. Everything else says that the
/// registry is not well.
result<confluent_registry::parts::reply> confluent_registry::parts::ask_once(
    method how, const std::string& path, const std::string& body, clock::time_point until) {
  const auto left = std::chrono::ceil<milliseconds>(until - clock::now());
  ++requests;
  auto got = http->ask(how, path, body, std::min(options.request_timeout, left));
  if (!got) return tl::unexpected(got.error());
  if (got->status == 429 || got->status >= 500 || got->status < 200)
    return fail(errc::unavailable, "answers HTTP " + std::to_string(got->status));
  if (got->status >= 300 && got->status < 400) {
    return fail(errc::unavailable, "answers HTTP " + std::to_string(got->status) +
                                       ", which sends elsewhere; name the final address in `url`");
  }
  reply out{got->status, {}};
  // Credentials may be refused by what stands before the registry, in any form.
  if (got->status == 401 || got->status == 403) return out;
  const bool readable = nesting_of(got->body) <= answer_depth_max;
  if (readable) out.body = json::parse(got->body, nullptr, false);
  if (!readable || out.body.is_discarded() || (!out.ok() && !out.body.is_object())) {
    return fail(errc::unavailable,
                "answers HTTP " + std::to_string(got->status) +
                    " with what is no answer of the protocol; is `url` the protocol's root?");
  }
  return out;
}

result<confluent_registry::parts::reply> confluent_registry::parts::ask(method how,
                                                                        const std::string& path,
                                                                        const std::string& body,
                                                                        clock::time_point until) {
  const auto mine = wait_in_line(until);
  if (!mine) return tl::unexpected(mine.error());
  for (int attempt = 1;; ++attempt) {
    if (!breaker.may_ask(now())) {
      return fail(errc::unavailable, place() + ": " + last_failure + "; not asked again for " +
                                         std::to_string(breaker.remaining(now()).count()) + " ms");
    }
    auto got = ask_once(how, path, body, until);
    if (got) {
      breaker.succeeded();
      return got;
    }
    ++failures;
    last_failure = got.error().message;
    breaker.failed(now());
    open_until = (now() + breaker.remaining(now())).time_since_epoch().count();
    if (attempt >= options.attempts_max || clock::now() + options.retry_pause >= until)
      return tl::unexpected(got.error().at(place()));
    std::this_thread::sleep_for(options.retry_pause);
  }
}

/// The answer is a refusal, or of a shape that the protocol does not have.
tl::unexpected<error> confluent_registry::parts::unexpected_answer(const reply& got) const {
  const std::string answered = "answers HTTP " + std::to_string(got.status);
  if (got.status == 401 || got.status == 403) {
    return fail(errc::invalid, place() + ": " + answered +
                                   ": it refuses these credentials; check `user`, "
                                   "the secret, and what they may do");
  }
  if (got.says_none()) return fail(errc::not_found, place() + ": " + quoted(got.body));
  if (got.status == 422 || got.status == 409 || got.status == 400)
    return fail(errc::invalid, place() + ": " + answered + ": " + quoted(got.body));
  if (got.ok())
    return fail(errc::unavailable, place() + ": answers with what the protocol does not have");
  return fail(errc::unavailable, place() + ": " + answered + ": " + quoted(got.body));
}

result<json> confluent_registry::parts::get(const std::string& path, clock::time_point until) {
  auto got = ask(method::get, path, {}, until);
  if (!got) return tl::unexpected(got.error());
  if (!got->ok()) return unexpected_answer(*got);
  return std::move(got->body);
}

// --- schemas ------------------------------------------------------------------------------------

/// The texts of the types that a schema builds on, each after those that it builds on itself.
status confluent_registry::parts::gather(const std::vector<reference>& of,
                                         std::set<reference>& seen, std::vector<std::string>& texts,
                                         clock::time_point until) {
  for (const auto& one : of) {
    if (!seen.insert(one).second) continue;
    const std::string what =
        "version " + std::to_string(one.version) + " of subject \"" + one.subject + "\"";
    if (seen.size() > references_max) {
      return fail(errc::unsupported,
                  "builds on more than " + std::to_string(references_max) + " others");
    }
    auto body = get("/subjects/" + registry_http::segment(one.subject) + "/versions/" +
                        std::to_string(one.version),
                    until);
    if (!body && body.error().code == errc::not_found)
      return fail(errc::unsupported, "builds on " + what + ", which the registry does not have");
    if (!body) return tl::unexpected(body.error());
    const auto found = read_registered(*body);
    if (!found || found->type != "AVRO" || !is_whole_json(found->text))
      return fail(errc::unsupported, "builds on " + what + ", which is no Avro schema");
    SONDER_TRY(gather(found->references, seen, texts, until));
    texts.push_back(found->text);
  }
  return {};
}

result<schema_ptr> confluent_registry::parts::complete(const registered& from, std::int32_t id,
                                                       clock::time_point until) {
  const auto unusable = [&](const std::string& why) {
    return fail(errc::unsupported, place() + ": schema " + std::to_string(id) + " " + why);
  };
  if (from.type != "AVRO") return unusable("is of another kind than Avro");
  std::vector<std::string> texts;
  std::set<reference> seen;
  if (auto all = gather(from.references, seen, texts, until); !all) {
    if (all.error().code == errc::unsupported) return unusable(all.error().message);
    return tl::unexpected(all.error());
  }
  if (!texts.empty() && !is_whole_json(from.text)) return unusable("is no JSON");
  auto parsed = parse_with(texts, from.text);
  if (!parsed) return unusable("cannot be used: " + parsed.error().message);
  return parsed;
}

/// What is known of the id without asking: the schema, or why there is none; else null.
result<schema_ptr> confluent_registry::parts::known_of(std::int32_t id) const {
  const std::lock_guard lock(mutex);
  if (const auto known = by_id.find(id); known != by_id.end()) return known->second;
  if (const error* no = refused.find(std::to_string(id), now())) return tl::unexpected(*no);
  return schema_ptr();
}

result<schema_ptr> confluent_registry::parts::schema_of(std::int32_t id, clock::time_point until) {
  if (auto known = known_of(id); !known || *known) return known;
  const auto mine = wait_in_line(until);
  if (!mine) return tl::unexpected(mine.error());
  if (auto known = known_of(id); !known || *known) return known;
  const std::string key = std::to_string(id);
  if (id < 0) return fail(errc::not_found, "no schema has the id " + key);
  auto body = get("/schemas/ids/" + key, until);
  if (!body && body.error().code == errc::not_found)
    return refuse(key, {errc::not_found, place() + ": no schema has the id " + key});
  if (!body) return tl::unexpected(body.error());
  const auto found = read_registered(*body);
  if (!found) {
    return fail(errc::unavailable,
                place() + ": answers for schema " + key + " with what the protocol does not have");
  }
  auto made = complete(*found, id, until);
  if (!made && made.error().code == errc::unsupported) return refuse(key, made.error());
  if (made) keep(id, *made);
  return made;
}

result<std::vector<std::int32_t>> confluent_registry::parts::version_numbers(
    const std::string& subject, clock::time_point until) {
  auto body = get("/subjects/" + registry_http::segment(subject) + "/versions", until);
  if (!body && body.error().code == errc::not_found) return std::vector<std::int32_t>{};
  if (!body) return tl::unexpected(body.error());
  if (!body->is_array() || body->size() > versions_max) {
    return fail(errc::unavailable, place() + ": answers for subject \"" + subject +
                                       "\" with no list of at most " +
                                       std::to_string(versions_max) + " versions");
  }
  std::vector<std::int32_t> numbers;
  for (const auto& one : *body) {
    if (!one.is_number_integer() || one.get<std::int64_t>() < 1 ||
        one.get<std::int64_t>() > std::numeric_limits<std::int32_t>::max()) {
      return fail(errc::unavailable,
                  place() + ": subject \"" + subject + "\" has a version that is no number");
    }
    numbers.push_back(one.get<std::int32_t>());
  }
  return numbers;
}

result<std::int32_t> confluent_registry::parts::version_id(const std::string& subject,
                                                           std::int32_t number,
                                                           clock::time_point until) {
  const std::string key = subject + "\n" + std::to_string(number);
  {
    const std::lock_guard lock(mutex);
    if (const auto known = id_of_version.find(key); known != id_of_version.end())
      return known->second;
  }
  auto body =
      get("/subjects/" + registry_http::segment(subject) + "/versions/" + std::to_string(number),
          until);
  if (!body) return tl::unexpected(body.error());
  const auto found = read_registered(*body);
  if (!found || found->id < 0) {
    return fail(errc::unavailable, place() + ": answers for version " + std::to_string(number) +
                                       " of subject \"" + subject +
                                       "\" with what the protocol does not have");
  }
  const std::lock_guard lock(mutex);
  if (id_of_version.size() < schemas_known_max) id_of_version.emplace(key, found->id);
  return found->id;
}

/// Whether the id stands for exactly this text.
result<bool> confluent_registry::parts::is_under(std::int32_t id, const std::string& full_json,
                                                 clock::time_point until) {
  auto kept = schema_of(id, until);
  if (kept) return to_json(**kept) == full_json;
  if (kept.error().code == errc::unsupported) return false;
  return tl::unexpected(kept.error());
}

result<std::optional<std::int32_t>> confluent_registry::parts::find_under(
    const std::string& subject, const std::string& full_json, clock::time_point until) {
  auto got =
      ask(method::post, "/subjects/" + registry_http::segment(subject), body_of(full_json), until);
  if (!got) return tl::unexpected(got.error());
  if (got->ok()) {
    const auto id = got->body.is_object() ? positive(got->body, "id") : std::nullopt;
    if (!id) return unexpected_answer(*got);
    auto same = is_under(*id, full_json, until);
    if (!same) return tl::unexpected(same.error());
    if (*same) return std::optional(*id);
  } else if (!got->says_none()) {
    return unexpected_answer(*got);
  } else if (positive(got->body, "error_code") == subject_not_found) {
    return std::optional<std::int32_t>{};
  }
  // Somebody may have registered it in other words: another order of keys, types by reference.
  auto numbers = version_numbers(subject, until);
  if (!numbers) return tl::unexpected(numbers.error());
  for (auto number = numbers->rbegin(); number != numbers->rend(); ++number) {
    auto id = version_id(subject, *number, until);
    if (!id && id.error().code == errc::not_found) continue;  // deleted meanwhile
    if (!id) return tl::unexpected(id.error());
    auto same = is_under(*id, full_json, until);
    if (!same) return tl::unexpected(same.error());
    if (*same) return std::optional(*id);
  }
  return std::optional<std::int32_t>{};
}

tl::unexpected<error> confluent_registry::parts::incompatible(const std::string& subject,
                                                              const schema& of, const reply& got,
                                                              clock::time_point until) {
  std::string message = place() + ": subject \"" + subject + "\" does not take schema \"" +
                        to_string(of) + "\": " + quoted(got.body);
  // Registries name paths inside the schema, at best. Ours names fields.
  if (const auto all = versions_of(subject, until); all && !all->empty()) {
    std::vector<schema_ptr> schemas;
    for (const auto& [id, version] : *all) schemas.push_back(version);
    constexpr std::size_t shown_max = 3;
    const auto problems = check_compatibility(of, schemas, compatibility::full_transitive);
    for (std::size_t i = 0; i < std::min(shown_max, problems.size()); ++i)
      message += (i == 0 ? "; it may be one of these: " : "; ") + problems[i];
  }
  return fail(errc::invalid, message + "; change the schema, or the subject's compatibility");
}

result<std::int32_t> confluent_registry::parts::add(const std::string& subject, const schema& of,
                                                    const std::string& full_json,
                                                    clock::time_point until) {
  auto got = ask(method::post, "/subjects/" + registry_http::segment(subject) + "/versions",
                 body_of(full_json), until);
  if (!got) return tl::unexpected(got.error());
  if (got->status == 409) return incompatible(subject, of, *got, until);
  if (!got->ok()) return unexpected_answer(*got);
  const auto id = got->body.is_object() ? positive(got->body, "id") : std::nullopt;
  if (!id) return unexpected_answer(*got);
  {
    // What was refused a moment ago exists now.
    const std::lock_guard lock(mutex);
    refused.erase(std::to_string(*id));
  }
  auto same = is_under(*id, full_json, until);
  if (!same) return tl::unexpected(same.error());
  if (*same) return *id;
  return fail(errc::corrupt, place() + ": keeps schema \"" + to_string(of) + "\" of subject \"" +
                                 subject + "\" as id " + std::to_string(*id) +
                                 " in another form: a label, default or alias is lost; is "
                                 "normalisation switched on there?");
}

result<std::vector<std::pair<std::int32_t, schema_ptr>>> confluent_registry::parts::versions_of(const std::string& subject,
                                                                                                clock::time_point until, unreadable ones) {
  auto numbers = version_numbers(subject, until);
  if (!numbers) return tl::unexpected(numbers.error());
  std::vector<std::pair<std::int32_t, schema_ptr>> found;
  for (const auto number : *numbers) {
    auto id = version_id(subject, number, until);
    if (!id && id.error().code == errc::not_found) continue;  // deleted meanwhile
    if (!id) return tl::unexpected(id.error());
    auto of = schema_of(*id, until);
    if (!of && of.error().code == errc::unsupported && ones == unreadable::null) of = schema_ptr();
    if (!of) return tl::unexpected(of.error());
    found.emplace_back(*id, *std::move(of));
  }
  return found;
}

// --- the port -----------------------------------------------------------------------------------

confluent_registry::confluent_registry(std::unique_ptr<parts> p) : parts_(std::move(p)) {}
confluent_registry::~confluent_registry() = default;

result<std::unique_ptr<confluent_registry>> confluent_registry::open(confluent_options options) {
  if (!options.bearer_token.empty() && !options.user.empty())
    return fail(errc::invalid, "registry: a user and a bearer token; it takes one of them");
  if (options.client_key.empty() != options.client_certificate.empty())
    return fail(errc::invalid, "registry: a client certificate and its key go together");
  if (options.request_timeout < milliseconds(1) || options.wait_max < milliseconds(1) ||
      options.attempts_max < 1)
    return fail(errc::invalid, "registry: timeouts and attempts are at least 1");
  auto http =
      registry_http::open({options.url, options.user, options.password, options.bearer_token,
                           options.ca_file, options.client_certificate, options.client_key});
  if (!http) return tl::unexpected(http.error());
  auto made = std::make_unique<parts>(std::move(options));
  made->http = *std::move(http);
  return std::unique_ptr<confluent_registry>(new confluent_registry(std::move(made)));
}

result<std::int32_t> confluent_registry::register_schema(std::string_view subject,
                                                         const schema& of) {
  auto& p = *parts_;
  const std::string full_json = to_json(of);
  const std::string name(subject);
  const std::string key = name + "\n" + full_json;
  {
    const std::lock_guard lock(p.mutex);
    if (const auto known = p.under.find(key); known != p.under.end()) return known->second;
  }
  if (auto no = p.refusal(key)) return tl::unexpected(*std::move(no));
  const auto until = p.deadline();
  auto found = p.find_under(name, full_json, until);
  if (!found) return tl::unexpected(found.error());
  if (!*found && !p.options.auto_register) {
    return p.refuse(
        key, {errc::not_found,
              p.place() + ": subject \"" + name + "\" does not have schema \"" + to_string(of) +
                  "\"; register it there, or let this program do it (`register: true`)"});
  }
  auto id = *found ? result<std::int32_t>(**found) : p.add(name, of, full_json, until);
  if (!id) return id;
  const std::lock_guard lock(p.mutex);
  if (p.under.size() < schemas_known_max) p.under.emplace(key, *id);
  return id;
}

result<std::int32_t> confluent_registry::id_of(const schema& of) {
  auto& p = *parts_;
  const std::string full_json = to_json(of);
  {
    const std::lock_guard lock(p.mutex);
    if (const auto known = p.ids.find(full_json); known != p.ids.end()) return known->second;
  }
  if (auto no = p.refusal(full_json)) return tl::unexpected(*std::move(no));
  const auto until = p.deadline();
  auto names = subjects();
  if (!names) return tl::unexpected(names.error());
  for (const auto& name : *names) {
    auto found = p.find_under(name, full_json, until);
    if (!found) return tl::unexpected(found.error());
    if (*found) return **found;
  }
  return p.refuse(full_json, {errc::not_found,
                              p.place() + ": schema \"" + to_string(of) + "\" is not registered"});
}

result<schema_ptr> confluent_registry::by_id(std::int32_t id) {
  return parts_->schema_of(id, parts_->deadline());
}

result<std::vector<std::pair<std::int32_t, schema_ptr>>> confluent_registry::parts::versions_or_last(std::string subject, unreadable ones) {
  auto told = versions_of(subject, deadline(), ones);
  auto of = std::make_pair(std::move(subject), ones);
  const std::lock_guard lock(mutex);
  if (told) {
    if (last_versions.size() < schemas_known_max) last_versions.insert_or_assign(std::move(of), *told);
    return told;
  }
  const auto last = last_versions.find(of);
  if (told.error().code != errc::unavailable || last == last_versions.end()) return told;
  return last->second;
}

result<std::vector<std::pair<std::int32_t, schema_ptr>>> confluent_registry::versions(std::string_view subject) {
  return parts_->versions_or_last(std::string(subject), parts::unreadable::refused);
}

result<std::vector<std::pair<std::int32_t, schema_ptr>>> confluent_registry::versions_and_unreadable(std::string_view subject) {
  return parts_->versions_or_last(std::string(subject), parts::unreadable::null);
}

result<std::vector<std::string>> confluent_registry::subjects() {
  auto body = parts_->get("/subjects", parts_->deadline());
  if (!body) return tl::unexpected(body.error());
  if (!body->is_array() || body->size() > subjects_max) {
    return fail(errc::unavailable, parts_->place() + ": answers with no list of at most " +
                                       std::to_string(subjects_max) + " subjects");
  }
  std::set<std::string> names;
  for (const auto& one : *body) {
    if (!one.is_string())
      return fail(errc::unavailable, parts_->place() + ": lists a subject that is no text");
    names.insert(one.get<std::string>());
  }
  return std::vector<std::string>(names.begin(), names.end());
}

result<std::vector<std::string>> confluent_registry::conflicts(std::string_view subject,
                                                               const schema& of) {
  auto& p = *parts_;
  const auto until = p.deadline();
  const std::string name = registry_http::segment(subject);
  // Some registries compare with every version, whatever the mode, unless they are asked for one.
  auto mode = p.get("/config/" + name + "?defaultToGlobal=true", until);
  if (!mode && mode.error().code != errc::not_found) return tl::unexpected(mode.error());
  const bool all = mode && mode->is_object() &&
                   text_of(*mode, "compatibilityLevel").value_or("").ends_with("_TRANSITIVE");
  auto got = p.ask(parts::method::post,
                   "/compatibility/subjects/" + name + (all ? "/versions" : "/versions/latest") +
                       "?verbose=true",
                   body_of(to_json(of)), until);
  if (!got) return tl::unexpected(got.error());
  if (got->says_none())
    return std::vector<std::string>{};  // a first version has nobody to agree with
  const auto verdict = got->body.is_object() ? got->body.find("is_compatible") : got->body.end();
  if (!got->ok() || verdict == got->body.end() || !verdict->is_boolean())
    return p.unexpected_answer(*got);
  std::vector<std::string> reasons;
  if (verdict->get<bool>()) return reasons;
  if (const auto messages = got->body.find("messages");
      messages != got->body.end() && messages->is_array()) {
    for (const auto& one : *messages) {
      if (one.is_string()) reasons.push_back(quoted(json{{"message", one}}));
    }
  }
  if (reasons.empty()) reasons.push_back("the registry says so, without a reason");
  return reasons;
}

status confluent_registry::set_compatibility(std::string_view subject, compatibility mode) {
  auto& p = *parts_;
  auto got = p.ask(parts::method::put, "/config/" + registry_http::segment(subject),
                   json{{"compatibility", name(mode)}}.dump(), p.deadline());
  if (!got) return tl::unexpected(got.error());
  if (!got->ok()) return p.unexpected_answer(*got);
  return {};
}

registry_figures confluent_registry::figures() const {
  return {parts_->requests, parts_->failures,
          parts_->open_until > parts_->now().time_since_epoch().count()};
}

}  // namespace sonder
