#include "flow/timers.h"

#include <cstring>

namespace sonder {

namespace {

constexpr std::size_t by_time_head = 1 + 1 + 8 + 4 + 8;

template <class T>
void append_big_endian(std::string& to, T value) {
  for (int shift = static_cast<int>(sizeof value) * 8 - 8; shift >= 0; shift -= 8) {
    to.push_back(static_cast<char>(static_cast<std::uint64_t>(value) >> shift & 0xff));
  }
}

template <class T>
T read_big_endian(const std::uint8_t* from) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) value = value << 8 | from[i];
  return static_cast<T>(value);
}

// Flipping the sign makes negative times sort before positive ones as bytes.
std::uint64_t ordered(std::int64_t time) { return static_cast<std::uint64_t>(time) ^ (std::uint64_t{1} << 63); }

std::string& time_key(std::string& key, std::int32_t kind, std::int64_t at_ms, std::uint32_t timer, std::uint64_t tag,
                      std::string_view subject) {
  key.assign(1, 't');
  key.push_back(static_cast<char>(kind));
  append_big_endian(key, ordered(at_ms));
  append_big_endian(key, timer);
  append_big_endian(key, tag);
  return key.append(subject);
}

std::string& id_key(std::string& key, std::uint32_t timer, std::uint64_t tag, std::string_view subject) {
  key.assign(1, 'i');
  append_big_endian(key, timer);
  append_big_endian(key, tag);
  return key.append(subject);
}

}  // namespace

status timer_table::set(const due_timer& timer) {
  if (timer.payload.size() > payload_bytes_max) return fail(errc::capacity, "a timer's payload passes 4 KiB");
  SONDER_TRY(cancel(timer.subject, timer.timer, timer.tag));
  SONDER_TRY(store_.put(as_bytes(time_key(by_time_, timer.kind, timer.at_ms, timer.timer, timer.tag, timer.subject)),
                        as_bytes(timer.payload)));
  std::string where(1, static_cast<char>(timer.kind));
  append_big_endian(where, ordered(timer.at_ms));
  if (waiting_) ++*waiting_;
  return store_.put(as_bytes(id_key(by_id_, timer.timer, timer.tag, timer.subject)), as_bytes(where));
}

status timer_table::cancel(std::string_view subject, std::uint32_t timer, std::uint64_t tag) {
  bytes_view where;
  auto found = store_.get(as_bytes(id_key(by_id_, timer, tag, subject)), &where);
  if (!found) return tl::unexpected(found.error());
  if (!*found) return {};
  if (waiting_ && *waiting_ > 0) --*waiting_;
  if (where.size() != 9) return fail(errc::corrupt, "a timer's entry is not a kind and a time");
  const auto at_ms = static_cast<std::int64_t>(read_big_endian<std::uint64_t>(where.data() + 1) ^ (std::uint64_t{1} << 63));
  SONDER_TRY(store_.erase(as_bytes(time_key(by_time_, where[0], at_ms, timer, tag, subject))));
  return store_.erase(as_bytes(by_id_));
}

result<std::uint64_t> timer_table::waiting() {
  if (waiting_) return *waiting_;
  std::uint64_t found = 0;
  const auto count = [](void* ctx, bytes_view, bytes_view) {
    ++*static_cast<std::uint64_t*>(ctx);
    return true;
  };
  SONDER_TRY(store_.scan(as_bytes("t"), count, &found));
  waiting_ = marked_ = found;
  return found;
}

status timer_table::due(std::int32_t kind, std::int64_t now_ms, std::size_t most, std::vector<due_timer>& into) {
  struct search {
    std::int64_t now_ms;
    std::size_t most;
    std::vector<due_timer>* into;
  } s{now_ms, into.size() + most, &into};
  std::string prefix(1, 't');
  prefix.push_back(static_cast<char>(kind));
  return store_.scan(
      as_bytes(prefix),
      [](void* ctx, bytes_view key, bytes_view value) {
        auto& found = *static_cast<search*>(ctx);
        if (key.size() < by_time_head || found.into->size() >= found.most) return false;
        due_timer timer;
        timer.kind = key[1];
        timer.at_ms = static_cast<std::int64_t>(read_big_endian<std::uint64_t>(key.data() + 2) ^ (std::uint64_t{1} << 63));
        if (timer.at_ms > found.now_ms) return false;
        timer.timer = read_big_endian<std::uint32_t>(key.data() + 10);
        timer.tag = read_big_endian<std::uint64_t>(key.data() + 14);
        timer.subject = as_text(key.subspan(by_time_head));
        timer.payload = as_text(value);
        found.into->push_back(std::move(timer));
        return true;
      },
      &s);
}

}  // namespace sonder
