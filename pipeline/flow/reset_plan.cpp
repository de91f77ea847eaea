#include "flow/reset_plan.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <set>

#include "avro/json_time.h"
#include "flow/store_names.h"
#include "record/number_of.h"

namespace sonder {
namespace {

std::string in_quotes(std::string_view name) {
  return "\"" + std::string(name) + "\"";
}

bool whole(std::string_view text, std::int64_t& into) {
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), into);
  return failed == std::errc() && end == text.data() + text.size() && into >= 0;
}

/// Names of topics have no colon.
result<reset_target::place> parse_place(const std::string& word) {
  const auto last = word.rfind(':');
  const auto before = last == std::string::npos || last == 0 ? std::string::npos : word.rfind(':', last - 1);
  reset_target::place place;
  std::int64_t partition = 0;
  if (before != std::string::npos && before > 0 && whole(std::string_view(word).substr(before + 1, last - before - 1), partition) &&
      partition <= INT32_MAX && whole(std::string_view(word).substr(last + 1), place.offset)) {
    place.topic = word.substr(0, before);
    place.partition = static_cast<std::int32_t>(partition);
    return place;
  }
  return fail(errc::invalid, "--to " + word +
                                 ": must be earliest, latest, a time such as 2026-11-21T12:30:00Z, or one or more of "
                                 "TOPIC:PARTITION:OFFSET");
}

/// One topic with what its partitions stand at.
struct standing {
  flow_input of;
  std::vector<std::int64_t> committed;
  std::vector<offset_range> ranges;

  /// Where a worker would go on: what retention has removed is passed.
  [[nodiscard]] std::int64_t from(std::size_t p) const { return std::max(committed[p], ranges[p].first); }
};

result<std::vector<standing>> look(const graph& flow, log& on) {
  std::vector<standing> all;
  for (auto& input : inputs_of(flow)) {
    standing one{std::move(input), {}, {}};
    auto committed = on.committed(flow.options.name, one.of.topic);
    if (!committed) return tl::unexpected(committed.error());
    one.committed = std::move(*committed);
    one.of.partitions = static_cast<std::int32_t>(one.committed.size());
    for (std::int32_t p = 0; p < one.of.partitions; ++p) {
      const auto range = on.offsets(one.of.topic, p);
      if (!range) return tl::unexpected(range.error());
      one.ranges.push_back(*range);
    }
    all.push_back(std::move(one));
  }
  return all;
}

class planner {
 public:
  planner(const graph& flow, log& on, const reset_target& target, bool keep_state, std::vector<standing> inputs)
      : flow_(flow), on_(on), target_(target), keep_state_(keep_state), inputs_(std::move(inputs)) {}

  result<reset_plan> plan() {
    SONDER_TRY(check_places());
    SONDER_TRY(check_own());
    for (auto& input : inputs_) {
      auto& goes = to_.emplace_back(input.ranges.size());
      if (input.of.is != flow_input::kind::event) continue;
      for (std::size_t p = 0; p < goes.size(); ++p) {
        auto to = place_of(input, static_cast<std::int32_t>(p));
        if (!to) return tl::unexpected(to.error());
        goes[p] = *to;
        note_direction(input, p, *to);
      }
    }
    // What one task writes and the flow reads again may belong to another task: they go back together.
    for (std::int32_t task = 0; reads_its_own() && !back_.empty() && task < flow_.partitions; ++task) back_.insert(task);
    for (std::size_t i = 0; i < inputs_.size(); ++i) follow(inputs_[i], to_[i]);
    for (std::size_t i = 0; i < inputs_.size(); ++i) add_moves(inputs_[i], to_[i]);
    for (const auto& input : inputs_) {
      for (std::size_t p = 0; p < input.committed.size(); ++p)
        plan_.stood.push_back({input.of.topic, static_cast<std::int32_t>(p), input.committed[p]});
    }
    if (!keep_state_) SONDER_TRY(add_clearings());
    add_notes();
    return std::move(plan_);
  }

 private:
  using places = std::vector<std::optional<std::int64_t>>;  // by partition; nothing: it stays

  [[nodiscard]] bool named(const standing& input, const std::string& name) const {
    if (input.of.topic == name) return true;
    const auto& topics = flow_.options.topics;
    return std::any_of(topics.begin(), topics.end(), [&](const auto& t) { return t.name == name && t.topic == input.of.topic; });
  }

  status check_places() const {
    for (const auto& place : target_.places) {
      const auto found = std::find_if(inputs_.begin(), inputs_.end(), [&](const auto& input) { return named(input, place.topic); });
      if (found == inputs_.end()) {
        std::string known;
        for (const auto& input : inputs_) known += (known.empty() ? "" : ", ") + in_quotes(input.of.topic);
        return fail(errc::invalid, "--to " + place.topic + ": no topic that the flow reads; it reads " + known);
      }
      if (found->of.is != flow_input::kind::event) {
        return fail(errc::invalid, "--to " + place.topic + ": is " + (found->of.is == flow_input::kind::table ? "a table" : "the flow's own") +
                                       "; those follow the event topics and are not placed by hand");
      }
      if (place.partition >= found->of.partitions) {
        return fail(errc::invalid, "--to " + place.topic + ": has " + number_of(found->of.partitions, "partition") + ", no partition " +
                                       std::to_string(place.partition));
      }
      const auto& range = found->ranges[static_cast<std::size_t>(place.partition)];
      if (place.offset < range.first || place.offset > range.end) {
        return fail(errc::invalid, "--to " + place.topic + ":" + std::to_string(place.partition) + ": has offsets " +
                                       std::to_string(range.first) + " to " + std::to_string(range.end) + ", not " +
                                       std::to_string(place.offset));
      }
    }
    return {};
  }

  [[nodiscard]] bool reads_its_own() const {
    return std::any_of(inputs_.begin(), inputs_.end(), [](const auto& input) { return input.of.is == flow_input::kind::own; });
  }

  /// A flow that reads what it writes is moved as a whole, and only once nothing of that waits: the offsets of what it was made
  /// of stand behind it already.
  status check_own() const {
    if (!reads_its_own()) return {};
    if (!target_.places.empty()) {
      return fail(errc::invalid, "--to " + target_.places.front().topic +
                                     ":...: this flow reads what it writes or forwards, so that its tasks move together; give earliest, "
                                     "latest or a time");
    }
    if (target_.to == reset_target::kind::earliest) return {};
    for (const auto& input : inputs_) {
      if (input.of.is != flow_input::kind::own) continue;
      std::int64_t waiting = 0;
      for (std::size_t p = 0; p < input.ranges.size(); ++p) waiting += std::max<std::int64_t>(0, input.ranges[p].end - input.from(p));
      if (waiting > 0) {
        return fail(errc::invalid, "topic " + in_quotes(input.of.topic) + " holds " + std::to_string(waiting) +
                                       " offsets that the flow wrote for itself and has not taken up, which a reset would lose; run it "
                                       "with --until-idle first, or go to earliest");
      }
    }
    return {};
  }

  result<std::optional<std::int64_t>> place_of(const standing& input, std::int32_t partition) {
    const auto& range = input.ranges[static_cast<std::size_t>(partition)];
    switch (target_.to) {
      case reset_target::kind::earliest: return range.first;
      case reset_target::kind::latest: return range.end;
      case reset_target::kind::time: {
        auto at = on_.offset_at(input.of.topic, partition, target_.time_ms);
        if (!at) return tl::unexpected(at.error());
        return std::clamp(*at, range.first, range.end);
      }
      case reset_target::kind::places: break;
    }
    std::optional<std::int64_t> to;
    for (const auto& place : target_.places) {
      if (place.partition == partition && named(input, place.topic)) to = place.offset;
    }
    return to;
  }

  void note_direction(const standing& input, std::size_t p, std::optional<std::int64_t> to) {
    // To begin anew is to have no state, wherever the offsets stand already.
    const bool anew = target_.to == reset_target::kind::earliest;
    if (!to || (*to == input.from(p) && !anew)) return;
    auto& tasks = anew || *to < input.from(p) ? back_ : forward_;
    if (input.of.of_tasks) tasks.insert(static_cast<std::int32_t>(p));
    for (std::int32_t task = 0; !input.of.of_tasks && task < flow_.partitions; ++task) tasks.insert(task);
  }

  void follow(const standing& input, places& goes) const {
    for (std::size_t p = 0; p < goes.size(); ++p) {
      const auto task = static_cast<std::int32_t>(p);
      const bool back = back_.contains(task);
      if (input.of.is == flow_input::kind::own && !input.of.of_tasks && !(back_.empty() && forward_.empty())) goes[p] = input.ranges[p].end;
      if (!input.of.of_tasks) continue;  // a global table is read whole at each start, wherever its offsets stand
      if (input.of.is == flow_input::kind::table && back && !keep_state_) goes[p] = input.ranges[p].first;
      if (input.of.is == flow_input::kind::own && (back || forward_.contains(task))) goes[p] = input.ranges[p].end;
    }
  }

  /// Where state stays, a worker refuses to begin without an offset, which may have expired, even at the same place.
  [[nodiscard]] bool must_be_committed(const standing& input, std::size_t p) const {
    return input.committed[p] < 0 && (keep_state_ || target_.to != reset_target::kind::earliest);
  }

  void add_moves(const standing& input, const places& goes) {
    for (std::size_t p = 0; p < goes.size(); ++p) {
      const auto from = input.from(p);
      if (!goes[p] || (*goes[p] == from && !must_be_committed(input, p))) continue;
      plan_.moves.push_back({input.of.topic, input.of.is, static_cast<std::int32_t>(p), from, *goes[p]});
      if (input.of.is != flow_input::kind::event) continue;
      plan_.records_again += std::max<std::int64_t>(0, from - *goes[p]);
      plan_.records_skipped += std::max<std::int64_t>(0, *goes[p] - from);
    }
  }

  status add_clearings() {
    for (const auto& stage : flow_.stages) {
      for (const auto& store : store_names(stage)) {
        for (const auto task : back_) {
          auto size = on_.size_of_state(flow_.options.name, store, task);
          if (!size) return tl::unexpected(size.error());
          plan_.cleared.push_back({store, task, *size});
        }
      }
    }
    return {};
  }

  void add_notes() {
    if (plan_.records_again > 0) {
      std::string sinks;
      for (const auto& sink : flow_.sinks) sinks += (sinks.empty() ? "" : ", ") + in_quotes(sink.topic.topic);
      plan_.notes.push_back("what has been written to " + sinks + " stays: what is made of records that are read again comes a second time");
    }
    if (plan_.records_skipped > 0) plan_.notes.push_back("records that are skipped are in no result and no state");
    if (keep_state_ && !back_.empty()) plan_.notes.push_back("state is kept: what is read again counts in it a second time");
    if (keep_state_ || back_.empty()) return;
    for (std::size_t i = 0; i < inputs_.size(); ++i) note_what_is_missing(inputs_[i], to_[i]);
  }

  /// State that is cleared, and of whose input not all is read again.
  void note_what_is_missing(const standing& input, const places& goes) {
    if (input.of.is == flow_input::kind::own) return;
    std::int64_t gone = 0;
    std::set<std::int32_t> kept;
    for (std::size_t p = 0; p < goes.size(); ++p) {
      if (input.of.of_tasks && !back_.contains(static_cast<std::int32_t>(p))) continue;
      gone += input.ranges[p].first;
      const auto to = goes[p].value_or(input.from(p));
      if (input.of.is == flow_input::kind::event && to > input.ranges[p].first) kept.insert(static_cast<std::int32_t>(p));
    }
    // Compaction moves no first offset, so that of a table what is gone is gone by retention as well.
    if (gone > 0) {
      plan_.notes.push_back("retention has removed " + number_of(gone, "offset") + " of topic " + in_quotes(input.of.topic) +
                            ": state that came from those does not come back");
    }
    if (!kept.empty()) {
      plan_.notes.push_back("topic " + in_quotes(input.of.topic) + " is not read again from its beginning in " +
                            number_of(kept.size(), "partition") + ": state that came from what lies before does not come back");
    }
  }

  const graph& flow_;
  log& on_;
  const reset_target& target_;
  const bool keep_state_;
  std::vector<standing> inputs_;
  std::vector<places> to_;             // by input
  std::set<std::int32_t> back_, forward_;  // tasks
  reset_plan plan_;
};

}  // namespace

std::vector<flow_input> inputs_of(const graph& flow) {
  std::vector<flow_input> all;
  // A task's records come from any partition of a topic that is forwarded by subject.
  const auto written = [&](const std::string& topic) {
    return std::any_of(flow.sinks.begin(), flow.sinks.end(), [&](const auto& sink) { return sink.topic.topic == topic; });
  };
  for (const auto& rekey : flow.rekeys) {
    const auto is = written(rekey.raw.topic.topic) ? flow_input::kind::own : flow_input::kind::event;
    all.push_back({rekey.raw.topic.topic, rekey.raw.topic.partitions, is, false});
  }
  for (const auto& source : flow.sources) {
    flow_input one{source.topic.topic, flow.partitions, flow_input::kind::event, true};
    if (source.topic.role == topic_role::table) one.is = flow_input::kind::table;
    if (source.topic.role == topic_role::global) one = {source.topic.topic, source.topic.partitions, flow_input::kind::table, false};
    // A table stays one, whoever writes it: others' decisions in it are not made again.
    if ((one.is == flow_input::kind::event && written(one.topic)) || source.rekey >= 0) one.is = flow_input::kind::own;
    all.push_back(std::move(one));
  }
  return all;
}

std::string_view name(flow_input::kind of) noexcept {
  switch (of) {
    case flow_input::kind::event: return "event";
    case flow_input::kind::table: return "table";
    case flow_input::kind::own: return "own";
  }
  return {};
}

result<reset_target> parse_reset_target(const std::vector<std::string>& words) {
  reset_target target;
  if (words.size() == 1 && words[0] == "earliest") return target;
  target.to = reset_target::kind::latest;
  if (words.size() == 1 && words[0] == "latest") return target;
  if (words.size() == 1) {
    if (const auto us = parse_rfc3339_us(words[0])) {
      target.to = reset_target::kind::time;
      target.time_ms = *us / 1'000;
      return target;
    }
  }
  target.to = reset_target::kind::places;
  for (const auto& word : words) {
    auto place = parse_place(word);
    if (!place) return tl::unexpected(place.error());
    target.places.push_back(std::move(*place));
  }
  if (target.places.empty()) return fail(errc::invalid, "--to: where to?");
  return target;
}

result<reset_plan> plan_reset(const graph& flow, log& on, const reset_target& target, bool keep_state) {
  auto inputs = look(flow, on);
  if (!inputs) return tl::unexpected(inputs.error());
  return planner(flow, on, target, keep_state, std::move(*inputs)).plan();
}

status carry_out(const reset_plan& plan, const graph& flow, log& on, const std::string& asked) {
  if (plan.moves.empty() && plan.cleared.empty()) return {};
  group_reset to;
  to.group = flow.options.name;
  for (const auto& source : flow.sources) {
    if (source.topic.role != topic_role::global) to.topics.push_back(source.topic.topic);
  }
  to.partitions = flow.partitions;
  for (const auto& move : plan.moves) to.offsets.push_back({move.topic, move.partition, move.to});
  for (const auto& one : plan.cleared) to.cleared.push_back({one.store, one.task});
  for (const auto& one : plan.stood) to.stood.push_back({one.topic, one.partition, one.next});
  to.asked = asked;
  return on.reset(to);
}

}  // namespace sonder
