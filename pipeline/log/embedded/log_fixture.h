#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "log/embedded/embedded_log.h"

namespace sonder {

/// A log in a folder of its own, and the words in which its tests speak.
class log_test : public testing::Test {
 protected:
  log_test() {
    std::string name = (std::filesystem::temp_directory_path() / "sonder-log-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
  }
  ~log_test() override {
    log_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  static embedded_options plain() { return {.fsync = false, .maintenance_interval = {}}; }
  static embedded_options reading() { return {.mode = embedded_options::access::reader}; }

  void open(embedded_options options = plain()) {
    log_.reset();
    auto opened = open_embedded_log(folder_, std::move(options));
    ASSERT_TRUE(opened) << opened.error().message;
    log_ = std::move(*opened);
  }
  [[nodiscard]] error refusal(embedded_options options = plain()) const {
    auto opened = open_embedded_log(folder_, std::move(options));
    return opened ? error{errc::internal, "opened"} : opened.error();
  }
  [[nodiscard]] std::unique_ptr<embedded_log> reader() const {
    auto opened = open_embedded_log(folder_, reading());
    EXPECT_TRUE(opened) << opened.error().message;
    return opened ? std::move(*opened) : nullptr;
  }

  static void must(const status& done) { ASSERT_TRUE(done) << done.error().message; }

  void topic(topic_config config) { must(log_->create_topic(config)); }

  std::filesystem::path folder_;
  std::unique_ptr<embedded_log> log_;
};

/// Records as tests write them: `{"key", "value"}`; no value is a tombstone.
struct test_record {
  std::optional<std::string> key;
  std::optional<std::string> value;
  std::int64_t timestamp_ms = 0;
};

inline record_batch_builder batch_of(const std::vector<test_record>& records) {
  record_batch_builder made;
  for (const auto& r : records) {
    const bytes_view key = r.key ? as_bytes(*r.key) : bytes_view{};
    const bytes_view value = r.value ? as_bytes(*r.value) : bytes_view{};
    made.append(r.timestamp_ms, r.key ? &key : nullptr, r.value ? &value : nullptr, {});
  }
  return made;
}

inline status append_to(log& to, std::string_view topic, std::int32_t partition,
                        const std::vector<test_record>& records) {
  auto batch = batch_of(records);
  const produced_batch produced{topic, partition, &batch};
  return to.append({&produced, 1});
}

/// Every record of the partition as `offset key=value`, read to the end in steps of `records_max`.
inline std::vector<std::string> read_all(log& from, std::string_view topic,
                                         std::int32_t partition = 0, std::int64_t offset = 0,
                                         fetch_limits limits = {}) {
  std::vector<std::string> all;
  record_block block;
  for (;;) {
    const auto done = from.fetch(topic, partition, offset, limits, block);
    EXPECT_TRUE(done) << done.error().message;
    if (!done || block.records.empty()) return all;
    for (const auto& r : block.records) {
      std::string line = std::to_string(r.offset);
      line.append(" ")
          .append(r.has_key ? as_text(r.key) : "-")
          .append("=")
          .append(r.has_value ? as_text(r.value) : "-");
      all.push_back(std::move(line));
    }
    EXPECT_GT(block.next_offset, offset);
    offset = block.next_offset;
  }
}

inline std::optional<std::string> state_of(log& from, std::string_view store,
                                           std::int32_t partition, std::string_view key) {
  buffer value;
  const auto there = from.state_get("app", store, partition, as_bytes(key), value);
  EXPECT_TRUE(there) << there.error().message;
  return there && *there ? std::optional<std::string>(as_text({value.data(), value.size()}))
                         : std::nullopt;
}

}  // namespace sonder
