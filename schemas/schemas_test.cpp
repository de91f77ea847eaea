#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "avro/compatibility.h"
#include "avro/registry.h"
#include "privacy/label.h"

namespace sonder {
namespace {

namespace fs = std::filesystem;
using ::testing::IsEmpty;

fs::path schema_folder() {
  const auto* root = std::getenv("SONDER_SOURCE_DIR");
  return fs::path(root != nullptr ? root : ".") / "schemas";
}

std::vector<fs::path> files_in(const fs::path& folder, const std::string& extension) {
  std::vector<fs::path> files;
  if (!fs::is_directory(folder)) return files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == extension) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::string text_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

/// What a reader of the schema would miss: fields, at every depth, without documentation or without
/// a label that can be read.
void find_gaps(const schema& of, const std::string& at, std::vector<std::string>& gaps) {
  if (of.named() && of.doc.empty()) gaps.push_back(at + " has no doc");
  for (const auto& f : of.fields) {
    const auto here = at + "." + f.name;
    if (f.doc.empty()) gaps.push_back(here + " has no doc");
    const auto* text = f.attribute("sonder.privacy");
    if (text == nullptr) {
      gaps.push_back(here + " has no label");
    } else if (const auto read = parse_label(*text); !read) {
      gaps.push_back(here + ": " + read.error().message);
    }
    find_gaps(*f.type, here, gaps);
  }
  for (const auto& branch : of.branches) find_gaps(*branch, at, gaps);
  if (of.items != nullptr) find_gaps(*of.items, at, gaps);
}

class ShippedSchema : public ::testing::TestWithParam<fs::path> {};

TEST_P(ShippedSchema, ParsesAndIsNamedLikeItsFile) {
  const auto read = load_schema_file(GetParam());
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ((*read)->full_name(), "sonder." + GetParam().stem().string());
}

TEST_P(ShippedSchema, DocumentsAndLabelsEveryField) {
  const auto read = load_schema_file(GetParam());
  ASSERT_TRUE(read) << read.error().message;
  std::vector<std::string> gaps;
  find_gaps(**read, (*read)->name, gaps);
  EXPECT_THAT(gaps, IsEmpty());
}

TEST_P(ShippedSchema, IsAcceptedByApacheAvroC) {
  const auto checked = cross_check_with_avro_c(text_of(GetParam()));
  EXPECT_TRUE(checked) << checked.error().message;
}

TEST_P(ShippedSchema, ReadsAndIsReadByItsEarlierVersions) {
  std::vector<schema_ptr> versions;
  for (int n = 1;; ++n) {
    const auto file = schema_folder() / "versions" / std::to_string(n) / GetParam().filename();
    if (!fs::exists(file)) break;
    const auto read = load_schema_file(file);
    ASSERT_TRUE(read) << read.error().message;
    versions.push_back(*read);
  }
  ASSERT_FALSE(versions.empty()) << "keep a copy under schemas/versions/1";
  const auto now = load_schema_file(GetParam());
  ASSERT_TRUE(now) << now.error().message;
  EXPECT_THAT(check_compatibility(**now, versions, compatibility::full_transitive), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Each, ShippedSchema,
                         ::testing::ValuesIn(files_in(schema_folder(), ".avsc")),
                         [](const auto& each) { return each.param.stem().string(); });

TEST(ShippedSchemas, AreThoseThatTheReadmeLists) {
  const auto readme = text_of(schema_folder() / "README.md");
  const auto files = files_in(schema_folder(), ".avsc");
  EXPECT_EQ(files.size(), 8U);
  for (const auto& file : files)
    EXPECT_NE(readme.find("`" + file.stem().string() + "`"), std::string::npos) << file;
}

TEST(ShippedSchemas, AChangeThatWouldBreakReadersIsFound) {
  auto text = text_of(schema_folder() / "journal_entry.avsc");
  const auto before = parse_schema(text);
  ASSERT_TRUE(before);
  const std::string field = R"({"name": "text", "type": "string",)";
  const auto at = text.find(field);
  ASSERT_NE(at, std::string::npos);
  text.replace(at, field.size(), R"({"name": "words", "type": "string",)");
  const auto after = parse_schema(text);
  ASSERT_TRUE(after) << after.error().message;
  EXPECT_FALSE(check_compatibility(**after, {{*before}}, compatibility::full_transitive).empty());
}

}  // namespace
}  // namespace sonder
