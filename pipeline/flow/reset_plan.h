#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "flow/graph.h"
#include "log/log.h"
#include "record/result.h"

namespace sonder {

/// A topic that a flow reads, as its group's offsets see it.
struct flow_input {
  enum class kind {
    event,
    table,     ///< applied before events: what it says must be known, so it is never skipped
    own,       ///< written by the flow itself, as what it forwards by subject is: its records come again when what they were made of is read again
  };
  std::string topic;  ///< in the log
  std::int32_t partitions = 0;
  kind is = kind::event;
  bool of_tasks = true;  ///< partition = task; else a task may have made something of any partition
};

/// Every topic that the flow's group has offsets of, in the flow's order.
[[nodiscard]] std::vector<flow_input> inputs_of(const graph& flow);
[[nodiscard]] std::string_view name(flow_input::kind of) noexcept;

/// Where a reset shall go. Topics and offsets by name, or all event topics to one place.
struct reset_target {
  enum class kind { earliest, latest, time, places };
  struct place {
    std::string topic;  ///< as the flow or the log calls it
    std::int32_t partition = 0;
    std::int64_t offset = 0;
  };
  kind to = kind::earliest;
  std::int64_t time_ms = 0;
  std::vector<place> places;
};

/// `earliest`, `latest`, a time (RFC 3339), or one or more of `TOPIC:PARTITION:OFFSET`.
[[nodiscard]] result<reset_target> parse_reset_target(const std::vector<std::string>& words);

struct reset_move {
  std::string topic;
  flow_input::kind is = flow_input::kind::event;
  std::int32_t partition = 0;
  std::int64_t from = 0;  ///< where a worker would go on now
  std::int64_t to = 0;
};

struct reset_clearing {
  std::string store;
  std::int32_t task = 0;
  state_size size;
};

/// Where the group stood when a reset was worked out.
struct reset_stood {
  std::string topic;
  std::int32_t partition = 0;
  std::int64_t next = -1;  ///< -1: nowhere yet
};

/// What a reset would change, and what people should know before they do it.
struct reset_plan {
  std::vector<reset_move> moves;         ///< those that change something
  std::vector<reset_clearing> cleared;   ///< of each task that goes back, every store
  std::vector<reset_stood> stood;        ///< every offset that the plan rests on
  std::vector<std::string> notes;
  std::int64_t records_again = 0;        ///< offsets of event topics that are read a second time
  std::int64_t records_skipped = 0;      ///< ... that are never read
};

/// Works out a reset; changes nothing.
///
/// A task of which an event topic goes back, or anything to `earliest`, loses its state, since that holds what came later and would count it twice: all its
/// stores, parked rows and timers among them, and its tables begin anew. With `keep_state` neither happens. A task that only goes
/// forward keeps its state and its tables: a decision that was skipped would be one that nobody knows of. Topics that the flow
/// itself writes and reads go to their end wherever their task moves; a flow that has such moves as a whole, and, but for `earliest`,
/// only once all of them are taken up.
[[nodiscard]] result<reset_plan> plan_reset(const graph& flow, log& on, const reset_target& target, bool keep_state);

/// Does it: errors as of `log::reset`. Can be repeated, after a crash too: a plan of the same target finishes what began. `asked`
/// is for those who find it unfinished: the words that it was asked for with.
[[nodiscard]] status carry_out(const reset_plan& plan, const graph& flow, log& on, const std::string& asked = {});

}  // namespace sonder
