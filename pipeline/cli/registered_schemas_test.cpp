#include "cli/registered_schemas.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

namespace sonder::cli {
namespace {

using ::testing::HasSubstr;

/// A registry with one subject, "note-value"; a version without a schema is one that cannot be read.
class some_unreadable final : public schema_registry {
 public:
  explicit some_unreadable(std::vector<std::pair<std::int32_t, schema_ptr>> of) : of_(std::move(of)) {}
  result<std::int32_t> register_schema(std::string_view, const schema&) override { return fail(errc::unsupported, "only read"); }
  result<std::int32_t> id_of(const schema&) override { return fail(errc::not_found, "only read"); }
  result<schema_ptr> by_id(std::int32_t id) override {
    return fail(errc::unsupported, "http://r: schema " + std::to_string(id) + " is of another kind than Avro");
  }
  result<std::vector<std::pair<std::int32_t, schema_ptr>>> versions(std::string_view) override {
    return fail(errc::unsupported, "one of them cannot be read");
  }
  result<std::vector<std::pair<std::int32_t, schema_ptr>>> versions_and_unreadable(std::string_view) override { return of_; }
  result<std::vector<std::string>> subjects() override { return std::vector<std::string>{"note-value"}; }

 private:
  std::vector<std::pair<std::int32_t, schema_ptr>> of_;
};

schema_ptr note(const std::string& field) {
  return parse_schema(R"({"type":"record","name":"note","fields":[{"name":")" + field + R"(","type":"string"}]})").value();
}

constexpr auto of_version_2 = "sonder: subject \"note-value\": the version with schema 8 cannot be read: http://r: schema 8 is of another kind than Avro\n";

TEST(RegisteredSchemas, AreAllListedWhereOneCannotBeReadAndThatOneIsNamed) {
  some_unreadable registry({{7, note("a")}, {8, nullptr}, {9, note("b")}});
  std::ostringstream out, said;
  EXPECT_EQ(list_schemas(registry, true, out, said).value(), 1U);
  EXPECT_EQ(out.str(), R"({"id":7,"subject":"note-value","version":1,"schema":"note","fields":1})"
                       "\n"
                       R"({"id":8,"subject":"note-value","version":2,"schema":null,"fields":null})"
                       "\n"
                       R"({"id":9,"subject":"note-value","version":3,"schema":"note","fields":1})"
                       "\n");
  EXPECT_EQ(said.str(), of_version_2);
  out.str("");
  EXPECT_EQ(list_schemas(registry, false, out, said).value(), 1U);
  EXPECT_THAT(out.str(), HasSubstr("cannot be read"));
}

TEST(RegisteredSchemas, GiveTheNewestThatCanBeReadAndSayWhichNewerOnesCannot) {
  const auto oldest = note("a");
  some_unreadable registry({{7, oldest}, {8, nullptr}});
  std::ostringstream said;
  EXPECT_EQ(newest_schema(registry, "note-value", said).value(), oldest);
  EXPECT_EQ(said.str(), of_version_2);
  some_unreadable newer_good({{7, nullptr}, {9, oldest}});
  said.str("");
  EXPECT_EQ(newest_schema(newer_good, "note-value", said).value(), oldest);
  EXPECT_EQ(said.str(), "") << "older ones do not matter";
}

TEST(RegisteredSchemas, RefuseWhereNoVersionCanBeRead) {
  some_unreadable registry({{7, nullptr}, {8, nullptr}});
  std::ostringstream said;
  const auto none = newest_schema(registry, "note-value", said);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, errc::unsupported);
  EXPECT_THAT(none.error().message, HasSubstr("the version with schema 8 cannot be read: http://r: schema 8 is of another kind than Avro; no earlier one"));
  some_unreadable empty({});
  EXPECT_EQ(newest_schema(empty, "note-value", said).value(), nullptr);
}

}  // namespace
}  // namespace sonder::cli
