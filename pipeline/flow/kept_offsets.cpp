#include "flow/kept_offsets.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "flow/store_names.h"
#include "observe/log.h"

namespace sonder {

namespace {

/// Of a task's stores the first that holds anything; empty: none does.
result<std::string> store_with_state(const task_context& context, std::int32_t partition) {
  const auto& flow = *context.flow;
  std::vector<std::string> stores;
  for (const auto& stage : flow.stages) {
    for (auto& name : store_names(stage)) stores.push_back(std::move(name));
  }
  for (const auto& stage : context.stages_left_behind) stores.push_back(parked_store_of(stage));
  for (auto& store : stores) {
    bool holds = false;
    SONDER_TRY(context.on->state_scan(
        flow.options.name, store, partition, {},
        [](void* ctx, bytes_view, bytes_view) {
          *static_cast<bool*>(ctx) = true;
          return false;
        },
        &holds));
    if (holds) return std::move(store);
  }
  return std::string();
}

status gone(const graph& flow, const topic_options& topic, std::int32_t partition, const std::string& yet, logger* lines) {
  const auto what = "group \"" + flow.options.name + "\" has no committed offset of topic \"" + topic.topic + "\", partition " +
                    std::to_string(partition) + ", and yet " + yet;
  if (!flow.options.log.kafka.exactly_once) {
    if (lines != nullptr) {
      lines->write(log_level::warning, "a group's offsets are gone: its topic is read from the beginning, and counts twice", {{"because", what}});
    }
    return {};
  }
  return fail(errc::corrupt,
              to_string(topic.at) + ": " + what +
                  ": its offsets have expired (brokers forget those of a group without workers after offsets.retention.minutes), or they or the "
                  "topic were deleted. Read from its beginning, all of it would count twice. `sonder reset --to earliest` begins anew without "
                  "state; `sonder reset --to TIME`, or `--to earliest --keep-state`, goes on from there with the state as it is");
}

}  // namespace

status check_offsets_kept(const task_context& context, std::int32_t partition) {
  const auto& flow = *context.flow;
  const source_node* first = nullptr;
  for (const auto& source : flow.sources) {
    if (source.topic.role == topic_role::global) continue;  // each start reads it whole
    auto committed = context.on->committed_of(flow.options.name, source.topic.topic, partition);
    if (!committed) return tl::unexpected(committed.error());
    if (*committed >= 0) return {};
    if (first == nullptr) first = &source;
  }
  if (first == nullptr) return {};
  auto store = store_with_state(context, partition);
  if (!store) return tl::unexpected(store.error());
  if (store->empty()) return {};
  return gone(flow, first->topic, partition, "its state is there (store \"" + *store + "\")", context.lines);
}

status check_forwarded_kept(const graph& flow, log& on, std::size_t rekey, std::int32_t task, std::int32_t partition, logger* lines) {
  const auto& raw = flow.rekeys[rekey].raw.topic;
  const auto& inner = flow.sources[static_cast<std::size_t>(flow.rekeys[rekey].source)].topic;
  // A migration of stores notes where a task begins, which is 0, without having forwarded anything.
  const auto taken_up = on.committed_of(flow.options.name, inner.topic, task);
  if (!taken_up) return tl::unexpected(taken_up.error());
  if (*taken_up <= 0) return {};
  const auto all = on.committed(flow.options.name, raw.topic);
  if (!all) return tl::unexpected(all.error());
  if (std::any_of(all->begin(), all->end(), [](auto next) { return next >= 0; })) return {};
  return gone(flow, raw, partition, "it has taken up what it forwarded from there (topic \"" + inner.topic + "\")", lines);
}

}  // namespace sonder
