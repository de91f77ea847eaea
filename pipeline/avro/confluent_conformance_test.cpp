// The client against a registry that others wrote, and our verdicts on compatibility against its
// own.
#include <gmock/gmock.h>

#include "avro/compatibility.h"
#include "avro/confluent_registry.h"
#include "avro/test_rows.h"
#include "kafka/broker.h"

namespace sonder::test {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

class RealRegistry : public testing::Test {
 protected:
  void SetUp() override { SONDER_NEEDS_BROKER(); }

  static std::unique_ptr<confluent_registry> open(bool auto_register = true) {
    confluent_options how;
    how.url = broker::of_this_run().registry;
    how.auto_register = auto_register;
    auto opened = confluent_registry::open(std::move(how));
    EXPECT_TRUE(opened) << (opened ? "" : opened.error().message);
    return opened ? *std::move(opened) : nullptr;
  }
};

const std::string entry =
    R"({"type":"record","name":"entry","namespace":"x","doc":"what \u00e9lodie wrote","aliases":["x.note"],"fields":[
        {"name":"subject_id","type":"string","sonder.privacy":["direct_identifier"],"doc":"who"},
        {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"},"default":0},
        {"name":"mood","type":["null",{"type":"enum","name":"mood","symbols":["UP","DOWN"],"default":"UP"}],"default":null,
         "aliases":["feeling"],"sonder.privacy":{"categories":["special_category"],"purposes":["ServicePersonalisation"]}},
        {"name":"tags","type":{"type":"map","values":{"type":"array","items":"double"}},"default":{}}]})";

TEST_F(RealRegistry, GivesBackEachLabelDefaultAliasAndDoc) {
  const std::string subject = name_of_its_own("entry") + "-value";
  const auto of = schema_of(entry);
  const auto id = open()->register_schema(subject, *of);
  ASSERT_TRUE(id) << id.error().message;
  const auto stranger = open(false);
  const auto kept = stranger->by_id(*id);
  ASSERT_TRUE(kept) << kept.error().message;
  EXPECT_EQ(to_json(**kept), to_json(*of));
  EXPECT_EQ(*stranger->register_schema(subject, *of), *id);
  EXPECT_THAT(*stranger->subjects(), Contains(subject));
  const auto versions = stranger->versions(subject);
  ASSERT_THAT(*versions, SizeIs(1));
  EXPECT_EQ(versions->front().first, *id);
}

TEST_F(RealRegistry, TellsSchemasApartThatDifferInALabelAlone) {
  const std::string subject = name_of_its_own("labels");
  const auto client = open();
  const auto one = schema_of(record_of("\"int\"", R"(,"sonder.privacy":["pseudonym"])"));
  const auto two = schema_of(record_of("\"int\"", R"(,"sonder.privacy":["free_text"])"));
  const auto id = client->register_schema(subject, *one);
  const auto other = client->register_schema(subject, *two);
  ASSERT_TRUE(id && other) << id.error().message;
  EXPECT_NE(*id, *other);
  EXPECT_EQ(*open()->register_schema(subject, *one), *id);
  EXPECT_EQ(*open()->register_schema(name_of_its_own("labels"), *one), *id)
      << "whatever the subject";
  EXPECT_EQ(to_json(**open()->by_id(*other)), to_json(*two));
}

TEST_F(RealRegistry, SaysThatThereIsNone) {
  const auto client = open(false);
  EXPECT_EQ(client->by_id(2'000'000'000).error().code, errc::not_found);
  EXPECT_THAT(*client->versions(name_of_its_own("nobody")), IsEmpty());
  const auto refused = client->register_schema(name_of_its_own("nobody"), *schema_of("\"int\""));
  EXPECT_EQ(refused.error().code, errc::not_found);
}

TEST_F(RealRegistry, RefusesAnIncompatibleVersion) {
  const std::string subject = name_of_its_own("strict");
  const auto client = open();
  ASSERT_TRUE(client->register_schema(subject, *schema_of(record_of("\"int\""))));
  ASSERT_TRUE(client->set_compatibility(subject, compatibility::backward));
  const auto refused = client->register_schema(subject, *schema_of(record_of("\"string\"")));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, errc::invalid);
  EXPECT_THAT(refused.error().message, HasSubstr("field \"v\""));
  EXPECT_THAT(*client->versions(subject), SizeIs(1));
}

// --- verdicts
// -------------------------------------------------------------------------------------

struct change {
  const char* what;
  std::string from;
  std::string to;
};

std::string fields(const std::string& list) {
  return R"({"type":"record","name":"r","namespace":"x","fields":[)" + list + "]}";
}
std::string of_type(const std::string& type) {
  return fields(R"({"name":"v","type":)" + type + "}");
}
std::string symbols(const std::string& list, const std::string& rest = "") {
  return of_type(R"({"type":"enum","name":"e","symbols":[)" + list + "]" + rest + "}");
}

const std::string a = R"({"name":"a","type":"int"})";
const std::string b = R"({"name":"b","type":"string"})";
const std::string b_default = R"({"name":"b","type":"string","default":""})";

const change changes[] = {
    {"nothing", fields(a), fields(a)},
    {"a doc", fields(a), fields(R"({"name":"a","type":"int","doc":"d"})")},
    {"a label", fields(a), fields(R"({"name":"a","type":"int","sonder.privacy":["pseudonym"]})")},
    {"a field more", fields(a), fields(a + "," + b)},
    {"a field with a default more", fields(a), fields(a + "," + b_default)},
    {"a field less", fields(a + "," + b), fields(a)},
    {"a field with a default less", fields(a + "," + b_default), fields(a)},
    {"other order", fields(a + "," + b), fields(b + "," + a)},
    {"another name", fields(a), fields(R"({"name":"c","type":"int"})")},
    {"another name with an alias", fields(a),
     fields(R"({"name":"c","type":"int","aliases":["a"]})")},
    {"int to long", of_type("\"int\""), of_type("\"long\"")},
    {"int to float", of_type("\"int\""), of_type("\"float\"")},
    {"int to double", of_type("\"int\""), of_type("\"double\"")},
    {"long to float", of_type("\"long\""), of_type("\"float\"")},
    {"float to double", of_type("\"float\""), of_type("\"double\"")},
    {"double to float", of_type("\"double\""), of_type("\"float\"")},
    {"long to int", of_type("\"long\""), of_type("\"int\"")},
    {"string to bytes", of_type("\"string\""), of_type("\"bytes\"")},
    {"int to string", of_type("\"int\""), of_type("\"string\"")},
    {"boolean to int", of_type("\"boolean\""), of_type("\"int\"")},
    {"null becomes possible", of_type("\"int\""), of_type(R"(["null","int"])")},
    {"a branch more", of_type(R"(["null","int"])"), of_type(R"(["null","int","string"])")},
    {"branches in other order", of_type(R"(["null","int"])"), of_type(R"(["int","null"])")},
    {"a wider branch", of_type(R"(["null","int"])"), of_type(R"(["null","long"])")},
    {"a symbol more", symbols(R"("A")"), symbols(R"("A","B")")},
    {"a symbol more with a default", symbols(R"("A")", R"(,"default":"A")"),
     symbols(R"("A","B")", R"(,"default":"A")")},
    {"symbols in other order", symbols(R"("A","B")"), symbols(R"("B","A")")},
    {"an item's type", of_type(R"({"type":"array","items":"int"})"),
     of_type(R"({"type":"array","items":"long"})")},
    {"a value's type", of_type(R"({"type":"map","values":"int"})"),
     of_type(R"({"type":"map","values":"string"})")},
    {"array to map", of_type(R"({"type":"array","items":"int"})"),
     of_type(R"({"type":"map","values":"int"})")},
    {"a fixed's size", of_type(R"({"type":"fixed","name":"f","size":4})"),
     of_type(R"({"type":"fixed","name":"f","size":8})")},
    {"a field inside", of_type(R"({"type":"record","name":"i","fields":[)" + a + "]}"),
     of_type(R"({"type":"record","name":"i","fields":[)" + a + "," + b + "]}")},
    {"another type at the top", fields(a), "\"string\""},
};

TEST_F(RealRegistry, AgreesWithOurVerdictOnEachChange) {
  const auto client = open();
  for (const auto mode : {compatibility::backward, compatibility::forward, compatibility::full}) {
    for (const auto& one : changes) {
      const std::string subject = name_of_its_own("verdict");
      const auto from = schema_of(one.from);
      const auto to = schema_of(one.to);
      const auto id = client->register_schema(subject, *from);
      ASSERT_TRUE(id) << id.error().message;
      ASSERT_TRUE(client->set_compatibility(subject, mode));
      const auto theirs = client->conflicts(subject, *to);
      ASSERT_TRUE(theirs) << theirs.error().message;
      const auto ours = check_compatibility(*to, std::vector{from}, mode);
      EXPECT_EQ(ours.empty(), theirs->empty())
          << name(mode) << ": " << one.what << ": " << (ours.empty() ? "we take it" : ours.front())
          << "; registry: " << (theirs->empty() ? "takes it" : theirs->front());
    }
  }
}

TEST_F(RealRegistry, AgreesThatTransitiveModesLookAtEachVersion) {
  const auto client = open();
  const std::string subject = name_of_its_own("transitive");
  const std::vector earlier = {schema_of(fields(a + "," + b)), schema_of(fields(a))};
  const auto next = schema_of(fields(a + R"(,{"name":"b","type":"int","default":0})"));
  ASSERT_TRUE(client->register_schema(subject, *earlier[0]));
  ASSERT_TRUE(client->set_compatibility(subject, compatibility::none));
  ASSERT_TRUE(client->register_schema(subject, *earlier[1]));
  for (const auto mode : {compatibility::backward_transitive, compatibility::backward}) {
    ASSERT_TRUE(client->set_compatibility(subject, mode));
    const auto theirs = client->conflicts(subject, *next);
    ASSERT_TRUE(theirs) << theirs.error().message;
    const bool we_take_it = check_compatibility(*next, earlier, mode).empty();
    EXPECT_EQ(we_take_it, theirs->empty()) << name(mode);
    EXPECT_EQ(we_take_it, client->register_schema(subject, *next).has_value()) << name(mode);
  }
}

}  // namespace
}  // namespace sonder::test
