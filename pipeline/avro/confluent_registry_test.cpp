#include "avro/confluent_registry.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "avro/registry_http.h"
#include "avro/registry_server_rig.h"
#include "avro/registry_tls_rig.h"
#include "avro/test_rows.h"

namespace sonder::test {
namespace {

using namespace std::chrono_literals;
using json = nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

using answer = registry_server::answer;
using request = registry_server::request;

const std::string labelled = record_of("\"int\"", R"(,"default":0,"sonder.privacy":["pseudonym"])");

answer none(int code) {
  return {404, json{{"error_code", code}, {"message", "none"}}.dump(), {}};
}

answer schema_answer(const std::string& text, const json& references = json::array()) {
  return {200, json{{"schema", text}, {"references", references}}.dump(), {}};
}

/// The protocol as the client needs it, on one subject's worth of memory.
class little_registry {
 public:
  /// Registries that compare in their own way: what they keep is not always what they were given.
  std::function<std::string(std::string)> kept_as = [](std::string text) { return text; };

  std::int32_t add(const std::string& subject, const std::string& text,
                   const json& references = json::array()) {
    const std::lock_guard lock(mutex_);
    return add_locked(subject, text, references);
  }

  answer operator()(const request& asked) {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> parts;
    for (std::size_t at = 1; at <= asked.path.size();) {
      const auto end = std::min(asked.path.find('/', at), asked.path.size());
      parts.push_back(asked.path.substr(at, end - at));
      at = end + 1;
    }
    if (parts[0] == "schemas") return by_id(std::stoi(parts[2]));
    if (parts.size() == 1) return subjects();
    const auto& versions = subjects_[parts[1]];
    const std::string text =
        asked.body.empty() ? std::string() : json::parse(asked.body)["schema"].get<std::string>();
    if (asked.method == "POST" && parts.size() == 3)
      return {200, json{{"id", add_locked(parts[1], text, json::array())}}.dump(), {}};
    if (versions.empty()) return none(40401);
    if (asked.method == "POST") return look_up(versions, text);
    if (parts.size() == 3) return numbers(versions);
    return version(versions, std::stoul(parts[3]));
  }

 private:
  struct entry {
    std::string text;
    json references;
  };

  std::int32_t add_locked(const std::string& subject, const std::string& text,
                          const json& references) {
    schemas_.push_back({kept_as(text), references});
    subjects_[subject].push_back(static_cast<std::int32_t>(schemas_.size()));
    return subjects_[subject].back();
  }
  answer by_id(std::int32_t id) const {
    if (id < 1 || id > static_cast<std::int32_t>(schemas_.size())) return none(40403);
    const auto& e = schemas_[static_cast<std::size_t>(id) - 1];
    return schema_answer(e.text, e.references);
  }
  answer subjects() const {
    json names = json::array();
    for (const auto& [name, versions] : subjects_) {
      if (!versions.empty()) names.push_back(name);
    }
    return {200, names.dump(), {}};
  }
  answer look_up(const std::vector<std::int32_t>& versions, const std::string& text) const {
    for (const auto id : versions) {
      if (schemas_[static_cast<std::size_t>(id) - 1].text == text)
        return {200, json{{"id", id}, {"version", 1}, {"schema", text}}.dump(), {}};
    }
    return none(40403);
  }
  static answer numbers(const std::vector<std::int32_t>& versions) {
    json all = json::array();
    for (std::size_t i = 0; i < versions.size(); ++i) all.push_back(i + 1);
    return {200, all.dump(), {}};
  }
  answer version(const std::vector<std::int32_t>& versions, std::size_t number) const {
    if (number < 1 || number > versions.size()) return none(40402);
    const auto id = versions[number - 1];
    const auto& e = schemas_[static_cast<std::size_t>(id) - 1];
    return {200, json{{"id", id}, {"schema", e.text}, {"references", e.references}}.dump(), {}};
  }

  std::mutex mutex_;
  std::vector<entry> schemas_;
  std::map<std::string, std::vector<std::int32_t>> subjects_;
};

class ConfluentRegistry : public testing::Test {
 protected:
  confluent_options options() {
    confluent_options made;
    made.url = server_.url();
    made.request_timeout = 2s;
    made.retry_pause = 1ms;
    made.now = [this] { return circuit_breaker::clock::time_point(now_.load()); };
    return made;
  }
  std::unique_ptr<confluent_registry> open() { return open(options()); }
  static std::unique_ptr<confluent_registry> open(confluent_options made) {
    auto opened = confluent_registry::open(std::move(made));
    EXPECT_TRUE(opened) << (opened ? "" : opened.error().message);
    return opened ? *std::move(opened) : nullptr;
  }
  void answers(answer always) {
    server_.behave([always](const request&) { return always; });
  }
  void pass(std::chrono::milliseconds time) { now_ = now_.load() + time; }

  std::atomic<circuit_breaker::clock::duration> now_{1000s};
  little_registry registry_;
  registry_server server_{[this](const request& asked) { return registry_(asked); }};
};

TEST_F(ConfluentRegistry, KnowsWhatItRegisteredWithoutAskingAgain) {
  const auto client = open();
  const auto of = schema_of(labelled);
  const auto id = client->register_schema("journal-value", *of);
  ASSERT_TRUE(id) << id.error().message;
  EXPECT_EQ(to_json(**client->by_id(*id)), to_json(*of)) << "with its labels";
  EXPECT_THAT(*client->versions("journal-value"), SizeIs(1));
  EXPECT_THAT(*client->subjects(), ElementsAre("journal-value"));
  const auto asked = server_.requests().size();
  EXPECT_EQ(*client->register_schema("journal-value", *of), *id);
  EXPECT_EQ(*client->id_of(*of), *id);
  EXPECT_TRUE(client->by_id(*id));
  EXPECT_EQ(server_.requests().size(), asked);
}

TEST_F(ConfluentRegistry, TakesAnotherLabelForAnotherSchema) {
  const auto client = open();
  const auto one = client->register_schema("s", *schema_of(labelled));
  const auto two = client->register_schema("s", *schema_of(record_of("\"int\"", ",\"default\":0")));
  EXPECT_NE(*one, *two);
}

TEST_F(ConfluentRegistry, FindsASchemaThatSomebodyWroteInOtherWords) {
  const auto id = registry_.add("s", R"({"fields":[{"sonder.privacy" : ["pseudonym"], "default":0,
      "type":"int","name":"v"}],"name":"r","type":"record"})");
  EXPECT_EQ(*open()->register_schema("s", *schema_of(labelled)), id);
  EXPECT_EQ(*open()->id_of(*schema_of(labelled)), id);
}

TEST_F(ConfluentRegistry, RefusesARegistryThatLosesALabel) {
  registry_.kept_as = [](const std::string&) { return record_of("\"int\"", ",\"default\":0"); };
  const auto id = open()->register_schema("s", *schema_of(labelled));
  ASSERT_FALSE(id);
  EXPECT_EQ(id.error().code, errc::corrupt);
  EXPECT_THAT(id.error().message, HasSubstr("subject \"s\" as id 1 in another form: a label"));
}

TEST_F(ConfluentRegistry, AddsNothingWhereItMayNotAndSaysTheNextStep) {
  auto strict = options();
  strict.auto_register = false;
  const auto client = open(strict);
  const auto of = schema_of(labelled);
  const auto refused = client->register_schema("s", *of);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, errc::not_found);
  EXPECT_THAT(refused.error().message, AllOf(HasSubstr("subject \"s\" does not have schema \"r\""),
                                             HasSubstr("`register: true`")));
  for (const auto& asked : server_.requests()) EXPECT_THAT(asked.path, Not(HasSubstr("versions")));
  registry_.add("s", to_json(*of));
  EXPECT_FALSE(client->register_schema("s", *of)) << "believed for a while";
  pass(strict.unknown_ttl);
  EXPECT_TRUE(client->register_schema("s", *of));
}

TEST_F(ConfluentRegistry, ListsVersionsWithoutThoseThatCannotBeReadOnlyWhereItIsAskedTo) {
  const auto lost = registry_.add("s", R"({"type":"record","name":"r","fields":[{"name":"v","type":["null","r"]}]})");
  const auto kept = registry_.add("s", labelled);
  const auto client = open();
  EXPECT_EQ(client->versions("s").error().code, errc::unsupported);
  const auto all = client->versions_and_unreadable("s");
  ASSERT_TRUE(all) << all.error().message;
  ASSERT_THAT(*all, SizeIs(2));
  EXPECT_EQ(all->front(), std::make_pair(lost, schema_ptr()));
  EXPECT_EQ(all->back().first, kept);
  EXPECT_EQ(to_json(*all->back().second), to_json(*schema_of(labelled)));
  answers({503, "", {}});
  EXPECT_EQ(*client->versions_and_unreadable("s"), *all) << "what it told last";
  EXPECT_EQ(client->versions("s").error().code, errc::unavailable);
}

TEST_F(ConfluentRegistry, BelievesForAWhileThatAnIdIsUnknown) {
  const auto client = open();
  EXPECT_EQ(client->by_id(1).error().code, errc::not_found);
  EXPECT_EQ(client->by_id(1).error().code, errc::not_found);
  EXPECT_THAT(server_.requests(), SizeIs(1));
  registry_.add("s", labelled);
  pass(options().unknown_ttl);
  EXPECT_TRUE(client->by_id(1));
  EXPECT_EQ(client->by_id(-5).error().code, errc::not_found);
}

TEST_F(ConfluentRegistry, GoesOnWithWhatItKnowsWhenTheRegistryIsDown) {
  const auto client = open();
  const auto of = schema_of(labelled);
  const auto id = *client->register_schema("s", *of);
  answers({503, "", {}});
  EXPECT_TRUE(client->by_id(id));
  EXPECT_TRUE(client->register_schema("s", *of));
  const auto unknown = client->by_id(99);
  EXPECT_EQ(unknown.error().code, errc::unavailable);
  EXPECT_THAT(unknown.error().message, HasSubstr("answers HTTP 503"));
}

TEST_F(ConfluentRegistry, SparesARegistryThatIsDownAndTriesAgain) {
  auto patient = options();
  patient.attempts_max = 1;
  const auto client = open(patient);
  answers({500, "{}", {}});
  for (int i = 0; i < 10; ++i) EXPECT_EQ(client->by_id(1).error().code, errc::unavailable);
  EXPECT_THAT(server_.requests(), SizeIs(patient.breaker.failures_max));
  EXPECT_THAT(client->by_id(1).error().message, HasSubstr("not asked again for 500 ms"));
  EXPECT_TRUE(client->figures().open);
  pass(patient.breaker.open_min);
  EXPECT_FALSE(client->by_id(1)) << "one try, which fails";
  EXPECT_THAT(client->by_id(1).error().message, HasSubstr("not asked again for 1000 ms"));
  pass(2 * patient.breaker.open_min);
  server_.behave([this](const request& asked) { return registry_(asked); });
  registry_.add("s", labelled);
  EXPECT_TRUE(client->by_id(1));
  EXPECT_FALSE(client->figures().open);
}

TEST_F(ConfluentRegistry, WaitsNoLongerThanItMaySlowOrGone) {
  auto hasty = options();
  hasty.request_timeout = 100ms;
  hasty.wait_max = 250ms;
  hasty.attempts_max = 100;
  hasty.breaker.failures_max = 1000;
  const auto client = open(hasty);
  server_.behave([](const request&) {
    std::this_thread::sleep_for(400ms);
    return answer{};
  });
  const auto begin = std::chrono::steady_clock::now();
  std::vector<std::thread> callers;
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([&, i] { EXPECT_EQ(client->by_id(i).error().code, errc::unavailable); });
  }
  for (auto& caller : callers) caller.join();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 2s);
  hasty.url = "http://127.0.0.1:1";
  EXPECT_THAT(open(hasty)->by_id(1).error().message, HasSubstr("does not answer: "));
}

TEST_F(ConfluentRegistry, AsksOnceWhatManyThreadsWantToKnow) {
  registry_.add("s", labelled);
  server_.behave([this](const request& asked) {
    std::this_thread::sleep_for(50ms);
    return registry_(asked);
  });
  const auto client = open();
  std::vector<std::thread> callers;
  for (int i = 0; i < 8; ++i) callers.emplace_back([&] { EXPECT_TRUE(client->by_id(1)); });
  for (auto& caller : callers) caller.join();
  EXPECT_THAT(server_.requests(), SizeIs(1));
}

TEST_F(ConfluentRegistry, BelievesOnlyTheRegistryThatThereIsNone) {
  for (const answer& wrong : {answer{404, "<html>not here</html>", {}}, answer{404, "{}", {}},
                              answer{404, R"({"error_code":404,"message":"no such page"})", {}},
                              answer{200, "<html>log in first</html>", {}}, answer{204, "", {}}}) {
    answers(wrong);
    EXPECT_EQ(open()->by_id(1).error().code, errc::unavailable) << wrong.status << wrong.body;
    EXPECT_EQ(open()->register_schema("s", *schema_of("\"int\"")).error().code, errc::unavailable)
        << wrong.status << wrong.body;
  }
}

TEST_F(ConfluentRegistry, TakesHostileAnswersForNone) {
  const std::string deep = std::string(100'000, '[') + std::string(100'000, ']');
  const std::string nested =
      R"({"schema":"\"int\"","x":)" + std::string(40, '[') + std::string(40, ']') + "}";
  json many = json::array();
  for (std::size_t i = 0; i <= confluent_registry::versions_max; ++i) many.push_back(i + 1);
  const json references(confluent_registry::references_max + 1,
                        json{{"name", "x"}, {"subject", "x"}, {"version", 1}});
  for (const std::string& body :
       {deep, nested, std::string("["), std::string("null"), std::string("\"text\""),
        std::string(R"({"schema":7})"), std::string(R"({"id":1})"),
        std::string("{\"schema\":\"\xff\"}"), std::string(R"({"schema":"\"int\"","references":7})"),
        std::string(R"({"schema":"\"int\"","references":[{"subject":"s","version":1e99}]})"),
        json{{"schema", "\"int\""}, {"references", references}}.dump(), many.dump(),
        std::string(registry_http::answer_bytes_max + 1, ' ')}) {
    answers({200, body, {}});
    EXPECT_EQ(open()->by_id(1).error().code, errc::unavailable) << body.substr(0, 80);
    EXPECT_EQ(open()->versions("s").error().code, errc::unavailable) << body.substr(0, 80);
  }
  for (const char* id : {"-1", "2147483648", "1.5", "\"1\"", "null", "[]"}) {
    answers({200, std::string(R"({"id":)") + id + "}", {}});
    EXPECT_EQ(open()->register_schema("s", *schema_of("\"int\"")).error().code, errc::unavailable)
        << id;
  }
  std::string headers;
  for (int i = 0; i < 100; ++i)
    headers += "X-" + std::to_string(i) + ": " + std::string(1000, 'x') + "\r\n";
  answers({200, R"({"schema":"\"int\""})", headers});
  EXPECT_THAT(open()->by_id(1).error().message, HasSubstr("of headers"));
}

TEST_F(ConfluentRegistry, ASchemaThatItCannotUseIsNoWaiting) {
  const auto client = open();
  const std::string recursive =
      R"({"type":"record","name":"n","fields":[{"name":"next","type":["null","n"]}]})";
  for (const std::string& text : {recursive, std::string("{\"type\":\"recor"), std::string(""),
                                  std::string(schema_bytes_max + 1, ' ')}) {
    const auto id = registry_.add("s", text);
    EXPECT_EQ(client->by_id(id).error().code, errc::unsupported) << text.substr(0, 80);
    const auto asked = server_.requests().size();
    EXPECT_EQ(client->by_id(id).error().code, errc::unsupported);
    EXPECT_EQ(server_.requests().size(), asked) << "remembered";
  }
  answers({200, R"({"schemaType":"PROTOBUF","schema":"message M {}"})", {}});
  EXPECT_THAT(client->by_id(77).error().message, HasSubstr("of another kind than Avro"));
}

json refers_to(const std::string& name, const std::string& subject, int version) {
  return json{{"name", name}, {"subject", subject}, {"version", version}};
}

TEST_F(ConfluentRegistry, PutsASchemaTogetherFromThoseThatItRefersTo) {
  registry_.add("mood", R"({"type":"enum","name":"mood","namespace":"x","symbols":["UP","DOWN"]})");
  registry_.add("place",
                R"({"type":"record","name":"x.place","fields":[{"name":"m","type":"x.mood"}]})",
                json::array({refers_to("x.mood", "mood", 1)}));
  const auto id = registry_.add(
      "entry",
      R"({"type":"record","name":"entry","namespace":"x","fields":[{"name":"at","type":"place"},
          {"name":"then","type":["null","mood"],"default":null,"sonder.privacy":["special_category"]}]})",
      json::array({refers_to("x.place", "place", 1), refers_to("x.mood", "mood", 1)}));
  const auto client = open();
  const auto whole = schema_of(
      R"({"type":"record","name":"entry","namespace":"x","fields":[{"name":"at","type":{"type":"record","name":"place",
          "fields":[{"name":"m","type":{"type":"enum","name":"mood","symbols":["UP","DOWN"]}}]}},
          {"name":"then","type":["null","mood"],"default":null,"sonder.privacy":["special_category"]}]})");
  const auto got = client->by_id(id);
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ(to_json(**got), to_json(*whole));
  EXPECT_EQ(*client->register_schema("entry", *whole), id);
}

TEST_F(ConfluentRegistry, ReferencesThatLeadNowhereEndAsAnError) {
  const std::string uses = R"({"type":"record","name":"r","fields":[{"name":"v","type":"x"}]})";
  const auto gone = registry_.add("gone", uses, json::array({refers_to("x", "nobody", 1)}));
  const auto circle = registry_.add("circle", uses, json::array({refers_to("x", "circle", 1)}));
  registry_.add("broken", R"("int"},{"name":"f7","type":"int")");
  const auto broken = registry_.add("uses", uses, json::array({refers_to("x", "broken", 1)}));
  for (int i = 2; i < 80; ++i)
    registry_.add("chain", uses, json::array({refers_to("x", "chain", i)}));
  const auto chain = registry_.add("long", uses, json::array({refers_to("x", "chain", 1)}));
  const auto client = open();
  EXPECT_THAT(
      client->by_id(gone).error().message,
      HasSubstr("builds on version 1 of subject \"nobody\", which the registry does not have"));
  EXPECT_EQ(client->by_id(circle).error().code, errc::unsupported);
  EXPECT_THAT(client->by_id(broken).error().message, HasSubstr("which is no Avro schema"));
  EXPECT_THAT(client->by_id(chain).error().message, HasSubstr("builds on more than 64 others"));
}

TEST_F(ConfluentRegistry, SaysWhichFieldASubjectDoesNotTake) {
  registry_.add("s", record_of("\"int\""));
  server_.behave([this](const request& asked) {
    if (asked.method == "POST" && asked.path == "/subjects/s/versions")
      return answer{409, R"({"error_code":409,"message":"Incompatible\u0007: READER_FIELD"})", {}};
    return registry_(asked);
  });
  const auto refused = open()->register_schema("s", *schema_of(record_of("\"string\"")));
  EXPECT_EQ(refused.error().code, errc::invalid);
  EXPECT_THAT(
      refused.error().message,
      AllOf(HasSubstr("subject \"s\" does not take schema \"r\": Incompatible : READER_FIELD"),
            HasSubstr("field \"v\"")));
}

TEST_F(ConfluentRegistry, ShowsItsCredentialsToTheRegistryAndToNobodyElse) {
  auto basic = options();
  basic.user = "sonder";
  basic.password = "pass word";
  auto bearer = options();
  bearer.bearer_token = "to.ken";
  answers({401, "who are you?", {}});
  for (const auto& [how, expected] :
       {std::pair(basic, std::string("Basic c29uZGVyOnBhc3Mgd29yZA==")),
        std::pair(bearer, std::string("Bearer to.ken"))}) {
    const auto refused = open(how)->by_id(1);
    EXPECT_EQ(refused.error().code, errc::invalid);
    EXPECT_THAT(refused.error().message,
                AllOf(HasSubstr("it refuses these credentials"), Not(HasSubstr("pass word")),
                      Not(HasSubstr("to.ken"))));
    EXPECT_EQ(server_.requests().back().authorization, expected);
  }
  registry_server elsewhere([](const request&) { return answer{}; });
  answers({302, "", "Location: " + elsewhere.url() + "/\r\n"});
  EXPECT_THAT(open(basic)->by_id(1).error().message, HasSubstr("sends elsewhere"));
  EXPECT_THAT(elsewhere.requests(), IsEmpty());
}

TEST_F(ConfluentRegistry, NamesWhatIsWrongWithItsOptions) {
  const auto message = [](auto change) {
    confluent_options made;
    made.url = "http://127.0.0.1:1";
    change(made);
    auto opened = confluent_registry::open(made);
    EXPECT_FALSE(opened);
    return opened ? std::string() : opened.error().message;
  };
  EXPECT_THAT(message([](auto& o) { o.url = "http://ana:secret@host"; }),
              AllOf(HasSubstr("holds credentials"), Not(HasSubstr("secret@"))));
  EXPECT_THAT(message([](auto& o) { o.url = ""; }), HasSubstr("expected http[s]://host"));
  EXPECT_THAT(message([](auto& o) { o.url = "host:8081"; }), HasSubstr("expected http[s]://host"));
  EXPECT_THAT(message([](auto& o) { o.url = "file:///etc/passwd"; }), HasSubstr("scheme"));
  EXPECT_THAT(message([](auto& o) { o.url = "http://host/?x=1"; }), HasSubstr("query"));
  EXPECT_THAT(message([](auto& o) { o.ca_file = "/no/ca.pem"; }),
              HasSubstr("/no/ca.pem: the registry's"));
  EXPECT_THAT(message([](auto& o) { o.bearer_token = "a\nX-Evil: 1"; }),
              HasSubstr("bearer token holds"));
  EXPECT_THAT(message([](auto& o) { o.user = "u", o.bearer_token = "t"; }),
              HasSubstr("one of them"));
}

TEST_F(ConfluentRegistry, NamesOfSubjectsStayInTheirPlaceInThePath) {
  (void)open()->versions("../a b/ü?x=1#y");
  EXPECT_EQ(server_.requests().at(0).path, "/subjects/..%2Fa%20b%2F%C3%BC%3Fx%3D1%23y/versions");
}

TEST_F(ConfluentRegistry, TrustsOnlyTheCertificatesThatItWasGiven) {
  const auto file = std::filesystem::path(testing::TempDir()) /
                    ("sonder_registry_" + std::to_string(::getpid()) + ".pem");
  const tls_server secured(file.string(), json{{"schema", labelled}}.dump());
  auto how = options();
  how.url = "https://localhost:" + std::to_string(secured.port());
  const auto refused = open(how)->by_id(1);
  EXPECT_EQ(refused.error().code, errc::unavailable);
  EXPECT_THAT(refused.error().message, HasSubstr("certificate"));
  how.ca_file = file.string();
  auto named_otherwise = how;
  named_otherwise.url = "https://127.0.0.1:" + std::to_string(secured.port());
  EXPECT_EQ(open(named_otherwise)->by_id(1).error().code, errc::unavailable);
  EXPECT_EQ(secured.requests(), 0) << "nothing was said to a stranger";
  const auto trusted = open(how)->by_id(1);
  EXPECT_TRUE(trusted) << trusted.error().message;
  EXPECT_EQ(secured.requests(), 1);
  std::filesystem::remove(file);
}

TEST_F(ConfluentRegistry, PassesOnTheRegistrysVerdict) {
  const auto of = schema_of("\"int\"");
  std::string level = "BACKWARD";
  const auto says = [&](answer verdict) {
    server_.behave([verdict, level](const request& asked) {
      if (asked.method == "POST") return verdict;
      return answer{200, json{{"compatibilityLevel", level}}.dump(), {}};
    });
  };
  says({200, R"({"is_compatible":false,"messages":["field v"]})", {}});
  EXPECT_THAT(*open()->conflicts("s", *of), ElementsAre("field v"));
  EXPECT_EQ(server_.requests().back().path,
            "/compatibility/subjects/s/versions/latest?verbose=true");
  level = "FULL_TRANSITIVE";
  says({200, R"({"is_compatible":false})", {}});
  EXPECT_THAT(*open()->conflicts("s", *of), SizeIs(1));
  EXPECT_EQ(server_.requests().back().path, "/compatibility/subjects/s/versions?verbose=true");
  says({200, R"({"is_compatible":true})", {}});
  EXPECT_THAT(*open()->conflicts("s", *of), IsEmpty());
  answers(none(40401));
  EXPECT_THAT(*open()->conflicts("s", *of), IsEmpty());
  says({200, R"({"is_compatible":"yes"})", {}});
  EXPECT_EQ(open()->conflicts("s", *of).error().code, errc::unavailable);
  says({422, R"({"error_code":42201,"message":"bad schema"})", {}});
  EXPECT_THAT(open()->conflicts("s", *of).error().message, HasSubstr("bad schema"));
}

}  // namespace
}  // namespace sonder::test
