#include "flow/store_versions.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "flow/store_names.h"
#include "observe/log.h"
#include "plugin/library.h"
#include "plugin/plugin_call.h"

namespace sonder {

namespace {

using clock = std::chrono::steady_clock;

constexpr std::size_t chunk_bytes_max = 4 << 20;
constexpr std::size_t chunk_entries_max = 65'536;
constexpr std::size_t made_of_one_max = 16;  // entries, of one old one
constexpr std::size_t key_bytes_max = 4096;
constexpr std::size_t value_bytes_max = 1 << 20;

/// Where a store stands, as its note says.
struct store_note {
  enum phase_kind : std::uint32_t { settled, turning, moving };
  std::uint32_t version = 1;
  std::uint32_t target = 1;  ///< another one: half-way there
  std::uint32_t phase = settled;
};

/// Entries of a store, copied, within the bounds of one epoch.
struct chunk {
  const std::string* after = nullptr;  ///< only those behind it; null: all
  std::size_t bytes_max = 0;
  std::size_t entries_max = 0;
  std::size_t bytes = 0;
  std::vector<std::pair<std::string, std::string>> entries;
  bool more = false;

  static bool take(void* ctx, bytes_view key, bytes_view value) {
    auto& self = *static_cast<chunk*>(ctx);
    if (self.after != nullptr && as_text(key) <= *self.after) return true;
    self.more = self.bytes >= self.bytes_max || self.entries.size() >= self.entries_max;
    if (self.more) return false;
    self.bytes += key.size() + value.size();
    self.entries.emplace_back(as_text(key), as_text(value));
    return true;
  }
};

/// What `migrate` makes of one entry.
struct replacements {
  std::vector<std::pair<std::string, std::string>> made;
  bool too_much = false;
  bool no_memory = false;

  static void add(void* ctx, sonder_bytes key, sonder_bytes value) noexcept {
    auto& self = *static_cast<replacements*>(ctx);
    self.too_much = self.too_much || key.size > key_bytes_max || value.size > value_bytes_max || self.made.size() >= made_of_one_max;
    if (self.too_much) return;
    try {
      self.made.emplace_back(as_text({key.data, static_cast<std::size_t>(key.size)}),
                             as_text({value.data, static_cast<std::size_t>(value.size)}));
    } catch (const std::bad_alloc&) {
      self.no_memory = true;
    }
  }
};

using changes = std::map<std::string, std::optional<std::string>>;

std::size_t bytes_of(const std::pair<std::string, std::string>& entry) { return entry.first.size() + entry.second.size(); }

/// One store of one task on its way to the version that the plugin declares.
class store_migration {
 public:
  store_migration(const task_context& context, std::size_t stage, std::size_t store, std::int32_t partition)
      : context_(context),
        stage_(context.flow->stages[stage]),
        declared_(stage_.of.stores[store]),
        index_(static_cast<std::uint32_t>(store)),
        partition_(partition),
        group_(context.flow->options.name),
        store_(stage_.options.name + "." + declared_.name),
        notes_(parked_store_of(stage_.options.name)),
        note_key_("v" + declared_.name),
        aside_prefix_("m" + declared_.name + '\0') {
    const auto limits = context.on->limits();
    bytes_max_ = std::min(chunk_bytes_max, std::max<std::size_t>(1, limits.bytes_max / 4));
    entries_max_ = std::min(chunk_entries_max, std::max<std::size_t>(1, limits.records_max / 4));
  }

  /// True once the store is in the version that is declared; false after one epoch on the way there, or one that was not committed.
  result<bool> step();
  [[nodiscard]] std::optional<error>& not_committed() noexcept { return not_committed_; }

 private:
  result<std::optional<store_note>> read_note();
  status plan(std::optional<store_note> found);
  result<bool> is_empty();
  status turn();
  status turn_one(const std::pair<std::string, std::string>& entry);
  status move();
  status commit(const store_note& note, std::string_view cursor);
  [[nodiscard]] std::string whose() const {
    return to_string(stage_.options.at) + ": stage \"" + stage_.options.name + "\": store \"" + declared_.name + "\" of task " +
           std::to_string(partition_);
  }
  [[nodiscard]] tl::unexpected<error> refuse(const std::string& why) const {
    return fail(errc::unsupported, whose() + " " + why);
  }

  const task_context& context_;
  const stage_node& stage_;
  const manifest_store& declared_;
  std::uint32_t index_;
  std::int32_t partition_;
  std::string group_, store_, notes_, note_key_, aside_prefix_;
  std::size_t bytes_max_, entries_max_;
  std::unique_ptr<stage_module> module_;  ///< made once an entry is to be turned
  store_note note_;
  bool begun_ = false;
  std::string cursor_;                    ///< where it is begun: the last old key that is done with
  changes to_store_, to_notes_;           ///< of the epoch that is being made
  std::size_t changed_bytes_ = 0;
  std::optional<error> not_committed_;
};

result<std::optional<store_note>> store_migration::read_note() {
  buffer value;
  auto there = context_.on->state_get(group_, notes_, partition_, as_bytes(note_key_), value);
  if (!there) return tl::unexpected(there.error());
  if (!*there) return std::nullopt;
  store_note note;
  if (value.size() < sizeof note) return fail(errc::corrupt, whose() + ": the note of its version is none");
  std::memcpy(&note, value.data(), sizeof note);
  cursor_.assign(reinterpret_cast<const char*>(value.data()) + sizeof note, value.size() - sizeof note);
  return note;
}

result<bool> store_migration::is_empty() {
  bool empty = true;
  SONDER_TRY(context_.on->state_scan(
      group_, store_, partition_, {},
      [](void* ctx, bytes_view, bytes_view) { return *static_cast<bool*>(ctx) = false; }, &empty));
  return empty;
}

/// Whether the plugin can go on from what was found. `note_` says where from.
status store_migration::plan(std::optional<store_note> found) {
  const auto wanted = declared_.version;
  note_ = found.value_or(store_note{});
  const auto plugin = "plugin " + stage_.of.id + " " + stage_.of.version;
  const auto ways_out = [&](std::uint32_t version, const char* otherwise = ";") {
    return otherwise + std::string(" install the plugin whose manifest has version ") + std::to_string(version) +
           " of the store, or take the state away: sonder reset";
  };
  if (note_.phase != store_note::settled) {
    if (note_.target == wanted) return {};
    return refuse("is half-way from version " + std::to_string(note_.version) + " to " + std::to_string(note_.target) + ", and " + plugin +
                  " has version " + std::to_string(wanted) + ways_out(note_.target));
  }
  if (note_.version > wanted) {
    return refuse("is in version " + std::to_string(note_.version) + ", and " + plugin + " only knows version " + std::to_string(wanted) +
                  ways_out(note_.version));
  }
  if (note_.version == wanted) return {};
  auto empty = is_empty();
  if (!empty) return tl::unexpected(empty.error());
  if (*empty) return commit({wanted, wanted, store_note::settled}, {});
  if (stage_.library->calls().migrate == nullptr) {
    return refuse("is in version " + std::to_string(note_.version) + ", and " + plugin + " has version " + std::to_string(wanted) +
                  " and no `migrate`" + ways_out(note_.version));
  }
  if (!context_.flow->options.log.kafka.exactly_once) {
    return refuse("is in version " + std::to_string(note_.version) + ", and can be migrated to " + std::to_string(wanted) +
                  " only where entries and note are one: stop all workers, run the flow once with exactly_once (sonder run CONFIG "
                  "--set log.guarantee=exactly_once --until-idle), then as before" +
                  ways_out(note_.version, "; or"));
  }
  note_ = {note_.version, wanted, store_note::turning};
  return {};
}

result<bool> store_migration::step() {
  auto found = read_note();
  if (!found) return tl::unexpected(found.error());
  if ((*found).value_or(store_note{}).phase == store_note::settled && (*found).value_or(store_note{}).version == declared_.version) return true;
  const bool on_the_way = *found && (*found)->phase != store_note::settled;
  begun_ = on_the_way;
  SONDER_TRY(plan(*found));
  if (note_.phase == store_note::settled) return !not_committed_;
  SONDER_TRY(note_.phase == store_note::turning ? turn() : move());
  return false;
}

status store_migration::turn() {
  if (module_ == nullptr) {
    auto made = stage_module::create(stage_, context_.secrets, context_.lines, *context_.calls);
    if (!made) return tl::unexpected(made.error());
    module_ = std::move(*made);
  }
  chunk old;
  if (begun_) old.after = &cursor_;
  old.bytes_max = bytes_max_;
  old.entries_max = entries_max_;
  SONDER_TRY(context_.on->state_scan(group_, store_, partition_, {}, &chunk::take, &old));
  to_store_.clear();
  to_notes_.clear();
  changed_bytes_ = 0;
  for (const auto& entry : old.entries) {
    if (changed_bytes_ > bytes_max_ || to_store_.size() + to_notes_.size() > entries_max_ * 2) {
      old.more = true;
      break;
    }
    SONDER_TRY(turn_one(entry));
    cursor_ = entry.first;
  }
  const auto next = old.more ? store_note::turning : store_note::moving;
  return commit({note_.version, note_.target, next}, cursor_);
}

/// What stands under an old key that is still to be read must be read first: entries that go there are set aside.
status store_migration::turn_one(const std::pair<std::string, std::string>& entry) {
  const auto& key = entry.first;  // clang 14 captures no structured binding
  const auto& value = entry.second;
  replacements of;
  auto said = empty_error();
  const auto answer = [&] {
    const plugin_call inside(module_->whose());
    const watched_call timed(*context_.calls, stage_, "migrate");
    return module_->table().migrate(module_->get(), index_, note_.version, {as_bytes(key).data(), key.size()},
                                    {as_bytes(value).data(), value.size()}, &replacements::add, &of, &said);
  }();
  if (answer != SONDER_OK) {
    return fail(errc::plugin, whose() + ": plugin " + stage_.of.id + " cannot turn an entry of version " + std::to_string(note_.version) +
                                  " into version " + std::to_string(note_.target) + ": " + read_answer(answer, said).message);
  }
  if (of.no_memory) return fail(errc::internal, whose() + ": no memory left to migrate it");
  if (of.too_much) {
    return fail(errc::plugin, whose() + ": plugin " + stage_.of.id + " makes more than " + std::to_string(made_of_one_max) +
                                  " entries of one, or one larger than a store takes");
  }
  to_store_[key] = std::nullopt;
  changed_bytes_ += key.size();
  for (auto& made : of.made) {
    changed_bytes_ += bytes_of(made);
    if (made.first <= key) {
      to_store_[std::move(made.first)] = std::move(made.second);
    } else {
      to_notes_[aside_prefix_ + made.first] = std::move(made.second);
    }
  }
  return {};
}

status store_migration::move() {
  chunk aside;
  aside.bytes_max = bytes_max_;
  aside.entries_max = entries_max_;
  SONDER_TRY(context_.on->state_scan(group_, notes_, partition_, as_bytes(aside_prefix_), &chunk::take, &aside));
  to_store_.clear();
  to_notes_.clear();
  for (auto& [key, value] : aside.entries) {
    to_store_[key.substr(aside_prefix_.size())] = std::move(value);
    to_notes_[key] = std::nullopt;
  }
  if (aside.more) return commit({note_.version, note_.target, store_note::moving}, {});
  SONDER_TRY(commit({note_.target, note_.target, store_note::settled}, {}));
  if (!not_committed_ && context_.lines != nullptr) {
    context_.lines->write(log_level::info, "a store is migrated",
                          {{"stage", stage_.options.name}, {"store", declared_.name}, {"task", static_cast<std::int64_t>(partition_)},
                           {"from", static_cast<std::int64_t>(note_.version)}, {"to", static_cast<std::int64_t>(note_.target)}});
  }
  return {};
}

/// The changes that were made and the note of them, in one epoch. The task's offsets go along as they are: a log with a group then
/// takes it only from the one whose task it is.
status store_migration::commit(const store_note& note, std::string_view cursor) {
  std::string value(reinterpret_cast<const char*>(&note), sizeof note);
  value.append(cursor);
  to_notes_[note_key_] = std::move(value);
  epoch_changes epoch;
  epoch.group = group_;
  for (const auto& source : context_.flow->sources) {
    if (source.topic.role == topic_role::global) continue;
    auto next = context_.on->committed_of(group_, source.topic.topic, partition_);
    if (!next) return tl::unexpected(next.error());
    const auto from = begin_at(*context_.on, source.topic.topic, partition_, *next);
    if (!from) return tl::unexpected(from.error());
    epoch.consumed.push_back({source.topic.topic, partition_, *from});
  }
  const auto add = [&](std::string_view store, const changes& of) {
    for (const auto& [key, now] : of) {
      epoch.state.push_back({store, partition_, as_bytes(key), now ? std::optional<bytes_view>(as_bytes(*now)) : std::nullopt});
    }
  };
  add(store_, to_store_);
  add(notes_, to_notes_);
  auto done = context_.on->commit(epoch);
  to_store_.clear();
  to_notes_.clear();
  if (done) return {};
  if (done.error().code == errc::fenced) return done;
  if (done.error().code == errc::capacity) return tl::unexpected(done.error().at(whose() + ", being migrated"));
  not_committed_ = done.error();
  return {};
}

}  // namespace

result<stores_step> bring_stores_up(const task_context& context, std::int32_t partition, std::chrono::milliseconds at_most) {
  const auto until = clock::now() + at_most;
  for (std::size_t s = 0; s < context.flow->stages.size(); ++s) {
    const auto& stage = context.flow->stages[s];
    for (std::size_t i = 0; i < stage.of.stores.size(); ++i) {
      if (stage.is_rebuilt(i)) continue;
      store_migration of(context, s, i, partition);
      for (;;) {
        auto current = of.step();
        if (!current) return tl::unexpected(current.error());
        if (of.not_committed()) return stores_step{false, std::move(of.not_committed())};
        if (*current) break;
        if (clock::now() >= until) return stores_step{};
      }
    }
  }
  return stores_step{true, std::nullopt};
}

}  // namespace sonder
