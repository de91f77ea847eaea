#include "flow/contribution.h"

namespace sonder {

std::string_view name(block_reason reason) noexcept {
  return reason == block_reason::outbox ? "outbox" : reason == block_reason::changes ? "changes" : "none";
}

namespace {

constexpr std::size_t spared_changes = 1024;  // of state: not worth giving back

const topic_options* dead_letter_topic(const graph& flow) {
  for (const auto& topic : flow.options.topics) {
    if (topic.name == flow.options.dead_letter) return &topic;
  }
  return nullptr;
}

}  // namespace

contribution::contribution(const graph& flow, const counts_layout& layout) : counts(layout.make()) {
  std::size_t size = 0;
  for (const auto& sink : flow.sinks) {
    first_output.push_back(size);
    size += static_cast<std::size_t>(sink.topic.partitions);
  }
  first_output.push_back(size);
  if (const auto* dead = dead_letter_topic(flow)) size += static_cast<std::size_t>(dead->partitions);
  for (const auto& rekey : flow.rekeys) {
    first_output.push_back(size);
    size += static_cast<std::size_t>(flow.sources[static_cast<std::size_t>(rekey.source)].topic.partitions);
  }
  outputs.resize(size);
  next_offsets.assign(flow.sources.size(), -1);
  ages.resize(flow.sinks.size());
  timers.resize(flow.stages.size());
}

void contribution::clear() noexcept {
  for (auto& output : outputs) output.clear();
  for (auto& next : next_offsets) next = -1;
  for (auto& node : counts) node.clear();
  forwarded.clear();
  applied.clear();
  if (state_use_.outgrew(state.size(), spared_changes)) std::vector<state_change>().swap(state);
  state.clear();
  records_in = records_out = dead_letters = steps = awaited_steps = 0;
  bytes = 0;
  rows_max = 0;
  for (auto& sink : ages) sink.clear();
  for (auto& stage : timers) stage = {};
  blocked_ns.fill(0);
}

std::size_t contribution::epoch_bytes() const noexcept {
  std::size_t sum = 0;
  for (const auto& output : outputs) sum += output.bytes();
  for (const auto& change : state) sum += change.key.size() + (change.value ? change.value->size() : 0);
  return sum;
}

std::size_t contribution::epoch_records() const noexcept {
  auto sum = state.size();
  for (const auto& output : outputs) sum += static_cast<std::size_t>(output.count());
  return sum;
}

void contribution::add_to(epoch_changes& epoch, const graph& flow, std::int32_t partition) {
  const auto produce = [&](const topic_options& topic, std::size_t sink) {
    for (std::int32_t p = 0; p < topic.partitions; ++p) {
      auto& records = output(sink, p);
      if (records.count() > 0) epoch.produced.push_back({topic.topic, p, &records});
    }
  };
  for (std::size_t i = 0; i < flow.sinks.size(); ++i) produce(flow.sinks[i].topic, i);
  if (const auto* dead = dead_letter_topic(flow)) produce(*dead, flow.sinks.size());
  for (std::size_t i = 0; i < flow.rekeys.size(); ++i) {
    produce(flow.sources[static_cast<std::size_t>(flow.rekeys[i].source)].topic, flow.sinks.size() + 1 + i);
  }
  for (const auto& raw : forwarded) epoch.consumed.push_back({flow.rekeys[raw.rekey].raw.topic.topic, raw.partition, raw.next});
  for (const auto& table : applied) epoch.consumed.push_back({flow.sources[table.source].topic.topic, table.partition, table.next});
  for (std::size_t i = 0; i < flow.sources.size(); ++i) {
    if (next_offsets[i] >= 0) epoch.consumed.push_back({flow.sources[i].topic.topic, partition, next_offsets[i]});
  }
  epoch.state.insert(epoch.state.end(), state.begin(), state.end());
}

}  // namespace sonder
