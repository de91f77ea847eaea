#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <string>

namespace sonder::test {

/// The broker and the schema registry of this test run (tests/kafka/README.md). Others use them at
/// the same time, and they may be people's own: take topics, groups, subjects and transactional ids
/// from `name_of_its_own`, and never stop or wipe them.
struct broker {
  std::string kafka;     ///< host:port[,host:port...]
  std::string registry;  ///< URL of the root of Confluent's protocol
  std::string not_run;   ///< why there is none; else empty
  bool ours =
      false;  ///< set up by ops/kafka for this run, and not by SONDER_KAFKA: its settings are known

  static const broker& of_this_run() {
    static const broker known = find();
    return known;
  }

 private:
  static std::string environment(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? std::string() : std::string(value);
  }

  static broker find() {
    broker found{environment("SONDER_KAFKA"), environment("SONDER_REGISTRY"), {}};
    found.ours = found.kafka.empty();
    std::ifstream file(environment("SONDER_KAFKA_ENV_FILE"));
    for (std::string line; std::getline(file, line);) {
      const auto equals = line.find('=');
      if (equals == std::string::npos) continue;
      const std::string name = line.substr(0, equals);
      if (name == "SONDER_KAFKA") found.kafka = line.substr(equals + 1);
      if (name == "SONDER_REGISTRY") found.registry = line.substr(equals + 1);
      if (name == "SONDER_KAFKA_NOT_RUN") found.not_run = line.substr(equals + 1);
    }
    if (found.not_run.empty() && (found.kafka.empty() || found.registry.empty()))
      found.not_run =
          "no broker is named; run it by ctest, or set SONDER_KAFKA and SONDER_REGISTRY";
    return found;
  }
};

/// `prefix` with something that no other test, process or run has.
inline std::string name_of_its_own(const std::string& prefix) {
  static int count = 0;
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return prefix + "-" +
         std::to_string(std::chrono::duration_cast<std::chrono::microseconds>(now).count()) + "-" +
         std::to_string(::getpid()) + "-" + std::to_string(++count);
}

}  // namespace sonder::test

/// First line of a test, or of SetUp, that needs them. Without a broker the test says so and is
/// skipped; under CI it fails.
#define SONDER_NEEDS_BROKER()                                                                      \
  do {                                                                                             \
    const std::string& sonder_not_run = ::sonder::test::broker::of_this_run().not_run;             \
    if (!sonder_not_run.empty() && std::getenv("CI") != nullptr)                                   \
      FAIL() << "the Kafka suite is NOT RUN: " << sonder_not_run;                                  \
    if (!sonder_not_run.empty()) GTEST_SKIP() << "the Kafka suite is NOT RUN: " << sonder_not_run; \
  } while (false)
