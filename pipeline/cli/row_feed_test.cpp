#include "cli/row_feed.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "avro/container.h"
#include "avro/encode_plan.h"
#include "avro/json.h"

namespace sonder::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr auto entry_schema = R"({"type":"record","name":"entry","fields":[
  {"name":"id","type":"string"},
  {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"},"default":0},
  {"name":"mood","type":["null","int"],"default":null},
  {"name":"tags","type":{"type":"array","items":"string"},"default":[]}]})";

schema_ptr entry() {
  return parse_schema(entry_schema).value();
}

row_feed::options csv(std::vector<std::pair<std::string, std::string>> map = {}) {
  row_feed::options out;
  out.form = feed_form::csv;
  out.map = std::move(map);
  return out;
}

std::vector<std::string> rows_of(row_feed& feed) {
  std::vector<std::string> out;
  columns rows(feed.fields());
  while (true) {
    rows.clear();
    const auto read = feed.read(2, rows);
    std::vector<const ArrowArray*> arrays;
    for (std::size_t i = 0; i < rows.size(); ++i) arrays.push_back(&rows[i].lend());
    for (std::int64_t r = 0; r < rows.length(); ++r)
      append_json_row(feed.fields(), arrays, r, out.emplace_back());
    if (!read) {
      out.push_back(read.error().message);
      return out;
    }
    if (*read == 0) return out;
  }
}

std::vector<std::string> read(const std::string& text, const row_feed::options& options = {}) {
  std::istringstream in(text);
  auto feed = feed_from(in, "in", entry(), options);
  if (!feed) return {feed.error().message};
  return rows_of(**feed);
}

TEST(RowFeed, ReadsJsonLinesAndPassesOverEmptyOnes) {
  EXPECT_THAT(read("{\"id\":\"a\",\"mood\":1}\n\n{\"id\":\"b\",\"at\":\"1970-01-01T00:00:01Z\"}\n"),
              ElementsAre(R"({"id":"a","at":0,"mood":1,"tags":[]})",
                          R"({"id":"b","at":1000,"mood":null,"tags":[]})"));
}

TEST(RowFeed, GivesTheRowsBeforeABrokenOneAndSaysOnWhichLineItIs) {
  EXPECT_THAT(read("{\"id\":\"a\"}\n{\"id\":7}\n"),
              ElementsAre(HasSubstr("{"), HasSubstr("in:2: ")));
}

TEST(RowFeed, ReadsCsvColumnsByTheNamesOfFields) {
  EXPECT_THAT(read("id,other,mood,tags\na,x,2,\"[\"\"p\"\"]\"\nb,y,,\n", csv()),
              ElementsAre(R"({"id":"a","at":0,"mood":2,"tags":["p"]})",
                          R"({"id":"b","at":0,"mood":null,"tags":[]})"));
}

TEST(RowFeed, KeepsTextOfDigitsAsText) {
  EXPECT_THAT(read("id\n007\n", csv()), ElementsAre(HasSubstr(R"("id":"007")")));
}

TEST(RowFeed, ReadsTimesOfACsvAsNumbersOrText) {
  EXPECT_THAT(
      read("id,when\na,1500\nb,1970-01-01T00:00:02Z\n", csv({{"id", "id"}, {"at", "when"}})),
      ElementsAre(HasSubstr("\"at\":1500"), HasSubstr("\"at\":2000")));
}

TEST(RowFeed, MapsTheFieldsItIsToldAndTheOthersByTheirNames) {
  EXPECT_THAT(read("id,count,mood\na,1,2\n", csv({{"mood", "count"}})),
              ElementsAre(R"({"id":"a","at":0,"mood":1,"tags":[]})"));
}

TEST(RowFeed, SaysHowToConvertTextOfAnotherEncoding) {
  const auto hint = HasSubstr("in:2: the text is not UTF-8; convert the file");
  EXPECT_THAT(read("id\ncaf\xe9\n", csv()), ElementsAre(hint));
  EXPECT_THAT(read("{\"id\":\"a\"}\n{\"id\":\"caf\xe9\"}\n"), ElementsAre(HasSubstr("{"), hint));
}

TEST(RowFeed, NamesAColumnOrFieldThatIsNotThere) {
  EXPECT_THAT(read("a,b\n", csv({{"id", "c"}})),
              ElementsAre("in: there is no column \"c\"; columns are a, b; did you mean \"a\"?"));
  EXPECT_THAT(read("a,b\n", csv({{"ID", "a"}})), ElementsAre(HasSubstr("has no field \"ID\"")));
  EXPECT_THAT(read("a,b\n", csv()),
              ElementsAre(HasSubstr("no column has the name of a field; give --map")));
  EXPECT_THAT(read("", csv()), ElementsAre(HasSubstr("is empty")));
}

TEST(RowFeed, NeverRepeatsAValueInAMessage) {
  const auto out = read("id,mood\na,secretive\n", csv());
  ASSERT_EQ(out.size(), 1U);
  EXPECT_THAT(out[0], HasSubstr("in:2"));
  EXPECT_THAT(out[0], HasSubstr("mood"));
  EXPECT_THAT(out[0], ::testing::Not(HasSubstr("secretive")));
}

struct Texts : ::testing::Test {
  std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("sonder_texts_" + std::to_string(::getpid()));
  void SetUp() override { std::filesystem::create_directories(folder); }
  void TearDown() override { std::filesystem::remove_all(folder); }

  std::string write(const std::string& name, const std::string& text) const {
    const auto path = (folder / name).string();
    std::ofstream(path) << text;
    return path;
  }
  static std::vector<std::string> all(const std::string& path, const std::string& column) {
    auto texts = open_texts(path, column);
    if (!texts) return {texts.error().message};
    std::vector<std::string> out;
    std::string text;
    while (true) {
      const auto more = (*texts)->next(text);
      if (!more) {
        out.push_back(more.error().message);
        return out;
      }
      if (!*more) return out;
      out.push_back(text);
    }
  }
};

TEST_F(Texts, ComeFromEachKindOfFile) {
  EXPECT_THAT(all(write("a.csv", "n,body\n1,\"x, y\"\n2,z\n"), "body"), ElementsAre("x, y", "z"));
  EXPECT_THAT(all(write("a.tsv", "n\tbody\n1\tx, y\n"), "body"), ElementsAre("x, y"));
  EXPECT_THAT(all(write("a.jsonl", "{\"body\":\"x\\ny\"}\n"), "body"), ElementsAre("x\ny"));

  const auto path = (folder / "a.avro").string();
  const auto of = entry();
  columns rows(column_fields(*of));
  json_row_reader reader(of);
  ASSERT_TRUE(reader.append(R"({"id":"from avro"})", rows));
  const auto plan = encode_plan::compile(*of, rows.fields());
  ASSERT_TRUE(plan) << plan.error().message;
  row_encoder encoder(*plan);
  std::vector<const ArrowArray*> arrays;
  for (std::size_t i = 0; i < rows.size(); ++i) arrays.push_back(&rows[i].lend());
  encoder.bind(arrays);
  buffer body;
  ASSERT_FALSE(encoder.encode(0, body));
  auto writer = container_writer::create(path, *of);
  ASSERT_TRUE(writer) << writer.error().message;
  ASSERT_TRUE(writer->append({body.data(), body.size()}));
  ASSERT_TRUE(writer->close());
  EXPECT_THAT(all(path, "id"), ElementsAre("from avro"));
  EXPECT_THAT(all(path, "at"), ElementsAre(HasSubstr("not a string")));
}

TEST_F(Texts, AreRefusedByTheirPlaceWhereTheyAreNotUtf8) {
  EXPECT_THAT(all(write("a.csv", "body\nfine\ncaf\xE9\n"), "body"),
              ElementsAre("fine", HasSubstr("a.csv: line 3: the text is not UTF-8; convert")));
  EXPECT_THAT(all(write("a.jsonl", "{\"body\":\"caf\xE9\"}\n"), "body"),
              ElementsAre(HasSubstr("a.jsonl:1: the text is not UTF-8; convert")));
}

TEST_F(Texts, SayWhatIsWrongWithTheHead) {
  EXPECT_THAT(all(write("a.csv", ""), "body"), ElementsAre(HasSubstr("a.csv: is empty")));
  EXPECT_THAT(all(write("a.csv", "Today I " + std::string(60, 'x') + "\n"), "body"),
              ElementsAre(HasSubstr("the first line does not look like names of columns")));
  // Without a line of names somebody's words stand there: no message may repeat them.
  EXPECT_THAT(all(write("a.csv", "e1,Ana Smith,I cut myself last night\n"), "body"),
              ElementsAre(testing::AllOf(HasSubstr("does not look like names of columns"), testing::Not(HasSubstr("Ana")))));
  EXPECT_THAT(all(write("a.csv", "n,boddy\n"), "body"), ElementsAre(HasSubstr("did you mean \"boddy\"?")));
  EXPECT_THAT(all(write("a.csv", "n;body\n1;x\n"), "body"),
              ElementsAre(HasSubstr("the first line is one cell; cells are parted by commas in .csv")));
}

TEST_F(Texts, SayWhatIsThereWhenTheColumnIsNot) {
  EXPECT_THAT(all(write("a.csv", "n,body\n"), "text"),
              ElementsAre(HasSubstr("there is no column \"text\"; columns are n, body")));
  EXPECT_THAT(all(write("a.jsonl", "{\"body\":1}\n"), "body"),
              ElementsAre(HasSubstr("a.jsonl:1: has no text under \"body\"")));
  EXPECT_THAT(all(write("a.txt", "x"), "body"),
              ElementsAre(HasSubstr("its name must end in .jsonl, .csv, .tsv or .avro")));
  EXPECT_THAT(all((folder / "no.csv").string(), "body"),
              ElementsAre(HasSubstr("no.csv: cannot be read")));
}

}  // namespace
}  // namespace sonder::cli
