#pragma once

#include <librdkafka/rdkafka.h>

#include <memory>

namespace sonder::kafka {

struct topic_list_deleter {
  void operator()(rd_kafka_topic_partition_list_t* of) const noexcept { rd_kafka_topic_partition_list_destroy(of); }
};
/// librdkafka's list of partitions, with an offset each. For sources alone: it brings librdkafka's header.
using topic_list_ptr = std::unique_ptr<rd_kafka_topic_partition_list_t, topic_list_deleter>;

}  // namespace sonder::kafka
