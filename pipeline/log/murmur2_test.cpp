#include <gtest/gtest.h>

#include "log/log.h"

namespace sonder {
namespace {

// The vectors of Kafka's own UtilsTest.testMurmur2.
TEST(Murmur2, EqualsJavaKafka) {
  EXPECT_EQ(murmur2_hash(as_bytes("21")), -973932308);
  EXPECT_EQ(murmur2_hash(as_bytes("foobar")), -790332482);
  EXPECT_EQ(murmur2_hash(as_bytes("a-little-bit-long-string")), -985981536);
  EXPECT_EQ(murmur2_hash(as_bytes("a-little-bit-longer-string")), -1486304829);
  EXPECT_EQ(murmur2_hash(as_bytes("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8")), -58897971);
  EXPECT_EQ(murmur2_hash(as_bytes("abc")), 479470107);
}

TEST(Murmur2, PartitionsBySignlessHash) {
  // -973932308 & 0x7fffffff = 1173551340
  EXPECT_EQ(murmur2_partition(as_bytes("21"), 8), 1173551340 % 8);
  EXPECT_EQ(murmur2_partition(as_bytes("foobar"), 1), 0);
  for (int i = 0; i < 1000; ++i) {
    const auto partition = murmur2_partition(as_bytes(std::to_string(i)), 7);
    EXPECT_TRUE(partition >= 0 && partition < 7);
  }
  const auto of_nothing = murmur2_partition({}, 7);
  EXPECT_TRUE(of_nothing >= 0 && of_nothing < 7);
}

}  // namespace
}  // namespace sonder
