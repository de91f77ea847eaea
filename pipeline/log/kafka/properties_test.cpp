#include "log/kafka/properties.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "log/kafka/client.h"

namespace sonder::kafka {
namespace {

using testing::HasSubstr;
using testing::Not;

kafka_options on_nowhere() {
  kafka_options options;
  options.bootstrap = "127.0.0.1:1";
  return options;
}

/// The value that librdkafka is left with: the last one counts.
std::string value_of(const std::vector<property>& all, std::string_view name) {
  const auto last =
      std::find_if(all.rbegin(), all.rend(), [&](const auto& p) { return p.name == name; });
  return last == all.rend() ? "(not set)" : last->value;
}

TEST(KafkaProperties, RefusesWhatWouldBreakAGuaranteeAndSaysWhy) {
  for (const char* name :
       {"enable.auto.commit", "isolation.level", "transactional.id", "enable.idempotence",
        "partition.assignment.strategy", "group.id", "acks", "auto.offset.reset", "max.in.flight",
        "check.crcs", "plugin.library.paths", "enable.ssl.certificate.verification"}) {
    auto options = on_nowhere();
    options.properties[name] = "x";
    const auto checked = check_properties(options);
    ASSERT_FALSE(checked) << name;
    EXPECT_EQ(checked.error().code, errc::invalid);
    EXPECT_THAT(checked.error().message,
                HasSubstr(std::string("log.properties.") + name + " cannot be set: "));
  }
}

TEST(KafkaProperties, LetsNothingInByWayOfSecrets) {
  auto options = on_nowhere();
  options.secrets["isolation.level"] = "read_uncommitted";
  EXPECT_FALSE(check_properties(options));
}

TEST(KafkaProperties, GivesEveryOtherPropertyToTheInstancesThatItConcerns) {
  auto options = on_nowhere();
  options.properties = {{"linger.ms", "20"}, {"fetch.min.bytes", "7"}, {"client.rack", "west"}};
  const auto reads = properties_for(client_role::reader, options, "");
  const auto writes = properties_for(client_role::transaction, options, "");
  EXPECT_EQ(value_of(reads, "fetch.min.bytes"), "7");
  EXPECT_EQ(value_of(reads, "linger.ms"), "(not set)");
  EXPECT_EQ(value_of(writes, "linger.ms"), "20");
  EXPECT_EQ(value_of(writes, "fetch.min.bytes"), "(not set)");
  EXPECT_EQ(value_of(reads, "client.rack"), "west");
  EXPECT_EQ(value_of(writes, "client.rack"), "west");
}

TEST(KafkaProperties, ReadsCommittedRecordsOnly) {
  for (const auto role : {client_role::reader, client_role::query, client_role::member}) {
    EXPECT_EQ(value_of(properties_for(role, on_nowhere(), ""), "isolation.level"),
              "read_committed");
  }
}

TEST(KafkaProperties, NeedsAnInstanceNameForStaticMembership) {
  auto options = on_nowhere();
  options.static_membership = true;
  const auto checked = check_properties(options);
  ASSERT_FALSE(checked);
  EXPECT_THAT(checked.error().message, HasSubstr("log.instance"));
}

TEST(KafkaClient, NamesAPropertyThatLibrdkafkaDoesNotKnow) {
  auto options = on_nowhere();
  options.properties["linger.sm"] = "5";
  const auto made = client::make(options, {});
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, errc::invalid);
  EXPECT_THAT(made.error().message, HasSubstr("log.properties.linger.sm"));
}

TEST(KafkaClient, NeverShowsTheValueOfASecret) {
  auto options = on_nowhere();
  options.secrets["ssl.key.pem"] = "hunter2";
  options.secrets["socket.timeout.ms"] = "hunter3";
  std::string lines;
  options.on_line = [&](int, std::string_view text) { lines.append(text).append("\n"); };
  const auto made = client::make(options, {});
  ASSERT_FALSE(made);
  EXPECT_THAT(made.error().message, HasSubstr("log.secrets."));
  EXPECT_THAT(made.error().message + lines, Not(HasSubstr("hunter")));
}

TEST(KafkaClient, TellsWhatHinderedItWhereNoBrokerAnswers) {
  const auto made = client::make(on_nowhere(), {});
  ASSERT_TRUE(made) << made.error().message;
  const auto connected = (*made)->connect(std::chrono::milliseconds(900));
  ASSERT_FALSE(connected);
  EXPECT_EQ(connected.error().code, errc::unavailable);
  EXPECT_THAT(connected.error().message, HasSubstr("kafka 127.0.0.1:1: no broker answers"));
  EXPECT_THAT(connected.error().message, HasSubstr("Connection refused"));
}

}  // namespace
}  // namespace sonder::kafka
