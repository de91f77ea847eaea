#include "log/kafka/properties.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <map>
#include <set>
#include <string_view>

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
  EXPECT_GE(refused_properties().size(), 50u);
  std::set<std::string_view> names;
  for (const auto& no : refused_properties()) {
    EXPECT_TRUE(names.insert(no.name).second) << no.name << " twice";
    const std::string name(no.name);
    auto options = on_nowhere();
    options.properties[name] = "x";
    const auto checked = check_properties(options);
    ASSERT_FALSE(checked) << name;
    EXPECT_EQ(checked.error().code, errc::invalid);
    const auto may_be = no.harmless.empty() ? "set" : "anything but " + std::string(no.harmless);
    EXPECT_GE(no.reason.size(), std::string_view("it is fixed").size()) << name;
    EXPECT_EQ(checked.error().message,
              "log.properties." + name + " cannot be " + may_be + ": " + std::string(no.reason));
    if (no.harmless.empty()) continue;
    options.properties[name] = no.harmless;
    EXPECT_TRUE(check_properties(options)) << name;
  }
}

// A name that it does not know would be a line of the table that refuses nothing.
TEST(KafkaProperties, RefusesNamesThatLibrdkafkaKnows) {
  for (const auto& no : refused_properties()) {
    auto* conf = rd_kafka_conf_new();
    char why[512] = {};
    const std::string name(no.name);
    EXPECT_NE(rd_kafka_conf_set(conf, name.c_str(), "x", why, sizeof why), RD_KAFKA_CONF_UNKNOWN)
        << name << ": " << why;
    rd_kafka_conf_destroy(conf);
  }
}

TEST(KafkaProperties, RefusesWhatLetsSomebodyStandBetweenOrLosesWhatWasAcknowledged) {
  for (const auto& [name, value] :
       std::map<std::string, std::string>{{"ssl.endpoint.identification.algorithm", "none"},
                                          {"enable.ssl.certificate.verification", "false"},
                                          {"enable.sasl.oauthbearer.unsecure.jwt", "true"},
                                          {"test.mock.num.brokers", "3"},
                                          {"topic.blacklist", "^journal"},
                                          {"api.version.request", "false"},
                                          {"enabled_events", "1"},
                                          {"acks", "0"},
                                          {"isolation.level", "read_uncommitted"},
                                          {"plugin.library.paths", "./other"}}) {
    auto options = on_nowhere();
    options.properties[name] = value;
    EXPECT_FALSE(check_properties(options)) << name;
  }
}

// librdkafka strips the prefix: it would be the same property.
TEST(KafkaProperties, RefusesAPropertyOfTopicsByItsLongNameToo) {
  for (const char* name :
       {"topic.acks", "topic.queuing.strategy", "topic.partitioner", "topic.auto.offset.reset"}) {
    auto options = on_nowhere();
    options.properties[name] = "x";
    const auto checked = check_properties(options);
    ASSERT_FALSE(checked) << name;
    EXPECT_THAT(checked.error().message,
                HasSubstr(std::string("log.properties.") + name + " cannot be set: "));
  }
  auto options = on_nowhere();
  options.properties = {{"topic.metadata.refresh.interval.ms", "5000"},
                        {"topic.compression.level", "3"}};
  EXPECT_TRUE(check_properties(options));
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
