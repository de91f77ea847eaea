#include "plugin/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "plugin/inspect.h"
#include "sonder/plugin.h"

namespace sonder {
namespace {

using json = nlohmann::ordered_json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

/// A manifest that uses every property.
json full() {
  return json::parse(R"({
    "id": "acme", "version": "1.2.0-rc.1", "abi": {"major": 1, "minor": 0}, "summary": "Does it all.", "licence": "MIT",
    "inputs": [
      {"name": "texts", "role": "event", "doc": "What people wrote.",
       "reads": [{"name": "text", "type": "string", "doc": "The text."},
                 {"name": "mood", "type": ["null", {"type": "enum", "name": "mood", "symbols": ["LOW", "HIGH"]}], "optional": true}],
       "reserved": ["event_time", "key"],
       "writes": [{"name": "valence", "type": "double", "doc": "In [-1, 1].", "adds": ["special_category"]},
                  {"name": "text", "type": "string"}],
       "passes": "out"},
      {"name": "rules", "role": "table", "reads": [{"name": "pattern", "type": "string"}]}],
    "outputs": [{"name": "out"}, {"name": "alerts", "emits": [{"name": "level", "type": "int"}]}],
    "reasons": ["too_long"],
    "stores": [{"name": "seen", "key": "bytes", "value": {"type": "array", "items": "long"}, "version": 3, "personal": true}],
    "timers": ["expiry"],
    "metrics": [{"name": "sonder_acme_found_total", "type": "counter", "unit": "1", "help": "Found.",
                 "label": {"name": "kind", "values": ["email", "phone"]}}],
    "services": ["state/1", "timer/1", "metrics/1", "secrets/1", "clock/1"],
    "secrets": ["salt"], "ordering": "per_task", "deterministic": false,
    "declassifies": [{"name": "deidentify", "field": "text", "removes": ["direct_identifier", "free_text"]}],
    "purpose": "required",
    "config": {"type": "object", "additionalProperties": false,
               "properties": {"limit": {"type": "integer", "default": 10, "description": "How many."}}}
  })");
}

TEST(Manifest, SaysAllThatItsPluginDeclares) {
  const auto made = parse_manifest(full().dump());
  ASSERT_TRUE(made.has_value()) << made.error().message;
  EXPECT_EQ(made->id, "acme");
  ASSERT_EQ(made->inputs.size(), 2U);
  const auto& texts = made->inputs[0];
  EXPECT_EQ(texts.role, input_role::event);
  EXPECT_EQ(texts.passes, 0);
  EXPECT_EQ(texts.reads[0].column, (field{"text", {type_id::utf8, 0, 0, {}, {}}, false}));
  EXPECT_EQ(texts.reads[1].column.type.id, type_id::enumeration);
  EXPECT_TRUE(texts.reads[1].optional && texts.reads[1].column.nullable);
  EXPECT_TRUE(texts.reserved.event_time && texts.reserved.key && !texts.reserved.headers);
  EXPECT_EQ(texts.writes[0].adds, std::vector<std::string>{"special_category"});
  EXPECT_EQ(made->inputs[1].role, input_role::table);
  EXPECT_EQ(made->inputs[1].passes, -1);
  EXPECT_TRUE(made->outputs[1].emitted && !made->outputs[0].emitted);
  EXPECT_EQ(made->stores[0].version, 3U);
  EXPECT_EQ(made->metrics[0].label_values.size(), 2U);
  EXPECT_EQ(made->ordering, task_ordering::per_task);
  EXPECT_FALSE(made->deterministic);
  EXPECT_EQ(made->declassifies[0].removes.size(), 2U);
  EXPECT_TRUE(made->asks_for("timer/1"));
  EXPECT_FALSE(made->asks_for("random/1"));
}

struct fault {
  const char* name;
  std::function<void(json&)> make;
  const char* message;
};

class ManifestFaults : public ::testing::TestWithParam<fault> {};

TEST_P(ManifestFaults, AreRefusedByTheNameOfTheProperty) {
  auto document = full();
  GetParam().make(document);
  const auto made = parse_manifest(document.dump());
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(made.error().message, GetParam().message);
}

const std::vector<fault> faults = {
    {"unknown_property", [](json& m) { m["licens"] = "MIT"; },
     "/licens: no such property; did you mean \"licence\"?"},
    {"missing_property", [](json& m) { m.erase("ordering"); },
     "manifest: lacks the property \"ordering\""},
    {"missing_abi", [](json& m) { m.erase("abi"); }, "manifest: lacks the property \"abi\""},
    {"other_major", [](json& m) { m["abi"]["major"] = 2; },
     "built for sonder ABI 2.0, this host offers 1.0; rebuild against sonder 1.x or use a newer "
     "host"},
    {"newer_minor", [](json& m) { m["abi"]["minor"] = 4; },
     "built for sonder ABI 1.4, this host offers 1.0; rebuild against sonder 1.x or use a newer "
     "host"},
    {"older_major", [](json& m) { m["abi"]["major"] = 0; },
     "built for sonder ABI 0.0, this host offers 1.0; rebuild against sonder 1.x or use an older "
     "host"},
    {"abi_text", [](json& m) { m["abi"]["major"] = "1"; },
     "/abi/major: wants a whole number from 0 to 65535"},
    {"bad_id", [](json& m) { m["id"] = "Acme!"; },
     "/id: wants a name of a-z, 0-9 and _ that starts with a letter"},
    {"bad_version", [](json& m) { m["version"] = "one"; },
     "/version: wants a version such as \"1.0.2\""},
    {"control_character", [](json& m) { m["summary"] = "\x1b[31m"; },
     "/summary: has a control character"},
    {"bad_role", [](json& m) { m["inputs"][0]["role"] = "tabel"; },
     "/inputs/0/role: wants one of \"event\", \"table\"; did you mean \"table\"?"},
    {"optional_without_null", [](json& m) { m["inputs"][0]["reads"][0]["optional"] = true; },
     "/inputs/0/reads/0/optional: an optional read needs a type with null, such as [\"null\", "
     "\"string\"]"},
    {"optional_where_without_null",
     [](json& m) { m["inputs"][0]["reads"][0]["optional_where"] = "limit"; },
     "/inputs/0/reads/0/optional_where: an optional read needs a type with null, such as "
     "[\"null\", \"string\"]"},
    {"optional_twice", [](json& m) { m["inputs"][0]["reads"][1]["optional_where"] = "limit"; },
     "/inputs/0/reads/1/optional_where: stands beside \"optional\"; use one of the two"},
    {"optional_where_nothing_is",
     [](json& m) {
       m["inputs"][0]["reads"][1].erase("optional");
       m["inputs"][0]["reads"][1]["optional_where"] = "limits";
     },
     "/inputs/0/reads/1/optional_where: \"config\" has no property \"limits\"; did you mean "
     "\"limit\"?"},
    {"read_twice", [](json& m) { m["inputs"][0]["reads"][1]["name"] = "text"; },
     "/inputs/0/reads/1/name: \"text\" is there before; names must differ"},
    {"bad_reserved", [](json& m) { m["inputs"][0]["reserved"][1] = "header"; },
     "/inputs/0/reserved/1: wants one of \"timestamp\", \"event_time\", \"tombstone\", \"key\", "
     "\"headers\"; did you mean "
     "\"headers\"?"},
    {"passes_nowhere", [](json& m) { m["inputs"][0]["passes"] = "oot"; },
     "/inputs/0/passes: no output is called \"oot\"; did you mean \"out\"?"},
    {"passes_to_emitted", [](json& m) { m["inputs"][0]["passes"] = "alerts"; },
     "/inputs/0/passes: output \"alerts\" has \"emits\": rows are emitted there, not passed"},
    {"no_passes", [](json& m) { m["inputs"][0].erase("passes"); },
     "/inputs/0: lacks the property \"passes\": the output on which its rows leave"},
    {"table_passes", [](json& m) { m["inputs"][1]["passes"] = "out"; },
     "/inputs/1/passes: the rows of a table end here; leave it out"},
    {"dead_output",
     [](json& m) {
       m["outputs"].push_back({{"name", "more"}});
     },
     "/outputs/2: no input passes to it and it has no \"emits\": nothing would ever leave there"},
    {"no_inputs", [](json& m) { m["inputs"] = json::array(); }, "/inputs: wants at least one port"},
    {"store_version", [](json& m) { m["stores"][0]["version"] = 0; },
     "/stores/0/version: wants a whole number from 1 to 1000000"},
    {"store_without_service", [](json& m) { m["services"].erase(0); },
     "/stores: needs \"state/1\" under \"services\""},
    {"stateless_with_stores", [](json& m) { m["ordering"] = "stateless"; },
     "/ordering: a stateless plugin has no stores and no timers; use \"per_task\""},
    {"unknown_service", [](json& m) { m["services"][0] = "state/2"; },
     "/services/0: this host does not offer the service \"state/2\"; did you mean \"state/1\"?"},
    {"authority_without_purpose", [](json& m) { m["services"].push_back("consent_authority/1"); },
     "/services: \"consent_authority/1\" needs \"purpose\": \"authority\""},
    {"metric_prefix", [](json& m) { m["metrics"][0]["name"] = "acme_total"; },
     "/metrics/0/name: wants a name that starts with sonder_"},
    {"metric_suffix", [](json& m) { m["metrics"][0]["type"] = "gauge"; },
     "/metrics/0/name: a counter's name ends with _total, a gauge's does not"},
    {"metric_label", [](json& m) { m["metrics"][0]["label"]["values"] = json::array(); },
     "/metrics/0/label/values: wants at least one value"},
    {"declassifies_unless_nothing", [](json& m) { m["declassifies"][0]["unless"] = {"limits"}; },
     "/declassifies/0/unless/0: \"config\" has no property \"limits\"; did you mean "
     "\"limit\"?"},
    {"declassifies_nothing", [](json& m) { m["declassifies"][0]["field"] = "name"; },
     "/declassifies/0/field: no port writes or emits a field \"name\""},
    {"config_keyword", [](json& m) { m["config"]["properties"]["limit"]["minimun"] = 1; },
     "/config/properties/limit/minimun: is not a keyword of the supported subset of JSON Schema; "
     "did you mean \"minimum\"?"},
    {"config_default", [](json& m) { m["config"]["properties"]["limit"]["default"] = "ten"; },
     "/config/properties/limit/default: its own schema refuses it: wants an integer, found a "
     "string"},
    {"config_no_object", [](json& m) { m["config"]["type"] = "array"; },
     "/config: wants a JSON Schema with \"type\": \"object\""},
    {"wrong_shape", [](json& m) { m["reasons"] = "too_long"; }, "/reasons: wants an array"},
    {"too_many", [](json& m) { m["reasons"] = json(std::vector<std::string>(257, "r")); },
     "/reasons: has more than 256 entries"},
    {"no_object", [](json& m) { m = json::array(); }, "manifest: wants an object"},
};

TEST(Manifest, NamesThePlaceOfATypeThatIsNoAvroType) {
  auto document = full();
  document["inputs"][0]["reads"][1]["type"] = "strng";
  const auto made = parse_manifest(document.dump());
  ASSERT_FALSE(made.has_value());
  EXPECT_THAT(made.error().message, StartsWith("/inputs/0/reads/1/type: "));
}

INSTANTIATE_TEST_SUITE_P(All, ManifestFaults, ::testing::ValuesIn(faults),
                         [](const auto& tested) { return std::string(tested.param.name); });

TEST(Manifest, RefusesTextThatIsNoPlainJson) {
  const auto message = [](std::string_view text) { return parse_manifest(text).error().message; };
  EXPECT_EQ(message("{\"id\":\n oops}"), "manifest: not JSON at line 2, column 2");
  EXPECT_EQ(message(""), "manifest: not JSON at line 1, column 1");
  EXPECT_EQ(message("{\"id\":1,\"id\":2}"), "manifest: an object has the same property twice");
  EXPECT_EQ(message("\"\xff\""), "manifest: not JSON at line 1, column 2");
  EXPECT_EQ(message(std::string(1000, '[')), "manifest: is nested deeper than 32 levels");
  EXPECT_THAT(message(std::string(manifest_bytes_max + 1, ' ')),
              HasSubstr("at most 1048576 are read"));
}

TEST(Inspect, JsonIsAManifestAgainAndSaysTheSame) {
  const auto made = parse_manifest(full().dump());
  ASSERT_TRUE(made.has_value());
  auto again = json::parse(inspect_json(*made, "acme.so"));
  EXPECT_EQ(again["path"], "acme.so");
  again.erase("path");
  const auto reread = parse_manifest(again.dump());
  ASSERT_TRUE(reread.has_value()) << reread.error().message;
  EXPECT_EQ(inspect_json(*reread, "acme.so"), inspect_json(*made, "acme.so"));
}

TEST(Inspect, TextShowsEveryDeclaration) {
  const auto text = inspect_text(*parse_manifest(full().dump()), "plugins/acme.so");
  for (const char* shown : {"acme 1.2.0-rc.1",
                            "plugins/acme.so",
                            "Does it all.",
                            "MIT",
                            "texts (event) -> out: What people wrote.",
                            "rules (table)",
                            "alerts (emitted rows)",
                            "In [-1, 1].; adds special_category",
                            "event_time, key",
                            "too_long",
                            "seen",
                            "version 3",
                            "expiry",
                            "sonder_acme_found_total",
                            "kind: email, phone",
                            "salt",
                            "deidentify",
                            "removes direct_identifier, free_text",
                            "limit",
                            "default 10",
                            "How many."}) {
    EXPECT_THAT(text, HasSubstr(shown));
  }
}

}  // namespace
}  // namespace sonder
