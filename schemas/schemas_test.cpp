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

/// What breaks between the schema in `folder` and the versions of it that are kept beside it.
std::vector<std::string> broken_promises(const fs::path& folder, const fs::path& file) {
  std::vector<schema_ptr> versions;
  for (int n = 1;; ++n) {
    const auto kept = folder / "versions" / std::to_string(n) / file;
    if (!fs::exists(kept)) break;
    const auto read = load_schema_file(kept);
    if (!read) return {read.error().message};
    versions.push_back(*read);
  }
  if (versions.empty()) return {"keep a copy of " + file.string() + " under schemas/versions/1"};
  const auto now = load_schema_file(folder / file);
  if (!now) return {now.error().message};
  return check_compatibility(**now, versions, compatibility::full_transitive);
}

TEST_P(ShippedSchema, ReadsAndIsReadByItsEarlierVersions) {
  EXPECT_THAT(broken_promises(schema_folder(), GetParam().filename()), IsEmpty());
}

/// A copy of the shipped schemas in which one was changed.
class changed_schemas {
 public:
  changed_schemas(const fs::path& file, const std::string& from, const std::string& to) {
    fs::remove_all(folder_);
    fs::copy(schema_folder(), folder_, fs::copy_options::recursive);
    auto text = text_of(folder_ / file);
    const auto at = text.find(from);
    EXPECT_NE(at, std::string::npos) << file << " holds no " << from;
    if (at != std::string::npos) text.replace(at, from.size(), to);
    std::ofstream(folder_ / file) << text;
  }
  ~changed_schemas() { fs::remove_all(folder_); }
  changed_schemas(const changed_schemas&) = delete;
  changed_schemas& operator=(const changed_schemas&) = delete;
  [[nodiscard]] const fs::path& folder() const { return folder_; }

 private:
  fs::path folder_ = fs::path(::testing::TempDir()) / "sonder_changed_schemas";
};

TEST_P(ShippedSchema, IsRefusedWithANewFieldThatHasNoDefault) {
  const auto file = GetParam().filename();
  const std::string fields = "\"fields\": [";
  const changed_schemas changed(file, fields, fields + R"({"name": "brand_new", "type": "string", "doc": "New."},)");
  EXPECT_THAT(broken_promises(changed.folder(), file),
              ::testing::Contains(::testing::HasSubstr("brand_new")));
}

TEST_P(ShippedSchema, IsRefusedWithAFieldOfAnotherName) {
  const auto file = GetParam().filename();
  const auto before = load_schema_file(GetParam());
  ASSERT_TRUE(before);
  // One without default: a field that has one may come and go.
  const auto& fields = (*before)->fields;
  const auto needed = std::find_if(fields.begin(), fields.end(), [](const auto& f) { return !f.default_json; });
  ASSERT_NE(needed, fields.end());
  const auto named = "{\"name\": \"" + needed->name + "\"";
  const changed_schemas changed(file, named, "{\"name\": \"renamed\"");
  EXPECT_THAT(broken_promises(changed.folder(), file),
              ::testing::Contains(::testing::HasSubstr(needed->name)));
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

}  // namespace
}  // namespace sonder
