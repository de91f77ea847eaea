#include "finder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <limits>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/characters.h"
#include "text/diacritics.h"
#include "text/utf8.h"

namespace sonder::anonymizer {
namespace {

using found = std::pair<std::string, std::string>;  // kind, text

const finder& with_all_dates() {
  static const finder made{finder_options{}};
  return made;
}

std::vector<found> find_in(std::string_view text, const finder& finding = with_all_dates()) {
  workspace work;
  finding.find(text, work);
  std::vector<found> all;
  for (const span& each : work.spans) {
    all.emplace_back(std::string(name(each.type)),
                     std::string(text.substr(each.start, each.end - each.start)));
  }
  return all;
}

std::string redacted(std::string_view text) {
  workspace work;
  std::string out;
  with_all_dates().find(text, work);
  redact(work, out);
  return out;
}

// `text` with `instead` where `mark` stands.
std::string with_each(std::string_view text, char mark, std::string_view instead) {
  std::string made;
  for (const char c : text) c == mark ? made.append(instead) : made.append(1, c);
  return made;
}

// `text` with its digits as those of the script whose zero is `zero`.
std::string in_digits_from(char32_t zero, std::string_view text) {
  std::string made;
  for (const char c : text)
    c >= '0' && c <= '9' ? text::append_utf8(made, zero + static_cast<char32_t>(c - '0'))
                         : made.push_back(c);
  return made;
}

struct kind_case {
  const char* kind;
  std::vector<std::pair<const char*, const char*>> has;  // text, what is found in it of that kind
  std::vector<const char*> has_not;
};

void PrintTo(const kind_case& each, std::ostream* out) {
  *out << each.kind;
}

class Kind : public testing::TestWithParam<kind_case> {};

TEST_P(Kind, IsFoundWithItsExactBounds) {
  for (const auto& [text, expected] : GetParam().has) {
    EXPECT_THAT(find_in(text), testing::Contains(found(GetParam().kind, expected))) << text;
  }
}

TEST_P(Kind, IsNotFoundWhereThereIsNone) {
  for (const char* text : GetParam().has_not) {
    for (const auto& each : find_in(text))
      EXPECT_NE(each.first, GetParam().kind) << text << ": " << each.second;
  }
}

INSTANTIATE_TEST_SUITE_P(
    AllKinds, Kind,
    testing::Values(
        kind_case{"EMAIL_ADDRESS",
                  {{"write to ana.lima+x@example.co.uk, please", "ana.lima+x@example.co.uk"},
                   {"mail:jörg@exämple.de.", "jörg@exämple.de"},
                   {"<a_b@c-d.org>", "a_b@c-d.org"}},
                  {"2 @ 3 dollars", "meet @ the pub", "a@b", "@name", "x @ y.com"}},
        kind_case{"DOMAIN_NAME",
                  {{"see https://www.example.com/a?b=c#d.", "https://www.example.com/a?b=c#d"},
                   {"go to www.example.se now", "www.example.se"},
                   {"I found it on example.com!", "example.com"},
                   {"my-blog.example.org/about helped", "my-blog.example.org/about"}},
                  {"I was tired.so I slept", "end of day.Then more", "3.14 is pi", "e.g. this",
                   "well...ok"}},
        kind_case{"IP_ADDRESS",
                  {{"from 192.168.10.1 today", "192.168.10.1"},
                   {"host 2001:db8::ff00:42:8329.", "2001:db8::ff00:42:8329"},
                   {"ping ::1", "::1"}},
                  {"version 1.2.3", "256.1.1.1", "at 12:30:45", "std::vector", "1.2.3.4.5"}},
        kind_case{"USERNAME",
                  {{"follow @kim_99 there", "@kim_99"},
                   {"(@ana.b)", "@ana.b"},
                   {"my username jess_92 was taken", "jess_92"},
                   {"Username: jess_92.", "jess_92"},
                   {"username: sunflower", "sunflower"},
                   {"user name: bob123; login jdoe42", "bob123"},
                   {"user name: bob123; login jdoe42", "jdoe42"},
                   {"user_name=x_ana_x", "x_ana_x"},
                   {"My handle is jess_92", "jess_92"},
                   {"my user name on Discord is \"jess.lima\"", "jess.lima"},
                   {"my insta is JessLima now", "JessLima"},
                   {"I am on reddit as you know, nickname kim-lee99", "kim-lee99"},
                   {"discord: jess#1234", "jess#1234"},
                   {"add jess#1234 there", "jess#1234"},
                   {"add k_lee7#0420!", "k_lee7#0420"},
                   {"thanks u/foo_bar for it", "u/foo_bar"},
                   {"ask /u/throwaway about it", "/u/throwaway"},
                   {"insta: jessica", "jessica"},
                   {"username jöss_92", "jöss_92"}},
                  {"a@b.com",
                   "at @ noon",
                   "@ 5",
                   "my user is happy",
                   "the login page",
                   "I handle it",
                   "a user manual",
                   "reddit is full of it",
                   "my handle is broken",
                   "the username is wrong",
                   "users: 42",
                   "user 12 left",
                   "on discord at 8pm",
                   "login 2nd time",
                   "nick of time",
                   "my login is the problem",
                   "user v1.2",
                   "order#1234",
                   "room #1234",
                   "PR#1234",
                   "abc#12345",
                   "5 U/day",
                   "and/or",
                   "w/o",
                   "n/a",
                   "u/s",
                   "User: Anna Keller",
                   "user:\njess_92 is on another line"}},
        kind_case{"CREDIT_CARD",
                  {{"card 4111111111111111 is gone", "4111111111111111"},
                   {"4111 1111 1111 1111", "4111 1111 1111 1111"},
                   {"amex 3782-822463-10005", "3782-822463-10005"}},
                  {"4111111111111112", "order 1234567890123456", "+447700677662"}},
        kind_case{"IBAN_CODE",
                  {{"to DE89370400440532013000 please", "DE89370400440532013000"},
                   {"IBAN GB82 WEST 1234 5698 7654 32", "GB82 WEST 1234 5698 7654 32"},
                   {"gb42nawi04454264788619 it is", "gb42nawi04454264788619"}},
                  {"DE89370400440532013001", "AB12CDEF"}},
        kind_case{"US_SSN",
                  {{"it is 078-05-1120.", "078-05-1120"}, {"my ssn is 078051120", "078051120"}},
                  {"000-12-3456", "about 078051120 grains"}},
        kind_case{"UK_NINO",
                  {{"number AB 12 34 56 C", "AB 12 34 56 C"}, {"AB123456C", "AB123456C"}},
                  {"BG123456A"}},
        kind_case{
            "UK_NHS", {{"my NHS number is 943 476 5919", "943 476 5919"}}, {"call 943 476 5919"}},
        kind_case{"DE_TAX_ID",
                  {{"Steuer-ID 86 095 742 719", "86 095 742 719"}, {"86095742719", "86095742719"}},
                  {"86095742718"}},
        kind_case{"FR_NIR",
                  {{"2 55 08 14 168 025 38", "2 55 08 14 168 025 38"},
                   {"255081416802538", "255081416802538"}},
                  {"255081416802539"}},
        kind_case{"ES_NIF",
                  {{"DNI 12345678Z", "12345678Z"}, {"12345678-Z", "12345678-Z"}},
                  {"12345678A"}},
        kind_case{"ES_NIE", {{"NIE X1234567L", "X1234567L"}}, {"X1234567A"}},
        kind_case{
            "IT_FISCAL_CODE", {{"CF RSSMRA85T10A562S", "RSSMRA85T10A562S"}}, {"RSSMRA85T10A562T"}},
        kind_case{"NL_BSN", {{"mijn bsn is 111222333", "111222333"}}, {"111222333 grains"}},
        kind_case{"PL_PESEL", {{"PESEL 44051401359", "44051401359"}}, {"44051401358"}},
        kind_case{
            "BE_NATIONAL_NUMBER", {{"nr 85.07.30-033.28", "85.07.30-033.28"}}, {"85.07.30-033.29"}},
        kind_case{"SE_PERSONAL_NUMBER", {{"811218-9876", "811218-9876"}}, {"811218-9875"}},
        kind_case{
            "FI_PERSONAL_IDENTITY_CODE", {{"hetu 131052-308T", "131052-308T"}}, {"131052-308U"}},
        kind_case{"BR_CPF", {{"CPF 529.982.247-25", "529.982.247-25"}}, {"529.982.247-24"}},
        kind_case{"IN_AADHAAR", {{"2341 2341 2346", "2341 2341 2346"}}, {"2341 2341 2347"}},
        kind_case{"CA_SIN", {{"my SIN: 130-692-544", "130-692-544"}}, {"130-692-545"}},
        kind_case{"PHONE_NUMBER",
                  {{"call me on +44 7700 900 123", "+44 7700 900 123"},
                   {"my number is (541) 754-3010", "(541) 754-3010"},
                   {"ring 030 901820 after six", "030 901820"},
                   {"at 345-899-3560x4587", "345-899-3560x4587"},
                   {"01.84.17.61.18", "01.84.17.61.18"}},
                  {"in 2019-2020", "10 000 000 people", "I ate 3 of 12", "on 2024-05-06",
                   "between 1000 and 2000"}},
        kind_case{"DATE_TIME",
                  {{"born on 12 March 1985", "12 March 1985"},
                   {"on March 3rd, 2001 we met", "March 3rd, 2001"},
                   {"1985-03-12", "1985-03-12"},
                   {"12/3/1985", "12/3/1985"},
                   {"since 1999", "1999"},
                   {"on Tuesday", "Tuesday"}},
                  {"I may march on", "1/2 of it", "room 1234", "the second time"}},
        kind_case{"AGE",
                  {{"I am 31 years old", "31"},
                   {"I'm 31.", "31"},
                   {"a 65-year-old man", "65"},
                   {"she turned 40 today", "40"},
                   {"at the age of 66", "66"}},
                  {"I have 31 books", "it is 12 degrees", "65 people", "for 3 years"}},
        kind_case{
            "ADDRESS",
            {{"I live at 14 Crown Street", "14 Crown Street"},
             {"in der Feldstrasse 42 wohnt er", "Feldstrasse 42"},
             {"Rua do Arenque 1634", "Rua do Arenque 1634"},
             {"Suite 501", "Suite 501"},
             {"write to P.O. Box 104", "P.O. Box 104"},
             {"SW1A 1AA", "SW1A 1AA"}},
            {"walking down the street", "a long way to go", "I had 3 apples", "box 12 of them"}},
        kind_case{"TITLE",
                  {{"Mr. Smith came", "Mr."}, {"thanks Dr Jones", "Dr"}},
                  {"the doctor came", "Miss you"}},
        kind_case{"PERSON",
                  {{"My name is Rubija", "Rubija"},
                   {"I met John Smith today", "John Smith"},
                   {"Vanessa P. Hertzog said no", "Vanessa P. Hertzog"},
                   {"my brother Ludwig van Damme", "Ludwig van Damme"},
                   {"Dear Zsófia,", "Zsófia"},
                   {"my name is caleb", "caleb"},
                   {"yesterday Anna's dog ran off", "Anna"},
                   {"says O'Brien", "O'Brien"}},
                  {"I feel good today", "Hope is what I need", "It Was The Best Day",
                   "i will mark this as done", "In May I slept", "Happy Monday"}},
        kind_case{"LOCATION",
                  {{"she moved to New Zealand", "New Zealand"},
                   {"in Berlin it rained", "Berlin"},
                   {"we flew to Qaqortoq", "Qaqortoq"},
                   {"I live in Melbourne now.", "Melbourne"},
                   {"Homesick for Melbourne. I cooked", "Melbourne"}},
                  {"reading and writing", "a polar bear"}},
        kind_case{"ORGANIZATION",
                  {{"I work for Exversion Technologies Inc", "Exversion Technologies Inc"},
                   {"at Davis, Reynolds and Williamson", "Davis, Reynolds and Williamson"}},
                  {"good company"}},
        kind_case{"NRP", {{"my Hungarian friend", "Hungarian"}}, {"a polish remover"}}),
    [](const auto& each) { return std::string(each.param.kind); });

TEST(Finder, FindsNothingInAnOrdinaryEntry) {
  for (const char* text : {"", " ",
                           "I slept badly again, but the walk after lunch helped a lot. I want to "
                           "try that more often.",
                           "today was ok i guess. felt tired, then a bit better",
                           "Why do I always worry so much? It never helps!"}) {
    EXPECT_THAT(find_in(text), testing::IsEmpty()) << text;
  }
}

TEST(Finder, PutsTheKindInPlaceOfEachIdentifier) {
  EXPECT_EQ(redacted("Mail ana@example.com or call +44 7700 900 123."),
            "Mail [EMAIL] or call [PHONE].");
}

TEST(Finder, PrefersTheKindWithTheStrongerCheck) {
  EXPECT_THAT(find_in("x 4111111111111111"),
              testing::ElementsAre(found("CREDIT_CARD", "4111111111111111")));
  EXPECT_THAT(find_in("on 192.168.10.1"),
              testing::ElementsAre(found("IP_ADDRESS", "192.168.10.1")));
}

TEST(Finder, GivesDisjointSpansInOrderOfTheText) {
  workspace work;
  with_all_dates().find(
      "Hi Anna, John Smith of Berlin wrote j@s.com on 2024-01-02 from 10.1.1.1, 14 Crown Street, "
      "+1 541 754 3010",
      work);
  ASSERT_GE(work.spans.size(), 6U);
  for (std::size_t i = 1; i < work.spans.size(); ++i)
    EXPECT_LE(work.spans[i - 1].end, work.spans[i].start);
}

TEST(Finder, KeepsDatesApartFromBirthDatesWhereToldTo) {
  finder_options options;
  options.dates = date_rule::birth;
  const finder births{options};
  EXPECT_THAT(find_in("We met on 12 March 1985", births), testing::IsEmpty());
  EXPECT_THAT(find_in("I was born on 12 March 1985", births),
              testing::ElementsAre(found("DATE_TIME", "12 March 1985")));
  options.dates = date_rule::full;
  const finder full{options};
  EXPECT_THAT(find_in("on Tuesday in 1999, or 12 March 1985", full),
              testing::ElementsAre(found("DATE_TIME", "12 March 1985")));
}

TEST(Finder, RefusesATelephoneRegionThatDoesNotExist) {
  finder_options options;
  options.phone_regions = {"US", "Q9"};
  EXPECT_THROW(finder{options}, std::invalid_argument);
}

TEST(Finder, DoesNotTakeItsOwnPlaceholdersForIdentifiers) {
  std::string text;
  for (int i = 0; i < static_cast<int>(identifier_type::count_); ++i) {
    text += std::string("x ") + std::string(placeholder(static_cast<identifier_type>(i))) + " y ";
  }
  EXPECT_THAT(find_in(text), testing::IsEmpty());
}

TEST(Finder, WalksTextThatIsNoUtf8ToItsEnd) {
  EXPECT_THAT(find_in("\xFF\xC3 ana@example.com \xE2\x82"),
              testing::Contains(found("EMAIL_ADDRESS", "ana@example.com")));
}

TEST(Finder, CutsNoCharacterWhereAnAddressIsLongerThanAny) {
  std::string wide;
  for (int i = 0; i < 200; ++i) wide += "字";
  for (const std::string around : {"", "y", "yy", "yyy"}) {
    for (const std::string& text : {wide + around + "@x.com", "a@x.com" + around + wide}) {
      const std::string out = redacted(text);
      EXPECT_EQ(text::first_malformed(out), std::string_view::npos) << text;
      EXPECT_NE(out, text);
    }
  }
}

TEST(Finder, SurvivesANameThatIsTrimmedToNothing) {
  for (const auto& each : find_in("at 17031 2202 Rissik St Ap  Clean Powe130 s drops you off"))
    EXPECT_FALSE(each.second.empty());
}

TEST(Finder, TakesTimeInProportionToTheText) {
  // Runs of what rules look ahead for: each must be left after a bounded number of steps.
  for (const char* unit :
       {"1-", "1 ", "A.", "a@", "John ", "::", "Mr. ", "www.", "AB12 ", "\n1 Rua ", "+1(", "de la ",
        "username: ", "login ", "a#1234", "u/", "a_"}) {
    std::string text;
    while (text.size() < 200'000) text += unit;
    workspace work;
    with_all_dates().find(text, work);
    for (std::size_t i = 1; i < work.spans.size(); ++i)
      ASSERT_LE(work.spans[i - 1].end, work.spans[i].start) << unit;
  }
}

TEST(Finder, ReadsANameAsIfInvisibleCharactersWereNotThere) {
  EXPECT_THAT(find_in("I met Jo\u200Bhn Smi\u00ADth today"),
              testing::Contains(found("PERSON", "Jo\u200Bhn Smi\u00ADth")));
  EXPECT_THAT(find_in("I met John \u200BSmith today"),
              testing::Contains(found("PERSON", "John \u200BSmith")));
}

TEST(Finder, ReadsFullWidthFormsAsTheAsciiThatTheyStandFor) {
  EXPECT_EQ(redacted("写 ana＠ｅｘａｍｐｌｅ．ｃｏｍ or ａｎａ@example.com, please!"),
            "写 [EMAIL] or [EMAIL], please!");
  EXPECT_EQ(redacted("ana\uFE6Bexample\uFE52com"), "[EMAIL]");
  EXPECT_EQ(redacted("ｈｔｔｐｓ：／／example.org/ana ！"), "[URL] ！");
  EXPECT_EQ(redacted("Call ＋４４　７７００　９００　１２３ or （５４１） ７５４－３０１０ today"),
            "Call [PHONE] or [PHONE] today");
  EXPECT_EQ(redacted("card ４１１１ １１１１ １１１１ １１１１"), "card [CARD]");
}

TEST(Finder, LeavesFullWidthFormsThatAreNoIdentifierAsTheyWere) {
  for (const char* text : {"So good！ ❤️ ｗｏｗ～", "\uFF3B\uFEFF ok \uFFFD", "\xEF",
                           "\xEF\xBC", "ok\xEF\xBC"})
    EXPECT_EQ(redacted(text), text);
}

TEST(Finder, FindsNumbersWhateverSpaceStandsBetweenTheirGroups) {
  for (const std::string space :
       {" ", "  ", "\t", " \t ", "\u00A0", "\u1680", "\u2002", "\u2007", "\u2009", "\u202F",
        "\u205F", "\u3000", "\u2800", "\u200B \u200B", " \u00A0"}) {
    const auto spaced = [&](std::string_view text) { return with_each(text, ' ', space); };
    EXPECT_EQ(redacted("card: " + spaced("4111 1111 1111 1111") + "!"), "card: [CARD]!") << space;
    EXPECT_EQ(redacted("card: 4111 1111" + space + "1111 1111!"), "card: [CARD]!") << space;
    EXPECT_EQ(redacted("iban: " + spaced("DE89 3704 0044 0532 0130 00") + "."), "iban: [IBAN].")
        << space;
    EXPECT_EQ(redacted("nir: " + spaced("2 55 08 14 168 025 38")), "nir: [ID]") << space;
    EXPECT_EQ(redacted("ssn: " + spaced("536 90 4399")), "ssn: [ID]") << space;
    EXPECT_EQ(redacted("aadhaar: " + spaced("2341 2341 2346")), "aadhaar: [ID]") << space;
    EXPECT_EQ(redacted("nino: " + spaced("AB 12 34 56 C")), "nino: [ID]") << space;
    EXPECT_EQ(redacted("call " + spaced("+44 7700 900 123")), "call [PHONE]") << space;
    EXPECT_EQ(redacted("born on " + spaced("12 March 1985")), "born on [DATE]") << space;
    EXPECT_EQ(redacted("write" + space + "ana@example.com" + space + "now"),
              "write" + space + "[EMAIL]" + space + "now");
  }
}

TEST(Finder, FindsNumbersWhateverDashStandsBetweenTheirGroups) {
  for (const std::string dash : {"-", "\u2010", "\u2011", "\u2012", "\u2013", "\u2014", "\u2015",
                                 "\u2212", "\uFE58", "\uFE63", "\uFF0D", "\u200B\u2011\u200B"}) {
    const auto dashed = [&](std::string_view text) { return with_each(text, '-', dash); };
    EXPECT_EQ(redacted("ssn: " + dashed("536-90-4399") + "."), "ssn: [ID].") << dash;
    EXPECT_EQ(redacted("card: " + dashed("4111-1111-1111-1111")), "card: [CARD]") << dash;
    EXPECT_EQ(redacted("iban: " + dashed("GB82-WEST-1234-5698-7654-32")), "iban: [IBAN]") << dash;
    EXPECT_EQ(redacted("nir: " + dashed("2-55-08-14-168-025-38")), "nir: [ID]") << dash;
    EXPECT_EQ(redacted("aadhaar: " + dashed("2341-2341-2346")), "aadhaar: [ID]") << dash;
    EXPECT_EQ(redacted("hetu: " + dashed("131052-308T")), "hetu: [ID]") << dash;
    EXPECT_EQ(redacted("dni: " + dashed("12345678-Z")), "dni: [ID]") << dash;
    EXPECT_EQ(redacted("cpf: " + dashed("529.982.247-25")), "cpf: [ID]") << dash;
    EXPECT_EQ(redacted("call " + dashed("541-754-3010")), "call [PHONE]") << dash;
    EXPECT_EQ(redacted("born on " + dashed("1985-03-12")), "born on [DATE]") << dash;
  }
}

TEST(Finder, FindsNumbersWithDotsOrSlashesBetweenTheirGroups) {
  for (const std::string dot :
       {".", "\uFF0E", "\uFE52", "\u00B7", "\u2022", "\u2024", "\u2027", "\u2219", "\u22C5"}) {
    const auto dotted = [&](std::string_view text) { return with_each(text, '.', dot); };
    EXPECT_EQ(redacted("card: " + dotted("4111.1111.1111.1111")), "card: [CARD]") << dot;
    EXPECT_EQ(redacted("ssn: " + dotted("536.90.4399")), "ssn: [ID]") << dot;
    EXPECT_EQ(redacted("nir: " + dotted("2.55.08.14.168.025.38")), "nir: [ID]") << dot;
    EXPECT_EQ(redacted("aadhaar: " + dotted("2341.2341.2346")), "aadhaar: [ID]") << dot;
    EXPECT_EQ(redacted("born on " + dotted("12.03.1985")), "born on [DATE]") << dot;
  }
  EXPECT_EQ(redacted("iban: DE89.3704.0044.0532.0130.00"), "iban: [IBAN]");
  for (const std::string slash : {"/", "\u2044", "\u2215", "\uFF0F"})
    EXPECT_EQ(redacted("born on " + with_each("12/03/1985", '/', slash)), "born on [DATE]")
        << slash;
}

TEST(Finder, ReadsTheDecimalDigitsOfEveryScript) {
  for (const char32_t zero :
       {0x0660U, 0x06F0U, 0x07C0U, 0x0966U, 0x09E6U, 0x0BE6U, 0x0E50U, 0x1040U, 0x17E0U, 0xA620U,
        0xFF10U, 0x104A0U, 0x1D7CEU, 0x1D7E2U, 0x1D7F6U, 0x1FBF0U}) {
    const auto written = [&](std::string_view text) { return in_digits_from(zero, text); };
    EXPECT_EQ(redacted("card: " + written("4111 1111 1111 1111") + "!"), "card: [CARD]!")
        << std::uint32_t{zero};
    EXPECT_EQ(redacted("card: " + written("4111111111111111")), "card: [CARD]")
        << std::uint32_t{zero};
    EXPECT_EQ(redacted("iban: " + written("DE89 3704 0044 0532 0130 00")), "iban: [IBAN]")
        << std::uint32_t{zero};
    EXPECT_EQ(redacted("call " + written("+966 50 123 4567")), "call [PHONE]")
        << std::uint32_t{zero};
    EXPECT_EQ(redacted("born on " + written("12/03/1985") + ", I"), "born on [DATE], I")
        << std::uint32_t{zero};
    EXPECT_EQ(redacted("aadhaar: " + written("2341 2341 2346")), "aadhaar: [ID]")
        << std::uint32_t{zero};
    EXPECT_EQ(redacted("ssn: " + written("536-90-4399")), "ssn: [ID]") << std::uint32_t{zero};
    EXPECT_EQ(redacted("nir: " + written("255081416802538")), "nir: [ID]") << std::uint32_t{zero};
    EXPECT_EQ(redacted("I am " + written("31") + " years old"), "I am [AGE] years old")
        << std::uint32_t{zero};
  }
  EXPECT_EQ(redacted("اتصل بي على +٩٦٦ ٥٠ ١٢٣ ٤٥٦٧ غدا"), "اتصل بي على [PHONE] غدا");
  EXPECT_EQ(redacted("मेरा आधार २३४१ २३४१ २३४६ है"), "मेरा आधार [ID] है");
  EXPECT_EQ(redacted("4\uFE0F\u20E31\uFE0F\u20E311 1111 1111 1111\uFE0F\u20E3!"), "[CARD]!");
}

TEST(Finder, FindsNumbersInTextThatHasNoSpacesBetweenWords) {
  EXPECT_EQ(redacted("電話は090-1234-5678です"), "電話は[PHONE]です");
  EXPECT_EQ(redacted("電話は０９０ー１２３４ー５６７８です"), "電話は[PHONE]です");
  EXPECT_EQ(redacted("我的卡号是4111111111111111，谢谢"), "我的卡号是[CARD]，谢谢");
  EXPECT_EQ(redacted("제 번호는 010-1234-5678로 전화"), "제 번호는 [PHONE]로 전화");
  EXPECT_EQ(redacted("โทร๐๘๑-๒๓๔-๕๖๗๘ครับ"), "โทร[PHONE]ครับ");
}

TEST(Finder, FindsIdentifiersThatInvisibleCharactersStandIn) {
  for (const std::string nothing :
       {"\u00AD", "\u034F", "\u061C", "\u180E", "\u200B", "\u200C", "\u200D", "\u200E", "\u202A",
        "\u202C", "\u2060", "\u2066", "\u206F", "\u3164", "\uFE0F", "\uFEFF", "\U000E0020",
        "\U000E0100", "\u200B\u200B"}) {
    const auto broken = [&](std::string_view text) {
      std::string made;
      for (const char c : text) made += c + nothing;
      made.resize(made.size() - nothing.size());
      return made;
    };
    const auto wrapped = [&](std::string_view text) {
      return nothing + std::string(text) + nothing;
    };
    // A mark goes with the character that it is on.
    const bool mark = text::is_mark(text::decode(nothing, 0).value);
    const auto left = [&](std::string_view text) {
      return nothing + std::string(text) + (mark ? "" : nothing);
    };
    EXPECT_EQ(redacted(wrapped(broken("ana@example.com"))), left("[EMAIL]")) << broken("!!");
    EXPECT_EQ(redacted(wrapped(broken("https://example.org/ana"))), left("[URL]")) << broken("!!");
    EXPECT_EQ(redacted("see " + wrapped(broken("example.org"))), "see " + left("[URL]"))
        << broken("!!");
    EXPECT_EQ(redacted("from " + broken("192.168.10.1")), "from [IP]") << broken("!!");
    EXPECT_EQ(redacted("card " + wrapped(broken("4111 1111 1111 1111"))), "card " + left("[CARD]"));
    EXPECT_EQ(redacted("iban " + wrapped(broken("DE89370400440532013000"))),
              "iban " + left("[IBAN]"));
    EXPECT_EQ(redacted("call " + wrapped(broken("+44 7700 900 123"))), "call " + left("[PHONE]"));
    EXPECT_EQ(redacted("ssn " + wrapped(broken("536-90-4399"))), "ssn " + left("[ID]"));
    EXPECT_EQ(redacted("nir " + wrapped(broken("255081416802538"))), "nir " + left("[ID]"));
    EXPECT_EQ(redacted("aadhaar " + wrapped(broken("2341 2341 2346"))), "aadhaar " + left("[ID]"));
    EXPECT_EQ(redacted("born on " + wrapped(broken("12/03/1985"))), "born on " + left("[DATE]"));
  }
}

TEST(Finder, LeavesSpacesDashesAndDigitsThatAreNoIdentifierAsTheyWere) {
  for (const char* text :
       {"So\u00A0good\u202F! I slept – badly — again, and\u200B walked\u200D on",
        "10\u00A0000\u00A0000 людей", "٣ أشخاص", "walked 5–6 km, 3·4 is 12, 1⁄2 of it",
        "a\u2022b\u2022c", "👨‍👩‍👧 ❤️ 1️⃣ 2️⃣"})
    EXPECT_EQ(redacted(text), text);
  EXPECT_EQ(redacted("I'm 31—and happy"), "I'm [AGE]—and happy");
  EXPECT_EQ(redacted("I met Anna—She was kind"), "I met [PERSON]—She was kind");
}

TEST(Finder, KnowsANameWhoseMarksAreCharactersOfTheirOwn) {
  EXPECT_THAT(find_in("then Jose\u0301 said that it helps"),
              testing::Contains(found("PERSON", "Jose\u0301")));
}

TEST(Finder, TakesNoEnglishWordForANameBecauseItBeginsASentence) {
  for (const char* text : {"Accounting was dull today.", "It rained. Contentedness is rare.",
                           "Stomping about helped me.", "\"Launching it\" took all day."})
    EXPECT_THAT(find_in(text), testing::IsEmpty()) << text;
}

TEST(Finder, TakesAWordThatNoListKnowsForANameAlsoWhereASentenceBegins) {
  EXPECT_THAT(find_in("Quionia is kind to me."), testing::Contains(found("PERSON", "Quionia")));
  EXPECT_THAT(find_in("I was sad. Dzhambek came by."),
              testing::Contains(found("PERSON", "Dzhambek")));
}

// The tokens of `text`, with "|" between them.
std::string divided(const std::string& text) {
  workspace work;
  with_all_dates().find(text, work);
  std::string made;
  for (const token& each : work.tokens) {
    if (!made.empty()) made += '|';
    made += text_of(work, each);
  }
  return made;
}

TEST(Tokens, KeepApostrophesInsideOfWordsAndThoseThatSayWhoseApart) {
  for (const auto& [text, tokens] : std::vector<std::pair<std::string, std::string>>{
           {"rock'n'roll don't", "rock'n'roll|don't"},
           {"Anna's 90's x.'s it's5", "Anna|'s|90|'s|x|.|'s|it|'s|5"},
           {"You's're 's", "You|'s|'|re|'|s"},
           {"a1'b a'b1'c", "a1|'|b|a'b1|'|c"},
           {"l'été’s d’Arc", "l'été|’s|d’Arc"},
           {std::string(70, 'a') + "'s", std::string(70, 'a') + "|'s"}}) {
    // Wherever they stand in a block of 64 bytes.
    for (std::size_t before = 0; before < 64; ++before)
      EXPECT_EQ(divided(std::string(before, ' ') + text), tokens) << before;
  }
}

TEST(Tokens, SayWhichWordsAreOfCapitalsAlone) {
  workspace work;
  with_all_dates().find("I'M A TV-fan in the USA, ÉTÉ Tv A1B", work);
  std::vector<std::string> upper;
  for (const token& each : work.tokens) {
    if (each.upper) upper.emplace_back(text_of(work, each));
  }
  EXPECT_THAT(upper, testing::ElementsAre("I'M", "TV", "USA", "ÉTÉ", "A1B"));
  for (std::size_t size = 2; size < 130; ++size) {
    for (std::size_t before = 0; before < 8; ++before) {
      with_all_dates().find(std::string(before, ' ') + std::string(size, 'O') + "! so", work);
      ASSERT_EQ(work.tokens.size(), 3U);
      EXPECT_TRUE(work.tokens[0].upper) << size << " letters at " << before;
    }
  }
}

TEST(Gazetteer, KeepsEveryEntryInTheFormThatAWordIsFoldedTo) {
  const char* const source = std::getenv("SONDER_SOURCE_DIR");
  ASSERT_NE(source, nullptr);
  std::ifstream lines(std::string(source) + "/plugins/anonymizer/gazetteer/words.tsv");
  ASSERT_TRUE(lines.is_open());
  std::size_t entries = 0;
  for (std::string entry; std::getline(lines, entry, '\t'); ++entries) {
    std::string folded(entry.size(), '\0');
    folded.resize(text::fold_diacritics(entry, folded.data(), folded.size()));
    ASSERT_EQ(folded, entry);
    lines.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  EXPECT_GT(entries, 10'000U);
}

}  // namespace
}  // namespace sonder::anonymizer
