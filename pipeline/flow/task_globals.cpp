#include <fmt/format.h>

#include <algorithm>

#include "flow/task.h"

// Global tables in one task: all rows of the topic, at the start and whenever an epoch begins.
namespace sonder {

namespace {

constexpr fetch_limits global_fetch{4096, 1 << 20};
constexpr std::int32_t global_batches_per_step = 16;
constexpr std::string_view header_name = "sonder.tables";

}  // namespace

/// One task answers for each partition: it notes how far the topic is applied, and buries what is no row. All others only read.
status task::open_global(std::size_t source) {
  const auto& topic = flow_.sources[source].topic;
  auto& copy = *context_.globals[source];
  global_source made{source, {}, std::vector<std::int64_t>(static_cast<std::size_t>(topic.partitions), -1), {}};
  auto ends = copy.ends();
  if (!ends) return tl::unexpected(ends.error());
  made.ends = std::move(*ends);
  for (auto p = partition_; p < topic.partitions; p += flow_.partitions) {
    auto committed = context_.on->committed_of(flow_.options.name, topic.topic, p);
    if (!committed) return tl::unexpected(committed.error());
    made.committed[static_cast<std::size_t>(p)] = std::max<std::int64_t>(0, *committed);
  }
  const auto buries = [this, at = globals_.size()](const global_table::place& of) {
    const auto committed = globals_[at].committed[static_cast<std::size_t>(of.partition)];
    return committed >= 0 && of.offset >= committed;
  };
  globals_.push_back(std::move(made));
  sources_.push_back(std::make_unique<source_reader>(flow_, static_cast<int>(source), *context_.on, *context_.schemas, partition_,
                                                     context_.lines, copy, buries));
  sources_.back()->seek(0);
  return {};
}

/// Between epochs only, so that all decisions of one are made by the same rows; and before the first event, as far as the topics
/// went when the task was opened.
result<task::tables_are> task::apply_globals() {
  if (globals_there_ && !globals_behind_ && !open_->empty()) return tables_are::applied;
  bool awaited = false;
  bool moved = false;
  std::int32_t batches = 0;
  for (auto& global : globals_) {
    auto& copy = *context_.globals[global.source];
    auto& reader = *sources_[global.source];
    SONDER_TRY(copy.advance());
    awaited = awaited || (!globals_there_ && !copy.reaches(global.ends));
    bool waits = false;
    // Up to an end that holds when the task is there: what came meanwhile may have taken the place of what stood before the first one.
    while (reader.next_offset() < copy.end(global.there)) {
      globals_behind_ = batches == global_batches_per_step;
      if (globals_behind_) return tables_are::behind;
      bool fetched = false;
      auto has = reader.fill(global_fetch, fetched);
      if (!has) return tl::unexpected(has.error());
      if (!*has) continue;  // what stood there has been replaced by what comes later, or removed
      const auto before = reader.next_offset();
      SONDER_TRY(run_batch(global.source, rows_max_, INT64_MAX));
      if (reader.next_offset() == before) {  // a schema is awaited
        awaited = waits = true;
        break;
      }
      ++batches;
      moved = true;
    }
    if (!waits) moved = reader.reach(global.there) || moved;
  }
  globals_behind_ = false;
  if (awaited) return tables_are::awaited;
  if (moved || !globals_there_) note_globals();
  globals_there_ = true;
  return tables_are::applied;
}

/// Every record that is decided from here on says by how much of which table: `{"catalogue":[12,7]}`, an offset a partition.
void task::note_globals() {
  globals_headers_.resize(flow_.sinks.size());
  for (std::size_t s = 0; s < flow_.sinks.size(); ++s) {
    if (flow_.sinks[s].globals.empty()) continue;
    std::string text;
    for (const auto source : flow_.sinks[s].globals) {
      const auto i = static_cast<std::size_t>(source);
      text += fmt::format("{}\"{}\":[{}]", text.empty() ? "{" : ",", flow_.sources[i].topic.name, fmt::join(sources_[i]->reached(), ","));
    }
    text += "}";
    const header_view header{header_name, as_bytes(text)};
    globals_headers_[s].clear();
    encode_headers({&header, 1}, globals_headers_[s]);
    sinks_[s]->set_headers({globals_headers_[s].data(), globals_headers_[s].size()});
  }
}

void task::seal_globals(bool again) {
  for (auto& global : globals_) {
    const auto& reached = sources_[global.source]->reached();
    for (std::size_t p = 0; p < reached.size(); ++p) {
      if (global.committed[p] < 0 || reached[p] < global.committed[p] || (reached[p] == global.committed[p] && !again)) continue;
      open_->applied.push_back({global.source, static_cast<std::int32_t>(p), reached[p]});
      global.committed[p] = reached[p];
    }
  }
}

}  // namespace sonder
