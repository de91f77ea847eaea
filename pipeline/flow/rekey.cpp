#include "flow/rekey.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "flow/kept_offsets.h"
#include "flow/sink_writer.h"
#include "observe/log.h"

namespace sonder {

namespace {

constexpr fetch_limits raw_fetch{1024, 1 << 20};
constexpr std::string_view header_name = "sonder.rekey";
constexpr std::uint8_t header_version = 1;
constexpr std::uint8_t flag_has_key = 1;
// version, flags, partition, offset, timestamp; then the key
constexpr std::size_t header_bytes = 2 + sizeof(std::int32_t) + 2 * sizeof(std::int64_t);

void write_forwarded(std::int32_t partition, const log_record& record, buffer& to) {
  to.append_value(header_version);
  to.append_value(record.has_key ? flag_has_key : std::uint8_t{0});
  to.append_value(partition);
  to.append_value(record.offset);
  to.append_value(record.timestamp_ms);
  to.append(record.key.data(), record.key.size());
}

const source_node& inner_of(const graph& flow, std::size_t rekey) {
  return flow.sources[static_cast<std::size_t>(flow.rekeys[rekey].source)];
}

double seconds_since(std::chrono::steady_clock::time_point from) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - from).count();
}

}  // namespace

bool read_forwarded(const header_view& first, forwarded_record& into) noexcept {
  if (first.key != header_name || first.value.size() < header_bytes || first.value.data()[0] != header_version) return false;
  const auto* at = first.value.data() + 1;
  const auto take = [&](auto& value) {
    std::memcpy(&value, at, sizeof value);
    at += sizeof value;
  };
  std::uint8_t flags = 0;
  take(flags);
  take(into.partition);
  take(into.offset);
  take(into.timestamp_ms);
  into.has_key = (flags & flag_has_key) != 0;
  into.key = {at, first.value.size() - header_bytes};
  return into.partition >= 0;
}

result<std::unique_ptr<rekeyer>> rekeyer::open(const graph& flow, log& on, schema_registry& schemas, const counts_layout& layout,
                                               std::int32_t task, logger* lines) {
  std::unique_ptr<rekeyer> made(new rekeyer(flow, layout));
  for (std::size_t r = 0; r < flow.rekeys.size(); ++r) {
    const auto& raw = flow.rekeys[r].raw.topic;
    const auto inner_bytes_max = record_bytes_max_of(on, inner_of(flow, r).topic.topic);
    for (auto partition = task; partition < raw.partitions; partition += flow.partitions) {
      auto committed = on.committed_of(flow.options.name, raw.topic, partition);
      if (!committed) return tl::unexpected(committed.error());
      if (*committed < 0) SONDER_TRY(check_forwarded_kept(flow, on, r, task, partition, lines));
      const auto from = begin_at(on, raw.topic, partition, *committed);
      if (!from) return tl::unexpected(from.error());
      made->readings_.push_back(std::make_unique<reading>(
          reading{r, source_reader(flow, flow.rekeys[r], on, schemas, partition, lines), inner_bytes_max, *from}));
      made->readings_.back()->of.seek(*from, *committed < 0);
    }
  }
  return made;
}

result<std::int64_t> first_kept(const graph& flow, const source_node& source, log& on, std::int32_t partition, std::int64_t next,
                                logger* lines) {
  next = std::max<std::int64_t>(0, next);
  const auto& inner = source.topic;
  auto kept = on.offsets(inner.topic, partition);
  if (!kept) return tl::unexpected(kept.error());
  if (kept->first <= next) return next;
  const auto gone = kept->first - next;
  if (inner.rekey_skips_lost) {
    if (lines != nullptr) {
      lines->write(log_level::warning, "copies that nobody had taken up are gone, and passed over",
                   {{"topic", inner.topic}, {"partition", static_cast<std::int64_t>(partition)}, {"offset", next}, {"offsets_gone", gone}});
    }
    return kept->first;
  }
  return fail(errc::corrupt,
              to_string(inner.at) + ": topic \"" + inner.topic + "\", the internal one of \"" + inner.name + "\", partition " +
                  std::to_string(partition) + ": retention has removed offsets " + std::to_string(next) + " to " +
                  std::to_string(kept->first - 1) + ", which flow \"" + flow.options.name +
                  "\" had not taken up: it stood still for longer than rekey_retention. `sonder reset --to earliest` begins anew "
                  "with what \"" + inner.name + "\" still has; `rekey_lost: skip` goes on without them. Then make rekey_retention longer");
}

status rekeyer::forward(std::int32_t rows_max, std::int64_t now_ms, contribution& to, const bury_fn& bury) {
  for (std::size_t looked = 0; looked < readings_.size(); ++looked) {
    auto& from = *readings_[next_];
    next_ = (next_ + 1) % readings_.size();
    bool fetched = false;
    auto has = from.of.fill(raw_fetch, fetched);
    if (!has) return tl::unexpected(has.error());
    if (!*has) continue;
    auto took = forward_from(from, rows_max, now_ms, to, bury);
    if (!took) return tl::unexpected(took.error());
    if (*took) return {};
  }
  return {};
}

/// False if nothing could be taken up: a schema is awaited.
result<bool> rekeyer::forward_from(reading& from, std::int32_t rows_max, std::int64_t now_ms, contribution& to, const bury_fn& bury) {
  const auto began = std::chrono::steady_clock::now();
  auto& counts = to.counts[layout_.rekey(from.rekey)];
  const auto in_before = counts.in;
  const auto bury_record = [&](int, const log_record& record, std::string_view cause) {
    return bury(from.of.place_of(record), record, cause);
  };
  SONDER_TRY(from.of.take(rows_max, INT64_MAX, now_ms, space_, counts, bury_record));
  for (std::int32_t row = 0; row < space_.rows(); ++row) {
    const auto& record = space_.record_of(row);
    auto fits = append(from, record, space_.subject[static_cast<std::size_t>(row)], to);
    if (!fits) return tl::unexpected(fits.error());
    if (*fits) continue;
    --counts.passed;
    counts.bury(host_cause::too_large);
    SONDER_TRY(bury_record(0, record, name(host_cause::too_large)));
  }
  if (counts.in == in_before) return false;
  to.records_in += counts.in - in_before;
  ++to.steps;
  if (!flow_.rekeys[from.rekey].raw.topic.feedback) ++to.awaited_steps;
  counts.batches.observe(static_cast<double>(counts.in - in_before));
  counts.durations.observe(seconds_since(began));
  return true;
}

/// False if the record is larger than the internal topic takes.
result<bool> rekeyer::append(const reading& from, const log_record& record, std::string_view subject, contribution& to) {
  header_.clear();
  headers_.clear();
  write_forwarded(from.of.partition(), record, header_);
  encode_headers_after({header_name, {header_.data(), header_.size()}}, record.headers, headers_);
  const auto key = as_bytes(subject);
  const auto size = key.size() + record.value.size() + headers_.size();
  if (size > from.inner_bytes_max) return false;
  const auto partition = murmur2_partition(key, inner_of(flow_, from.rekey).topic.partitions);
  auto& output = to.output(flow_.sinks.size() + 1 + from.rekey, partition);
  if (!to.fits(output, size)) {
    if (!to.takes_all) return fail(errc::capacity, "what one batch forwards is more than a log takes at once; lower batch_rows");
    return false;
  }
  output.append(record.timestamp_ms, &key, &record.value, {headers_.data(), headers_.size()});
  to.bytes += size;
  return true;
}

void rekeyer::seal(contribution& to) {
  for (auto& each : readings_) {
    each->sealed_next = each->of.next_offset();
    to.forwarded.push_back({each->rekey, each->of.partition(), each->sealed_next});
  }
}

bool rekeyer::passed_markers(bool of_feedback_too) const noexcept {
  return std::any_of(readings_.begin(), readings_.end(), [&](const auto& each) {
    return (of_feedback_too || !flow_.rekeys[each->rekey].raw.topic.feedback) && each->of.next_offset() > each->sealed_next;
  });
}

std::uint64_t rekeyer::take_lost(std::size_t rekey) noexcept {
  std::uint64_t sum = 0;
  for (auto& each : readings_) sum += each->rekey == rekey ? each->of.take_lost() : 0;
  return sum;
}

result<std::int64_t> rekeyer::lag(bool look_at_feedback) {
  std::int64_t sum = 0;
  for (auto& each : readings_) {
    const bool feedback = flow_.rekeys[each->rekey].raw.topic.feedback;
    if (feedback && !look_at_feedback) continue;
    auto end = each->of.end_offset();
    if (!end) return tl::unexpected(end.error());
    if (!feedback) sum += std::max<std::int64_t>(0, *end - each->of.next_offset());
  }
  return sum;
}

source_backlog rekeyer::backlog(std::size_t rekey) const noexcept {
  source_backlog all;
  for (const auto& each : readings_) {
    if (each->rekey != rekey) continue;
    const auto one = each->of.backlog();
    all.records += one.records;
    all.waiting += one.waiting;
    if (one.records > 0 && one.oldest_ms) all.oldest_ms = std::min(*one.oldest_ms, all.oldest_ms.value_or(*one.oldest_ms));
  }
  return all;
}

result<bool> others_took_up(const graph& flow, log& on, std::span<const std::int32_t> owned) {
  record_block found;
  for (std::size_t r = 0; r < flow.rekeys.size(); ++r) {
    const auto& inner = inner_of(flow, r).topic;
    if (inner.feedback) continue;
    for (std::int32_t partition = 0; partition < inner.partitions; ++partition) {
      if (std::binary_search(owned.begin(), owned.end(), partition)) continue;
      auto newest = on.newest(inner.topic, partition);
      if (!newest) return tl::unexpected(newest.error());
      auto committed = on.committed_of(flow.options.name, inner.topic, partition);
      if (!committed) return tl::unexpected(committed.error());
      const auto from = std::max<std::int64_t>(0, *committed);
      if (from >= *newest) continue;
      // Nothing but markers may stand between the two.
      SONDER_TRY(on.fetch(inner.topic, partition, from, {1, 1}, found));
      if (!found.records.empty() || found.next_offset < *newest) return false;
    }
  }
  return true;
}

}  // namespace sonder
