#include "privacy/label.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>
#include <string>

#include "privacy/label_flow.h"
#include "privacy/purposes.h"

namespace sonder {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

category_set set_of(std::initializer_list<data_category> categories) {
  category_set s;
  for (const auto c : categories) s = s | category_set::of(c);
  return s;
}

/// Labels from a seed that is printed; SONDER_SEED and SONDER_CASES change seed and size.
class LabelLattice : public ::testing::Test {
 protected:
  LabelLattice() {
    const auto* seed = std::getenv("SONDER_SEED");
    seed_ = seed != nullptr ? std::strtoull(seed, nullptr, 10) : 20'261'121;
    const auto* cases = std::getenv("SONDER_CASES");
    cases_ = cases != nullptr ? std::strtol(cases, nullptr, 10) : 5'000;
    random_.seed(seed_);
    RecordProperty("seed", std::to_string(seed_));
  }
  permission any_permission() {
    if (random_() % 4 == 0) return permission::any();
    std::set<std::string> names;
    for (const auto* name : {"a", "b", "c", "d"}) {
      if (random_() % 2 == 0) names.insert(name);
    }
    return permission::only(std::move(names));
  }
  label any_label() {
    label l;
    l.categories = {};
    for (std::size_t i = 0; i < data_categories_count; ++i) {
      if (random_() % 3 == 0)
        l.categories = l.categories | category_set::of(static_cast<data_category>(i));
    }
    l.purposes = any_permission();
    l.recipients = any_permission();
    return l;
  }
  template <class Law>
  void holds_for_all(const Law& law) {
    for (long i = 0; i < cases_; ++i) {
      const auto a = any_label(), b = any_label(), c = any_label();
      ASSERT_TRUE(law(a, b, c)) << "seed " << seed_ << ", case " << i << "\n  " << to_string(a)
                                << "\n  " << to_string(b) << "\n  " << to_string(c);
    }
  }
  std::mt19937_64 random_;
  std::uint64_t seed_ = 0;
  long cases_ = 0;
};

TEST_F(LabelLattice, JoinIsAssociativeCommutativeAndIdempotent) {
  holds_for_all([](const label& a, const label& b, const label& c) {
    return join(a, join(b, c)) == join(join(a, b), c) && join(a, b) == join(b, a) &&
           join(a, a) == a;
  });
}

TEST_F(LabelLattice, JoinIsTheLeastUpperBound) {
  holds_for_all([](const label& a, const label& b, const label& c) {
    const bool bounds = at_most(a, join(a, b)) && at_most(b, join(a, b));
    const bool least = !(at_most(a, c) && at_most(b, c)) || at_most(join(a, b), c);
    return bounds && least;
  });
}

TEST_F(LabelLattice, OrderAgreesWithJoin) {
  holds_for_all([](const label& a, const label& b, const label&) {
    return at_most(a, b) == (join(a, b) == b);
  });
}

TEST_F(LabelLattice, OrderIsTransitiveAndAntisymmetric) {
  holds_for_all([](const label& a, const label& b, const label& c) {
    const bool transitive = !(at_most(a, b) && at_most(b, c)) || at_most(a, c);
    const bool antisymmetric = !(at_most(a, b) && at_most(b, a)) || a == b;
    return transitive && antisymmetric;
  });
}

TEST_F(LabelLattice, HasABottomAndATop) {
  holds_for_all([](const label& a, const label&, const label&) {
    return join(a, label::open()) == a && join(a, label{}) == label{} &&
           at_most(label::open(), a) && at_most(a, label{});
  });
}

TEST_F(LabelLattice, DerivingNeverWeakensWithoutADeclassification) {
  holds_for_all([](const label& a, const label& b, const label& c) {
    label_flow flow;
    const auto from_a = flow.enter("a", a), from_b = flow.enter("b", b);
    const auto made = flow.derive("made", {from_a, from_b}, c.categories);
    return at_most(a, flow.label_of(made)) && at_most(b, flow.label_of(made));
  });
}

TEST_F(LabelLattice, DeclassifyingTakesOnlyWhatItNamesAndGivesNoPermission) {
  holds_for_all([](const label& a, const label& b, const label& c) {
    label_flow flow;
    const auto made =
        flow.derive("made", {flow.enter("a", a), flow.enter("b", b)}, {}, c.categories);
    const auto& of = flow.label_of(made);
    const auto all = join(a, b);
    return of.categories == all.categories - c.categories && of.purposes == all.purposes &&
           of.recipients == all.recipients;
  });
}

TEST(Label, WithoutOneIsEverythingAndNoPermission) {
  const label none;
  EXPECT_EQ(none.categories, category_set::all());
  EXPECT_FALSE(none.purposes.permits("ServicePersonalisation"));
  EXPECT_FALSE(none.recipients.permits("coach"));
}

TEST(Label, ReadsAnObject) {
  const auto l = parse_label(
      R"({"categories": ["free_text", "pseudonym"], "purposes": ["ServicePersonalisation", "acme:Coaching"], "recipients": ["coach"]})");
  ASSERT_TRUE(l) << l.error().message;
  EXPECT_EQ(l->categories, set_of({data_category::free_text, data_category::pseudonym}));
  EXPECT_TRUE(l->purposes.permits("acme:Coaching"));
  EXPECT_FALSE(l->purposes.permits("Marketing"));
  EXPECT_EQ(l->recipients.to_string(), "coach");
}

TEST(Label, WithoutPurposesPermitsAny) {
  EXPECT_TRUE(parse_label(R"({"categories": ["free_text"]})")->purposes.permits_any());
}

TEST(Label, HasShortForms) {
  EXPECT_EQ(*parse_label(R"("none")"), label::open());
  EXPECT_EQ(*parse_label(R"(["pseudonym"])"),
            label::of(category_set::of(data_category::pseudonym)));
}

struct bad_label {
  std::string text;
  std::string message;
};

class BadLabel : public ::testing::TestWithParam<bad_label> {};

TEST_P(BadLabel, IsRefusedWithTheReason) {
  const auto l = parse_label(GetParam().text);
  ASSERT_FALSE(l);
  EXPECT_EQ(l.error().message, GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    Each, BadLabel,
    ::testing::Values(
        bad_label{R"({"purposes": []})", "categories are missing"},
        bad_label{R"({"categories": ["free_txt"]})",
                  R"(no data category "free_txt"; did you mean "free_text"?)"},
        bad_label{
            R"({"categories": ["zzzzzzzzzzzz"]})",
            R"(no data category "zzzzzzzzzzzz"; known are direct_identifier, quasi_identifier, special_category, )"
            "free_text, pseudonym, behaviour, preference"},
        bad_label{R"({"categories": [], "purpose": []})",
                  R"(unknown key "purpose"; did you mean "purposes"?)"},
        bad_label{R"({"categories": "free_text"})", "categories must be a list of names"},
        bad_label{R"({"categories": [1]})", "categories must be a list of names"},
        bad_label{
            R"({"categories": [], "purposes": ["ServicePersonalization"]})",
            R"(purpose "ServicePersonalization" is not in DPV; did you mean "ServicePersonalisation"?)"},
        bad_label{R"("public")",
                  R"(must be an object with categories, a list of categories, or "none")"},
        bad_label{"{", R"(must be an object with categories, a list of categories, or "none")"}));

TEST(Purposes, AreThoseOfDpv) {
  EXPECT_EQ(dpv_purposes().size(), 118U);
  EXPECT_TRUE(std::is_sorted(dpv_purposes().begin(), dpv_purposes().end()));
  EXPECT_TRUE(check_purpose("ServicePersonalisation"));
}

TEST(Purposes, OfTheOperatorNeedAPrefix) {
  EXPECT_TRUE(check_purpose("acme:Coaching"));
  EXPECT_FALSE(check_purpose(":Coaching"));
  EXPECT_FALSE(check_purpose("acme:"));
  EXPECT_EQ(
      check_purpose("Coaching").error().message,
      R"(purpose "Coaching" is not in DPV; give one of your own a prefix, such as "acme:Coaching")");
}

TEST(LabelFlow, NamesThePathOfACategoryFromWhereItEntered) {
  label_flow flow;
  const auto text = flow.enter("text", label::of(category_set::of(data_category::free_text)));
  const auto at = flow.enter("at", label::of(category_set::of(data_category::quasi_identifier)));
  const auto score = flow.derive("score", {at, text});
  const auto sum = flow.derive("sum", {at, score});

  EXPECT_THAT(flow.path_of(sum, data_category::free_text), ElementsAre("text", "score", "sum"));
  EXPECT_THAT(flow.path_of(sum, data_category::pseudonym), IsEmpty());
}

TEST(LabelFlow, APathBeginsWhereACategoryWasAdded) {
  label_flow flow;
  const auto text = flow.enter("text", label::of(category_set::of(data_category::free_text)));
  const auto mood = flow.derive("mood", {text}, category_set::of(data_category::special_category));
  EXPECT_THAT(flow.path_of(mood, data_category::special_category), ElementsAre("mood"));
}

TEST(LabelFlow, NamesWhoDeniesAPurposeOrARecipient) {
  label_flow flow;
  auto restricted = label::open();
  restricted.purposes = permission::only({"ServicePersonalisation"});
  restricted.recipients = permission::only({"coach"});
  const auto text = flow.enter("text", restricted);
  const auto score = flow.derive("score", {flow.enter("at", label::open()), text});

  EXPECT_THAT(flow.path_denying_purpose(score, "Marketing"), ElementsAre("text", "score"));
  EXPECT_THAT(flow.path_denying_purpose(score, "ServicePersonalisation"), IsEmpty());
  EXPECT_THAT(flow.path_denying_recipient(score, "insurer"), ElementsAre("text", "score"));
}

}  // namespace
}  // namespace sonder
