#include "checks.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace sonder::anonymizer {
namespace {

struct check_case {
  const char* name;
  bool (*valid)(std::string_view);
  std::vector<std::string> good;  // published examples
  std::vector<std::string> bad;
};

void PrintTo(const check_case& each, std::ostream* out) {
  *out << each.name;
}

class Checks : public testing::TestWithParam<check_case> {};

TEST_P(Checks, AcceptsPublishedExamples) {
  for (const auto& text : GetParam().good) EXPECT_TRUE(GetParam().valid(text)) << text;
}

TEST_P(Checks, RefusesWhatBreaksTheRule) {
  for (const auto& text : GetParam().bad) EXPECT_FALSE(GetParam().valid(text)) << text;
}

TEST_P(Checks, RefusesEveryExampleWithOneDigitChanged) {
  for (const auto& text : GetParam().good) {
    int survivors = 0;
    int changes = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] < '0' || text[i] > '9') continue;
      auto changed = text;
      changed[i] = changed[i] == '9' ? '0' : static_cast<char>(changed[i] + 1);
      ++changes;
      survivors += GetParam().valid(changed);
    }
    // A check digit catches each single digit; forms without one (and centuries in dates) let some
    // through.
    if (std::string_view(GetParam().name) != "us_ssn" &&
        std::string_view(GetParam().name) != "uk_nino") {
      EXPECT_LE(survivors * 10, changes) << text;
    }
  }
}

TEST_P(Checks, RefusesEmptyShortAndForeignInput) {
  for (const std::string_view text :
       {"", "1", "A", "\xFF\xFE", "----------------", "1234567890123456789012345678901234567890"}) {
    EXPECT_FALSE(GetParam().valid(text)) << text;
  }
}

INSTANTIATE_TEST_SUITE_P(
    AllKinds, Checks,
    testing::Values(
        check_case{"card",
                   card_valid,
                   {"4111111111111111", "378282246310005", "5555555555554444", "6011111111111117",
                    "3530111333300000", "30569309025904"},
                   {"4111111111111112", "0000000000000000", "1111111111111117", "41111111111",
                    "9111111111111111"}},
        check_case{
            "iban",
            iban_valid,
            {"DE89370400440532013000", "GB82WEST12345698765432", "FR1420041010050500013M02606",
             "NO9386011117947", "MT84MALT011000012345MTLCAST001S"},
            {"DE8937040044053201300", "XX89370400440532013000", "de89370400440532013000",
             "GB82WEST1234569876543"}},
        check_case{"us_ssn",
                   us_ssn_valid,
                   {"078051120", "219099999"},
                   {"000123456", "666123456", "900123456", "123006789", "123450000"}},
        check_case{"uk_nino",
                   uk_nino_valid,
                   {"AB123456C", "CE123456D"},
                   {"BG123456A", "AO123456A", "DA123456A", "AB123456E", "AB12345C"}},
        check_case{
            "uk_nhs", uk_nhs_valid, {"9434765919", "4010232137"}, {"9434765918", "0000000000"}},
        check_case{"de_tax_id",
                   de_tax_id_valid,
                   {"86095742719", "47036892816", "65929970489"},
                   {"06095742719", "12345678901", "11111111111"}},
        check_case{"fr_nir",
                   fr_nir_valid,
                   {"255081416802538"},
                   {"255081416802539", "055081416802538", "255131416802538"}},
        check_case{"es_nif", es_nif_valid, {"12345678Z", "00000000T"}, {"12345678A", "1234567Z"}},
        check_case{"es_nie",
                   es_nie_valid,
                   {"X1234567L", "Y1234567X", "Z1234567R"},
                   {"W1234567L", "X1234567A"}},
        check_case{"it_fiscal_code",
                   it_fiscal_code_valid,
                   {"RSSMRA85T10A562S"},
                   {"RSSMRA85T10A562T", "RSSMRA85Z10A562S"}},
        check_case{"nl_bsn", nl_bsn_valid, {"111222333", "123456782"}, {"123456789", "000000000"}},
        check_case{"pl_pesel",
                   pl_pesel_valid,
                   {"44051401359", "02070803628"},
                   {"44051401358", "44153401359"}},
        check_case{"be_national_number",
                   be_national_number_valid,
                   {"85073003328"},
                   {"85073003329", "85133003328"}},
        check_case{"se_personal_number",
                   se_personal_number_valid,
                   {"8112189876", "6709199530"},
                   {"8112189875", "8113189876"}},
        check_case{"fi_code",
                   fi_personal_identity_code_valid,
                   {"131052308T"},
                   {"131052308U", "321352308T"}},
        check_case{"br_cpf", br_cpf_valid, {"52998224725"}, {"52998224724", "11111111111"}},
        check_case{
            "in_aadhaar", in_aadhaar_valid, {"234123412346"}, {"234123412347", "134123412346"}},
        check_case{"ca_sin", ca_sin_valid, {"130692544"}, {"130692545", "046454286"}}),
    [](const auto& each) { return std::string(each.param.name); });

}  // namespace
}  // namespace sonder::anonymizer
