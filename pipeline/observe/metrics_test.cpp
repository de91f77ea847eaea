#include "observe/metrics.h"
#include "observe/tally.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>
#include <thread>

namespace sonder {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string_view type_name(metric_type type) {
  switch (type) {
    case metric_type::counter:
      return "counter";
    case metric_type::gauge:
      return "gauge";
    case metric_type::histogram:
      return "histogram";
  }
  return "";
}

std::string labels_column(const metric_spec& spec) {
  std::string out;
  for (const auto& label : spec.labels) {
    if (!out.empty()) out += ", ";
    out += label.name;
    if (label.values.empty()) continue;
    out += " [";
    for (std::size_t i = 0; i < label.values.size(); ++i)
      out += (i == 0 ? "" : ", ") + label.values[i];
    out += "]";
  }
  return out;
}

std::string table_row(const metric_spec& spec) {
  const auto labels = labels_column(spec);
  return "| " + spec.name + " | " + std::string(type_name(spec.type)) + " |" +
         (labels.empty() ? "" : " " + labels) + " | " + std::to_string(spec.series_max) + " | " +
         spec.unit + " | " + spec.help + " |";
}

std::vector<std::string> written_rows() {
  const char* root = std::getenv("SONDER_SOURCE_DIR");
  std::ifstream file(std::string(root == nullptr ? "." : root) + "/pipeline/observe/metrics.md");
  std::vector<std::string> rows;
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("| sonder_")) rows.push_back(line);
  return rows;
}

// Asks for one series of each metric, so that `/metrics` shows them all.
void touch_all(metrics& of) {
  for (const auto& spec : of.specs()) {
    const auto value = [&](std::size_t i) {
      const auto& values = spec.labels[i].values;
      return values.empty() ? std::string_view("some") : std::string_view(values.front());
    };
    const auto touch = [&](metrics::label_values values) {
      if (spec.type == metric_type::counter) of.counter_of(spec.name, values).add();
      if (spec.type == metric_type::gauge) of.gauge_of(spec.name, values).set(1);
      if (spec.type == metric_type::histogram) of.histogram_of(spec.name, values).observe(0.5);
    };
    switch (spec.labels.size()) {
      case 0:
        touch({});
        break;
      case 1:
        touch({value(0)});
        break;
      case 2:
        touch({value(0), value(1)});
        break;
      default:
        touch({value(0), value(1), value(2)});
        break;
    }
  }
}

std::map<std::string, std::string> types_shown(const std::string& text) {
  std::map<std::string, std::string> out;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string hash, keyword, metric, type;
    if (words >> hash >> keyword >> metric >> type && keyword == "TYPE") out[metric] = type;
  }
  return out;
}

TEST(Metrics, AreThoseOfTheWrittenSpecification) {
  std::vector<std::string> program;
  for (const auto& spec : metric_specification()) program.push_back(table_row(spec));
  EXPECT_THAT(written_rows(), ::testing::ElementsAreArray(program));
}

TEST(Metrics, ShowsEachOfTheSpecificationWithItsType) {
  metrics of;
  touch_all(of);
  const auto shown = types_shown(of.expose());
  for (const auto& spec : metric_specification()) {
    const auto at = shown.find(spec.name);
    ASSERT_NE(at, shown.end()) << spec.name;
    EXPECT_EQ(at->second, type_name(spec.type)) << spec.name;
  }
  for (const auto& [name, type] : shown) {
    if (!name.starts_with("sonder_")) continue;
    EXPECT_TRUE(
        std::any_of(metric_specification().begin(), metric_specification().end(),
                    [&, &shown_name = name](const metric_spec& s) { return s.name == shown_name; }))
        << name << " is shown and not specified";
  }
}

TEST(Metrics, ArePromtoolsIdeaOfGoodMetrics) {
  if (std::system("command -v promtool > /dev/null") != 0)
    GTEST_SKIP() << "promtool (package prometheus) is not installed";
  metrics of;
  ASSERT_TRUE(of.declare({"sonder_anonymizer_identifiers_total",
                          metric_type::counter,
                          "1",
                          "Identifiers removed.",
                          {{"type", {"email", "phone"}}},
                          2}));
  touch_all(of);
  FILE* promtool = ::popen("promtool check metrics", "w");
  ASSERT_NE(promtool, nullptr);
  const auto text = of.expose();
  ASSERT_EQ(std::fwrite(text.data(), 1, text.size(), promtool), text.size());
  EXPECT_EQ(::pclose(promtool), 0);
}

TEST(Metrics, AddsUpTheSlotsOfOneLabelSet) {
  metrics of;
  of.counter_of(metric::records_in, {"consent", "events"}, 0).add(2);
  of.counter_of(metric::records_in, {"consent", "events"}, 7).add(3);
  EXPECT_EQ(of.value_of(metric::records_in, {"consent", "events"}), 5);
  EXPECT_THAT(of.expose(),
              HasSubstr("sonder_records_in_total{node=\"consent\",port=\"events\"} 5"));
}

TEST(Metrics, GivesTheSameCellForTheSameSlotAndAnotherForAnother) {
  metrics of;
  EXPECT_EQ(&of.counter_of(metric::retries, {"a"}, 1), &of.counter_of(metric::retries, {"a"}, 1));
  EXPECT_NE(&of.counter_of(metric::retries, {"a"}, 1), &of.counter_of(metric::retries, {"a"}, 2));
}

TEST(Metrics, CountsLabelSetsBeyondTheBoundUnderOther) {
  metrics of;
  for (int i = 0; i < 70; ++i)
    of.counter_of(metric::dead_letters, {"cause_" + std::to_string(i)}).add();
  EXPECT_EQ(of.value_of(metric::dead_letters, {"cause_63"}), 1);
  EXPECT_EQ(of.value_of(metric::dead_letters, {"cause_64"}), 0);
  EXPECT_EQ(of.value_of(metric::dead_letters, {"other"}), 6);
}

TEST(Metrics, CountsAValueThatTheSpecificationDoesNotNameUnderOther) {
  metrics of;
  of.counter_of(metric::epochs, {"committed"}).add();
  of.counter_of(metric::epochs, {"lost"}).add();
  EXPECT_EQ(of.value_of(metric::epochs, {"other"}), 1);
}

TEST(Metrics, PutsAnObservationInTheBucketOfItsUpperBound) {
  metrics of;
  auto& size = of.histogram_of(metric::batch_records, {"s", "p"});
  size.observe(1);
  size.observe(256, 3);
  size.observe(1e9);
  const auto text = of.expose();
  EXPECT_THAT(text, HasSubstr("sonder_batch_records_bucket{node=\"s\",port=\"p\",le=\"1\"} 1"));
  EXPECT_THAT(text, HasSubstr("sonder_batch_records_bucket{node=\"s\",port=\"p\",le=\"128\"} 1"));
  EXPECT_THAT(text, HasSubstr("sonder_batch_records_bucket{node=\"s\",port=\"p\",le=\"256\"} 4"));
  EXPECT_THAT(text, HasSubstr("sonder_batch_records_bucket{node=\"s\",port=\"p\",le=\"+Inf\"} 5"));
  EXPECT_THAT(text, HasSubstr("sonder_batch_records_count{node=\"s\",port=\"p\"} 5"));
  EXPECT_EQ(of.value_of(metric::batch_records, {"s", "p"}), 5);
}

TEST(Metrics, TakesInWhatOneThreadCountedInTheSameBuckets) {
  metrics of;
  auto& size = of.histogram_of(metric::batch_records, {"s", "p"});
  batch_records_tally counted;
  for (const double rows : {1.0, 2.0, 256.0, 256.0, 1e9}) counted.observe(rows);
  ASSERT_EQ(counted.counts().size(), size.buckets());
  size.observe(3);
  size.merge(counted.counts(), counted.sum());
  const auto text = of.expose();
  EXPECT_THAT(text, HasSubstr("sonder_batch_records_bucket{node=\"s\",port=\"p\",le=\"1\"} 1"));
  EXPECT_THAT(text, HasSubstr("sonder_batch_records_bucket{node=\"s\",port=\"p\",le=\"4\"} 3"));
  EXPECT_THAT(text, HasSubstr("sonder_batch_records_bucket{node=\"s\",port=\"p\",le=\"256\"} 5"));
  EXPECT_THAT(text, HasSubstr("sonder_batch_records_count{node=\"s\",port=\"p\"} 6"));
  EXPECT_EQ(size.sum(), 1 + 2 + 256 + 256 + 1e9 + 3);
}

TEST(Metrics, LosesNothingWhenManyThreadsCountAtOnce) {
  metrics of;
  auto& shared = of.counter_of(metric::retries, {"s"});
  auto& spread = of.histogram_of(metric::epoch_seconds);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 10'000; ++i) {
        shared.add();
        spread.observe(0.001 * (i % 20));
      }
    });
  std::string scraped;
  for (int i = 0; i < 20; ++i) scraped = of.expose();
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(shared.value(), 40'000);
  EXPECT_EQ(of.value_of(metric::epoch_seconds), 40'000);
}

TEST(Metrics, RefusesAPluginsMetricThatBreaksPrometheusRules) {
  metrics of;
  const auto refusal = [&](metric_spec spec) {
    const auto done = of.declare(spec);
    return done ? std::string("accepted") : done.error().message;
  };
  EXPECT_THAT(refusal({"sonder_x", metric_type::counter, "1", "X."}),
              HasSubstr("must end with \"_total\""));
  EXPECT_THAT(refusal({"sonder_x_total", metric_type::gauge, "1", "X."}),
              HasSubstr("which is for counters"));
  EXPECT_THAT(refusal({"sonder x", metric_type::gauge, "1", "X."}),
              HasSubstr("no Prometheus name"));
  EXPECT_THAT(refusal({"sonder_x_count", metric_type::gauge, "1", "X."}),
              HasSubstr("parts of a histogram"));
  EXPECT_THAT(refusal({"sonder_x", metric_type::gauge, "1", ""}), HasSubstr("no help text"));
  EXPECT_THAT(refusal({"sonder_x", metric_type::gauge, "1", "X.", {{"le"}}}),
              HasSubstr("no Prometheus label name"));
  EXPECT_THAT(refusal({"sonder_x", metric_type::gauge, "1", "X.", {{"k"}}, 1000}),
              HasSubstr("more than 256"));
  EXPECT_EQ(refusal({"sonder_x", metric_type::gauge, "1", "X."}), "accepted");
}

TEST(Metrics, TakesTheSameDeclarationTwiceAndNoOtherOfThatName) {
  metrics of;
  const metric_spec first{"sonder_x_total", metric_type::counter, "1", "X."};
  EXPECT_TRUE(of.declare(first));
  EXPECT_TRUE(of.declare(first));
  auto other = first;
  other.unit = "bytes";
  const auto done = of.declare(other);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, errc::exists);
}

TEST(MetricsDeathTest, EndsTheProcessOverAMetricThatNobodySpecified) {
  metrics of;
  EXPECT_DEATH((void)of.counter_of("sonder_nobody_total"), "is not in the specification");
  EXPECT_DEATH((void)of.counter_of(metric::retries), "another number of labels");
  EXPECT_DEATH((void)of.gauge_of(metric::retries, {"s"}), "another type");
}

TEST(Metrics, SayWhenTheProcessStarted) {
  const auto text = metrics().expose();
  const std::string name = "\nprocess_start_time_seconds ";
  const auto at = text.find(name);
  ASSERT_NE(at, std::string::npos);
  const double now = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  const double started = std::stod(text.substr(at + name.size()));
  EXPECT_LE(started, now);
  EXPECT_GT(started, now - 3'600);
}

TEST(Metrics, EscapesLabelValues) {
  metrics of;
  of.counter_of(metric::retries, {"a\"b\nc\\"}).add();
  EXPECT_THAT(of.expose(), HasSubstr(R"(node="a\"b\nc\\")"));
}

}  // namespace
}  // namespace sonder
