#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

#include "flow/endless_log_rig.h"
#include "flow/flow_rig.h"

namespace sonder {
namespace {

std::int64_t resident_bytes() {
  std::int64_t pages = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  return resident * 4096;
}

// Sanitizers keep freed memory back and are slow: there only the run itself is checked.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::int64_t records = 100'000;
constexpr bool is_measured = false;
#else
constexpr std::int64_t records = 10'000'000;
constexpr bool is_measured = true;
#endif
constexpr std::int64_t growth_bytes_max = 4 << 20;

// The source is one block in memory, read again and again, and what is committed is thrown away, so that what grows is the host's: its
// queues, batches and epochs. What a log keeps in memory is not in here, nor are a second partition and stores; `ops/bench` and the
// runs of tests/crash and tests/chaos have those.
TEST(FlowMemory, StaysFlatWhileTheSourceIsTenMillionRecordsAheadOfASlowSink) {
  flow_rig rig;
  rig.file("event.avsc", R"({"type":"record","name":"event","fields":[
    {"name":"id","type":"string","sonder.privacy":{"categories":[]}},
    {"name":"text","type":"string","sonder.privacy":{"categories":[]}}]})");
  rig.flow("flow: memory\nlog: {kind: embedded, dir: data}\ndead_letter: none\ntopics:\n"
           "  events: {schema: event.avsc, framing: bare, partitions: 1}\n"
           "  out: {schema: event.avsc, framing: bare, key: id, partitions: 1}\n"
           "stages:\n  a: {plugin: passthrough, in: {in: events}}\nsinks:\n  out: a.out\n"
           "run: {outbox_max: 4MiB, commit_interval: 50ms}\n");
  const std::string record = std::string("\x04id\x80\x02", 5) + std::string(128, 'x');
  const std::vector<std::string> values(1024, record);
  endless_log slow(values, records, std::chrono::milliseconds(2));
  // Until a quarter has gone through, queues, epochs and scratch grow to what they need.
  std::int64_t at_first = 0, most = 0;
  rig.options().progress = [&](const worker_progress& so_far) {
    auto& seen = so_far.records_in < records / 4 ? at_first : most;
    seen = std::max(seen, resident_bytes());
  };
  const auto summary = run_worker(std::make_shared<const graph>(rig.checked()), slow, rig.options());
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_EQ(slow.committed_records(), records);
  if (!is_measured) return;
  ASSERT_GT(at_first, 0);
  ASSERT_GT(most, 0);
  EXPECT_LT(most - at_first, growth_bytes_max) << most << " bytes at the most, " << at_first << " in the first quarter";
}

}  // namespace
}  // namespace sonder
